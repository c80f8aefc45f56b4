"""``golfbench train``: a baseline on the initial set of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfbench.cli import console
from golfbench.cli.options import DatasetOption, DeviceOption, LoggerOption, TypeOption, complete
from golfbench.cli.run import DeltaOption, LearnerOption
from golfbench.cli.streams import session

TrainModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", autocompletion=complete("model"), help="What to train."),
]
UpdatesOption = Annotated[int | None, typer.Option("--updates", min=1, help="Updates.")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", min=1, help="Molecules per update.")]
RateOption = Annotated[float | None, typer.Option("--learning-rate", help="Adam's, at the start of its cosine decay.")]
TrainSeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the weights and of the batches.")]
FileOption = Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the verb ``train``."""
    app.command()(train)


def train(
    output: FileOption,
    model: TrainModelOption = None,
    dataset: DatasetOption = None,
    updates: UpdatesOption = None,
    batch_size: BatchOption = None,
    learning_rate: RateOption = None,
    delta: DeltaOption = None,
    learner: LearnerOption = None,
    seed: TrainSeedOption = 0,
    logger: LoggerOption = None,
    device: DeviceOption = None,
    dtype: TypeOption = None,
) -> None:
    """Train a baseline on a dataset's initial set and write it as a checkpoint.

    Interrupted anywhere, the same command resumes.
    """
    from golfbench.learning.opening import open_base
    from golfbench.learning.targets import InitialSet
    from golfbench.runs.baseline import Recipe, train_baseline
    from golfbench.runs.config import load_config
    from golfbench.runs.grid import check_names
    from golfbench.runs.loggers import Loggers
    from golfbench.runs.runner import open_dataset

    wanted = {"updates": updates, "batch_size": batch_size, "learning_rate": learning_rate}
    given = {key: value for key, value in wanted.items() if value is not None}
    config = load_config(
        None,
        {
            "models": [model] if model else None,
            "dataset": dataset,
            "delta": delta,
            "learner": learner,
            "loggers": logger,
            "baseline": given or None,
            "device": device,
            "dtype": dtype,
        },
    )
    check_names(config)
    data = open_dataset(config.dataset)
    loggers = Loggers(config.loggers, output.parent, output.stem, console.note)
    session.resumes = True
    with console.Progress() as progress, loggers.log(output.stem) as log:
        initial = InitialSet.of(data.initial, [open_base(delta)] if delta else [], data.atom_energies)
        recipe = Recipe(config.models[0], delta, config.baseline, config.learner, seed, config.device, config.dtype)
        train_baseline(data, initial, recipe, output, progress, log)
    console.saved(f"checkpoint written to {output}")
