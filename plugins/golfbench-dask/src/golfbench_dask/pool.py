"""A Dask client with the interface of ``concurrent.futures.Executor``."""

from __future__ import annotations

import contextlib
import functools
import itertools
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import distributed
from distributed import KilledWorker

from golfbench.errors import ComponentMissingError, WorkerLostError
from golfbench.oracles.pool import Pool
from golfbench_dask.cluster import Cluster


class DaskPool(Pool):
    """A ``concurrent.futures.Executor`` whose calls run on the workers of a Dask scheduler.

    A call is a function that can be imported on the worker, with plain data in and out. Its future raises what the
    call raised, ``WorkerLostError`` when every worker that Dask gave it to died, and ``ComponentMissingError`` when
    the scheduler is gone.

    Args:
        scheduler: Address or file of a scheduler that runs. Empty: worker processes on this machine.
        workers: How many of those.

    Raises:
        ConfigurationError: If the address or the file makes no sense.
        ComponentMissingError: If no scheduler answers.
    """

    def __init__(self, scheduler: str = "", workers: int = 2) -> None:
        super().__init__("dask")
        self._cluster = Cluster(scheduler, workers)
        self._finish = weakref.finalize(self, self._cluster.close)  # also for those who forget to shut it down
        self._group = f"golfbench-{uuid.uuid4().hex}"
        self._numbers = itertools.count()
        # callbacks may take their time or ask for the next call: Dask's own thread must not wait for them
        self._delivery = ThreadPoolExecutor(1, thread_name_prefix="dask-answers")

    @property
    def slots(self) -> int | None:
        """How many calls can run at once just now; ``None`` while there is no worker, and after ``shutdown``."""
        return None if self._closer else self._cluster.threads()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call; its future gives the result or raises what the call raised.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        call = functools.partial(fn, *args, **kwargs)  # Dask would search the arguments for futures
        future, asked = self._admit(lambda: self._start(call))
        future.add_done_callback(lambda done: asked.cancel() if done.cancelled() else None)
        self._cluster.client.loop.add_callback(self._follow, future, asked)
        return future

    def _start(self, call: Callable[[], Any]) -> distributed.Future[Any]:
        # keys of one group: Dask keeps what no worker has room for at the scheduler
        return self._cluster.client.submit(call, key=(self._group, next(self._numbers)), pure=False)

    async def _follow(self, future: Future[Any], asked: distributed.Future[Any]) -> None:
        result, failure = None, None
        try:
            result = await asked
        except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the call)
            failure = self._translated(error)
        with contextlib.suppress(RuntimeError):  # of a pool that is closed: nobody waits any more
            self._delivery.submit(self._settle, future, result, failure)

    def _translated(self, error: BaseException) -> BaseException:
        """Return an error as the suite knows it; what a call raised is left alone."""
        if isinstance(error, KilledWorker):
            deaths = error.allowed_failures + 1
            return WorkerLostError(f"{deaths} workers of Dask died with it, the last at {error.last_worker.address}")
        if isinstance(error, CancelledError):  # not by us: then nobody would be told
            return ComponentMissingError(f"Dask's scheduler gave the call up: {' '.join(str(error).split())}")
        return error

    def _capacity(self) -> int:
        return self._cluster.threads() or 0

    def _end(self) -> None:
        self._finish()
        self._delivery.shutdown()
