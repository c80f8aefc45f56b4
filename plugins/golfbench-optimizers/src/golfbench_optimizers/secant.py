"""The BFGS Hessian in compact form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golfbench.contracts import FloatArray

#: A pair is kept when cos(s, y) is above this: below, rounding decides the sign of the curvature.
CURVATURE_COSINE = 1e-10


@dataclass(slots=True)
class Secants:
    """Pairs of a displacement s and a gradient change y in some coordinates, the oldest first.

    Attributes:
        memory: Pairs kept.
        steps: (pairs, coordinates).
        changes: (pairs, coordinates).
    """

    memory: int
    steps: FloatArray
    changes: FloatArray

    @classmethod
    def empty(cls, memory: int, coordinates: int) -> Secants:
        """Return room for pairs of that many coordinates."""
        return cls(memory, np.zeros((0, coordinates)), np.zeros((0, coordinates)))

    def add(self, step: FloatArray, change: FloatArray) -> None:
        """Keep a pair if it has positive curvature. Both are divided by the length of the step: nothing changes."""
        length = np.sqrt(step @ step)
        if length == 0 or step @ change <= CURVATURE_COSINE * length * np.sqrt(change @ change):
            return
        oldest = max(0, len(self.steps) + 1 - self.memory)
        self.steps = np.vstack([self.steps[oldest:], step / length])
        self.changes = np.vstack([self.changes[oldest:], change / length])

    def correction(
        self, initial: Callable[[FloatArray], FloatArray], project: Callable[[FloatArray], FloatArray]
    ) -> FloatArray | float:
        """Return H - H₀, projected (Byrd, Nocedal & Schnabel 1994, doi 10.1007/BF01582063, Eq. 2.17).

        Args:
            initial: Multiplies rows (pairs, coordinates) by H₀.
            project: Takes rows (2·pairs, coordinates) into the space where the correction is wanted.
        """
        if not len(self.steps):
            return 0.0
        curved = initial(self.steps)
        mixed = self.steps @ self.changes.T
        pairs, lower = len(mixed), np.tril(mixed, -1)
        middle = np.empty((2 * pairs, 2 * pairs))
        middle[:pairs, :pairs], middle[:pairs, pairs:] = curved @ self.steps.T, lower
        middle[pairs:, :pairs], middle[pairs:, pairs:] = lower.T, -np.diag(np.diag(mixed))
        rows = project(np.vstack([curved, self.changes]))
        correction: FloatArray = -rows.T @ np.linalg.solve(middle, rows)
        return correction
