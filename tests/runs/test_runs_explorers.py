"""Whole runs on given trajectories or on minima of the surrogate, and a surrogate whose calls are counted."""

import collections
import json
from dataclasses import replace

import numpy as np
import pytest
from ase.db import connect

from golfbench.molecules import Molecule, group_of
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef
from golfbench.units import HARTREE_TO_EV

METHOD = "GFN2-xTB"
#: SMILES of the training molecules of the tiny dataset.
INITIAL = {"ethanol": "CCO", "ethylamine": "CCN", "acetaldehyde": "CC=O"}
#: Nothing but the loop: one trained row and the one that it starts from.
SHORT = {"baseline": {"updates": 10}, "references": [], "delta": None, "models": None}


@pytest.fixture
def config(write_config, tiny_model):
    def write(name="run.yaml", golf=None, **changes):
        loop = {"parallel": 3, "steps": 4, "inner_steps": 2, "updates_per_label": 2} | (golf or {})
        return write_config(name, **SHORT | {"models": [tiny_model], "golf": loop} | changes)

    return write


@pytest.fixture
def with_trajectories(copy_of_tiny):
    """Write the trajectories of a copy of the tiny dataset: by default three states of two of its three molecules."""

    def write(change=lambda states: states):
        from golfbench_datasets.files import read_initial, write_trajectories

        starts = {
            group_of(m.id): m for m in (row.molecule for row in read_initial(copy_of_tiny / "initial.db", METHOD))
        }
        rng = np.random.default_rng(3)
        states = [
            replace(start, id=f"{name}/{k}", positions=start.positions + rng.normal(scale=0.02, size=(len(start), 3)))
            for name, start in list(starts.items())[:2]
            for k in range(3)
        ]
        write_trajectories(copy_of_tiny / "trajectories.db", METHOD, change(states))
        return f"folder:path={copy_of_tiny}", states

    return write


def training(run):
    return [call for call in run._lines("oracle_calls.jsonl") if call["purpose"] == "training"]


def test_given_trajectories_are_labelled_and_learned_from(golfbench, config, results, tmp_path, with_trajectories):
    dataset, states = with_trajectories()
    command = ("run", config(dataset=dataset, budget=3, selections=["last"]), "--explorer", "given")
    done = golfbench(*command, "--output", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "out")
    # The last states are two geometries: the third label finds nothing new.
    assert {call["geometry_sha256"] for call in training(run)} == {states[k].geometry_hash() for k in (2, 5)}
    assert "2 of 3 labels were asked for: 20 rounds in a row brought no new geometry" in done.stderr
    (after,) = (row for row in run.rows if row["stage"] == "after")
    assert after["oracle_calls"]["training"] == 2
    assert json.loads((run.path / "manifest.json").read_text())["config"]["golf"]["explorer"] == "given"


def test_walks_of_the_oracle_are_a_selection_beside_others(golfbench, config, results, tmp_path, with_trajectories):
    """The models traj-k of the paper in one grid with a rule that walks on the model."""
    dataset, states = with_trajectories()
    selections = ["oracle-trajectory", "force-mismatch"]
    done = golfbench(
        "run", config(dataset=dataset, budget=4, selections=selections), "--output", str(tmp_path / "out"), "--json"
    )
    assert done.returncode == 0, done.stderr
    asked = {name: set() for name in selections}
    for call in training(results(tmp_path / "out")):
        asked[call["combination"].split("|")[2]].add(call["geometry_sha256"])
    given = {state.geometry_hash() for state in states}
    assert len(asked["oracle-trajectory"]) == 4
    assert asked["oracle-trajectory"] <= given
    assert len(asked["force-mismatch"]) == 4
    assert not asked["force-mismatch"] & given


def test_walks_of_the_oracle_need_a_dataset_that_has_them(golfbench, config):
    done = golfbench("run", config(selections=["oracle-trajectory"]), "--dry-run")
    assert done.returncode == 2
    assert "offers trajectories of the dataset, and 'tiny' has none" in done.stderr


def test_golf_watches_given_trajectories_with_the_surrogate(golfbench, config, results, tmp_path, with_trajectories):
    dataset, states = with_trajectories()
    command = ("run", config(dataset=dataset, budget=2, selections=["golf"]), "--explorer", "given")
    done = golfbench(*command, "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    with open_oracle(ComponentRef("mmff94"), registry()) as mmff94:
        energies = [mmff94.energy(state) for state in states]
    wanted = set()
    for first in (0, 3):  # Algorithm 1 by hand: the state before the first rise, or before the last one; not the start
        rises = [k for k in (1, 2) if energies[first + k] > energies[first + k - 1]]
        wanted.add(states[first + max((rises or [2])[0] - 1, 1)].geometry_hash())
    asked = {call["geometry_sha256"] for call in training(results(tmp_path / "out"))}
    assert asked
    assert asked <= wanted


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
def test_a_dataset_without_trajectories_is_refused(golfbench, config, tmp_path, extra):
    done = golfbench("run", config(), "--explorer", "given", "--output", str(tmp_path / "out"), *extra)
    assert done.returncode == 2
    assert "the explorer 'given' offers trajectories of the dataset, and 'tiny' has none: give --explorer walks" in (
        done.stderr
    )


def other_molecule(states):
    return [replace(state, id=state.id.replace("/", "-b/")) for state in states]


def other_atoms(states):
    return [replace(states[3], id=states[0].id), *states[1:3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [(other_molecule, "'tiny' has none of its training molecules"), (other_atoms, "has other atoms than it")],
)
def test_trajectories_of_other_molecules_are_refused(golfbench, config, tmp_path, with_trajectories, change, message):
    dataset, _ = with_trajectories(change)
    done = golfbench("run", config(dataset=dataset), "--explorer", "given", "--dry-run")
    assert done.returncode == 2
    assert message in done.stderr


def test_trajectories_are_part_of_what_the_hash_of_a_dataset_covers(copy_of_tiny, with_trajectories):
    from golfbench_datasets.reader import open_dataset

    plain = open_dataset(str(copy_of_tiny)).read()
    _, states = with_trajectories()
    with_them = open_dataset(str(copy_of_tiny)).read()
    assert {len(found) for found in with_them.trajectories.values()} == {3}
    for state, read in zip(states, [m for found in with_them.trajectories.values() for m in found], strict=True):
        np.testing.assert_array_equal(read.positions, state.positions)
    with_trajectories(lambda states: states[::-1])
    hashes = {plain.content_hash, with_them.content_hash, open_dataset(str(copy_of_tiny)).read().content_hash}
    assert len(hashes) == 3
    (copy_of_tiny / "trajectories.db").unlink()
    assert open_dataset(str(copy_of_tiny)).read().content_hash == plain.content_hash


@pytest.mark.parametrize(("surrogate", "selection"), [("mmff94", "last"), ("gfn1-xtb", "farthest-features")])
def test_minima_of_the_surrogate_are_labelled(golfbench, config, results, tmp_path, surrogate, selection):
    golf = {"steps": 100}
    command = ("run", config(golf=golf, budget=2, selections=[selection], surrogate=surrogate))
    planned = golfbench(*command, "--explorer", "relaxed", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    done = golfbench(*command, "--explorer", "relaxed", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "out")
    asked = {call["geometry_sha256"]: call["molecule"] for call in training(run)}
    assert len(asked) == 2
    stored = [Molecule("m", row.numbers, row.positions) for row in connect(run.path / "labels.db").select()]
    found = {molecule.geometry_hash(): molecule for molecule in stored}
    with open_oracle(ComponentRef(surrogate), registry()) as oracle:
        for geometry, name in asked.items():
            molecule = replace(found[geometry], smiles=INITIAL[group_of(name)])
            assert np.linalg.norm(oracle.label(molecule)[1], axis=1).max() * HARTREE_TO_EV <= 0.0201
    counts = collections.Counter(
        call["purpose"] for call in run._lines("oracle_calls.jsonl") if call["outcome"] == "ok"
    )
    at_most = json.loads(planned.stdout)["oracle_calls_at_most"].get("selection", 0)
    assert counts["selection"] <= at_most
    assert (counts["selection"] > 0) == (surrogate == "gfn1-xtb")
    (after,) = (row for row in run.rows if row["stage"] == "after")
    assert after["oracle_calls"]["selection"] == counts["selection"]


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
def test_golf_has_no_walk_to_watch_where_minima_are_offered(golfbench, config, extra):
    done = golfbench("run", config(selections=["last", "golf"]), "--explorer", "relaxed", *extra)
    assert done.returncode == 2
    assert "selection 'golf' watches the surrogate along a walk" in done.stderr


def test_a_mistyped_explorer_is_refused(golfbench):
    done = golfbench("run", "--explorer", "walk")
    assert done.returncode == 2
    assert "golf.explorer: Input should be 'walks', 'given' or 'relaxed' (got 'walk')" in done.stderr


def test_what_a_rule_asks_of_an_engine_is_counted_for_the_selection(golfbench, config, results, tmp_path):
    """GOLF whose surrogate is GFN1-xTB: a call at each state that it looks at, in a column of its own."""
    command = ("run", config(budget=3, selections=["golf", "random"], surrogate="gfn1-xtb"))
    plan = json.loads(golfbench(*command, "--dry-run", "--json").stdout)["oracle_calls_at_most"]
    done = golfbench(*command, "--output", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "out")
    calls = run._lines("oracle_calls.jsonl")
    engines = {(call["purpose"], call["oracle"].partition(":")[0]) for call in calls}
    assert engines == {("training", "gfn2-xtb"), ("evaluation", "gfn2-xtb"), ("selection", "gfn1-xtb")}
    watched = [call for call in calls if call["purpose"] == "selection"]
    assert {(call["combination"].split("|")[2], call["stage"]) for call in watched} == {("golf", "after")}
    charged = sum(call["outcome"] != "cache_hit" for call in watched)
    # Each of three trajectories shows its start and at least one more state.
    assert 2 * 3 <= len(watched) <= plan["selection"] == 3 * (4 + 1)
    by_row = {(row["stage"], row["selection"]): row["oracle_calls"] for row in run.rows}
    assert by_row["after", "golf"]["selection"] == charged
    assert by_row["after", "random"]["selection"] == by_row["before", ""]["selection"] == 0
    assert by_row["after", "golf"]["training"] == by_row["after", "random"]["training"] == 3
    shown = golfbench("report", str(run.path), "--wide", "--format", "csv")
    assert "oracle_calls_selection" in shown.stdout.splitlines()[0], shown.stderr
