"""Constraints of a minimization: fixed atoms and frozen torsions, and atoms held by springs.

The driver applies them for every optimizer alike: it projects them out of the forces, and corrects each step so that
they hold. A walk has converged when the remaining forces are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from golfbench.errors import MoleculeError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: rad; a torsion is at its value when it is closer than this, and undefined where a sine is smaller than ``_LINEAR``.
_SETTLED, _LINEAR = 1e-9, 0.05
_MAX_ITERATIONS = 50
#: Weight of free atoms where a geometry is superposed by its fixed atoms.
_LIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """The constraints of one molecule.

    Attributes:
        start: (n_atoms, 3), Å, where they hold.
        fixed: (k,) atoms that do not move.
        torsions: (k, 4) atoms of torsions that keep the value that they have at the start.
        strengths: (n_atoms,) force constants of the springs that hold atoms to their start, Hartree/Å².

    Raises:
        MoleculeError: If a torsion is undefined at the start: three of its atoms lie in a line.
    """

    start: FloatArray
    fixed: IntArray
    torsions: IntArray
    strengths: FloatArray

    def __post_init__(self) -> None:
        for atoms in self.torsions:
            if min(_sines(self.start[atoms])) < _LINEAR:
                raise MoleculeError("a torsion cannot be frozen: three of its atoms lie in a line")

    def spring(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) of the springs."""
        away = positions - self.start
        forces: FloatArray = -self.strengths[:, None] * away
        return float(-0.5 * (forces * away).sum()), forces

    def projected(self, positions: FloatArray, forces: FloatArray) -> FloatArray:
        """Return forces (n_atoms, 3) without the part that violates the constraints."""
        left = forces.copy()
        left[self.fixed] = 0.0
        if len(self.torsions):
            rows = self._derivatives(positions)
            left -= (np.linalg.pinv(rows) @ (rows @ left.reshape(-1))).reshape(-1, 3)
        return left

    def basis(self, positions: FloatArray) -> FloatArray:
        """Return orthonormal directions (3·n_atoms, m) that keep the constraints to first order."""
        free = np.setdiff1d(np.arange(len(positions)), self.fixed)
        columns = np.eye(3 * len(positions))[:, (3 * free[:, None] + np.arange(3)).reshape(-1)]
        if len(self.torsions) and len(free):
            _, sizes, directions = np.linalg.svd(self._derivatives(positions) @ columns)
            rank = int((sizes > 1e-10).sum())
            columns = columns @ directions[rank:].T
        return columns

    def settled(self, before: FloatArray, proposed: FloatArray) -> FloatArray:
        """Return positions (n_atoms, 3), Å, near those proposed, where the constraints hold.

        If fixed atoms have moved, the whole geometry is first rotated and shifted back, which changes no distance:
        optimizers in internal coordinates move all atoms. Torsions are then corrected along their derivatives. Where
        that does not succeed, the step is halved.

        Args:
            before: (n_atoms, 3), Å, where the constraints hold.
            proposed: (n_atoms, 3), Å.
        """
        if not np.isfinite(proposed).all():
            return proposed
        for share in (1.0, 0.5, 0.25, 0.125):
            there = before + share * (proposed - before) if share < 1 else proposed
            if (found := self._held(before, there)) is not None:
                return found
        return before.copy()

    def _held(self, before: FloatArray, proposed: FloatArray) -> FloatArray | None:
        positions = proposed.copy()
        if len(self.fixed):
            if np.abs(positions[self.fixed] - self.start[self.fixed]).max() > 0:
                positions = self._put_back(before, positions)
            positions[self.fixed] = self.start[self.fixed]
        if not len(self.torsions):
            return positions
        wanted = torsion_values(self.torsions, self.start)
        for _ in range(_MAX_ITERATIONS):
            missing = np.remainder(wanted - torsion_values(self.torsions, positions) + np.pi, 2 * np.pi) - np.pi
            if np.abs(missing).max() < _SETTLED:
                return positions
            rows = self._derivatives(positions)
            if not np.isfinite(rows).all():
                return None
            positions = positions + (np.linalg.pinv(rows) @ missing).reshape(-1, 3)
        return None

    def _put_back(self, before: FloatArray, positions: FloatArray) -> FloatArray:
        """Superpose positions on those before the step, mainly by the fixed atoms."""
        weights = np.full(len(positions), _LIGHT)
        weights[self.fixed] = 1.0
        weights /= weights.sum()
        here, there = weights @ positions, weights @ before
        u, _, v = np.linalg.svd((positions - here).T @ (weights[:, None] * (before - there)))
        turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v)) or 1.0]) @ v
        put: FloatArray = (positions - here) @ turn + there
        return put

    def _derivatives(self, positions: FloatArray) -> FloatArray:
        """Return the derivatives of the torsions along free atoms, (n_torsions, 3·n_atoms)."""
        rows = np.zeros((len(self.torsions), len(positions), 3))
        for row, atoms in zip(rows, self.torsions, strict=True):
            row[atoms] = _torsion_derivative(positions[atoms])
        rows[:, self.fixed] = 0.0
        return rows.reshape(len(rows), -1)


def torsion_values(torsions: IntArray, positions: FloatArray) -> FloatArray:
    """Return the torsions (n,), rad, of (n, 4) atoms at positions (n_atoms, 3)."""
    a, b, c = (positions[torsions[:, k + 1]] - positions[torsions[:, k]] for k in range(3))
    first, second = np.cross(a, b), np.cross(b, c)
    sines = np.linalg.norm(b, axis=1) * (a * second).sum(axis=1)
    values: FloatArray = np.arctan2(sines, (first * second).sum(axis=1))
    return values


def _torsion_derivative(four: FloatArray) -> FloatArray:
    """Return the derivative (4, 3) of the torsion of four positions (Blondel & Karplus 1996)."""
    a, b, c = four[1] - four[0], four[2] - four[1], four[3] - four[2]
    first, second, length = np.cross(a, b), np.cross(b, c), np.linalg.norm(b)
    with np.errstate(all="ignore"):
        begin, end = -length / (first @ first) * first, length / (second @ second) * second
        ahead, behind = (a @ b) / length**2, (c @ b) / length**2
    return np.stack([begin, -begin - ahead * begin + behind * end, ahead * begin - behind * end - end, end])


def _sines(four: FloatArray) -> tuple[float, float]:
    arms = np.diff(four, axis=0)
    arms /= np.maximum(np.linalg.norm(arms, axis=1, keepdims=True), 1e-12)
    return float(np.linalg.norm(np.cross(arms[0], arms[1]))), float(np.linalg.norm(np.cross(arms[1], arms[2])))
