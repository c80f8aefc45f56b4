"""Psi4 as an oracle: single points in Hartree and Hartree/Å, failures by kind."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from golfbench.contracts import FloatArray
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.molecules import Molecule
from golfbench.rigid import without_net_force
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_psi4 import INSTALL_HINT, PLAIN, REFUSED_ENGINES
from golfbench_psi4.location import LOCATION_VARIABLE, Installation, candidates
from golfbench_psi4.process import DriverProcess

#: The grid and the integral threshold of the nabla2DFT data set, which are Psi4's defaults, written out so that they
#: hold for every version. Convergence is left to Psi4's gradients (1e-8 for SCF methods), as in the GOLF paper.
KEYWORDS = {"dft_radial_points": 75, "dft_spherical_points": 302, "ints_tolerance": 1e-12}
#: How the SCF is found, by the parameter ``scf``. The guess of bare nuclei (core) is not used: from it the triplet
#: of O2 and the doublet of NO2 converge to excited states, 0.25 and 0.08 Hartree too high at HF/STO-3G. With 40 %
#: damping the methyl radical oscillates for ever, with 20 % it does not.
WAYS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "guess": {"scf__guess": "gwh"},  # generalized Wolfsberg-Helmholz
    "damping": {"scf__damping_percentage": 20.0, "scf__damping_convergence": 1e-3},
    "second-order": {"scf__soscf": True},
}
_KINDS = {"input_error": "input", "convergence_error": "not_converged", "resource_error": "memory"}
#: The second-order SCF of 1.3.2 ends so: "Vx: RKS does not support rotated V builds for MGGA's".
_META_GGA = re.compile("MGGA|meta-?GGA", re.IGNORECASE)
_UNITS = {"": 10**9, "GB": 10**9, "MB": 10**6, "GIB": 2**30, "MIB": 2**20}
#: Psi4 refuses less.
_LEAST_MEMORY_BYTES = 250 * 2**20
#: What worked before in this process, by location.
_found: dict[str, Installation] = {}


class Psi4Oracle:
    """One level of theory of Psi4; see ``golfbench.contracts.Oracle``.

    No symmetry is used, the molecule is neither moved nor turned, every call starts from a guess (the superposition of
    atomic densities, unless ``scf`` is ``guess``): a label depends on the molecule alone. Singlets are restricted,
    everything else is unrestricted. A call is one attempt. The net force and torque that the grid of a functional
    leaves (up to 0.02 eV/Å for 15 atoms) are taken off the forces.

    Psi4's process starts with the first call or the first look at ``version``. It is replaced after each failure: Psi4
    1.3.2 leaves files and timers open behind an error, and fails or crashes in the next calculation. It leaks, too;
    ``golfbench.oracles.isolation`` replaces it, with the process around it, when that has added up.

    Args:
        method: Any method of Psi4 with gradients.
        basis: Any basis set of Psi4.
        scf: How the SCF is found, one of ``WAYS``.
        threads: Threads of one calculation.
        memory: Working memory; ``2``, ``2 GB``, ``500 MB``, ``1.5 GiB``.
        max_iterations: Limit of the SCF iterations; twice as many unless ``scf`` is ``plain``.
        python: The psi4 program, its interpreter or its environment; empty: ``GOLFBENCH_PSI4``, then a search.

    Attributes:
        last_cpu_s: CPU seconds of Psi4 for the last call, s.

    Raises:
        ConfigurationError: If a parameter cannot be used.
    """

    def __init__(
        self, method: str, basis: str, scf: str, threads: int, memory: str, max_iterations: int, python: str
    ) -> None:
        for name, value in (("method", method), ("basis", basis)):
            if not value.strip() or "/" in value:
                raise ConfigurationError(f"psi4: {name} '{value}' must be one name without '/'")
        for name, number in (("threads", threads), ("max_iterations", max_iterations)):
            if number < 1:
                raise ConfigurationError(f"psi4: {name} must be at least 1, not {number}")
        self._model = {"method": method, "basis": basis}
        self._threads = threads
        self._memory_bytes = parse_memory(memory)
        self._scf = scf
        self._keywords = {"scf__maxiter": max_iterations * (1 if scf == PLAIN else 2), **WAYS[scf]}
        self._location = python or os.environ.get(LOCATION_VARIABLE, "")
        self._driver: DriverProcess | None = None
        self._calls = 0
        self.last_cpu_s = 0.0

    @property
    def version(self) -> str:
        """Version of Psi4, for example ``psi4 1.3.2``.

        Raises:
            ComponentMissingError: If there is no Psi4, or none that can be used.
        """
        return f"psi4 {self._ready().version}"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``not_converged``, ``input`` for a method, basis, element or multiplicity that Psi4 does not
                know, ``memory``, ``crashed`` when its process died, otherwise ``engine``.
            ComponentMissingError: If there is no Psi4, or none that can be used.
        """
        self.last_cpu_s = 0.0
        try:
            answer = self._compute(molecule)
            if not answer["success"]:
                raise _oracle_error(answer, "{method}/{basis}".format(**self._model), self._scf)
            gradient = np.array(answer["return_result"], dtype=np.float64).reshape(len(molecule), 3)
            forces = without_net_force(molecule.positions, gradient / -BOHR_TO_ANGSTROM)
            return float(answer["properties"]["return_energy"]), forces
        except OracleError as error:
            raise OracleError(f"{molecule.id}: {error}", error.kind) from error
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise OracleError(f"{molecule.id}: Psi4's process sent no usable answer ({error})") from error

    def close(self) -> None:
        """End Psi4's process; the next call starts a fresh one."""
        if self._driver is not None:
            self._driver.stop()
            self._driver = None

    def _compute(self, molecule: Molecule) -> dict[str, Any]:
        driver = self._ready()
        self._calls += 1
        request = _request(molecule, self._model, self._keywords) | {"id": str(self._calls)}
        try:
            answer = driver.compute(request)
        except OracleError:
            self._driver = None
            raise
        self.last_cpu_s = float(answer["extras"]["cpu_s"])
        if not answer["success"]:
            self.close()
        return answer

    def _ready(self) -> DriverProcess:
        if self._driver is not None and self._driver.is_dead():
            self.close()
        if self._driver is None:
            self._driver = start_driver(self._location, self._threads, self._memory_bytes)
        return self._driver


def start_driver(location: str, threads: int, memory_bytes: int) -> DriverProcess:
    """Start Psi4 where it was before in this process, or in the first place where it starts.

    Raises:
        ComponentMissingError: If it starts nowhere; with the reason of every place that was tried.
        OracleError: If it started before and does not any more.
    """
    if location in _found:
        return DriverProcess(_found[location], threads, memory_bytes)
    reasons = []
    for installation in candidates(location):
        try:
            driver = DriverProcess(installation, threads, memory_bytes)
        except OracleError as error:
            reasons.append(f"{installation}: {error}")
            continue
        if not re.fullmatch(REFUSED_ENGINES, f"psi4 {driver.version}"):
            _found[location] = installation
            return driver
        driver.stop()
        reasons.append(f"{installation}: Psi4 {driver.version} gives wrong energies for range-separated functionals")
    raise ComponentMissingError(_missing(location, reasons))


def _missing(location: str, reasons: list[str]) -> str:
    where = f" at '{location}'" if location else ""
    tried = f" ({'; '.join(reasons)})" if reasons else ""
    return f"Psi4 was not found{where}{tried}; install it with: {INSTALL_HINT}; {LOCATION_VARIABLE} may say where it is"


def parse_memory(text: str) -> int:
    """Return bytes of ``2``, ``2 GB``, ``500 MB`` or ``1.5 GiB``; a bare number is GB.

    Raises:
        ConfigurationError: If it is none of these, or less than Psi4 starts with.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigurationError(f"psi4: memory must be like '2 GB' or '500 MB', not {text!r}")
    memory_bytes = int(float(match[1]) * _UNITS[match[2].upper()])
    if memory_bytes < _LEAST_MEMORY_BYTES:
        raise ConfigurationError(f"psi4: memory must be at least 250 MiB, not {text!r}")
    return memory_bytes


def _request(molecule: Molecule, model: Mapping[str, str], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the QCSchema input (version 1); lengths in Bohr."""
    reference = "rhf" if molecule.multiplicity == 1 else "uhf"  # Psi4 makes rks and uks of them for a functional
    return {
        "schema_name": "qcschema_input",
        "schema_version": 1,
        "driver": "gradient",
        "model": dict(model),
        "keywords": {"reference": reference, **KEYWORDS, **keywords},
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "symbols": [chemical_symbols[number] for number in molecule.numbers],
            "geometry": (molecule.positions / BOHR_TO_ANGSTROM).ravel().tolist(),
            "molecular_charge": molecule.charge,
            "molecular_multiplicity": molecule.multiplicity,
            "fix_com": True,
            "fix_orientation": True,
            "fix_symmetry": "c1",
        },
    }


def _oracle_error(answer: dict[str, Any], level: str, scf: str) -> OracleError:
    """Turn an answer without success into an error of the kind that its type stands for."""
    kind = _KINDS.get(str(answer["error"]["error_type"]), "engine")
    text = str(answer["error"]["error_message"])
    if kind == "memory":
        text = f"out of memory, give it more with memory= ({text})"
    elif scf == "second-order" and _META_GGA.search(text):
        kind, text = "not_converged", f"meta-GGA functionals have no second-order SCF ({text})"
    elif kind == "not_converged":
        text += f" (scf={scf})"
    return OracleError(f"{level}: {text}", kind)
