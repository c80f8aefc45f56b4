"""Snapshots of a training: the newest one that is intact, else the one before. One place for baselines and loops."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from golfbench.errors import CheckpointError
from golfbench.learning import checkpoint

log = logging.getLogger(__name__)

#: Snapshots that are kept: where one is damaged, the one before is used.
KEPT = 2


class Snapshots:
    """The snapshots of one training.

    Args:
        folder: Where they are.
        name: Beginning of their file names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def _files(self) -> list[Path]:
        """Return the files, the oldest first."""
        return sorted(self._folder.glob(f"{self._name}-*.safetensors"))

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
        """Write a snapshot and delete those that are no longer needed.

        Args:
            number: Grows from one to the next.
            tensors: What is a tensor.
            header: Everything else, JSON-able.

        Raises:
            WriteError: If it cannot be written.
        """
        checkpoint.save(self._folder / f"{self._name}-{number:07d}.safetensors", tensors, header)
        for path in self._files()[:-KEPT]:
            path.unlink(missing_ok=True)

    def newest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return tensors and header of the newest intact snapshot; ``None`` where there is none."""
        for path in reversed(self._files()):
            try:
                return checkpoint.load(path)
            except CheckpointError as error:
                log.warning("%s; trying the one before", error)
        return None

    def clear(self) -> None:
        """Remove all of them."""
        for path in self._files():
            path.unlink(missing_ok=True)

    @property
    def place(self) -> Path:
        """Where they are, for a message."""
        return self._folder / f"{self._name}-*{checkpoint.SUFFIX}"
