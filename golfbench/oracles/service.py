"""The service: the only way to an oracle. Counts, stores and answers known geometries without asking again."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from golfbench.contracts import Label
from golfbench.errors import GolfbenchError, MoleculeError, OracleError, WorkerLostError
from golfbench.molecules import Molecule
from golfbench.oracles.cache import CachedLabel, LabelCache
from golfbench.oracles.calls import NO_LIMITS, Limits, engine_version, forces_of, run_call, utc_now
from golfbench.oracles.gate import Gate
from golfbench.oracles.isolation import stop_all
from golfbench.oracles.labels import LabelStore
from golfbench.oracles.ledger import CACHE_HIT, Failure, Ledger, OracleCall, Purpose
from golfbench.oracles.local import DEFAULT_WORKERS, LocalExecutor
from golfbench.oracles.opening import precheck
from golfbench.oracles.policy import next_attempt, with_changes
from golfbench.oracles.question import Question
from golfbench.oracles.running import RUNNING, RunningCalls
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec, Scalar

log = logging.getLogger(__name__)

#: Lost workers in a row after which the run ends: then something is wrong with all of them.
MOST_LOST = 12
#: Labels that the gate refuses, and no other, after which the run ends: engine and dataset do not go together.
MOST_REFUSED = 5
#: Labels are shared with other runs when they took this long (s) together, or are so many.
SHARE_AFTER_S, SHARE_AFTER = 10.0, 200


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a call is charged to.

    Attributes:
        combination: Its id, or empty when the whole run shares the call.
        stage: ``before``, ``after`` or ``reference``.
        purpose: See ``ledger.PURPOSES``.
    """

    combination: str
    stage: str
    purpose: Purpose

    @property
    def key(self) -> tuple[str, str, str]:
        """The three as the ledger indexes them."""
        return self.combination, self.stage, self.purpose


class OracleService:
    """Labels molecules through an executor; every call is in the ledger, every label in the store.

    A question that failed is asked again as ``golfbench.oracles.policy`` says, a label that cannot be right is refused
    by ``golfbench.oracles.gate``. Larger molecules are asked for first.

    Args:
        directory: The run directory; holds ``oracle_calls.jsonl`` and ``labels.db``.
        executor: Where calls run; this machine by default. It is shut down with the service.
        workers: Calls at a time; by default as many as the executor has ``slots``, or no limit if it does not say.
        cache: Labels of other runs, or ``None``; a cheap oracle is asked sooner than looked up. Only labels of the
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
        self.ledger = Ledger(directory / "oracle_calls.jsonl")
        self.labels = LabelStore(directory / "labels.db", self.ledger)
        self.gate = Gate()
        self._executor = executor or LocalExecutor(workers or DEFAULT_WORKERS)
        self._limit = workers or getattr(self._executor, "slots", None)
        self._cache, self._any_version, self._limits = cache, any_version, limits
        self._lock = threading.RLock()
        self._next_id = self.ledger.next_id
        self._pending: dict[str, Future[Label]] = {}
        self._versions: dict[str, Future[str]] = {}
        self._queue: list[tuple[tuple[int, int, int], _Request]] = []
        self._order = itertools.count()
        self._running = 0
        # Files are written by a thread of their own: a worker whose answer is being kept is free already.
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="clerk")
        self._unshared: list[tuple[Question, Label, str, float, float | None]] = []
        self._unshared_s = 0.0
        self._lost = 0
        self._here = threading.local()
        self._awaited: dict[Future[Label], float] = {}
        self._running_calls = RunningCalls(directory / RUNNING)
        self._closing = False

    def submit(self, oracle: ComponentRef, molecule: Molecule, account: Account, turn: int = 0) -> Future[Label]:
        """Ask for one label.

        Calls of an earlier ``turn`` are made first; within one, larger molecules are.

        A geometry that this run already asked for is answered from the store, without a call; so is one that failed.
        The future raises ``OracleError`` when the engine gives no label, and ``WriteError`` when it cannot be kept.
        """
        request = _Request(oracle, Question.of(oracle, molecule), account, turn)
        with self._lock:
            first = self._pending.setdefault(request.key, request.future)
        if first is not request.future:
            self._join(first, request)
        elif self._knows(request):
            self._settle(request, partial(self._recall, request))
        elif refusal := _refusal(request):
            self._settle(request, _failed(refusal).result)
        else:
            self._look_up(request)
        return request.future

    def label_all(
        self, oracle: ComponentRef, molecules: Sequence[Molecule], account: Account
    ) -> list[Label | OracleError]:
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
        with self._lock:
            self._awaited[future] = time.perf_counter()
        try:
            return future.result()
        except OracleError as error:
            return error
        finally:
            with self._lock:
                self._awaited.pop(future, None)

    def close(self, *, wait: bool = True) -> None:
        """Close the files; what waits for a worker is dropped, and running calls are waited for or, if not, ended."""
        if self._closing:
            return
        self._closing = True
        with self._lock:
            dropped = [request for _, request in self._queue]
            self._queue.clear()
        for request in dropped:
            self._settle(request, _failed(CancelledError("the service was closed")).result)
        self._executor.shutdown(wait=wait, cancel_futures=True)
        if not wait:
            stop_all()
        self._clerk.shutdown(wait=wait)
        self._share_all()
        self._running_calls.close()
        self.ledger.close()

    # --- What is known already ---------------------------------------------------------------------------------

    def _join(self, first: Future[Label], request: _Request) -> None:
        """Answer with what somebody else is about to get, each account with its own line."""

        def follow(done: Future[Label]) -> None:
            _resolve(request.future, lambda: self._recall(request) if self._knows(request) else done.result())

        first.add_done_callback(follow)

    def _knows(self, request: _Request) -> bool:
        failures = self.ledger.failures(request.key)
        return request.key in self.labels or bool(failures and next_attempt(failures, request.spec) is None)

    def _recall(self, request: _Request) -> Label:
        """Return the label, or raise the failure, of a geometry that was asked for before."""
        with self._lock:
            if not self.ledger.is_settled(request.key, request.account.key):
                self.ledger.append(request.call(self._take_id(), {"outcome": CACHE_HIT}))
        if request.key not in self.labels:
            kind, text = self.ledger.failures(request.key)[-1]
            raise OracleError(text, kind=kind)
        return self.labels.get(request.key)

    # --- What other runs know ----------------------------------------------------------------------------------

    def _look_up(self, request: _Request) -> None:
        """Take the label from the cache, or ask for it."""
        if self._cache is None or request.spec.cheap:
            self._enqueue(request)
        elif self._any_version:
            self._adopt_or_ask(request, None)
        # The version costs the start of an engine: it is asked for when the first answer might be of use.
        elif str(request.oracle) in self._versions or self._cache.engines(request.question):
            self._version(request.oracle).add_done_callback(partial(self._with_version, request))
        else:
            self._enqueue(request)

    def _version(self, oracle: ComponentRef) -> Future[str]:
        """Return the version of the engine that a worker would ask; it is looked up once."""
        with self._lock:
            if str(oracle) not in self._versions:
                self._versions[str(oracle)] = self._start(engine_version, str(oracle))
            return self._versions[str(oracle)]

    def _with_version(self, request: _Request, version: Future[str]) -> None:
        if version.cancelled() or version.exception() is not None:
            self._enqueue(request)  # the call itself says what is wrong
        else:
            self._adopt_or_ask(request, version.result())

    def _adopt_or_ask(self, request: _Request, engine: str | None) -> None:
        assert self._cache is not None
        cached = self._cache.get(request.question, engine)
        if cached is None or self._objection(request, cached.label.energy, cached.label.forces, cached.engine):
            self._enqueue(request)
        else:
            self._settle(request, partial(self._adopt, request, cached))

    def _adopt(self, request: _Request, cached: CachedLabel) -> Label:
        """Keep a label of another run: a hit, never charged."""
        call = request.call(self._new_id(), {"outcome": CACHE_HIT, "engine": cached.engine})
        label = replace(cached.label, method=request.question.method)
        self.labels.put(request.key, request.question.molecule, label, call)
        self.ledger.append(call)
        return label

    # --- Asking ------------------------------------------------------------------------------------------------

    def _enqueue(self, request: _Request) -> None:
        """Ask when a worker is free; the largest molecules of a turn first, lest one of them is the last to end."""
        with self._lock:
            place = request.turn, -len(request.question.molecule), next(self._order)
            heapq.heappush(self._queue, (place, request))
        self._dispatch()

    def _dispatch(self) -> None:
        if getattr(self._here, "dispatching", False):
            return  # called by a call that ended at once, from within the loop below
        self._here.dispatching = True
        try:
            self._dispatch_all()
        finally:
            self._here.dispatching = False

    def _dispatch_all(self) -> None:
        while request := self._next_request():
            changes = next_attempt(self.ledger.failures(request.key), request.spec) or {}
            call_id, started = self._new_id(), time.perf_counter()
            oracle = str(with_changes(request.oracle, changes))
            molecule, purpose = request.question.molecule, request.account.purpose
            self._running_calls.begin(call_id, str(request.oracle), purpose, molecule.id)
            running = self._start(run_call, oracle, molecule.to_json(), self._limits)
            running.add_done_callback(partial(self._free_worker, request, _Attempt(call_id, changes, started)))

    def _next_request(self) -> _Request | None:
        with self._lock:
            if not self._queue or (self._limit is not None and self._running >= self._limit):
                return None
            self._running += 1
            return heapq.heappop(self._queue)[-1]

    def _start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *arguments)
        except RuntimeError as error:  # the executor is shut down or broken
            return _failed(error)

    def _free_worker(self, request: _Request, attempt: _Attempt, done: Future[dict[str, Any]]) -> None:
        with self._lock:
            self._running -= 1
        self._running_calls.end(attempt.call_id)
        self._dispatch()
        try:
            self._clerk.submit(self._finished, request, attempt, done)
        except RuntimeError:  # the service is closed
            self._finished(request, attempt, done)

    def _finished(self, request: _Request, attempt: _Attempt, done: Future[dict[str, Any]]) -> None:
        """Take one answer."""
        try:
            answer = _answer(done, attempt)
            self._count_lost(answer)
            again = answer["outcome"] != "ok" and not self._closing and self._fails_again(request, attempt, answer)
        except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the label)
            self._settle(request, _failed(error).result)
        else:
            if again:
                self._enqueue(request)
            else:
                self._settle(request, partial(self._record, request, attempt, answer))

    def _count_lost(self, answer: Mapping[str, Any]) -> None:
        """End the run, instead of giving up one question after the other, when no worker stays alive."""
        with self._lock:
            self._lost = self._lost + 1 if answer["outcome"] == "lost" else 0
            if self._lost >= MOST_LOST:
                raise GolfbenchError(f"{self._lost} workers in a row were lost, the last one so: {answer['error']}")

    def _fails_again(self, request: _Request, attempt: _Attempt, answer: Mapping[str, Any]) -> bool:
        """Write a failure that another attempt follows, and return whether one does."""
        failures = [*self.ledger.failures(request.key), Failure(answer["outcome"], answer["error"])]
        if next_attempt(failures, request.spec) is None:
            return False
        log.warning("%s: %s, it is asked again", request.question.molecule.id, answer["error"])
        self.ledger.append(self._line(request, attempt, answer))
        return True

    def _record(self, request: _Request, attempt: _Attempt, answer: Mapping[str, Any]) -> Label:
        """Keep the last answer to a question, whatever it is."""
        if answer["outcome"] != "ok":
            if not self._closing or answer["outcome"] not in ("crashed", "lost"):  # an end of ours is no failure
                self.ledger.append(self._line(request, attempt, answer))
            raise OracleError(answer["error"], kind=answer["outcome"])
        energy, forces = answer["energy_hartree"], forces_of(answer)
        label = Label(energy, forces, request.question.method)
        if objection := self._objection(request, energy, forces, answer["engine"]):
            text = f"{request.question.molecule.id}: the label of {request.spec.name} is refused: {objection}"
            answer = {**answer, "outcome": "rejected", "error": text}
        call = self._line(request, attempt, answer)
        self.labels.put(request.key, request.question.molecule, label, call)
        self.ledger.append(call)
        if call.outcome != "ok":
            self._check_refused(call)
            raise OracleError(call.error, kind=call.outcome)
        self._share(request, label, call)
        return label

    def _check_refused(self, call: OracleCall) -> None:
        """End the run, instead of buying one useless label after the other, when the gate has refused all so far."""
        refused = self.ledger.count(call.method, "rejected")
        if refused >= MOST_REFUSED and not any(self.ledger.count(call.method, o) for o in ("ok", CACHE_HIT)):
            raise GolfbenchError(
                f"all {refused} labels of {call.oracle} were refused, so nothing more is asked: {call.error} "
                "(golfbench datasets check NAME --recompute 3 compares the dataset's labels with the oracle's)"
            )

    def _share(self, request: _Request, label: Label, call: OracleCall) -> None:
        """Give a label to other runs, together with a few others: each visit to the cache costs a write to the disk."""
        if self._cache is None or request.spec.cheap:
            return
        self._unshared.append((request.question, label, call.engine, call.wall_s, call.cpu_s))
        self._unshared_s += call.wall_s
        if self._unshared_s >= SHARE_AFTER_S or len(self._unshared) >= SHARE_AFTER:
            self._share_all()

    def _share_all(self) -> None:
        if self._cache is not None and self._unshared:
            self._cache.put_all(self._unshared)
        self._unshared, self._unshared_s = [], 0.0

    def _objection(self, request: _Request, energy: float, forces: Any, engine: str) -> str:
        question = request.question
        return self.gate.objection(request.spec, question.method, question.molecule, energy, forces, engine)

    def _line(self, request: _Request, attempt: _Attempt, answer: Mapping[str, Any]) -> OracleCall:
        return request.call(
            attempt.call_id,
            answer,
            attempt=len(self.ledger.failures(request.key)) + 1,
            fallback=",".join(f"{key}={value}" for key, value in attempt.changes.items()),
            awaited_s=self._take_awaited(request.future),
        )

    def _take_awaited(self, future: Future[Label]) -> float:
        """Return how long somebody has been waiting for this future, since the last time this was asked."""
        with self._lock:
            since = self._awaited.get(future)
            if since is None:
                return 0.0
            now = time.perf_counter()
            self._awaited[future] = now
            return now - since

    def _new_id(self) -> int:
        with self._lock:
            return self._take_id()

    def _take_id(self) -> int:
        """Return the next call id; the caller holds the lock."""
        self._next_id += 1
        return self._next_id - 1

    def _settle(self, request: _Request, answer: Callable[[], Label]) -> None:
        """Settle the request that everybody else with the same question waits for."""

        def last_answer() -> Label:
            try:
                return answer()
            finally:
                with self._lock:
                    self._pending.pop(request.key, None)

        _resolve(request.future, last_answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """One question on somebody's account, and where the answer goes."""

    oracle: ComponentRef
    question: Question
    account: Account
    turn: int
    future: Future[Label] = field(default_factory=Future)

    @property
    def key(self) -> str:
        return self.question.key

    @property
    def spec(self) -> OracleSpec:
        return registry().find(OracleSpec, self.oracle.name)

    def call(self, call_id: int, answer: Mapping[str, Any], attempt: int = 0, **facts: Any) -> OracleCall:
        """Return its line in the ledger."""
        return OracleCall(
            call_id=call_id,
            combination=self.account.combination,
            stage=self.account.stage,
            purpose=self.account.purpose,
            molecule=self.question.molecule.id,
            geometry_sha256=self.question.geometry_sha256,
            oracle=str(self.oracle),
            method=self.question.method,
            options_sha256=self.question.options_sha256,
            engine=answer.get("engine", ""),
            attempt=attempt,
            outcome=answer["outcome"],
            error=answer.get("error", ""),
            started_utc=answer.get("started_utc") or utc_now(),
            wall_s=answer.get("wall_s", 0.0),
            cpu_s=answer.get("cpu_s"),
            worker=answer.get("worker", ""),
            **facts,
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call on its way: its number, the parameters changed for it, and when it left (s, performance counter)."""

    call_id: int
    changes: Mapping[str, Scalar]
    started: float


def _answer(done: Future[dict[str, Any]], attempt: _Attempt) -> dict[str, Any]:
    """Return what a worker answered, or that it was lost."""
    try:
        return done.result()
    except (WorkerLostError, BrokenExecutor) as error:
        text = f"the worker was lost: {error}"
        return {"outcome": "lost", "error": text, "wall_s": time.perf_counter() - attempt.started}


def _refusal(request: _Request) -> OracleError | None:
    """Return why the geometry itself is impossible: then no engine is asked, hence no call."""
    try:
        precheck(request.spec, request.question.molecule)
    except MoleculeError as error:
        return OracleError(str(error), kind="input")
    return None


def _failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _resolve(future: Future[Label], answer: Callable[[], Label]) -> None:
    try:
        label = answer()
    except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the label)
        future.set_exception(error)
    else:
        future.set_result(label)
