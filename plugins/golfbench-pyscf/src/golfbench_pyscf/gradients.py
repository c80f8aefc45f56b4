"""Gradients that belong to energies with ``OneSidedFit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pyscf import lib, scf
from pyscf.df.grad import rks as df_rks
from pyscf.df.grad import uks as df_uks
from pyscf.grad import rks, uks

from golfbench_pyscf.fitting import fitted_gradient


def gradients_of(field: Any) -> Any:
    """Return what gives the gradient of a converged SCF."""
    if not isinstance(field, scf.hf.KohnShamDFT):
        return field.nuc_grad_method()
    return (_Restricted if field.mol.spin == 0 else _Unrestricted)(field)


class _OneSided:
    """The potential of a functional, and the gradient of everything that is fitted beside it."""

    _potential: Callable[..., Any]
    base: Any

    def get_veff(self, mol: Any = None, dm: Any = None) -> Any:
        """Return the derivatives of the potential, with the fitted part of the gradient as ``aux`` (n_atoms, 3)."""
        field = self.base
        numint, density = field._numint, field.make_rdm1()
        grids, nonlocal_grids = rks._initialize_grids(self)
        memory = max(200, field.max_memory - lib.current_memory()[0])
        potential = self._potential(numint, field.mol, grids, field.xc, density, max_memory=memory)[1]
        if field.do_nlc():
            functional = field.xc if numint.libxc.is_nlc(field.xc) else field.nlc
            both = density if density.ndim == 2 else density.sum(axis=0)
            potential += rks.get_nlc_vxc(numint, field.mol, nonlocal_grids, functional, both, max_memory=memory)[1]
        omega, long_range, short_range = numint.rsh_and_hybrid_coeff(field.xc, spin=field.mol.spin)
        orbitals = _occupied(field.mo_coeff, field.mo_occ)
        fitted = fitted_gradient(
            field.with_df, orbitals, short_range, long_range - short_range if omega else 0.0, abs(omega)
        )
        return lib.tag_array(potential, exc1_grid=None, aux=fitted)


class _Restricted(_OneSided, df_rks.Gradients):  # type: ignore[misc]  # PySCF has no types
    _potential = staticmethod(rks.get_vxc)


class _Unrestricted(_OneSided, df_uks.Gradients):  # type: ignore[misc]  # PySCF has no types
    _potential = staticmethod(uks.get_vxc)


def _occupied(coefficients: Any, occupations: Any) -> list[np.ndarray]:
    """Return the occupied orbitals (n_basis, n_occupied) of each spin, or of both, times the root of the occupation."""
    sets = (
        [(coefficients, occupations)]
        if np.ndim(occupations) == 1
        else list(zip(coefficients, occupations, strict=True))
    )
    return [c[:, n > 0] * np.sqrt(n[n > 0]) for c, n in sets]
