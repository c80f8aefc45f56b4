"""What the models of a grid start from: weights that are given, shipped, known by name, or trained here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from golfbench.contracts import Dataset
from golfbench.learning import checkpoint
from golfbench.learning.opening import is_oracle, matches
from golfbench.learning.weights import ModelChoice, Weights, choices, usual_weights
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.specs import ComponentRef, LearnerSpec, ModelSpec


def is_trainable(model: ComponentRef) -> bool:
    """Return whether a model of the grid is trained; oracles and fixed models are not."""
    return not is_oracle(model) and registry().find(ModelSpec, model).trainable


def trained_choices(config: RunConfig) -> list[ModelChoice]:
    """Return the trainable models of a grid, each with what it starts from."""
    return choices(filter(is_trainable, config.models), config.checkpoint, config.checkpoint_format)


def start_of(choice: ModelChoice, dataset: Dataset, config: RunConfig) -> ModelChoice:
    """Return what a model starts from, with the file or the named weights that ``auto`` stands for, if any.

    Args:
        choice: What the user wrote.
        dataset: With the baselines that are at the run's level of theory (see ``shipping``).
        config: Of the run.
    """
    if choice.weights.kind != "auto":
        return choice
    members = registry().find(LearnerSpec, config.learner).members(config.learner.parameters)
    if path := shipped_baseline(dataset, choice.ref, config.delta, members):
        return replace(choice, weights=Weights("file", path))
    if named := usual_weights(registry().find(ModelSpec, choice.ref.name)):
        return replace(choice, weights=Weights("named", named=named))
    return choice


def shipping(dataset: Dataset, method: str) -> Dataset:
    """Return a dataset without the baselines that ship with it, where they are at another level of theory."""
    return dataset if method == dataset.method else replace(dataset, checkpoints={})


def shipped_baseline(dataset: Dataset, model: ComponentRef, delta: str | None, members: int) -> Path | None:
    """Return the dataset's own checkpoint of that model, delta and number of networks, if it has one."""
    for name in sorted(dataset.checkpoints):
        path = Path(dataset.checkpoints[name])
        header = checkpoint.load(path)[1]
        if matches(header, model, delta, dataset.method) and header.get("members", 1) == members:
            return path
    return None


def initial_labels(config: RunConfig, start: ModelChoice) -> int | None:
    """Return how many labels of the initial set a model learns from; ``None`` for all of them.

    Args:
        config: The run's.
        start: See ``start_of``.
    """
    if config.initial_labels is not None:
        return config.initial_labels
    return 0 if start.weights.made_elsewhere else None


def most_initial_labels(config: RunConfig, dataset: Dataset, method: str) -> int | None:
    """Return how many labels of the initial set the models of a run need; ``None`` for all of them.

    Args:
        config: The run's.
        dataset: As it was read.
        method: The run's level of theory.
    """
    found = shipping(dataset, method)
    counts = [initial_labels(config, start_of(choice, found, config)) for choice in trained_choices(config)]
    return None if None in counts else max((count for count in counts if count is not None), default=0)
