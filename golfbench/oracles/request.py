"""A question on somebody's account on its way to an answer, and the line of the ledger that says what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from golfbench.contracts import Label
from golfbench.errors import MoleculeError, OracleError
from golfbench.oracles.calls import Answer, utc_now
from golfbench.oracles.ledger import OracleCall, Purpose
from golfbench.oracles.opening import precheck
from golfbench.oracles.question import Question
from golfbench.specs import Component, OracleSpec, Scalar


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


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question on somebody's account, and where the answer goes.

    Attributes:
        oracle: Who is asked, with parameters.
        question: What is asked.
        account: Who pays.
        turn: Calls of an earlier turn are made first.
        future: Gets the label or the failure.
    """

    oracle: Component[OracleSpec]
    question: Question
    account: Account
    turn: int
    future: Future[Label] = field(default_factory=Future)

    @property
    def key(self) -> str:
        """Address of the label."""
        return self.question.key

    @property
    def spec(self) -> OracleSpec:
        """What the oracle supports."""
        return self.oracle.spec

    def refusal(self) -> OracleError | None:
        """Return why the geometry itself is impossible: then no engine is asked, hence no call."""
        try:
            precheck(self.spec, self.question.molecule)
        except MoleculeError as error:
            return OracleError(str(error), kind="input")
        return None

    def call(self, call_id: int, answer: Answer, attempt: int = 0, **facts: Any) -> OracleCall:
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
class Attempt:
    """One call on its way.

    Attributes:
        call_id: Its number in the ledger.
        changes: Parameters that were changed for it.
        started: When it left, s on the performance counter.
    """

    call_id: int
    changes: Mapping[str, Scalar]
    started: float


def failed(error: BaseException) -> Future[Any]:
    """Return a future that has failed already."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def resolve(future: Future[Label], answer: Callable[[], Label]) -> None:
    """Give a future what ``answer`` returns or raises."""
    try:
        label = answer()
    except BaseException as error:  # noqa: BLE001 (whatever it is belongs to whoever waits for the label)
        future.set_exception(error)
    else:
        future.set_result(label)
