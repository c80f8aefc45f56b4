"""Where candidates come from besides walks, and what a rule that looks at a whole round may do."""

import math
from dataclasses import replace

import numpy as np
import pytest

from golfbench.contracts import Decision
from golfbench.errors import ComponentMissingError, ConfigurationError, MoleculeError, OracleError, PluginError
from golfbench.learning.acquisition import Acquisition
from golfbench.learning.explorer import Given, Relaxed, Walks
from golfbench.learning.learner import Committee
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.seeds import derived
from golfbench.specs import ComponentRef, OptimizerSpec

#: Walks so short that an untrained network leaves no atoms on top of each other.
SHORT = {"steps": 2, "inner_steps": 1}


def lbfgs():
    return registry().find(OptimizerSpec, "lbfgs").create({})


def streams(count):
    return [derived(0, "trajectory", k) for k in range(count)]


class Chooser:
    """Chooses by a function of the round, and remembers the rounds."""

    def __init__(self, rule):
        self.rule, self.rounds = rule, []

    def choose(self, round):
        self.rounds.append(round)
        return self.rule(round)


def everything(round):
    return range(len(round.candidates))


@pytest.fixture
def potential(labelled, make_potential):
    return make_potential(labelled)


# --- Given and Relaxed -----------------------------------------------------------------------------------------------


def test_given_trajectories_are_those_of_the_molecules_that_a_round_starts_from(labelled, potential):
    molecule = labelled[0].molecule
    group = molecule.id.rpartition("/")[0]
    path = [molecule.at(molecule.positions * (1 + 0.01 * k)) for k in range(4)]
    explorer = Given({group: path}, Acquisition("probe", Chooser(everything)))
    starts = [labelled[1].molecule, labelled[4].molecule]  # the other conformer, and a molecule without a trajectory
    offer = explorer.offer(potential, starts, streams(2))
    assert [c.molecule.id for c in offer.candidates] == [f"{starts[0].id}@{k}" for k in (1, 2, 3)]
    assert (offer.model_calls, offer.diverged) == (4, 0)
    for candidate, given in zip(offer.candidates, path[1:], strict=True):
        np.testing.assert_array_equal(candidate.molecule.positions, given.positions)
        from golfbench.batches import make_batch

        answer = potential.energy_forces(make_batch([given], potential.cutoff))
        assert candidate.state.energy == pytest.approx(float(answer.energies[0]), abs=1e-5)
        np.testing.assert_allclose(candidate.state.forces, answer.forces, atol=1e-6)
    assert [c.state.last for c in offer.candidates] == [False, False, True]


def test_a_rule_that_ends_a_given_trajectory_sees_no_more_of_it(labelled, potential):
    class Second:
        def begin(self, molecule, rng):
            return self

        def observe(self, state):
            return Decision((state,) if state.step == 1 else (), end=state.step == 1)

    molecule = labelled[0].molecule
    path = [molecule.at(molecule.positions + 0.01 * k) for k in range(4)]
    explorer = Given({molecule.id.rpartition("/")[0]: path}, Acquisition("probe", Second()))
    offer = explorer.offer(potential, [molecule], streams(1))
    assert [c.molecule.id for c in offer.candidates] == [f"{molecule.id}@1"]


def test_relaxed_offers_the_minima_of_the_surrogate_and_nothing_unfinished(labelled, potential):
    mmff94, rule = open_fixed_model(ComponentRef("mmff94")), StoppingRule(0.05, 300)
    everything_taken = Acquisition("probe", Chooser(everything))
    starts = [labelled[k].molecule for k in (0, 3)]
    offer = Relaxed(everything_taken, mmff94, lbfgs, rule).offer(potential, starts, streams(2))
    ends = {o.point.index: o for o in minimize(mmff94, starts, lbfgs(), rule)}
    assert {o.status for o in ends.values()} == {"converged"}
    assert [c.molecule.id for c in offer.candidates] == [f"{s.id}@{ends[k].point.step}" for k, s in enumerate(starts)]
    for k, candidate in enumerate(offer.candidates):
        np.testing.assert_array_equal(candidate.molecule.positions, ends[k].point.positions)
    with open_oracle(ComponentRef("mmff94"), registry()) as oracle:
        for candidate in offer.candidates:
            assert np.linalg.norm(oracle.label(candidate.molecule)[1], axis=1).max() <= rule.force_max_hartree
    assert offer.model_calls == sum(o.model_calls for o in ends.values())
    assert (
        Relaxed(everything_taken, mmff94, lbfgs, StoppingRule(1e-9, 3)).offer(potential, starts, streams(2)).candidates
        == []
    )


def test_a_round_level_rule_gets_every_state_after_the_start(labelled, potential):
    starts = [replace(labelled[k].molecule, id=name) for k, name in ((0, "a"), (3, "b"))]
    walks = Walks(Acquisition("probe", Chooser(everything)), lbfgs, StoppingRule(1e-6, 12), 3)
    offer = walks.offer(potential, starts, streams(2))
    assert [c.molecule.id for c in offer.candidates] == [f"{n}@{k}" for n in "ab" for k in range(1, 5)]
    assert all(c.state.forces.shape == c.molecule.positions.shape for c in offer.candidates)
    assert all(c.state.force_max == np.linalg.norm(c.state.forces, axis=1).max() for c in offer.candidates)
    assert all(c.state.force_spread is None and c.state.features is None for c in offer.candidates)


# --- Choosing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "parallel"), [(6, 2), (5, 3), (3, 8)])
def test_a_round_level_rule_chooses_among_all_within_the_budget(bench, budget, parallel):
    rule = Chooser(lambda round: range(len(round.candidates) - 1, -1, -1))
    place = bench("a")
    loop = place.build(rule, budget=budget, parallel=parallel, **SHORT)
    progress = loop.run()
    assert progress.spent == len(place.ledger()) == budget
    left = budget
    asked = []
    for number, round in enumerate(rule.rounds):
        assert round.number == number
        assert round.budget == min(parallel, left)
        assert len(round.candidates) > round.budget
        assert round.training_features is None
        asked += [c.molecule.id for c in list(round.candidates)[::-1][: round.budget]]
        left -= round.budget
    assert [loop.parts.pool.molecule(10 + k).id for k in range(budget)] == asked


def test_an_index_that_is_chosen_twice_is_asked_once(bench):
    rule = Chooser(lambda round: [1, 1, 0, 1])
    place = bench("a")
    assert place.build(rule, budget=2, parallel=2).run().spent == 2
    assert len({call["geometry_sha256"] for call in place.ledger()}) == 2


def broken(round):
    raise ZeroDivisionError("no candidate is far enough")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (lambda round: [len(round.candidates)], r"IndexError: it chose candidate \d+ of \d+"),
        (lambda round: [-1], "IndexError: it chose candidate -1 of"),
        (lambda round: ["first"], "ValueError"),
        (lambda round: None, "TypeError"),
        (broken, "ZeroDivisionError: no candidate is far enough"),
    ],
)
def test_a_rule_that_answers_nonsense_is_named(bench, rule, reason):
    place = bench("a")
    with pytest.raises(PluginError, match=rf"selection 'probe' failed: {reason}"):
        place.build(Chooser(rule), budget=2).run()
    assert place.ledger() == []


@pytest.mark.parametrize("where", ["begin", "observe"])
def test_a_rule_that_fails_along_a_trajectory_is_named(bench, where):
    class Fails:
        def begin(self, molecule, rng):
            if where == "begin":
                raise KeyError("no such molecule")
            return self

        def observe(self, state):
            raise KeyError("no such state")

    with pytest.raises(PluginError, match="selection 'probe' failed: KeyError: 'no such"):
        bench("a").build(Fails(), budget=2).run()


@pytest.mark.parametrize("where", ["begin", "observe", "choose"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OracleError("a@1: no convergence", "not_converged"), "not_converged"),
        (MoleculeError("a@1: atoms overlap"), None),
        (ComponentMissingError("needs abc: pip install abc"), None),
    ],
)
def test_an_error_of_the_suite_inside_a_selection_names_it_and_stays_what_it_is(bench, where, error, kind):
    class Fails:
        def begin(self, molecule, rng):
            return self.fail("begin") or self

        def observe(self, state):
            return self.fail("observe") or Decision((state,) if state.step else (), end=state.last)

        def choose(self, round):
            return self.fail("choose") or [0]

        def fail(self, here):
            if here == where:
                raise type(error)(*error.args) if kind is None else OracleError(*error.args, kind)

    with pytest.raises(type(error)) as raised:
        bench("a").build(Fails(), budget=2, **SHORT).run()
    assert str(raised.value) == f"selection 'probe' failed: {error}"
    assert getattr(raised.value, "kind", None) == kind
    assert raised.value.exit_code == error.exit_code


def test_what_is_no_selection_is_refused():
    with pytest.raises(ConfigurationError, match="selection 'probe' has neither 'begin' nor 'choose'"):
        Acquisition("probe", object())


@pytest.mark.parametrize("where", ["choose", "observe"])
def test_a_selection_that_asks_an_engine_by_itself_is_refused(bench, where):
    class Asks:
        def begin(self, molecule, rng):
            self.molecule = molecule
            return self

        def observe(self, state):
            if where == "observe":
                self.ask()
            return Decision((state,) if state.step == 1 else (), end=state.last)

        def ask(self):
            with open_oracle(ComponentRef("gfn2-xtb"), registry()) as oracle:
                oracle.label(self.molecule)

        def choose(self, round):
            self.ask()
            return [0]

    place = bench("a")
    with pytest.raises(ConfigurationError, match="selection 'probe' asks gfn2-xtb by itself, which no ledger"):
        place.build(Asks(), budget=2).run()
    assert place.ledger() == []


def test_a_selection_may_ask_what_is_cheap(bench):
    def lowest(round):
        with open_oracle(ComponentRef("mmff94"), registry()) as oracle:
            return np.argsort([oracle.label(c.molecule)[0] for c in round.candidates])

    assert bench("a").build(Chooser(lowest), budget=2, **SHORT).run().spent == 2


# --- What it sees ----------------------------------------------------------------------------------------------------


def test_a_committee_is_seen_only_by_who_names_it(bench):
    seen, blind = Chooser(everything), Chooser(everything)
    place = bench("a")
    sees = frozenset({"committee"})
    place.build(seen, budget=2, make_learner=Committee, members=3, sees=sees).run()
    for candidate in seen.rounds[0].candidates:
        assert candidate.state.energy_spread > 0
        assert candidate.state.force_spread.shape == (len(candidate.molecule),)
        assert math.isfinite(candidate.state.force_spread.max())
        assert candidate.state.features is None
    bench("b").build(blind, budget=2, make_learner=Committee, members=3).run()
    assert all(c.state.force_spread is None and c.state.energy_spread is None for c in blind.rounds[0].candidates)


def test_a_spread_that_one_network_does_not_have_is_refused(bench):
    with pytest.raises(ConfigurationError, match="give --learner committee"):
        bench("a").build(Chooser(everything), budget=2, sees=frozenset({"committee"})).run()


@pytest.mark.parametrize("sees", [{"features"}, {"training_set"}, {"features", "training_set"}])
def test_features_are_seen_only_by_who_names_them(bench, sees):
    rule = Chooser(everything)
    loop = bench("a").build(rule, budget=4, parallel=2, sees=frozenset(sees))
    loop.run()
    first, second = rule.rounds
    if "features" in sees:
        for candidate in first.candidates:
            assert candidate.state.features.shape == (16,)  # of the small PaiNN, mean over the atoms
            assert np.isfinite(candidate.state.features).all()
    else:
        assert all(c.state.features is None for c in first.candidates)
    if len(sees) == 2:
        assert first.training_features.shape == (10, 16)
        assert second.training_features.shape == (12, 16)
        assert len(np.unique(second.training_features[:, 0])) > 2  # of different molecules
    else:
        assert first.training_features is None


@pytest.mark.parametrize("dies_at", [0, 3, 5])
def test_a_committee_that_died_in_an_oracle_call_ends_as_the_uninterrupted_one(bench, script, dies_at):
    def spread(round):
        return np.argsort([-c.state.force_spread.max() for c in round.candidates], kind="stable")

    def end(place, **options):
        loop = place.build(
            Chooser(spread), make_learner=Committee, members=2, sees=frozenset({"committee"}), lag=1, **SHORT, **options
        )
        loop.run()
        return loop.parts.learner.state(), place.ledger(), loop._added

    class Killed(Exception):
        pass

    def die(call):
        if call >= dies_at:
            raise Killed

    weights, ledger, added = end(bench("whole"))
    place = bench("broken")
    with pytest.raises(Killed):
        end(place, executor=script(die))
    place.service.close()
    asked = script()
    again, ledger_again, added_again = end(place, executor=asked)
    assert all((again[name] == weights[name]).all() for name in weights)
    assert (ledger_again, added_again) == (ledger, added)
    assert asked.calls == 6 - dies_at
