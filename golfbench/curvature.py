"""Whether a stationary point is a minimum: the smallest curvature of its energy, from differences of forces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import FloatArray, HasHessian, Model, device_of
from golfbench.errors import MoleculeError
from golfbench.minimization import together
from golfbench.molecules import Molecule
from golfbench.rigid import rigid_motions as rigid_motions
from golfbench.rigid import without_net_force as without_net_force
from golfbench.units import HARTREE_TO_EV

#: Å; length of the displacements whose forces are subtracted. The error of a central difference grows with its square;
#: the effect of noise in the forces falls with it.
DISPLACEMENT = 0.005
#: Forces are computed in an orientation without symmetry: where atoms share a coordinate, xtb 22.1 gives wrong forces
#: with the right energy. Our own oracle avoids that; xtb through ASE or QCEngine does not.
TURN = np.array([[2, -10, 11], [14, 5, 2], [-5, 10, 10]]) / 15
#: Å; how far the atom that moves most is pushed. A push of 0.01 Å is too small for eclipsed ethane.
PUSH = 0.1
#: Hartree; energies that differ by less are the same.
SAME_ENERGY = 1e-6
#: Atoms up to which the whole matrix of second derivatives is made. Above that the iterations cost less.
WHOLE = 100
#: Iterations, at most, and the error of the smallest curvature (eV/Å²) at which they end.
ITERATIONS, SETTLED = 250, 0.002


@dataclass(frozen=True, slots=True)
class Curvature:
    """The direction in which the energy rises least, or falls most.

    Attributes:
        ev_per_angstrom2: Second derivative of the energy along it; infinity where there are only rigid motions.
        mode: (n_atoms, 3), of length 1.
        error_ev_per_angstrom2: By how much the smallest curvature can be below that, as far as it was searched.
    """

    ev_per_angstrom2: float
    mode: FloatArray
    error_ev_per_angstrom2: float


def smallest_curvature(model: Model, molecule: Molecule) -> Curvature:
    """Return the smallest curvature of the energy at a geometry, without translations and rotations.

    Coordinates are Cartesian without masses: the signs are those of the vibrations, the values are not.
    Up to ``WHOLE`` atoms all second derivatives are taken, by central differences of forces; above, Lanczos'
    iterations with full orthogonalization find the smallest one.

    Args:
        model: Gives energies and forces.
        molecule: Where its forces are small.

    Raises:
        Exception: What the model raised, or a ``MoleculeError`` if a force is no number.
    """
    rigid = rigid_motions(molecule.positions)
    if len(rigid) == 3 * len(molecule):
        return Curvature(np.inf, np.zeros((len(molecule), 3)), 0.0)
    find = _by_matrix if len(molecule) <= WHOLE else _by_iterations
    value, mode, error = find(partial(_second_derivatives, model, molecule), rigid)
    return Curvature(value, mode.reshape(-1, 3), error)


def hessian(model: Model, molecule: Molecule) -> FloatArray:
    """Return the second derivatives of a model's energy at a geometry.

    The model's own if it has them (``contracts.HasHessian``), else central differences of its forces: six
    evaluations for each atom.

    Returns:
        (3·n_atoms, 3·n_atoms), symmetric, Hartree/Å².

    Raises:
        Exception: What the model raised, or a ``MoleculeError`` if a derivative is no number.
    """
    if isinstance(model, HasHessian):
        found = model.second_derivatives(molecule)
    else:
        found = _second_derivatives(model, molecule, np.eye(3 * len(molecule))) / HARTREE_TO_EV
    if not np.isfinite(found).all():
        raise MoleculeError(f"{molecule.id}: a second derivative is no number")
    symmetric: FloatArray = (found + found.T) / 2
    return symmetric


def pushed(model: Model, molecule: Molecule, mode: FloatArray) -> Molecule:
    """Return a molecule pushed along a mode (n_atoms, 3) to the side of the lower energy, for two force evaluations.

    Where both sides have the same energy, as at a saddle of a symmetric molecule, the choice is always the same one.

    Raises:
        Exception: What the model raised, or a ``MoleculeError`` if an energy is no number.
    """
    first = mode.flat[np.abs(mode).round(4).argmax()]  # rounded: of components equal by symmetry the first
    step = mode * (np.sign(first) * PUSH / np.linalg.norm(mode, axis=1).max())
    (plus, minus), _ = _evaluate(model, molecule, np.stack([step, -step]))
    return molecule.at(molecule.positions + (-step if minus < plus - SAME_ENERGY else step))


def _by_matrix(product: Callable[[FloatArray], FloatArray], rigid: FloatArray) -> tuple[float, FloatArray, float]:
    # The last rows of the full matrix of right singular vectors are orthogonal to rigid motions, and span the rest.
    inner = np.linalg.svd(rigid)[2][len(rigid) :]
    hessian = product(np.eye(rigid.shape[1]))
    values, vectors = np.linalg.eigh(inner @ (hessian + hessian.T) @ inner.T / 2)
    return float(values[0]), vectors[:, 0] @ inner, 0.0


def _by_iterations(product: Callable[[FloatArray], FloatArray], rigid: FloatArray) -> tuple[float, FloatArray, float]:
    """Return the smallest Ritz value, its vector and the length of its residual."""
    start: FloatArray = np.random.default_rng(0).normal(size=rigid.shape[1:])
    basis, products = np.empty((0, len(start))), np.empty((0, len(start)))
    while True:
        for _ in range(2):  # once more, against rounding errors
            start = start - (start @ rigid.T) @ rigid - (start @ basis.T) @ basis
        basis = np.vstack([basis, start / np.linalg.norm(start)])
        products = np.vstack([products, product(basis[-1:])])
        small = basis @ products.T
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        mode = vectors[:, 0] @ basis
        along = vectors[:, 0] @ products
        residual = along - values[0] * mode - (along @ rigid.T) @ rigid
        error = float(np.linalg.norm(residual))
        if error < SETTLED or len(basis) == min(ITERATIONS, len(start) - len(rigid)):
            return float(values[0]), mode, error
        start = products[-1]


def _second_derivatives(model: Model, molecule: Molecule, directions: FloatArray) -> FloatArray:
    """Return the derivatives (m, 3·n_atoms) of the gradient along unit vectors (m, 3·n_atoms), eV/Å²."""
    steps = DISPLACEMENT * directions.reshape(-1, len(molecule), 3)
    _, forces = _evaluate(model, molecule, np.concatenate([steps, -steps]))
    plus, minus = forces.reshape(2, len(directions), -1)
    derivatives: FloatArray = (minus - plus) * HARTREE_TO_EV / (2 * DISPLACEMENT)
    return derivatives


def _evaluate(model: Model, molecule: Molecule, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return energies (m,), Hartree, and forces (m, n_atoms, 3), Hartree/Å, displaced by (m, n_atoms, 3), Å."""
    device = device_of(model)
    turned, turned_steps = molecule.positions @ TURN, steps @ TURN
    most = together(len(molecule), model.cutoff, torch.device(device).type)
    energies, forces = [], []
    for first in range(0, len(steps), most):
        moved = [molecule.at(turned + step) for step in turned_steps[first : first + most]]
        evaluation = model.energy_forces(make_batch(moved, model.cutoff, device))
        if evaluation.errors:
            raise next(iter(evaluation.errors.values()))
        energies.append(evaluation.energies.cpu().numpy())
        forces.append(evaluation.forces.cpu().numpy().reshape(len(moved), -1, 3))
    found = np.concatenate(energies), np.concatenate(forces) @ TURN.T
    if not all(np.isfinite(part).all() for part in found):
        raise MoleculeError(f"{molecule.id}: an energy or force near its end is no number")
    return found
