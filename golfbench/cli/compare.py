"""``golfbench compare``: two runs or two entries, number by number."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from golfbench.cli import console


class Format(StrEnum):
    """What a comparison is printed as."""

    TABLE = "table"
    MARKDOWN = "md"
    JSON = "json"


OneArgument = Annotated[Path, typer.Argument(metavar="A", help="The old: a run directory or an entry's file.")]
OtherArgument = Annotated[Path, typer.Argument(metavar="B", help="The new, of the same dataset and protocol.")]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="What to print.")]
FailOption = Annotated[bool, typer.Option("--fail-on-regression", help="Exit 1 where B is worse than chance allows.")]


def register(app: typer.Typer) -> None:
    """Add the verb ``compare``."""
    app.command()(compare)


def compare(
    a: OneArgument, b: OtherArgument, format: FormatOption = Format.TABLE, fail_on_regression: FailOption = False
) -> None:
    """Show what is better in B than in A, what is worse, and what is not separable.

    The same combinations are compared, molecule by molecule; what is left over is compared where it differs in one
    thing: the model, the optimizer, the selection or the oracle.

    Exit codes: 0 compared, 1 a regression with --fail-on-regression, 2 not comparable (another dataset, level of theory
    or protocol), 4 no pair.
    """
    from golfbench.compare.report import as_json, compare_sides, markdown, sections
    from golfbench.compare.sides import read_side

    result = compare_sides(read_side(a), read_side(b))
    if format == Format.JSON:
        console.print_json(as_json(result))
    elif format == Format.MARKDOWN:
        print(markdown(result), end="")
    else:
        for heading, (columns, cells) in sections(result):
            print(heading)
            if cells:
                console.print_table(columns, cells)
            print()
    for reason in result.regressions:
        (console.fail if fail_on_regression else console.warn)(f"regression: {reason}")
    if fail_on_regression and result.regressions:
        raise typer.Exit(1)
