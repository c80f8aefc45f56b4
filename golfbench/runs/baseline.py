"""Baselines: where a model starts before the loop. Shipped with the dataset, given as a file, or trained here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols

from golfbench.benchmark.prepare import Report
from golfbench.contracts import Dataset
from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.fitting import beside, fit_to_the_end
from golfbench.learning.headers import header_of
from golfbench.learning.learner import Task
from golfbench.learning.opening import (
    check_matches,
    new_potential,
    potential_header,
    rebuilt,
    save_potential,
)
from golfbench.learning.pool import Pool
from golfbench.learning.targets import InitialSet
from golfbench.loggers import NO_LOG, Log
from golfbench.molecules import check_elements
from golfbench.oracles.as_model import OracleModel
from golfbench.registry import registry
from golfbench.runs.config import Baseline, RunConfig
from golfbench.runs.directory import locked
from golfbench.runs.starts import shipping, start_of, trained_choices
from golfbench.specs import ComponentRef, LearnerSpec, ModelSpec
from golfbench.training_sets import sample

log = logging.getLogger(__name__)

#: Types of parameters by the name that the user gives.
TORCH_TYPES = {"float32": torch.float32, "float64": torch.float64}
#: Molecules that are named in a sentence.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Permission:
    """What the user allows, and how a message is shown.

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


def check_weights(config: RunConfig, dataset: Dataset, method: str, unsafe: bool) -> list[str]:
    """Refuse given weights that cannot be used, before anything is computed.

    Returns:
        A sentence for each set of weights that has not learned an element of the test molecules.

    Raises:
        CheckpointError: If a file is missing or damaged, or of another model, delta or level of theory.
        ComponentMissingError: If named weights are not in the store.
        MoleculeError: If a molecule has an element that the model cannot represent.
    """
    unlearned = []
    for choice in trained_choices(config):
        start = start_of(choice, shipping(dataset, method), config)
        if start.weights.made_elsewhere:
            potential, header = start.open(unsafe)
            spec = registry().find(ModelSpec, header["model"])
            owner = start.weights.owner
            _check_elements(dataset, spec.supported_elements(header["parameters"]), owner)
            _check_learner(config, len(potential.networks), owner)
            unlearned += _unlearned(dataset, potential.elements, owner)
        elif path := choice.weights.path:
            tensors, read = checkpoint.load(path)
            check_matches(path, read, choice.ref, config.delta, method)
            header = header_of(path, read)
            potential = rebuilt(path, tensors, header, open_named=lambda name: OracleModel(lambda molecules: []))
            _check_elements(dataset, potential.elements, f"checkpoint {path}")
    return unlearned


def _check_learner(config: RunConfig, networks: int, owner: str) -> None:
    trains = registry().find(LearnerSpec, config.learner).members(config.learner.parameters)
    if networks > 1 and trains == 1 and config.budget:
        raise ConfigurationError(
            f"{owner} are {networks} networks, and the learner '{config.learner}' trains one: give --learner committee"
        )


def _check_elements(dataset: Dataset, elements: frozenset[int] | None, owner: str) -> None:
    trained = [item.molecule for item in sample(dataset.initial)]
    for molecule in [*trained, *(item.molecule for item in dataset.test)]:
        check_elements(molecule, elements, owner)


def _unlearned(dataset: Dataset, elements: frozenset[int], owner: str) -> list[str]:
    """Report the elements of test molecules that weights have not learned, if there are any."""
    molecules = [item.molecule for item in dataset.test]
    strange = {z for molecule in molecules for z in map(int, molecule.numbers)} - elements
    if not strange:
        return []
    holders = [molecule.id for molecule in molecules if strange & set(map(int, molecule.numbers))]
    symbols = " ".join(chemical_symbols[z] for z in sorted(strange))
    more = ["..."] if len(holders) > _NAMED else []
    which = f"{len(holders)} of {len(molecules)} test molecules hold ({', '.join(holders[:_NAMED] + more)})"
    return [f"{owner} have not learned {symbols}, which {which}: only labels that hold it teach it"]


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
        raise ConfigurationError(f"{path} exists already: remove it to train again")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    with locked(path, lock):
        potential = new_potential(
            recipe.model, recipe.seed, recipe.members, initial.references, initial.scale, initial.bases
        )
        for network in potential.networks:
            network.to(recipe.device, TORCH_TYPES[recipe.dtype])
        total = recipe.settings.for_labels(len(initial.rows))
        spec = registry().find(LearnerSpec, recipe.learner.name)
        task = Task(potential, recipe.settings, total, recipe.seed, "baseline", log)
        learner = spec.open(recipe.learner.parameters, task)
        facts = potential_header(recipe.model, potential, recipe.delta, dataset.method)
        facts["training"] = _training(dataset, recipe, len(initial.rows))
        name = f"baseline training: {recipe.model}, seed {recipe.seed}"
        snapshots = beside(path)
        fit_to_the_end(
            learner, Pool(potential, initial.rows), total, snapshots, facts, lambda update: report(name, update, total)
        )
        save_potential(path, potential, facts)
        snapshots.clear()
    lock.unlink(missing_ok=True)
    return learner.timed_updates, learner.timed_s


def _training(dataset: Dataset, recipe: Recipe, labels: int) -> dict[str, Any]:
    """Return how a checkpoint was made, as its header says it, with the command that repeats it."""
    settings = recipe.settings
    learner = str(recipe.learner)
    options: Mapping[str, Any] = {
        "model": str(recipe.model),
        "dataset": dataset.name,
        "delta": recipe.delta,
        "learner": None if learner == "single" else learner,
        "initial-labels": labels if labels < len(dataset.initial) else None,
        "updates": settings.for_labels(labels),
        "batch-size": settings.batch_size,
        "learning-rate": settings.learning_rate,
        "seed": recipe.seed,
    }
    words = [f"--{name} {value}" for name, value in options.items() if value is not None]
    return {
        "command": " ".join(["golfbench train", *words]),
        "dataset": dataset.name,
        "dataset_sha256": dataset.content_hash,
        "initial_labels": labels,
        "settings": settings.model_dump(mode="json"),
        "seed": recipe.seed,
    }
