"""The child process of an isolated engine: ``python -m golfbench.oracles.worker``.

JSON lines. The parent's first line names the factory, every further line is one molecule; each line gets one answer:

    {"factory": "module:attribute", "parameters": {...}, ...}   ->  {"version": "xtb 22.1"}
    {"id": ..., "numbers": [...], ...}  ->  {"energy_hartree": ..., "forces_hartree_per_angstrom": [...], "cpu_s": ...}
    anything that fails                 ->  {"error": text, "type": class of the exception, "kind": OracleError kind}

Answers leave through a private descriptor; descriptors 0 and 1 are redirected before an engine is imported, so that an
engine that prints or reads, in Python, C or Fortran, cannot touch the protocol.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from typing import IO, Any

import numpy as np

from golfbench.contracts import Oracle
from golfbench.errors import MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.specs import load_factory

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve molecules until the parent closes the pipe."""
    _die_with_parent()
    requests, answers = _private_pipes()
    setup = json.loads(requests.readline() or "null")
    if setup is None:
        return
    try:
        oracle = _open(setup)
        _send(answers, {"version": oracle.version})
    except Exception as error:  # noqa: BLE001 - the parent decides what it means
        _send(answers, _describe(error))
        return
    for line in requests:
        _send(answers, _answer(oracle, line))


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends; elsewhere the closed pipe has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _private_pipes() -> tuple[IO[str], IO[str]]:
    """Move the protocol off descriptors 0 and 1; the copies are not inherited by processes an engine starts."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _open(setup: dict[str, Any]) -> Oracle:
    factory = load_factory(setup["factory"], setup["name"], setup["install_hint"])
    oracle: Oracle = factory(**setup["parameters"])
    return oracle


def _send(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer, allow_nan=False) + "\n")
    answers.flush()


def _answer(oracle: Oracle, line: str) -> dict[str, Any]:
    started = _cpu_seconds()
    try:
        molecule = Molecule.from_json(json.loads(line))
        energy, forces = oracle.label(molecule)
        forces = np.asarray(forces, dtype=np.float64)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise OracleError(f"{molecule.id}: energy or forces are not finite")
    except Exception as error:  # noqa: BLE001 - engines raise anything
        return _describe(error)
    measured = getattr(oracle, "last_cpu_s", None)  # by an engine whose own process outlives the call
    return {
        "energy_hartree": float(energy),
        "forces_hartree_per_angstrom": forces.tolist(),
        "cpu_s": _cpu_seconds() - started if measured is None else measured,
    }


def _cpu_seconds() -> float:
    """Return CPU seconds of this process and of the processes it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _describe(error: Exception) -> dict[str, Any]:
    kind = "input" if isinstance(error, MoleculeError) else getattr(error, "kind", "engine")
    return {"error": str(error) or repr(error), "type": type(error).__name__, "kind": kind}


if __name__ == "__main__":
    main()
