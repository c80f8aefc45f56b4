"""``golfbench datasets list|check|build|fetch``.

``read`` is all that a dataset must offer. A reader that can prove its content has ``check(recompute)``, which returns
one line a problem; one that can be made anew has ``build(output)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.components import lister
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption, complete
from golfbench.cli.streams import session
from golfbench.errors import ConfigurationError, NothingToDoError, unknown_name
from golfbench.registry import registry
from golfbench.specs import DataFile, DatasetSpec
from golfbench.store import DATA_VARIABLE

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
SplitOption = Annotated[
    list[str] | None,
    typer.Option("--split", help="A part of the dataset (repeat for several); default: those that NAME reads."),
]
MirrorOption = Annotated[
    str | None,
    typer.Option(
        "--mirror", metavar="URL", help="Another address of the file, or of a folder (ends with /).", show_default=False
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="The file, got by other means, or the folder that it lies in.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the group ``datasets``."""
    group = typer.Typer(no_args_is_help=True, help="The datasets that are installed.")
    group.command("list", help="List the datasets that are installed.")(lister("dataset"))
    group.command("check")(check)
    group.command("build")(build)
    group.command("fetch", help=f"{fetch.__doc__}".replace("STORE", DATA_VARIABLE))(fetch)
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


def fetch(name: NameArgument, split: SplitOption = None, mirror: MirrorOption = None, file: FileOption = None) -> None:
    """Bring the files of a dataset to this machine; the same command goes on after an interruption.

    A file is proven by its size and SHA-256 (those of the first that could be read, where no others are known), and
    takes its place only then. It lies in the folder STORE, by default one of the user's data.
    """
    component = registry().component(DatasetSpec, name)
    wanted = _wanted(component.spec, component.parameters, split or [])
    if file is not None and mirror is not None:
        raise ConfigurationError("--file and --mirror exclude each other")
    one = (file is not None and not file.is_dir()) or (mirror is not None and not mirror.endswith("/"))
    if one and len(wanted) > 1:
        splits = ", ".join(each.split for each in wanted)
        raise ConfigurationError(f"one file for {len(wanted)} parts ({splits}): choose one by --split")
    from golfbench.data_files import Wish, fetch

    session.resumes = True
    for each in wanted:
        with console.Progress() as progress:

            def report(done: int, total: int, show: console.Progress = progress, what: str = each.name) -> None:
                if total:
                    show(f"{what}, kB", done // 1000, total // 1000)

            path = fetch(component.spec, each, Wish(file, mirror or "", console.note, report))
        console.note(f"{component.spec.name}, {each.split} is in {path}")


def _wanted(spec: DatasetSpec, parameters: Mapping[str, Any], splits: list[str]) -> list[DataFile]:
    """Return the files that a person wants: some by their split, else those that are read with the parameters."""
    if not spec.files:
        raise NothingToDoError(f"dataset '{spec.name}' has no files to fetch")
    known = {file.split: file for file in spec.files}
    if unknown := [split for split in splits if split not in known]:
        raise ConfigurationError(f"dataset '{spec.name}': {unknown_name('split', unknown[0], known)}")
    return [known[split] for split in dict.fromkeys(splits)] or spec.wanted(parameters)
