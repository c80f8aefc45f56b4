"""Baselines: where a model starts before GOLF. Shipped with the dataset, given as a file, or trained here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from golfbench.benchmark.prepare import Report
from golfbench.contracts import Dataset
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.golf import checkpoint
from golfbench.golf.checkpoint import prefixed, unprefixed
from golfbench.golf.foreign import ForeignFile, import_foreign, open_foreign
from golfbench.golf.models import (
    check_matches,
    load_potential,
    load_weights,
    matches,
    new_network,
    open_delta,
    potential_header,
    save_potential,
)
from golfbench.golf.samples import TrainingSet, fit_references
from golfbench.golf.trainer import Trainer
from golfbench.loggers import NO_LOG, Log
from golfbench.molecules import check_elements
from golfbench.potential import Potential
from golfbench.registry import registry
from golfbench.runs.config import Baseline, RunConfig
from golfbench.runs.directory import held, slug
from golfbench.runs.grid import is_trainable
from golfbench.specs import ComponentRef, ModelSpec

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
class Start:
    """What a model starts from.

    Attributes:
        path: The checkpoint.
        seed: The seed that it was drawn with; ``None`` for one that was there before the run: all seeds share it.
        updates: Updates that were done for it just now.
        wall_s: Wall time that they took.
    """

    path: Path
    seed: int | None
    updates: int = 0
    wall_s: float = 0.0


#: Updates between two checkpoints of a baseline training.
CHECKPOINT_EVERY = 500


def baseline_path(
    config: RunConfig,
    dataset: Dataset,
    model: ComponentRef,
    seed: int,
    directory: Path,
    report: Report,
    permission: Permission,
    log: Log = NO_LOG,
) -> Start:
    """Return what a model starts from, trained here if need be."""
    if file := foreign_file(config, permission.unsafe):
        path = directory / slug(f"{model}|{file.format}|delta={config.delta}|{dataset.method}") / "imported.safetensors"
        if not path.exists():
            permission.tell(import_foreign(file, model, dataset.initial, dataset.method, config.delta, path))
        return Start(path, None)
    if config.checkpoint not in ("auto", "none"):
        return Start(Path(config.checkpoint), None)
    if config.checkpoint == "auto" and (shipped := shipped_baseline(dataset, model, config.delta)):
        return Start(shipped, None)
    path = directory / slug(f"{model}|delta={config.delta}|{dataset.method}|seed={seed}") / "baseline.safetensors"
    if path.exists():
        return Start(path, seed)
    timed = train_baseline(
        dataset, model, config.delta, config.baseline, seed, path, report, config.device, config.dtype, log
    )
    return Start(path, seed, *timed)


def foreign_file(config: RunConfig, unsafe: bool) -> ForeignFile | None:
    """Return the file made elsewhere that a run starts from, if there is one."""
    if not config.checkpoint_format:
        return None
    return ForeignFile(Path(config.checkpoint), config.checkpoint_format, unsafe)


def check_checkpoint(config: RunConfig, dataset: Dataset, method: str, unsafe: bool) -> None:
    """Refuse a given checkpoint that cannot be used, before anything is computed.

    Raises:
        CheckpointError: If the file is missing or damaged, or of another model, delta or level of theory.
        MoleculeError: If a molecule has an element that it has no reference energy for.
    """
    path = Path(config.checkpoint)
    if file := foreign_file(config, unsafe):
        for model in filter(is_trainable, config.models):
            header = open_foreign(file, ComponentRef.parse(model))[1]
            spec = registry().find(ModelSpec, header["model"])
            _check_elements(dataset, spec.supported_elements(header["parameters"]), path)
        return
    if config.checkpoint in ("auto", "none"):
        return
    for model in filter(is_trainable, config.models):
        check_matches(path, checkpoint.load(path)[1], ComponentRef.parse(model), config.delta, method)
        _check_elements(dataset, load_potential(path)[0].elements, path)


def _check_elements(dataset: Dataset, elements: frozenset[int] | None, path: Path) -> None:
    for molecule in [*(item.molecule for item in dataset.initial), *(item.molecule for item in dataset.test)]:
        check_elements(molecule, elements, f"checkpoint {path}")


def shipped_baseline(dataset: Dataset, model: ComponentRef, delta: str | None) -> Path | None:
    """Return the dataset's own checkpoint of that model and delta, if it has one."""
    for name in sorted(dataset.checkpoints):
        path = Path(dataset.checkpoints[name])
        if matches(checkpoint.load(path)[1], model, delta, dataset.method):
            return path
    return None


def train_baseline(
    dataset: Dataset,
    model: ComponentRef,
    delta: str | None,
    settings: Baseline,
    seed: int,
    path: Path,
    report: Report,
    device: str = "cpu",
    dtype: str = "float32",
    log: Log = NO_LOG,
) -> tuple[int, float]:
    """Train a model on a dataset's initial set and write its checkpoint.

    Interrupted, it continues from the last ``CHECKPOINT_EVERY`` updates when it is called again.

    Args:
        dataset: Its initial set is learned.
        model: What to train.
        delta: A fixed model to add, or ``None``.
        settings: Updates and hyper-parameters.
        seed: Root seed.
        path: The checkpoint to write; ``.training`` and ``.training-before`` beside it hold the state meanwhile.
        report: Shows progress.
        device: Where the network lives.
        dtype: Type of its parameters.
        log: Told how the training goes.

    Returns:
        The updates done here, and the wall time that they took, s.

    Raises:
        ConfigurationError: If ``path`` already exists, another process is writing it, or the state beside it is of
            another training.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if path.exists():
        raise ConfigurationError(f"{path} exists already: remove it to train anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    with held(path, lock):
        fixed = open_delta(delta)
        references, scale = fit_references(dataset.initial, dict(dataset.atom_energies), fixed)
        network = new_network(model, seed).to(device, TORCH_TYPES[dtype])
        potential = Potential(network, references, scale, fixed)
        total = settings.for_labels(len(dataset.initial))
        samples = TrainingSet(potential, dataset.initial)
        trainer = Trainer(potential, samples, settings, total, seed, "baseline", log=log)
        facts = potential_header(model, potential, delta, dataset.method)
        facts["training"] = _training(dataset, model, delta, settings, seed)
        _train_on(trainer, facts, path, lambda update: report(f"baseline training: {model}", update, total))
        save_potential(path, potential, facts)
        for state in _states(path):
            state.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)
    return trainer.timed_updates, trainer.timed_s


def _states(path: Path) -> list[Path]:
    """Return where the state of a training is kept, and where the one before is."""
    return [path.with_name(f"{path.stem}.{name}.safetensors") for name in ("training", "training-before")]


def _train_on(trainer: Trainer, facts: dict[str, Any], path: Path, advance: Callable[[int], None]) -> None:
    """Train from the newest sound state to the end, and keep the state now and then."""
    newest, before = _states(path)
    if found := _newest_state((newest, before), facts):
        tensors, header = found
        load_weights(trainer.potential.network, unprefixed("network", tensors), path.name)
        trainer.restore(tensors, header["update"])
    while trainer.update < trainer.total_updates:
        count = min(CHECKPOINT_EVERY, trainer.total_updates - trainer.update)
        trainer.run(count, lambda update, loss: advance(update))
        tensors = trainer.tensors() | prefixed("network", trainer.potential.network.state_dict())
        if newest.exists():
            newest.replace(before)
        checkpoint.save(newest, tensors, {"update": trainer.update, "of": facts})


def _newest_state(states: Sequence[Path], facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the first state of a training that is sound, or ``None``: then it begins anew."""
    for state in filter(Path.exists, states):
        try:
            tensors, header = checkpoint.load(state)
        except CheckpointError as error:
            log.warning("%s; trying the one before", error)
            continue
        if header.get("of") != facts:
            raise ConfigurationError(f"{state} is the state of another training: remove it, or write to another file")
        return tensors, header
    return None


def _training(
    dataset: Dataset, model: ComponentRef, delta: str | None, settings: Baseline, seed: int
) -> dict[str, Any]:
    """Return what a checkpoint says of its own making, with the command that repeats it."""
    options = {
        "model": str(model),
        "dataset": dataset.name,
        "delta": delta,
        "updates": settings.for_labels(len(dataset.initial)),
        "batch-size": settings.batch_size,
        "learning-rate": settings.learning_rate,
        "seed": seed,
    }
    words = [f"--{name} {value}" for name, value in options.items() if value is not None]
    return {
        "command": " ".join(["golfbench train", *words]),
        "dataset": dataset.name,
        "dataset_sha256": dataset.content_hash,
        "initial_labels": len(dataset.initial),
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }
