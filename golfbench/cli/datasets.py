"""``golfbench datasets list|check|build``.

``read`` is all that a dataset must offer. A reader that can prove its content has ``check(recompute)``, which returns
one line a problem; one that can be made anew has ``build(output)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.components import lister
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption, complete
from golfbench.cli.streams import session
from golfbench.errors import ConfigurationError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec

if TYPE_CHECKING:
    from golfbench.contracts import Dataset

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A dataset.", autocompletion=complete("dataset"), show_default=False)
]
RecomputeOption = Annotated[
    int, typer.Option("--recompute", min=0, metavar="N", help="Ask the oracle again for N labels and compare.")
]
BuildOutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="Folder that the dataset is built in.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the group ``datasets``."""
    group = typer.Typer(no_args_is_help=True, help="The datasets that are installed.")
    group.command("list", help="List the datasets that are installed.")(lister("dataset"))
    group.command("check")(check)
    group.command("build")(build)
    app.add_typer(group, name="datasets")


def _open(name: str) -> Any:
    return registry().component(DatasetSpec, name).create()


def check(name: NameArgument, recompute: RecomputeOption = 0, json: JsonOption = False) -> None:
    """Read a dataset and prove what it says of itself; exit 1 when something is wrong."""
    from golfbench.contracts import DatasetChecks

    reader = _open(name)
    problems: list[str] = reader.check(recompute=recompute) if isinstance(reader, DatasetChecks) else []
    facts = {} if problems else _facts(reader.read())
    if json:
        console.print_json({"schema_version": SCHEMA_VERSION, "dataset": name, **facts, "problems": problems})
    elif facts:
        console.print_table(tuple(facts), [tuple(facts.values())])
    for problem in problems:
        console.fail(problem)
    if problems:
        raise typer.Exit(1)


def _facts(dataset: Dataset) -> dict[str, str | int]:
    return {
        "name": dataset.name,
        "method": dataset.method,
        "initial": len(dataset.initial),
        "test": len(dataset.test),
        "content_hash": dataset.content_hash,
    }


def build(name: NameArgument, output: BuildOutputOption) -> None:
    """Build a dataset anew from its sources, as its card says; the same command goes on after an interruption."""
    from golfbench.contracts import DatasetBuilds

    reader = _open(name)
    if not isinstance(reader, DatasetBuilds):
        raise ConfigurationError(f"dataset '{name}' cannot be built: it can only be read")
    session.resumes = True
    reader.build(output)
    console.saved(f"{name} is built in {output}")
