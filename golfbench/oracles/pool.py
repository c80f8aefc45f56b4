"""What executors that run calls elsewhere have in common: whose calls are waited for, and how that ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from typing import Any, TypeVar

_T = TypeVar("_T")


class Pool(Executor):
    """An executor on top of an engine of another shape; a subclass has ``submit`` and the methods that raise here.

    ``submit`` calls ``_admit``, and ``_settle`` when the answer comes. Calls are started in the order in which they
    were asked for.

    Args:
        name: Of the thread that closes it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: dict[Future[Any], None] = {}  # in the order in which they were asked for
        self._closer: threading.Thread | None = None

    def _capacity(self) -> int | None:
        """Return how many calls run at once just now, ``None`` if nobody knows."""
        raise NotImplementedError

    def _end(self) -> None:
        """End the engine; every call was answered or given up."""
        raise NotImplementedError

    def _admit(self, start: Callable[[], _T]) -> tuple[Future[Any], _T]:
        """Start a call, and return its future and what ``start`` returned.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closer is not None:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls[future] = None
            return future, start()

    def _settle(self, future: Future[Any], result: Any, error: BaseException | None) -> None:
        """Give an answer to whoever still waits for it."""
        if not (self._forget(future) and future.set_running_or_notify_cancel()):
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

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
                self._closer = threading.Thread(target=self._close, args=(calls,), name=f"{self._name}-close")
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
        """Return how many calls may have begun."""
        capacity = self._capacity()
        return most if capacity is None else min(capacity, most)

    def _close(self, calls: list[Future[Any]]) -> None:
        wait_for(calls)
        self._end()
