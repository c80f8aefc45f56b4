"""The factory: opens the pool without a trace in the state that all components of a process share."""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golfbench_parsl.pool import ParslPool


def open_pool(config: str, workers: int) -> ParslPool:
    """Return a running ``ParslPool``; see there for arguments and errors."""
    numbers = random.getstate()  # Parsl draws its ports from them
    try:
        with warnings.catch_warnings():  # what comes with Parsl adds filters
            from golfbench_parsl.pool import ParslPool
        return ParslPool(config, workers)
    finally:
        random.setstate(numbers)
