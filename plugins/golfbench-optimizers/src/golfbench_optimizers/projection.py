"""A Hessian that is known at one geometry, as force constants of redundant internal coordinates."""

from __future__ import annotations

import numpy as np

from golfbench.contracts import FloatArray

#: Smallest and largest curvature along a combination of coordinates, in units of what the force constants of
#: ``hessian_guess`` give it: negative, very small or very large ones are no basis for a step.
SOFTEST, STIFFEST = 0.2, 10.0
#: Of the largest singular value: combinations below are those that no internal coordinate sees.
_EXTERNAL = 1e-6


def projected(hessian: FloatArray, matrix: FloatArray, constants: FloatArray) -> FloatArray:
    """Return K, positive definite, with BᵀKB = H apart from rigid motions and from curvatures out of bounds.

    Redundant coordinates leave K open. In units of the guessed force constants, K is the identity wherever H says
    nothing.

    Args:
        hessian: H, (3·n_atoms, 3·n_atoms), Hartree/Å², where forces are small: what the curvature of the coordinates
            adds to it is left out.
        matrix: B there, (n, 3·n_atoms).
        constants: Guessed force constants, (n,).

    Returns:
        (n, n), Hartree/Å² and Hartree/rad².
    """
    roots = np.sqrt(constants)
    left, sizes, right = np.linalg.svd(roots[:, None] * matrix, full_matrices=False)
    seen = sizes > _EXTERNAL * sizes[0]
    left, right = left[:, seen], right[seen] / sizes[seen, None]
    values, vectors = np.linalg.eigh(right @ ((hessian + hessian.T) / 2) @ right.T)
    modes = left @ vectors
    scaled = np.eye(len(roots)) + (modes * (np.clip(values, SOFTEST, STIFFEST) - 1)) @ modes.T
    constants_matrix: FloatArray = roots[:, None] * scaled * roots
    return constants_matrix
