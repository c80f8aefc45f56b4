"""The smallest curvature of model energies whose second derivatives are known."""

import numpy as np
import pytest
import torch

from golfbench import curvature
from golfbench.contracts import Evaluation
from golfbench.curvature import hessian, pushed, rigid_motions, smallest_curvature
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV


class Springs:
    """Springs between all pairs: ``constant`` · (r - length)² / 2; forces by torch."""

    cutoff = None

    def __init__(self, constant, length):
        self.constant, self.length, self.calls = constant, length, 0

    def energy_forces(self, batch):
        self.calls += len(batch)
        x = batch.positions.clone().requires_grad_()
        i, j = batch.pairs
        distances = (x[i] - x[j]).norm(dim=1)
        pairs = self.constant * (distances - self.length) ** 2 / 4  # each pair comes twice
        energies = torch.zeros(len(batch), dtype=torch.float64).index_add(0, batch.molecule[i], pairs)
        (gradient,) = torch.autograd.grad(energies.sum(), x)
        return Evaluation(energies.detach(), -gradient)


def molecule(*positions):
    return Molecule(id="m", numbers=np.full(len(positions), 18), positions=np.array(positions, dtype=float))


def triangle(size):
    return molecule((0, 0, 0), (size, 0, 0), (size / 2, size * np.sqrt(0.75), 0))


def chain(n, bend=0.0):
    k = np.arange(n)
    return molecule(*np.stack([1.1 * k, bend * np.cos(k), bend * np.sin(1.7 * k)], axis=1))


@pytest.mark.parametrize(
    ("positions", "motions"),
    [
        ([(1, 2, 3)], 3),
        ([(0, 0, 0), (0, 0, 1.1)], 5),
        ([(0, 0, 0), (0.7, 0.7, 0.7), (1.5, 1.5, 1.5)], 5),
        ([(0, 0, 0), (1, 0, 0), (0, 1, 0)], 6),
    ],
)
def test_rigid_motions_change_no_distance(positions, motions):
    x = np.array(positions, dtype=float) + np.array([3.0, -2.0, 5.0])
    rows = rigid_motions(x)
    assert len(rows) == motions
    np.testing.assert_allclose(rows @ rows.T, np.eye(motions), atol=1e-12)
    for row in rows.reshape(motions, -1, 3):
        moved = x + 1e-5 * row
        before, after = (np.linalg.norm(y[:, None] - y, axis=-1) for y in (x, moved))
        assert np.abs(after - before).max() < 1e-9


def test_a_diatomic_has_twice_the_constant_of_its_spring():
    """Along (1, -1)/√2 the distance changes by √2: k·(√2)² = 2k."""
    model = Springs(0.3, 1.5)
    found = smallest_curvature(model, molecule((0, 0, 0), (0.9, 0.9, np.sqrt(1.5**2 - 2 * 0.81))))
    assert found.ev_per_angstrom2 == pytest.approx(0.6 * HARTREE_TO_EV, rel=1e-4)
    assert model.calls == 12


def test_a_triangle_has_three_halves_of_the_constant():
    """Three equal masses and springs: the degenerate mode has 3k/2, the breathing one 3k."""
    found = smallest_curvature(Springs(0.2, 2.0), triangle(2.0))
    assert found.ev_per_angstrom2 == pytest.approx(0.3 * HARTREE_TO_EV, rel=1e-4)


def test_a_line_that_wants_to_be_a_triangle_is_at_a_saddle():
    """Springs of 2 Å pull the ends of a line (0, a, 2a) together: at rest a = 4/3.

    The force on an end, (a - 2) + (2a - 2), is none there. Bending by (1, -2, 1)/√6 · t across, the short
    bonds lengthen by (3t/√6)²/(2a) = 3t²/(4a) each: d²E/dt² = 2 · k(a - 2) · 3/(2a) = -1.5 k.
    """
    found = smallest_curvature(Springs(0.2, 2.0), molecule((0, 0, 0), (4 / 3, 0, 0), (8 / 3, 0, 0)))
    assert found.ev_per_angstrom2 == pytest.approx(-0.3 * HARTREE_TO_EV, rel=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found.mode, axis=1), np.array([1, 2, 1]) / np.sqrt(6), atol=1e-6)
    assert np.abs(found.mode[:, 0]).max() < 1e-6


def test_an_atom_has_no_curvature():
    model = Springs(0.2, 2.0)
    assert smallest_curvature(model, molecule((1, 1, 1))).ev_per_angstrom2 == np.inf
    assert model.calls == 0


@pytest.mark.parametrize(("size", "bend"), [(2, 0.0), (5, 0.0), (9, 0.4)])
def test_iterations_find_what_the_whole_matrix_has(size, bend, monkeypatch):
    start, model = chain(size, bend), Springs(0.05, 1.6)
    whole = smallest_curvature(model, start)
    monkeypatch.setattr(curvature, "WHOLE", 0)
    found = smallest_curvature(model, start)
    assert found.ev_per_angstrom2 == pytest.approx(whole.ev_per_angstrom2, abs=0.002)
    assert found.error_ev_per_angstrom2 < curvature.SETTLED


def test_too_few_iterations_say_how_uncertain_they_are(monkeypatch):
    monkeypatch.setattr(curvature, "WHOLE", 0)
    monkeypatch.setattr(curvature, "ITERATIONS", 3)
    found = smallest_curvature(Springs(0.05, 1.6), chain(9, 0.4))
    assert found.error_ev_per_angstrom2 > curvature.SETTLED


def test_a_push_goes_to_the_lower_side_and_always_to_the_same_one():
    model, line = Springs(0.2, 2.0), molecule((0, 0, 0), (4 / 3, 0, 0), (8 / 3, 0, 0))
    mode = smallest_curvature(model, line).mode
    first, second = pushed(model, line, mode), pushed(model, line, -mode)
    np.testing.assert_allclose(first.positions, second.positions, atol=1e-12)
    assert np.linalg.norm(first.positions - line.positions, axis=1).max() == pytest.approx(curvature.PUSH)
    stretch = np.array([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]])  # downhill is only towards longer springs
    short = molecule((0, 0, 0), (1, 0, 0), (2, 0, 0))
    for sign in (1, -1):
        assert np.ptp(pushed(model, short, sign * stretch).positions[:, 0]) == pytest.approx(2.2)


def test_forces_that_are_no_numbers_are_an_error():
    with pytest.raises(MoleculeError, match="no number"):
        smallest_curvature(Springs(np.nan, 2.0), triangle(2.0))


def test_the_hessian_of_springs_at_rest_is_that_of_its_formula():
    """Of a spring at its length: constant · u uᵀ between its ends, and nothing across."""
    positions = np.array([(0, 0, 0), (1.5, 0, 0), (0.75, 1.299038105676658, 0)])
    expected = np.zeros((9, 9))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        unit = (positions[i] - positions[j]) / 1.5
        along = np.zeros((3, 3))
        along[i], along[j] = unit, -unit
        expected += 0.3 * np.outer(along.reshape(-1), along.reshape(-1))
    found = hessian(Springs(0.3, 1.5), molecule(*positions))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found, found.T)


def test_a_model_that_knows_its_hessian_is_asked_for_it():
    class Knows(Springs):
        def second_derivatives(self, molecule):
            return np.arange(36.0).reshape(6, 6)

    model = Knows(0.3, 1.5)
    found = hessian(model, molecule((0, 0, 0), (1.5, 0, 0)))
    np.testing.assert_array_equal(found, (np.arange(36.0).reshape(6, 6) + np.arange(36.0).reshape(6, 6).T) / 2)
    assert model.calls == 0


def test_a_hessian_that_is_no_number_is_an_error():
    class Broken(Springs):
        def second_derivatives(self, molecule):
            return np.full((6, 6), np.nan)

    with pytest.raises(MoleculeError, match="no number"):
        hessian(Broken(0.3, 1.5), molecule((0, 0, 0), (1.5, 0, 0)))
