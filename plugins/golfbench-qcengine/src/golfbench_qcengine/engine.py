"""QCEngine as an oracle: single points in Hartree and Hartree/Å, failures by kind."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import qcengine
from ase.data import chemical_symbols

from golfbench.contracts import FloatArray
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError, unknown_name
from golfbench.molecules import Molecule
from golfbench.specs import parse_arguments
from golfbench.units import BOHR_TO_ANGSTROM

#: Programs whose answers have other units than QCSchema says: with 0.34.2, RDKit's energies are 4.184 times too small
#: (kcal/mol taken for kJ/mol), and its gradients are in Hartree Å/Bohr² on top of that.
WRONG_UNITS = {"rdkit": "the oracles mmff94 and uff are the same force fields"}
_KINDS = {"input_error": "input", "convergence_error": "not_converged", "random_error": "crashed"}
#: A line of a traceback that names the exception: its module, its class, its words.
_EXCEPTION = re.compile(r"^(?:\w+\.)*([A-Z]\w*(?:Error|Exception|NotFound)): *(.*\S)", re.MULTILINE)
_NOT_CONVERGED = re.compile(r"\b(not|n't|fail(ed|s)?( to)?) converge|ConvergenceError", re.IGNORECASE)
_NO_MEMORY = re.compile(r"\b(MemoryError|bad_alloc)\b|out of memory", re.IGNORECASE)
_UNKNOWN_TO_THE_PROGRAM = re.compile(r"BasisSetNotFound|MissingMethodError|NotAnElementError")
_LONGEST_REASON = 300


class QcengineOracle:
    """One program at one level of theory; see ``golfbench.contracts.Oracle``.

    Nothing is carried from call to call. The molecule is neither moved nor turned and has no symmetry for programs that
    QCEngine can tell so.

    Args:
        program: Name of the program in QCEngine.
        method: Any method of the program that has gradients.
        basis: Any basis set of the program, or empty.
        keywords: Keywords of the program (see ``parse_arguments``).
        level: Not used here: labels carry it.
        memory: Working memory of one calculation, GiB.
        threads: Threads of one calculation.

    Raises:
        ConfigurationError: If a parameter cannot be used.
        ComponentMissingError: If the program is not installed.
    """

    def __init__(
        self,
        program: str | None,
        method: str | None,
        basis: str,
        keywords: str,
        level: str,
        memory: float,
        threads: int,
    ) -> None:
        if not program or not method:
            raise ConfigurationError("qcengine: say which program and method: qcengine:program=psi4,method=b3lyp")
        if threads < 1 or not memory > 0:
            raise ConfigurationError(f"qcengine: threads={threads} and memory={memory} must be above 0")
        self._program, self._harness = program, find_program(program)
        self._model = {"method": method, "basis": basis or None}
        self._keywords = parse_arguments(keywords)
        self._resources = {"ncores": threads, "nnodes": 1, "memory": memory, "retries": 0}

    @property
    def version(self) -> str:
        """Versions of the program and of QCEngine, for example ``psi4 1.3.2 (qcengine 0.34.2)``."""
        return f"{self._program} {self._harness.get_version()} (qcengine {qcengine.__version__.removeprefix('v')})"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``not_converged`` when the program says so, ``input`` for what it does not know, ``crashed``
                when it ended by a signal, ``memory`` when it says that there was too little, otherwise ``engine``.
        """
        answer = qcengine.compute(
            _request(molecule, self._model, self._keywords),
            self._program,
            return_dict=True,
            task_config={**self._resources, "scratch_directory": tempfile.gettempdir()},
        )
        if not answer["success"]:
            reason, kind = explain(answer["error"])
            raise OracleError(f"{molecule.id}: {self._program}: {reason}", kind)
        energy = answer["properties"].get("return_energy")
        if energy is None:
            raise OracleError(f"{molecule.id}: {self._program} gave no energy with its gradient")
        gradient = np.array(answer["return_result"], dtype=np.float64).reshape(-1, 3)
        return float(energy), gradient / -BOHR_TO_ANGSTROM


def find_program(name: str) -> Any:
    """Return QCEngine's harness of a program that is installed.

    Raises:
        ConfigurationError: If QCEngine does not know the program, or its answers cannot be used.
        ComponentMissingError: If it is not installed.
    """
    known = qcengine.list_all_programs()
    if name not in known:
        raise ConfigurationError("qcengine: " + unknown_name("program", name, known))
    if name in WRONG_UNITS:
        raise ConfigurationError(f"qcengine: program {name} answers in wrong units; {WRONG_UNITS[name]}")
    harness = qcengine.get_program(name, check=False)
    if not harness.found():
        try:
            harness.found(raise_error=True)
            advice = "it is not on PATH"
        except Exception as error:  # noqa: BLE001 - each harness has its own
            advice = " ".join(str(error).split())
        raise ComponentMissingError(f"qcengine: program {name} was not found: {advice}")
    return harness


def explain(error: Mapping[str, Any]) -> tuple[str, str]:
    """Return the reason of a failed calculation in one line, and the kind of ``OracleError`` that it is.

    QCEngine has types of errors, but most failures are ``unknown_error`` with a traceback for a message.
    """
    text = str(error["error_message"])
    kind = _KINDS.get(error["error_type"], "engine")
    if _NOT_CONVERGED.search(text):
        kind = "not_converged"
    elif _NO_MEMORY.search(text):
        kind = "memory"
    elif _UNKNOWN_TO_THE_PROGRAM.search(text):
        kind = "input"
    named = [": ".join(match.groups()) for match in _EXCEPTION.finditer(text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = (named or lines or ["no reason given"])[-1]
    return reason[:_LONGEST_REASON], kind


def _request(molecule: Molecule, model: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the QCSchema input (version 1); lengths in Bohr."""
    return {
        "driver": "gradient",
        "model": dict(model),
        "keywords": dict(keywords),
        "molecule": {
            "symbols": [chemical_symbols[number] for number in molecule.numbers],
            "geometry": (molecule.positions / BOHR_TO_ANGSTROM).ravel().tolist(),
            "molecular_charge": molecule.charge,
            "molecular_multiplicity": molecule.multiplicity,
            "fix_com": True,
            "fix_orientation": True,
            "fix_symmetry": "c1",
        },
    }
