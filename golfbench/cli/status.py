"""``golfbench status``: the oracle calls of a run and what failed, while it runs and afterwards."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption
from golfbench.errors import NothingToDoError

if TYPE_CHECKING:
    from golfbench.benchmark.metrics import Row
    from golfbench.runs.status import FailureGroup, PurposeStatus

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
FailuresOption = Annotated[bool, typer.Option("--failures", help="Show what failed, in groups.")]


def register(app: typer.Typer) -> None:
    """Add the verb ``status``."""
    app.command()(status)


def status(run: RunArgument, failures: FailuresOption = False, json: JsonOption = False) -> None:
    """Show how many oracle calls a run has made, what they cost, what failed (calls and walks), and what runs now."""
    from golfbench.oracles.ledger import read_calls
    from golfbench.oracles.running import read_running
    from golfbench.runs.directory import RunDirectory
    from golfbench.runs.status import failures_of, running_of, status_of
    from golfbench.runs.summary import rows_of

    directory = RunDirectory(run)
    path, alive = directory.calls, directory.in_use
    purposes, groups = status_of(read_calls(path)), failures_of(read_calls(path))
    rows = rows_of(directory) if directory.records.exists() else []
    running = read_running(directory.running) if alive else []
    if text := running_of(running, datetime.now(UTC)):
        console.note(text)
    elif not purposes and not rows:
        state = ": it is at work on something else (see log.txt)" if alive else ""
        raise NothingToDoError(f"{run} has no oracle call yet{state}")
    if json:
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "running": [call.model_dump() for call in running],
                "purposes": [purpose.model_dump() for purpose in purposes],
                "failures": [group.model_dump() for group in groups],
                "failed_walks": [
                    {"combination": row.combination, "stage": row.stage, "n": row.n, **group.model_dump(mode="json")}
                    for row in rows
                    for group in row.failures
                ],
            }
        )
    elif failures:
        _print_failures(groups, rows)
    elif purposes or rows:
        _print_purposes(purposes)
        _hint(groups, rows)


def _print_purposes(purposes: list[PurposeStatus]) -> None:
    """Print a column for each purpose, so that the table fits a narrow terminal."""
    facts: dict[str, Callable[[PurposeStatus], object]] = {
        "labels": lambda p: p.labels,
        "failed": lambda p: p.failed,
        "cache hits": lambda p: p.cache_hits,
        "s/call": lambda p: f"{p.wall_s / (p.labels + p.failed):.3g}" if p.labels + p.failed else "–",
        "CPU h": lambda p: f"{p.cpu_s / 3600:.3g}",
        "workers": lambda p: p.workers,
        "busy %": lambda p: "–" if p.busy_pct is None else f"{p.busy_pct:.1f}",
        "waited s": lambda p: f"{p.awaited_s:.1f}",
        "last, UTC": lambda p: p.last_utc[:19].replace("T", " ") or "–",
    }
    rows = [(name, *(cell(purpose) for purpose in purposes)) for name, cell in facts.items()]
    console.print_table(("purpose", *(purpose.purpose for purpose in purposes)), rows)


def _hint(groups: list[FailureGroup], rows: list[Row]) -> None:
    given_up, walks = sum(group.given_up for group in groups), sum(row.n_failed for row in rows)
    if given_up or walks:
        console.note(f"{walks} walks failed, {given_up} oracle labels were given up: see --failures")


def _print_failures(groups: list[FailureGroup], rows: list[Row]) -> None:
    """Print the groups: sentences on a terminal, where a table would break words; a table in a pipe."""
    from golfbench.benchmark.tables import failure_lines

    failed = [row for row in rows if row.failures]
    if not groups and not failed:
        console.note("nothing failed: no oracle call, no walk" if rows else "no oracle call failed")
        return
    if sys.stdout.isatty():
        for line in (*map(_sentence, groups), *failure_lines(rows)):
            print(
                textwrap.fill(line, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False)
            )
        return
    columns = ("failed", "outcome", "of", "count", "molecules", "given up", "message", "for example")
    cells: list[tuple[object, ...]] = [
        ("call", g.outcome, g.oracle, g.calls, g.molecules, g.given_up, g.message, ", ".join(g.examples))
        for g in groups
    ]
    cells += [
        (
            "walk",
            group.status,
            f"{row.combination} {row.stage}",
            *(group.count,) * 3,
            ": ".join(filter(None, (group.error_type, group.message))),
            ", ".join(group.examples),
        )
        for row in failed
        for group in row.failures
    ]
    console.print_table(columns, cells)


def _sentence(group: FailureGroup) -> str:
    named = ", ".join(group.examples) + (", ..." if group.molecules > len(group.examples) else "")
    return (
        f"Oracle calls of {group.oracle}: {group.calls} {group.outcome}, {group.molecules} molecules,"
        f" {group.given_up} without a label in the end: {group.message} ({named})"
    )
