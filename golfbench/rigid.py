"""Motions of a molecule as a whole, and forces without them. Workers of engines use this: it imports no torch."""

from __future__ import annotations

import numpy as np

from golfbench.contracts import FloatArray

#: Å; if a rotation moves no atom by more, the molecule is linear.
LINEAR = 1e-3


def rigid_motions(positions: FloatArray) -> FloatArray:
    """Return translations and rotations of positions (n_atoms, 3) as orthonormal rows (k, 3·n_atoms).

    ``k`` is 6, or 5 for linear molecules and 3 for an atom.
    """
    atoms = len(positions)
    moved = np.zeros((6, atoms, 3))
    for axis in range(3):
        moved[axis, :, axis] = 1.0
        moved[3 + axis] = np.cross(np.eye(3)[axis], positions - positions.mean(axis=0))
    shifts, turns = moved.reshape(2, 3, -1)
    _, lengths, rows = np.linalg.svd(turns, full_matrices=False)
    basis: FloatArray = np.vstack([shifts / np.sqrt(atoms), rows[lengths > LINEAR]])
    return basis


def without_net_force(positions: FloatArray, forces: FloatArray) -> FloatArray:
    """Return forces (n_atoms, 3) without the part that would shift or turn the molecule as a whole.

    An energy that depends on distances has no such part. Integration on a grid adds one: noise, which a network cannot
    learn and a walk follows. Positions are (n_atoms, 3).
    """
    rigid = rigid_motions(positions)
    flat = forces.reshape(-1)
    return (flat - (rigid @ flat) @ rigid).reshape(forces.shape)
