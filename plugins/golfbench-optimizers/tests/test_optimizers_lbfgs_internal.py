"""The model Hessian of ``lbfgs-internal``, assembled for many molecules at once, and the walks on top of it."""

import numpy as np
import pytest
import torch

from golfbench.chemistry import embed
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.specs import ComponentRef
from golfbench_optimizers.hessian_guess import contact_curvature, contact_pairs, force_constants
from golfbench_optimizers.internals import values_and_derivatives
from golfbench_optimizers.lbfgs import LBFGS
from golfbench_optimizers.lbfgs_internal import CARTESIAN, FRAGMENTS, Frame, LBFGSInternal, model_hessians
from golfbench_optimizers.topology import find_topology

PARACETAMOL, BUTYNE, IBUPROFEN = "CC(=O)Nc1ccc(O)cc1", "CC#CC", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
MIXED = (PARACETAMOL, BUTYNE, "CC#N.O", IBUPROFEN, "O", "CN1CCC[C@H]1c1cccnc1")
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def start(smiles):
    return embed(smiles, smiles, 1, 1)[0]


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


def walked(model, molecules, optimizer, fmax=0.05, limit=300, **settings):
    outcomes = minimize(model, molecules, optimizer, StoppingRule(fmax, limit), **settings)
    return sorted(outcomes, key=lambda outcome: outcome.point.index)


def padded(molecules):
    positions = np.zeros((len(molecules), max(map(len, molecules)), 3))
    for row, molecule in zip(positions, molecules, strict=True):
        row[: len(molecule)] = molecule.positions
    return positions


def dense(molecule):
    """Return BᵀKB + c·1, from the whole B matrix."""
    numbers, x = molecule.numbers, molecule.positions
    topology = find_topology(numbers, x)
    _, matrix = values_and_derivatives(topology, x)
    constants = force_constants(topology, numbers, x)
    contacts = contact_curvature(contact_pairs(topology), numbers, x)
    cartesian = FRAGMENTS if topology.auxiliary.any() else CARTESIAN
    return matrix.T @ (constants[:, None] * matrix) + contacts + cartesian * np.eye(x.size)


def test_model_hessians_are_those_of_the_whole_matrices():
    molecules = [start(smiles) for smiles in MIXED]
    frames = {row: Frame.of(m.numbers, m.positions) for row, m in enumerate(molecules)}
    seen = []
    for rows, hessians in model_hessians(frames, padded(molecules)):
        assert hessians.shape[1] % 24 == 0
        for row, hessian in zip(rows.tolist(), hessians.numpy(), strict=True):
            size = 3 * len(molecules[row])
            seen.append(row)
            assert np.abs(hessian[:size, :size] - dense(molecules[row])).max() < 1e-12
            padding = hessian[size:, size:]
            assert np.array_equal(padding, padding[0, 0] * np.eye(len(padding)))
            assert padding[0, 0] in (CARTESIAN, FRAGMENTS)
            assert not hessian[:size, size:].any()
    assert sorted(seen) == list(range(len(MIXED)))


def test_first_step_is_newtons_on_the_model(mmff):
    molecules = [start(smiles) for smiles in MIXED]
    positions = torch.from_numpy(padded(molecules))
    moving = LBFGSInternal(max_step=1e6)
    moving.allocate(len(molecules), positions.shape[1], torch.device("cpu"))
    forces = torch.zeros_like(positions)
    generator = torch.Generator().manual_seed(1)
    for slot, molecule in enumerate(molecules):
        moving.admit(slot, molecule)
        forces[slot, : len(molecule)] = torch.randn(len(molecule), 3, generator=generator, dtype=torch.float64) / 100
    steps = moving.step(torch.arange(len(molecules)), positions, torch.zeros(len(molecules)), forces)
    for molecule, force, step in zip(molecules, forces.numpy(), steps.numpy(), strict=True):
        size = len(molecule)
        newton = np.linalg.solve(dense(molecule), force[:size].ravel())
        assert np.abs(step[:size].ravel() - newton).max() < 1e-9
        assert not step[size:].any()


def test_fewer_than_half_the_force_calls_of_lbfgs(mmff):
    molecules = [start(s) for s in (*MIXED, "NC(=O)c1ccccc1O")]
    ours = walked(mmff, molecules, LBFGSInternal())
    theirs = walked(mmff, molecules, LBFGS())
    assert {o.status for o in ours + theirs} == {"converged"}
    assert 2 * sum(o.model_calls for o in ours) < sum(o.model_calls for o in theirs)


def test_a_path_is_the_same_alone_in_a_batch_and_in_another_order(mmff):
    molecules = [start(s) for s in MIXED]
    together = walked(mmff, molecules, LBFGSInternal(), in_flight=6)
    refilled = walked(mmff, molecules, LBFGSInternal(), in_flight=2)
    backwards = walked(mmff, molecules[::-1], LBFGSInternal(), in_flight=3)[::-1]
    alone = [walked(mmff, [molecule], LBFGSInternal())[0] for molecule in molecules]
    for others in (refilled, backwards, alone):
        for one, other in zip(together, others, strict=True):
            assert one.model_calls == other.model_calls
            assert np.array_equal(one.point.positions, other.point.positions)


def test_a_molecule_larger_than_its_row_of_vectors(mmff):
    # 83 atoms: 249 numbers in a row of 256, and a matrix of 264
    alkane = start("C" * 27)
    assert len(alkane) == 83
    (outcome,) = walked(mmff, [alkane], LBFGSInternal(), limit=4)
    wide, _ = walked(mmff, [alkane, start("C" * 30)], LBFGSInternal(), limit=4)
    assert outcome.point.energy < mmff_energy(mmff, alkane)
    assert np.array_equal(outcome.point.positions, wide.point.positions)


def mmff_energy(mmff, molecule):
    (outcome,) = walked(mmff, [molecule], LBFGS(), limit=0)
    return outcome.point.energy


def test_coordinates_are_chosen_anew_when_an_angle_straightens(mmff):
    bent = start("C#N").at(np.array([[0.0, 0, 0], [1.16, 0, 0], [-0.8, 0.7, 0]]))
    (outcome,) = walked(mmff, [bent], LBFGSInternal(), fmax=0.01)
    x = outcome.point.positions
    assert outcome.status == "converged"
    assert outcome.model_calls < 20
    assert np.dot(x[1] - x[0], x[2] - x[0]) / np.linalg.norm(x[1] - x[0]) / np.linalg.norm(x[2] - x[0]) < -0.9999


def one_step(positions, forces):
    moving = LBFGSInternal()
    moving.allocate(1, 3, torch.device("cpu"))
    moving.admit(0, Molecule("w", np.array([8, 1, 1]), WATER))
    return moving.step(torch.tensor([0]), torch.as_tensor(positions)[None], torch.zeros(1), forces)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_force_that_is_not_finite_moves_nothing(value):
    assert not one_step(WATER, torch.full((1, 3, 3), value, dtype=torch.float64)).any()


def test_coinciding_atoms_follow_their_forces():
    forces = torch.tensor([[[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0]]], dtype=torch.float64)
    step = one_step(np.zeros((3, 3)), forces)
    assert torch.isfinite(step).all()
    assert step[0, 0, 0] > 0 > step[0, 1, 0]
    assert float(step.norm(dim=-1).max()) <= 0.3 + 1e-12


def test_the_walk_goes_on_from_the_point_before_when_the_energy_rises():
    moving = LBFGSInternal()
    moving.allocate(1, 3, torch.device("cpu"))
    moving.admit(0, Molecule("w", np.array([8, 1, 1]), WATER))
    start, slot = torch.from_numpy(WATER)[None], torch.tensor([0])
    pull = torch.tensor([[[3.0, 0, 0], [-3.0, 0, 0], [0, 0, 0]]], dtype=torch.float64)
    first = moving.step(slot, start, torch.tensor([-1.0], dtype=torch.float64), pull)
    assert float(first.norm(dim=-1).max()) == pytest.approx(0.3)
    worse = start + first
    second = moving.step(slot, worse, torch.tensor([-1.0 + 6e-4], dtype=torch.float64), -pull)
    # half of the bound from the start, whatever the pair has taught
    assert float((worse + second - start).norm(dim=-1).max()) <= 0.15 + 1e-12
    third = moving.step(slot, worse, torch.tensor([-1.0 + 4e-4], dtype=torch.float64), -pull)
    assert float(third.norm(dim=-1).max()) <= 0.075 + 1e-12  # accepted, but with half of that bound
