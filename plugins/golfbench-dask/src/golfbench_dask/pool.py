"""A Dask client in the shape of ``concurrent.futures.Executor``."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import distributed
from distributed import KilledWorker

from golfbench.errors import ComponentMissingError, WorkerLostError
from golfbench_dask.cluster import Cluster


class DaskPool(Executor):
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
        self._cluster = Cluster(scheduler, workers)
        self._end = weakref.finalize(self, self._cluster.close)  # also for those who forget to shut it down
        self._name = f"golfbench-{uuid.uuid4().hex}"
        self._numbers = itertools.count()
        # callbacks may take their time or ask for the next call: Dask's own thread must not wait for them
        self._delivery = ThreadPoolExecutor(1, thread_name_prefix="dask-answers")
        self._lock = threading.Lock()
        self._calls: dict[Future[Any], None] = {}  # in the order in which they were asked for
        self._closer: threading.Thread | None = None

    @property
    def slots(self) -> int | None:
        """How many calls can run at once just now; ``None`` while there is no worker, and after ``shutdown``."""
        return None if self._closer else self._cluster.threads()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call; its future gives the result or raises what the call raised.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        future: Future[Any] = Future()
        call = functools.partial(fn, *args, **kwargs)  # Dask would search the arguments for futures
        with self._lock:
            if self._closer is not None:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls[future] = None
            # keys of one group: Dask keeps what no worker has room for at the scheduler
            asked = self._cluster.client.submit(call, key=(self._name, next(self._numbers)), pure=False)
        future.add_done_callback(lambda done: asked.cancel() if done.cancelled() else None)
        self._cluster.client.loop.add_callback(self._follow, future, asked)
        return future

    async def _follow(self, future: Future[Any], asked: distributed.Future[Any]) -> None:
        result, failure = None, None
        try:
            result = await asked
        except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the call)
            failure = self._translated(error)
        with contextlib.suppress(RuntimeError):  # of a pool that is closed: nobody waits any more
            self._delivery.submit(self._settle, future, result, failure)

    def _settle(self, future: Future[Any], result: Any, error: BaseException | None) -> None:
        if not (self._forget(future) and future.set_running_or_notify_cancel()):
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def _translated(self, error: BaseException) -> BaseException:
        """Return an error as the suite knows it; what a call raised is left alone."""
        if isinstance(error, KilledWorker):
            deaths = error.allowed_failures + 1
            return WorkerLostError(f"{deaths} workers of Dask died with it, the last at {error.last_worker.address}")
        if isinstance(error, CancelledError):  # not by us: then nobody would be told
            return ComponentMissingError(f"Dask's scheduler gave the call up: {' '.join(str(error).split())}")
        return error

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
                self._closer = threading.Thread(target=self._close, args=(calls,), name="dask-close")
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
        """Return how many calls may have begun; Dask starts them in the order in which they were asked for."""
        return min(self._cluster.threads() or 0, most)

    def _close(self, calls: list[Future[Any]]) -> None:
        wait_for(calls)
        self._end()
        self._delivery.shutdown()
