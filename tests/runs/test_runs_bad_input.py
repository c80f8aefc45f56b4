"""What a person may get wrong: one clear line on stderr, the right exit code, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.db import connect

from golfbench.learning import checkpoint
from golfbench.specs import ComponentRef


@pytest.fixture
def refused(golfbench, tmp_path):
    """Run, and return the one line that explains why not."""

    def run(*arguments: str, code: int = 2, output: str | None = None) -> str:
        where = ("--output", output or str(tmp_path / "out")) if arguments[0] == "run" else ()
        done = golfbench(*arguments, *where)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("golfbench: results in ")]
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("golfbench: error: ")
        return lines[0].removeprefix("golfbench: error: ")

    return run


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--model", "pain", "unknown model 'pain': did you mean 'painn'"),
        ("--oracle", "gfn2xtb", "unknown oracle 'gfn2xtb': did you mean 'gfn2-xtb'"),
        ("--selection", "gofl", "unknown selection 'gofl': did you mean 'golf'?"),
        ("--optimizer", "lbfsg", "unknown optimizer 'lbfsg': did you mean 'lbfgs'"),
        ("--dataset", "druglike-min", "unknown dataset 'druglike-min': did you mean 'druglike-mini'"),
        ("--reference", "mmff", "unknown oracle 'mmff': did you mean 'mmff94'"),
        ("--delta", "mmf94", "unknown oracle 'mmf94': did you mean 'mmff94'?"),
        ("--model", "painn:featurs=64", "painn: unknown parameter 'featurs': did you mean 'features'?"),
        ("--model", "painn:features=many", "painn: parameter 'features' must be int, not 'many'"),
        ("--model", "painn:preset=tiny", "painn: preset=tiny is not one of published, small"),
        ("--model", "painn:small", "'painn:small': parameters are written key=value, 'small' is not"),
        ("--oracle", "gfn2-xtb:acuracy=1", "gfn2-xtb: unknown parameter 'acuracy': did you mean 'accuracy'?"),
        ("--delta", "gfn2-xtb", "the base 'gfn2-xtb' is the oracle itself: nothing would be left to learn"),
        ("--learner", "comittee", "unknown learner 'comittee': did you mean 'committee'?"),
        ("--learner", "committee:member=3", "committee: unknown parameter 'member': did you mean 'members'?"),
        ("--dataset", "folder", "folder: which one? Write folder:path=DIRECTORY"),
        ("--dataset", "folder:path=nowhere", "folder: nowhere is not a folder"),
        ("--seed", "-1", "command line: seeds.0: Input should be greater than or equal to 0 (got -1)"),
        ("--device", "warp", "device 'warp' cannot be used"),
    ],
)
def test_a_wrong_word_on_the_command_line(refused, option, value, message):
    assert refused("run", option, value).startswith(message)


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
@pytest.mark.parametrize("learner", [None, "single", "committee:members=1"])
def test_a_spread_without_a_committee_is_refused_before_anything_is_computed(refused, tmp_path, learner, extra):
    given = () if learner is None else ("--learner", learner)
    command = ("--selection", "random", "--selection", "committee-force", *given, *extra)
    message = refused("run", *command)
    assert message.startswith("selection 'committee-force' looks at the spread of a committee, and learner '")
    assert "give --learner committee:members=4" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", [("--learner", "committee:members=2"), ("--model", "gfn1-xtb", "--reference", "mmff94")]
)
def test_a_spread_is_not_refused_where_there_is_one_or_nothing_is_trained(golfbench, command):
    done = golfbench("run", "--selection", "committee-force", "--limit", "2", "--dry-run", *command)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--budget", "-1"), ("--limit", "0"), ("--workers", "0"), ("--seed", "x")]
)
def test_a_number_out_of_range_is_a_usage_error(golfbench, option, value):
    done = golfbench("run", option, value)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: golfbench run")
    assert f"Invalid value for '{option}'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgt: 3", "bad.yaml: unknown key 'budgt': did you mean 'budget'?"),
        ("model: painn", "bad.yaml: unknown key 'model': did you mean 'models'?"),
        (
            "golf: {updates_per_labl: 3}",
            "bad.yaml: unknown key 'golf.updates_per_labl': did you mean 'updates_per_label'?",
        ),
        ("baseline: {rate: 3}", "bad.yaml: unknown key 'baseline.rate'"),
        ("budget: -3", "bad.yaml: budget: Input should be greater than or equal to 0 (got -3)"),
        ("models: painn", "bad.yaml: models: Input should be a valid tuple (got 'painn')"),
        ("seeds: []", "bad.yaml: seeds: Tuple should have at least 1 item"),
        ("budget: [1", "bad.yaml: not valid YAML: "),
        ("a: b: c", "bad.yaml: not valid YAML: "),
        ("- golf", "bad.yaml: a mapping of keys is expected, not a list"),
        ("just words", "bad.yaml: a mapping of keys is expected, not a str"),
        ("1: 2", "bad.yaml: "),
    ],
)
def test_a_wrong_yaml_file(refused, tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    assert refused("run", "bad.yaml").startswith(message)


def test_yaml_files_that_cannot_be_read(refused, tmp_path):
    assert refused("run", "none.yaml") == "none.yaml: No such file or directory"
    assert refused("run", str(tmp_path)) == f"{tmp_path}: Is a directory"
    (tmp_path / "latin.yaml").write_bytes("dataset: dr\xfcglike".encode("latin-1"))
    assert refused("run", "latin.yaml").startswith("latin.yaml: not valid YAML: ")


def test_a_checkpoint_that_cannot_be_used(refused, write_config, tmp_path, tiny_model):
    config = write_config()
    assert refused("run", config, "--checkpoint", "none.safetensors") == "checkpoint none.safetensors does not exist"
    (tmp_path / "text.safetensors").write_text("nothing of the kind")
    assert refused("run", config, "--checkpoint", "text.safetensors").startswith(
        "checkpoint text.safetensors is not readable"
    )
    checkpoint.save(tmp_path / "state.safetensors", {"x": torch.zeros(1)}, {"update": 3})
    assert "holds no model" in refused("run", config, "--checkpoint", "state.safetensors")
    facts = {
        "model": "painn",
        "parameters": {"preset": "small", "features": 32, "interactions": 1, "radial": 8, "cutoff": None},
        "atom_energies_hartree": {"1": -0.4, "6": -1.8},
        "scale_hartree": 1.0,
        "delta": "mmff94",
        "method": "GFN2-xTB",
    }
    checkpoint.save(tmp_path / "other.safetensors", {"network.x": torch.zeros(1)}, facts)
    message = refused("run", config, "--checkpoint", "other.safetensors")
    assert message.startswith(
        "checkpoint other.safetensors is of painn:preset=small,features=32,interactions=1,radial=8"
    )
    facts["parameters"] |= {"features": 16}
    checkpoint.save(tmp_path / "empty.safetensors", {"network.x": torch.zeros(1)}, facts)
    message = refused("run", config, "--checkpoint", "empty.safetensors")
    assert message.startswith("empty.safetensors: weights do not fit the model: ")
    checkpoint.save(tmp_path / "method.safetensors", {"network.x": torch.zeros(1)}, facts | {"method": "GFN1-xTB"})
    assert "at GFN1-xTB, not of" in refused("run", config, "--checkpoint", "method.safetensors")
    from golfbench.learning.opening import new_network

    whole = checkpoint.prefixed("network", new_network(ComponentRef.parse(tiny_model), 0).state_dict())
    checkpoint.save(tmp_path / "elements.safetensors", whole, facts)
    assert refused("run", config, "--checkpoint", "elements.safetensors").endswith(
        "element O is outside checkpoint elements.safetensors"
    )
    assert not list((tmp_path / "out").glob("*/records.jsonl"))  # refused before anything was computed


def test_a_dataset_folder_that_is_empty_or_spoiled(refused, write_config, tmp_path, copy_of_tiny):
    (tmp_path / "empty").mkdir()
    assert refused("run", write_config(dataset="folder:path=empty")) == "empty is not a dataset: it has no dataset.yaml"
    config = write_config(dataset="folder:path=spoiled")
    database = copy_of_tiny / "test.db"
    data = database.read_bytes()
    for content, message in (
        (b"", "spoiled/test.db is empty"),
        (b"not a database at all" * 100, "spoiled/test.db is not a readable ASE database"),
        (data[: len(data) // 3], "spoiled/test.db is not a readable ASE database"),
    ):
        database.write_bytes(content)
        assert refused("run", config).startswith(message)
    database.unlink()
    assert refused("run", config) == "spoiled/test.db does not exist"


def replace_row(folder: Path, name: str, change) -> None:
    """Change the atoms (and what belongs to them) of the first row of a database."""
    with connect(folder / name, type="db", use_lock_file=False) as database:
        row = next(database.select(limit=1))
        atoms, facts = row.toatoms(), dict(row.key_value_pairs)
        change(atoms, facts)
        data = dict(row.data)
        data["forces"] = np.zeros((len(atoms), 3))
        database.write(atoms, id=row.id, key_value_pairs=facts, data=data)


def first_atom_far(atoms, facts):
    atoms.positions[0] = np.nan


def atoms_overlap(atoms, facts):
    atoms.positions[1] = atoms.positions[0] + [0.1, 0, 0]


def atoms_lost(atoms, facts):
    del atoms[-1]


def other_atoms_than_the_smiles(atoms, facts):
    facts["smiles"] = "CCCl"


def unreadable_smiles(atoms, facts):
    facts["smiles"] = "C1CC"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (first_atom_far, "ethanol/0: coordinates are not finite"),
        (atoms_overlap, "ethanol/0: atoms 0 and 1 overlap (0.100 Å, at least 0.4 Å needed)"),
        (atoms_lost, "ethanol/0: 25 electrons (charge +0) cannot have multiplicity 1"),
        (other_atoms_than_the_smiles, "ethanol/0: its atoms are not those of its SMILES 'CCCl'"),
        (unreadable_smiles, "'C1CC' is not a valid SMILES"),
    ],
)
def test_a_molecule_that_no_engine_should_see(refused, write_config, tmp_path, copy_of_tiny, change, message):
    replace_row(copy_of_tiny, "initial.db", change)
    assert message in refused("run", write_config(dataset="folder:path=spoiled"))
    assert not list((tmp_path / "out").glob("*/oracle_calls.jsonl")) or not any(
        path.read_bytes() for path in (tmp_path / "out").glob("*/oracle_calls.jsonl")
    )


def swap_oxygen(symbol: str):
    def change(atoms, facts):
        symbols = atoms.get_chemical_symbols()
        symbols[symbols.index("O")] = symbol
        atoms.set_chemical_symbols(symbols)
        facts["smiles"] = facts["smiles"].replace("O", f"[{symbol}H]")

    return change


def test_an_element_outside_the_delta_model(refused, write_config, copy_of_tiny):
    replace_row(copy_of_tiny, "initial.db", swap_oxygen("Se"))  # the surrogate alone would be a warning
    assert "element Se is outside mmff94" in refused("run", write_config(dataset="folder:path=spoiled"))


def test_an_element_outside_the_oracle_or_the_model(refused, write_config, copy_of_tiny):
    from ase.data import atomic_numbers

    replace_row(copy_of_tiny, "initial.db", swap_oxygen("Lv"))  # 116
    config = write_config(dataset="folder:path=spoiled", surrogate="uff", delta="uff")
    assert "element Lv is outside gfn2-xtb" in refused("run", config)
    assert atomic_numbers["Lv"] == 116
    config = write_config(dataset="folder:path=spoiled", oracles=["uff"], surrogate="uff", delta=None)
    assert "element Lv is outside" in refused("run", config)


def test_an_element_that_only_the_test_part_has(refused, write_config, copy_of_tiny):
    replace_row(copy_of_tiny, "test.db", swap_oxygen("S"))
    message = refused("run", write_config(dataset="folder:path=spoiled"))
    assert message == "methanol/0: element S is outside the initial set of 'tiny'"


def test_a_dataset_that_changed_under_a_run_is_not_mixed_in(refused, golfbench, write_config, copy_of_tiny):
    config = write_config(dataset="folder:path=spoiled", selections=["none"], budget=0, baseline={"updates": 0})
    assert golfbench("run", config, "--output", "out").returncode in (0, 1)
    with connect(copy_of_tiny / "initial.db", type="db", use_lock_file=False) as database:
        database.delete([1])
    assert "was made with another content of its dataset 'tiny'" in refused("run", config, output="out")


def test_an_output_folder_that_cannot_be_written(refused, write_config, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused("run", write_config(), output="file")
    assert message.startswith("file/folder-")
    assert message.endswith("cannot be written: Not a directory")


def test_an_output_folder_without_permission(write_config, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    command = [sys.executable, "-m", "golfbench", "run", write_config(), "--output", str(tmp_path / "closed")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("cannot be written: Permission denied")


def test_a_report_of_nothing(refused, tmp_path):
    assert refused("report", str(tmp_path), code=4) == f"{tmp_path} is not a run: it has no manifest.json"
    published = Path(__file__).parents[2] / "examples/results/default/manifest.json"
    (tmp_path / "manifest.json").write_text(published.read_text())
    assert refused("report", str(tmp_path), code=4) == f"{tmp_path} has no records yet"
    (tmp_path / "records.jsonl").write_text("{}\n")
    assert "records.jsonl, line 1: " in refused("report", str(tmp_path))
    for text, reason in (
        ("{", "Invalid JSON"),
        ("{}", "run_id: Field required"),
        ('{"schema_version": 2}', "schema_version"),
    ):
        (tmp_path / "manifest.json").write_text(text)
        assert f"manifest.json is damaged: {reason}" in refused("report", str(tmp_path))


def test_train_refuses_what_run_refuses(refused, tmp_path):
    output = ("--output", "model.safetensors")
    assert refused("train", *output, "--model", "pain").startswith("unknown model 'pain'")
    assert refused("train", *output, "--learning-rate", "-1").startswith("command line: baseline.learning_rate: ")
    (tmp_path / "model.safetensors").write_text("")
    assert refused("train", *output) == "model.safetensors exists already: remove it to train again"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder]).returncode:
        pytest.skip("mounting a file system of 2 MB takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("free_kb", [24, 88, 152, 280, 420])
def test_a_full_disk_loses_nothing(golfbench, write_config, small_disk, results, free_kb):
    command = ("run", write_config(budget=2), "--output", str(small_disk / "out"))
    filler = small_disk / "filler"
    size = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(size - free_kb * 1024))
    full = golfbench(*command)
    lines = [line for line in full.stderr.splitlines() if "/" not in line or "error" in line]
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr, full.stderr
    assert "Logging error" not in full.stderr
    assert lines[-1].startswith("golfbench: error: ")
    assert sum("error" in line for line in lines) == 1
    filler.unlink()
    done = golfbench(*command)
    assert done.returncode == 0, done.stderr
    run = results(small_disk / "out")
    assert len(run.asked) == len(set(run.asked))
    assert [row["n"] for row in run.rows] == [3, 3, 3, 3]
    assert not list(run.path.rglob("*.partial"))


def test_a_given_checkpoint_is_read_once_to_be_checked(monkeypatch):
    from golfbench.runs.baseline import check_weights
    from golfbench.runs.config import RunConfig
    from golfbench.runs.runner import open_dataset

    dataset, read, load = open_dataset("druglike-mini"), [], checkpoint.load
    (baseline,) = (p for name, p in dataset.checkpoints.items() if "painn" in name)
    header = load(Path(baseline))[1]
    monkeypatch.setattr(checkpoint, "load", lambda path: read.append(path) or load(path))
    given = {name: value for name, value in header["parameters"].items() if value is not None}
    model = str(ComponentRef("painn", {**given, "weights": baseline}))
    check_weights(RunConfig(models=(model,), delta=header["delta"]), dataset, "GFN2-xTB", False)
    assert read == [Path(baseline)]
