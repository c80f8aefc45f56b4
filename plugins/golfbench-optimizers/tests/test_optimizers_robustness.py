"""Odd molecules beside good ones, with every optimizer: each ends with a status, and no neighbour notices."""

import numpy as np
import pytest

from golfbench.chemistry import embed
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec

OPTIMIZERS = ("rfo-internal", "lbfgs-internal", "lbfgs", "golf-lbfgs", "fire", "adam", "lion", "gradient-descent")
#: These converge on every odd molecule, within so many force calls; the others may run out of steps.
MOST_CALLS = {"rfo-internal": 10, "lbfgs-internal": 20, "lbfgs": 40, "golf-lbfgs": 40, "fire": 50}
ODD = {
    "atom": "[Cl-]",
    "diatomic": "N#N",
    "CO2": "O=C=O",
    "HCCH": "C#C",
    "HCN": "C#N",
    "cumulated": "C=C=C",
    "alkyne in a chain": "CCC#CCC",
    "two alkynes in a chain": "CC#CC#CC",
    "ring": "C1CC1",
    "fused rings": "c1ccc2ccccc2c1",
    "bridged rings": "C1CC2CCC1C2",
    "two fragments": "CC#N.O",
}
GOOD = ("CCO", "NC=O")
STEPS = 120


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


def molecule(smiles, name=""):
    return embed(smiles, name or smiles, 1, 1)[0]


def squeezed():
    """Return ethanol whose oxygen is 0.5 Å from the hydrogen on it, and water with both hydrogens so close."""
    ethanol, water = molecule("CCO", "squeezed ethanol"), molecule("O", "squeezed water")
    hydrogen, x = 8, ethanol.positions.copy()
    assert np.linalg.norm(x[hydrogen] - x[2]) < 1.1
    x[hydrogen] = x[2] + 0.5 * (x[hydrogen] - x[2]) / np.linalg.norm(x[hydrogen] - x[2])
    y = water.positions.copy()
    y[1:] = y[0] + 0.5 * (y[1:] - y[0]) / np.linalg.norm(y[1:] - y[0], axis=1, keepdims=True)
    return [ethanol.at(x), water.at(y)]


def walked(model, molecules, name, fmax=0.1):
    optimizer = registry().find(OptimizerSpec, name).create({})
    outcomes = minimize(model, molecules, optimizer, StoppingRule(fmax, STEPS), in_flight=5)
    return sorted(outcomes, key=lambda outcome: outcome.point.index)


@pytest.fixture(scope="module")
def odd():
    straight = Molecule("straight", np.array([7, 7]), np.array([[0.0, 0, 0], [0, 0, 1.3]]), smiles="N#N")
    return [molecule(smiles, name) for name, smiles in ODD.items()] + [straight, *squeezed()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_odd_molecules_end_with_a_status_and_disturb_nobody(mmff, odd, name):
    good = [molecule(smiles) for smiles in GOOD]
    outcomes = walked(mmff, [good[0], *odd, good[1]], name)
    alone = [walked(mmff, [m], name)[0] for m in good]
    for one, other in zip((outcomes[0], outcomes[-1]), alone, strict=True):
        assert one.status == other.status
        assert np.array_equal(one.point.positions, other.point.positions)
    statuses = {m.id.removesuffix("/0"): o.status for m, o in zip(odd, outcomes[1:-1], strict=True)}
    assert set(statuses.values()) <= {"converged", "step_limit"}
    assert statuses["atom"] == "converged"
    if name in MOST_CALLS:
        assert set(statuses.values()) == {"converged"}
        assert max(o.model_calls for o in outcomes[1:-1]) <= MOST_CALLS[name]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_converged_input_is_left_where_it_is(mmff, name):
    minima = [o.point.positions for o in walked(mmff, [molecule(s) for s in GOOD], "rfo-internal", fmax=0.01)]
    starts = [molecule(s).at(x) for s, x in zip(GOOD, minima, strict=True)]
    for start, outcome in zip(starts, walked(mmff, starts, name, fmax=0.01), strict=True):
        assert (outcome.status, outcome.model_calls) == ("converged", 1)
        assert np.array_equal(outcome.point.positions, start.positions)
