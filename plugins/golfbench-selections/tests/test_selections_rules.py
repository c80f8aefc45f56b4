"""Selections on hand-made trajectories: which state is labelled, and where the trajectory ends."""

from dataclasses import replace

import numpy as np
import pytest

from golfbench.contracts import State
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import SelectionSpec
from golfbench.units import KCAL_MOL_TO_HARTREE
from golfbench_selections import golfbench_selections

HYDROGEN = Molecule("h2", np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]]))


def states(surrogate_kcal_mol, broken=(), last=True):
    """One state per surrogate energy; those in ``broken`` have infinite positions."""
    made = []
    for step, energy in enumerate(surrogate_kcal_mol):
        positions = HYDROGEN.positions + (np.inf if step in broken else 0.01 * step)
        ends = last and step == len(surrogate_kcal_mol) - 1
        forces = np.full_like(positions, 0.1 / np.sqrt(3))
        made.append(State(step, positions, -1.0 - step, forces, energy * KCAL_MOL_TO_HARTREE, last=ends))
    return made


def made(text):
    """Return the selection that is written so."""
    return registry().component(SelectionSpec, text).create()


def follow(spec_text, trajectory, seed=0):
    """Return (steps that were labelled, step where it ended)."""
    memory = made(spec_text).begin(HYDROGEN, np.random.default_rng(seed))
    for state in trajectory:
        decision = memory.observe(state)
        if decision.end:
            return [s.step for s in decision.label], state.step
        assert not decision.label
    return [], None


@pytest.mark.parametrize(
    ("spec", "energies", "labelled", "end"),
    [
        ("golf", [9, 7, 5, 6, 4], [2], 3),  # Algorithm 1: the state before the rise
        ("golf", [9, 10, 5], [1], 1),  # a rise in the first step: the start has its label already
        ("golf", [9, 7, 7, 7, 5], [3], 4),  # ties are no rise; at the end the previous state
        ("golf", [9, 7, 7, 7.001], [2], 3),
        ("golf", [9, 8, 7], [1], 2),
        ("golf", [9], [], 0),  # nothing before the start
        ("golf:patience=2", [9, 10, 8, 7, 8, 5], [3], 4),  # not in a row
        ("golf:patience=2", [9, 10, 11, 5], [1], 2),
        ("golf:patience=3", [9, 10, 9, 10, 9, 10, 1], [4], 5),
        ("golf:patience=3", [9, 10, 9, 10, 9], [3], 4),
        ("golf:ceiling_kcal_mol=300", [290, 299, 5], [1], 1),
        ("golf:ceiling_kcal_mol=300", [290, 310, 5], [], 1),
        ("golf:ceiling_kcal_mol=300", [400, 200, 150, 160], [2], 3),  # the start is not held against it
        ("golf:ceiling_kcal_mol=300", [400, 310, 150], [], 1),
        ("golf", [400, 310, 320], [1], 2),
        ("last", [9, 10, 5, 6], [3], 3),
        ("last", [9], [], 0),
        ("random", [9], [], 0),
        ("random", [9, 7], [1], 1),
        ("none", [9, 8, 7], [], 0),
        ("all", [9], [], 0),
    ],
)
def test_which_state_is_labelled(spec, energies, labelled, end):
    assert follow(spec, states(energies)) == (labelled, end)


def test_a_trajectory_goes_on_without_a_rise():
    assert follow("golf", states([9, 8, 7, 7], last=False)) == ([], None)


@pytest.mark.parametrize(
    ("spec", "labelled", "end"), [("golf", [1], 2), ("golf:patience=3", [1], 2), ("last", [1], 3), ("random", [1], 3)]
)
def test_states_that_are_not_finite_are_never_labelled(spec, labelled, end):
    assert follow(spec, states([9, 8, 7, 6], broken={2, 3})) == (labelled, end)


def test_golf_ends_at_a_start_that_is_not_finite():
    assert follow("golf", states([9, 8, 7], broken={0})) == ([], 0)


@pytest.mark.parametrize("energy", [np.nan, np.inf])
def test_golf_labels_the_state_before_the_surrogate_breaks_down(energy):
    assert follow("golf:patience=2", states([9, 8, energy, 5])) == ([1], 2)


def test_golf_ceiling_takes_an_infinite_surrogate_energy():
    assert follow("golf:ceiling_kcal_mol=300", states([9, 8, np.inf, 5])) == ([], 2)


def test_random_is_uniform_over_the_states_after_the_start():
    trajectory = states([9] * 6)
    counts = np.bincount([follow("random", trajectory, seed)[0][0] for seed in range(3000)], minlength=6)
    assert counts[0] == 0
    chi_squared = ((counts[1:] - 600) ** 2 / 600).sum()
    assert chi_squared < 18.5  # 4 degrees of freedom: exceeded once in a thousand


def test_random_depends_on_its_stream_only():
    trajectory = states([9] * 50)
    assert follow("random", trajectory, 3) == follow("random", trajectory, 3)
    assert len({follow("random", trajectory, seed)[0][0] for seed in range(30)}) > 15


def test_golf_refuses_what_it_cannot_work_with():
    memory = registry().find(SelectionSpec, "golf").create({}).begin(HYDROGEN, np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match="surrogate"):
        memory.observe(State(0, HYDROGEN.positions, -1.0, np.zeros((2, 3))))
    with pytest.raises(ConfigurationError, match="patience"):
        registry().find(SelectionSpec, "golf").create({"patience": 0})


def test_specs_say_what_the_runner_must_know():
    specs = [registry().find(SelectionSpec, spec.name) for spec in golfbench_selections()]
    facts = {s.name: (s.needs_surrogate, s.asks_oracle) for s in specs}
    assert facts == {
        "golf": (True, True),
        "random": (False, True),
        "last": (False, True),
        "committee-force": (False, True),
        "farthest-features": (False, True),
        "golf-neural": (False, True),
        "none": (False, False),
        "all": (False, True),
        "oracle-trajectory": (False, True),
        "force-norm": (False, True),
        "force-mismatch": (True, True),
        "committee-energy": (False, True),
        "kernel": (False, True),
        "mahalanobis": (False, True),
        "first": (False, True),
        "tangent-kernel": (False, True),
        "end-mismatch": (True, True),
        "unsettled": (False, True),
        "mixed": (True, True),  # golf is one of its parts, if nobody says otherwise
    }


def every_label(text, trajectory):
    """Return the steps that are labelled, at whatever state that is decided."""
    memory, steps = made(text).begin(HYDROGEN, np.random.default_rng(0)), []
    for state in trajectory:
        decision = memory.observe(state)
        steps += [s.step for s in decision.label]
        assert decision.end == state.last
    return steps


@pytest.mark.parametrize(
    ("text", "broken", "labelled"),
    [
        ("all", (), [1, 2, 3, 4]),
        ("oracle-trajectory", (), [0, 1, 2, 3, 4]),
        ("all", (2,), [1, 3, 4]),
        ("oracle-trajectory", (0, 4), [1, 2, 3]),
    ],
)
def test_all_of_a_trajectory_is_every_sound_state_of_it(text, broken, labelled):
    assert every_label(text, states([9, 7, 8, 6, 5], broken)) == labelled


def test_golf_watches_the_twin_where_it_is_told_to():
    """The surrogate rises in the third step, the twin in the second one."""
    falling = states([9, 8, 7, 9, 6])
    shown = [
        replace(state, twin_energy=energy) for state, energy in zip(falling, [3.0, 2.0, 2.5, 1.0, 0.0], strict=True)
    ]
    assert follow("golf", shown) == ([2], 3)
    assert follow("golf-neural", shown) == ([1], 2)
    assert follow("golf-neural:patience=2", shown) == ([3], 4)
    with pytest.raises(ConfigurationError, match="golf-neural: needs the energy by a twin"):
        follow("golf-neural", falling)
    with pytest.raises(ConfigurationError, match="golf-neural: patience"):
        made("golf-neural:patience=0")
