"""Baselines: where a model starts before the loop. Shipped with the dataset, given as a file, or trained here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from golfbench.benchmark.prepare import Report
from golfbench.contracts import Dataset
from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.fitting import beside, fit_to_the_end
from golfbench.learning.foreign import open_foreign
from golfbench.learning.learner import Task
from golfbench.learning.opening import (
    check_matches,
    load_potential,
    matches,
    new_potential,
    potential_header,
    save_potential,
)
from golfbench.learning.pool import Pool
from golfbench.learning.targets import InitialSet
from golfbench.learning.weights import ModelChoice, choices
from golfbench.loggers import NO_LOG, Log
from golfbench.molecules import check_elements
from golfbench.oracles.as_model import OracleModel
from golfbench.registry import registry
from golfbench.runs.config import Baseline, RunConfig
from golfbench.runs.directory import held
from golfbench.runs.grid import is_trainable
from golfbench.specs import ComponentRef, LearnerSpec, ModelSpec
from golfbench.training_sets import sample

log = logging.getLogger(__name__)

#: Types of parameters by the name that a person gives.
TORCH_TYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True)
class Permission:
    """What a person allows, and how a person is told something.

    Attributes:
        unsafe: Files may be read that can run code (``--unsafe``).
        tell: Shows a sentence, such as the licence of the weights that were read.
    """

    unsafe: bool = False
    tell: Callable[[str], None] = log.info


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a baseline is trained.

    Attributes:
        model: What is trained.
        delta: A fixed model to add, or ``None``.
        settings: Updates and hyper-parameters.
        learner: What trains it.
        seed: Root seed.
        device: Where the network lives.
        dtype: Type of its parameters.
    """

    model: ComponentRef
    delta: str | None
    settings: Baseline
    learner: ComponentRef
    seed: int
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def members(self) -> int:
        """Networks that the learner trains."""
        return registry().find(LearnerSpec, self.learner.name).members(self.learner.parameters)


def trained_choices(config: RunConfig) -> list[ModelChoice]:
    """Return the trainable models of a grid, each with what it starts from."""
    return choices(filter(is_trainable, config.models), config.checkpoint, config.checkpoint_format)


def check_weights(config: RunConfig, dataset: Dataset, method: str, unsafe: bool) -> None:
    """Refuse given weights that cannot be used, before anything is computed.

    Raises:
        CheckpointError: If a file is missing or damaged, or of another model, delta or level of theory.
        MoleculeError: If a molecule has an element that they have no reference energy for.
    """
    for choice in trained_choices(config):
        if file := choice.weights.foreign(unsafe):
            header = open_foreign(file, choice.ref)[1]
            spec = registry().find(ModelSpec, header["model"])
            _check_elements(dataset, spec.supported_elements(header["parameters"]), file.path)
        elif path := choice.weights.path:
            check_matches(path, checkpoint.load(path)[1], choice.ref, config.delta, method)
            potential = load_potential(path, open_named=lambda name: OracleModel(lambda molecules: []))[0]
            _check_elements(dataset, potential.elements, path)


def _check_elements(dataset: Dataset, elements: frozenset[int] | None, path: Path) -> None:
    trained = [item.molecule for item in sample(dataset.initial)]
    for molecule in [*trained, *(item.molecule for item in dataset.test)]:
        check_elements(molecule, elements, f"checkpoint {path}")


def shipped_baseline(dataset: Dataset, model: ComponentRef, delta: str | None, members: int) -> Path | None:
    """Return the dataset's own checkpoint of that model, delta and number of networks, if it has one."""
    for name in sorted(dataset.checkpoints):
        path = Path(dataset.checkpoints[name])
        header = checkpoint.load(path)[1]
        if matches(header, model, delta, dataset.method) and header.get("members", 1) == members:
            return path
    return None


def train_baseline(
    dataset: Dataset,
    initial: InitialSet,
    recipe: Recipe,
    path: Path,
    report: Report,
    log: Log = NO_LOG,
) -> tuple[int, float]:
    """Train a model on a dataset's initial set and write its checkpoint.

    Interrupted, it continues from its newest snapshot when it is called again.

    Args:
        dataset: Where the initial set is from.
        initial: What is learned.
        recipe: How.
        path: The checkpoint to write; snapshots lie beside it meanwhile.
        report: Shows progress.
        log: Told how the training goes.

    Returns:
        The updates done here, and the wall time that they took, s.

    Raises:
        ConfigurationError: If ``path`` already exists, another process is writing it, or the snapshots beside it are of
            another training.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if path.exists():
        raise ConfigurationError(f"{path} exists already: remove it to train anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    with held(path, lock):
        potential = new_potential(
            recipe.model, recipe.seed, recipe.members, initial.references, initial.scale, initial.bases
        )
        for network in potential.networks:
            network.to(recipe.device, TORCH_TYPES[recipe.dtype])
        total = recipe.settings.for_labels(len(dataset.initial))
        spec = registry().find(LearnerSpec, recipe.learner.name)
        task = Task(potential, recipe.settings, total, recipe.seed, "baseline", log)
        learner = spec.open(recipe.learner.parameters, task)
        facts = potential_header(recipe.model, potential, recipe.delta, dataset.method)
        facts["training"] = _training(dataset, recipe)
        name = f"baseline training: {recipe.model}"
        snapshots = beside(path)
        fit_to_the_end(
            learner, Pool(potential, initial.rows), total, snapshots, facts, lambda update: report(name, update, total)
        )
        save_potential(path, potential, facts)
        snapshots.clear()
    lock.unlink(missing_ok=True)
    return learner.timed_updates, learner.timed_s


def _training(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """Return what a checkpoint says of its own making, with the command that repeats it."""
    settings = recipe.settings
    learner = str(recipe.learner)
    options: Mapping[str, Any] = {
        "model": str(recipe.model),
        "dataset": dataset.name,
        "delta": recipe.delta,
        "learner": None if learner == "single" else learner,
        "updates": settings.for_labels(len(dataset.initial)),
        "batch-size": settings.batch_size,
        "learning-rate": settings.learning_rate,
        "seed": recipe.seed,
    }
    words = [f"--{name} {value}" for name, value in options.items() if value is not None]
    return {
        "command": " ".join(["golfbench train", *words]),
        "dataset": dataset.name,
        "dataset_sha256": dataset.content_hash,
        "initial_labels": len(dataset.initial),
        "settings": settings.model_dump(mode="json"),
        "seed": recipe.seed,
    }
