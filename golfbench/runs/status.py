"""How far the oracle calls of a run are, what they cost and which of them failed: read from the ledger alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from golfbench.benchmark.failures import EXAMPLES, pattern
from golfbench.oracles.ledger import CACHE_HIT, PURPOSES, OracleCall
from golfbench.oracles.running import RunningCall


class PurposeStatus(BaseModel):
    """The calls of one purpose.

    Attributes:
        purpose: See ``ledger.PURPOSES``.
        labels: Calls that gave a label.
        failed: Calls that gave none; attempts that were repeated are among them.
        cache_hits: Answers from the cache, without a call.
        wall_s: Wall time of all calls.
        cpu_s: Their CPU time, where engines measure it.
        span_s: From the start of the first call to the end of the last one, pauses of the run included.
        workers: Workers that served them.
        busy_pct: ``wall_s`` in percent of the time that these workers had in that span.
        awaited_s: Time that the run stood still for answers.
        last_utc: When the last call started.
    """

    model_config = ConfigDict(frozen=True)

    purpose: str
    labels: int
    failed: int
    cache_hits: int
    wall_s: float
    cpu_s: float
    span_s: float
    workers: int
    busy_pct: float | None
    awaited_s: float
    last_utc: str


class FailureGroup(BaseModel):
    """Failed calls with the same message, apart from names and numbers.

    Attributes:
        outcome: Kind of failure.
        oracle: As it was named.
        message: The text of the first of them.
        calls: Failed calls.
        molecules: Molecules that they are of.
        given_up: How many of these molecules have no label in the end.
        examples: Some of these molecules.
    """

    model_config = ConfigDict(frozen=True)

    outcome: str
    oracle: str
    message: str
    calls: int
    molecules: int
    given_up: int
    examples: list[str]


@dataclass(slots=True)
class _Tally:
    outcomes: Counter[str] = field(default_factory=Counter)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    awaited_s: float = 0.0
    first: float = float("inf")
    last: float = 0.0
    last_utc: str = ""
    workers: set[str] = field(default_factory=set)

    def add(self, call: OracleCall) -> None:
        self.outcomes[call.outcome] += 1
        self.awaited_s += call.awaited_s
        if call.outcome == CACHE_HIT:
            return
        start = datetime.fromisoformat(call.started_utc).timestamp()
        self.first, self.last = min(self.first, start), max(self.last, start + call.wall_s)
        self.last_utc = max(self.last_utc, call.started_utc)
        self.wall_s += call.wall_s
        self.cpu_s += call.cpu_s or 0.0
        if call.worker:
            self.workers.add(call.worker)

    def status(self, purpose: str) -> PurposeStatus:
        span = max(self.last - self.first, 0.0)
        room = span * len(self.workers)
        hits, labels = self.outcomes[CACHE_HIT], self.outcomes["ok"]
        return PurposeStatus(
            purpose=purpose,
            labels=labels,
            failed=self.outcomes.total() - hits - labels,
            cache_hits=hits,
            wall_s=self.wall_s,
            cpu_s=self.cpu_s,
            span_s=span,
            workers=len(self.workers),
            busy_pct=100.0 * self.wall_s / room if room else None,
            awaited_s=self.awaited_s,
            last_utc=self.last_utc,
        )


def running_of(calls: Iterable[RunningCall], now: datetime) -> str:
    """Return how many calls are running, for how long, and the one that began first; an empty text if there is none."""
    calls = sorted(calls, key=lambda call: call.started_utc)
    if not calls:
        return ""
    first = calls[0]
    duration = timedelta(seconds=int((now - datetime.fromisoformat(first.started_utc)).total_seconds()))
    number = "1 call" if len(calls) == 1 else f"{len(calls)} calls, the longest"
    return f"running: {number} for {duration} ({first.purpose}, {first.molecule}, {first.oracle})"


def status_of(calls: Iterable[OracleCall]) -> list[PurposeStatus]:
    """Return the calls by purpose; purposes without any line are left out."""
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for call in calls:
        tallies[call.purpose].add(call)
    return [tallies[purpose].status(purpose) for purpose in PURPOSES if purpose in tallies]


def failures_of(calls: Iterable[OracleCall]) -> list[FailureGroup]:
    """Return the failed calls in groups, the largest first."""
    groups: defaultdict[tuple[str, str, str], list[OracleCall]] = defaultdict(list)
    labelled: set[str] = set()
    for call in calls:
        if call.outcome == "ok":
            labelled.add(call.key)
        elif call.outcome != CACHE_HIT:
            groups[call.outcome, str(call.oracle), pattern(call.error, call.molecule)].append(call)
    found = [_group(members, labelled) for members in groups.values()]
    return sorted(found, key=lambda group: (-group.calls, group.outcome, group.message))


def _group(calls: list[OracleCall], labelled: set[str]) -> FailureGroup:
    names = dict.fromkeys(call.molecule for call in calls)
    return FailureGroup(
        outcome=calls[0].outcome,
        oracle=str(calls[0].oracle),
        message=calls[0].error.removeprefix(f"{calls[0].molecule}: "),
        calls=len(calls),
        molecules=len(names),
        given_up=len({call.key for call in calls} - labelled),
        examples=list(names)[:EXAMPLES],
    )
