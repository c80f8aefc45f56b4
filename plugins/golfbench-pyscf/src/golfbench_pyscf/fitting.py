"""Density fitting as Psi4 does it: exchange at long range is fitted on one side.

PySCF fits the attenuated integrals (mn|erf|ls) in the attenuated metric, (mn|erf|P) (P|erf|Q)^-1 (Q|erf|ls); Psi4 takes
(mn|P) (P|Q)^-1 (Q|erf|ls). Both are right within the error of the fit. For wB97X-D/def2-SVP they differ by 2e-5 Hartree
for water, so the labels of the two programs agree only if both do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pyscf import df, lib
from pyscf.df import incore, outcore
from scipy.linalg import cholesky, solve_triangular

from golfbench.contracts import FloatArray

#: Numbers in one block of derivative integrals, at most.
_BLOCK = 2**23


class OneSidedFit(df.DF):  # type: ignore[misc]  # PySCF has no types
    """Density fitting with the attenuated integrals on one side.

    With the metric J = L L^T, ``loop`` yields L^-1 (P|mn), ``both`` that and L^-1 (P|erf|mn).
    """

    def get_jk(
        self,
        dm: FloatArray,
        hermi: int = 1,
        with_j: bool = True,
        with_k: bool = True,
        direct_scf_tol: float = 1e-13,
        omega: float | None = None,
    ) -> tuple[Any, Any]:
        """Return the Coulomb and exchange matrices of density matrices (..., n_orbitals, n_orbitals).

        Args:
            dm: Symmetric.
            hermi: Not used.
            with_j: Whether the Coulomb matrix is asked for; not with an ``omega``.
            with_k: Whether exchange is asked for.
            direct_scf_tol: Not used.
            omega: Of the error function, 1/Bohr; negative for its complement.
        """
        if not omega:
            both: tuple[Any, Any] = super().get_jk(dm, hermi, with_j, with_k, direct_scf_tol)
            return both
        assert with_k
        assert not with_j
        exchange = self._long_range(dm, abs(omega))
        if omega < 0:
            exchange = super().get_jk(dm, hermi, False, True)[1] - exchange
        return None, exchange

    def both(self, omega: float) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield blocks (n_block, n_pairs) of the fitted integrals, and of the attenuated ones."""
        if self._cderi is None:
            self.build()
        if omega not in self._rsh_df:
            self._rsh_df[omega] = self._attenuated(omega)
        return zip(self.loop(), self._rsh_df[omega].loop(), strict=True)

    def _attenuated(self, omega: float) -> Any:
        attenuated = self.copy().reset()
        pairs = self.mol.nao * (self.mol.nao + 1) // 2
        room = self.max_memory - lib.current_memory()[0]
        with self.mol.with_range_coulomb(omega):  # and self.auxmol, of the metric, without
            if pairs * self.auxmol.nao * 8e-6 < 0.9 * room:
                attenuated._cderi = incore.cholesky_eri(self.mol, auxmol=self.auxmol, max_memory=room)
            else:
                attenuated._cderi = lib.NamedTemporaryFile(dir=lib.param.TMPDIR)
                outcore.cholesky_eri_b(self.mol, attenuated._cderi.name, auxmol=self.auxmol, max_memory=max(room, 200))
        return attenuated

    def _long_range(self, dm: FloatArray, omega: float) -> FloatArray:
        densities = np.reshape(dm, (-1, *np.shape(dm)[-2:]))
        exchange = np.zeros_like(densities)
        factors = _factors(dm, densities)
        for plain, attenuated in self.both(omega):
            left, right = lib.unpack_tril(plain), lib.unpack_tril(attenuated)
            for (first, second), total in zip(factors, exchange, strict=True):
                halves = [np.matmul(f.T, x).reshape(-1, f.shape[0]) for f, x in ((first, left), (second, right))]
                lib.dot(halves[0].T, halves[1], 1, total, 1)
        symmetric: FloatArray = (exchange + exchange.transpose(0, 2, 1)).reshape(np.shape(dm)) / 2
        return symmetric


def _factors(dm: Any, densities: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return X and Y with D = X Y^T for each density matrix: its occupied orbitals where it knows them."""
    if not hasattr(dm, "mo_coeff"):
        return [(density, np.eye(len(density))) for density in densities]
    coefficients = np.reshape(dm.mo_coeff, (-1, *np.shape(dm.mo_coeff)[-2:]))
    occupations = np.reshape(dm.mo_occ, (-1, np.shape(dm.mo_occ)[-1]))
    orbitals = [c[:, n > 0] * np.sqrt(n[n > 0]) for c, n in zip(coefficients, occupations, strict=True)]
    return [(x, x) for x in orbitals]


def fitted_gradient(
    fit: OneSidedFit, orbitals: list[FloatArray], full: float, long_range: float, omega: float
) -> FloatArray:
    """Return the gradient (n_atoms, 3) (Hartree/Bohr) of the Coulomb and exchange energy at fixed orbitals.

    It follows from E = r J^-1 r / 2 - sum over pairs of orbitals of a J^-1 (full a + long_range w) / (2 n), where r are
    the integrals (P|mn) with the density, a those with the pair, and w the attenuated ones. What the movement of the
    fitting functions does is had from that of the others: a shift of everything changes nothing.

    Args:
        fit: Of the SCF, with its integrals.
        orbitals: Of each spin, or of both at once, (n_basis, n_occupied), times the root of their occupation.
        full: Share of exchange at all distances.
        long_range: Share of exchange at long range, on top of that.
        omega: Of the error function, 1/Bohr.
    """
    mol, auxmol = fit.mol, fit.auxmol
    density = sum(x @ x.T for x in orbitals)
    share = 0.5 / (3 - len(orbitals))  # of a density of both spins, exchange counts half
    if not (full or long_range):
        orbitals = []
    coulomb, pairs, sides = _fitted(fit, orbitals, density, full, long_range, omega)
    metric = -0.5 * np.outer(coulomb, coulomb)
    for b, c in zip(pairs, sides, strict=True):
        metric += share * b.reshape(len(b), -1) @ c.reshape(len(c), -1).T
    slopes = auxmol.intor("int2c2e_ip1")
    of_functions = -np.einsum("xpq,pq->px", slopes, metric + metric.T)
    of_orbitals = np.zeros((mol.nao, 3))

    def contract(weights: Any, first: int, last: int) -> None:
        shells = (0, mol.nbas, 0, mol.nbas, first, last)
        start, stop = auxmol.ao_loc[[first, last]]
        integrals = incore.aux_e2(mol, auxmol, "int3c2e_ip1", comp=3, shls_slice=shells).transpose(0, 3, 2, 1)
        moved = np.einsum("xpnm,pnm->xpm", integrals, weights(slice(start, stop)))
        of_orbitals[:] -= 2 * moved.sum(axis=1).T
        of_functions[start:stop] += 2 * moved.sum(axis=2).T

    def of_pairs(fitted: list[FloatArray], part: slice) -> Any:
        return sum(np.matmul(x, np.matmul(f[part], x.T)) for f, x in zip(fitted, orbitals, strict=True))

    def plain(part: slice) -> Any:
        return coulomb[part, None, None] * density - share * of_pairs(
            [c + full * b for b, c in zip(pairs, sides, strict=True)], part
        )

    for first, last in _blocks(auxmol, mol.nao):
        contract(plain, first, last)
        if long_range:
            with mol.with_range_coulomb(omega):
                contract(lambda part: -share * long_range * of_pairs(pairs, part), first, last)
    return _by_atom(mol, of_orbitals) + _by_atom(auxmol, of_functions)


def _fitted(
    fit: OneSidedFit, orbitals: list[FloatArray], density: Any, full: float, long_range: float, omega: float
) -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
    """Return J^-1 r (n_functions,), and of each spin J^-1 a and J^-1 (full a + long_range w), of pairs of orbitals."""
    triangle = lib.pack_tril(2 * density - np.diag(np.diag(density)))
    coulomb: list[FloatArray] = []
    pairs: list[list[FloatArray]] = [[] for _ in orbitals]
    sides: list[list[FloatArray]] = [[] for _ in orbitals]
    for blocks in fit.both(omega) if long_range else ((block,) for block in fit.loop()):
        coulomb.append(blocks[0] @ triangle)
        unpacked = [lib.unpack_tril(block) for block in blocks] if orbitals else []
        for x, b, c in zip(orbitals, pairs, sides, strict=True):
            of_pairs = [np.matmul(x.T, np.matmul(block, x)) for block in unpacked]
            b.append(of_pairs[0])
            c.append(full * of_pairs[0] + (long_range * of_pairs[1] if long_range else 0))
    low = cholesky(fit.auxmol.intor("int2c2e", hermi=1), lower=True)

    def solve(parts: list[FloatArray]) -> FloatArray:
        whole = np.concatenate(parts)
        solved = solve_triangular(low, whole.reshape(len(whole), -1), lower=True, trans=1, check_finite=False)
        return np.asarray(solved).reshape(whole.shape)

    return solve(coulomb), [solve(b) for b in pairs], [solve(c) for c in sides]


def _blocks(auxmol: Any, orbitals: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of shells of fitting functions whose derivative integrals fit into memory together."""
    most = max(1, _BLOCK // (3 * orbitals**2))
    first = 0
    for shell in range(1, auxmol.nbas + 1):
        if shell == auxmol.nbas or auxmol.ao_loc[shell + 1] - auxmol.ao_loc[first] > most:
            yield first, shell
            first = shell


def _by_atom(mol: Any, of_functions: FloatArray) -> FloatArray:
    """Return sums (n_atoms, 3) of what basis functions (n_functions, 3) carry."""
    return np.array([of_functions[start:stop].sum(axis=0) for start, stop in mol.aoslice_by_atom()[:, 2:]])
