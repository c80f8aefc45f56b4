"""The import of SchNetPack, with the cures that it needs and without its side effects."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.utils.data.dataloader as dataloader


@contextmanager
def importable() -> Iterator[None]:
    """Make ``import schnetpack`` work inside the block and undo everything afterwards.

    SchNetPack up to 2.1.1 imports the type variable ``T_co`` from torch's data loader, where torch 2.7 and later do
    not have it. Its dependencies also add warning filters and a handler of the root logger.
    """
    missing = not hasattr(dataloader, "T_co")
    handlers = list(logging.root.handlers)
    if missing:
        dataloader.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.handlers[:] = handlers
        if missing:
            del dataloader.T_co  # type: ignore[attr-defined]
