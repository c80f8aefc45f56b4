"""A queue between processes that survives the death of a process that was reading from it.

Idle workers of Parsl take turns in waiting at their common queue, one of them holding its lock. If that one is killed,
the semaphore of ``multiprocessing`` stays taken for ever, and no other worker of the block gets a call again. A file
lock is given back by the kernel.
"""

from __future__ import annotations

import fcntl
import multiprocessing.queues
import os
import tempfile
from multiprocessing.context import BaseContext
from types import TracebackType


class FileLock:
    """A lock between processes in the shape of ``multiprocessing.Lock``, for one thread of each.

    Args:
        path: A file of its own; made in the temporary directory if not given.
    """

    def __init__(self, path: str = "") -> None:
        if not path:
            descriptor, path = tempfile.mkstemp(prefix="golfbench-parsl-", suffix=".lock")
            os.close(descriptor)
        self._path = path
        self._descriptor = -1

    def __reduce__(self) -> tuple[type[FileLock], tuple[str]]:
        return FileLock, (self._path,)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock. Waiting has no limit: whoever holds it reads for the length of a heartbeat at most."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


class Queue(multiprocessing.queues.Queue):  # type: ignore[type-arg]
    """A ``multiprocessing.Queue`` whose readers may be killed while they wait."""

    def __init__(self, maxsize: int = 0, *, ctx: BaseContext) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._rlock = FileLock()
