"""What is true of every potential energy surface, measured: derivatives, invariances, scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golfbench.contracts import FloatArray
from golfbench.molecules import Molecule
from golfbench.seeds import derived
from golfbench.testing.samples import reordered, sample
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

#: Energy and forces (n_atoms, 3) of one geometry.
Evaluate = Callable[[Molecule], tuple[float, FloatArray]]

#: Random directions along which energies are differentiated.
DIRECTIONS = 3
#: How far ``translation_error`` moves a molecule, Å.
SHIFT = np.array([7.0, -4.0, 11.0])
#: Factors of forces that do not belong to their energies, and the usual mistake behind each.
_FACTORS = {
    "their sign is flipped": -1.0,
    "forces in eV/Å beside energies in Hartree": HARTREE_TO_EV,
    "energies in eV beside forces in Hartree/Å": 1 / HARTREE_TO_EV,
    "forces in kcal/mol/Å beside energies in Hartree": HARTREE_TO_KCAL_MOL,
    "energies in kcal/mol beside forces in Hartree/Å": 1 / HARTREE_TO_KCAL_MOL,
    "forces per Bohr, not per Å": BOHR_TO_ANGSTROM,
    "multiplied by Å/Bohr instead of divided": BOHR_TO_ANGSTROM**2,
}
_FACTOR_TOLERANCE = 0.02
#: ½ k δ² of water's O-H bond for δ = 0.05 Å: k = 8.45 mdyn/Å (1216 kcal/mol/Å²; Hoy, Mills and Strey, Mol. Phys. 24,
#: 1265, 1972).
STRETCH_ANGSTROM = 0.05
STRETCH_KCAL_MOL = 1.52


def gradient_error(evaluate: Evaluate, molecule: Molecule, step: float) -> tuple[float, float]:
    """Compare forces with fourth-order central differences of the energy along random directions.

    Args:
        evaluate: The potential.
        molecule: The geometry.
        step: Å.

    Returns:
        The largest difference, and the factor between the forces and minus the gradient (1 when they agree).
    """
    _, forces = evaluate(molecule)
    slopes, projected = np.zeros(DIRECTIONS), np.zeros(DIRECTIONS)
    for k in range(DIRECTIONS):
        direction = derived(0, "direction", k).normal(size=molecule.positions.shape)
        direction /= np.linalg.norm(direction)
        ends = [evaluate(molecule.at(molecule.positions + n * step * direction))[0] for n in (-2, -1, 1, 2)]
        slopes[k] = -np.dot(ends, (1.0, -8.0, 8.0, -1.0)) / (12 * step)
        projected[k] = (forces * direction).sum()
    norm = float(slopes @ slopes)
    return float(np.abs(projected - slopes).max()), float(slopes @ projected) / norm if norm else float("nan")


def explain_factor(factor: float) -> str:
    """Say what is wrong with forces that are ``factor`` times minus the gradient of the energy."""
    if abs(factor - 1) < _FACTOR_TOLERANCE:
        return ""
    known = [text for text, f in _FACTORS.items() if abs(factor / f - 1) < _FACTOR_TOLERANCE]
    return f"they are {factor:.4g} times that" + (f" ({known[0]}?)" if known else "")


def difference(a: tuple[float, FloatArray], b: tuple[float, FloatArray]) -> float:
    """Return the largest difference between two energies and between two sets of forces; NaN if one is."""
    return float(np.max(np.abs(np.append(a[1] - b[1], a[0] - b[0]))))


def translation_error(evaluate: Evaluate, molecule: Molecule) -> float:
    """Return by how much energy or forces change when the molecule is moved."""
    return difference(evaluate(molecule.at(molecule.positions + SHIFT)), evaluate(molecule))


def rotation_error(evaluate: Evaluate, molecule: Molecule) -> float:
    """Return by how much the energy changes, or the forces do not rotate with it, when the molecule is rotated."""
    turn = rotation()
    energy, forces = evaluate(molecule.at(molecule.positions @ turn.T))
    return difference((energy, forces @ turn), evaluate(molecule))


def rotation() -> FloatArray:
    """Return a fixed proper rotation (3, 3) about no axis in particular."""
    matrix, _ = np.linalg.qr(derived(0, "rotation").normal(size=(3, 3)))
    proper: FloatArray = matrix * np.linalg.det(matrix)
    return proper


def permutation_error(evaluate: Evaluate, molecule: Molecule) -> float:
    """Return by how much the energy changes, or forces are not in the new order, when the atoms are reordered."""
    shuffled, order = reordered(molecule)
    energy, forces = evaluate(shuffled)
    reference_energy, reference_forces = evaluate(molecule)
    return difference((energy, forces), (reference_energy, reference_forces[order]))


def stretch_cost(evaluate: Evaluate) -> float:
    """Return the energy to change an O-H bond of water, kcal/mol: mean of longer and shorter: no minimum is needed."""
    water = sample("O", noise=0.0)
    bond = water.positions[1] - water.positions[0]
    shift = np.zeros_like(water.positions)
    shift[1] = STRETCH_ANGSTROM * bond / np.linalg.norm(bond)
    low, middle, high = (evaluate(water.at(water.positions + sign * shift))[0] for sign in (-1, 0, 1))
    return (low + high - 2 * middle) / 2 * HARTREE_TO_KCAL_MOL
