"""The service: the only way to an oracle. Counts, stores and answers known geometries without asking again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfbench.contracts import Label
from golfbench.errors import MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.calls import forces_of, run_call, utc_now
from golfbench.oracles.labels import LabelStore, label_key
from golfbench.oracles.ledger import CACHE_HIT, Ledger, OracleCall, Purpose
from golfbench.oracles.opening import precheck
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec


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

    Args:
        directory: The run directory; holds ``oracle_calls.jsonl`` and ``labels.db``.
        executor: Where calls run; a local pool of ``workers`` threads with one engine each by default.
        workers: Calls at a time for the default executor.
    """

    def __init__(self, directory: Path, executor: Executor | None = None, workers: int = 2) -> None:
        self.ledger = Ledger(directory / "oracle_calls.jsonl")
        self.labels = LabelStore(directory / "labels.db", self.ledger)
        self._executor = executor or ThreadPoolExecutor(workers, thread_name_prefix="oracle")
        self._lock = threading.Lock()
        self._next_id = self.ledger.next_id
        self._pending: dict[str, Future[Label]] = {}

    def submit(self, oracle: ComponentRef, molecule: Molecule, account: Account) -> Future[Label]:
        """Ask for one label.

        A geometry that this run already asked for is answered from the store, without a call; so is one that failed.
        The future raises ``OracleError`` when the engine gives no label, and ``WriteError`` when it cannot be kept.
        """
        request = _Request(str(oracle), _method(oracle), molecule, molecule.geometry_hash(), account)
        future: Future[Label] = Future()
        with self._lock:
            first = self._pending.setdefault(request.key, future)
        if first is not future:
            return self._join(first, request)
        if self._knows(request):
            self._settle(request, future, lambda: self._recall(request))
        elif refusal := _refusal(oracle, molecule):
            self._settle(request, future, _failed(refusal).result)
        else:
            self._ask(request, future)
        return future

    def label_all(
        self, oracle: ComponentRef, molecules: Sequence[Molecule], account: Account
    ) -> list[Label | OracleError]:
        """Label molecules, in order; a failure stands where its label would.

        Raises:
            WriteError: If labels cannot be kept.
        """
        futures = [self.submit(oracle, molecule, account) for molecule in molecules]
        return [_settled(future) for future in futures]

    def close(self) -> None:
        """Wait for running calls and close the files."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.ledger.close()

    def _join(self, first: Future[Label], request: _Request) -> Future[Label]:
        """Answer with what somebody else is about to get, each account with its own line."""
        future: Future[Label] = Future()

        def follow(done: Future[Label]) -> None:
            _resolve(future, lambda: self._recall(request) if self._knows(request) else done.result())

        first.add_done_callback(follow)
        return future

    def _knows(self, request: _Request) -> bool:
        return request.key in self.labels or self.ledger.failure(request.oracle, request.geometry) is not None

    def _recall(self, request: _Request) -> Label:
        """Return the label, or raise the failure, of a geometry that was asked for before."""
        with self._lock:
            if not self.ledger.is_settled(request.oracle, request.geometry, request.account.key):
                self.ledger.append(request.call(self._take_id(), {"outcome": CACHE_HIT}))
        failure = self.ledger.failure(request.oracle, request.geometry)
        if request.key not in self.labels and failure:
            raise OracleError(failure[1], kind=failure[0])
        return self.labels.get(request.key)

    def _ask(self, request: _Request, future: Future[Label]) -> None:
        with self._lock:
            call_id = self._take_id()
        try:
            running = self._executor.submit(run_call, request.oracle, request.molecule.to_json())
        except RuntimeError as error:  # the executor is shut down or broken
            running = _failed(error)
        running.add_done_callback(
            lambda done: self._settle(request, future, lambda: self._record(done.result(), call_id, request))
        )

    def _take_id(self) -> int:
        """Return the next call id; the caller holds the lock."""
        self._next_id += 1
        return self._next_id - 1

    def _settle(self, request: _Request, future: Future[Label], answer: Callable[[], Label]) -> None:
        """Settle the request that everybody else with the same question waits for."""

        def last_answer() -> Label:
            try:
                return answer()
            finally:
                with self._lock:
                    self._pending.pop(request.key, None)

        _resolve(future, last_answer)

    def _record(self, answer: dict[str, Any], call_id: int, request: _Request) -> Label:
        call = request.call(call_id, answer)
        if call.outcome != "ok":
            self.ledger.append(call)
            raise OracleError(call.error, kind=call.outcome)
        label = Label(answer["energy_hartree"], forces_of(answer), request.method)
        self.labels.put(request.key, request.molecule, label, call)
        self.ledger.append(call)
        return label


@dataclass(frozen=True, slots=True)
class _Request:
    """One question to an oracle."""

    oracle: str
    method: str
    molecule: Molecule
    geometry: str
    account: Account

    @property
    def key(self) -> str:
        return label_key(self.oracle, self.geometry)

    def call(self, call_id: int, answer: Mapping[str, Any]) -> OracleCall:
        """Return its line in the ledger."""
        return OracleCall(
            call_id=call_id,
            combination=self.account.combination,
            stage=self.account.stage,
            purpose=self.account.purpose,
            molecule=self.molecule.id,
            geometry_sha256=self.geometry,
            oracle=self.oracle,
            method=self.method,
            engine=answer.get("engine", ""),
            attempt=0 if answer["outcome"] == CACHE_HIT else 1,
            outcome=answer["outcome"],
            error=answer.get("error", ""),
            started_utc=answer.get("started_utc") or utc_now(),
            wall_s=answer.get("wall_s", 0.0),
            worker=answer.get("worker", ""),
        )


def _method(oracle: ComponentRef) -> str:
    return registry().find(OracleSpec, oracle.name).level_of_theory(oracle.parameters)


def _refusal(oracle: ComponentRef, molecule: Molecule) -> OracleError | None:
    """Return why the geometry itself is impossible: then no engine is asked, hence no call."""
    try:
        precheck(registry().find(OracleSpec, oracle.name), molecule)
    except MoleculeError as error:
        return OracleError(str(error), kind="input")
    return None


def _failed(error: Exception) -> Future[Any]:
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


def _settled(future: Future[Label]) -> Label | OracleError:
    try:
        return future.result()
    except OracleError as error:
        return error
