"""The import of SchNetPack, with the cures that it needs and without its side effects."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.utils.data.dataloader as dataloader


@contextmanager
def importable() -> Iterator[None]:
    """Make ``import schnetpack`` work inside the block and undo everything afterwards.

    SchNetPack up to 2.1.1 imports the type variable ``T_co`` from torch's data loader, where torch 2.7 and later do
    not have it. Its dependencies also add warning filters, set the root logger to INFO and give it a handler, set
    environment variables (Lightning: ``PYTORCH_NVML_BASED_CUDA_CHECK``) and draw from ``random``.
    """
    missing = not hasattr(dataloader, "T_co")
    handlers, level = list(logging.root.handlers), logging.root.level
    environment, numbers = dict(os.environ), random.getstate()
    if missing:
        dataloader.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        random.setstate(numbers)
        if missing:
            del dataloader.T_co  # type: ignore[attr-defined]
