"""Importing and building components of other packages, without letting them change the rest of the process.

The packages behind the models set environment variables, default types, seeds, log levels and warning filters when
they are imported or when a network is built. All workarounds are here, so that the order in which models are imported
or built never matters.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch
import torch.utils.data.dataloader as dataloader


@contextmanager
def contained() -> Iterator[None]:
    """Run a block, then restore the state of the process.

    Restored are: environment variables (mace sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, after which every
    ``torch.load`` runs code from the file), torch's default type (nequip 0.7 and later make it float64), the global
    random states of Python, NumPy and torch, the root logger's handlers and level, warning filters, and how tensors
    are printed (so3krates-torch shows more digits). Inside the block no warning is shown: the packages cause hundreds
    of deprecations.

    Inside the block the default type is float32, whatever it was before: SchNetPack cannot be built otherwise.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for keep in (_environment, _default_dtype, _random_states, _root_logger, torch._tensor_str.printoptions):
            stack.enter_context(keep())
        yield


@contextmanager
def importable() -> Iterator[None]:
    """``contained``, with the workarounds that packages of the field need to be imported under recent torch.

    * SchNetPack up to 2.1.1 imports the type variable ``T_co`` from torch's data loader, where torch 2.7 and later do
      not have it.
    * e3nn up to 0.4.4 reads its constants with ``torch.load``, and torch 2.6 and later refuse the ``slice`` in them.
    """
    with contained(), _type_variable(), torch.serialization.safe_globals([slice]):
        yield


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _random_states() -> Iterator[None]:
    numbers, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(arrays)


@contextmanager
def _root_logger() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@contextmanager
def _type_variable() -> Iterator[None]:
    if hasattr(dataloader, "T_co"):
        yield
        return
    dataloader.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del dataloader.T_co  # type: ignore[attr-defined]
