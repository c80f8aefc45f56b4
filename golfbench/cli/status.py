"""``golfbench status``: the oracle calls of a run, while it runs and afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption
from golfbench.errors import NothingToDoError

if TYPE_CHECKING:
    from golfbench.runs.status import FailureGroup, PurposeStatus

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
FailuresOption = Annotated[bool, typer.Option("--failures", help="Show what failed, in groups.")]


def register(app: typer.Typer) -> None:
    """Add the verb ``status``."""
    app.command()(status)


def status(run: RunArgument, failures: FailuresOption = False, json: JsonOption = False) -> None:
    """Show how many oracle calls a run has made, what they cost and what failed, and what is running now."""
    from golfbench.oracles.ledger import read_calls
    from golfbench.oracles.running import read_running
    from golfbench.runs.directory import RunDirectory
    from golfbench.runs.status import failures_of, running_of, status_of

    directory = RunDirectory(run)
    path, alive = directory.calls, directory.in_use
    purposes, groups = status_of(read_calls(path)), failures_of(read_calls(path))
    running = read_running(directory.running) if alive else []
    if text := running_of(running, datetime.now(UTC)):
        console.note(text)
    elif not purposes:
        state = ": it is at work on something else (see log.txt)" if alive else ""
        raise NothingToDoError(f"{run} has no oracle call yet{state}")
    if json:
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "running": [call.model_dump() for call in running],
                "purposes": [purpose.model_dump() for purpose in purposes],
                "failures": [group.model_dump() for group in groups],
            }
        )
    elif failures:
        _print_failures(groups)
    elif purposes:
        _print_purposes(purposes)


def _print_purposes(purposes: list[PurposeStatus]) -> None:
    columns = ("purpose", "labels", "failed", "cache hits", "s/call", "CPU h", "workers", "busy %", "waited s", "last")
    rows = [
        (
            p.purpose,
            p.labels,
            p.failed,
            p.cache_hits,
            f"{p.wall_s / (p.labels + p.failed):.3g}" if p.labels + p.failed else "–",
            f"{p.cpu_s / 3600:.3g}",
            p.workers,
            "–" if p.busy_pct is None else f"{p.busy_pct:.1f}",
            f"{p.awaited_s:.1f}",
            p.last_utc or "–",
        )
        for p in purposes
    ]
    console.print_table(columns, rows)


def _print_failures(groups: list[FailureGroup]) -> None:
    if not groups:
        console.note("no call failed")
        return
    columns = ("outcome", "oracle", "calls", "molecules", "given up", "message", "for example")
    rows = [(g.outcome, g.oracle, g.calls, g.molecules, g.given_up, g.message, ", ".join(g.examples)) for g in groups]
    console.print_table(columns, rows)
