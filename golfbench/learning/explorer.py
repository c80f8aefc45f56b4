"""Explorers: where the candidates of a round come from.

``Walks`` walks batches of trajectories on the model's forces (Algorithm 1 of Tsypin et al., ICLR 2024), ``Given``
offers the states of trajectories that a dataset has, ``Relaxed`` the minima of the surrogate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from golfbench.batches import make_batch
from golfbench.contracts import Candidate, Evaluation, FloatArray, Model, Optimizer, State, TrajectorySelection
from golfbench.errors import OracleError
from golfbench.learning.acquisition import Acquisition
from golfbench.learning.clock import Clock
from golfbench.learning.potential import Potential
from golfbench.learning.twin import Twin
from golfbench.minimization import Outcome, Point, StoppingRule, minimize
from golfbench.molecules import Molecule, group_of

#: Energy (Hartree) of one geometry under the surrogate, with forces (n_atoms, 3) (Hartree/Å) for a selection that looks
#: at them; raises ``OracleError`` when it cannot say.
Surrogate = Callable[[Molecule], float | tuple[float, FloatArray]]
#: Molecules whose features are computed together.
_TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Offer:
    """What a round of exploring brought.

    Attributes:
        candidates: States that may be labelled, in the order of the starts.
        environment_steps: Environment steps of each trajectory.
        model_calls: Force evaluations in all.
        diverged: Trajectories that ended with an energy or force that is not finite.
    """

    candidates: list[Candidate]
    environment_steps: list[int] = field(default_factory=list)
    model_calls: int = 0
    diverged: int = 0


class Explorer(Protocol):
    """Offers candidates."""

    def offer(self, potential: Potential, starts: Sequence[Molecule], streams: Sequence[np.random.Generator]) -> Offer:
        """Return the candidates of one round.

        Args:
            potential: As it is now; its weights stay so meanwhile.
            starts: Labelled molecules, drawn for this round.
            streams: One stream of random numbers for each.
        """
        ...


@dataclass(frozen=True, slots=True)
class Walks:
    """Walks from each start until the selection, the stopping rule or the model ends the trajectory.

    Attributes:
        acquisition: Says which states become candidates, and when a trajectory ends.
        optimizer: Makes a fresh optimizer.
        rule: Step limit in optimizer updates, and the force threshold.
        inner_steps: Optimizer updates per environment step: the selection sees every ``inner_steps``-th state.
        surrogate: See ``Surrogate``; ``None`` when the selection does not look at it.
        twin: Of the network; ``None`` when the selection does not look at it.
        clock: Told how long the selection, the surrogate and the twin look at states.
    """

    acquisition: Acquisition
    optimizer: Callable[[], Optimizer]
    rule: StoppingRule
    inner_steps: int
    surrogate: Surrogate | None = None
    twin: Twin | None = None
    clock: Clock = field(default_factory=Clock)

    def offer(self, potential: Model, starts: Sequence[Molecule], streams: Sequence[np.random.Generator]) -> Offer:
        """Return the candidates of one round; see ``Explorer``."""
        model = potential.showing(self.acquisition.sees) if isinstance(potential, Potential) else potential
        watchers = [
            _Watcher(start, self.acquisition.begin(start, rng), self)
            for start, rng in zip(starts, streams, strict=True)
        ]
        walk = minimize(model, starts, self.optimizer(), self.rule, lambda point: watchers[point.index].look(point))
        outcomes = list(walk)
        return Offer(
            candidates=[candidate for watcher in watchers for candidate in watcher.candidates],
            environment_steps=_environment_steps(outcomes, len(starts), self.inner_steps),
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
        self,
        start: Molecule,
        selection: TrajectorySelection,
        walks: Walks,
    ) -> None:
        self._start, self._selection, self._inner_steps = start, selection, walks.inner_steps
        self._sees, self._surrogate, self._twin = walks.acquisition.sees, walks.surrogate, walks.twin
        self._clock = walks.clock
        self.candidates: list[Candidate] = []

    def look(self, point: Point) -> bool:
        if point.step % self._inner_steps and not point.last:
            return False
        with self._clock.on("selection"):
            decision = self._selection.observe(self._state(point))
            self.candidates += [candidate_of(self._start, state) for state in decision.label]
        return decision.end

    def _state(self, point: Point) -> State:
        committee = "committee" in self._sees
        return State(
            step=math.ceil(point.step / self._inner_steps),
            positions=point.positions,
            energy=point.energy,
            forces=point.forces,
            last=point.last,
            energy_spread=point.energy_spread if committee else None,
            force_spread=point.force_spread if committee else None,
            features=point.features,
            **_said(self._surrogate, self._start, point.positions),
            twin_energy=_by_twin(self._twin, self._start, point.positions),
        )


def _said(surrogate: Surrogate | None, start: Molecule, positions: FloatArray) -> dict[str, Any]:
    """Ask the surrogate, if there is one, and return what a state says of its answer.

    No answer means that the walk went wrong; that counts as a rise.
    """
    if surrogate is None:
        return {}
    try:
        answer = surrogate(start.at(positions)) if np.isfinite(positions).all() else math.inf
    except OracleError:
        answer = math.inf
    energy, forces = answer if isinstance(answer, tuple) else (answer, None)
    if not math.isfinite(energy):
        energy, forces = math.inf, None
    return {
        "surrogate_energy": energy,
        "surrogate_forces": np.full_like(positions, np.nan) if forces is None else forces,
    }


def _by_twin(twin: Twin | None, start: Molecule, positions: FloatArray) -> float | None:
    """Return the twin's energy, if there is a twin; infinite where it is no number."""
    if twin is None:
        return None
    energy = twin.energy(start.at(positions)) if np.isfinite(positions).all() else math.inf
    return energy if math.isfinite(energy) else math.inf


def candidate_of(start: Molecule, state: State) -> Candidate:
    """Return a state as a candidate, with an id that says where it is from."""
    return Candidate(replace(start, id=f"{start.id}@{state.step}", positions=state.positions), state)


@dataclass(frozen=True, slots=True)
class Given:
    """Offers states of given trajectories, those of the molecules that the round starts from.

    What the paper trains its ``traj-k`` models on: minimizations under the oracle itself.

    Attributes:
        trajectories: Geometries by compound (see ``group_of``), in their order.
        acquisition: Says which states become candidates.
        surrogate: See ``Surrogate``; ``None`` when the selection does not look at it.
        twin: Of the network; ``None`` when the selection does not look at it.
    """

    trajectories: Mapping[str, Sequence[Molecule]]
    acquisition: Acquisition
    surrogate: Surrogate | None = None
    twin: Twin | None = None

    def offer(self, potential: Potential, starts: Sequence[Molecule], streams: Sequence[np.random.Generator]) -> Offer:
        """Return the candidates of one round; see ``Explorer``."""
        model, offered, calls = potential.showing(self.acquisition.sees), [], 0
        for start, rng in zip(starts, streams, strict=True):
            states = self.trajectories.get(group_of(start.id), ())
            memory = self.acquisition.begin(start, rng)
            calls += len(states)
            for state in (candidate.state for candidate in evaluated(model, states)):
                if self.surrogate is not None:
                    state = replace(state, **_said(self.surrogate, start, state.positions))
                state = replace(state, twin_energy=_by_twin(self.twin, start, state.positions))
                decision = memory.observe(state)
                offered += [candidate_of(start, state) for state in decision.label]
                if decision.end:
                    break
        return Offer(offered, model_calls=calls)


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Offers the minimum that the surrogate reaches from each start: what the paper trains ``f_rdkit`` on.

    A selection that follows trajectories sees one state of each, the last.

    Attributes:
        acquisition: Says which minima become candidates.
        surrogate: A fixed model.
        optimizer: Makes a fresh optimizer.
        rule: When a minimization ends.
    """

    acquisition: Acquisition
    surrogate: Model
    optimizer: Callable[[], Optimizer]
    rule: StoppingRule

    def offer(self, potential: Potential, starts: Sequence[Molecule], streams: Sequence[np.random.Generator]) -> Offer:
        """Return the candidates of one round; see ``Explorer``. A walk that does not converge gives none."""
        ends = {o.point.index: o for o in minimize(self.surrogate, starts, self.optimizer(), self.rule)}
        found = [k for k in range(len(starts)) if ends[k].status == "converged"]
        minima = [starts[k].at(ends[k].point.positions) for k in found]
        offered = []
        for k, candidate in zip(found, evaluated(potential.showing(self.acquisition.sees), minima), strict=True):
            state = replace(candidate.state, step=ends[k].point.step, last=True)
            decision = self.acquisition.begin(starts[k], streams[k]).observe(state)
            offered += [candidate_of(starts[k], labelled) for labelled in decision.label]
        return Offer(
            offered,
            environment_steps=[ends[k].point.step for k in range(len(starts))],
            model_calls=sum(o.model_calls for o in ends.values()),
            diverged=sum(o.status in ("diverged", "error") for o in ends.values()),
        )


def evaluated(potential: Potential, molecules: Sequence[Molecule]) -> list[Candidate]:
    """Return molecules as candidates, with what the potential says of them."""
    made: list[Candidate] = []
    for first in range(0, len(molecules), _TOGETHER):
        group = molecules[first : first + _TOGETHER]
        batch = make_batch(group, potential.cutoff, potential.device)
        answer = potential.energy_forces(batch)
        made += _candidates(group, answer, batch.offsets.tolist(), first, len(molecules))
    return made


def _candidates(
    molecules: Sequence[Molecule], answer: Evaluation, offsets: Sequence[int], first: int, count: int
) -> list[Candidate]:
    forces: FloatArray = answer.forces.cpu().numpy()
    made = []
    for k, molecule in enumerate(molecules):
        part = slice(offsets[k], offsets[k + 1])
        spread = answer.spread
        state = State(
            step=first + k,
            positions=molecule.positions,
            energy=float(answer.energies[k]),
            forces=forces[part],
            last=first + k == count - 1,
            energy_spread=None if spread is None else float(spread.energies[k]),
            force_spread=None if spread is None else spread.forces[part].cpu().numpy(),
            features=None if answer.features is None else answer.features[k].cpu().numpy(),
        )
        made.append(Candidate(molecule, state))
    return made


def features_of(potential: Potential, molecules: Sequence[Molecule]) -> FloatArray:
    """Return the network's features of molecules, mean over the atoms: (n_molecules, n_features), (0, 0) for none."""
    if not molecules:
        return np.zeros((0, 0))
    groups = [molecules[k : k + _TOGETHER] for k in range(0, len(molecules), _TOGETHER)]
    batches = (make_batch(group, potential.cutoff, potential.device) for group in groups)
    found: FloatArray = np.concatenate([potential.features(batch).cpu().numpy() for batch in batches])
    return found
