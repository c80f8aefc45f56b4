"""Models with an environment of their own: the interpreter is a stand-in, everything else is real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from golfbench.environments import FOLDER_VARIABLE, SHARED, Environment, own_environment
from golfbench.registry import registry
from golfbench.specs import ModelSpec

#: A model of SchNetPack that asks for an environment of its own.
PLUGIN = """
from dataclasses import replace
from golfbench import hookimpl
import golfbench_schnetpack


@hookimpl
def golfbench_models():
    painn = golfbench_schnetpack.golfbench_models()[0]
    return [replace(painn, name="faraway", aliases=(), environment=("faraway-engine==1.0",))]
"""
#: Writes an environment whose interpreter is this one.
MAKE = """
import json, sys
from golfbench.environments import environment_of
environment = environment_of("faraway")
environment.python.parent.mkdir(parents=True)
(environment.path / "golfbench-environment.json").write_text(json.dumps(environment.content))
environment.python.write_text("#!/bin/sh\\nexec '%s' \\"$@\\"\\n" % sys.executable)
environment.python.chmod(0o755)
"""
TINY = "preset=small,features=16,interactions=1,radial=8"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the plugin, as pip would lay it out."""
    folder = tmp_path / "site"
    info = folder / "golfbench_faraway-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "faraway_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: golfbench-faraway\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[golfbench]\nfaraway = faraway_plugin\n")
    return folder


@pytest.fixture
def program(site: Path, tmp_path: Path):
    """Run a command of an interpreter that has the plugin."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_")}
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        environment = {**inherited, "PYTHONPATH": path, FOLDER_VARIABLE: str(tmp_path / "environments")}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
        )

    return run


def test_without_its_environment_nothing_starts_and_the_cure_is_named(program, write_config, tmp_path):
    config = write_config(models=[f"faraway:{TINY}"])
    for arguments in (["run", config, "-o", "out"], ["train", "--model", "faraway", "-o", "x.safetensors"]):
        done = program("-m", "golfbench", *arguments)
        assert done.returncode == 3
        assert "golfbench plugins install faraway" in done.stderr
        assert done.stderr.count("error") == 1
    assert not (tmp_path / "out").exists()


def test_a_grid_mixes_both_kinds_in_one_table(program, write_config, results, tmp_path):
    assert program("-c", MAKE).returncode == 0
    config = write_config(models=[f"painn:{TINY}", f"faraway:{TINY}"], selections=["golf"])
    done = program("-m", "golfbench", "run", config, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["stage"], row["model"].partition(":")[0]) for row in rows] == [
        ("reference", "mmff94"),
        ("before", "faraway"),
        ("before", "painn"),
        ("after", "faraway"),
        ("after", "painn"),
    ]
    # The same network under another name: the same start. (Random streams are the combination's, so training differs.)
    before = {row["model"].partition(":")[0]: row["pct_mean"] for row in rows if row["stage"] == "before"}
    assert before["faraway"] == before["painn"]
    assert all(row["parameters"] == rows[1]["parameters"] > 0 for row in rows[1:])
    assert all(row["ms_per_training_step"] > 0 for row in rows[1:])
    manifest = json.loads((results(tmp_path / "out").path / "manifest.json").read_text())
    assert manifest["environments"]["faraway"]["versions"]["torch"]
    assert len(manifest["baselines"]) == 2
    again = program("-m", "golfbench", "run", config, "-o", "out", "--json")
    assert json.loads(again.stdout)["rows"] == rows


def test_what_fails_there_ends_the_run_with_its_reason(program, write_config):
    assert program("-c", MAKE).returncode == 0
    config = write_config(models=[f"faraway:{TINY},cutoff=-1"])
    done = program("-m", "golfbench", "run", config, "-o", "out")
    assert done.returncode == 1
    assert "cutoff=-1.0: a positive, finite distance in Å is needed" in done.stderr
    assert "the part of model 'faraway' ended with exit code 2" in done.stderr


def test_a_command_about_the_model_alone_runs_there(program):
    assert program("-c", MAKE).returncode == 0
    listed = json.loads(program("-m", "golfbench", "models", "list", "--json").stdout)
    assert "faraway" in json.dumps(listed)
    checked = program("-m", "golfbench", "plugins", "check", f"faraway:{TINY}", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["passed"] is True
    both = program("-m", "golfbench", "plugins", "check", f"faraway:{TINY}", "lbfgs")
    assert both.returncode == 2
    assert "has an environment of its own: check it alone" in both.stderr


def test_an_environment_of_other_versions_is_refused(program, tmp_path):
    assert program("-c", MAKE).returncode == 0
    marker = tmp_path / "environments" / "faraway" / "golfbench-environment.json"
    content = json.loads(marker.read_text())
    content["constraints"] = ["torch==1.0"]
    marker.write_text(json.dumps(content))
    done = program("-m", "golfbench", "plugins", "check", f"faraway:{TINY}")
    assert done.returncode == 3
    assert "was made from other versions: golfbench plugins install faraway" in done.stderr


def test_what_an_environment_is_made_of():
    pytest.importorskip("golfbench_nequip_next")
    spec = registry().find(ModelSpec, "nequip-next")
    environment = own_environment(spec)
    assert isinstance(environment, Environment)
    words = " ".join(environment.requirements)
    assert environment.requirements[-1] == "nequip==0.19.1"
    for name in ("golfbench-rdkit", "golfbench-xtb", "golfbench-optimizers", "golfbench-nequip-next"):
        assert name in words
    for conflicting in ("golfbench-mace", "golfbench-schnetpack"):
        assert conflicting not in words
    pinned = [pin.partition("==")[0] for pin in environment.constraints]
    assert {"torch", "numpy", "rdkit", "xtb"} <= set(pinned) <= set(SHARED)
    assert not any("+" in pin for pin in environment.constraints)


def test_a_half_made_environment_does_not_stay(program, tmp_path):
    done = program("-m", "golfbench", "plugins", "install", "faraway")
    assert done.returncode == 1
    assert "the environment of model 'faraway' could not be made" in done.stderr
    assert list((tmp_path / "environments").iterdir()) == []


def test_a_model_that_lives_here_needs_none(program):
    done = program("-m", "golfbench", "plugins", "install", "painn")
    assert done.returncode == 4
    assert "it runs in this one" in done.stderr
