"""Where the trajectories of a round start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.learning.pool import Pool
from golfbench.molecules import Molecule


@dataclass(frozen=True, slots=True)
class Starts:
    """The molecules that trajectories may start from.

    Attributes:
        pool: What is learned from.
        given: Geometries of the initial set; by default those whose labels are in the pool.
        unjudged: Ids of molecules that the surrogate cannot judge: a trajectory from there would end at once and teach
            nothing, so none starts there.
    """

    pool: Pool
    given: Sequence[Molecule] | None = None
    unjudged: Collection[str] = ()

    def draw(self, rng: np.random.Generator, count: int, acquired: bool) -> list[Molecule]:
        """Return different molecules, as many as there are of ``count``.

        Args:
            rng: Random numbers of the round.
            count: How many.
            acquired: Whether they may also be molecules that were labelled on the way.
        """
        available: Sequence[int] = range(self._first_acquired + (self._acquired if acquired else 0))
        if self.unjudged:
            available = [k for k in available if self._molecule(k).id not in self.unjudged]
        chosen = rng.choice(len(available), min(count, len(available)), replace=False)
        return [self._molecule(available[int(index)]) for index in chosen]

    @property
    def _first_acquired(self) -> int:
        return self.pool.initial_size if self.given is None else len(self.given)

    @property
    def _acquired(self) -> int:
        return len(self.pool) - self.pool.initial_size

    def _molecule(self, index: int) -> Molecule:
        if self.given is not None and index < len(self.given):
            return self.given[index]
        return self.pool.molecule(index if self.given is None else self.pool.initial_size + index - len(self.given))
