"""Runs on training sets that stay in their file: the same end as in memory, killed or not, and a file of many rows."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

from golfbench import training_sets
from golfbench.runs.runner import open_dataset
from golfbench_datasets.files import read_initial

ROWS = 3000
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "large_data.py"

#: Trains a baseline on a set in its file; ``strike`` kills it in the middle of that update.
TRAINING = """
import os, signal, sys
from pathlib import Path
from golfbench import training_sets
from golfbench.learning import fitting
from golfbench.learning.learner import Single
from golfbench.learning.targets import InitialSet
from golfbench.runs.baseline import Recipe, train_baseline
from golfbench.runs.config import Baseline
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef

folder, output, strike = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
training_sets.MOST_IN_MEMORY, training_sets.SAMPLED, fitting.SNAPSHOT_EVERY = 1000, 100, 4
step = Single._step

def struck(self, batch):
    if self.update == strike:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)

Single._step = struck
data = open_dataset(f"folder:path={folder}")
assert not isinstance(data.initial, list)
settings = Baseline(updates=14, batch_size=6, validation_share=0.01, difference_weight=0.5, ema_decay=0.9)
model = ComponentRef("painn", {"preset": "small", "features": 8, "interactions": 1, "radial": 8})
recipe = Recipe(model, None, settings, ComponentRef("single"), 3)
train_baseline(data, InitialSet.of(data.initial, [], {}), recipe, output, lambda name, step, total: None)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """The benchmark's folder, of 3000 rows."""
    spec = importlib.util.spec_from_file_location("large_data", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    folder = tmp_path_factory.mktemp("large") / "folder"
    benchmark.make(folder, ROWS)
    return folder


@pytest.fixture
def in_file(monkeypatch) -> None:
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(training_sets, "SAMPLED", 100)


def test_the_benchmarks_rows_are_what_ase_reads(large, in_file):
    dataset = open_dataset(f"folder:path={large}")
    database = connect(str(large / "initial.db"), use_lock_file=False)
    assert database.count() == database.count("C") == len(dataset.initial) == ROWS
    assert database.count("conformation_id=3") == ROWS // 10
    for k in (0, 1234, ROWS - 1):
        row, item = database.get(k + 1), dataset.initial[k]
        assert np.array_equal(row.toatoms().positions, item.molecule.positions)
        assert row.natoms == len(item.molecule)
        assert row.mass == pytest.approx(row.toatoms().get_masses().sum())
        assert row.data["energy"] == [item.label.energy]
        assert f"{row.molecule_name}/{row.conformation_id}" == item.molecule.id == dataset.initial.ids()[k]


def test_references_and_scale_of_the_sample_are_near_those_of_the_whole(large, in_file):
    from golfbench.learning.targets import InitialSet

    dataset = open_dataset(f"folder:path={large}")
    part, whole = InitialSet.of(dataset.initial, [], {}), read_initial(large / "initial.db", "GFN2-xTB")
    training_sets.MOST_IN_MEMORY = ROWS  # put back by the fixture
    everything = InitialSet.of(whole, [], {})
    assert part.scale == pytest.approx(everything.scale, rel=0.1)
    assert part.references.keys() == everything.references.keys()
    for z in (1, 6, 7, 8):
        assert part.references[z] == pytest.approx(everything.references[z], abs=0.1)


def train(folder: Path, output: Path, strike: int = -1) -> int:
    return subprocess.run(
        [sys.executable, "-c", TRAINING, str(folder), str(output), str(strike)], check=False
    ).returncode


def test_a_baseline_killed_in_the_middle_resumes_to_the_same_weights(large, tmp_path):
    assert train(large, tmp_path / "whole.safetensors") == 0
    assert train(large, tmp_path / "killed.safetensors", strike=9) == -signal.SIGKILL  # after the second snapshot
    assert train(large, tmp_path / "killed.safetensors") == 0
    assert (tmp_path / "killed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_run_on_a_set_in_its_file_ends_as_one_in_memory_killed_or_not(golfbench, write_config, results, tmp_path):
    config = write_config()
    assert golfbench("run", config, "--output", str(tmp_path / "memory")).returncode == 0
    golfbench.most_in_memory = 4
    done = golfbench("run", config, "--output", str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert "9 of the 9 labels of the initial set stand for all" in " ".join(done.stderr.split())
    command = ("run", config, "--output", str(tmp_path / "killed"))
    calls = len(results(tmp_path / "memory").ledger)
    assert golfbench.interrupted(signal.SIGKILL, calls // 2, 0.05, *command).returncode == -signal.SIGKILL
    assert golfbench(*command).returncode == 0
    memory, file, killed = (results(tmp_path / name) for name in ("memory", "file", "killed"))
    assert memory.records == file.records == killed.records
    assert memory.ledger == file.ledger == killed.ledger
    facts = [json.loads((r.path / "manifest.json").read_text())["dataset"] for r in (memory, file, killed)]
    assert facts[0].get("sampled_labels") is None
    assert facts[1] == facts[2]
    assert facts[1]["sampled_labels"] == facts[1]["initial_labels"] == 9
    assert facts[0]["sha256"] != facts[1]["sha256"]
