"""One root seed per run, derived per axis.

Every random decision draws from a stream that is a pure function of the root seed and the name of the decision, so
that nothing depends on the order of execution and a resumed run needs no saved generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def derived(root: int, *axes: str | int) -> np.random.Generator:
    """Return the random stream of one decision.

    Args:
        root: The run's seed.
        axes: The decision, for example ``("trajectory", 17)``.
    """
    digest = hashlib.sha256("/".join(map(str, axes)).encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence(entropy=root, spawn_key=words))


@contextmanager
def torch_seed(root: int, *axes: str | int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and restore it afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(derived(root, *axes).integers(2**63)))
        yield


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Make torch's arithmetic on the CPU give the same bits each time, with any number of threads; restored afterwards.

    By default, threads that add to one tensor (the gradient of an indexing) do so in any order. TorchScript, which MACE
    and NequIP use, only profiles at the first call and rounds differently from the second one on, so that a resumed run
    would differ from the uninterrupted one. On a GPU not every operation has a repeatable form,
    and nothing is changed.
    """
    import torch

    if device.type != "cpu":
        yield
        return
    settings: Any = torch.utils.deterministic
    before, fill = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    settings.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # costs 3 %
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = fill
