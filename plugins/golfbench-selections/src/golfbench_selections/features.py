"""Statistics of features: what a Gaussian of them, or a Gaussian process on them, says of others."""

from __future__ import annotations

import numpy as np

from golfbench.contracts import FloatArray

#: Share of the identity in a covariance at the least: features that are always zero would make it singular.
LEAST_SHRINKAGE = 1e-6


def shrunk_covariance(rows: FloatArray, size: int) -> FloatArray:
    """Return the covariance of rows, shrunk towards a multiple of the identity: (size, size).

    Ledoit and Wolf, J. Multivar. Anal. 88, 365 (2004): the share of the identity that makes the expected squared error
    least. The identity itself, where rows do not differ or there is none.

    Args:
        rows: (n, size).
        size: Number of features.
    """
    identity: FloatArray = np.eye(size)
    if not len(rows):
        return identity
    off = rows - rows.mean(axis=0)
    covariance: FloatArray = off.T @ off / len(off)
    mean = covariance.trace() / size
    if mean <= 0:
        return identity
    spread = np.square(covariance - mean * identity).sum()
    noise = (np.square(np.square(off).sum(axis=1)).sum() / len(off) - np.square(covariance).sum()) / len(off)
    share = min(1.0, max(noise / spread, LEAST_SHRINKAGE)) if spread > 0 else 1.0
    shrunk: FloatArray = share * mean * identity + (1 - share) * covariance
    return shrunk


def greedy_variances(offered: FloatArray, learned: FloatArray, noise: float, count: int) -> list[int]:
    """Return rows by what a Gaussian process with a linear kernel knows least of, one after the other.

    Each pick counts as known before the next one. The process is represented by its weights, so that time grows with
    the number of rows, and not with its cube.

    Args:
        offered: (n, size), what is chosen from.
        learned: (m, size), what is known.
        noise: Variance of the noise of what is known, in units of the mean squared length of all rows.
        count: Rows wanted.
    """
    everything = np.concatenate([offered, learned])
    unit = float(np.sqrt(np.square(everything).sum(axis=1).mean())) or 1.0
    offered, learned = offered / unit, learned / unit
    precision = learned.T @ learned + noise * np.eye(offered.shape[1])
    weighted = np.linalg.solve(precision, offered.T).T
    variances = (weighted * offered).sum(axis=1)
    chosen: list[int] = []
    for _ in range(min(count, len(offered))):
        free = variances.copy()
        free[chosen] = -np.inf
        index = int(free.argmax())
        chosen.append(index)
        known = weighted[index].copy()
        shared, scale = offered @ known, 1 + known @ offered[index]
        variances = variances - shared**2 / scale
        weighted = weighted - np.outer(shared, known) / scale
    return chosen
