"""Psi4 behind JSON lines: ``python driver.py THREADS MEMORY_BYTES [FOLDER...]``.

Run by whichever interpreter has Psi4, so it needs the standard library and ``psi4`` alone, and Python 3.7 at least.
Folders are put on the module search path. The first line out is ``{"provenance": ...}``, or an error when Psi4 cannot
be imported; then each line in is a QCSchema input (version 1, gradients only) and gets one line: a QCSchema output,
with its CPU seconds among the ``extras``. Errors are of the types that QCEngine uses.

Answers leave through a private descriptor: nothing that Psi4 prints, in Python or C++, can enter the protocol.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

_OUTPUT = "output.txt"
#: Of an output file, the last lines that are quoted, and how much is read for them (bytes).
_QUOTED_LINES = 2
_QUOTED_BYTES = 1000
#: Classes of exceptions, by name because their modules moved between versions; the first that fits counts.
_ERROR_TYPES = (
    ("convergence_error", {"SCFConvergenceError", "ConvergenceError"}),
    ("input_error", {"ValidationError", "BasisSetNotFound", "MissingMethodError", "ManagedMethodError"}),
    ("input_error", {"NotAnElementError", "MoleculeFormatError"}),
    ("resource_error", {"MemoryError"}),
)
#: Rotations, times 15: none, and one that leaves no axis of the frame where it was.
_AS_IT_IS = ((15, 0, 0), (0, 15, 0), (0, 0, 15))
_TURN = ((-10, 2, 11), (10, -5, 10), (5, 14, 2))
#: What Psi4's C++ code says, in an exception without a class of its own, when it has too little memory.
_MEMORY_WORDS = ("memory", "bad_alloc")


def main() -> int:
    """Serve gradients until the parent closes the pipe."""
    requests, answers = _private_pipes()
    threads, memory_bytes, *folders = sys.argv[1:]
    try:
        psi4 = _load(folders, int(threads), int(memory_bytes))
    except Exception as error:  # noqa: BLE001 - the parent looks elsewhere
        _send(answers, {"success": False, "error": _describe(error)})
        return 1
    _send(answers, {"success": True, "provenance": _provenance(psi4)})
    for line in requests:
        os.ftruncate(2, 0)  # the log of the call before
        _send(answers, _answer(psi4, json.loads(line)))
    return 0


def _private_pipes() -> tuple[TextIO, TextIO]:
    """Move the protocol off descriptors 0 and 1; what is printed goes to the log, which is descriptor 2."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _load(folders: list[str], threads: int, memory_bytes: int) -> Any:
    """Import Psi4 and give it threads and memory."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [*(path for path in sys.path if os.path.abspath(path or ".") != here), *folders]
    psi4 = importlib.import_module("psi4")
    psi4.core.set_num_threads(threads, quiet=True)
    psi4.core.set_memory_bytes(memory_bytes, True)
    return psi4


def _provenance(psi4: Any) -> dict[str, str]:
    return {"creator": "Psi4", "version": str(psi4.__version__), "routine": "golfbench_psi4.driver"}


def _send(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _answer(psi4: Any, request: dict[str, Any]) -> dict[str, Any]:
    started = time.process_time()
    psi4.core.set_output_file(_OUTPUT, False)  # replaces the output of the call before
    answer = {key: request[key] for key in ("id", "schema_version")}
    try:
        answer.update(_gradient(psi4, request))
        _clean(psi4)  # after a failure there is no next call
    except Exception as error:  # noqa: BLE001 - Psi4 raises anything
        answer.update(success=False, error=_describe(error))
    answer.update(schema_name="qcschema_output", provenance=_provenance(psi4))
    answer["extras"] = {"cpu_s": time.process_time() - started}
    return answer


def _gradient(psi4: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return energy (Hartree) and gradient (3 n_atoms,) (Hartree/Bohr), flat and in the order of the symbols."""
    try:
        return _turned_gradient(psi4, request, _AS_IT_IS)
    except Exception as error:
        if "point group" not in str(error):
            raise
    # Psi4 1.3.2 looks for symmetry even if it is told to use none, and fails for atoms that are symmetric up to
    # rounding. Rotated away from the axes of the frame, nothing is symmetric.
    _clean(psi4)
    return _turned_gradient(psi4, request, _TURN)


def _turned_gradient(psi4: Any, request: dict[str, Any], turn: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
    """Return the same from a molecule that is turned, by a rotation times 15."""
    import numpy as np  # Psi4's

    given, model, rotation = request["molecule"], request["model"], np.array(turn) / 15
    molecule = psi4.core.Molecule.from_arrays(
        geom=np.reshape(given["geometry"], (-1, 3)) @ rotation.T,
        elem=given["symbols"],
        units="Bohr",
        fix_com=given["fix_com"],
        fix_orientation=given["fix_orientation"],
        fix_symmetry=given["fix_symmetry"],
        molecular_charge=given["molecular_charge"],
        molecular_multiplicity=given["molecular_multiplicity"],
        verbose=0,
    )
    psi4.set_options({**request["keywords"], "basis": model["basis"]})
    gradient = psi4.gradient(model["method"], molecule=molecule)
    return {
        "success": True,
        "return_result": (gradient.np @ rotation).ravel().tolist(),
        "properties": {"return_energy": float(psi4.core.variable("CURRENT ENERGY"))},
    }


def _clean(psi4: Any) -> None:
    """Remove scratch files, options and results, so that no call sees another one, and give memory back."""
    psi4.core.clean()
    psi4.core.clean_options()
    psi4.core.clean_variables()
    _trim()


def _trim() -> None:
    """Return freed memory to the system, which glibc keeps: 860 of 980 MB after a gradient of 12 atoms."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _describe(error: Exception) -> dict[str, str]:
    """Return type and reason of an exception."""
    names = {cls.__name__ for cls in type(error).__mro__}
    reason = _reason(error)
    kind = next((kind for kind, classes in _ERROR_TYPES if names & classes), "unknown_error")
    if kind == "unknown_error" and any(word in reason.lower() for word in _MEMORY_WORDS):
        kind = "resource_error"
    return {"error_type": kind, "error_message": f"{type(error).__name__}: {reason}"}


def _reason(error: Exception) -> str:
    """Return one line: a RuntimeError comes from C++ code, with its reason within a page of text or without one."""
    lines = [line.replace("Fatal Error:", "").strip() for line in str(error).splitlines()]
    told = next(filter(None, lines), "")
    return f"{told} (output ends: {_last_words()})".strip() if isinstance(error, RuntimeError) else told


def _last_words() -> str:
    """Return the end of Psi4's output file."""
    if not os.path.exists(_OUTPUT):
        return ""
    with open(_OUTPUT, "rb") as output:
        output.seek(max(0, os.path.getsize(_OUTPUT) - _QUOTED_BYTES))
        text = output.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_QUOTED_LINES:])


if __name__ == "__main__":
    sys.exit(main())
