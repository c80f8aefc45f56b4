"""``golfbench evaluate``: end points that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfbench.cli import console
from golfbench.cli.options import DatasetOption, JsonOption, OracleOption, OutputOption, WideOption, with_arguments
from golfbench.cli.run import (
    CacheOption,
    DryRunOption,
    ExecutorArgumentOption,
    ExecutorOption,
    LimitOption,
    OracleArgumentOption,
    ReferenceOption,
    WorkersOption,
    execute,
    executor_of,
    show_plan,
)
from golfbench.errors import ConfigurationError

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Files of end points (.sdf, .mol, .xyz, .extxyz; also .gz).", show_default=False
    ),
]
NameOption = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="What the row of a file is called. Repeat for the next file."),
]


def register(app: typer.Typer) -> None:
    """Add the verb ``evaluate``."""
    app.command()(evaluate)


def evaluate(
    files: FilesArgument,
    name: NameOption = None,
    dataset: DatasetOption = None,
    oracle: OracleOption = None,
    oracle_arg: OracleArgumentOption = None,
    reference: ReferenceOption = None,
    limit: LimitOption = None,
    executor: ExecutorOption = None,
    executor_arg: ExecutorArgumentOption = None,
    workers: WorkersOption = None,
    cache: CacheOption = None,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    wide: WideOption = False,
    json: JsonOption = False,
) -> None:
    """Judge end points that another program made, as those of a run are judged.

    That may be another suite, another optimizer, or a model that generates geometries.

    A geometry belongs to a test molecule by its id (an SDF's title, a field molecule= or id=), else by the name of the
    molecule, else by its atoms and bonds, where that leaves one. An SDF has its atoms in any order, an XYZ file in the
    dataset's.

    A test molecule without a geometry counts as skipped. How an end point was reached is not known: it has 0 steps and
    0 model calls, and counts as stopped at the step limit. Interrupted anywhere, the same command resumes.
    """
    from golfbench.runs.config import load_config
    from golfbench.runs.defaults import suited
    from golfbench.runs.grid import check_names

    settings = load_config(
        None,
        {
            "end_points": _named(files, name or []),
            "dataset": dataset,
            "oracles": with_arguments("oracle", oracle, oracle_arg),
            "references": reference,
            "limit": limit,
            "executor": executor_of(executor, executor_arg),
            "workers": workers,
            "cache": cache,
        },
    )
    check_names(settings)
    filled = suited(settings)
    for sentence in filled.told:
        console.note(sentence)
    if dry_run:
        show_plan(filled.config, json)
    else:
        execute(filled.config, output or Path("runs"), json, wide)


def _named(files: list[Path], names: list[str]) -> list[dict[str, str]]:
    """Return the files as a configuration has them, the first ones with the names that were given.

    Raises:
        ConfigurationError: If there are more names than files.
    """
    if len(names) > len(files):
        raise ConfigurationError(
            f"--name {names[len(files)]} has no file: give each file at most one name, in their order"
        )
    given = [{"path": str(path)} for path in files]
    return [{**ends, "name": name} for ends, name in zip(given, names, strict=False)] + given[len(names) :]
