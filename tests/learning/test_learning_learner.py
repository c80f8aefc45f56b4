import math

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import GolfbenchError
from golfbench.learning.learner import Single, Task
from golfbench.learning.loader import Chunk, chunks
from golfbench.learning.pool import Pool
from golfbench.learning.settings import TrainSettings


class Training:
    """A learner with its pool."""

    def __init__(self, learner: Single, pool: Pool) -> None:
        self.learner, self.pool = learner, pool

    @property
    def network(self) -> torch.nn.Module:
        return self.learner.potential().network

    def run(self, updates: int, on_update=None) -> float:
        return self.learner.fit(self.pool, updates, on_update)

    def chunk(self, indices: list[int]) -> Chunk:
        (whole,) = chunks([self.pool[i] for i in indices], self.network.cutoff, torch.device("cpu"))
        return whole

    def loss(self, indices: list[int]) -> torch.Tensor:
        return self.learner._loss(self.chunk(indices))[0]


def make_training(labelled, make_potential, total: int = 20, axis: str = "test", **settings) -> Training:
    potential = make_potential(labelled)
    settings = {"batch_size": 4, "learning_rate": 2e-3} | settings
    return Training(Single(Task(potential, TrainSettings(**settings), total, 0, axis)), Pool(potential, labelled))


def weights(training: Training) -> list[torch.Tensor]:
    return [p.detach().clone() for p in training.network.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_loss_is_the_published_formula(labelled, make_potential):
    """0.01·MSE(E) + 0.99·mean over molecules of the mean over atoms of the mean over x, y, z."""
    training = make_training(labelled, make_potential)
    potential, indices = training.learner.potential(), [0, 3, 8]
    chosen = [labelled[i] for i in indices]
    assert len({len(item.molecule) for item in chosen}) > 1  # else a mean over atoms would do as well
    predicted = potential.energy_forces(make_batch([item.molecule for item in chosen], potential.cutoff))
    edges = np.cumsum([0] + [len(item.molecule) for item in chosen])
    energy_terms, force_terms = [], []
    for k, item in enumerate(chosen):
        energy_terms.append((float(predicted.energies[k]) - item.label.energy) ** 2)
        error = predicted.forces[edges[k] : edges[k + 1]].numpy() - item.label.forces
        force_terms.append(np.mean([np.mean(atom**2) for atom in error]))
    by_hand = (0.01 * np.mean(energy_terms) + 0.99 * np.mean(force_terms)) / potential.scale**2
    assert float(training.loss(indices).detach()) == pytest.approx(by_hand, rel=1e-5)


def test_the_energy_and_force_weights_are_free(labelled, make_potential):
    parts = [
        float(make_training(labelled, make_potential, energy_weight=e, force_weight=f).loss([0, 1]).detach())
        for e, f in ((1.0, 0.0), (0.0, 1.0), (0.01, 0.99))
    ]
    assert parts[2] == pytest.approx(0.01 * parts[0] + 0.99 * parts[1], rel=1e-12)


def test_the_rate_is_a_cosine_from_the_first_to_a_thousandth(labelled, make_potential):
    training = make_training(labelled, make_potential, total=100, learning_rate=1e-4)
    expected = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer := torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-4), T_max=100, eta_min=1e-7
    )
    rates = []
    for update in range(101):
        training.learner.update = update
        rates.append(training.learner.rate())
        assert rates[-1] == pytest.approx(expected.get_last_lr()[0], rel=1e-9, abs=1e-16)
        optimizer.step()
        expected.step()
    assert rates[0] == 1e-4
    assert rates[50] == pytest.approx((1e-4 + 1e-7) / 2)
    assert rates[100] == pytest.approx(1e-7)
    training.learner.update = 1000
    assert training.learner.rate() == pytest.approx(1e-7)  # beyond the schedule it stays at the floor


def test_the_rate_of_the_schedule_is_the_one_that_adam_uses(labelled, make_potential):
    """Adam's first update moves each weight by the rate, as far as its gradient is far from zero."""
    training = make_training(labelled, make_potential, learning_rate=3e-4, ema_decay=0)
    before = weights(training)
    training.run(1)
    moved = max(float((a - b).abs().max()) for a, b in zip(weights(training), before, strict=True))
    assert moved == pytest.approx(3e-4, rel=1e-3)


def test_the_gradient_is_clipped(labelled, make_potential):
    training = make_training(labelled, make_potential, gradient_clip=1e-3, ema_decay=0)
    unclipped = torch.autograd.grad(training.loss([0, 1, 2, 3]), training.learner._parameters)
    assert math.sqrt(sum(float(g.square().sum()) for g in unclipped)) > 1e-3
    training.run(1)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in training.learner._parameters))
    assert norm == pytest.approx(1e-3, rel=1e-4)


def test_it_learns_ten_labels(labelled, make_potential):
    training = make_training(labelled, make_potential, total=150, batch_size=5)
    updates = []
    first = training.run(10, updates.append)
    training.run(130, updates.append)
    last = training.run(10, updates.append)
    assert updates == list(range(1, 151))
    assert last < first / 3
    assert training.run(0) == 0.0


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_resumed_training_is_the_uninterrupted_one_bit_by_bit(labelled, make_potential, ema_decay):
    whole = make_training(labelled, make_potential, ema_decay=ema_decay)
    whole.run(7)
    whole.run(13)
    first = make_training(labelled, make_potential, ema_decay=ema_decay)
    first.run(7)
    saved, update = {name: t.clone() for name, t in first.learner.state().items()}, first.learner.update
    second = make_training(labelled, make_potential, ema_decay=ema_decay)
    torch.nn.init.ones_(next(second.network.parameters()))  # whatever was there is replaced
    second.learner.restore(saved, update)
    assert same(weights(second), weights(first))
    second.run(13)
    assert same(weights(second), weights(whole))
    assert all(
        torch.equal(a, b) for a, b in zip(second.learner.state().values(), whole.learner.state().values(), strict=True)
    )


def test_restoring_an_untouched_training_changes_nothing(labelled, make_potential):
    training = make_training(labelled, make_potential)
    before = weights(training)
    fresh = make_training(labelled, make_potential)
    fresh.learner.restore(training.learner.state(), 0)
    assert same(weights(fresh), before)
    fresh.run(3)
    training.run(3)
    assert same(weights(fresh), weights(training))


def test_the_average_acts_and_the_raw_weights_are_trained(labelled, make_potential):
    """The decay of the k-th update is min(0.9, k/(k + 10)); the average starts from the first weights."""
    averaged = make_training(labelled, make_potential, ema_decay=0.9)
    raw = make_training(labelled, make_potential, ema_decay=0)
    by_hand = [w.double() for w in weights(raw)]
    for update in range(1, 6):
        averaged.run(1)
        raw.run(1)
        decay = min(0.9, update / (update + 10))
        by_hand = [decay * a + (1 - decay) * w.double() for a, w in zip(by_hand, weights(raw), strict=True)]
    assert not same(weights(averaged), weights(raw))
    assert same(averaged.learner._average.raw, weights(raw))
    for average, expected in zip(weights(averaged), by_hand, strict=True):
        torch.testing.assert_close(average.double(), expected, rtol=0, atol=1e-6)


def test_batches_depend_on_seed_axis_and_update_only(labelled, make_potential):
    runs = [make_training(labelled, make_potential, axis=axis) for axis in ("a", "a", "b")]
    for training in runs:
        training.run(2)
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_a_loss_that_is_not_finite_stops_the_training(labelled, make_potential):
    training = make_training(labelled, make_potential)
    with torch.no_grad():
        next(training.network.outnet.parameters()).fill_(float("nan"))
    with pytest.raises(GolfbenchError, match=r"test: the loss of update 0 is nan: .* learning_rate below 0.002"):
        training.run(1)


def test_threads_do_not_change_a_bit(labelled, make_potential):
    """Gradients of an indexing are sums that threads would otherwise take in the order in which they come."""
    torch.set_num_threads(4)
    ends = []
    for _ in range(4):
        training = make_training(labelled, make_potential, batch_size=8)
        training.run(12)
        ends.append(weights(training))
    assert all(same(end, ends[0]) for end in ends)
    assert not torch.are_deterministic_algorithms_enabled()
