"""The table of a run, recomputed from its records and its ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from golfbench.benchmark.metrics import Counts, Row, summarise
from golfbench.benchmark.records import Identity, Record, combination_id, latest_records, read_records
from golfbench.errors import NothingToDoError
from golfbench.oracles.ledger import CACHE_HIT, OF_OTHER_ENGINES, PURPOSES, OracleCall, Purpose, read_calls
from golfbench.runs.costs import read_costs, read_notes
from golfbench.runs.directory import SCHEMA_VERSION, RunDirectory, write_json


class Bill(NamedTuple):
    """Key by which calls of a ledger are added up.

    Attributes:
        oracle: Who was asked; empty for an engine that is not the oracle of the row.
        combination: Whose call it is; empty when all combinations of the run share it.
        stage: ``before``, ``after`` or ``reference``.
        purpose: See ``ledger.PURPOSES``.
    """

    oracle: str
    combination: str
    stage: str
    purpose: Purpose


def bill_of(call: OracleCall) -> Bill:
    """Return the key of a call."""
    return Bill(
        "" if call.purpose in OF_OTHER_ENGINES else str(call.oracle), call.combination, call.stage, call.purpose
    )


def bills_of(row: Identity) -> list[Bill]:
    """Return the keys of all calls that a row depends on.

    That is its own calls and those that the run shares: reference minima in all rows of their oracle; labels of the
    initial set, and those of the base for it, in the rows of trained models.
    """
    accounts: list[tuple[str, str, Purpose]] = [(row.combination, row.stage, purpose) for purpose in PURPOSES]
    accounts.append(("", "reference", "reference"))
    if row.stage != "reference":
        accounts += [("", "before", "initial"), ("", "before", "base")]
    return [Bill("" if account[2] in OF_OTHER_ENGINES else row.oracle, *account) for account in accounts]


def training_of(row: Identity) -> str:
    """Return the combination whose training a row's model comes from: its own, or that of its curve."""
    return combination_id(row.model, row.optimizer, row.selection, row.oracle, row.seed)


def calls_by_then(row: Identity, calls: Iterable[OracleCall]) -> Iterator[OracleCall]:
    """Yield the calls of a training until a row's model was judged on the way.

    No call is running at such a point: all calls for labels up to its budget are in the ledger before any for the next
    label. Those of other engines count up to there.

    Args:
        row: With a budget; a row without one yields nothing.
        calls: In the order of the ledger.
    """
    known: set[str] = set()
    whole = (training_of(row), row.stage)
    for call in calls if row.budget is not None else ():
        if (call.combination, call.stage) == whole and call.purpose != "evaluation":
            known |= {call.key} if call.purpose == "training" else set()
            if len(known) > (row.budget or 0):
                return
            yield call


def rows_of(directory: RunDirectory) -> list[Row]:
    """Return the rows of a run's table.

    Raises:
        NothingToDoError: If the run has no record yet.
    """
    if not directory.records.exists():
        raise NothingToDoError(f"{directory.path} has no records yet")
    records = latest_records(read_records(directory.records))
    rows = summarise(records, *_accounts(records, directory), read_costs(directory.costs))
    notes = read_notes(directory.costs)
    return [row.model_copy(update={"note": notes.get((row.combination, row.stage), "")}) for row in rows]


def write_summary(directory: RunDirectory) -> dict[str, Any]:
    """Recompute the summary, write ``summary.json`` and return what was written."""
    content = summary_content(directory, rows_of(directory))
    # The file is copied and published with its directory: no path of this machine is written to it.
    write_json(directory.summary, {**content, "run_dir": directory.path.resolve().name})
    return content


def summary_content(directory: RunDirectory, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the object that ``run --json`` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_dir": str(directory.path),
        "rows": [row.model_dump(mode="json") for row in rows],
    }


def _accounts(records: Sequence[Record], directory: RunDirectory) -> tuple[Counts, Counts]:
    """Return oracle calls and cache hits of each (combination, stage) by purpose."""
    calls: Counter[Bill] = Counter()
    hits: Counter[Bill] = Counter()
    rows: dict[tuple[str, str], Identity] = {(r.combination, r.stage): r for r in records}
    points = {key: row for key, row in rows.items() if row.budget is not None}
    trainings, of_trainings = set(map(training_of, points.values())), []
    for call in read_calls(directory.calls):
        (hits if call.outcome == CACHE_HIT else calls)[bill_of(call)] += 1
        if call.combination in trainings:
            of_trainings.append(call)
    charged, free = _by_row(calls, rows), _by_row(hits, rows)
    for key, row in points.items():
        for call in calls_by_then(row, of_trainings):
            (free if call.outcome == CACHE_HIT else charged)[key][call.purpose] += 1
    return charged, free


def _by_row(counted: Counter[Bill], rows: dict[tuple[str, str], Identity]) -> dict[tuple[str, str], dict[str, int]]:
    table: dict[tuple[str, str], dict[str, int]] = {}
    for key, row in rows.items():
        table[key] = dict.fromkeys(map(str, PURPOSES), 0)
        for bill in bills_of(row):
            table[key][bill.purpose] += counted[bill]
    return table
