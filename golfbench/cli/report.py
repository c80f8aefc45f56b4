"""``golfbench report``: the table of a run, recomputed from its records."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.options import WideOption
from golfbench.errors import ConfigurationError

if TYPE_CHECKING:
    from golfbench.benchmark.metrics import Row
    from golfbench.compare.sides import Side
    from golfbench.runs.directory import RunDirectory


class Format(StrEnum):
    """What a report is printed as."""

    TABLE = "table"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    HTML = "html"
    SVG = "svg"


RunsArgument = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.", show_default=False)]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What to print.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout.")
]


def register(app: typer.Typer) -> None:
    """Add the verb ``report``."""
    app.command()(report)


def report(
    runs: RunsArgument,
    format: FormatOption = Format.TABLE,
    wide: WideOption = False,
    output: OutputOption = None,
) -> None:
    """Recompute a run's table from its records and its ledger, and write its summary again.

    The formats csv, json and html have all numbers with and without --wide.
    With --format html: one page of all runs, with plots and the geometries of every molecule.
    With --format svg: one figure of all runs, residual against the labels that were learned from.
    """
    from golfbench.runs.directory import RunDirectory

    text = io.StringIO()
    with nullcontext() if output is None else redirect_stdout(text):
        if format is Format.HTML:
            print_page(runs)
        elif format is Format.SVG:
            print_figure(runs)
        else:
            for path in runs:
                print_rows(RunDirectory(path), format, wide)
    if output is not None:
        from golfbench.durable import write_atomically

        write_atomically(output, text.getvalue(), parents=True)
        console.saved(f"{output} is written")


def print_page(runs: Sequence[Path]) -> None:
    """Print the page of some runs on stdout and write the ``summary.json`` of those that have records."""
    from golfbench.runs.directory import RunDirectory
    from golfbench.runs.summary import write_summary
    from golfbench.site.runs import report_page

    if sys.stdout.isatty():
        raise ConfigurationError("the page is too large for a terminal: name a file with --output FILE")
    console.print_utf8(report_page(runs))
    for directory in map(RunDirectory, runs):
        if directory.records.exists():
            write_summary(directory)


def print_figure(runs: Sequence[Path]) -> None:
    """Print the figure of some runs on stdout."""
    from golfbench.compare.figure import figure
    from golfbench.compare.sides import read_side

    console.print_utf8(figure([read_side(path) for path in runs]))


def print_rows(directory: RunDirectory, format: str, wide: bool = False) -> None:
    """Print a run's rows on stdout and write its ``summary.json``."""
    from golfbench.benchmark.tables import csv_text, latex_table, markdown_table
    from golfbench.compare.sides import read_side
    from golfbench.compare.verdict import verdicts
    from golfbench.runs.summary import rows_of, summary_content, write_summary

    facts = directory.read_manifest().dataset
    rows = rows_of(directory)
    write_summary(directory)
    if format == Format.JSON:
        console.print_json(summary_content(directory, rows))
    elif format == Format.CSV:
        print(csv_text(rows), end="")
    elif format == Format.MARKDOWN:
        print(markdown_table(rows, facts.name, wide, verdicts(read_side(directory.path))))
    elif format == Format.LATEX:
        print(latex_table(rows, facts.name, wide), end="")
    else:
        _print_table(rows, facts.name, wide, read_side(directory.path))


def _print_table(rows: Sequence[Row], dataset: str, wide: bool, side: Side) -> None:
    from rich.console import Console

    from golfbench.benchmark.tables import INTERVAL_NOTE, failure_lines, notes, rich_table
    from golfbench.compare.verdict import interval_of, verdicts

    terminal, ends = Console(), interval_of(side)
    table = rich_table(rows, terminal.width, wide, ends)
    Console(width=max(terminal.width, table.width or 0)).print(table)
    told = [*notes(rows, dataset, wide), *([INTERVAL_NOTE] if any(map(ends, rows)) else [])]
    for paragraph in (*verdicts(side), *failure_lines(rows), " ".join(told)):
        terminal.print(f"\n{paragraph}", markup=False, highlight=False)
