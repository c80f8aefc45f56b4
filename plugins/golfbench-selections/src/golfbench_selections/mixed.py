"""Several selections in one: each trajectory is followed by one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from golfbench.contracts import Round, TrajectorySelection
from golfbench.errors import ConfigurationError
from golfbench.learning.acquisition import Acquisition
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import SelectionSpec


class Mixed:
    """Follows each trajectory by one of several selections, drawn with the odds of its share.

    A mixture with a random part guards against a rule that looks at one corner only (epsilon-greedy choice: Sutton and
    Barto, Reinforcement Learning, 2018, section 2.2). In a round each part gets as many labels as trajectories that it
    follows; labels that a part does not use go to the others.

    Args:
        parts: Selections, separated by blanks: ``golf:patience=3 random``.
        shares: Their shares, separated by blanks; of any sum. Empty: equal ones.

    Raises:
        ConfigurationError: If there is no part, a part is not known, or the shares do not fit.
    """

    def __init__(self, parts: str = "golf random", shares: str = "") -> None:
        found = [registry().component(SelectionSpec, part) for part in parts.split()]
        self._parts: list[Any] = [Acquisition(str(c), c.create(), c.spec.sees) for c in found]
        if not self._parts:
            raise ConfigurationError("mixed: parts names no selection")
        self._odds = _odds(shares, len(self._parts))
        #: Which part follows the trajectory from a start: told in ``begin``, asked for in the same round.
        self._whose: dict[str, int] = {}

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> TrajectorySelection:
        """Draw the part that follows this trajectory, and let it begin."""
        part = int(rng.choice(len(self._parts), p=self._odds))
        self._whose[molecule.id] = part
        followed: TrajectorySelection = self._parts[part].begin(molecule, rng)
        return followed

    def choose(self, round: Round) -> Sequence[int]:
        """Return what each part chooses of its own trajectories, within its number of labels; then the rest."""
        starts = [candidate.molecule.id.rpartition("@")[0] for candidate in round.candidates]
        trajectories = Counter(self._whose.get(start, 0) for start in dict.fromkeys(starts))
        wanted: list[int] = []
        beyond: list[int] = []
        for number, part in enumerate(self._parts):
            mine = [k for k, start in enumerate(starts) if self._whose.get(start, 0) == number]
            if mine:
                tangents = None if round.tangents is None else round.tangents[mine]
                offered = [round.candidates[k] for k in mine]
                chosen = part.choose(replace(round, candidates=offered, tangents=tangents))
                wanted += [mine[k] for k in chosen[: trajectories[number]]]
                beyond += [mine[k] for k in chosen[trajectories[number] :]]
        return [*wanted, *beyond]


def _odds(shares: str, count: int) -> list[float]:
    try:
        numbers = [float(share) for share in shares.split()] or [1.0] * count
    except ValueError:
        raise ConfigurationError(f"mixed: shares must be numbers, not '{shares}'") from None
    if len(numbers) != count or not all(0 <= number < float("inf") for number in numbers) or not sum(numbers):
        raise ConfigurationError(f"mixed: {count} shares from zero on are expected, one for each part, not '{shares}'")
    return [number / sum(numbers) for number in numbers]
