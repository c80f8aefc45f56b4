"""A model that learns from the labels of a user's own molecules while they are minimized."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.opening import load_potential
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.input_molecules import Notes, Reading
from golfbench.molecule_files.library import Job
from golfbench.molecule_files.oracle_walks import Verification, oracle_folder
from golfbench.molecule_files.output import open_output
from golfbench.molecule_files.reading import Inputs
from golfbench.molecule_files.teaching import LEARNED, Teaching, learn_library
from golfbench.stopping import StoppingRule

CHECKPOINT = Path(__file__).parents[2] / "datasets/druglike-mini/baselines/painn-small.safetensors"
INPUTS = ["CO", "CCO", "CN", "CC=O", "CCN", "COC"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "cache.sqlite"))


def run(path: Path, budget=60, stop_after=None, model=None, file=CHECKPOINT):
    """Minimize, learn and verify like the verb; with ``stop_after`` leave as a process that is killed does."""
    verification = Verification("mmff94", budget, learn=True)
    rule = StoppingRule(0.02, 200)
    job = Job(model, file, "mmff94", "rfo-internal", rule, suffix=path.suffix, verification=verification)
    with open_driver(model, file, "mmff94") as driver:
        given = Inputs(INPUTS, Reading())
        with open_output(path, False, job.command(given, driver)) as kept:
            walk = learn_library(given, job, driver, kept, Notes())
            for count, _ in enumerate(walk, start=1):
                if count == stop_after:
                    walk.close()
                    return []
            kept.finish()
            return list(kept.rows())


def told(rows):
    return [{**row.model_dump(), "wall_s": 0, "oracle_calls": 0} for row in rows]


def test_a_model_learns_on_the_way_and_a_stop_changes_nothing(tmp_path):
    whole, parts = tmp_path / "whole.sdf", tmp_path / "parts.sdf"
    rows = run(whole)
    assert {row.status for row in rows} == {"verified"}
    learned, header = load_potential(oracle_folder(whole) / LEARNED)
    assert (header["method"], header["labels"]) == ("MMFF94", sum(row.oracle_labels for row in rows))
    start, _ = load_potential(CHECKPOINT)
    before, after = start.network.state_dict(), learned.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for stop in (4, 4, 2):  # all walks of the first group, all its labels, all walks of the second group
        assert run(parts, stop_after=stop) == []
    assert told(run(parts)) == told(rows)
    again, _ = load_potential(oracle_folder(parts) / LEARNED)
    assert checkpoint.content_hash(again.network.state_dict()) == checkpoint.content_hash(after)
    lines = (oracle_folder(parts) / "oracle_calls.jsonl").read_text().splitlines()
    paid = [call["geometry_sha256"] for call in map(json.loads, lines) if call["outcome"] == "ok"]
    assert len(paid) == len(set(paid))


def test_a_stop_between_two_walks_of_a_group_changes_rounding_only(tmp_path):
    """What is left of a group walks in another batch, whose last digits are others."""
    rows = run(tmp_path / "whole.sdf")
    for stop in (2, 7):
        assert run(tmp_path / "parts.sdf", stop_after=stop) == []
    for row, other in zip(run(tmp_path / "parts.sdf"), rows, strict=True):
        assert (row.id, row.status) == (other.id, other.status)
        assert row.oracle_energy_hartree == pytest.approx(other.oracle_energy_hartree, abs=1e-6)


def test_a_budget_is_shared_among_groups_and_spent_to_the_last_label(tmp_path):
    rows = run(tmp_path / "out.sdf", budget=14)
    assert sum(row.oracle_labels for row in rows) == 14
    assert all(row.oracle_labels >= 1 for row in rows)
    assert {row.status for row in rows} <= {"verified", "oracle_budget_spent"}


def test_what_has_nothing_that_learns_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing that learns"):
        run(tmp_path / "out.sdf", model="mmff94", file=None)


def test_training_that_does_harm_ends_at_its_start(tmp_path):
    """Labels of another sign in the second group than in the first, from which nothing follows for it."""
    from golfbench.chemistry import embed
    from golfbench.contracts import Label, LabelledMolecule

    potential, _ = load_potential(CHECKPOINT)
    start = {name: tensor.clone() for name, tensor in potential.network.state_dict().items()}
    teaching = Teaching(potential, 64, tmp_path)
    rng = np.random.default_rng(3)
    for group, sign in enumerate((1, -1)):
        molecules = embed("CCO", "m", 4, seed=1)
        forces = [sign * 0.3 * (molecule.positions - molecule.positions.mean(axis=0)) for molecule in molecules]
        noise = [rng.normal(scale=1e-3, size=force.shape) for force in forces]
        labels = [Label(-155.0, f + n - (f + n).mean(axis=0), "X") for f, n in zip(forces, noise, strict=True)]
        teaching.learn(group, [LabelledMolecule(m, label) for m, label in zip(molecules, labels, strict=True)])
        changed = any(not torch.equal(start[name], t) for name, t in potential.network.state_dict().items())
        assert changed == (group == 0)
    assert teaching.labels == 8
