"""Tangents: the random folding keeps the inner products of the gradients, whatever the network."""

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.learning.clock import Clock
from golfbench.learning.tangents import tangents_of


def gradients(potential, molecules):
    """The gradients by the weights themselves, one molecule after the other, by a backward pass of its own."""
    rows = []
    for molecule in molecules:
        potential.network.zero_grad()
        potential.network(make_batch([molecule], potential.cutoff)).sum().backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in potential.network.parameters()]
        rows.append(torch.cat([part.flatten() for part in parts if part is not None]).double().numpy() / len(molecule))
    potential.network.zero_grad()
    return np.array(rows)


def test_inner_products_of_folded_tangents_are_those_of_the_gradients(labelled, make_potential):
    potential, molecules = make_potential(labelled), [item.molecule for item in labelled]
    exact = gradients(potential, molecules)
    size = 1 << 15  # far more numbers than weights: hardly two of these fall together
    folded = tangents_of(potential, molecules, size)
    assert folded.shape == (10, size)
    scale = np.square(exact).sum(axis=1).max()
    np.testing.assert_allclose(folded @ folded.T, exact @ exact.T, atol=0.05 * scale)
    few = tangents_of(potential, molecules)
    error = np.abs(few @ few.T - exact @ exact.T).max() / scale
    assert error < 4 / np.sqrt(few.shape[1])  # the spread of a count sketch falls with the root of its size


def test_a_step_on_one_molecule_moves_the_energy_of_another_by_their_product(labelled, make_potential):
    potential, (one, other) = make_potential(labelled), (labelled[0].molecule, labelled[5].molecule)
    exact, rate = gradients(potential, [one, other]), 1e-5
    batch = make_batch([other], potential.cutoff)
    with torch.no_grad():
        before = float(potential.network(batch))
        step = torch.from_numpy(exact[0]) * rate
        for weight in potential.network.parameters():
            part, step = step[: weight.numel()], step[weight.numel() :]
            weight += part.reshape(weight.shape).to(weight.dtype)
        moved = float(potential.network(batch)) - before
    expected = rate * len(other) * exact[0] @ exact[1]
    assert abs(moved - expected) < 0.05 * abs(expected) + 1e-5


def test_tangents_leave_the_network_and_frozen_weights_alone(labelled, make_potential):
    potential, molecules = make_potential(labelled), [labelled[0].molecule]
    everything = tangents_of(potential, molecules)
    assert all(weight.grad is None for weight in potential.network.parameters())
    np.testing.assert_array_equal(tangents_of(potential, molecules), everything)
    next(iter(potential.network.parameters())).requires_grad_(False)
    assert not np.array_equal(tangents_of(potential, molecules), everything)
    assert tangents_of(potential, []).shape == (0, everything.shape[1])


# --- Seen by a rule, and paid for -----------------------------------------------------------------------------------


class Watching:
    """Takes the first candidates and keeps what it was shown."""

    def __init__(self):
        self.rounds = []

    def choose(self, round):
        self.rounds.append(round)
        return range(round.budget)


def test_a_round_shows_tangents_and_labels_to_a_rule_that_names_them(bench):
    rule = Watching()
    sees = frozenset({"tangents", "training_set", "labels"})
    loop = bench("a").build(rule, budget=6, parallel=2, sees=sees)
    loop.run()
    for number, round in enumerate(rule.rounds):
        assert len(round.tangents) == len(round.candidates)
        assert len(round.training_tangents) == 10 + 2 * number  # the initial set, and two labels of each round
        assert len(round.labelled) == 2 * number
    asked = [c.molecule.id for round in rule.rounds for c in round.candidates[:2]]
    assert [item.molecule.id for item in rule.rounds[-1].labelled] == asked[:4]
    spent = loop.parts.clock.spent_s
    assert spent["selection"] > 0
    assert spent["exploration"] > 0
    assert spent["training"] > 0


def test_a_rule_that_does_not_name_them_is_not_shown_them(bench):
    rule = Watching()
    bench("a").build(rule, budget=4, parallel=2).run()
    assert all(r.tangents is None and r.training_tangents is None and not r.labelled for r in rule.rounds)


# --- The clock ------------------------------------------------------------------------------------------------------


def test_what_is_timed_inside_something_else_counts_for_itself_only(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 100.0, 101.5])  # begin, inner begins, inner ends, end; again: begin, end
    monkeypatch.setattr("golfbench.learning.clock.time.process_time", lambda: next(now))
    clock = Clock()
    with clock.on("exploration"), clock.on("selection"):
        pass
    assert clock.spent_s == {"exploration": 1.0 + 4.0, "selection": 2.0}
    with clock.on("selection"):
        pass
    assert clock.spent_s == {"exploration": 5.0, "selection": 3.5}


def test_what_was_spent_before_an_interruption_is_in_the_account(bench):
    place = bench("a")
    place.build("random", budget=4).run()
    loop = place.build("random", budget=4)
    loop.run()  # nothing is left to do but to read the snapshot
    assert loop.progress.spent == 4
    assert set(loop.parts.clock.spent_s) == {"exploration", "selection", "training"}
    assert min(loop.parts.clock.spent_s.values()) > 0
