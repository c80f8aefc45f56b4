"""The service: the only way to an oracle. Counts, stores and answers known geometries without asking again."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
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
        with self._lock:
            waiting = self._pending.get(request.key)
        if waiting is not None:
            return waiting
        if request.key in self.labels or self.ledger.failure(request.oracle, request.geometry):
            return self._answer_from_store(request)
        try:
            precheck(registry().find(OracleSpec, oracle.name), molecule)
        except MoleculeError as error:
            # The geometry itself is impossible: no engine is asked, hence no call.
            return _failed(OracleError(str(error), kind="input"))
        return self._ask(request)

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

    def _answer_from_store(self, request: _Request) -> Future[Label]:
        if not self.ledger.is_settled(request.oracle, request.geometry, request.account.key):
            self.ledger.append(request.call(self._take_id(), {"outcome": CACHE_HIT}))
        failure = self.ledger.failure(request.oracle, request.geometry)
        if request.key not in self.labels and failure:
            return _failed(OracleError(failure[1], kind=failure[0]))
        future: Future[Label] = Future()
        future.set_result(self.labels.get(request.key))
        return future

    def _ask(self, request: _Request) -> Future[Label]:
        future: Future[Label] = Future()
        call_id = self._take_id()
        with self._lock:
            self._pending[request.key] = future
        running = self._executor.submit(run_call, request.oracle, request.molecule.to_json())
        running.add_done_callback(lambda done: self._deliver(done, future, call_id, request))
        return future

    def _take_id(self) -> int:
        with self._lock:
            self._next_id += 1
            return self._next_id - 1

    def _deliver(self, done: Future[dict[str, Any]], future: Future[Label], call_id: int, request: _Request) -> None:
        try:
            result: Label | BaseException = self._record(done.result(), call_id, request)
        except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the label)
            result = error
        with self._lock:
            self._pending.pop(request.key, None)
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

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


def _failed(error: OracleError) -> Future[Label]:
    future: Future[Label] = Future()
    future.set_exception(error)
    return future


def _settled(future: Future[Label]) -> Label | OracleError:
    try:
        return future.result()
    except OracleError as error:
        return error
