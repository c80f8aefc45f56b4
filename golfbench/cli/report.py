"""``golfbench report``: the table of a run, recomputed from its records."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console

if TYPE_CHECKING:
    from golfbench.runs.directory import RunDirectory


class Format(StrEnum):
    """What a report is printed as."""

    TABLE = "table"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


RunsArgument = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.", show_default=False)]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What to print.")]


def register(app: typer.Typer) -> None:
    """Add the verb ``report``."""
    app.command()(report)


def report(runs: RunsArgument, format: FormatOption = Format.TABLE) -> None:
    """Recompute a run's table from its records and its ledger, and write its summary anew."""
    from golfbench.runs.directory import RunDirectory

    for path in runs:
        print_rows(RunDirectory(path), format)


def print_rows(directory: RunDirectory, format: str) -> None:
    """Print a run's rows on stdout and write its ``summary.json``."""
    from rich.console import Console

    from golfbench.benchmark.tables import csv_text, markdown_table, rich_table
    from golfbench.runs.summary import rows_of, summary_content, write_summary

    facts = directory.read_manifest()["dataset"]
    rows = rows_of(directory)
    write_summary(directory)
    if format == Format.JSON:
        console.print_json(summary_content(directory, rows))
    elif format == Format.CSV:
        print(csv_text(rows), end="")
    elif format == Format.MARKDOWN:
        print(markdown_table(rows, facts["name"]))
    else:
        # In a pipe rich assumes 80 columns, in which the table would be folded.
        terminal = Console()
        Console(width=None if terminal.is_terminal else 120).print(rich_table(rows, facts["name"]))
