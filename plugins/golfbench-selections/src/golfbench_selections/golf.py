"""Algorithm 1 of Gradual Optimization Learning (Tsypin et al., ICLR 2024, arXiv 2311.06295)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from golfbench.contracts import Decision, State
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.units import KCAL_MOL_TO_HARTREE
from golfbench_selections.states import is_finite


class Golf:
    """Ends a trajectory where the surrogate contradicts the model, and labels the state before.

    A rise of the surrogate energy from one state to the next says that the model's forces were wrong at the first of
    the two: that one is labelled. At ``state.last`` it is again the previous state, as in Algorithm 1 and the published
    code. When the previous state is the start, the state that the rise led to is labelled instead: trajectories start
    from labelled conformations, so Algorithm 1 would ask for a label that is there already, and a weak model, whose
    every trajectory rises at once, would never learn anything new.

    Args:
        patience: Rises that end a trajectory, not necessarily in a row; the state before the last of them is
            labelled. 1 is Algorithm 1.
        ceiling_kcal_mol: A state with this surrogate energy or more ends the trajectory without a label, as in the
            published code (300 there, absent from the paper); ``None`` for no ceiling.

    Raises:
        ConfigurationError: If ``patience`` is below 1.
    """

    def __init__(self, patience: int = 1, ceiling_kcal_mol: float | None = None) -> None:
        if patience < 1:
            raise ConfigurationError(f"golf: patience must be at least 1, not {patience}")
        self.patience = patience
        self.ceiling = None if ceiling_kcal_mol is None else ceiling_kcal_mol * KCAL_MOL_TO_HARTREE

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> GolfTrajectory:
        """Start a trajectory; nothing here is random."""
        return GolfTrajectory(self.patience, self.ceiling, _surrogate_energy)


class GolfNeural:
    """GOLF's rule with a twin of the network in the place of the surrogate.

    The twin is an exponential moving average of the network over rounds (``golf.twin_decay``), as in a branch of the
    code published with GOLF, where the averaged network stands in for the force field. A rise of its energy shows that
    the network now leads to a state that it would have avoided some labels ago.

    Args:
        patience: As for ``Golf``.

    Raises:
        ConfigurationError: If ``patience`` is below 1.
    """

    def __init__(self, patience: int = 1) -> None:
        if patience < 1:
            raise ConfigurationError(f"golf-neural: patience must be at least 1, not {patience}")
        self.patience = patience

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> GolfTrajectory:
        """Start a trajectory; nothing here is random."""
        return GolfTrajectory(self.patience, None, _twin_energy)


class GolfTrajectory:
    """One trajectory: the previous state and the rises so far.

    Args:
        patience: Rises that end it.
        ceiling: Energy (Hartree) that ends it without a label, or ``None``.
        energy_of: The energy of a state whose rises are counted, Hartree.
    """

    def __init__(self, patience: int, ceiling: float | None, energy_of: Callable[[State], float]) -> None:
        self._patience = patience
        self._ceiling = ceiling
        self._energy_of = energy_of
        self._rises = 0
        self._previous: State | None = None

    def observe(self, state: State) -> Decision:
        """Look at the next state and decide; see ``golfbench.contracts.TrajectorySelection``.

        A state whose positions or energies are not finite ends the trajectory; the state before it, which the model
        left for it, is labelled.
        """
        energy = self._energy_of(state)
        broken = not (is_finite(state) and math.isfinite(energy))
        previous, self._previous = self._previous, state
        if previous is None:
            return Decision(end=broken or state.last)
        if self._ceiling is not None and energy >= self._ceiling:
            return Decision(end=True)
        self._rises += energy > self._energy_of(previous)
        if self._rises >= self._patience or state.last or broken:
            # The start is labelled already; a broken state cannot be.
            return Decision(label=(state if previous.step == 0 and not broken else previous,), end=True)
        return Decision()


def _surrogate_energy(state: State) -> float:
    if state.surrogate_energy is None:
        raise ConfigurationError("golf: needs a surrogate, and no surrogate energy was given")
    return state.surrogate_energy


def _twin_energy(state: State) -> float:
    if state.twin_energy is None:
        raise ConfigurationError("golf-neural: needs the energy by a twin of the network, and none was given")
    return state.twin_energy
