"""The service: the only way to an oracle. Counts, stores and answers known geometries without asking again.

Known answers come from the books (``books.py``), new ones through the queue (``queue.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from golfbench.contracts import HasSlots, Label
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.books import Books
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.calls import NO_LIMITS, Answer, Limits, engine_version
from golfbench.oracles.gate import Gate
from golfbench.oracles.labels import LabelStore
from golfbench.oracles.ledger import Ledger
from golfbench.oracles.local import DEFAULT_WORKERS, LocalExecutor
from golfbench.oracles.question import Question
from golfbench.oracles.queue import CallQueue, OnCall
from golfbench.oracles.request import Account, Attempt, Request, failed, resolve
from golfbench.oracles.running import RUNNING, RunningCalls
from golfbench.registry import registry
from golfbench.specs import Component, Named, OracleSpec

__all__ = ["Account", "OracleService"]


class OracleService:
    """Labels molecules through an executor; every call is in the ledger, every label in the store.

    A question that failed is asked again as ``golfbench.oracles.policy`` says, a label that cannot be right is refused
    by ``golfbench.oracles.gate``. Larger molecules are asked for first.

    Args:
        directory: The run directory; holds ``oracle_calls.jsonl`` and ``labels.db``.
        executor: Where calls run; this machine by default. It is shut down with the service.
        workers: Calls at a time; by default as many as the executor has ``slots``, or no limit if it does not say.
        cache: Labels of other runs, or ``None``; a cheap oracle is asked at once, without a look. Only labels of the
            version of the engine that the executor's workers have are believed.
        any_version: Whether labels of other versions are believed, too.
        limits: What one call may take.
    """

    def __init__(
        self,
        directory: Path,
        executor: Executor | None = None,
        workers: int | None = None,
        cache: LabelCache | None = None,
        any_version: bool = False,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._books = Books(directory, cache)
        executor = executor or LocalExecutor(workers or DEFAULT_WORKERS)
        slots = workers or (executor.slots if isinstance(executor, HasSlots) else None)
        self._queue = CallQueue(
            executor, slots, limits, RunningCalls(directory / RUNNING), begin=self._books.begin, finished=self._to_clerk
        )
        self._any_version = any_version
        self._lock = threading.Lock()
        self._pending: dict[str, Future[Label]] = {}
        self._versions: dict[str, Future[str]] = {}
        # Files are written by a thread of their own: a worker is free again while its answer is written.
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="clerk")
        self._closing = False

    def watch(self, on_call: OnCall) -> None:
        """Set what is told of each call of a slow oracle that has ended."""
        self._queue.on_call = on_call

    @property
    def ledger(self) -> Ledger:
        """Every call of the run."""
        return self._books.ledger

    @property
    def labels(self) -> LabelStore:
        """Every label of the run."""
        return self._books.labels

    @property
    def gate(self) -> Gate:
        """Refuses labels that cannot be right."""
        return self._books.gate

    def submit(self, oracle: Named, molecule: Molecule, account: Account, turn: int = 0) -> Future[Label]:
        """Ask for one label.

        Calls of an earlier ``turn`` are made first; within one, larger molecules are.

        A geometry that this run already asked for is answered from the store, without a call; so is one that failed.
        The future raises ``OracleError`` when the engine gives no label, and ``WriteError`` when it cannot be kept.
        """
        asked = registry().component(OracleSpec, oracle)
        request = Request(asked, Question.of(asked, molecule), account, turn)
        with self._lock:
            first = self._pending.setdefault(request.key, request.future)
        if first is not request.future:
            self._join(first, request)
        elif self._books.knows(request):
            self._settle(request, partial(self._books.recall, request))
        elif refusal := request.refusal():
            self._settle(request, failed(refusal).result)
        else:
            self._look_up(request)
        return request.future

    def label_all(self, oracle: Named, molecules: Sequence[Molecule], account: Account) -> list[Label | OracleError]:
        """Label molecules, in order; a failure stands where its label would.

        Raises:
            WriteError: If labels cannot be kept.
        """
        return [self.answer(future) for future in [self.submit(oracle, m, account) for m in molecules]]

    def answer(self, future: Future[Label]) -> Label | OracleError:
        """Wait for what ``submit`` returned; the ledger says how long that took.

        Raises:
            WriteError: If the label cannot be kept.
        """
        self._books.start_waiting(future)
        try:
            return future.result()
        except OracleError as error:
            return error
        finally:
            self._books.stop_waiting(future)

    def close(self, *, wait: bool = True) -> None:
        """Close the files; what waits for a worker is dropped, and running calls are waited for or, if not, ended."""
        if self._closing:
            return
        self._closing = True
        for request in self._queue.clear():
            self._settle(request, failed(CancelledError("the service was closed")).result)
        self._queue.shutdown(wait=wait)
        self._clerk.shutdown(wait=wait)
        self._books.close()

    def _join(self, first: Future[Label], request: Request) -> None:
        """Answer with the label that an equal question is waiting for; each account gets a line of its own."""
        books = self._books

        def follow(done: Future[Label]) -> None:
            resolve(request.future, lambda: books.recall(request) if books.knows(request) else done.result())

        first.add_done_callback(follow)

    # --- Whether another run has it ----------------------------------------------------------------------------

    def _look_up(self, request: Request) -> None:
        """Take the label from the cache, or ask for it."""
        cache = self._books.cache_of(request)
        if cache is None:
            self._queue.put(request)
        elif self._any_version:
            self._adopt_or_ask(request, None)
        # The version costs the start of an engine: it is asked for when the first answer might be of use.
        elif str(request.oracle) in self._versions or cache.engines(request.question):
            self._version(request.oracle).add_done_callback(partial(self._with_version, request))
        else:
            self._queue.put(request)

    def _version(self, oracle: Component[OracleSpec]) -> Future[str]:
        """Return the version of the engine that a worker would ask; it is looked up once."""
        with self._lock:
            if str(oracle) not in self._versions:
                self._versions[str(oracle)] = self._queue.run_now(engine_version, str(oracle))
            return self._versions[str(oracle)]

    def _with_version(self, request: Request, version: Future[str]) -> None:
        if version.cancelled() or version.exception() is not None:
            self._queue.put(request)  # the call itself says what is wrong
        else:
            self._adopt_or_ask(request, version.result())

    def _adopt_or_ask(self, request: Request, engine: str | None) -> None:
        cached = self._books.find_elsewhere(request, engine)
        if cached is None:
            self._queue.put(request)
        else:
            self._settle(request, partial(self._books.adopt, request, cached))

    # --- What workers answer -----------------------------------------------------------------------------------

    def _to_clerk(self, request: Request, attempt: Attempt, done: Future[Answer]) -> None:
        try:
            self._clerk.submit(self._finished, request, attempt, done)
        except RuntimeError:  # the service is closed
            self._finished(request, attempt, done)

    def _finished(self, request: Request, attempt: Attempt, done: Future[Answer]) -> None:
        """Take one answer."""
        try:
            answer = self._queue.read(done, attempt)
            again = not self._closing and self._books.fails_again(request, attempt, answer)
        except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the label)
            self._settle(request, failed(error).result)
        else:
            if again:
                self._queue.put(request)
            else:
                self._settle(request, partial(self._last_answer, request, attempt, answer))

    def _last_answer(self, request: Request, attempt: Attempt, answer: Answer) -> Label:
        """Keep the last answer to a question, a label or an error."""
        if answer["outcome"] == "ok":
            return self._books.record(request, attempt, answer)
        # Of a service that is closed, the end of a worker is no failure of the engine.
        if not self._closing or answer["outcome"] not in ("crashed", "lost"):
            self._books.write_call(request, attempt, answer)
        raise OracleError(answer["error"], kind=answer["outcome"])

    def _settle(self, request: Request, answer: Callable[[], Label]) -> None:
        """Settle the request that everybody else with the same question waits for."""

        def last_answer() -> Label:
            try:
                return answer()
            finally:
                with self._lock:
                    self._pending.pop(request.key, None)

        resolve(request.future, last_answer)
