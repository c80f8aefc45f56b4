"""What a learner can be told: rates of layers, schedules, decay, differences, validation, a loss; committees."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.contracts import LabelledMolecule
from golfbench.errors import ConfigurationError, TrainingError
from golfbench.learning.learner import Committee, Single, Task
from golfbench.learning.loader import chunks
from golfbench.learning.objective import differences_within
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.settings import TrainSettings

CPU = torch.device("cpu")


def task(potential, axis="test", total=20, **settings) -> Task:
    given = {"batch_size": 4, "learning_rate": 2e-3, "ema_decay": 0.0} | settings
    return Task(potential, TrainSettings(**given), total, 0, axis)


def copies(potential):
    return [{name: p.detach().clone() for name, p in n.named_parameters()} for n in potential.networks]


def same(a, b):
    return all(x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in zip(a, b, strict=True))


def test_frozen_layers_stay_to_the_bit_and_others_move_at_their_own_rate(labelled, make_potential):
    potential = make_potential(labelled)
    (before,) = copies(potential)
    rates = {"representation": 0.1, "representation.embedding": 0.0}
    Single(task(potential, rates=rates)).fit(Pool(potential, labelled), 1)
    (after,) = copies(potential)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    frozen = {name for name in before if name.startswith("representation.embedding")}
    assert frozen
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    slow = max(v for name, v in moved.items() if name.startswith("representation") and name not in frozen)
    fast = max(v for name, v in moved.items() if not name.startswith("representation"))
    assert fast == pytest.approx(2e-3, rel=0.05)  # Adam's first update moves a weight by the rate
    assert slow == pytest.approx(2e-4, rel=0.05)
    decayed = Single(task(potential, rates=rates, weight_decay=0.1, ema_decay=0.9))
    decayed.fit(Pool(potential, labelled), 3)
    assert all(torch.equal(copies(potential)[0][name], before[name]) for name in frozen)


@pytest.mark.parametrize("rates", [{"reprsentation": 0.5}, {"representation": 1.0, "readout": 0.0}])
def test_a_layer_that_is_not_there_is_refused(labelled, make_potential, rates):
    with pytest.raises(ConfigurationError, match="rates: no layer begins with 're"):
        Single(task(make_potential(labelled), rates=rates))


def test_nothing_to_train_is_refused(labelled, make_potential):
    with pytest.raises(ConfigurationError, match="test: every layer is frozen"):
        Single(task(make_potential(labelled), rates={"": 0.0}))


def test_the_warm_up_is_linear_and_the_constant_schedule_stays(labelled, make_potential):
    learner = Single(task(make_potential(labelled), total=10, warmup_updates=4, schedule="constant"))
    rates = []
    for learner.update in range(12):
        rates.append(learner.rate())
    assert rates == pytest.approx([5e-4, 1e-3, 1.5e-3, *[2e-3] * 9])
    cosine = Single(task(make_potential(labelled), total=10, warmup_updates=4))
    cosine.update = 4
    assert cosine.rate() == pytest.approx(2e-3)
    cosine.update = 7  # halfway between the end of the warm-up and that of the training
    assert cosine.rate() == pytest.approx((2e-3 + 2e-6) / 2)
    cosine.update = 10
    assert cosine.rate() == pytest.approx(2e-6)


def test_weight_decay_is_decoupled(labelled, make_potential):
    """Without a gradient Adam leaves a weight alone; AdamW takes rate times decay of it away."""
    potential = make_potential(labelled)
    (before,) = copies(potential)
    settings = {"weight_decay": 0.5, "energy_weight": 0.0, "force_weight": 0.0, "schedule": "constant"}
    Single(task(potential, **settings)).fit(Pool(potential, labelled), 1)
    (after,) = copies(potential)
    trained = [name for name in before if not torch.equal(after[name], before[name])]
    assert trained
    for name in trained:
        torch.testing.assert_close(after[name], before[name] * (1 - 2e-3 * 0.5), rtol=1e-6, atol=0)


def test_differences_do_not_depend_on_a_constant_of_a_molecule(labelled):
    batch = make_batch([item.molecule for item in labelled], 1.0)
    errors = torch.tensor(np.random.default_rng(0).normal(size=10))
    groups = [item.molecule.id.rpartition("/")[0] for item in labelled]
    constants = {group: 10.0 * k for k, group in enumerate(dict.fromkeys(groups))}
    shifted = errors + torch.tensor([constants[group] for group in groups])
    assert float(differences_within(batch, shifted)) == pytest.approx(float(differences_within(batch, errors)))
    # Two conformers each: the error from their mean is half of their difference.
    pairs = {g: [float(errors[k]) for k in range(10) if groups[k] == g] for g in constants}
    by_hand = np.mean([((a - b) / 2) ** 2 for a, b in pairs.values()])
    assert float(differences_within(batch, errors)) == pytest.approx(by_hand)
    alone = make_batch([labelled[0].molecule], 1.0)
    assert float(differences_within(alone, errors[:1])) == 0.0


def test_a_training_on_differences_does_not_depend_on_reference_energies(labelled, make_potential):
    ends = []
    for constant in (0.0, 3.0):  # the same for all conformers of the first molecule
        group = labelled[0].molecule.id.rpartition("/")[0] + "/"
        rows = [
            LabelledMolecule(i.molecule, replace(i.label, energy=i.label.energy + constant))
            if i.molecule.id.startswith(group)
            else i
            for i in labelled
        ]
        potential = make_potential(labelled)
        learner = Single(task(potential, energy_weight=0.0, difference_weight=1.0))
        losses = [learner.fit(Pool(potential, rows), 2) for _ in range(3)]
        ends.append((losses, copies(potential)[0]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    for name, weights in ends[0][1].items():
        torch.testing.assert_close(weights, ends[1][1][name], rtol=0, atol=1e-4)


def validation_loss(learner, pool):
    held_out = pool.held_out(0.4, 0)
    with torch.enable_grad():
        parts = chunks([pool[k] for k in held_out], learner._objective.cutoff, CPU)
        return float(sum(learner._objective.loss(part)[0].detach() * part.share for part in parts))


def test_the_best_weights_on_held_out_molecules_are_kept_and_never_worse_ones_than_the_start(labelled, make_potential):
    potential = make_potential(labelled)
    pool = Pool(potential, labelled)
    learner = Single(task(potential, validation_share=0.4, learning_rate=0.1, schedule="constant"))
    start = copies(potential)
    first = validation_loss(learner, pool)
    learner.fit(pool, 15)
    assert validation_loss(learner, pool) > first
    learner.finish(pool)
    assert same(copies(potential), start)


def test_of_several_looks_the_best_one_counts(labelled, make_potential):
    potential = make_potential(labelled)
    pool = Pool(potential, labelled)
    learner = Single(task(potential, validation_share=0.4, schedule="constant", total=40))
    seen = [(validation_loss(learner, pool), copies(potential))]
    for _ in range(8):
        learner.fit(pool, 5)
        seen.append((validation_loss(learner, pool), copies(potential)))
    learner.finish(pool)
    assert same(copies(potential), min(seen, key=lambda pair: pair[0])[1])
    assert min(loss for loss, _ in seen) < seen[0][0]


def test_held_out_molecules_are_not_learned_from(labelled, make_potential):
    potential = make_potential(labelled)
    pool = Pool(potential, labelled)
    held_out = set(pool.held_out(0.4, 0))
    drawn = []
    draw = pool.draw
    pool.draw = lambda *given: drawn.extend(picks := draw(*given)) or picks
    Single(task(potential, validation_share=0.4)).fit(pool, 10)
    assert drawn
    assert not held_out & set(drawn)


def test_a_network_may_have_a_loss_of_its_own(labelled, make_potential):
    potential = make_potential(labelled)
    asked = []

    class Own(type(potential.network)):
        def loss(self, batch, predicted, wanted):
            asked.append(len(batch))
            return 7.0 + 0.0 * predicted.energies

    potential.network.__class__ = Own
    before = copies(potential)
    loss = Single(task(potential)).fit(Pool(potential, labelled), 3)
    assert loss == pytest.approx(7.0)
    assert asked == [4, 4, 4]
    assert same(copies(potential), before)  # its gradient is zero


def test_the_first_member_of_a_committee_is_the_single_learner(labelled, make_potential):
    one, three = make_potential(labelled), make_potential(labelled, members=3)
    single, committee = Single(task(one, ema_decay=0.9)), Committee(task(three, ema_decay=0.9))
    single.fit(Pool(one, labelled), 5)
    committee.fit(Pool(three, labelled), 5)
    first, second, third = copies(three)
    assert same([first], copies(one))
    assert not same([second], [first])
    assert not same([third], [second])
    assert (committee.update, committee.timed_updates) == (5, 15)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}, {"validation_share": 0.3, "weight_decay": 0.01}])
def test_a_resumed_committee_is_the_uninterrupted_one_bit_by_bit(labelled, make_potential, options):
    def begin():
        potential = make_potential(labelled, members=3)
        return Committee(task(potential, **options)), Pool(potential, labelled)

    whole, pool = begin()
    whole.fit(pool, 4)
    whole.fit(pool, 5)
    first, pool = begin()
    first.fit(pool, 4)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    second, pool = begin()
    second.restore(saved, 4)
    second.fit(pool, 5)
    states = whole.state(), second.state()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for learner in (whole, second):
        learner.finish(pool)
    assert same(copies(whole.potential()), copies(second.potential()))


def blown_up(learner, pool):
    """Spoil the weights as a blow-up does, and go on for some updates; return what was best before."""
    best = copies(learner.potential())
    for weights in learner._average.raw or learner._parameters:
        weights.detach().fill_(float("nan"))
    told = []
    assert math.isfinite(learner.fit(pool, 7, told.append))
    assert told[-1] == learner.update
    return best


@pytest.mark.parametrize("decay", [0.0, 0.99])
def test_a_training_that_blows_up_ends_with_the_best_weights_on_held_out_molecules(
    labelled, make_potential, caplog, decay
):
    potential = make_potential(labelled)
    pool = Pool(potential, labelled)
    learner = Single(task(potential, validation_share=0.4, ema_decay=decay, schedule="constant", total=40))
    start = copies(potential)
    learner.fit(pool, 5)
    best = blown_up(learner, pool)
    assert "the training blew up" in caplog.text
    assert "best on the molecules held out" in caplog.text
    assert learner.update == 12
    assert same(copies(potential), best)
    learner.fit(pool, 3)
    assert learner.update == 15
    again = Single(task(make_potential(labelled), validation_share=0.4, ema_decay=decay, total=40))
    again.restore(learner.state(), learner.update)
    for ended in (learner, again):
        ended.fit(pool, 2)
        ended.finish(pool)
        assert same(copies(ended.potential()), best)
    assert not same(best, start)


def test_one_member_of_a_committee_may_blow_up(labelled, make_potential):
    one, two = make_potential(labelled), make_potential(labelled)
    both = Potential([one.network, two.network], one.atom_energies, one.scale)
    pool = Pool(both, labelled)
    committee = Committee(task(both, validation_share=0.4, total=40))
    committee.fit(pool, 3)
    best = blown_up(committee._members[1], pool)
    committee.fit(pool, 4)
    assert all(torch.isfinite(p).all() for network in both.networks for p in network.parameters())
    assert same(copies(committee._members[1].potential()), best)


def test_without_a_better_choice_a_blow_up_is_an_error(labelled, make_potential):
    for share in (0.0, 0.4):
        potential = make_potential(labelled)
        for weights in potential.network.parameters():
            weights.detach().fill_(float("nan"))
        with pytest.raises(TrainingError, match="the training blew up"):
            Single(task(potential, validation_share=share)).fit(Pool(potential, labelled), 3)
