"""PySCF as an oracle: single points in Hartree and Hartree/Å, failures by kind."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyscf
from ase.data import chemical_symbols
from pyscf import dft, gto, lib, mp, scf
from pyscf.df.addons import predefined_auxbasis
from pyscf.lib.exceptions import BasisNotFoundError
from pyscf.scf.dispersion import parse_dft

from golfbench.contracts import FloatArray
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.molecules import Molecule
from golfbench.rigid import without_net_force
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_pyscf import CUDA, METHOD, PLAIN
from golfbench_pyscf.dispersion import C6, dispersion
from golfbench_pyscf.fitting import OneSidedFit
from golfbench_pyscf.gradients import gradients_of
from golfbench_pyscf.grids import POINTS, Psi4Grids, SmallBlocks

#: What libxc calls the functional of wB97X-D, which has no dispersion in it. PySCF knows no "wb97x-d".
_WITHOUT_DISPERSION = "HYB_GGA_XC_WB97X_D"
#: Hartree, and the norm of the gradient of the energy in the orbitals: forces are right to 1e-6 Hartree/Å then.
_ENERGY_CONVERGED, _ORBITALS_CONVERGED = 1e-9, 1e-6
#: How the SCF is found, by the parameter ``scf``: attributes of PySCF's SCF. ``second-order`` is a method of it.
WAYS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "guess": {"init_guess": "huckel"},
    "damping": {"damp": 0.2, "diis_start_cycle": 10},  # damped as long as there is no DIIS
    "second-order": {},
}
_LEAST_MEMORY_GB = 0.25


class PyscfOracle:
    """One level of theory of PySCF; see ``golfbench.contracts.Oracle``.

    No symmetry is used, every call starts from scratch: a label depends on the molecule alone. Singlets are restricted,
    everything else is unrestricted. A call is one attempt. Density fitting and the grid are those of Psi4. The net
    force and torque that the grid of a functional leaves are taken off the forces.

    Args:
        method: A functional of PySCF, ``hf`` or ``mp2``.
        basis: Any basis set of PySCF.
        device: ``cpu``, or ``cuda`` for gpu4pyscf.
        scf: How the SCF is found, one of ``WAYS``.
        threads: Threads of one calculation.
        memory: Working memory, GB.
        max_iterations: Limit of the SCF iterations; twice as many unless ``scf`` is ``plain``.

    Raises:
        ConfigurationError: If a parameter cannot be used.
        ComponentMissingError: If the method or the device needs a package that is not installed.
    """

    def __init__(
        self, method: str, basis: str, device: str, scf: str, threads: int, memory: float, max_iterations: int
    ) -> None:
        for name, value in (("method", method), ("basis", basis)):
            if not value.strip() or "/" in value:
                raise ConfigurationError(f"pyscf: {name} '{value}' must be one name without '/'")
        for name, number in (("threads", threads), ("max_iterations", max_iterations)):
            if number < 1:
                raise ConfigurationError(f"pyscf: {name} must be at least 1, not {number}")
        if not memory >= _LEAST_MEMORY_GB:
            raise ConfigurationError(f"pyscf: memory must be at least {_LEAST_MEMORY_GB} GB, not {memory}")
        self._method, self._basis, self._scf = method.strip().lower(), basis.strip(), scf
        self._level = f"{method}/{basis}"
        self._gpu = device == CUDA
        self._threads, self._memory_mb = threads, memory * 1000
        self._iterations = max_iterations * (1 if scf == PLAIN else 2)
        if self._gpu and self._method == "mp2":
            raise ConfigurationError("pyscf: device=cuda has density functionals and hf, no mp2")
        if self._gpu and find_spec("gpu4pyscf") is None:
            raise ComponentMissingError("pyscf: device=cuda needs gpu4pyscf: pip install gpu4pyscf-cuda12x")
        if _is_d3_or_d4(self._method) and find_spec("pyscf.dispersion") is None:
            raise ComponentMissingError(f"pyscf: {method} needs pyscf-dispersion: pip install pyscf-dispersion")

    @property
    def version(self) -> str:
        """Version of the installed PySCF, for example ``pyscf 2.14.0``."""
        return f"pyscf {pyscf.__version__}"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``not_converged``, ``input`` for a method, basis, element or multiplicity that PySCF does not
                know, ``memory``, otherwise ``engine``.
        """
        try:
            energy, gradient = self._compute(molecule)
        except Exception as error:
            reason, kind = _explain(error, self._scf)
            raise OracleError(f"{molecule.id}: {self._level}: {reason}", kind) from error
        return energy, without_net_force(molecule.positions, gradient / -BOHR_TO_ANGSTROM)

    def _compute(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and gradient (n_atoms, 3) (Hartree/Bohr)."""
        with lib.with_omp_threads(self._threads):
            mol = self._molecule(molecule)
            own_dispersion = self._method == METHOD.lower()
            if own_dispersion and molecule.numbers.max() >= len(C6):
                raise OracleError(f"{METHOD} has no dispersion beyond xenon", "input")
            field = self._converged(self._field(mol))
            if self._method == "mp2":
                correlated = mp.MP2(field).run()
                energy, gradient = correlated.e_tot, correlated.Gradients().kernel()
            else:
                energy, gradient = field.e_tot, self._gradients(field).kernel()
            extra = dispersion(molecule.numbers, mol.atom_coords()) if own_dispersion else (0.0, 0.0)
            return float(energy) + extra[0], np.asarray(gradient) + extra[1]

    def _molecule(self, molecule: Molecule) -> Any:
        symbols = [chemical_symbols[number] for number in molecule.numbers]
        return gto.M(
            atom=list(zip(symbols, (molecule.positions / BOHR_TO_ANGSTROM).tolist(), strict=True)),
            unit="Bohr",
            basis=self._basis,
            ecp={symbol: self._basis for symbol in set(symbols) if _has_core_potential(self._basis, symbol)},
            charge=molecule.charge,
            spin=molecule.multiplicity - 1,
            max_memory=self._memory_mb,
            verbose=0,
        )

    def _field(self, mol: Any) -> Any:
        """Return the SCF, not yet run."""
        restricted = mol.spin == 0
        if self._method in ("hf", "mp2"):
            field = scf.RHF(mol) if restricted else scf.UHF(mol)
        else:
            functional = _WITHOUT_DISPERSION if self._method == METHOD.lower() else self._method
            field = (dft.RKS if restricted else dft.UKS)(mol, xc=functional)
            field._numint.libxc.parse_xc(parse_dft(functional)[0])  # an unknown one is told here
        if self._method == "mp2":  # its gradient is that of integrals without fitting
            return self._with_settings(field)
        auxiliary = predefined_auxbasis(mol, self._basis, "hf")
        field = field.density_fit(auxbasis=auxiliary)
        if self._gpu:
            if isinstance(field, scf.hf.KohnShamDFT):
                field.grids.atom_grid, field.grids.prune = POINTS, None
            return self._with_settings(field).to_gpu()
        field.with_df = OneSidedFit(mol, auxiliary)
        if isinstance(field, scf.hf.KohnShamDFT):
            field.grids, field._numint = Psi4Grids(mol), SmallBlocks()
        return self._with_settings(field)

    def _with_settings(self, field: Any) -> Any:
        field.conv_tol, field.conv_tol_grad = _ENERGY_CONVERGED, _ORBITALS_CONVERGED
        field.max_cycle = self._iterations
        for name, value in WAYS[self._scf].items():
            setattr(field, name, value)
        return field

    def _converged(self, field: Any) -> Any:
        """Return the SCF, run to its end."""
        solver = field.newton() if self._scf == "second-order" else field
        solver.kernel()
        if not solver.converged:
            raise OracleError(
                f"SCF did not converge in {self._iterations} iterations (scf={self._scf})", "not_converged"
            )
        if solver is not field:
            field.mo_coeff, field.mo_energy, field.mo_occ = solver.mo_coeff, solver.mo_energy, solver.mo_occ
            field.e_tot, field.converged = solver.e_tot, True
        return field

    def _gradients(self, field: Any) -> Any:
        return field.nuc_grad_method() if self._gpu else gradients_of(field)


def _has_core_potential(basis: str, symbol: str) -> bool:
    """Tell whether a basis set leaves the core of an element to an effective potential, which PySCF adds when told."""
    try:
        return bool(gto.basis.load_ecp(basis, symbol))
    except (BasisNotFoundError, KeyError, OSError, RuntimeError):
        return False  # a name that PySCF does not know, it reads as data; the basis set itself gives the reason


def _is_d3_or_d4(method: str) -> bool:
    try:
        return method not in ("hf", "mp2", METHOD.lower()) and bool(parse_dft(method)[2])
    except NotImplementedError:
        return False  # a label says so


def _explain(error: Exception, way: str) -> tuple[str, str]:
    """Return the reason of a failure in one line, and the kind of ``OracleError`` that it is."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OracleError):
        return reason, error.kind
    if isinstance(error, MemoryError):
        return f"out of memory, give it more with memory= ({reason})", "memory"
    if isinstance(error, BasisNotFoundError):
        return f"unknown basis set, or none for an element: {reason}", "input"
    if isinstance(error, NotImplementedError) and way == "second-order":
        return f"no second-order SCF for this method ({reason})", "not_converged"
    if isinstance(error, (KeyError, NotImplementedError)):
        return f"unknown method, or one without gradients: {reason}", "input"
    if "are not consistent" in reason:  # electrons and spin
        return reason, "input"
    return f"{type(error).__name__}: {reason}", "engine"
