import math

import numpy as np
import pytest
import torch

from golfbench.contracts import Decision, Evaluation
from golfbench.errors import ConfigurationError, OracleError
from golfbench.learning.acquisition import Acquisition
from golfbench.learning.explorer import Walks
from golfbench.minimization import StoppingRule
from golfbench.registry import registry
from golfbench.seeds import derived
from golfbench.specs import OptimizerSpec, SelectionSpec


def lbfgs():
    return registry().find(OptimizerSpec, "lbfgs").create({})


def selection(name: str, **parameters):
    return registry().find(SelectionSpec, name).create(parameters)


def streams(count: int) -> list[np.random.Generator]:
    return [derived(0, "trajectory", k) for k in range(count)]


def walk(model, starts, chosen, surrogate=None, steps: int = 6, inner_steps: int = 3, force_max: float = 1e-6):
    rule = StoppingRule(force_max, steps * inner_steps)
    return Walks(Acquisition("probe", chosen), lbfgs, rule, inner_steps, surrogate).offer(
        model, starts, streams(len(starts))
    )


def ids(offer) -> list[str]:
    return [candidate.molecule.id for candidate in offer.candidates]


def hashes(offer) -> list[str]:
    return [candidate.molecule.geometry_hash() for candidate in offer.candidates]


class Scripted:
    """A surrogate that says what is written for each trajectory, and remembers where it was asked."""

    def __init__(self, **energies: list[float]) -> None:
        self.energies = energies
        self.asked: dict[str, list[np.ndarray]] = {}

    def __call__(self, molecule):
        seen = self.asked.setdefault(molecule.id, [])
        seen.append(molecule.positions)
        return self.energies[molecule.id][len(seen) - 1]


def test_a_surrogate_that_refuses_a_geometry_counts_as_a_rise(potential, starts):
    def energy(molecule):
        if np.array_equal(molecule.positions, starts[0].positions):
            return 1.0
        raise OracleError("atoms 7 and 11 overlap", "input")

    assert ids(walk(potential, starts[:1], selection("golf"), energy)) == ["a@0"]


class Watcher:
    """A selection that keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def begin(self, molecule, rng):
        return self

    def observe(self, state):
        self.seen.append(state)
        return Decision(end=state.last)


def test_a_surrogate_may_tell_its_forces_and_has_none_where_it_fails(potential, starts):
    def answer(molecule):
        if not np.array_equal(molecule.positions, starts[0].positions):
            raise OracleError("atoms 7 and 11 overlap", "input")
        return -7.5, 2 * molecule.positions

    watcher = Watcher()
    walk(potential, starts[:1], watcher, answer, steps=1)
    first, second = watcher.seen
    assert first.surrogate_energy == -7.5
    assert np.array_equal(first.surrogate_forces, 2 * starts[0].positions)
    assert second.surrogate_energy == math.inf
    assert second.surrogate_forces.shape == second.positions.shape
    assert np.isnan(second.surrogate_forces).all()


@pytest.fixture
def starts(labelled):
    from dataclasses import replace

    return [replace(labelled[k].molecule, id=name) for k, name in ((0, "a"), (3, "b"), (8, "c"))]


@pytest.fixture
def potential(labelled, make_potential):
    return make_potential(labelled)


def test_golf_labels_the_state_before_the_surrogate_rises(potential, starts):
    surrogate = Scripted(a=[5, 4, 3, 9], b=[5, 6], c=[5, 4, 3, 2, 1, 0, -1])
    harvest = walk(potential, starts, selection("golf"), surrogate)
    assert ids(harvest) == ["a@2", "b@1", "c@5"]  # b's start has a label; c: T = 6 steps
    assert harvest.environment_steps == [3, 1, 6]
    for candidate, (name, step) in zip(harvest.candidates, (("a", 2), ("b", 1), ("c", 5)), strict=True):
        np.testing.assert_array_equal(candidate.molecule.positions, surrogate.asked[name][step])
    # One evaluation at each update and one at the start; an environment step is three updates.
    assert harvest.model_calls == sum(3 * steps + 1 for steps in (3, 1, 6))
    assert harvest.diverged == 0


def test_equal_surrogate_energy_is_no_rise(potential, starts):
    harvest = walk(potential, starts[:1], selection("golf"), Scripted(a=[5, 5, 5, 5.1]))
    assert ids(harvest) == ["a@2"]


def test_patience_counts_rises(potential, starts):
    surrogate = Scripted(a=[5, 6, 4, 7, 1, 8, 0])
    harvest = walk(potential, starts[:1], selection("golf", patience=3), surrogate)
    assert ids(harvest) == ["a@4"]


def test_a_ceiling_ends_without_a_label(potential, starts):
    surrogate = Scripted(a=[0.4, 0.3, 0.2, 0.49], b=[0.4, 0.3, 0.2, 0.47])  # 300 kcal/mol are 0.478 Hartree
    harvest = walk(potential, starts[:2], selection("golf", ceiling_kcal_mol=300.0), surrogate)
    assert ids(harvest) == ["b@2"]
    assert harvest.environment_steps == [3, 3]


def test_a_surrogate_without_an_answer_counts_as_a_rise(potential, starts):
    surrogate = Scripted(a=[5, 4, math.nan], b=[5, 4, math.inf])
    harvest = walk(potential, starts[:2], selection("golf"), surrogate)
    assert ids(harvest) == ["a@1", "b@1"]


def test_requests_come_in_the_order_of_the_starts_not_of_leaving(potential, starts):
    surrogate = Scripted(a=[5, 4, 3, 2, 1, 6], b=[5, 6], c=[5, 4, 6])
    harvest = walk(potential, starts, selection("golf"), surrogate)
    assert ids(harvest) == ["a@4", "b@1", "c@1"]


def test_the_real_surrogate_sees_environment_states_only(potential, starts):
    from golfbench.oracles.opening import open_oracle
    from golfbench.specs import ComponentRef

    mmff94, asked = open_oracle(ComponentRef("mmff94"), registry()), []

    def energy(molecule):
        asked.append(mmff94.energy(molecule))
        return asked[-1]

    harvest = walk(potential, starts[:1], selection("golf"), energy, steps=8, inner_steps=5)
    steps = harvest.environment_steps[0]
    assert len(asked) == steps + 1
    assert asked[:-1] == sorted(asked[:-1], reverse=True)
    assert asked[-1] > asked[-2] or steps == 8
    assert mmff94.energy(harvest.candidates[0].molecule) == asked[-2 if steps > 1 else -1]


def test_random_draws_one_state_after_the_start_from_its_own_stream(potential, starts):
    first = walk(potential, starts, selection("random"))
    assert [name[:2] for name in ids(first)] == ["a@", "b@", "c@"]
    assert all(1 <= int(name[2:]) <= 6 for name in ids(first))
    again = walk(potential, starts, selection("random"))
    assert ids(again) == ids(first)
    assert hashes(again) == hashes(first)
    assert first.environment_steps == [6, 6, 6]


def test_last_labels_the_converged_state(potential, starts):
    harvest = walk(potential, starts[:1], selection("last"), force_max=1e3)  # converged at the start: nothing to label
    assert harvest.candidates == []
    assert harvest.environment_steps == [0]
    harvest = walk(potential, starts[:1], selection("last"), steps=2)
    assert ids(harvest) == ["a@2"]


class Falling:
    """A model whose energy falls and whose force is no longer finite after a number of calls."""

    cutoff = 0.0

    def __init__(self, sound: int) -> None:
        self.left = sound

    def energy_forces(self, batch):
        self.left -= 1
        energies = torch.full((len(batch),), float(self.left), dtype=torch.float64)
        forces = torch.ones_like(batch.positions) * (0.1 if self.left >= 0 else math.nan)
        return Evaluation(energies, forces)


def test_a_walk_that_blows_up_is_counted_and_its_last_sound_state_labelled(starts):
    harvest = walk(Falling(4), starts[:1], selection("last"), inner_steps=1)
    assert harvest.diverged == 1
    assert ids(harvest) == ["a@6"]  # the last of the shorter steps, all of which the model failed on, is finite itself
    surrogate = Scripted(a=[5, 4, 3, 2, 1, 0])
    harvest = walk(Falling(4), starts[:1], selection("golf"), surrogate, inner_steps=1)
    assert ids(harvest) == ["a@3"]


def test_a_selection_may_ask_for_several_states_and_go_on(potential, starts):
    class Every:
        def begin(self, molecule, rng):
            return self

        def observe(self, state):
            return Decision(label=(state,), end=state.step == 3)

    harvest = walk(potential, starts[:1], Every())
    assert ids(harvest) == ["a@0", "a@1", "a@2", "a@3"]


def test_golf_without_a_surrogate_is_refused(potential, starts):
    with pytest.raises(ConfigurationError, match="golf: needs a surrogate"):
        walk(potential, starts[:1], selection("golf"))
