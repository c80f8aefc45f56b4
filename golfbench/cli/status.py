"""``golfbench status``: the oracle calls of a run, while it runs and afterwards."""

from __future__ import annotations

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
    """Show how many oracle calls a run has made, what they cost and what failed, from its ledger alone."""
    from golfbench.oracles.ledger import read_calls
    from golfbench.runs.directory import RunDirectory
    from golfbench.runs.status import failures_of, status_of

    path = RunDirectory(run).calls
    purposes, groups = status_of(read_calls(path)), failures_of(read_calls(path))
    if not purposes:
        raise NothingToDoError(f"{run} has no oracle call yet")
    if json:
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "purposes": [purpose.model_dump() for purpose in purposes],
                "failures": [group.model_dump() for group in groups],
            }
        )
    elif failures:
        _print_failures(groups)
    else:
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
