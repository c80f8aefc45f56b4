"""Checks of selections, on trajectories made by hand: falling, rising, diverging, short; and on rounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from golfbench.contracts import (
    Candidate,
    Decision,
    FloatArray,
    Label,
    LabelledMolecule,
    Round,
    RoundSelection,
    Selection,
    State,
)
from golfbench.errors import GolfbenchError
from golfbench.learning.acquisition import WholeTrajectory
from golfbench.learning.explorer import candidate_of
from golfbench.seeds import derived
from golfbench.specs import SIGHTS, SelectionSpec
from golfbench.testing.results import Check, CheckSkipped, Finding, check
from golfbench.testing.samples import STANDARD, sample
from golfbench.testing.subject import Subject
from golfbench.units import KCAL_MOL_TO_HARTREE

CHECKS: list[Check] = []
_STATES = 12
_MOLECULE = "CCO"


@dataclass(slots=True)
class Course:
    """The decisions of a selection along a trajectory.

    Attributes:
        labelled: Steps that it wants labelled, in order; -1 for a state that it was never shown.
        ended: Step at which it ended the trajectory, ``None`` if it never did.
        states: What it labelled.
    """

    labelled: list[int] = field(default_factory=list)
    ended: int | None = None
    states: list[State] = field(default_factory=list)

    @property
    def decisions(self) -> tuple[tuple[int, ...], int | None]:
        """What is compared between courses."""
        return tuple(self.labelled), self.ended


def trajectory(surrogate_kcal_mol: Sequence[float], broken: Sequence[int] = ()) -> list[State]:
    """Return one state for each surrogate energy, the last of them the end; those in ``broken`` are not finite."""
    start = sample(_MOLECULE).positions
    states = []
    for step, energy in enumerate(surrogate_kcal_mol):
        bad = step in broken
        positions = start + (np.nan if bad else 0.01 * step)
        model_energy, force = (np.nan, np.nan) if bad else (-10.0 - 0.1 * step, 0.1 / (1 + step))
        last = step == len(surrogate_kcal_mol) - 1
        forces = np.full_like(positions, force / np.sqrt(3))
        # Forces grow with the surrogate's energy: a selection may look at its forces instead of its energy.
        pull = np.full_like(positions, energy * KCAL_MOL_TO_HARTREE)
        states.append(
            State(
                step,
                positions,
                model_energy,
                forces,
                energy * KCAL_MOL_TO_HARTREE,
                last,
                surrogate_forces=pull,
                twin_energy=energy * KCAL_MOL_TO_HARTREE,
            )
        )
    return states


def trajectories() -> dict[str, list[State]]:
    """Return trajectories by what is special about them."""
    falling = [20.0 - step for step in range(_STATES)]
    return {
        "falling": trajectory(falling),
        "rising in the middle": trajectory([*falling[:5], 25.0, *falling[5:]]),
        "rising at once": trajectory(falling[::-1]),
        "a start that is the end": trajectory([10.0]),
        "diverging at the end": trajectory([*falling[:6], np.inf], broken=[6]),
        "diverged from the start": trajectory([np.inf], broken=[0]),
        "not finite in between": trajectory(falling, broken=[3, 4]),
    }


class Bench:
    """A selection.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, SelectionSpec)
        self.spec = subject.spec
        self.selection: Any = subject.create()
        #: Whether it looks at values of the surrogate, or of a twin of the network, for a state.
        self.watches = self.spec.needs_surrogate or "twin" in self.spec.sees

    def follow(self, states: Sequence[State], seed: int = 0, surrogate: bool | None = None) -> Course:
        """Show a trajectory to the selection, until it ends or the selection ends it.

        Args:
            states: The trajectory.
            seed: Of its random numbers.
            surrogate: Whether the surrogate's energies are shown; where the spec asks for them if not given.
        """
        shown = self.watches if surrogate is None else surrogate
        course = Course()
        for _ in self.walk(states, course, seed, shown):
            pass
        return course

    def choose(self, made: Round) -> Sequence[int]:
        """Show a round to the selection, and return what it chooses.

        Raises:
            CheckSkipped: If it follows trajectories only.
        """
        if not isinstance(self.selection, RoundSelection):
            raise CheckSkipped("it decides along trajectories, not in rounds")
        chosen: Sequence[int] = self.selection.choose(made)
        return chosen

    def walk(self, states: Sequence[State], course: Course, seed: int, shown: bool) -> Iterator[Decision]:
        """Yield each decision of a trajectory and note it in ``course``."""
        rng = derived(seed, "trajectory")
        followed = isinstance(self.selection, Selection)
        memory = self.selection.begin(sample(_MOLECULE), rng) if followed else WholeTrajectory()
        seen: list[State] = []
        for state in states:
            blind = replace(state, surrogate_energy=None, surrogate_forces=None, twin_energy=None)
            seen.append(state if shown else blind)
            decision = memory.observe(seen[-1])
            for wanted in decision.label:
                course.states.append(wanted)
                course.labelled.append(next((s.step for s in seen if s is wanted or _same(s, wanted)), -1))
            yield decision
            if decision.end:
                course.ended = state.step
                return


def _same(a: State, b: State) -> bool:
    return a.step == b.step and np.array_equal(a.positions, b.positions, equal_nan=True)


def _each(bench: Bench, problem: Callable[[Course, list[State]], str]) -> Finding:
    """Return what is wrong on each trajectory, with several seeds."""
    problems = []
    for name, states in trajectories().items():
        found = {problem(bench.follow(states, seed), states) for seed in range(5)}
        problems += [f"{name}: {text}" for text in sorted(found - {""})]
    return Finding.of_problems(problems, "trajectories")


@check(CHECKS)
def observed_only(bench: Bench) -> Finding:
    """It labels states that it was shown, each at most once."""

    def problem(course: Course, states: list[State]) -> str:
        if -1 in course.labelled:
            return "a state that is not of the trajectory is labelled"
        return "a state is labelled twice" if len(set(course.labelled)) < len(course.labelled) else ""

    return _each(bench, problem)


@check(CHECKS, "observed-only")
def finite_only(bench: Bench) -> Finding:
    """It labels no state whose energy or positions are not finite."""

    def problem(course: Course, states: list[State]) -> str:
        broken = [s.step for s in course.states if not (np.isfinite(s.energy) and np.isfinite(s.positions).all())]
        return f"state {broken[0]} is not finite and labelled" if broken else ""

    return _each(bench, problem)


@check(CHECKS, "observed-only")
def ends(bench: Bench) -> Finding:
    """It ends every trajectory, at its last state at the latest: nothing comes after."""
    return _each(bench, lambda course, states: "" if course.ended is not None else "it never says that it ends")


@check(CHECKS, "observed-only")
def repeatable(bench: Bench) -> Finding:
    """The same trajectory and random numbers give the same decisions, for any state of the global generators."""
    differing = []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        for name, states in trajectories().items():
            found = set()
            for seed in (1, 2, 3):
                random.seed(seed)
                np.random.seed(seed)
                found.add(bench.follow(states).decisions)
            differing += [name] if len(found) > 1 else []
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
    return Finding.of_problems(differing, "trajectories")


@check(CHECKS, "repeatable")
def independent(bench: Bench) -> Finding:
    """Trajectories that run at the same time do not change each other's decisions."""
    made = trajectories()
    courses = {name: Course() for name in made}
    shown = bench.watches
    running = {name: bench.walk(states, courses[name], 0, shown) for name, states in made.items()}
    while running:
        running = {name: walk for name, walk in running.items() if next(walk, None) is not None}
    differing = [n for n, states in made.items() if courses[n].decisions != bench.follow(states).decisions]
    return Finding.of_problems(differing, "trajectories")


@check(CHECKS, "observed-only")
def input_untouched(bench: Bench) -> Finding:
    """The positions that it was shown are as they were."""
    changed = []
    for name, states in trajectories().items():
        kept = [s.positions.copy() for s in states]
        bench.follow(states)
        if not all(np.array_equal(s.positions, k, equal_nan=True) for s, k in zip(states, kept, strict=True)):
            changed.append(name)
    return Finding.of_problems(changed, "trajectories")


@check(CHECKS, "repeatable")
def surrogate(bench: Bench) -> Finding:
    """It uses the surrogate's energy if needs_surrogate says so, and only then."""
    made = trajectories()
    if not isinstance(bench.selection, Selection):
        raise CheckSkipped("it decides in rounds, not along trajectories")
    if not bench.watches:
        pairs = {name: (bench.follow(s, surrogate=True), bench.follow(s, surrogate=False)) for name, s in made.items()}
        differing = [f"{name}: it decides by it" for name, (a, b) in pairs.items() if a.decisions != b.decisions]
        return Finding.of_problems(differing, "trajectories")
    problems = []
    falling, rising = (
        [bench.follow(made[name], seed).decisions for seed in range(5)] for name in ("falling", "rising at once")
    )
    if falling == rising and not isinstance(bench.selection, RoundSelection):  # which may look at it when it chooses
        problems.append("falling or rising, it decides the same")
    try:
        for seed in range(5):
            bench.follow(made["falling"], seed, surrogate=False)
    except GolfbenchError:
        pass
    except Exception as error:  # noqa: BLE001 - any other error is what this looks for
        problems.append(f"without a surrogate it raises {type(error).__name__}, which is no error of this suite")
    return Finding.of_problems(problems)


@check(CHECKS, "observed-only")
def asks_oracle(bench: Bench) -> Finding:
    """It labels something if asks_oracle says so, and nothing otherwise."""
    labels = sum(len(bench.follow(states, seed).labelled) for states in trajectories().values() for seed in range(5))
    if bool(labels) == bench.spec.asks_oracle:
        return Finding.of_problems([])
    return Finding.of_problems([f"{labels} labels, asks_oracle is {bench.spec.asks_oracle}"])


# --- Selections that look at a whole round
# --------------------------------------------------------------------------------

#: Everything that a selection may see of a state, by the names in its spec.
_SHOWN = {
    "surrogate": ("surrogate_energy",),
    "surrogate_forces": ("surrogate_energy", "surrogate_forces"),
    "twin": ("twin_energy",),
    "committee": ("energy_spread", "force_spread"),
    "features": ("features",),
}
_FEATURES = 4


def round_of(count: int, budget: int, sees: frozenset[str], seed: int = 0) -> Round:
    """Return a round with made-up candidates, which have what ``sees`` names and nothing else.

    Args:
        count: Candidates.
        budget: Labels that may be asked for.
        sees: See ``specs.SIGHTS``.
        seed: Of all numbers.
    """
    rng = derived(seed, "round", count)
    made = [_candidate(k, rng, sees) for k in range(count)]
    # All is drawn always, so that each value is the same with and without the others.
    features, tangents, known = (rng.normal(size=(rows, _FEATURES)) for rows in (6, count, 6))
    labelled = [_labelled(k, rng) for k in range(3)]
    return Round(
        3,
        made,
        budget,
        derived(seed, "choice", count),
        features if {"features", "training_set"} <= sees else None,
        tangents if "tangents" in sees else None,
        known if {"tangents", "training_set"} <= sees else None,
        labelled if "labels" in sees else [],
    )


def _labelled(number: int, rng: np.random.Generator) -> LabelledMolecule:
    state = candidate_of(sample(STANDARD[number]), _candidate(number, rng, frozenset()).state).molecule
    return LabelledMolecule(state, Label(-10.0, rng.normal(scale=0.02, size=state.positions.shape), "MMFF94"))


def _candidate(number: int, rng: np.random.Generator, sees: frozenset[str]) -> Candidate:
    start = sample(STANDARD[number % len(STANDARD)])
    shape = start.positions.shape
    seen: dict[str, Any] = {
        "surrogate_energy": float(rng.normal()),
        "surrogate_forces": rng.normal(scale=0.02, size=shape),
        "twin_energy": float(rng.normal()),
        "energy_spread": float(rng.random()) * 0.01,
        "force_spread": rng.random(len(start)) * 0.01,
        "features": rng.normal(size=_FEATURES),
    }
    named = {name for sight in sees for name in _SHOWN.get(sight, ())}
    shown = {name: value for name, value in seen.items() if name in named}
    positions, forces = start.positions + rng.normal(scale=0.05, size=shape), rng.normal(scale=0.02, size=shape)
    return candidate_of(start, State(1 + number, positions, float(rng.normal(-10, 1)), forces, last=False, **shown))


def rounds(sees: frozenset[str]) -> dict[str, Round]:
    """Return rounds by what is special about them."""
    return {
        "many candidates": round_of(24, 5, sees),
        "as many as may be asked for": round_of(4, 4, sees),
        "fewer than may be asked for": round_of(2, 8, sees),
        "one candidate": round_of(1, 1, sees),
    }


def _choices(bench: Bench, sees: frozenset[str]) -> dict[str, list[int]]:
    return {name: list(bench.choose(made)) for name, made in rounds(sees).items()}


@check(CHECKS)
def chosen_in_range(bench: Bench) -> Finding:
    """It chooses indices of the candidates, each at most once."""
    problems = []
    for name, made in rounds(bench.spec.sees).items():
        chosen = list(bench.choose(made))
        if bad := [k for k in chosen if not isinstance(k, int | np.integer) or not 0 <= k < len(made.candidates)]:
            problems.append(f"{name}: {bad[0]!r} is no index of {len(made.candidates)} candidates")
        elif len(set(chosen)) < len(chosen):
            problems.append(f"{name}: a candidate is chosen twice")
    return Finding.of_problems(problems, "rounds")


@check(CHECKS, "chosen-in-range")
def spends_the_budget(bench: Bench) -> Finding:
    """It asks for something where there are candidates and a budget: a round without a label is wasted."""
    if not bench.spec.asks_oracle:
        return Finding.of_problems([])
    return Finding.of_problems([name for name, chosen in _choices(bench, bench.spec.sees).items() if not chosen])


@check(CHECKS, "chosen-in-range")
def choice_repeatable(bench: Bench) -> Finding:
    """The same round gives the same choice, for any state of the global generators."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        found = []
        for seed in (1, 2, 3):
            random.seed(seed)
            np.random.seed(seed)
            found.append(_choices(bench, bench.spec.sees))
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
    return Finding.of_problems([name for name, first in found[0].items() if any(f[name] != first for f in found)])


@check(CHECKS, "chosen-in-range")
def round_untouched(bench: Bench) -> Finding:
    """Candidates and training features are as they were after it has chosen."""
    changed = []
    for name, made in rounds(bench.spec.sees).items():
        before = [a.copy() for a in _arrays(made)]
        bench.choose(made)
        if not all(np.array_equal(a, b) for a, b in zip(_arrays(made), before, strict=True)):
            changed.append(name)
    return Finding.of_problems(changed, "rounds")


def _arrays(made: Round) -> list[FloatArray]:
    found = [a for a in (made.training_features, made.tangents, made.training_tangents) if a is not None]
    found += [item.label.forces for item in made.labelled]
    for candidate in made.candidates:
        state = candidate.state
        found += [candidate.molecule.positions, state.positions, state.forces]
        found += [a for a in (state.force_spread, state.features) if a is not None]
    return found


@check(CHECKS, "choice-repeatable")
def sees_what_it_names(bench: Bench) -> Finding:
    """It chooses the same when it is shown more than its spec names."""
    plain, more = _choices(bench, bench.spec.sees), _choices(bench, frozenset(SIGHTS))
    return Finding.of_problems([f"{name}: it decides by more" for name in plain if plain[name] != more[name]], "rounds")
