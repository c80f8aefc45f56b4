"""The driver's process: start, one question at a time, end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Any

from golfbench.errors import OracleError
from golfbench.threads import THREAD_VARIABLES, WAIT_VARIABLE
from golfbench_psi4.location import Installation

_DRIVER = Path(__file__).with_name("driver.py")
#: An answer has 75 bytes for each atom; more than this (bytes) is no answer.
_LONGEST_ANSWER = 1 << 26
#: The last message of C++ code that runs out of memory.
_BAD_ALLOC = "bad_alloc"
_LOG = "log.txt"
_LOG_TAIL_LINES = 2
#: A process whose pipe is closed gets this long (s) to end, so that its own signal is seen.
_DYING_S = 5.0


class DriverProcess:
    """``driver.py`` under the interpreter that has Psi4, in a folder of its own that holds all its files.

    Its limits are those of the process around it: ``golfbench.oracles`` ends both when a call takes too long or too
    much memory, or when anything around them was killed, and removes the folder, which lies in that process's own.

    Args:
        installation: Interpreter and module folders.
        threads: Threads of Psi4.
        memory_bytes: Working memory of Psi4.

    Attributes:
        version: Psi4's version.

    Raises:
        OracleError: If Psi4 cannot be imported or its process does not answer as it should.
    """

    def __init__(self, installation: Installation, threads: int, memory_bytes: int) -> None:
        folder = tempfile.TemporaryDirectory(prefix="psi4-", ignore_cleanup_errors=True)
        self._log = Path(folder.name) / _LOG
        command = [*installation.command, str(_DRIVER), str(threads), str(memory_bytes), *installation.folders]
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=folder.name,
                    env=_environment(folder.name, threads),
                )
        except OSError as error:
            folder.cleanup()
            raise OracleError(f"cannot be started: {error}") from error
        self.stop = weakref.finalize(self, _stop, self._process, folder)
        hello = self._read()
        if not hello.get("success"):
            self.stop()
            raise OracleError(str(hello.get("error", {}).get("error_message", "no reason given")))
        self.version = str(hello["provenance"]["version"])

    def is_dead(self) -> bool:
        """Return whether it ended between two calls."""
        return self._process.poll() is not None

    def compute(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the QCSchema output of a QCSchema input; one without success is an answer, too.

        Raises:
            OracleError: ``crashed`` when the process died, ``memory`` when it said that it had too little,
                ``engine`` for an answer outside the protocol; then the process is ended.
        """
        assert self._process.stdin is not None
        # why a process has ended is found when its answer is read
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        answer = self._read()
        if answer.get("id") != request["id"]:
            self.stop()
            raise OracleError("Psi4's process answered another question")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline(_LONGEST_ANSWER)
        if not line:
            cause = self._cause_of_death()
            self.stop()
            raise OracleError(f"Psi4's process ended: {cause}", "memory" if _BAD_ALLOC in cause else "crashed")
        try:
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("not an object")
        except ValueError:
            self.stop()
            raise OracleError("Psi4's process sent an answer that is not JSON") from None
        return answer

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(_DYING_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        hint = ", as when memory runs out" if code == -signal.SIGKILL else ""
        reason = signal.Signals(-code).name + hint if code < 0 else f"exit code {code}"
        lines = self._log.read_text(errors="replace").split("\n")[:-1][-_LOG_TAIL_LINES:]
        return f"{reason} (stderr ends: {' | '.join(lines)})" if lines else reason


def _environment(scratch: str, threads: int) -> dict[str, str]:
    """Return the driver's environment: OpenMP has the threads, BLAS one inside each, and waiting threads sleep.

    With threads of their own, Debian's OpenBLAS and OpenMP spin against each other: one gradient of paracetamol was
    measured at 220 s instead of 52 s.
    """
    pinned = dict.fromkeys(THREAD_VARIABLES, "1") | {"OMP_NUM_THREADS": str(threads), WAIT_VARIABLE: "PASSIVE"}
    return {**os.environ, **pinned, **dict.fromkeys(("PSI_SCRATCH", "TMPDIR", "TEMP", "TMP"), scratch)}


def _stop(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Kill the process and remove its folder."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not read by the process
                pipe.close()
    folder.cleanup()
