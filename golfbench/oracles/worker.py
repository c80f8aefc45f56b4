"""The child process of an isolated engine: ``python -m golfbench.oracles.worker LIFELINE SCRATCH``.

It serves below a guard (``golfbench.oracles.guard`` has the arguments), which is why nothing heavy is imported at the
head of this module.

JSON lines. The parent's first line names the factory, every further line is one molecule; each line gets one answer:

    {"factory": "module:attribute", "parameters": {...}, ...}   ->  {"version": "xtb 22.1"}
    {"id": ..., "numbers": [...], ...}  ->  {"energy_hartree": ..., "forces_hartree_per_angstrom": [...], "cpu_s": ...}
    anything that fails                 ->  {"error": text, "type": class of the exception, "kind": OracleError kind}

Answers leave through a private descriptor; descriptors 0 and 1 are redirected before an engine is imported, so that an
engine that prints or reads, in Python, C or Fortran, cannot touch the protocol.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from golfbench.errors import MoleculeError, OracleError
from golfbench.oracles.guard import guarded
from golfbench.specs import load_factory

if TYPE_CHECKING:
    from golfbench.contracts import Oracle


def main() -> None:
    """Serve molecules until the parent closes the pipe."""
    guarded(int(sys.argv[1]), sys.argv[2])
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
    _limit_memory(setup["memory_limit_bytes"])
    factory = load_factory(setup["factory"], setup["name"], setup["install_hint"])
    oracle: Oracle = factory(**setup["parameters"])
    return oracle


def _limit_memory(limit_bytes: int) -> None:
    """Let the kernel refuse memory that the parent would see too late, also to each process that the engine starts."""
    if sys.platform == "linux":  # elsewhere the limit does not cover what is allocated today
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _send(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer, allow_nan=False) + "\n")
    answers.flush()


def _answer(oracle: Oracle, line: str) -> dict[str, Any]:
    import numpy as np

    from golfbench.contracts import MeasuresCpu
    from golfbench.molecules import Molecule

    started = _cpu_seconds()
    try:
        molecule = Molecule.from_json(json.loads(line))
        energy, forces = oracle.label(molecule)
        forces = np.asarray(forces, dtype=np.float64)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise OracleError(f"{molecule.id}: energy or forces are not finite")
    except Exception as error:  # noqa: BLE001 - engines raise anything
        return _describe(error)
    measured = oracle.last_cpu_s if isinstance(oracle, MeasuresCpu) else None
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
    return {"error": str(error) or repr(error), "type": type(error).__name__, "kind": _kind(error)}


def _kind(error: Exception) -> str:
    if isinstance(error, MoleculeError):
        return "input"
    told = getattr(error, "kind", "engine")
    return "memory" if told == "engine" and _ran_out_of_memory(error) else told


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether there is a ``MemoryError`` behind an error that an engine made of it."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    main()
