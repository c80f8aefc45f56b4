"""Acquisition: from the candidates of a round to the picks that the oracle is asked for, within the budget.

A selection is one of two kinds, or both: one that follows each trajectory (``contracts.Selection``) and takes any of
its states, and one that looks at the whole round (``contracts.RoundSelection``). ``acquisition`` treats both alike,
names the selection in its errors, and lets no engine be asked without an account in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from golfbench.contracts import Decision, Round, RoundSelection, Selection, State, TrajectorySelection
from golfbench.errors import ConfigurationError, GolfbenchError, PluginError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import uncounted_calls_refused


class WholeTrajectory:
    """Makes every finite state after the start a candidate."""

    def observe(self, state: State) -> Decision:
        """Take the state, unless it is the start or not finite."""
        sound = np.isfinite(state.energy) and np.isfinite(state.positions).all() and np.isfinite(state.forces).all()
        return Decision(label=(state,) if state.step and sound else (), end=state.last)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """A selection of any kind.

    Attributes:
        name: As a person writes it.
        selection: The plugin's object.
        sees: What it looks at, see ``specs.SIGHTS``.
    """

    name: str
    selection: Any
    sees: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse an object that is not a selection.

        Raises:
            ConfigurationError: If it neither follows trajectories nor chooses in a round.
        """
        if not isinstance(self.selection, Selection | RoundSelection):
            raise ConfigurationError(f"selection '{self.name}' has neither 'begin' nor 'choose'")

    @property
    def by_round(self) -> bool:
        """Whether it chooses among the candidates of a round: then it gets a label for each trajectory."""
        return isinstance(self.selection, RoundSelection)

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> TrajectorySelection:
        """Start a trajectory."""
        if not isinstance(self.selection, Selection):
            return WholeTrajectory()
        with self._named():
            return _Followed(self, self.selection.begin(molecule, rng))

    def choose(self, round: Round) -> list[int]:
        """Return indices of the candidates that are asked for, within the budget, each once.

        Raises:
            PluginError: If the rule fails or answers something else than indices.
        """
        if not self.by_round:
            return list(range(len(round.candidates)))[: round.budget]
        with self._named():
            chosen = [int(index) for index in self.selection.choose(round)]
            if bad := [index for index in chosen if not 0 <= index < len(round.candidates)]:
                raise IndexError(f"it chose candidate {bad[0]} of {len(round.candidates)}")
        return list(dict.fromkeys(chosen))[: round.budget]

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            with uncounted_calls_refused(f"selection '{self.name}'"):
                yield
        except GolfbenchError as error:
            if self.name not in str(error):
                error.args = (f"selection '{self.name}' failed: {error}", *error.args[1:])
            raise
        except Exception as error:
            raise PluginError(f"selection '{self.name}' failed: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Followed:
    """A trajectory whose errors name the selection."""

    owner: Acquisition
    memory: TrajectorySelection

    def observe(self, state: State) -> Decision:
        with self.owner._named():
            return self.memory.observe(state)


def picks(acquisition: Acquisition, round: Round) -> list[Molecule]:
    """Return the geometries that a round asks the oracle for, in the order of the rule."""
    return [round.candidates[index].molecule for index in acquisition.choose(round)] if round.candidates else []
