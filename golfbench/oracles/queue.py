"""The queue: what waits for a worker, who is next, and how many calls are under way."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from typing import Any

from golfbench.errors import GolfbenchError, WorkerLostError
from golfbench.oracles.calls import Answer, Limits, run_call
from golfbench.oracles.isolation import stop_all
from golfbench.oracles.policy import with_changes
from golfbench.oracles.request import Attempt, Request, failed
from golfbench.oracles.running import RunningCalls
from golfbench.oracles.sizes import basis_functions

#: Told, after a call of a slow oracle, which oracle it was, how many of its calls have ended, and how many were asked.
OnCall = Callable[[str, int, int], None]
#: Lost workers in a row after which the run ends: then something is wrong with all of them.
MOST_LOST = 12


class CallQueue:
    """Hands requests to the workers of an executor: earlier turns first, within a turn larger molecules first.

    Args:
        executor: Where calls run. It is shut down with the queue.
        slots: Calls at a time, or ``None`` for no limit.
        limits: What one call may take.
        running: Told which calls are under way, for whoever looks at the run.
        begin: Called when a request leaves the queue; gives the attempt its number.
        finished: Called with what came back, in the thread that brought it, when its worker has its next call.

    Attributes:
        on_call: Called in the thread that brought an answer.
    """

    def __init__(
        self,
        executor: Executor,
        slots: int | None,
        limits: Limits,
        running: RunningCalls,
        *,
        begin: Callable[[Request], Attempt],
        finished: Callable[[Request, Attempt, Future[Answer]], None],
    ) -> None:
        self._executor, self._slots, self._limits = executor, slots, limits
        self._begin, self._finished, self._under_way = begin, finished, running
        self._lock = threading.Lock()
        self._waiting: list[tuple[tuple[int, int, int], Request]] = []
        self._order = itertools.count()
        self._running = 0
        self._lost_in_a_row = 0
        self._this_thread = threading.local()
        self._asked: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self.on_call: OnCall = lambda oracle, ended, asked: None

    def put(self, request: Request) -> None:
        """Ask when a worker is free.

        The largest molecules of a turn come first, so that none of them starts last and is waited for.
        """
        with self._lock:
            place = request.turn, -basis_functions(request.question.molecule.numbers), next(self._order)
            heapq.heappush(self._waiting, (place, request))
            self._asked[str(request.oracle)] += 1
        self._dispatch()

    def run_now(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run something on a worker without waiting for a slot."""
        try:
            return self._executor.submit(function, *arguments)
        except RuntimeError as error:  # the executor is shut down or broken
            return failed(error)

    def read(self, done: Future[Answer], attempt: Attempt) -> Answer:
        """Return what a worker answered, or that it was lost.

        Raises:
            GolfbenchError: When no worker stays alive: the run ends, instead of giving up one question after the other.
        """
        try:
            answer = done.result()
        except (WorkerLostError, BrokenExecutor) as error:
            wall_s = time.perf_counter() - attempt.started
            answer = {"outcome": "lost", "error": f"the worker was lost: {error}", "wall_s": wall_s}
        with self._lock:
            self._lost_in_a_row = self._lost_in_a_row + 1 if answer["outcome"] == "lost" else 0
            count = self._lost_in_a_row
        if count >= MOST_LOST:
            raise GolfbenchError(f"{count} workers in a row were lost, the last one so: {answer['error']}")
        return answer

    def clear(self) -> list[Request]:
        """Drop what waits, and return it."""
        with self._lock:
            dropped = [request for _, request in self._waiting]
            self._waiting.clear()
        return dropped

    def shutdown(self, *, wait: bool) -> None:
        """Shut the executor down; running calls are waited for or, if not, ended."""
        self._executor.shutdown(wait=wait, cancel_futures=True)
        if not wait:
            stop_all()
        self._under_way.close()

    def _dispatch(self) -> None:
        if getattr(self._this_thread, "dispatching", False):
            return  # called by a call that ended at once, from within the loop below
        self._this_thread.dispatching = True
        try:
            while request := self._next_request():
                self._start(request)
        finally:
            self._this_thread.dispatching = False

    def _next_request(self) -> Request | None:
        with self._lock:
            if not self._waiting or (self._slots is not None and self._running >= self._slots):
                return None
            self._running += 1
            return heapq.heappop(self._waiting)[-1]

    def _start(self, request: Request) -> None:
        attempt = self._begin(request)
        oracle, molecule = str(with_changes(request.oracle.ref, attempt.changes)), request.question.molecule
        self._under_way.begin(attempt.call_id, str(request.oracle), request.account.purpose, molecule.id)
        running = self.run_now(run_call, oracle, molecule.to_json(), self._limits)
        running.add_done_callback(partial(self._free_worker, request, attempt))

    def _free_worker(self, request: Request, attempt: Attempt, done: Future[Answer]) -> None:
        oracle = str(request.oracle)
        with self._lock:
            self._running -= 1
            self._ended[oracle] += 1
            counts = self._ended[oracle], self._asked[oracle]
        self._under_way.end(attempt.call_id)
        self._dispatch()
        if request.spec.slow:
            self.on_call(oracle, *counts)
        self._finished(request, attempt, done)
