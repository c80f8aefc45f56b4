"""What was fetched to this machine: named weights, one checkpoint of this suite for each set, and files of datasets.

Runs read these and never the network. Lists of components look here, so nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from golfbench.errors import ComponentMissingError
from golfbench.specs import DataFile, ModelSpec, NamedWeights

#: Folders of the store; by default those in the user's data folder.
VARIABLE, DATA_VARIABLE = "GOLFBENCH_WEIGHTS", "GOLFBENCH_DATA"
#: Digits of the source file's SHA-256 in the name of the checkpoint made of it.
DIGITS = 12


def folder() -> Path:
    """Return the folder of the weights."""
    return _folder(VARIABLE, "weights")


def data_folder() -> Path:
    """Return the folder of the datasets."""
    return _folder(DATA_VARIABLE, "datasets")


def _folder(variable: str, name: str) -> Path:
    if given := os.environ.get(variable):
        return Path(given).absolute()
    from platformdirs import user_data_path

    return user_data_path("golfbench") / name


def place(spec: ModelSpec, weights: NamedWeights, sha256: str) -> Path:
    """Return the path of the checkpoint that is made of the file with that hash."""
    return folder() / spec.name / f"{weights.name}-{sha256[:DIGITS]}.safetensors"


def stored(spec: ModelSpec, weights: NamedWeights) -> Path | None:
    """Return the checkpoint of a set of weights, if the store has it."""
    if weights.sha256:
        path = place(spec, weights, weights.sha256)
        return path if path.is_file() else None
    return next(iter(sorted((folder() / spec.name).glob(f"{weights.name}-{'[0-9a-f]' * DIGITS}.safetensors"))), None)


def fetch_command(spec: ModelSpec, weights: NamedWeights) -> str:
    """Return the command that fetches a set of weights."""
    first = weights == spec.weights[0]
    return f"golfbench models fetch {spec.name}{'' if first else f':weights={weights.name}'}"


def required(spec: ModelSpec, weights: NamedWeights) -> Path:
    """Return the checkpoint of a set of weights.

    Raises:
        ComponentMissingError: With the command that brings it.
    """
    if path := stored(spec, weights):
        return path
    raise ComponentMissingError(
        f"weights '{weights.name}' of model '{spec.name}' are not on this machine: {fetch_command(spec, weights)}"
    )


def named(spec: ModelSpec, name: str | None) -> NamedWeights | None:
    """Return a model's weights by name, or for ``None`` the first."""
    return next((weights for weights in spec.weights if name in (None, weights.name)), None)


def data_place(dataset: str, file: DataFile) -> Path:
    """Return the path of a file of a dataset."""
    return data_folder() / dataset / file.name


def required_data(dataset: str, files: Sequence[DataFile], folder: Path | None = None) -> list[Path]:
    """Return the files of a dataset.

    Args:
        dataset: Its name.
        files: Those that are needed.
        folder: Where they lie, if not in the store.

    Raises:
        ComponentMissingError: If one is not there, with the command that brings what is missing.
    """
    paths = [folder / file.name if folder else data_place(dataset, file) for file in files]
    if missing := [file for file, path in zip(files, paths, strict=True) if not path.is_file()]:
        names = ", ".join(file.name for file in missing)
        splits = " ".join(f"--split {file.split}" for file in missing)
        where = f"in {folder}" if folder else "on this machine"
        raise ComponentMissingError(
            f"dataset '{dataset}': not {where}: {names}; golfbench datasets fetch {dataset} {splits}"
        )
    return paths
