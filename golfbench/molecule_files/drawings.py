"""Coordinates of a drawing: all in one plane, although the molecule cannot be flat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii

from golfbench.chemistry import BROKEN_FACTOR, FloatArray, IntArray

#: More neighbours than this and an atom of these elements (B, C, N, Si, P, S) cannot be flat.
MOST_FLAT_NEIGHBOURS, NEVER_FLAT = 3, frozenset({5, 6, 7, 14, 15, 16})
#: Elements whose atoms end a chain (H and halogens), those with three neighbours in a plane (B, C, N), and those with
#: two (O, S).
_ENDS, _FORKS, _LINKS = (1, 9, 17, 35, 53), (5, 6, 7), (8, 16)
_FLAT_ANGSTROM = 1e-3
_CARBON = 6


def is_flat(positions: FloatArray) -> bool:
    """Return whether all positions (n_atoms, 3), Å, lie in one plane; fewer than five atoms may always."""
    if len(positions) <= MOST_FLAT_NEIGHBOURS + 1:
        return False
    centred = positions - positions.mean(axis=0)
    return bool(np.linalg.svd(centred, compute_uv=False)[-1] <= _FLAT_ANGSTROM * np.sqrt(len(positions)))


def is_drawing(numbers: IntArray, positions: FloatArray) -> bool:
    """Return whether all atoms lie in one plane and cannot: by their neighbours, or by the number of hydrogens.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3), Å.
    """
    if not is_flat(positions):
        return False
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonded = distances < BROKEN_FACTOR * (radii[:, None] + radii[None])
    crowded = bonded.sum(axis=1) - 1 > MOST_FLAT_NEIGHBOURS
    return bool(crowded[np.isin(numbers, [*NEVER_FLAT])].any()) or _too_many_ends(numbers, bonded)


def _too_many_ends(numbers: IntArray, bonded: npt.NDArray[np.bool_]) -> bool:
    """Return whether an organic molecule has more hydrogens and halogens than fit into a plane.

    A chain of n atoms with three neighbours each has room for n + 2 more, and every ring for two less.
    """
    heavy = ~np.isin(numbers, _ENDS)
    if _CARBON not in numbers or not np.isin(numbers[heavy], [*_FORKS, *_LINKS]).all():
        return False
    edges = bonded[heavy][:, heavy].astype(float)
    laplacian = np.diag(edges.sum(axis=1)) - edges
    chains = len(edges) - np.linalg.matrix_rank(laplacian, hermitian=True)  # one zero eigenvalue for each
    return bool((~heavy).sum() > np.isin(numbers, _FORKS).sum() + 2 * chains)
