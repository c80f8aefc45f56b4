"""``golfbench run``: the grid, from the command line or from a YAML file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.options import (
    DatasetOption,
    DeviceOption,
    FormatOption,
    JsonOption,
    LoggerOption,
    ModelOption,
    OptimizerOption,
    OracleOption,
    OutputOption,
    SeedOption,
    SelectionOption,
    TypeOption,
    UnsafeOption,
    WideOption,
    complete,
    with_arguments,
)
from golfbench.cli.streams import session

if TYPE_CHECKING:
    from golfbench.benchmark.evaluate import GivenEnds
    from golfbench.runs.config import RunConfig
    from golfbench.runs.shards import Shard

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="YAML file with the configuration.", show_default=False)
]
BudgetOption = Annotated[
    int | None, typer.Option("--budget", "-k", min=0, envvar="GOLFBENCH_BUDGET", help="Training labels a combination.")
]
PointsOption = Annotated[
    str | None,
    typer.Option(
        "--evaluate-at",
        metavar="LABELS",
        help="Judge models on the way, with so many training labels: 0,16,32,64. The last one is the budget, if no "
        "other is given.",
        show_default=False,
    ),
]
InitialOption = Annotated[
    int | None,
    typer.Option(
        "--initial-labels",
        min=0,
        help="Labels of the initial set to learn from; by default all of them, and none for pretrained weights.",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only so many training and test molecules.")
]
SurrogateOption = Annotated[
    str | None,
    typer.Option("--surrogate", metavar="NAME", autocompletion=complete("oracle"), help="Cheap oracle that golf asks."),
]
DeltaOption = Annotated[
    str | None,
    typer.Option(
        "--delta",
        metavar="NAME",
        autocompletion=complete("oracle"),
        help="Base: learn the difference to it. An oracle, a checkpoint, weights by name (aimnet2:weights=wb97m-d3), "
        "or none.",
    ),
]
LearnerOption = Annotated[
    str | None,
    typer.Option(
        "--learner",
        metavar="NAME",
        autocompletion=complete("learner"),
        help="What fits the networks: single, committee:members=3.",
    ),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="What models start from: 'auto' (shipped, or trained), 'fresh' (trained), a file, or weights that the "
        "model knows by name. For one model of several: NAME:weights=...",
    ),
]
OracleArgumentOption = Annotated[
    list[str] | None,
    typer.Option("--oracle-arg", metavar="KEY=VALUE", help="Parameter of the one --oracle, as after its colon."),
]
ModelArgumentOption = Annotated[
    list[str] | None,
    typer.Option("--model-arg", metavar="KEY=VALUE", help="Parameter of the one --model, as after its colon."),
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option("--reference", metavar="NAME", autocompletion=complete("oracle"), help="Fixed model with a row."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, envvar="GOLFBENCH_WORKERS", help="Oracle calls at a time.")
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="NAME",
        envvar="GOLFBENCH_EXECUTOR",
        autocompletion=complete("executor"),
        help="Where oracle calls run.",
    ),
]
ExecutorArgumentOption = Annotated[
    list[str] | None,
    typer.Option("--executor-arg", metavar="KEY=VALUE", help="Parameter of the --executor, as after its colon."),
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="WHICH",
        envvar="GOLFBENCH_CACHE_POLICY",
        help="Labels of earlier runs to use: same-version of the engine, any-version, off.",
    ),
]
ExplorerOption = Annotated[
    str | None,
    typer.Option(
        "--explorer",
        metavar="NAME",
        help="What offers states to label: walks (on the model), given (trajectories of the dataset), relaxed (minima "
        "of the surrogate).",
    ),
]
OrderOption = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic",
        help="Learn from labels in the order in which they were asked for, or as they come.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the grid and the oracle calls it will cost.")]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Run one part of the grid, see `merge`; 'slurm': of a job array."),
]


def register(app: typer.Typer) -> None:
    """Add the verb ``run``."""
    app.command()(run)


def run(
    config: ConfigArgument = None,
    model: ModelOption = None,
    model_arg: ModelArgumentOption = None,
    optimizer: OptimizerOption = None,
    selection: SelectionOption = None,
    oracle: OracleOption = None,
    oracle_arg: OracleArgumentOption = None,
    seed: SeedOption = None,
    reference: ReferenceOption = None,
    dataset: DatasetOption = None,
    budget: BudgetOption = None,
    evaluate_at: PointsOption = None,
    initial_labels: InitialOption = None,
    limit: LimitOption = None,
    surrogate: SurrogateOption = None,
    delta: DeltaOption = None,
    learner: LearnerOption = None,
    explorer: ExplorerOption = None,
    checkpoint: CheckpointOption = None,
    checkpoint_format: FormatOption = None,
    unsafe: UnsafeOption = False,
    executor: ExecutorOption = None,
    executor_arg: ExecutorArgumentOption = None,
    workers: WorkersOption = None,
    cache: CacheOption = None,
    deterministic: OrderOption = None,
    logger: LoggerOption = None,
    device: DeviceOption = None,
    dtype: TypeOption = None,
    output: OutputOption = None,
    shard: ShardOption = None,
    dry_run: DryRunOption = False,
    wide: WideOption = False,
    json: JsonOption = False,
) -> None:
    """Train by GOLF and judge as a minimizer, for each combination of the grid.

    Repeat an option to make a grid. Interrupted anywhere, the same command resumes.
    """
    from golfbench.runs.config import load_config
    from golfbench.runs.defaults import suited
    from golfbench.runs.grid import check_names
    from golfbench.runs.shards import Shard

    settings = load_config(
        config,
        {
            "models": with_arguments("model", model, model_arg),
            "optimizers": optimizer,
            "selections": selection,
            "oracles": with_arguments("oracle", oracle, oracle_arg),
            "seeds": seed,
            "references": reference,
            "dataset": dataset,
            "budget": budget,
            "evaluate_at": _labels(evaluate_at),
            "initial_labels": initial_labels,
            "limit": limit,
            "surrogate": surrogate,
            "delta": delta,
            "learner": learner,
            "checkpoint": checkpoint,
            "checkpoint_format": checkpoint_format,
            "executor": executor_of(executor, executor_arg),
            "workers": workers,
            "cache": cache,
            "loggers": logger,
            "golf": {
                name: value
                for name, value in (("deterministic", deterministic), ("explorer", explorer))
                if value is not None
            },
            "device": device,
            "dtype": dtype,
        },
    )
    check_names(settings)
    filled = suited(settings)
    settings = filled.config
    for sentence in filled.told:
        console.note(sentence)
    part = Shard.parse(shard) if shard else None
    if dry_run:
        show_plan(settings, json, part, unsafe)
        return
    execute(settings, output or Path("runs"), json, wide, unsafe, part)


def _labels(text: str | None) -> list[int] | None:
    """Read ``0,16,32``.

    Raises:
        ConfigurationError: If it is something else.
    """
    from golfbench.errors import ConfigurationError

    if text is None:
        return None
    numbers = [item.strip() for item in text.split(",")]
    if not all(item.isdecimal() for item in numbers):
        raise ConfigurationError(f"--evaluate-at: numbers of labels with commas between are expected, not '{text}'")
    return [int(item) for item in numbers]


def executor_of(name: str | None, arguments: list[str] | None) -> str | None:
    """Return the executor with its arguments, as a configuration has it."""
    named = with_arguments("executor", None if name is None else [name], arguments)
    return named[0] if named else None


def execute(
    settings: RunConfig, output: Path, json: bool, wide: bool, unsafe: bool = False, shard: Shard | None = None
) -> None:
    """Run or resume a grid, and print its rows.

    Raises:
        typer.Exit: With 1 if some molecule could not be judged.
    """
    from golfbench.cli.report import print_rows
    from golfbench.runs.baseline import Permission
    from golfbench.runs.runner import run as run_grid
    from golfbench.runs.shards import locate

    ends = _ends_of(settings)
    directory, _ = locate(settings, output / settings.run_id(), shard)
    session.resumes = True
    console.saved(f"results in {directory.path}")
    with console.Progress() as progress:
        content = run_grid(settings, output, sys.argv[1:], progress, Permission(unsafe, console.note), shard, ends)
    if json:
        console.print_json(content)
    else:
        print_rows(directory, "table", wide)
    raise typer.Exit(_failed(content))


def _ends_of(settings: RunConfig) -> dict[str, GivenEnds]:
    """Return the end points of the files that a configuration names, and print the warnings about them."""
    if not settings.end_points:
        return {}
    from golfbench.molecule_files.end_points import given_ends

    found, lines = given_ends(settings)
    for line in lines:
        console.warn(line)
    return found


def _failed(content: dict[str, Any]) -> int:
    """Return 1 when some molecule of some row could not be judged."""
    lost = ("error", "skipped", "oracle_failed")
    return int(any(row["statuses"].get(status) for row in content["rows"] for status in lost))


def show_plan(settings: RunConfig, json: bool, shard: Shard | None = None, unsafe: bool = False) -> None:
    """Show what a run would do, after refusing what it would refuse."""
    from golfbench.benchmark.prepare import limited
    from golfbench.oracles.cache import LabelCache, default_path
    from golfbench.runs.examine import examine
    from golfbench.runs.grid import plan
    from golfbench.runs.hours import hours_of
    from golfbench.runs.parts import split
    from golfbench.runs.runner import open_dataset
    from golfbench.runs.shards import share_of

    _ends_of(settings)
    share = share_of(settings, Path(), shard)
    here, _ = split(settings)
    dataset = open_dataset(settings.dataset)
    for warning in examine(here, limited(dataset, settings.limit), share.oracles(settings), unsafe).warnings:
        console.warn(warning)
    planned = plan(settings, dataset, share.owns)
    hours = hours_of(settings, dataset, planned.calls_by_oracle, LabelCache(default_path()))
    if json:
        rows = [{**row.names, "seed": row.seed} for row in planned.rows]
        facts = {"schema_version": 1, "run_id": settings.run_id()}
        times = [asdict(one) for one in hours]
        console.print_json(
            {**facts, "rows": rows, "oracle_calls_at_most": planned.calls, "oracle_hours_at_most": times}
        )
        return
    columns = ("model", "optimizer", "selection", "oracle", "seed")
    budget = f", budget {settings.budget}" if settings.models else ""
    cells = [[*row.names.values(), "" if row.seed is None else row.seed] for row in planned.rows]
    console.print_table(columns, cells, title=f"{settings.dataset}{budget}")
    counts = ", ".join(f"{purpose} {count}" for purpose, count in planned.calls.items())
    console.note(f"oracle calls at most: {counts}")
    for one in hours:
        console.note(one.sentence)
