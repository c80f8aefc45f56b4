"""The books: what is known (labels, failures, labels of other runs), and every call that was made for it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from golfbench.contracts import FloatArray, Label
from golfbench.errors import GolfbenchError, OracleError
from golfbench.oracles.cache import CachedLabel, LabelCache
from golfbench.oracles.calls import Answer, forces_of
from golfbench.oracles.gate import Gate
from golfbench.oracles.labels import LabelStore
from golfbench.oracles.ledger import CACHE_HIT, Failure, Ledger, OracleCall
from golfbench.oracles.policy import next_attempt
from golfbench.oracles.question import Question
from golfbench.oracles.request import Attempt, Request

log = logging.getLogger(__name__)

#: Labels that the gate refuses, and no other, after which the run ends: engine and dataset do not belong together.
MOST_REFUSED = 5
#: Labels are shared with other runs when they took this long (s) together, or are so many.
SHARE_AFTER_S, SHARE_AFTER = 10.0, 200


class Books:
    """Keeps the ledger and the labels of a run, and exchanges labels with other runs.

    Args:
        directory: The run directory; holds ``oracle_calls.jsonl`` and ``labels.db``.
        cache: Labels of other runs, or ``None``.

    Attributes:
        ledger: Every call.
        labels: Every label.
        gate: Refuses a label that cannot be right.
    """

    def __init__(self, directory: Path, cache: LabelCache | None) -> None:
        self.ledger = Ledger(directory / "oracle_calls.jsonl")
        self.labels = LabelStore(directory / "labels.db", self.ledger)
        self.gate = Gate()
        self._cache = cache
        self._lock = threading.RLock()
        self._next_id = self.ledger.next_id
        self._awaited: dict[Future[Label], float] = {}
        self._unshared: list[tuple[Question, Label, str, float, float | None]] = []
        self._unshared_s = 0.0

    def close(self) -> None:
        """Give other runs the labels that they do not have yet, and close the ledger."""
        self._share_all()
        self.ledger.close()

    # --- What is known already ---------------------------------------------------------------------------------

    def knows(self, request: Request) -> bool:
        """Return whether the run has the label, or knows that there is none."""
        failures = self.ledger.failures(request.key)
        return request.key in self.labels or bool(failures and next_attempt(failures, request.spec) is None)

    def recall(self, request: Request) -> Label:
        """Return the label, or raise the failure, of a geometry that was asked for before.

        Raises:
            OracleError: The failure.
            WriteError: If the line of the ledger cannot be written.
        """
        with self._lock:
            if not self.ledger.is_settled(request.key, request.account.key):
                self.ledger.append(request.call(self._new_id(), {"outcome": CACHE_HIT}))
        if request.key not in self.labels:
            kind, text = self.ledger.failures(request.key)[-1]
            raise OracleError(text, kind=kind)
        return self.labels.get(request.key)

    # --- What other runs know ----------------------------------------------------------------------------------

    def cache_of(self, request: Request) -> LabelCache | None:
        """Return where other runs leave labels of this oracle; ``None`` for a cheap one, which is faster to ask."""
        return None if request.spec.cheap else self._cache

    def find_elsewhere(self, request: Request, engine: str | None) -> CachedLabel | None:
        """Return a label of another run that the gate lets pass.

        Args:
            request: Whose label is looked for.
            engine: Name and version of the engine that must have given it, or ``None`` for any.
        """
        cache = self.cache_of(request)
        cached = None if cache is None else cache.get(request.question, engine)
        if cached is None or self._objection(request, cached.label.energy, cached.label.forces, cached.engine):
            return None
        return cached

    def adopt(self, request: Request, cached: CachedLabel) -> Label:
        """Keep a label of another run: a hit, never charged.

        Raises:
            WriteError: If it cannot be kept.
        """
        call = request.call(self._new_id(), {"outcome": CACHE_HIT, "engine": cached.engine})
        label = replace(cached.label, method=request.question.method)
        self._keep(request, label, call)
        return label

    # --- What was asked ----------------------------------------------------------------------------------------

    def begin(self, request: Request) -> Attempt:
        """Give the next attempt at a question its number and its parameters."""
        changes = next_attempt(self.ledger.failures(request.key), request.spec) or {}
        return Attempt(self._new_id(), changes, time.perf_counter())

    def fails_again(self, request: Request, attempt: Attempt, answer: Answer) -> bool:
        """Write a failure that another attempt follows, and return whether one does.

        Raises:
            WriteError: If the line of the ledger cannot be written.
        """
        if answer["outcome"] == "ok":
            return False
        failures = [*self.ledger.failures(request.key), Failure(answer["outcome"], answer["error"])]
        if next_attempt(failures, request.spec) is None:
            return False
        log.warning("%s: %s, it is asked again", request.question.molecule.id, answer["error"])
        self.write_call(request, attempt, answer)
        return True

    def record(self, request: Request, attempt: Attempt, answer: Answer) -> Label:
        """Keep what an engine delivered, and return it.

        Raises:
            OracleError: If the gate refuses the label.
            GolfbenchError: If it has refused all of them so far, and they are many.
            WriteError: If it cannot be kept.
        """
        energy, forces = answer["energy_hartree"], forces_of(answer)
        label = Label(energy, forces, request.question.method)
        if objection := self._objection(request, energy, forces, answer["engine"]):
            text = f"{request.question.molecule.id}: the label of {request.spec.name} is refused: {objection}"
            answer = {**answer, "outcome": "rejected", "error": text}
        call = self._line(request, attempt, answer)
        self._keep(request, label, call)
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

    def write_call(self, request: Request, attempt: Attempt, answer: Answer) -> None:
        """Write a call without a label into the ledger.

        Raises:
            WriteError: If the line cannot be written.
        """
        self.ledger.append(self._line(request, attempt, answer))

    def start_waiting(self, future: Future[Label]) -> None:
        """Note that the run stands still for this label from now on."""
        with self._lock:
            self._awaited[future] = time.perf_counter()

    def stop_waiting(self, future: Future[Label]) -> None:
        """Note that it no longer does."""
        with self._lock:
            self._awaited.pop(future, None)

    def _keep(self, request: Request, label: Label, call: OracleCall) -> None:
        """Store a label, then its call. After a crash in between, the store adds the missing line to the ledger."""
        self.labels.put(request.key, request.question.molecule, label, call)
        self.ledger.append(call)

    def _objection(self, request: Request, energy: float, forces: FloatArray, engine: str) -> str:
        question = request.question
        return self.gate.objection(request.spec, question.method, question.molecule, energy, forces, engine)

    def _line(self, request: Request, attempt: Attempt, answer: Answer) -> OracleCall:
        return request.call(
            attempt.call_id,
            answer,
            attempt=len(self.ledger.failures(request.key)) + 1,
            fallback=",".join(f"{key}={value}" for key, value in attempt.changes.items()),
            awaited_s=self._waited_s(request.future),
        )

    def _waited_s(self, future: Future[Label]) -> float:
        """Return how long (s) somebody has been waiting for this future, since the last time this was asked."""
        with self._lock:
            since = self._awaited.get(future)
            if since is None:
                return 0.0
            now = time.perf_counter()
            self._awaited[future] = now
            return now - since

    def _new_id(self) -> int:
        with self._lock:
            self._next_id += 1
            return self._next_id - 1

    def _share(self, request: Request, label: Label, call: OracleCall) -> None:
        """Give a label to other runs, together with a few others: each visit to the cache costs a write to the disk."""
        if self.cache_of(request) is None:
            return
        self._unshared.append((request.question, label, call.engine, call.wall_s, call.cpu_s))
        self._unshared_s += call.wall_s
        if self._unshared_s >= SHARE_AFTER_S or len(self._unshared) >= SHARE_AFTER:
            self._share_all()

    def _share_all(self) -> None:
        if self._cache is not None and self._unshared:
            self._cache.put_all(self._unshared)
        self._unshared, self._unshared_s = [], 0.0
