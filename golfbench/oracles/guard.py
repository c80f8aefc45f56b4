"""The guard of an isolated engine: however the engine or the suite ends, no process and no scratch folder remains.

The process that the parent starts forks before it imports anything heavy. The child serves, in a process group of its
own; the guard, leader of the session, waits for whatever comes first:

* the serving process ends;
* the parent ends, after ``kill -9``, too: its end of a pipe closes, the lifeline, which it also closes on purpose;
* a signal asks the guard to end.

Then it kills the group and all descendants, removes the scratch folder and ends as the serving process did, so that the
parent sees its exit status. On Linux descendants that lose their parent become the guard's children, so that those that
left group and session are found, too; elsewhere it finds what the process tree shows when the end begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import sys
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: The parent's end shows at once, but for a fork of the parent that holds the lifeline: so it is looked for, too (s).
_LOOK_S = 1.0
#: Killed processes may take a moment to end and to close their files (s).
_PATIENCE_S = 5.0


def guarded(lifeline: int, scratch: str) -> None:
    """Fork; the serving process returns from this, the guard never does.

    Args:
        lifeline: Reading end of a pipe that nothing is written to and whose other end the parent alone holds.
        scratch: Folder to remove in the end.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    serving = os.fork()
    if serving:
        _guard(serving, lifeline, scratch)
    os.close(lifeline)
    os.setpgid(0, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it must not run without its guard


def _prctl(option: int, value: int) -> None:
    """Set an attribute of this process, which only Linux has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _guard(serving: int, lifeline: int, scratch: str) -> NoReturn:
    with contextlib.suppress(OSError):  # whichever of the two is first
        os.setpgid(serving, serving)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # the parent must see when the serving process closes them
        os.dup2(nothing, descriptor)
    os.chdir("/")
    code = _wait_for_an_end(serving, lifeline)
    _kill_everything(serving)
    _remove(scratch)
    _end_as(code)


def _wait_for_an_end(serving: int, lifeline: int) -> int:
    """Return the exit code of the serving process; minus the signal that killed it or this one; 0 without a parent."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_ENDING_SIGNALS):
        signal.signal(number, lambda *_: None)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(woken, select.POLLIN)
    parent = os.getppid()
    while (code := _reap(serving)) is None:
        ready = dict(poll.poll(_LOOK_S * 1000))
        if lifeline in ready or os.getppid() != parent:
            return 0
        if woken in ready and (told := set(os.read(woken, 4096)).intersection(_ENDING_SIGNALS)):
            return -min(told)
    return code


def _reap(serving: int) -> int | None:
    """Collect children that ended, adopted ones included; return the exit code of the serving one if it did."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == serving:
                return os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
    return None


def _kill_everything(serving: int) -> None:
    """Kill the group of the serving process and every descendant, until there is none."""
    import psutil  # not earlier: the guard's start delays every worker's

    deadline = time.monotonic() + _PATIENCE_S
    descendants = psutil.Process().children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(serving, signal.SIGKILL)
    while descendants and time.monotonic() < deadline:
        for descendant in descendants:
            with contextlib.suppress(psutil.Error):
                descendant.kill()
        time.sleep(0.002)
        _reap(serving)
        descendants = psutil.Process().children(recursive=True)


def _remove(folder: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.002)


def _end_as(code: int) -> NoReturn:
    """End with an exit code, or by the signal that it stands for, without a second core dump."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL cannot be caught, nor be given back its default
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(abs(code))
