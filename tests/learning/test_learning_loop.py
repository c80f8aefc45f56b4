import collections
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from golfbench.contracts import Decision
from golfbench.learning import checkpoint
from golfbench.learning.loop import FRUITLESS_ROUNDS
from golfbench.learning.pool import Pool


def state(golf) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in golf.parts.learner.potential().network.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class At:
    """Labels environment step ``step`` of each trajectory; beyond the end, nothing."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def begin(self, molecule, rng):
        return self

    def observe(self, state):
        return Decision(label=(state,) if state.step in self.steps else (), end=state.last)


@pytest.mark.parametrize(("budget", "parallel"), [(6, 2), (5, 2), (3, 8), (1, 1)])
def test_the_budget_is_spent_exactly(bench, budget, parallel):
    place = bench("a")
    golf = place.build(At(2), budget=budget, parallel=parallel)
    progress = golf.run()
    calls = place.ledger()
    assert progress.spent == len(calls) == budget
    assert {(c["combination"], c["stage"], c["purpose"], c["outcome"]) for c in calls} == {
        ("probe", "after", "training", "ok")
    }
    assert progress.round == -(-budget // parallel)
    assert golf.parts.learner.update == 2 * budget
    assert len(golf.parts.pool) == 10 + budget


def test_the_budget_is_kept_when_a_selection_asks_for_more(bench):
    place = bench("a")
    assert place.build(At(1, 2, 3), budget=7, parallel=2).run().spent == 7  # rounds of 6 and 1
    assert len(place.ledger()) == 7


def test_the_real_golf_labels_the_previous_state(bench, rough):
    place = bench("a")
    asked = []

    def surrogate(molecule):
        asked.append((molecule.id, molecule.positions.copy(), rough(molecule)))
        return asked[-1][2]

    golf = place.build("golf", surrogate, budget=1, parallel=1, steps=10)
    golf.run()
    picked = golf.parts.pool.molecule(10)
    round_of_it = [entry for entry in asked if entry[0] == picked.id.partition("@")[0]]
    expected = max(len(round_of_it) - 2, 1)  # the start has its label already
    assert int(picked.id.partition("@")[2]) == expected
    assert (picked.positions == round_of_it[expected][1]).all()
    energies = [energy for _, _, energy in round_of_it]
    assert energies[-1] > energies[-2] or len(round_of_it) == 11


def test_each_label_is_trained_on_with_the_initial_set(bench):
    place = bench("a")
    golf = place.build(At(2), budget=4, parallel=2, updates_per_label=3)
    seen = []
    draw = golf.parts.pool.draw

    def spy(rng, size, held_out):
        seen.append((golf.progress.round, draw(rng, size, held_out)))
        return seen[-1][1]

    golf.parts.pool.draw = spy
    golf.run()
    assert [number for number, _ in seen] == [0] * 6 + [1] * 6
    for number, picks in seen:
        added = sum(i >= 10 for i in picks)
        assert added == min(int(4 * 0.9), 2 * (number + 1))


def test_known_geometries_cost_nothing_and_the_loop_gives_up(bench, caplog):
    place = bench("a")
    golf = place.build(At(0), budget=4, parallel=2)  # the starts are labelled already
    with caplog.at_level("WARNING", logger="golfbench"):
        progress = golf.run()
    assert progress.spent == 0
    assert progress.known == 2 * FRUITLESS_ROUNDS == 2 * progress.round
    assert golf.parts.learner.update == 0
    assert place.ledger() == []
    assert "no new geometry in 20 rounds" in caplog.text


def test_the_same_geometry_twice_in_a_round_is_asked_once(bench, mmff_labelled):
    place = bench("a")
    golf = place.build(At(1), budget=4, parallel=4, initial=[mmff_labelled[0]] * 4, restart="initial")
    golf.run()
    first = place.ledger()
    assert len({c["geometry_sha256"] for c in first}) == len(first) == golf.progress.spent == 4
    assert golf.progress.known > 0


def test_failed_labels_count_and_are_not_asked_again(bench, script):
    def fail_every_second(call):
        return {"outcome": "not_converged", "error": "no SCF"} if call % 2 else None

    place = bench("a")
    executor = script(fail_every_second)
    golf = place.build(At(2), budget=6, parallel=2, executor=executor)
    progress = golf.run()
    assert (progress.spent, progress.failed, executor.calls) == (6, 3, 6)
    assert len(golf.parts.pool) == 10 + 3
    assert golf.parts.learner.update == 12
    outcomes = collections.Counter(call["outcome"] for call in place.ledger())
    assert outcomes == {"ok": 3, "not_converged": 3}


def test_where_no_label_is_to_be_had_and_there_was_none_nothing_is_learned(bench, script):
    place = bench("a")
    golf = place.build(At(2), budget=4, parallel=2, executor=script(lambda call: {"outcome": "input", "error": "no"}))
    golf.parts = replace(golf.parts, pool=Pool(golf.parts.learner.potential(), [], 0.1))
    progress = golf.run()
    assert (progress.spent, progress.failed) == (4, 4)
    assert golf.parts.learner.update == 0


def test_the_force_norm_guard_refuses_labels_but_they_were_paid_for(bench):
    place = bench("a")
    golf = place.build(At(1), budget=4, force_norm_guard_hartree_per_angstrom=0.33)
    sound = len(golf.parts.pool)
    assert 1 < sound < 10  # the initial set is guarded as well, as in the published code
    progress = golf.run()
    assert progress.spent == 4
    assert progress.guarded > 0
    assert len(golf.parts.pool) == sound + 4 - progress.guarded
    assert len(place.ledger()) == 4
    off = bench("b").build(At(1), budget=4, force_norm_guard_hartree_per_angstrom=None)
    assert off.run().guarded == 0
    assert len(off.parts.pool) == 14


def test_restart_all_starts_from_the_grown_set(bench):
    def starts(restart):
        place = bench(restart)
        golf = place.build(At(1), budget=12, parallel=6, restart=restart, updates_per_label=0)
        golf.run()
        return [call["molecule"].rpartition("@")[0] for call in place.ledger()]

    initial = {item.molecule.id for item in bench("x").labels}
    assert set(starts("initial")) <= initial
    assert any("@" in start for start in starts("all"))


def test_none_trains_without_labels(bench):
    place = bench("a")
    golf = place.build("none", budget=6, asks_oracle=False)
    before = state(golf)
    progress = golf.run()
    assert (progress.spent, progress.trajectories, progress.model_calls) == (6, 0, 0)
    assert golf.parts.learner.update == 12
    assert len(golf.parts.pool) == 10
    assert place.ledger() == []
    assert not equal(state(golf), before)


def test_a_budget_of_zero_leaves_the_baseline_as_it_is(bench):
    golf = bench("a").build(At(1), budget=0)
    before = state(golf)
    assert golf.run().round == 0
    assert equal(state(golf), before)


def whole_run(bench, selection, surrogate, lag=0):
    place = bench("whole")
    golf = place.build(selection, surrogate, lag=lag)
    golf.run()
    return state(golf), place.ledger(), golf.progress.to_json(), golf._added


@pytest.mark.parametrize(("selection", "lag"), [("golf", 0), ("random", 0), ("golf", 1), ("random", 2)])
@pytest.mark.parametrize("dies_at", [0, 3, 5])
def test_a_loop_that_died_in_an_oracle_call_ends_as_the_uninterrupted_one(
    bench, script, rough, selection, lag, dies_at
):
    weights, ledger, progress, added = whole_run(bench, selection, rough, lag)

    class Killed(Exception):
        pass

    def die(call):
        if call >= dies_at:
            raise Killed

    place = bench("broken")
    with pytest.raises(Killed):
        place.build(selection, rough, executor=script(die), lag=lag).run()
    place.service.close()
    asked = script()
    golf = place.build(selection, rough, executor=asked, lag=lag)
    golf.run()
    assert equal(state(golf), weights)
    assert (place.ledger(), golf.progress.to_json(), golf._added) == (ledger, progress, added)
    assert asked.calls == 6 - dies_at


def test_a_loop_with_its_newest_checkpoint_cut_short_ends_as_the_uninterrupted_one(bench, script, rough, caplog):
    weights, ledger, progress, added = whole_run(bench, "golf", rough)

    def die(call):
        if call == 5:
            raise MemoryError

    place = bench("broken")
    with pytest.raises(MemoryError):
        place.build("golf", rough, executor=script(die)).run()
    place.service.close()
    rounds = sorted((place.folder / "checkpoints").iterdir())
    assert len(rounds) == 2
    rounds[-1].write_bytes(rounds[-1].read_bytes()[:-100])
    asked = script()
    golf = place.build("golf", rough, executor=asked)
    golf.run()
    assert "trying the one before" in caplog.text
    assert equal(state(golf), weights)
    assert (place.ledger(), golf.progress.to_json(), golf._added) == (ledger, progress, added)
    assert asked.calls == 1  # the labels of the round that is done again are in the store


def test_failures_and_refusals_are_remembered_by_a_resumed_loop(bench, script):
    def act(call):
        if call == 5:
            raise MemoryError
        return {"outcome": "time_limit", "error": "gone"} if call == 0 else None

    place = bench("broken")
    with pytest.raises(MemoryError):
        place.build(At(2), executor=script(act)).run()
    place.service.close()
    golf = place.build(At(2))
    progress = golf.run()
    assert (progress.spent, progress.failed) == (6, 1)
    assert len(golf._refused) == 1
    assert collections.Counter(call["outcome"] for call in place.ledger()) == {"ok": 5, "time_limit": 1}


def test_a_finished_loop_does_nothing_when_it_is_run_again(bench):
    place = bench("a")
    golf = place.build(At(2))
    golf.run()
    weights, ledger = state(golf), place.ledger()
    again = place.build(At(2))
    again.run()
    assert equal(state(again), weights)
    assert place.ledger() == ledger
    assert again.parts.learner.update == golf.parts.learner.update


def test_a_checkpoint_says_how_far_the_loop_is(bench):
    place = bench("a")
    golf = place.build(At(2), budget=6, parallel=2)
    reports = []
    golf.run(lambda progress: reports.append(progress.spent))
    assert reports == [2, 4, 6]
    _, header = checkpoint.load(place.folder / "checkpoints" / "round-0000003.safetensors")
    assert header["progress"] == golf.progress.to_json() | {"round": 3, "spent": 6}
    assert header["update"] == 12
    assert len(header["added"]) == 6
    assert json.dumps(header)


class Slow(ThreadPoolExecutor):
    """Answers when it is told to, each call with the weights that the loop had when it was asked and answered."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.free = threading.Event()

    def submit(self, function, /, *arguments):
        def work():
            assert self.free.wait(30)
            return function(*arguments)

        return super().submit(work)


def test_trajectories_and_training_go_on_while_the_oracle_works(bench):
    place, slow = bench("a"), Slow(8)
    golf = place.build(At(1), budget=6, parallel=2, lag=2, executor=slow)
    seen = []

    def look(progress):
        seen.append((progress.spent, len(golf.parts.pool) - 10, golf.parts.learner.update))
        if progress.round == 2:  # two rounds were walked, and nobody has answered yet
            slow.free.set()

    progress = golf.run(look)
    assert seen == [(2, 0, 0), (4, 0, 0), (6, 2, 4), (6, 4, 8), (6, 6, 12)]
    assert progress.waited_rounds == 6 * 2
    assert len(place.ledger()) == 6


@pytest.mark.parametrize("lag", [0, 1])
def test_many_workers_teach_what_one_does(bench, rough, lag):
    ends = []
    for workers in (1, 4):
        place = bench(f"{workers}")
        golf = place.build("golf", rough, budget=8, parallel=4, lag=lag, executor=ThreadPoolExecutor(workers))
        golf.run()
        ends.append((state(golf), golf._added, golf.progress.to_json()))
        place.service.close()
    assert equal(ends[0][0], ends[1][0])
    assert ends[0][1:] == ends[1][1:]


def test_as_they_come_every_label_is_learned_from_once(bench):
    place = bench("a")
    golf = place.build(At(1), budget=9, parallel=3, lag=2, deterministic=False, executor=ThreadPoolExecutor(3))
    progress = golf.run()
    assert (progress.spent, len(golf.parts.pool), golf.parts.learner.update) == (9, 10 + 9, 18)
    assert progress.waited_rounds <= 9 * 2
    assert sorted(golf._added) == sorted(set(golf._added))
    assert len(place.ledger()) == 9


def test_a_killed_loop_asks_again_for_what_was_on_its_way(bench, script):
    place = bench("a")
    golf = place.build(At(1), budget=4, parallel=2, lag=1)
    golf._round()  # two labels are asked for and not learned from
    place.service.close()
    asked = script()
    again = place.build(At(1), budget=4, parallel=2, lag=1, executor=asked)
    progress = again.run()
    assert (progress.spent, len(again.parts.pool)) == (4, 14)
    assert asked.calls == 2  # the first two were delivered before the end
    assert len(place.ledger()) == 4
