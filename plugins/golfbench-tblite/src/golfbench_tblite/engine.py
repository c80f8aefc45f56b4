"""tblite as an oracle: single points in Hartree and Hartree/Å."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from ase import units
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

from golfbench.contracts import FloatArray
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench.valence import check_valence

_NOT_CONVERGED = "not converged"


class TbliteOracle:
    """One parametrisation of tblite; see ``golfbench.contracts.Oracle``.

    Every call builds a calculator of its own: an updated one goes on with the wavefunction of the call before, and
    building costs nothing that could be measured.

    Args:
        method: GFN2-xTB or GFN1-xTB.
        accuracy: Numerical accuracy, 1000 to 0.0001.
        electronic_temperature_k: Temperature of the Fermi smearing, K.
        max_iterations: Limit of the self-consistent charge iterations.
        solvent: Implicit solvent by ALPB, as of ``xtb --alpb``; ``None`` for none.
    """

    def __init__(
        self,
        method: str,
        accuracy: float,
        electronic_temperature_k: float,
        max_iterations: int,
        solvent: str | None = None,
    ) -> None:
        self._method, self._solvent = method, solvent
        self._settings = {
            "accuracy": accuracy,
            "temperature": electronic_temperature_k * units.kB / units.Hartree,
            "max-iter": max_iterations,
            "verbosity": 0,
        }

    @property
    def version(self) -> str:
        """Version of the installed tblite, for example ``tblite 0.8.0``."""
        return f"tblite {version('tblite')}"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``input`` for a charge or multiplicity that the valence electrons do not allow,
                ``not_converged`` when the charges do not converge, otherwise ``engine`` with tblite's reason.
        """
        electrons = check_valence(molecule)
        try:
            results = self._calculator(molecule).singlepoint()
        except TBLiteRuntimeError as error:
            reason = " ".join(str(error).split())
            kind = "not_converged" if _NOT_CONVERGED in reason else "engine"
            raise OracleError(f"{molecule.id}: {reason}", kind) from error
        filled = float(np.sum(results.get("orbital-occupations")))
        if abs(filled - electrons) > 0.5:
            reason = f"{electrons} valence electrons do not fit the basis of {self._method}"
            raise OracleError(f"{molecule.id}: {reason}", "input")
        return float(results.get("energy")), results.get("gradient") / -BOHR_TO_ANGSTROM

    def _calculator(self, molecule: Molecule) -> Calculator:
        positions = molecule.positions / BOHR_TO_ANGSTROM
        unpaired = molecule.multiplicity - 1
        calculator = Calculator(self._method, molecule.numbers, positions, molecule.charge, unpaired)
        for name, value in self._settings.items():
            calculator.set(name, value)
        if self._solvent is not None:
            calculator.add("alpb-solvation", self._solvent)
        return calculator
