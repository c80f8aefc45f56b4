"""Statistics of entries: a paired bootstrap over compounds and seeds, intervals, and ranks that ties share.

**Resampling.** Conformers of one compound are not independent, so whole compounds are drawn. All entries of a track
see the same draws of compounds (that is what pairs them), each entry draws from its own seeds. Of n things n - 1 are
drawn with replacement, which makes the variance of a resampled mean the unbiased s²/n (Rao and Wu 1988, J. Am. Stat.
Assoc. 83, 231); drawing n would make it too small by (n - 1)/n, a half for two seeds. With one seed the spread over
seeds is not known and not in the interval.

**Intervals** are the central 95 % of the resampled values. A share of 0 or 100 % is the same in every resample, which
says little: there the other end of the interval is that of Clopper and Pearson (1934), 1 - 0.025^(1/n) away for n
compounds.

Two entries are **separable** when the interval of their paired difference does not contain zero.

**Ranks.** The best value gets rank 1, and so does every entry that is not separable from it. Of those that are left
the best gets the next place (1 + entries placed so far), with every one that is not separable from it, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from golfbench.contracts import FloatArray
from golfbench.seeds import derived

RESAMPLES = 10_000
CONFIDENCE = 0.95
#: Root of all draws: a table is the same each time that it is made.
SEED = 20240507
#: Resamples that are drawn and multiplied at once: bounds the memory for thousands of compounds.
CHUNK = 1000

CountArray = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Quotient:
    """A number as a quotient of two sums over compounds, for each seed.

    Attributes:
        numerators: (n_seeds, n_groups).
        denominators: (n_seeds, n_groups), zero where a compound has no value.
        scale: What the quotient is multiplied by.
        share: Whether it is a share of the molecules: between 0 and ``scale``.
    """

    numerators: FloatArray
    denominators: FloatArray
    scale: float = 1.0
    share: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: Mean over the seeds that have the number; ``None`` if none has.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None


def draw_counts(count: int, resamples: int, *axes: str | int) -> CountArray:
    """Return how often each of ``count`` things is drawn, (resamples, count): n - 1 draws with replacement.

    Only the raw integers of the generator are used: they stay the same from one version of NumPy to the next.

    Args:
        count: Things to draw from; of one thing, one is drawn.
        resamples: How often.
        axes: What is drawn for, as in ``seeds.derived``.
    """
    generator = derived(SEED, *axes).bit_generator
    sizes = [min(CHUNK, resamples - at) for at in range(0, resamples, CHUNK)]
    return np.concatenate([_drawn(generator.random_raw(size * max(count - 1, 1)), size, count) for size in sizes])


def _drawn(words: npt.NDArray[np.uint64], size: int, count: int) -> CountArray:
    places = ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53 * count).astype(np.int64).reshape(size, -1)
    places += count * np.arange(size)[:, None]
    return np.bincount(places.ravel(), minlength=size * count).reshape(size, count).astype(np.int16)


def value_of(quotient: Quotient) -> float | None:
    """Return the mean over seeds of the quotients of a sample as it is."""
    groups = np.ones((1, quotient.numerators.shape[1]), dtype=np.int16)
    seeds = np.ones((1, len(quotient.numerators)), dtype=np.int16)
    value = float(resampled_values(quotient, groups, seeds)[0])
    return None if np.isnan(value) else value


def resampled_values(quotient: Quotient, groups: CountArray, seeds: CountArray) -> FloatArray:
    """Return the mean over seeds of the quotients, for each resample.

    Args:
        quotient: The number.
        groups: (resamples, n_groups) from ``draw_counts``; the same for all entries that are compared.
        seeds: (resamples, n_seeds) from ``draw_counts``.

    Returns:
        (resamples,); NaN where no seed has the number in that resample.
    """
    chunks = [slice(at, at + CHUNK) for at in range(0, len(groups), CHUNK)]
    return np.concatenate([_values(quotient, groups[chunk], seeds[chunk]) for chunk in chunks])


def _values(quotient: Quotient, groups: CountArray, seeds: CountArray) -> FloatArray:
    weights = groups.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_seeds = (weights @ quotient.numerators.T) / (weights @ quotient.denominators.T)
        present = np.where(np.isfinite(of_seeds), seeds, 0)
        sums = np.where(present > 0, of_seeds, 0.0) * present
        values: FloatArray = quotient.scale * sums.sum(axis=1) / present.sum(axis=1)
    return values


def interval(values: FloatArray) -> tuple[float, float] | None:
    """Return the central 95 % of resampled values; ``None`` if none of them is a number."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def estimate(quotient: Quotient, values: FloatArray) -> Estimate:
    """Return a number with its interval."""
    value, ends = value_of(quotient), interval(values)
    if value is None or ends is None:
        return Estimate(value, None, None)
    low, high = ends
    if quotient.share and value in (0.0, quotient.scale):
        compounds = int((quotient.denominators > 0).any(axis=0).sum())
        width = quotient.scale * (1.0 - ((1.0 - CONFIDENCE) / 2) ** (1.0 / compounds))
        low, high = (0.0, width) if value == 0.0 else (quotient.scale - width, quotient.scale)
    return Estimate(value, low, high)


def separable(one: FloatArray, other: FloatArray) -> bool:
    """Return whether the interval of the paired difference does not contain zero."""
    ends = interval(one - other)
    return ends is not None and (ends[0] > 0.0 or ends[1] < 0.0)


def ranks(values: Sequence[float], resampled: Sequence[FloatArray], *, lower_is_better: bool) -> list[int]:
    """Return the rank of each entry; those that are not separable from the best of what is left share its rank.

    Args:
        values: The ranked number of each entry.
        resampled: The same in each resample, paired.
        lower_is_better: Whether the smallest is the best.
    """
    sign = 1.0 if lower_is_better else -1.0
    left = sorted(range(len(values)), key=lambda k: sign * values[k])
    placed: dict[int, int] = {}
    while left:
        best, rank = left[0], len(placed) + 1
        tied = [k for k in left if k == best or not separable(resampled[k], resampled[best])]
        placed |= dict.fromkeys(tied, rank)
        left = [k for k in left if k not in placed]
    return [placed[k] for k in range(len(values))]
