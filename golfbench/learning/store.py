"""Named weights on this machine: a folder with one checkpoint of this suite for each set. Runs read nothing else.

Listing asks here what is there, so nothing here imports torch.
"""

from __future__ import annotations

import os
from pathlib import Path

from golfbench.errors import ComponentMissingError
from golfbench.specs import ModelSpec, NamedWeights

#: Folder of the store; by default one of the user's data folder.
VARIABLE = "GOLFBENCH_WEIGHTS"
#: Digits of the source file's SHA-256 in the name of what was made of it.
DIGITS = 12


def folder() -> Path:
    """Return the folder of the store."""
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()
    from platformdirs import user_data_path

    return user_data_path("golfbench") / "weights"


def place(spec: ModelSpec, weights: NamedWeights, sha256: str) -> Path:
    """Return where the checkpoint lies that is made of the file with that hash."""
    return folder() / spec.name / f"{weights.name}-{sha256[:DIGITS]}.safetensors"


def stored(spec: ModelSpec, weights: NamedWeights) -> Path | None:
    """Return the checkpoint of a set of weights, if the store has it."""
    if weights.sha256:
        path = place(spec, weights, weights.sha256)
        return path if path.is_file() else None
    return next(iter(sorted((folder() / spec.name).glob(f"{weights.name}-{'[0-9a-f]' * DIGITS}.safetensors"))), None)


def fetch_command(spec: ModelSpec, weights: NamedWeights) -> str:
    """Return the command that brings a set of weights."""
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
