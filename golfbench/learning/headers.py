"""What is written beside tensors: the header of a checkpoint, and that of a snapshot of the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, cast

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on only

from golfbench.errors import CheckpointError


class Header(TypedDict):
    """What a checkpoint needs to rebuild a potential, and where it came from.

    Attributes:
        model: Name of the model.
        parameters: All of its parameters.
        atom_energies_hartree: Reference energies by atomic number.
        scale_hartree: See ``Potential``.
        delta: The base as a person writes it, or ``None``.
        method: Level of theory; empty where weights made elsewhere do not say.
        members: Networks, where there are several.
        training: How a baseline was trained, with the command that repeats it.
        imported: Where weights that were made elsewhere came from, and under which licence.
        golf: The learning loop's own account (see ``learning.loop.LoopProgress``).
        labels: Labels that it has learned from.
    """

    model: str
    parameters: dict[str, Any]
    atom_energies_hartree: dict[str, float]
    scale_hartree: float
    delta: str | None
    method: str
    members: NotRequired[int]
    training: NotRequired[dict[str, Any]]
    imported: NotRequired[dict[str, Any]]
    golf: NotRequired[dict[str, int]]
    labels: NotRequired[int]


class LoopState(TypedDict):
    """The header of a snapshot of the learning loop.

    Attributes:
        combination: Whose it is.
        progress: See ``learning.loop.LoopProgress``.
        update: Updates of the learner.
        added: Keys of the labels that were learned from, in order.
        refused: Hashes of geometries that got no label to learn from.
        asked: What is on its way (see ``learning.stream.Stream``).
        cpu_s: What processor time was spent on so far (see ``learning.clock.Clock``).
    """

    combination: str
    progress: dict[str, int]
    update: int
    added: list[str]
    refused: list[str]
    asked: list[dict[str, Any]]
    cpu_s: NotRequired[dict[str, float]]


_HEADER = TypeAdapter(Header)


def header_of(path: Path, read: Mapping[str, Any]) -> Header:
    """Return the header of a checkpoint, proven to be one of a potential; what a newer version added stays in it.

    Args:
        path: Of the checkpoint, for a message.
        read: What was read.

    Raises:
        CheckpointError: Naming the field that is missing or of another type.
    """
    try:
        _HEADER.validate_python(read)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"checkpoint {path}: its header is damaged: {where}: {first['msg']}") from None
    return cast(Header, read)
