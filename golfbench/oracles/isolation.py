"""The parent of an isolated engine: one warm child process, limits of time and memory, nothing left behind.

``golfbench.oracles.worker`` has the protocol. POSIX only: the engine has a session and a process group of its own, and
between it and the parent stands a guard (``golfbench.oracles.guard``) that ends it together with all that it started,
also when the parent is gone.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import psutil

from golfbench.contracts import FloatArray
from golfbench.errors import ComponentMissingError, ConfigurationError, GolfbenchError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.sizes import basis_functions
from golfbench.specs import Scalar
from golfbench.threads import THREAD_VARIABLES

_COMMAND = (sys.executable, "-P", "-m", "golfbench.oracles.worker")
_STDERR_TAIL_BYTES = 2000
#: Wall-clock limit of a child's start, imports included.
_START_LIMIT_S = 120.0
#: A guard gets this long (s) to kill and remove everything, and then to end as its child did.
_ENDING_S = 15.0
#: The memory of a busy child is looked at so often (s), and with fewer than so many parts of a core.
_LOOK_S = 0.2
_LOOKS_PER_CORE = 50
#: A child whose processes hold so much more (bytes) than the calculations themselves asked for is replaced.
_GROWTH_BYTES = 300 * 10**6
#: What C++, Fortran and Python processes write last when memory was too small.
_OUT_OF_MEMORY = re.compile(r"bad_alloc|MemoryError|(?i:out of memory|(cannot|could not|failed to|error) allocat)")
#: The end of its stderr is waited for this long (s): a process that it left behind may hold it open.
_LAST_WORDS_S = 0.2
#: What a child may report at its start that is not the fault of a molecule.
_START_ERRORS: Mapping[str, type[GolfbenchError]] = {
    "ComponentMissingError": ComponentMissingError,
    "ConfigurationError": ConfigurationError,
}
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _MemoryLimitError(Exception):
    """The processes of a child have more memory than they may."""


class WorkerOracle:
    """An oracle whose engine runs in a child process; see ``contracts.Oracle``.

    The child starts with the first call. It is replaced after a crash, a timeout, the end of its memory, an answer
    outside the protocol, and when it leaks: when its processes together hold ``_GROWTH_BYTES`` more than they came to
    hold by calls on molecules larger than any before (the first one among them). So much the calculations themselves
    need, and no fresh child would hold less. One instance belongs to one thread at a time.

    Args:
        factory: ``"module:attribute"`` of the engine, resolved in the child.
        parameters: Keyword arguments of the factory.
        name: Name of the oracle, for messages.
        install_hint: The command that installs what the factory needs, for messages.
        threads: Threads of the engine.
        time_limit_s: Wall-clock limit of one call, s.
        memory_limit_bytes: Memory that the child may have together with the processes it starts; all that there is by
            default. No single process can allocate more than that either (Linux).

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
        memory_limit_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.last_cpu_s = 0.0
        self._memory_limit_bytes = memory_limit_bytes or memory_of_machine()
        self._setup = {
            "factory": factory,
            "parameters": dict(parameters),
            "name": name,
            "install_hint": install_hint,
            "memory_limit_bytes": self._memory_limit_bytes,
        }
        self._threads = threads
        self._time_limit_s = time_limit_s
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
                killed for taking too long, ``memory`` when there was too little or it was killed for taking too much,
                ``engine`` for an answer outside the protocol.
            ComponentMissingError: If the engine is not installed.
            ConfigurationError: If the factory refuses its parameters.
        """
        child = self._ready()
        answer = self._ask(child, _encode(molecule), self._time_limit_s, f"{molecule.id}: {self.name}")
        if child.growth_bytes(basis_functions(molecule.numbers)) > _GROWTH_BYTES:
            self.close()
        if "error" in answer:
            raise self._failure(answer, molecule.id)
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
        if self._child is not None and self._child.is_dead():
            self.close()
        if self._child is not None:
            return self._child
        child = self._child = _Child(self._threads, self._memory_limit_bytes)
        answer = self._ask(child, json.dumps(self._setup, allow_nan=False), _START_LIMIT_S, self.name)
        if "version" not in answer:
            self.close()
            start_error = _START_ERRORS.get(answer.get("type", ""))
            if start_error is not None:
                raise start_error(answer["error"])
            raise self._failure(answer, f"{self.name} did not start")
        self._version = str(answer["version"])
        return child

    def _ask(self, child: _Child, line: str, limit_s: float, what: str) -> dict[str, Any]:
        """Send one line and wait for its answer; any interruption also ends the child."""
        try:
            answer = json.loads(child.exchange(line, limit_s))
            if not isinstance(answer, dict):
                raise ValueError("not an object")
        except TimeoutError:
            self.close()
            raise OracleError(f"{what} took longer than {limit_s:g} s and was killed", "time_limit") from None
        except _MemoryLimitError:
            self.close()
            raise OracleError(f"{what} had more memory than {self._memory_limit} and was killed", "memory") from None
        except (EOFError, OSError):
            reason, tail = child.cause_of_death()
            self.close()
            if _OUT_OF_MEMORY.search(tail):
                reason = f"out of memory ({self._memory_limit}), {reason}"
                raise OracleError(f"{what} crashed: {reason}{tail}", "memory") from None
            raise OracleError(f"{what} crashed: {reason}{tail}", "crashed") from None
        except ValueError:
            self.close()
            raise OracleError(f"{what} sent an answer that is not JSON") from None
        except BaseException:
            self.close()
            raise
        return answer

    def _failure(self, answer: dict[str, Any], what: str) -> OracleError:
        """Return what an answer without a label stands for; a child without memory may fail again, and is ended."""
        error = _oracle_error(answer, what)
        if error.kind != "memory":
            return error
        self.close()
        return OracleError(f"{error} (all of its processes: {self._memory_limit})", "memory")

    @property
    def _memory_limit(self) -> str:
        return f"{self._memory_limit_bytes / 2**20:.0f} MiB"


class _Child:
    """One worker process below its guard, with its scratch directory, its pipes and the tail of its stderr.

    Attributes:
        stop: Ends everything and removes the scratch directory.
    """

    def __init__(self, threads: int, memory_limit_bytes: int) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="golfbench-", ignore_cleanup_errors=True)
        lifeline, our_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*_COMMAND, str(lifeline), scratch.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=scratch.name,
                env=_environment(Path(scratch.name), threads),
                start_new_session=True,
                pass_fds=(lifeline,),
            )
        except BaseException:
            os.close(our_end)
            scratch.cleanup()
            raise
        finally:
            os.close(lifeline)
        self.stop = weakref.finalize(self, _stop, self._process, our_end, scratch)
        _living.add(self)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._memory_limit_bytes = memory_limit_bytes
        self._look_s = 0.0
        self._judged = -math.inf
        self._held_bytes = self._needed_bytes = 0
        self._largest, self._is_larger = 0, False
        self._received = bytearray()
        self._tail = bytearray()
        self._reader = threading.Thread(target=_drain, args=(self._process.stderr, self._tail), daemon=True)
        self._reader.start()

    def exchange(self, line: str, limit_s: float) -> str:
        """Send a line and return the next line that comes back.

        Raises:
            TimeoutError: If that takes longer than ``limit_s``.
            _MemoryLimitError: If its processes take more memory than they may.
            EOFError: If the child closed its end.
            OSError: If the child no longer reads.
        """
        deadline = time.monotonic() + limit_s
        rest = memoryview(line.encode() + b"\n")
        while rest:
            self._wait(self._requests, select.POLLOUT, deadline)
            rest = rest[os.write(self._requests, rest) :]
        while b"\n" not in self._received:
            self._wait(self._answers, select.POLLIN, deadline)
            chunk = os.read(self._answers, 1 << 16)
            if not chunk:
                raise EOFError
            self._received += chunk
        answer, _, after = self._received.partition(b"\n")
        self._received = after
        return answer.decode(errors="replace")

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Wait until a descriptor is ready, and look at the memory now and then.

        Raises:
            TimeoutError: If ``deadline`` (monotonic clock, s) comes first.
            _MemoryLimitError: If its processes take more memory than they may.
        """
        while not _ready(descriptor, event, min(max(_LOOK_S, self._pause_s), deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise TimeoutError
            if self._memory_bytes() > self._memory_limit_bytes:
                raise _MemoryLimitError

    def growth_bytes(self, size: int) -> int:
        """Return how much more memory its processes hold than its calculations asked for, as far as that was looked at.

        What came with a calculation larger than any before is what that calculation needs; all that came with others
        is growth, less what was given back. A child whose calls are short is not looked at after each.

        Args:
            size: Of the calculation that has just ended.
        """
        self._is_larger |= size > self._largest
        self._largest = max(self._largest, size)
        if time.monotonic() >= self._judged + self._pause_s:
            held = self._memory_bytes()
            self._judged = time.monotonic()
            if self._is_larger:
                self._needed_bytes += held - self._held_bytes
            self._held_bytes, self._is_larger = held, False
        return self._held_bytes - self._needed_bytes

    @property
    def _pause_s(self) -> float:
        """How long (s) its memory is not looked at again, so that looking takes a small share of a core only."""
        return _LOOKS_PER_CORE * self._look_s

    def _memory_bytes(self) -> int:
        """Look at the resident memory (bytes) of all its processes."""
        started = time.monotonic()
        total = _memory_bytes_below(self._process.pid)
        self._look_s = time.monotonic() - started
        return total

    def is_dead(self) -> bool:
        """Tell whether it ended while nobody was asking, or spoke without being asked."""
        return self._process.poll() is not None or bool(self._received) or _ready(self._answers, select.POLLIN, 0.0)

    def cause_of_death(self) -> tuple[str, str]:
        """Return why a child with a closed pipe ended, and the end of what it wrote to stderr."""
        try:
            code = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            return "it closed its output", ""
        self._reader.join(_LAST_WORDS_S)
        lines = self._tail.decode(errors="replace").strip().splitlines()[-3:]
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return reason, f" (stderr ends: {' | '.join(lines)})" if lines else ""


#: The children of this process.
_living: weakref.WeakSet[_Child] = weakref.WeakSet()


def stop_all() -> None:
    """End every child of this process, whatever it is doing: for whoever waits for one, it crashed."""
    for child in list(_living):
        child.stop()


def memory_of_machine() -> int:
    """Return the bytes of memory that this process may have: the machine's, or less in a control group."""
    return min([psutil.virtual_memory().total, *_control_group_limits()])


def _control_group_limits() -> Iterator[int]:
    """Yield the memory limits (bytes) of this process's control groups, versions 1 and 2, and of those around them."""
    with contextlib.suppress(OSError):
        for line in _OWN_CGROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root, file = (_CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (_CGROUPS, "memory.max")
            ours = root / path.lstrip("/")
            for group in (ours, *ours.parents):
                with contextlib.suppress(OSError, ValueError):  # not there, or the word max
                    yield int((group / file).read_text())


def _memory_bytes_below(pid: int) -> int:
    """Return the resident memory (bytes) of all descendants of a process."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _environment(scratch: Path, threads: int) -> dict[str, str]:
    """Return the child's environment: pinned threads that do not spin, temporary files in its own directory.

    The child works in that directory, where a relative folder of PYTHONPATH would be another one.
    """
    folders = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    pinned = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_MAX_ACTIVE_LEVELS": "1",
        "PYTHONPATH": os.pathsep.join(folders),
    }
    return {**os.environ, **pinned, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}


def _stop(process: subprocess.Popen[bytes], our_end: int, scratch: tempfile.TemporaryDirectory[str]) -> None:
    """Tell the guard to end everything, and do so in its place if it cannot; then remove the scratch directory."""
    os.close(our_end)
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode != 0:
        _kill_session(process.pid)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    scratch.cleanup()


def _kill_session(leader: int) -> None:
    """Kill what is left of a session whose guard was killed."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                process.kill()


def _drain(stream: IO[bytes], tail: bytearray) -> None:
    """Keep the last bytes of a stream until it ends."""
    with stream:
        while chunk := stream.read(1 << 12):
            tail += chunk
            del tail[:-_STDERR_TAIL_BYTES]


def _ready(descriptor: int, event: int, limit_s: float) -> bool:
    """Tell whether a descriptor is ready, or its other end closed, within a time (s)."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, limit_s) * 1000))


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
