"""Collecting: trajectories on the model's forces, watched by a selection that may ask the surrogate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from golfbench.contracts import Model, Optimizer, Selection, State, TrajectorySelection
from golfbench.errors import OracleError
from golfbench.minimize import Outcome, Point, StoppingRule, minimize
from golfbench.molecules import Molecule

#: Energy (Hartree) of one geometry under the surrogate; raises ``OracleError`` when it cannot say.
Surrogate = Callable[[Molecule], float]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a set of trajectories brought.

    Attributes:
        requests: Geometries that the selection wants labelled, in the order of the starts.
        environment_steps: Environment steps of each trajectory.
        model_calls: Force evaluations in all.
        diverged: Trajectories that ended with a non-finite energy or force.
    """

    requests: list[Molecule]
    environment_steps: list[int]
    model_calls: int
    diverged: int


def collect(
    model: Model,
    starts: Sequence[Molecule],
    selection: Selection,
    optimizer: Optimizer,
    streams: Sequence[np.random.Generator],
    rule: StoppingRule,
    inner_steps: int,
    surrogate: Surrogate | None,
) -> Harvest:
    """Walk from each start until its selection, the stopping rule or the model ends the trajectory.

    Args:
        model: Gives the forces; its weights stay as they are meanwhile.
        starts: Where trajectories begin; their ids name the trajectories.
        selection: Decides what is labelled.
        optimizer: A fresh one.
        streams: One stream of random numbers per trajectory.
        rule: Step limit in optimizer updates, and the force threshold.
        inner_steps: Optimizer updates per environment step: the selection sees every ``inner_steps``-th state.
        surrogate: Energy of a geometry, or ``None`` when the selection does not look at it.
    """
    watchers = [
        _Watcher(start, selection.begin(start, rng), inner_steps, surrogate)
        for start, rng in zip(starts, streams, strict=True)
    ]
    outcomes = list(minimize(model, starts, optimizer, rule, lambda point: watchers[point.index].look(point)))
    return Harvest(
        requests=[request for watcher in watchers for request in watcher.requests],
        environment_steps=_environment_steps(outcomes, len(starts), inner_steps),
        model_calls=sum(o.model_calls for o in outcomes),
        diverged=sum(o.status in ("diverged", "error") for o in outcomes),
    )


def _environment_steps(outcomes: Sequence[Outcome], count: int, inner_steps: int) -> list[int]:
    steps = [0] * count
    for outcome in outcomes:
        steps[outcome.point.index] = math.ceil(outcome.point.step / inner_steps)
    return steps


class _Watcher:
    """Shows one trajectory's environment states to its selection."""

    def __init__(
        self, start: Molecule, selection: TrajectorySelection, inner_steps: int, surrogate: Surrogate | None
    ) -> None:
        self._start, self._selection, self._inner_steps, self._surrogate = start, selection, inner_steps, surrogate
        self.requests: list[Molecule] = []

    def look(self, point: Point) -> bool:
        if point.step % self._inner_steps and not point.last:
            return False
        decision = self._selection.observe(self._state(point))
        self.requests += [self._request(state) for state in decision.label]
        return decision.end

    def _state(self, point: Point) -> State:
        step = math.ceil(point.step / self._inner_steps)
        energy = None if self._surrogate is None else self._ask_surrogate(point)
        return State(step, point.positions, point.energy, point.force_max, energy, point.last)

    def _ask_surrogate(self, point: Point) -> float:
        """Ask the surrogate; where it has no answer the walk went wrong, which counts as a rise."""
        assert self._surrogate is not None
        if not np.isfinite(point.positions).all():
            return math.inf
        try:
            energy = self._surrogate(self._start.at(point.positions))
        except OracleError:
            return math.inf
        return energy if math.isfinite(energy) else math.inf

    def _request(self, state: State) -> Molecule:
        return replace(self._start, id=f"{self._start.id}@{state.step}", positions=state.positions)
