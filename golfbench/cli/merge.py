"""``golfbench merge``: the shards of a run joined, completely or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfbench.cli import console
from golfbench.cli.report import Format, FormatOption, print_rows

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the verb ``merge``."""
    app.command()(merge)


def merge(run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """Join the shards of a run (`run --shard`), and print the table of the whole.

    Complete or nothing: exit 1, and a line for each thing that is missing or contradicts another.
    """
    from golfbench.runs.merge import MergeError
    from golfbench.runs.merge import merge as join

    try:
        directory = join(run, console.warn)
    except MergeError as error:
        for problem in error.problems:
            console.fail(problem)
        raise typer.Exit(error.exit_code) from error
    print_rows(directory, format)
