"""The kit on what ships: every check passes, and the numbers are far from their tolerances."""

import pytest

from golfbench.testing import Examination, contract_tests

OWN = [
    ("model", "painn:preset=small,features=16,interactions=1,radial=8"),
    ("model", "schnet:preset=small,features=16,interactions=1,radial=8"),
    ("model", "mace:channels=4,harmonics=1,readout=4,radial_mlp=8"),
    ("model", "nequip:features=4,layers=1,radial_neurons=8"),
    ("model", "so3lr:features=8,heads=2,layers=1,radial=4,degrees=1 2"),
    ("optimizer", "lbfgs"),
    ("optimizer", "gradient-descent"),
    ("optimizer", "rfo-internal"),
    ("optimizer", "lbfgs-internal"),
    ("optimizer", "golf-lbfgs"),
    ("optimizer", "fire"),
    ("optimizer", "adam"),
    ("optimizer", "lion"),
    ("selection", "golf"),
    ("selection", "random"),
    ("selection", "none"),
    ("oracle", "mmff94"),
    ("oracle", "uff"),
    ("oracle", "gfn1-xtb"),
    ("oracle", "gfn2-xtb"),
    ("dataset", "druglike-mini"),
    ("executor", "local"),
    ("logger", "tensorboard"),
]


@pytest.mark.parametrize(("kind", "reference"), OWN)
def test_everything_that_ships_keeps_the_contract(kind, reference, examine):
    results = examine(kind, reference)
    assert [str(r) for r in results.values() if r.status == "failed"] == []
    assert len(results) >= (8 if kind == "executor" else 14)


def test_measured_numbers_are_those_of_the_engine(examine):
    results = examine("oracle", "gfn2-xtb")
    assert 1e-9 < results["forces"].measured < 1e-5  # the convergence of xTB's charges
    assert results["forces"].tolerance == 5e-4
    assert results["forces"].unit == "Hartree/Å"
    assert 1.0 < results["energy-unit"].measured < 1.5
    assert "costs 1.15 kcal/mol" in results["energy-unit"].explanation


def test_checks_that_say_nothing_of_a_component_are_left_out():
    in_process, isolated = (set(Examination("oracle", name).checks) for name in ("mmff94", "gfn2-xtb"))
    assert in_process - isolated == {"global-state"}
    assert isolated - in_process == {"fresh-process"}


def test_a_component_without_its_parameters_is_skipped_not_failed(examine, failed):
    results = examine("dataset", "folder")
    assert failed(results) == set()
    assert results["factory"].status == "skipped"
    assert "folder:path=DIRECTORY" in results["factory"].explanation
    assert results["content"].explanation == "not judged, because 'factory' did not pass"


test_three_lines_are_enough = contract_tests("selection", "last")
