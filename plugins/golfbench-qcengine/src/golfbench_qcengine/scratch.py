"""The folder for everything that programs write, and the guard that removes it when the process is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")


class Scratch:
    """A temporary folder that does not outlive this process, nor do the programs that it started.

    Only a process that leads a session of its own gets a guard, as the worker of an isolated oracle does: in any other
    one the process group has members that are somebody else's.

    Attributes:
        path: The folder.
    """

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="qcengine-", ignore_cleanup_errors=True)
        self.path = folder.name
        guard = _start_guard(self.path) if os.getsid(0) == os.getpid() else None
        self.close = weakref.finalize(self, _close, folder, guard)


def _start_guard(folder: str) -> subprocess.Popen[bytes]:
    # -I and -S: it starts in milliseconds and imports nothing of this environment
    command = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpgrp()), folder]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)


def _close(folder: tempfile.TemporaryDirectory[str], guard: subprocess.Popen[bytes] | None) -> None:
    """Remove the folder and end the guard, which is killed first: it must not kill this process."""
    if guard is not None:
        guard.kill()
        guard.wait()
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.close()
    folder.cleanup()
