"""Weights made elsewhere: references that follow the labels, and training that does no harm."""

import dataclasses

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.contracts import LabelledMolecule
from golfbench.learning.learner import Single, Task
from golfbench.learning.pool import Pool
from golfbench.learning.references import FollowingReferences
from golfbench.learning.settings import FineTuning, TrainSettings
from golfbench.learning.targets import Remainder

SHIFTS = {1: -0.5, 6: -37.8, 7: -54.6, 8: -75.0, 9: -99.7, 16: -398.0, 17: -460.0, 35: -2570.0}


def shifted(potential, labelled: list[LabelledMolecule], noise: float = 0.0) -> list[Remainder]:
    """What another level of theory says: the potential itself, and an energy for each atom."""
    rng = np.random.default_rng(1)
    rows = []
    for item in labelled:
        molecule = item.molecule
        answer = potential.energy_forces(make_batch([molecule], potential.cutoff))
        energy = float(answer.energies[0]) + sum(SHIFTS[int(z)] for z in molecule.numbers)
        rows.append(Remainder(molecule, energy + noise * rng.standard_normal(), answer.forces.numpy()))
    return rows


def test_shifts_of_atoms_are_found_and_the_targets_follow(labelled, make_potential):
    potential = make_potential(labelled)
    before, rows = dict(potential.atom_energies), shifted(potential, labelled)
    pool, follow = Pool(potential, []), FollowingReferences(potential)
    for row in rows:
        pool.add(row)
    follow.fit(pool)
    for index, row in enumerate(rows):  # what is left for the network is what it says already
        answer = potential.energy_forces(make_batch([row.molecule], potential.cutoff))
        assert float(answer.energies[0]) == pytest.approx(row.energy, abs=1e-6)
        references = potential.reference_energies(make_batch([row.molecule], 0.0))
        assert float(pool[index].energy) * potential.scale + float(references[0]) == pytest.approx(row.energy, abs=1e-9)
    assert potential.atom_energies != before


def test_references_do_not_depend_on_what_was_learned_meanwhile_nor_on_how_the_labels_came(labelled, make_potential):
    rows = shifted(make_potential(labelled), labelled, noise=0.01)

    def fitted(groups: list[int], disturb: bool) -> dict[int, float]:
        potential = make_potential(labelled)
        pool, follow, left = Pool(potential, []), FollowingReferences(potential), iter(rows)
        for size in groups:
            for _ in range(size):
                pool.add(next(left))
            follow.fit(pool)
            if disturb:
                with torch.no_grad():
                    for parameter in potential.network.parameters():
                        parameter.mul_(1.1)
        return dict(potential.atom_energies)

    assert fitted([10], False) == fitted([3, 0, 5, 2], True)


def test_without_labels_nothing_changes(labelled, make_potential):
    potential = make_potential(labelled)
    before, pool = dict(potential.atom_energies), Pool(potential, [])
    FollowingReferences(potential).fit(pool)
    assert potential.atom_energies == before
    assert pool.held_out(0.5, 0) == []


def test_an_empty_initial_set_leaves_the_whole_batch_to_what_was_acquired(labelled, make_potential):
    pool = Pool(make_potential(labelled), [], initial_share=0.5)
    for item in labelled:
        pool.add(Remainder(item.molecule, item.label.energy, item.label.forces))
    assert sorted(pool.draw(np.random.default_rng(0), 8)) == sorted(set(pool.draw(np.random.default_rng(0), 8)))
    assert len(pool.draw(np.random.default_rng(0), 8)) == 8


@pytest.mark.parametrize("rate", [1e-4, 0.05])
def test_the_end_is_never_worse_than_the_start_on_held_out_molecules(labelled, make_potential, rate):
    potential = make_potential(labelled)
    pool = Pool(potential, [])
    settings = FineTuning(learning_rate=rate, validation_share=0.4, batch_size=4, ema_decay=0.0)
    learner = Single(Task(potential, TrainSettings(**settings.model_dump(exclude={"updates_per_label"})), 20, 0, "x"))
    start = [p.detach().clone() for p in potential.network.parameters()]
    for half in (labelled[:4], labelled[4:]):  # the molecules that are held out change as the pool grows
        for item in half:
            pool.add(Remainder(item.molecule, item.label.energy, item.label.forces))
        learner.fit(pool, 10)
    learner.finish(pool)
    held_out = pool.held_out(0.4, 0)
    at_the_end = float(learner._loss_on(pool, held_out))
    with torch.no_grad():
        for parameter, value in zip(potential.network.parameters(), start, strict=True):
            parameter.copy_(value)
    assert at_the_end <= float(learner._loss_on(pool, held_out))


def test_labels_far_apart_in_energy_do_not_disturb_the_forces_that_are_learned(labelled, make_potential):
    """A level of theory that differs by a constant an atom teaches nothing: the network stays as it is."""
    potential = make_potential(labelled)
    rows = [dataclasses.replace(row) for row in shifted(potential, labelled)]
    pool, follow = Pool(potential, []), FollowingReferences(potential)
    for row in rows:
        pool.add(row)
    follow.fit(pool)
    learner = Single(Task(potential, TrainSettings(learning_rate=1e-4, ema_decay=0.0), 1, 0, "x"))
    assert learner.fit(pool, 1) < 1e-10


def test_a_training_that_does_harm_ends_with_its_start(labelled, make_potential, caplog):
    """New labels are judged before they are learned from: no label is kept aside for that."""
    harmed = []
    for rate in (1e-5, 0.2):
        potential = make_potential(labelled)
        start = [p.detach().clone() for p in potential.network.parameters()]
        pool = Pool(potential, [])
        settings = TrainSettings(learning_rate=rate, batch_size=4, ema_decay=0.0, keeps_start=True, schedule="constant")
        learner = Single(Task(potential, settings, 12, 0, "x"))
        for part in (labelled[:4], labelled[4:7], labelled[7:]):
            for item in part:
                pool.add(Remainder(item.molecule, item.label.energy, item.label.forces))
            learner.fit(pool, 4)
        learner.finish(pool)
        harmed.append(all(map(torch.equal, start, potential.network.parameters())))
    assert harmed == [False, True]
    assert "its weights are back" in caplog.text


def test_a_resumed_training_judges_the_same_labels(labelled, make_potential):
    rows = [Remainder(item.molecule, item.label.energy, item.label.forces) for item in labelled]
    settings = TrainSettings(learning_rate=1e-3, batch_size=4, keeps_start=True)

    def trained(stop: bool) -> torch.Tensor:
        potential = make_potential(labelled)
        pool, learner = Pool(potential, []), Single(Task(potential, settings, 9, 0, "x"))
        for number, part in enumerate((rows[:4], rows[4:7], rows[7:])):
            for row in part:
                pool.add(row)
            learner.fit(pool, 3)
            if stop and number == 0:
                state, update = learner.state(), learner.update
                potential = make_potential(labelled)
                pool, learner = Pool(potential, []), Single(Task(potential, settings, 9, 0, "x"))
                for row in rows[:4]:
                    pool.add(row)
                learner.restore(state, update)
        return learner.state()["ahead"]

    assert torch.equal(trained(False), trained(True))
    assert trained(False)[0] != trained(False)[1]
    assert int(trained(False)[2]) == len(rows)


def test_fine_tuning_is_gentle_by_default():
    gentle = FineTuning()
    assert gentle.learning_rate < TrainSettings().learning_rate
    assert gentle.keeps_start
