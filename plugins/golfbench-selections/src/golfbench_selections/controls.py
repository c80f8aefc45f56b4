"""The controls: selections that ``golf`` has to beat at the same number of oracle calls."""

from __future__ import annotations

import numpy as np

from golfbench.contracts import Decision, State
from golfbench.molecules import Molecule
from golfbench_selections.states import is_finite


class Random:
    """Labels one state of each whole trajectory, drawn uniformly from those after the start."""

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> RandomTrajectory:
        """Start a trajectory that draws from ``rng``."""
        return RandomTrajectory(rng)


class RandomTrajectory:
    """Reservoir sampling of one state (Vitter, 1985, Algorithm R): the k-th state replaces the kept one with odds 1/k.

    Args:
        rng: Random numbers of this trajectory.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._seen = 0
        self._kept: State | None = None

    def observe(self, state: State) -> Decision:
        """Keep the next state or not; label the kept one at the end, if there is one."""
        if state.step >= 1 and is_finite(state):
            self._seen += 1
            if self._rng.integers(self._seen) == 0:
                self._kept = state
        return _at_the_end(state, self._kept)


class First:
    """Labels the start of each trajectory, and walks no further.

    One geometry of many molecules, independent of the model, as in a training set drawn at random. A start that
    is labelled already, one of the initial set that was learned from, costs no call and adds nothing.
    """

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> FirstTrajectory:
        """Start a trajectory; nothing here is random."""
        return FirstTrajectory()


class FirstTrajectory:
    """Has no memory."""

    def observe(self, state: State) -> Decision:
        """Label the start, and end there."""
        return Decision(label=(state,) if is_finite(state) else (), end=True)


class Last:
    """Labels the last state of each whole trajectory."""

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> LastTrajectory:
        """Start a trajectory; nothing here is random."""
        return LastTrajectory()


class LastTrajectory:
    """Keeps the last finite state after the start."""

    def __init__(self) -> None:
        self._kept: State | None = None

    def observe(self, state: State) -> Decision:
        """Keep the next state, and label it at the end."""
        if state.step >= 1 and is_finite(state):
            self._kept = state
        return _at_the_end(state, self._kept)


def _at_the_end(state: State, kept: State | None) -> Decision:
    if not state.last:
        return Decision()
    return Decision(label=() if kept is None else (kept,), end=True)


class All:
    """Labels every state of each whole trajectory, one trajectory after the other, until the budget is spent.

    What the paper does with walks under the oracle (``traj-k``, see ``OracleTrajectory``), on walks under the model:
    many states of few molecules.
    """

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> AllTrajectory:
        """Start a trajectory; nothing here is random."""
        return AllTrajectory(first=1)


class OracleTrajectory:
    """Labels every state of given walks under the oracle itself, the start included.

    The models ``traj-k`` of the paper (Tsypin et al., arXiv:2311.06295, Table 2), which the rule ``golf`` is compared
    with: k thousand labels from minimizations under the oracle. The walks are those that come with the dataset; each
    label counts, also where the walk has paid for it once.
    """

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> AllTrajectory:
        """Start a trajectory; nothing here is random."""
        return AllTrajectory(first=0)


class AllTrajectory:
    """Labels every finite state from some step on.

    Args:
        first: The step.
    """

    def __init__(self, first: int) -> None:
        self._first = first

    def observe(self, state: State) -> Decision:
        """Label the next state."""
        return Decision(label=(state,) if state.step >= self._first and is_finite(state) else (), end=state.last)


class Nothing:
    """Ends every trajectory at its start and labels nothing."""

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> NothingTrajectory:
        """Start a trajectory that will not go anywhere."""
        return NothingTrajectory()


class NothingTrajectory:
    """Has no memory."""

    def observe(self, state: State) -> Decision:
        """End at once."""
        return Decision(end=True)
