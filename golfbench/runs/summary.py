"""The table of a run, recomputed from its records and its ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from golfbench.benchmark.metrics import Counts, Row, summarise
from golfbench.benchmark.records import Record, latest_records, read_records
from golfbench.errors import NothingToDoError
from golfbench.oracles.ledger import CACHE_HIT, PURPOSES, read_calls
from golfbench.runs.costs import read_costs, read_notes
from golfbench.runs.directory import SCHEMA_VERSION, RunDirectory, write_json


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
    # The file travels with its directory: where that lies on this machine is nobody's business.
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
    """Return oracle calls and cache hits of each (combination, stage) by purpose.

    What a run shares is shown in every row that rests on it: reference minima in all rows of their oracle, labels of
    the initial set in the rows of trained models.
    """
    calls: Counter[tuple[str, str, str, str]] = Counter()
    hits: Counter[tuple[str, str, str, str]] = Counter()
    for call in read_calls(directory.calls):
        (hits if call.outcome == CACHE_HIT else calls)[call.oracle, *call.account] += 1
    rows: dict[tuple[str, str], str] = {(r.combination, r.stage): r.oracle for r in records}
    return _by_row(calls, rows), _by_row(hits, rows)


def _by_row(counted: Counter[tuple[str, str, str, str]], rows: dict[tuple[str, str], str]) -> Counts:
    table = {}
    for (combination, stage), oracle in rows.items():
        own = {purpose: counted[oracle, combination, stage, purpose] for purpose in PURPOSES}
        own["reference"] += counted[oracle, "", "reference", "reference"]
        if stage != "reference":
            own["initial"] += counted[oracle, "", "before", "initial"]
        table[combination, stage] = own
    return table
