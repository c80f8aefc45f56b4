"""The minimum between two points of known energy and slope."""

from __future__ import annotations

import math


def cubic_minimum(values: tuple[float, float], slopes: tuple[float, float]) -> tuple[float, float]:
    """Return where the cubic with these values and slopes at 0 and 1 has its minimum, and its value there.

    Args:
        values: At 0 and 1.
        slopes: Derivatives there, in units of the value.

    Returns:
        NaN twice if it has none.
    """
    (e0, e1), (d0, d1) = values, slopes
    cubed, squared = d0 + d1 - 2 * (e1 - e0), 3 * (e1 - e0) - 2 * d0 - d1
    discriminant = squared * squared - 3 * cubed * d0
    # the form of the root that stays finite as the cubic term vanishes
    denominator = squared + math.sqrt(discriminant) if discriminant >= 0 else 0.0
    if not denominator > 0:
        return math.nan, math.nan
    t = -d0 / denominator
    return t, e0 + t * (d0 + t * (squared + t * cubed))
