"""Parsl in the shape of ``concurrent.futures.Executor``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch, WorkerLost
from parsl.jobs.errors import TooManyJobFailuresError

from golfbench.errors import ComponentMissingError, WorkerLostError
from golfbench.oracles.pool import Pool
from golfbench_parsl.configuration import slots
from golfbench_parsl.kernel import Kernel

_LOST = (WorkerLost, ManagerLost)
#: The executor itself is beyond help.
_BROKEN = (BadStateException, TooManyJobFailuresError, VersionMismatch)


class ParslPool(Pool):
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
        super().__init__("parsl")
        self._kernel = Kernel(config, workers)
        self._finish = weakref.finalize(self, self._kernel.close)  # also for those who forget to shut it down
        self.slots = slots(self._kernel.config)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call; its future gives the result or raises what the call raised.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        future, asked = self._admit(lambda: self._kernel.submit(fn, args, kwargs))
        asked.add_done_callback(lambda done: self._deliver(future, done))
        return future

    def _deliver(self, future: Future[Any], done: Future[Any]) -> None:
        error = done.exception()
        if error is None:
            self._settle(future, done.result(), None)
        else:
            self._settle(future, None, _translated(error))

    def _capacity(self) -> int | None:
        return self.slots or self._kernel.workers()

    def _end(self) -> None:
        self._finish()


def _translated(error: BaseException) -> BaseException:
    """Return an error as the suite knows it; what a call raised is left alone."""
    said = " ".join(str(error).split())
    if isinstance(error, _LOST):
        return WorkerLostError(f"Parsl lost the worker: {said}")
    if isinstance(error, _BROKEN):
        return ComponentMissingError(f"Parsl can run nothing more: {said}")
    return error
