"""Parsl in the shape of ``concurrent.futures.Executor``."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from typing import Any

from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch, WorkerLost
from parsl.jobs.errors import TooManyJobFailuresError

from golfbench.errors import ComponentMissingError, WorkerLostError
from golfbench_parsl.configuration import slots
from golfbench_parsl.kernel import Kernel

_LOST = (WorkerLost, ManagerLost)
#: The executor itself is beyond help.
_BROKEN = (BadStateException, TooManyJobFailuresError, VersionMismatch)


class ParslPool(Executor):
    """A ``concurrent.futures.Executor`` whose calls run in workers of Parsl.

    A call is a function that can be imported on the worker, with plain data in and out. Its future raises what the
    call raised, ``WorkerLostError`` when the worker died with it, and ``ComponentMissingError`` when Parsl can run
    nothing more. Nothing is retried here.

    Args:
        config: Path of a Python file that defines ``config``, a ``parsl.Config``; it is run. Empty: this machine.
        workers: Worker processes on this machine.

    Attributes:
        slots: The most calls that can run at once; ``None`` if the configuration does not say.

    Raises:
        ConfigurationError: If the configuration cannot be used.
        ComponentMissingError: If something that it needs cannot be started.
    """

    def __init__(self, config: str = "", workers: int = 2) -> None:
        self._kernel = Kernel(config, workers)
        self._end = weakref.finalize(self, self._kernel.close)  # also for those who forget to shut it down
        self.slots = slots(self._kernel.config)
        self._lock = threading.Lock()
        self._calls: dict[Future[Any], None] = {}  # in the order in which they were asked for
        self._closer: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call; its future gives the result or raises what the call raised.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closer is not None:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls[future] = None
            asked = self._kernel.submit(fn, args, kwargs)
        asked.add_done_callback(lambda done: self._settle(future, done))
        return future

    def _settle(self, future: Future[Any], done: Future[Any]) -> None:
        if not (self._forget(future) and future.set_running_or_notify_cancel()):
            return
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(_translated(error))

    def _forget(self, future: Future[Any]) -> bool:
        """Return whether a call was still waited for."""
        with self._lock:
            return self._calls.pop(future, False) is None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; end when the calls that were asked for are done.

        Args:
            wait: Wait for that.
            cancel_futures: Cancel the calls that have not begun and, if nobody waits, end those that have.
        """
        with self._lock:
            calls = list(self._calls)
            if self._closer is None:
                self._closer = threading.Thread(target=self._close, args=(calls,), name="parsl-close")
                self._closer.start()
        if cancel_futures and calls:
            self._cancel(calls[self._running(len(calls)) if wait else 0 :])
        if wait:
            self._closer.join()

    def _cancel(self, calls: list[Future[Any]]) -> None:
        for future in calls:
            if self._forget(future) and future.cancel():
                future.set_running_or_notify_cancel()  # wakes up whoever waits for it

    def _running(self, most: int) -> int:
        """Return how many calls may have begun; Parsl starts them in the order in which they were asked for."""
        running = self.slots or self._kernel.workers()
        return most if running is None else min(running, most)

    def _close(self, calls: list[Future[Any]]) -> None:
        wait_for(calls)
        self._end()


def _translated(error: BaseException) -> BaseException:
    """Return an error as the suite knows it; what a call raised is left alone."""
    said = " ".join(str(error).split())
    if isinstance(error, _LOST):
        return WorkerLostError(f"Parsl lost the worker: {said}")
    if isinstance(error, _BROKEN):
        return ComponentMissingError(f"Parsl can run nothing more: {said}")
    return error
