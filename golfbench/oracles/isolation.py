"""The parent of an isolated engine: one warm child process, a time limit for every call, nothing left behind.

``golfbench.oracles.worker`` has the protocol. POSIX only: the child leads a session and process group of its own, so
that one signal ends it together with whatever it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import psutil

from golfbench.contracts import FloatArray
from golfbench.errors import ComponentMissingError, ConfigurationError, GolfbenchError, OracleError
from golfbench.molecules import Molecule
from golfbench.specs import Scalar
from golfbench.threads import THREAD_VARIABLES

_COMMAND = (sys.executable, "-P", "-m", "golfbench.oracles.worker")
_STDERR_TAIL_BYTES = 2000
#: A child whose pipe is closed gets this long (s) to finish dying, so that its own signal is seen.
_DYING_S = 2.0
#: Its last words are waited for this long (s); a process that it left behind may hold its stderr open.
_LAST_WORDS_S = 0.2
#: What a child may report at its start that is not the fault of a molecule.
_START_ERRORS: Mapping[str, type[GolfbenchError]] = {
    "ComponentMissingError": ComponentMissingError,
    "ConfigurationError": ConfigurationError,
}


class WorkerOracle:
    """An oracle whose engine runs in a child process; see ``contracts.Oracle``.

    The child starts with the first call. It is replaced after a crash, a timeout, an answer outside the protocol and
    ``max_calls`` calls. One instance belongs to one thread at a time, and its child does not outlive the thread that
    started it.

    Args:
        factory: ``"module:attribute"`` of the engine, resolved in the child.
        parameters: Keyword arguments of the factory.
        name: Name of the oracle, for messages.
        install_hint: The command that installs what the factory needs, for messages.
        threads: Threads of the engine.
        time_limit_s: Wall-clock limit of one call, s.
        start_limit_s: Wall-clock limit of the child's start (imports included), s.
        max_calls: Calls after which the child is replaced, against engines that leak.

    Attributes:
        last_cpu_s: CPU seconds of the last answered call, s; the engine's own processes included.
    """

    def __init__(
        self,
        factory: str,
        parameters: Mapping[str, Scalar],
        *,
        name: str = "oracle",
        install_hint: str = "",
        threads: int = 1,
        time_limit_s: float = 600.0,
        start_limit_s: float = 120.0,
        max_calls: int = 500,
    ) -> None:
        self.name = name
        self.last_cpu_s = 0.0
        self._setup = {"factory": factory, "parameters": dict(parameters), "name": name, "install_hint": install_hint}
        self._threads = threads
        self._time_limit_s = time_limit_s
        self._start_limit_s = start_limit_s
        self._max_calls = max_calls
        self._calls = 0
        self._version = ""
        self._child: _Child | None = None

    @property
    def version(self) -> str:
        """Version of the engine; the first look starts the child.

        Raises:
            ComponentMissingError: If the engine is not installed.
            ConfigurationError: If the factory refuses its parameters.
            OracleError: If the child does not start.
        """
        if not self._version:
            self._ready()
        return self._version

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Label one molecule in the child; see ``contracts.Oracle``.

        Raises:
            OracleError: With the kind the engine gave, ``crashed`` when the child died, ``time_limit`` when it was
                killed for taking too long, ``engine`` for an answer outside the protocol.
            ComponentMissingError: If the engine is not installed.
            ConfigurationError: If the factory refuses its parameters.
        """
        child = self._ready()
        self._calls += 1
        answer = self._ask(child, _encode(molecule), self._time_limit_s, f"{molecule.id}: {self.name}")
        if "error" in answer:
            raise _oracle_error(answer, molecule.id)
        try:
            energy = float(answer["energy_hartree"])
            forces = np.array(answer["forces_hartree_per_angstrom"], dtype=np.float64).reshape(len(molecule), 3)
            self.last_cpu_s = float(answer["cpu_s"])
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise OracleError(f"{molecule.id}: {self.name} sent no usable answer ({error})") from error
        return energy, forces

    def close(self) -> None:
        """End the child and remove its scratch directory; the next call starts a fresh one."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _ready(self) -> _Child:
        """Return a child that waits for a molecule."""
        if self._child is not None and (self._calls >= self._max_calls or self._child.is_dead()):
            self.close()
        if self._child is not None:
            return self._child
        child = self._child = _Child(self._threads)
        self._calls = 0
        answer = self._ask(child, json.dumps(self._setup, allow_nan=False), self._start_limit_s, self.name)
        if "version" not in answer:
            self.close()
            start_error = _START_ERRORS.get(answer.get("type", ""))
            if start_error is not None:
                raise start_error(answer["error"])
            raise _oracle_error(answer, f"{self.name} did not start")
        self._version = str(answer["version"])
        return child

    def _ask(self, child: _Child, line: str, limit_s: float, what: str) -> dict[str, Any]:
        """Send one line and wait for its answer; whatever interrupts this also ends the child."""
        try:
            answer = json.loads(child.exchange(line, limit_s))
            if not isinstance(answer, dict):
                raise ValueError("not an object")
        except TimeoutError:
            self.close()
            raise OracleError(f"{what} took longer than {limit_s:g} s and was killed", "time_limit") from None
        except (EOFError, OSError):
            reason, tail = child.cause_of_death()
            self.close()
            raise OracleError(f"{what} crashed: {reason}{tail}", "crashed") from None
        except ValueError:
            self.close()
            raise OracleError(f"{what} sent an answer that is not JSON") from None
        except BaseException:
            self.close()
            raise
        return answer


class _Child:
    """One worker process with its scratch directory, its pipes and the tail of its stderr."""

    def __init__(self, threads: int) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="golfbench-", ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=scratch.name,
                env=_environment(Path(scratch.name), threads),
                start_new_session=True,
            )
        except BaseException:
            scratch.cleanup()
            raise
        self.stop = weakref.finalize(self, _stop, self._process, scratch)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._received = bytearray()
        self._tail = bytearray()
        self._reader = threading.Thread(target=_drain, args=(self._process.stderr, self._tail), daemon=True)
        self._reader.start()

    def exchange(self, line: str, limit_s: float) -> str:
        """Send a line and return the next line that comes back.

        Raises:
            TimeoutError: If that takes longer than ``limit_s``.
            EOFError: If the child closed its end.
            OSError: If the child no longer reads.
        """
        deadline = time.monotonic() + limit_s
        rest = memoryview(line.encode() + b"\n")
        while rest:
            _wait(self._requests, select.POLLOUT, deadline)
            rest = rest[os.write(self._requests, rest) :]
        while b"\n" not in self._received:
            _wait(self._answers, select.POLLIN, deadline)
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise EOFError
            self._received += chunk
        answer, _, after = self._received.partition(b"\n")
        self._received = after
        return answer.decode(errors="replace")

    def is_dead(self) -> bool:
        """Tell whether it ended while nobody was asking, or spoke without being asked."""
        return self._process.poll() is not None or bool(self._received)

    def cause_of_death(self) -> tuple[str, str]:
        """Return why a child with a closed pipe ended, and the end of what it wrote to stderr."""
        try:
            code = self._process.wait(_DYING_S)
        except subprocess.TimeoutExpired:
            return "it closed its output", ""
        self._reader.join(_LAST_WORDS_S)
        lines = self._tail.decode(errors="replace").strip().splitlines()[-3:]
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return reason, f" (stderr ends: {' | '.join(lines)})" if lines else ""


def _environment(scratch: Path, threads: int) -> dict[str, str]:
    """Return the child's environment: pinned threads that do not spin, temporary files in its own directory."""
    pinned = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_MAX_ACTIVE_LEVELS": "1",
    }
    return {**os.environ, **pinned, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}


def _stop(process: subprocess.Popen[bytes], scratch: tempfile.TemporaryDirectory[str]) -> None:
    """Kill the child, its group and the descendants that left the group; then remove the scratch directory."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with contextlib.suppress(psutil.Error):
            descendant.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    scratch.cleanup()


def _drain(stream: IO[bytes], tail: bytearray) -> None:
    """Keep the last bytes of a stream until it ends."""
    with stream:
        while chunk := stream.read(1 << 12):
            tail += chunk
            del tail[:-_STDERR_TAIL_BYTES]


def _wait(descriptor: int, event: int, deadline: float) -> None:
    """Wait until a descriptor is ready.

    Raises:
        TimeoutError: If ``deadline`` (monotonic clock, s) comes first.
    """
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _encode(molecule: Molecule) -> str:
    try:
        return json.dumps(molecule.to_json(), allow_nan=False)
    except ValueError:
        raise OracleError(f"{molecule.id}: coordinates are not finite", "input") from None


def _oracle_error(answer: Mapping[str, Any], what: str) -> OracleError:
    """Rebuild an engine's error from its description."""
    text, kind = str(answer.get("error", "no reason given")), answer.get("kind")
    if answer.get("type") not in ("OracleError", "MoleculeError"):
        text = f"{answer.get('type')}: {text}"
    message = text if text.startswith(what) else f"{what}: {text}"
    return OracleError(message, kind if kind in OracleError.KINDS else "engine")
