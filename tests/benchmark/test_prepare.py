import collections
import json

import numpy as np
import pytest

from golfbench.benchmark.prepare import expected_calls, limited, prepare
from golfbench.benchmark.protocol import Protocol
from golfbench.contracts import Dataset
from golfbench.errors import NothingToDoError, OracleError
from golfbench.molecules import group_of
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV

GFN1 = ComponentRef("gfn1-xtb")


def lbfgs():
    return registry().find(OptimizerSpec, "lbfgs").create({})


@pytest.fixture(scope="module")
def mini() -> Dataset:
    return open_dataset("druglike-mini")


@pytest.fixture(scope="module")
def prepared(mini, tmp_path_factory):
    """One training and one test molecule of druglike-mini (GFN2-xTB) at GFN1-xTB, and the ledger of that."""
    folder = tmp_path_factory.mktemp("gfn1")
    dataset = limited(mini, 1)
    service = OracleService(folder, workers=2)
    try:
        ready = prepare(dataset, "GFN1-xTB", GFN1, service, lbfgs, Protocol())
        before = (folder / "oracle_calls.jsonl").read_text()
        again = prepare(dataset, "GFN1-xTB", GFN1, service, lbfgs, Protocol())
    finally:
        service.close()
    assert (folder / "oracle_calls.jsonl").read_text() == before  # nothing is asked twice
    assert again.test[0].minimum.energy == ready.test[0].minimum.energy
    return dataset, ready, [json.loads(line) for line in before.splitlines()]


def test_a_limit_keeps_conformations_of_as_many_compounds_as_there_are(mini):
    small = limited(mini, 2)
    assert len({group_of(item.molecule.id) for item in small.initial}) == len(small.initial) == 2
    assert len(small.test) == 2
    compounds = len({group_of(item.molecule.id) for item in mini.initial})
    larger = limited(mini, compounds + 3)
    assert len(larger.initial) == compounds + 3
    assert len({group_of(item.molecule.id) for item in larger.initial}) == compounds
    order = {item.molecule.id: index for index, item in enumerate(mini.initial)}
    kept = [order[item.molecule.id] for item in larger.initial]
    assert kept == sorted(kept)
    assert limited(mini, None) is mini
    with pytest.raises(NothingToDoError, match="is empty"):
        limited(Dataset("none", "x", [], [], ""), None)


def test_the_same_level_of_theory_costs_nothing(mini, tmp_path):
    service = OracleService(tmp_path)
    assert prepare(mini, "GFN2-xTB", ComponentRef("gfn2-xtb"), service, lbfgs, Protocol()) is mini
    service.close()
    assert expected_calls(mini, "GFN2-xTB", Protocol()).initial == 0
    assert (tmp_path / "oracle_calls.jsonl").read_text() == ""


def test_another_level_of_theory_is_asked_for_by_purpose(prepared):
    dataset, _, calls = prepared
    counted = collections.Counter((c["combination"], c["stage"], c["purpose"], c["outcome"]) for c in calls)
    expected = expected_calls(dataset, "GFN1-xTB", Protocol())
    assert counted.keys() == {("", "before", "initial", "ok"), ("", "reference", "reference", "ok")}
    assert counted["", "before", "initial", "ok"] == len(dataset.initial) == expected.initial == 1
    assert 10 < counted["", "reference", "reference", "ok"] <= expected.reference == 502
    assert {c["method"] for c in calls} == {"GFN1-xTB"}
    assert len({c["geometry_sha256"] for c in calls}) == len(calls)


def test_labels_and_minima_are_the_oracles_own(prepared):
    dataset, ready, _ = prepared
    assert ready.method == "GFN1-xTB"
    assert ready.checkpoints == ready.atom_energies == {}
    assert [item.molecule.id for item in ready.initial] == [item.molecule.id for item in dataset.initial]
    (test,) = ready.test
    with open_oracle(GFN1, registry()) as oracle:
        for molecule, label in (
            (ready.initial[0].molecule, ready.initial[0].label),
            (test.molecule, test.start),
            (test.molecule.at(test.minimum_positions), test.minimum),
        ):
            energy, forces = oracle.label(molecule)
            assert label.method == "GFN1-xTB"
            assert label.energy == energy
            np.testing.assert_array_equal(label.forces, forces)


def test_a_minimum_is_proven_below_the_threshold(prepared):
    _, ready, _ = prepared
    (test,) = ready.test
    largest = np.linalg.norm(test.minimum.forces, axis=1).max() * HARTREE_TO_EV
    assert largest <= Protocol().reference_force_max_ev_per_angstrom == 0.01
    assert test.minimum.energy < test.start.energy


def test_a_minimum_that_is_not_reached_is_none_and_without_any_it_is_an_error(mini, tmp_path, caplog):
    service = OracleService(tmp_path)
    short = Protocol(reference_steps=2)
    with pytest.raises(OracleError, match="mmff94: none of 1 walks ended in a reference minimum"):
        prepare(limited(mini, 1), "MMFF94", ComponentRef("mmff94"), service, lbfgs, short)
    service.close()
    assert "no reference minimum (step_limit after 2 steps)" in caplog.text
