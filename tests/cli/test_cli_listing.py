import json

import pytest

from golfbench.cli.doctor import NEEDED, has_reference_blas
from golfbench.cli.options import DEFAULTS
from golfbench.runs.config import RunConfig

CLASHING = """
from golfbench import hookimpl
from golfbench.specs import ModelSpec


@hookimpl
def golfbench_models():
    return [ModelSpec(name="probe-net", factory="m:a", summary="Another one.")]
"""
DATASETS = """
import numpy as np
from golfbench import hookimpl
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.molecules import Molecule
from golfbench.specs import DatasetSpec


def water(id, length):
    positions = length * np.array([[0.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
    return Molecule(id, np.array([8, 1, 1]), positions)


class Reader:
    def read(self):
        label = Label(-5.07, np.zeros((3, 3)), "GFN2-xTB")
        rows = [LabelledMolecule(water(f"water/{k}", 0.9 + 0.1 * k), label) for k in range(3)]
        return Dataset("sound", "GFN2-xTB", rows, [TestMolecule(water("other/0", 0.95))], "ab12")


class Damaged(Reader):
    def check(self):
        return ["no card", "no licence"]

    def build(self, output):
        output.mkdir()
        (output / "made").touch()


@hookimpl
def golfbench_datasets():
    return [
        DatasetSpec(name=name, factory=f"sets_plugin:{factory}", summary="A set.", method="GFN2-xTB")
        for name, factory in (("sound", "Reader"), ("damaged", "Damaged"))
    ]
"""


def table(text: str) -> list[dict[str, str]]:
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_plugins_list_shows_what_each_offers_and_why_one_is_broken(golfbench, add_plugin):
    add_plugin("broken", "import a_module_that_is_not_there")
    done = golfbench("plugins", "list", plugins="probe,broken")
    broken, probe = table(done.stdout)
    assert done.returncode == 0
    assert probe == {
        "plugin": "probe",
        "distribution": "dist-probe",
        "version": "1.2",
        "components": "model probe-net",
        "problem": "",
    }
    assert broken["problem"] == "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"


def test_plugins_list_exits_with_2_on_a_clash_and_names_both(golfbench, add_plugin):
    add_plugin("other", CLASHING)
    done = golfbench("plugins", "list", "--json", plugins="probe,other")
    listed = json.loads(done.stdout)
    assert done.returncode == 2
    assert "model 'probe-net' is offered by dist-other and dist-probe" in done.stderr
    assert [p["name"] for p in listed["plugins"]] == ["other", "probe"]
    assert listed["plugins"][1]["components"] == [{"kind": "model", "name": "probe-net"}]
    assert len(listed["clashes"]) == 1


def test_plugins_show_tells_everything_of_a_component(golfbench):
    lines = golfbench("plugins", "show", "probe-net").stdout.splitlines()
    assert lines[0] == "model probe-net: A network [for tests]."
    assert {" ".join(line.split()) for line in lines[1:]} == {
        "distribution dist-probe",
        "factory probe_engine:Net",
        "elements H C O",
        "trainable yes",
        "charged no",
        "uncertainty no",
        "weights none",
        "checkpoint formats none",
        "environment none",
        "requires json (found)",
        "requires probe_engine.nets (missing)",
        "install with pip install probe-engine",
        "citation 10.1000/probe",
        "parameter width=64 Features per atom.",
        "parameter depth=none Layers.",
        "parameter sort=a (one of a, b) Which one.",
    }


@pytest.mark.parametrize("name", ["probe", "dist-probe"])
def test_plugins_show_takes_a_plugin_or_its_distribution(golfbench, name):
    shown = json.loads(golfbench("plugins", "show", name, "--json").stdout)
    assert [p["version"] for p in shown["plugins"]] == ["1.2"]
    (component,) = shown["components"]
    assert (component["kind"], component["name"], component["missing"]) == ("model", "probe-net", ["probe_engine.nets"])
    assert component["elements"] == [1, 6, 8]
    assert [(p["name"], p["type"], p["default"]) for p in component["parameters"]] == [
        ("width", "int", 64),
        ("depth", "int", None),
        ("sort", "str", "a"),
    ]


@pytest.mark.parametrize("kind", ["models", "optimizers", "selections", "oracles", "executors", "datasets"])
def test_every_kind_is_listed_as_json(golfbench, kind):
    listed = json.loads(golfbench(kind, "list", "--json", plugins=None).stdout)
    assert set(listed) == {"schema_version", kind}
    names = [spec["name"] for spec in listed[kind]]
    assert names == sorted(names)
    assert ("probe-net" in names) == (kind == "models")


def test_what_is_missing_is_in_the_list(golfbench):
    (row,) = table(golfbench("models", "list").stdout)
    assert (row["name"], row["distribution"], row["missing"]) == ("probe-net", "dist-probe", "probe_engine.nets")


def test_datasets_check_shows_the_facts_of_a_sound_one(golfbench, add_plugin):
    add_plugin("sets", DATASETS)
    done = golfbench("datasets", "check", "sound", plugins="sets")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert table("\n".join(lines[:2])) == [
        {"name": "sound", "method": "GFN2-xTB", "initial": "3", "test": "1", "content_hash": "ab12"}
    ]
    assert lines[3:5] == ["H\t6\t3\t2\t1", "O\t3\t3\t1\t1"]
    assert "golfbench: 1 of 1 test molecules have no minimum" in done.stderr


def test_a_dataset_without_a_check_of_its_own_is_looked_at_as_well(golfbench, add_plugin):
    add_plugin("sets", DATASETS.replace("0.9 + 0.1 * k", "0.9 + 0.1 * (k % 2)").replace("-5.07", "-5.07 * 27.2114"))
    done = golfbench("datasets", "check", "sound", "--json", plugins="sets")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["duplicates"], found["elements"]["O"]["initial_atoms"]) == (1, 3)
    assert any(line.startswith("water/2: the same geometry as water/0") for line in found["problems"])
    assert any("is it in eV or kcal/mol?" in line for line in found["problems"])
    assert any("names no oracle" in note for note in found["notes"])


def test_datasets_check_exits_with_1_and_one_line_a_problem(golfbench, add_plugin):
    add_plugin("sets", DATASETS)
    done = golfbench("datasets", "check", "damaged", "--json", plugins="sets")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["problems"]) == 2
    assert done.stderr.splitlines()[1] == "golfbench: error: no licence"


def test_datasets_build_calls_the_reader_or_says_that_it_cannot(golfbench, add_plugin, tmp_path):
    add_plugin("sets", DATASETS)
    assert golfbench("datasets", "build", "damaged", "--output", str(tmp_path / "new"), plugins="sets").returncode == 0
    assert (tmp_path / "new" / "made").exists()
    refused = golfbench("datasets", "build", "sound", "--output", str(tmp_path / "no"), plugins="sets")
    assert refused.returncode == 2
    assert refused.stderr == "golfbench: error: dataset 'sound' cannot be built: it can only be read\n"


def test_doctor_names_what_the_default_run_lacks(golfbench):
    done = golfbench("doctor", "--json")
    report = json.loads(done.stdout)
    lacking = {(f["area"], f["name"]) for f in report["findings"] if f["needed"] and f["status"] == "missing"}
    assert done.returncode == 3
    assert report["ready"] is False
    assert lacking == set(NEEDED)
    assert done.stderr.startswith(
        "golfbench: error: the default run needs what is not installed: dataset druglike-mini"
    )
    by_name = {f["name"]: f for f in report["findings"]}
    assert by_name["probe-net"]["detail"] == "probe_engine.nets not found; pip install probe-engine"
    assert by_name["torch"]["status"] == "ok"
    assert by_name["OMP_WAIT_POLICY"]["detail"] == "PASSIVE"


def test_doctor_knows_the_slow_blas_of_debian(tmp_path):
    """As Debian lays its libraries out: a chain of links ends in the folder of the package that was chosen."""
    libraries, chosen = tmp_path / "x86_64-linux-gnu", tmp_path / "alternative"
    for package in ("blas", "openblas-pthread"):
        (libraries / package).mkdir(parents=True)
        (libraries / package / "libblas.so.3").touch()
    assert not has_reference_blas(tmp_path)  # Psi4 brings its own
    (libraries / "libblas.so.3").symlink_to(chosen)
    chosen.symlink_to(libraries / "blas" / "libblas.so.3")
    assert has_reference_blas(tmp_path)
    chosen.unlink()
    chosen.symlink_to(libraries / "openblas-pthread" / "libblas.so.3")
    assert not has_reference_blas(tmp_path)


def test_doctor_is_ready_exactly_when_nothing_that_is_needed_is_missing(golfbench):
    done = golfbench("doctor", "--json", plugins=None)
    report = json.loads(done.stdout)
    lacking = [f for f in report["findings"] if f["needed"] and f["status"] == "missing"]
    assert report["ready"] == (not lacking)
    assert done.returncode == (3 if lacking else 0)


def test_the_defaults_of_the_command_line_are_those_of_a_run():
    config = RunConfig()
    assert {
        "dataset": config.dataset,
        "model": config.models[0],
        "optimizer": config.optimizers[0],
        "selection": config.selections[0],
        "oracle": config.oracles[0],
    } == DEFAULTS
    texts = {
        "dataset": [config.dataset],
        "model": config.models,
        "optimizer": config.optimizers,
        "selection": config.selections,
        "oracle": [*config.oracles, config.surrogate, *config.references],
    }
    assert set(NEEDED) == {(kind, ref.name) for kind in texts for ref in texts[kind]}


def test_the_shell_completes_component_names(golfbench):
    done = golfbench(_GOLFBENCH_COMPLETE="complete_bash", COMP_WORDS="golfbench run --model prob", COMP_CWORD="3")
    assert done.stdout.split() == ["probe-net"]


def test_elements_are_called_as_everywhere():
    from ase.data import chemical_symbols

    from golfbench.cli.describe import symbols

    assert [symbols(frozenset({z})) for z in range(1, 119)] == chemical_symbols[1:119]
    assert symbols(frozenset(range(1, 19))) == "H to Ar"
    assert symbols(None) == "any"
