"""The quadrature grid of Psi4 1.3, point for point, out of PySCF's parts.

Energies of two programs on two grids of the same size differ by up to 1e-4 Hartree, and their forces by 1e-3 Hartree/Å.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pyscf import gto
from pyscf.dft import gen_grid, numint, radi

from golfbench_pyscf.dispersion import RADII

#: Radial and spherical points of each atom, none of them left out: Psi4's default.
POINTS = (75, 302)
#: Of basis functions on the points of one block. PySCF's own blocks take up to 100 times as much, and the memory is new
#: each time: half of the processor time went into that.
_BLOCK_MB = 16


class Psi4Grids(gen_grid.Grids):  # type: ignore[misc]  # PySCF has no types
    """A grid like that of Psi4 1.3.

    What it does otherwise than PySCF, and was read off its points and weights, which these are within 1e-12:
    The radial grid of Treutler and Ahlrichs is scaled by the radii of Grimme's D2 (their numbers in Å, taken as Bohr),
    the cells of atoms are sized by the same radii, and the spheres are turned into the principal axes of the nuclear
    charges. So an energy does not depend on how the molecule lies in space, unless two axes are equal.
    """

    def __init__(self, mol: Any) -> None:
        super().__init__(mol)
        self.atom_grid = POINTS
        self.prune = None
        self.atomic_radii = np.nan_to_num(RADII)
        self.radi_method = _radial

    def gen_atomic_grids(self, mol: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Return points around each kind of atom (n_points, 3) (Bohr), and their volumes."""
        numbers = np.array([gto.charge(mol.atom_pure_symbol(atom)) for atom in range(mol.natm)])  # cores as well
        axes = principal_axes(numbers, mol.atom_coords())
        grids = gen_grid.gen_atomic_grids(mol, *arguments, **keywords)
        return {symbol: (points @ axes, volumes) for symbol, (points, volumes) in grids.items()}


class SmallBlocks(numint.NumInt):  # type: ignore[misc]  # PySCF has no types
    """The integrator of PySCF, with blocks of points that the cache holds and the next block uses again."""

    def block_loop(
        self,
        mol: Any,
        grids: Any,
        nao: int | None = None,
        deriv: int = 0,
        max_memory: float = _BLOCK_MB,
        **options: Any,
    ) -> Any:
        """Yield basis functions, screening, weights and points of each block; see PySCF."""
        return super().block_loop(mol, grids, nao, deriv, min(max_memory, _BLOCK_MB), **options)


def principal_axes(charges: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the principal axes of charges (n_atoms,) at positions (n_atoms, 3) as rows."""
    centred = positions - charges @ positions / charges.sum()
    return np.asarray(np.linalg.eigh(np.einsum("a,ai,aj->ij", charges, centred, centred))[1].T)


def _radial(points: int, number: int, *_: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return radii and weights (points,) around an atom with this number."""
    radii, weights = radi.treutler_ahlrichs(points, number)
    scale = RADII[number] / radi._treutler_ahlrichs_xi[number]
    return radii * scale, weights * scale
