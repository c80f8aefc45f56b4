"""Batches in chunks and from a thread; training sets that stay in their file."""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golfbench import training_sets
from golfbench.contracts import Evaluation
from golfbench.errors import ConfigurationError
from golfbench.learning import loader as rooms
from golfbench.learning import pool as pools
from golfbench.learning.learner import Single, Task
from golfbench.learning.loader import Loader, chunks
from golfbench.learning.pool import InFile, Pool
from golfbench.learning.settings import TrainSettings
from golfbench.learning.targets import remainders

CPU = torch.device("cpu")


def gradient(learner, samples):
    for parameter in learner._parameters:
        parameter.grad = None
    for chunk in chunks(samples, learner._objective.cutoff, CPU):
        (learner._objective.loss(chunk)[0] * chunk.share).backward()
    return torch.cat([p.grad.reshape(-1) for p in learner._parameters if p.grad is not None])


def test_chunks_keep_the_gradient_of_the_whole_batch(labelled, make_potential, monkeypatch):
    potential = make_potential(labelled)
    potential.network.double()
    learner, pool = Single(Task(potential, TrainSettings(), 1, 0, "test")), Pool(potential, labelled)
    samples = [pool[k] for k in (7, 0, 9, 3, 4)]
    whole = gradient(learner, samples)
    assert len(chunks(samples, 5.0, CPU)) == 1
    monkeypatch.setitem(rooms.CHUNK_ATOMS, "cpu", max(len(s.molecule) for s in samples) + 1)
    assert len(chunks(samples, 5.0, CPU)) > 2
    split = gradient(learner, samples)
    assert float((split - whole).abs().max()) < 1e-10 * float(whole.abs().max())


@given(order=st.permutations(range(10)), most=st.integers(1, 400))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_sample_is_in_one_chunk_that_fits(labelled, make_potential, order, most):
    pool = Pool(make_potential(labelled), labelled)
    samples = [pool[k] for k in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rooms.CHUNK_ATOMS, "cpu", most)
        parts = chunks(samples, 2.0, CPU)
    found = [m.id for part in parts for m in part.batch.molecules]
    assert sorted(found) == sorted(s.molecule.id for s in samples)
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    assert all(len(part.batch.numbers) <= most or len(part.batch) == 1 for part in parts)
    if len(parts) == 1:
        assert found == [s.molecule.id for s in samples]  # as drawn
    wanted = {s.molecule.id: s for s in samples}
    for part in parts:
        for row, molecule in enumerate(part.batch.molecules):
            assert part.wanted.energies[row] == wanted[molecule.id].energy


def made_by(labelled, make_potential, draw):
    return Loader(Pool(make_potential(labelled), labelled), draw, 5.0, CPU)


def is_running() -> bool:
    return any(thread.name == "loader" for thread in threading.enumerate())


def test_batches_come_in_the_order_of_the_updates(labelled, make_potential):
    maker = made_by(labelled, make_potential, lambda update: [update % 10, (update + 3) % 10])
    found = [[m.id for chunk in batch for m in chunk.batch.molecules] for batch in maker.batches(4, 9)]
    assert found == [[labelled[u % 10].molecule.id, labelled[(u + 3) % 10].molecule.id] for u in range(4, 13)]
    assert not is_running()


@pytest.mark.parametrize("fails_at", [0, 1, 5])
def test_an_error_in_the_thread_comes_out(labelled, make_potential, fails_at):
    def draw(update):
        if update == fails_at:
            raise OSError("the file is gone")
        return [0]

    taken = []
    with pytest.raises(OSError, match="the file is gone"):
        taken.extend(made_by(labelled, make_potential, draw).batches(0, 8))
    assert not is_running()


def test_whoever_stops_early_leaves_no_thread(labelled, make_potential):
    running = made_by(labelled, make_potential, lambda update: [0]).batches(0, 1000)
    next(running)
    assert is_running()
    running.close()
    assert not is_running()


def both_pools(labelled, make_potential, monkeypatch, **options):
    potential = make_potential(labelled)
    kept = Pool(potential, labelled, **options)
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    lazy = Pool(potential, labelled, **options)
    assert kept.in_memory
    assert not lazy.in_memory
    return kept, lazy


def test_a_training_set_in_a_file_gives_the_same_batches(labelled, make_potential, monkeypatch):
    kept, lazy = both_pools(labelled, make_potential, monkeypatch, initial_share=0.5)
    for pool in (kept, lazy):
        assert all(pool.add(row) for row in remainders(labelled[:3], []))
    assert len(kept) == len(lazy) == 13
    for seed in range(5):
        drawn = [pool.draw(np.random.default_rng(seed), 6) for pool in (kept, lazy)]
        assert drawn[0] == drawn[1]
        for index in drawn[0]:
            one, two = kept[index], lazy[index]
            assert one.molecule.id == two.molecule.id == kept.molecule(index).id == lazy.molecule(index).id
            assert torch.equal(one.energy, two.energy)
            assert torch.equal(one.forces, two.forces)


def test_a_training_in_a_file_is_the_one_in_memory_bit_by_bit(labelled, make_potential, monkeypatch):
    ends = []
    for most in (100, 5):
        monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", most)
        potential = make_potential(labelled)
        learner = Single(Task(potential, TrainSettings(batch_size=4), 6, 0, "test"))
        learner.fit(Pool(potential, labelled), 6)
        ends.append([p.detach().clone() for p in potential.network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_in_a_file_the_next_label_stands_in_for_one_that_the_guard_refuses(labelled, make_potential, monkeypatch):
    norms = [float(np.linalg.norm(item.label.forces)) for item in labelled]
    guard = sorted(norms)[4]
    _, lazy = both_pools(labelled, make_potential, monkeypatch, guard=guard)
    for index in range(10):
        sound = next(k % 10 for k in range(index, index + 10) if norms[k % 10] <= guard)
        assert lazy[index].molecule.id == labelled[sound].molecule.id
    with pytest.raises(IndexError, match="no label of the initial training set is learned from"):
        InFile(labelled, lambda indices: [None] * len(indices)).samples([0])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_held_out_are_whole_molecules_and_the_same_ones_as_the_pool_grows(labelled, make_potential, share, seed):
    def group(index):
        return pool.molecule(index).id.rpartition("/")[0]

    pool = Pool(make_potential(labelled), labelled)
    before = pool.held_out(share, seed)
    groups = {group(k) for k in before}
    assert before == [k for k in range(10) if group(k) in groups]
    assert 0 < len(before) < 10
    grown = [replace(item, molecule=replace(item.molecule, id=f"{item.molecule.id}@3")) for item in labelled]
    assert all(pool.add(row) for row in remainders(grown, []))
    after = pool.held_out(share, seed)
    assert after == before + [k + 10 for k in before]
    for draw in range(5):
        assert not set(pool.draw(np.random.default_rng(draw), 8, after)) & set(after)


class InRows(Sequence):
    """Labels of which each is counted when it is read."""

    def __init__(self, labels):
        self.labels, self.read = labels, Counter()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        if isinstance(index, int):
            self.read[index] += 1
        return self.labels[index]

    def ids(self):
        return [item.molecule.id for item in self.labels]

    def place(self, index):
        return f"many.db, row {index + 1}"


def many(labelled, molecules, conformers):
    """Labels of molecules with conformers next to each other."""
    names = [f"m{m}/{c}" for m in range(molecules) for c in range(conformers)]
    return [
        replace(item, molecule=replace(item.molecule, id=name))
        for name, item in zip(names, itertools.cycle(labelled), strict=False)
    ]


@pytest.mark.parametrize("molecules", [1, 2, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_something_is_left_to_learn_from_however_few_molecules_there_are(labelled, make_potential, molecules, share):
    item = labelled[0]
    names = [f"{molecule}/{conformer}" for molecule in range(molecules) for conformer in range(2)]
    initial = [replace(item, molecule=replace(item.molecule, id=name)) for name in names]
    pool = Pool(make_potential(labelled), initial)
    held = pool.held_out(share, 0)
    assert pool.draw(np.random.default_rng(0), 4, held)
    assert bool(held) == (molecules > 1)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_in_a_file_whole_molecules_are_held_out_and_no_label_is_read_for_it(
    labelled, make_potential, share, monkeypatch
):
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    rows = InRows(many(labelled, 20, 4))
    pool = Pool(make_potential(labelled), rows)
    rows.read.clear()
    held = pool.held_out(share, 1)
    assert not rows.read
    assert len(held) == int(share * 80) // 4 * 4
    assert {k // 4 for k in held} == {k // 4 for k in range(80) if set(range(k // 4 * 4, k // 4 * 4 + 4)) <= set(held)}
    assert held != pool.held_out(share, 2)
    grown = replace(rows.labels[held[0]], molecule=replace(rows.labels[held[0]].molecule, id="m99/0"))
    known = replace(rows.labels[held[0]], molecule=replace(rows.labels[held[0]].molecule, id=rows.ids()[held[0]]))
    assert all(pool.add(row) for row in remainders([grown, known], []))
    assert pool.held_out(share, 1) == [*held, 81]


def test_of_a_set_of_one_molecule_or_many_labels_no_more_are_held_out_than_asked(labelled, make_potential, monkeypatch):
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    monkeypatch.setattr(pools, "MOST_HELD_OUT", 8)
    assert len(Pool(make_potential(labelled), InRows(many(labelled, 20, 4))).held_out(0.5, 0)) == 8


@pytest.mark.parametrize("held", [set(), {0}, {9}, {0, 1, 2}, {3, 5, 9, 11}, {10, 11, 12}, {2, 6, 7, 8}])
def test_what_is_not_held_out_is_drawn_as_from_a_list_of_it(labelled, make_potential, held):
    pool = Pool(make_potential(labelled), labelled, initial_share=0.5)
    assert all(pool.add(row) for row in remainders(labelled[:3], []))
    old, new = ([k for k in indices if k not in held] for indices in (range(10), range(10, 13)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        added = min(3, len(new)) if new else 0
        picks = rng.choice(len(old), min(6 - added, len(old)), replace=False)
        expected = [old[k] for k in picks] + [new[k] for k in rng.choice(len(new), added, replace=False)]
        assert pool.draw(np.random.default_rng(seed), 6, held) == expected


@pytest.mark.parametrize("difference_weight", [0.0, 1.0])
def test_a_training_reads_what_it_draws_and_nothing_else(labelled, make_potential, monkeypatch, difference_weight):
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    rows = InRows(many(labelled, 200, 2))
    settings = TrainSettings(batch_size=4, validation_share=0.01, difference_weight=difference_weight)
    learner = Single(Task(make_potential(labelled), settings, 10, 0, "test"))
    pool = Pool(learner.potential(), rows)
    pool.samples([0])  # what energies to expect is looked at once
    rows.read.clear()
    for _ in range(2):
        learner.fit(pool, 5)
    held = set(pool.held_out(0.01, 0))
    assert sum(count for k, count in rows.read.items() if k not in held) == 10 * 4
    assert {k for k, count in rows.read.items() if k in held} == held
    assert max(rows.read[k] for k in held) == 3  # at the start, and after each fit


def test_a_label_that_cannot_be_right_is_named_when_it_is_learned_from(labelled, make_potential, monkeypatch):
    in_ev = replace(labelled[3].label, energy=labelled[3].label.energy * 27.2114)
    pushed = replace(labelled[7].label, forces=labelled[7].label.forces + 0.1)
    wrong = many(labelled, 40, 2)
    monkeypatch.setattr(training_sets, "SAMPLED", 40)  # every second one
    wrong[3], wrong[7] = replace(labelled[3], label=in_ev), replace(labelled[7], label=pushed)
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    pool = Pool(make_potential(labelled), InRows(wrong))
    assert [s.molecule.id for s in pool.samples([8, 2])] == ["m4/0", "m1/0"]
    with pytest.raises(
        ConfigurationError, match=rf"^many\.db, row 4: {labelled[3].molecule.id}: the energy is -.* away"
    ):
        pool.samples([0, 3])
    with pytest.raises(ConfigurationError, match=r"^many\.db, row 8: .*the forces add up to"):
        pool.samples([7])
    nameless = Pool(make_potential(labelled), tuple(wrong))
    with pytest.raises(ConfigurationError, match=r"^label 4 of the initial set: "):
        nameless.samples([3])


def test_of_a_set_in_a_file_a_base_is_asked_once_for_a_batch(labelled, make_potential, monkeypatch):
    class Base:
        cutoff, asked = None, ()

        def energy_forces(self, batch):
            self.asked = (*self.asked, len(batch))
            return Evaluation(torch.zeros(len(batch), dtype=torch.float64), torch.zeros(len(batch.numbers), 3).double())

    base = Base()
    potential = make_potential(labelled, bases=[base])
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 5)
    pool, base.asked = Pool(potential, labelled), ()
    assert [s.molecule.id for s in pool.samples([4, 4, 0])] == [labelled[k].molecule.id for k in (4, 4, 0)]
    assert base.asked == (3,)


def test_a_conformer_is_another_one_of_the_same_molecule(labelled, make_potential):
    alone = replace(labelled[0], molecule=replace(labelled[0].molecule, id="alone/0"))
    pool = Pool(make_potential(labelled), [*labelled, alone])
    for index in range(10):
        first, second = pool.with_conformer(index, np.random.default_rng(index))
        assert first == index != second
        assert pool.molecule(first).id.rpartition("/")[0] == pool.molecule(second).id.rpartition("/")[0]
    assert pool.with_conformer(10, np.random.default_rng(0)) == [10]
