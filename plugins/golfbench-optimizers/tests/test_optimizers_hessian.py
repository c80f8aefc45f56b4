"""A Hessian that is known at the start: its projection on internal coordinates, and walks that begin with it."""

import numpy as np
import pytest
import torch

from golfbench.chemistry import embed
from golfbench.contracts import TakesHessian
from golfbench.curvature import hessian, rigid_motions
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.specs import ComponentRef
from golfbench.units import HARTREE_TO_EV
from golfbench_optimizers.hessian_guess import force_constants
from golfbench_optimizers.internals import values_and_derivatives
from golfbench_optimizers.projection import SOFTEST, STIFFEST, projected
from golfbench_optimizers.restricted_step import SLACK
from golfbench_optimizers.rfo_internal import CARTESIAN, RFOInternal, Walk, first_radius, trust_weights
from golfbench_optimizers.topology import find_topology

SMILES = ["CC(=O)Nc1ccc(O)cc1", "CC#CC", "NNC(=O)c1ccncc1", "O.CO"]


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


@pytest.fixture(scope="module")
def minima(mmff):
    starts = [embed(smiles, smiles, 1, 3)[0] for smiles in SMILES]
    ends = minimize(mmff, starts, RFOInternal(), StoppingRule(0.001, 300))
    return {SMILES[o.point.index]: starts[o.point.index].at(o.point.positions) for o in ends}


def coordinates(molecule):
    topology = find_topology(molecule.numbers, molecule.positions)
    _, matrix = values_and_derivatives(topology, molecule.positions)
    return topology, matrix, force_constants(topology, molecule.numbers, molecule.positions)


def shaken(molecule, scale):
    noise = np.random.default_rng(7).normal(scale=scale, size=molecule.positions.shape)
    return molecule.at(molecule.positions + noise)


@pytest.mark.parametrize("smiles", SMILES)
def test_a_hessian_within_bounds_is_what_the_force_constants_give(minima, smiles):
    """One that the guess itself has, made softer and stiffer along two directions."""
    _, matrix, constants = coordinates(minima[smiles])
    guess = (matrix.T * constants) @ matrix
    rng = np.random.default_rng(1)
    wanted = guess * 1.5
    for factor in (0.5, 2.0):
        along = guess @ rng.normal(size=len(guess))
        wanted = wanted + (factor - 1) * np.outer(along, along) / (along @ np.linalg.pinv(guess) @ along) / 2
    found = matrix.T @ projected(wanted, matrix, constants) @ matrix
    np.testing.assert_allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize("smiles", SMILES)
def test_what_is_negative_tiny_or_wild_is_bounded(minima, smiles):
    _, matrix, constants = coordinates(minima[smiles])
    guess = (matrix.T * constants) @ matrix
    for hessian_, bound in ((-guess, SOFTEST), (0 * guess, SOFTEST), (1e4 * guess, STIFFEST)):
        np.testing.assert_allclose(matrix.T @ projected(hessian_, matrix, constants) @ matrix, bound * guess, atol=1e-8)
        assert np.linalg.eigvalsh(projected(hessian_, matrix, constants)).min() > 0


@pytest.mark.parametrize("smiles", SMILES)
def test_rigid_motions_have_no_curvature(mmff, minima, smiles):
    molecule = minima[smiles]
    _, matrix, constants = coordinates(molecule)
    found = matrix.T @ projected(hessian(mmff, molecule), matrix, constants) @ matrix
    # bends of straight chains have axes that do not turn with the molecule
    np.testing.assert_allclose(rigid_motions(molecule.positions) @ found, 0, atol=1e-4)


def test_with_the_hessian_of_its_minimum_a_walk_needs_fewer_steps(mmff, minima):
    molecules = [shaken(minima[smiles], 0.005) for smiles in SMILES[:3]]
    known = [hessian(mmff, minima[smiles]) for smiles in SMILES[:3]]
    rule = StoppingRule(0.002, 200)
    calls = {
        name: {o.point.index: o for o in minimize(mmff, molecules, RFOInternal(), rule, hessians=hessians)}
        for name, hessians in (("guess", None), ("known", known))
    }
    assert {o.status for found in calls.values() for o in found.values()} == {"converged"}
    guess, with_known = (sum(o.model_calls for o in calls[name].values()) for name in ("guess", "known"))
    assert with_known < 0.7 * guess
    for k in range(3):
        assert calls["known"][k].point.energy == pytest.approx(calls["guess"][k].point.energy, abs=1e-5)


def test_a_slot_forgets_the_hessian_of_the_molecule_before(minima):
    molecule, optimizer = minima[SMILES[0]], RFOInternal()
    size = len(molecule)
    moves = []
    for known in (None, np.eye(3 * size), None):
        optimizer.allocate(1, size, torch.device("cpu"))
        optimizer.admit(0, molecule)
        if known is not None:
            optimizer.start_from(0, known)
        forces = torch.from_numpy(np.random.default_rng(2).normal(scale=0.01, size=(1, size, 3)))
        given = torch.from_numpy(molecule.positions)[None], torch.zeros(1, dtype=torch.float64), forces
        moves.append(optimizer.step(torch.tensor([0]), *given).numpy())
    assert isinstance(optimizer, TakesHessian)
    np.testing.assert_array_equal(moves[0], moves[2])
    assert np.abs(moves[0] - moves[1]).max() > 1e-3


@pytest.mark.parametrize("smiles", SMILES)
def test_the_first_step_near_a_minimum_is_short_even_along_the_softest_motion(minima, smiles):
    """Isoniazid began 0.03 eV/Å from its minimum, and its first steps were of 0.6 Å and rad."""
    molecule = minima[smiles]
    topology, matrix, constants = coordinates(molecule)
    values, vectors = np.linalg.eigh((matrix.T * constants) @ matrix)
    softest = vectors[:, values > 1e-6 * values[-1]][:, 0].reshape(-1, 3)
    gradient = softest * (0.03 / HARTREE_TO_EV / np.linalg.norm(softest, axis=1).max())
    walk = Walk(molecule.numbers, 100, 0.6)
    moved = walk.next(molecule.positions, 0.0, gradient)
    change = matrix @ (moved - molecule.positions).reshape(-1)
    length = np.sqrt(trust_weights(topology) @ change**2)
    assert 0 < length < 1.2 * SLACK * 0.05  # the step is straight to first order
    assert CARTESIAN > 0


def test_walks_from_embedded_conformers_begin_with_the_largest_radius(mmff):
    gradients = []

    def observe(point):
        gradients.append(-point.forces)
        return True

    starts = [embed(smiles, smiles, 1, 3)[0] for smiles in (SMILES[0], SMILES[2])]
    list(minimize(mmff, starts, RFOInternal(), StoppingRule(0.01, 9), observe))
    assert [first_radius(gradient) >= 0.6 for gradient in gradients] == [True] * 2
