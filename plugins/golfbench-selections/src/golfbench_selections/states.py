"""What all selections share."""

from __future__ import annotations

import math

import numpy as np

from golfbench.contracts import State


def is_finite(state: State) -> bool:
    """Return whether energy and positions of a state are finite: other states are never labelled."""
    return math.isfinite(state.energy) and bool(np.isfinite(state.positions).all())
