"""An ASE calculator as an oracle: eV and eV/Å become Hartree and Hartree/Å."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import InputError, SCFError

from golfbench.chemistry import to_ase
from golfbench.contracts import FloatArray
from golfbench.errors import ConfigurationError, GolfbenchError, OracleError
from golfbench.molecules import Molecule
from golfbench.specs import load_factory, parse_arguments
from golfbench.units import HARTREE_TO_EV

#: Calculators say it in their own words, most with an exception that says nothing.
_NOT_CONVERGED = re.compile(r"\b(not|n't|fail(ed|s)?( to)?) converge|\bconvergence (fail|error|not)", re.IGNORECASE)
#: Stand for the molecule's own in the values of arguments.
_PLACEHOLDERS = ("@charge", "@multiplicity")


class AseOracle:
    """One ASE calculator; see ``golfbench.contracts.Oracle``.

    Unless told otherwise every call has a calculator of its own: most go on with the wavefunction of the call before,
    and a label must depend on the molecule alone. The energy is the one that the forces are the derivative of (ASE's
    free energy, where a calculator tells the two apart).

    Args:
        calculator: ``module:factory``; the factory is a calculator's class, or a function that returns one.
        arguments: Keyword arguments of the factory (see ``parse_arguments``).
        reuse: Keep one calculator for all calls.
        told: Whether charge and multiplicity are passed on (see ``_tell``).

    Raises:
        ConfigurationError: If there is no such factory, it raises, or what it returns is no calculator with forces.
        ComponentMissingError: If the module is not installed.
    """

    def __init__(self, calculator: str | None, arguments: str, reuse: bool, told: bool) -> None:
        if not calculator or not all(calculator.partition(":")):
            raise ConfigurationError(f"ase: calculator '{calculator or ''}' is not MODULE:FACTORY (tblite.ase:TBLite)")
        self._name, self._told = calculator, told
        self._arguments = parse_arguments(arguments)
        if (reuse or not told) and any(value in _PLACEHOLDERS for value in self._arguments.values()):
            remedy = "without reuse" if told else "with ase-charged"
            raise ConfigurationError(f"ase: {' and '.join(_PLACEHOLDERS)} in arguments work {remedy} only")
        self._factory = _load(calculator)
        first = self._build(charge=0, multiplicity=1)
        self._kept = first if reuse else None

    @property
    def version(self) -> str:
        """Calculator and versions, for example ``tblite.ase:TBLite (tblite 0.8.0, ase 3.29.0)``."""
        module = self._name.partition(":")[0].partition(".")[0]
        owners = sorted({*packages_distributions().get(module, []), "ase"} - {"ase"})
        return f"{self._name} ({', '.join(f'{owner} {version(owner)}' for owner in [*owners, 'ase'])})"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``input`` for what the calculator calls wrong input or does not implement, ``not_converged``
                when it says so, otherwise ``engine`` with its reason.
        """
        atoms = to_ase(molecule)
        if self._told:
            _tell(atoms, molecule)
        calculator = self._kept or self._build(charge=molecule.charge, multiplicity=molecule.multiplicity)
        atoms.calc = calculator
        try:
            forces = np.array(atoms.get_forces(), dtype=np.float64)
            energy = atoms.get_potential_energy(force_consistent="free_energy" in calculator.implemented_properties)
        except Exception as error:
            raise OracleError(f"{molecule.id}: {_described(error)}", _kind(error)) from error
        return float(energy) / HARTREE_TO_EV, forces / HARTREE_TO_EV

    def _build(self, **state: int) -> Any:
        """Return a new calculator for a charge and multiplicity."""
        arguments = {name: _filled(value, state) for name, value in self._arguments.items()}
        try:
            calculator = self._factory(**arguments)
        except Exception as error:
            raise ConfigurationError(f"ase: {self._name} cannot be made: {_described(error)}") from error
        implemented = getattr(calculator, "implemented_properties", None)
        if implemented is None or not callable(getattr(calculator, "get_forces", None)):
            raise ConfigurationError(f"ase: {self._name} gave no ASE calculator but a {type(calculator).__name__}")
        if "forces" not in implemented:
            raise ConfigurationError(f"ase: {self._name} has no forces (only {', '.join(sorted(implemented))})")
        return calculator


def neutral(calculator: str | None, arguments: str, method: str, reuse: bool) -> AseOracle:
    """Make the oracle for neutral molecules with closed shells; parameters as for ``AseOracle``."""
    return AseOracle(calculator, arguments, reuse, told=False)


def charged(calculator: str | None, arguments: str, method: str, reuse: bool) -> AseOracle:
    """Make the oracle that passes charge and multiplicity on; parameters as for ``AseOracle``."""
    return AseOracle(calculator, arguments, reuse, told=True)


def _load(reference: str) -> Any:
    try:
        return load_factory(reference, f"ase:calculator={reference}")
    except GolfbenchError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise ConfigurationError(f"ase: {reference} cannot be imported: {_described(error)}") from error


def _tell(atoms: Atoms, molecule: Molecule) -> None:
    """Put charge and spin where calculators look for them.

    ``info`` has ``charge`` and ``multiplicity`` already. Initial charges and magnetic moments add up to the charge and
    to the number of unpaired electrons; all of it on the first atom, so that the sums are exact.
    """
    atoms.info["spin"] = molecule.multiplicity  # as models of charged and open-shell molecules call it
    nowhere_else = np.zeros(len(molecule) - 1)
    atoms.set_initial_charges([molecule.charge, *nowhere_else])
    atoms.set_initial_magnetic_moments([molecule.multiplicity - 1, *nowhere_else])


def _filled(value: Any, state: Mapping[str, int]) -> Any:
    return state[value[1:]] if value in _PLACEHOLDERS else value


def _described(error: Exception) -> str:
    """Return type and text in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _kind(error: Exception) -> str:
    if isinstance(error, SCFError) or _NOT_CONVERGED.search(str(error)):
        return "not_converged"
    return "input" if isinstance(error, InputError | NotImplementedError) else "engine"
