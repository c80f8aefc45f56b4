"""The minimization driver: stopping, counting, refill, failures; with RDKit's MMFF94 and with analytic models."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from golfbench.batches import Batch, make_batch
from golfbench.chemistry import embed
from golfbench.contracts import Evaluation, Model, Optimizer
from golfbench.errors import ComponentMissingError, OracleError
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import TRIES, Outcome, Point, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV

RULE = StoppingRule(force_max=0.05, max_steps=200)


def optimizer(name: str = "lbfgs", **parameters: object) -> Optimizer:
    return registry().find(OptimizerSpec, name).create(parameters)


@pytest.fixture(scope="module")
def mmff94() -> Model:
    return open_fixed_model(ComponentRef("mmff94"))


@pytest.fixture(scope="module")
def conformers() -> list[Molecule]:
    """Seven starts of 3 to 21 atoms."""
    smiles = {"water": "O", "ethanol": "CCO", "acetamide": "CC(=O)N", "alanine": "CC(N)C(=O)O", "phenol": "Oc1ccccc1"}
    single = [embed(text, name, 1, seed=1)[0] for name, text in smiles.items()]
    return single + embed("CC(=O)Oc1ccccc1C(=O)O", "aspirin", 2, seed=1)


def by_index(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.point.index)


def fingerprint(outcome: Outcome) -> tuple[object, ...]:
    """Everything but the clock and the place in the queue."""
    point = outcome.point
    return outcome.status, outcome.model_calls, point.step, point.energy, point.force_max, point.positions.tobytes()


@dataclass
class Springs:
    """E = k/2 Σ |x|²: every atom is pulled to the origin; forces -k x. What goes wrong is told by molecule id.

    Attributes:
        stiffness: k, Hartree/Å².
        batches: Ids of each evaluated batch.
    """

    stiffness: float = 1.0
    cutoff: float | None = 0.0
    batches: list[list[str]] = field(default_factory=list)

    def energy_forces(self, batch: Batch) -> Evaluation:
        self.batches.append([m.id for m in batch.molecules])
        squared = batch.positions.square().sum(-1)
        energies = torch.zeros(len(batch), dtype=torch.float64).index_add(0, batch.molecule, squared)
        forces = -self.stiffness * batch.positions
        errors: dict[int, Exception] = {}
        seen = Counter(name for names in self.batches for name in names)
        for row, molecule in enumerate(batch.molecules):
            kind, _, calls = molecule.id.partition("@")
            if calls and seen[molecule.id] > int(calls):
                if kind == "energy-nan":
                    energies[row] = torch.nan
                elif kind == "force-inf":
                    forces[batch.offsets[row]] = torch.inf
                elif kind == "error":
                    errors[row] = OracleError("no answer", "not_converged")
        return Evaluation(0.5 * self.stiffness * energies, forces, errors)


class Halving:
    """Moves each atom half-way to the origin."""

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        self.admitted: list[tuple[int, str]] = []

    def admit(self, slot: int, molecule: Molecule) -> None:
        self.admitted.append((slot, molecule.id))

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        return -0.5 * positions


def at_distance(distance: float, name: str = "atom", atoms: int = 1) -> Molecule:
    positions = np.zeros((atoms, 3))
    positions[0, 0] = distance
    return Molecule(name, np.full(atoms, 2), positions)


@pytest.mark.parametrize(
    "walker", [("lbfgs", {}), ("gradient-descent", {"rate": 0.2, "momentum": 0.5})], ids=lambda w: w[0]
)
def test_converged_means_converged_where_the_walk_ended(
    walker: tuple[str, dict[str, object]], mmff94: Model, conformers: list[Molecule]
) -> None:
    rule = StoppingRule(force_max=0.05, max_steps=2000)
    outcomes = by_index(list(minimize(mmff94, conformers[:5], optimizer(walker[0], **walker[1]), rule)))
    assert [o.point.index for o in outcomes] == [0, 1, 2, 3, 4]
    for start, outcome in zip(conformers, outcomes, strict=False):
        assert outcome.status == "converged"
        assert outcome.error is None
        assert outcome.point.last
        assert outcome.model_calls == outcome.point.step + 1
        again = mmff94.energy_forces(make_batch([start.at(outcome.point.positions)], 0.0))
        largest = float(again.forces.norm(dim=1).max())
        assert largest * HARTREE_TO_EV <= 0.05
        assert largest == pytest.approx(outcome.point.force_max, rel=1e-9)
        assert float(again.energies[0]) == outcome.point.energy
        first = mmff94.energy_forces(make_batch([start], 0.0))
        assert float(first.forces.norm(dim=1).max()) * HARTREE_TO_EV > 0.05
        assert outcome.point.energy < float(first.energies[0])


def test_the_rule_is_in_ev_per_angstrom() -> None:
    assert StoppingRule(HARTREE_TO_EV, 0).force_max_hartree == pytest.approx(1.0, abs=1e-15)
    # one atom on a spring of 1 Hartree/Å²: at 1/8 Å the force is 3.40 eV/Å
    for force_max, steps in ((3.41, 3), (3.40, 4)):
        (outcome,) = minimize(Springs(), [at_distance(1.0)], Halving(), StoppingRule(force_max, 50))
        assert (outcome.status, outcome.point.step) == ("converged", steps)
        assert outcome.point.positions[0, 0] == 0.5**steps
        assert outcome.point.force_max == 0.5**steps
        assert outcome.point.energy == 0.5 * 0.25**steps


def test_the_largest_atomic_force_decides_not_a_component_or_a_mean() -> None:
    diagonal = Molecule("x", np.full(50, 2), np.concatenate([np.full((1, 3), 1.0), np.zeros((49, 3))]))
    rule = StoppingRule(1.5 * HARTREE_TO_EV, 0)
    (outcome,) = minimize(Springs(), [diagonal], Halving(), rule)
    assert outcome.status == "step_limit"
    assert outcome.point.force_max == pytest.approx(3**0.5, abs=1e-15)


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_step_limit(limit: int, mmff94: Model, conformers: list[Molecule]) -> None:
    outcomes = list(minimize(mmff94, conformers, optimizer(), StoppingRule(1e-9, limit)))
    assert len(outcomes) == 7
    for outcome in outcomes:
        assert (outcome.status, outcome.point.step, outcome.model_calls) == ("step_limit", limit, limit + 1)
        if limit == 0:
            assert outcome.point.positions.tobytes() == conformers[outcome.point.index].positions.tobytes()


def test_convergence_at_the_last_step_is_convergence() -> None:
    (outcome,) = minimize(Springs(), [at_distance(1.0)], Halving(), StoppingRule(3.41, 3))
    assert (outcome.status, outcome.point.step) == ("converged", 3)


@pytest.mark.parametrize("kind", ["energy-nan", "force-inf"])
def test_diverged_after_four_calls_and_the_others_go_on(kind: str) -> None:
    starts = [at_distance(1.0, f"{kind}@4", atoms=2), at_distance(1.0, "sound", atoms=3)]
    outcomes = list(minimize(Springs(), starts, Halving(), StoppingRule(HARTREE_TO_EV * 1e-3, 100)))
    lost = 5 + len(TRIES)
    assert [(o.point.index, o.status, o.model_calls) for o in outcomes] == [(1, "converged", 11), (0, "diverged", lost)]
    last = outcomes[1].point
    assert last.positions[0, 0] == pytest.approx(0.5**3 - TRIES[-1][1] * 0.5**4)
    assert last.last
    assert not (np.isfinite(last.energy) and np.isfinite(last.force_max))


def test_a_position_that_is_lost_is_divergence_not_convergence() -> None:
    class Loses(Halving):
        def step(
            self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
        ) -> torch.Tensor:
            return torch.full_like(positions, torch.nan) if float(energies[0]) < 0.1 else -0.5 * positions

    class Isolated(Springs):
        """What a network with a cutoff does: an atom that is nowhere has no neighbours, hence no force."""

        def energy_forces(self, batch: Batch) -> Evaluation:
            found = super().energy_forces(batch)
            return Evaluation(found.energies.nan_to_num(), found.forces.nan_to_num())

    (outcome,) = minimize(Isolated(), [at_distance(1.0)], Loses(), RULE)
    assert (outcome.status, outcome.point.step) == ("diverged", 3)
    assert np.isnan(outcome.point.energy)


def test_an_error_of_the_model_ends_its_molecule_alone() -> None:
    starts = [at_distance(1.0, "sound"), at_distance(1.0, "error@2")]
    sound, failed = by_index(list(minimize(Springs(), starts, Halving(), StoppingRule(3.41, 50))))
    assert (sound.status, sound.error) == ("converged", None)
    assert (failed.status, failed.model_calls, failed.point.step) == ("error", 3 + len(TRIES), 2 + len(TRIES))
    assert isinstance(failed.error, OracleError)
    assert failed.error.kind == "not_converged"


def test_an_oracle_that_refuses_is_an_error_with_its_reason(mmff94: Model) -> None:
    nameless = Molecule("nameless", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))
    (outcome,) = minimize(mmff94, [nameless], optimizer(), RULE)
    assert (outcome.status, outcome.model_calls) == ("error", 1)
    assert str(outcome.error) == "nameless: no SMILES, so its bonds are not known"


def test_the_observer_sees_every_state_and_may_stop() -> None:
    seen: dict[int, list[Point]] = {0: [], 1: [], 2: []}

    def observe(point: Point) -> bool:
        seen[point.index].append(point)
        return point.index == 1 and point.step == 2

    starts = [at_distance(1.0, "a"), at_distance(1.0, "b"), at_distance(1e-4, "c")]
    outcomes = by_index(list(minimize(Springs(), starts, Halving(), StoppingRule(3.41, 50), observe, in_flight=2)))
    assert [(o.status, o.model_calls) for o in outcomes] == [("converged", 4), ("stopped", 3), ("converged", 1)]
    for index, outcome in enumerate(outcomes):
        assert [p.step for p in seen[index]] == list(range(outcome.model_calls))
        assert [p.last for p in seen[index][:-1]] == [False] * outcome.point.step
        assert seen[index][-1] is outcome.point
    assert [p.positions[0, 0] for p in seen[0]] == [1.0, 0.5, 0.25, 0.125]  # each state is a copy
    assert [seen[k][-1].last for k in (0, 1, 2)] == [True, False, True]


def test_stopping_a_molecule_that_has_converged_leaves_it_converged() -> None:
    (outcome,) = minimize(Springs(), [at_distance(1e-4)], Halving(), RULE, lambda point: True)
    assert outcome.status == "converged"


@pytest.mark.parametrize("walker", ["lbfgs", "gradient-descent"])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_refill_gives_bit_for_bit_what_each_molecule_gets_alone(
    walker: str, in_flight: int, mmff94: Model, conformers: list[Molecule]
) -> None:
    rule = StoppingRule(0.3, 60)
    alone = [fingerprint(next(minimize(mmff94, [start], optimizer(walker), rule))) for start in conformers]
    together = by_index(list(minimize(mmff94, conformers, optimizer(walker), rule, in_flight=in_flight)))
    assert [fingerprint(o) for o in together] == alone
    order = [4, 6, 0, 3, 5, 1, 2]
    permuted = list(minimize(mmff94, [conformers[k] for k in order], optimizer(walker), rule, in_flight=in_flight))
    assert [fingerprint(o) for o in by_index(permuted)] == [alone[k] for k in order]
    assert len({o.model_calls for o in together}) > 1  # they do leave at different times


def test_the_next_molecule_enters_where_one_left() -> None:
    names = ["3", "1", "0", "2", "0b"]
    starts = [at_distance(2.0 ** int(name[0]), name, atoms=k + 1) for k, name in enumerate(names)]
    model, walker = Springs(), Halving()
    outcomes = list(minimize(model, starts, walker, StoppingRule(HARTREE_TO_EV, 50), in_flight=2))
    assert model.batches == [["3", "1"], ["3", "1"], ["3", "0"], ["3", "2"], ["0b", "2"], ["2"]]
    assert [names[o.point.index] for o in outcomes] == ["1", "0", "3", "0b", "2"]
    assert [o.point.step for o in by_index(outcomes)] == [3, 1, 0, 2, 0]
    assert walker.admitted == [(0, "3"), (1, "1"), (1, "0"), (1, "2"), (0, "0b")]


def test_wall_time_is_shared() -> None:
    outcomes = list(minimize(Springs(), [at_distance(2.0**k, atoms=k + 1) for k in range(5)], Halving(), RULE))
    assert all(o.wall_s > 0 for o in outcomes)
    assert by_index(outcomes)[4].wall_s > by_index(outcomes)[0].wall_s


def test_no_molecules() -> None:
    assert list(minimize(Springs(), [], Halving(), RULE)) == []


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    model = Springs()
    starts = [at_distance(1e-4, "near"), *(at_distance(1.0, f"far {k}") for k in range(3))]
    walk: Iterator[Outcome] = minimize(model, starts, Halving(), RULE, in_flight=1)
    assert model.batches == []
    assert next(walk).point.index == 0
    assert model.batches == [["near"]]
    assert next(walk).point.index == 1
    assert {name for names in model.batches for name in names} == {"near", "far 0"}


def test_starts_are_not_modified(mmff94: Model, conformers: list[Molecule]) -> None:
    before = [m.positions.tobytes() for m in conformers]
    list(minimize(mmff94, conformers, optimizer(), StoppingRule(1e-9, 3)))
    assert [m.positions.tobytes() for m in conformers] == before


class Raises(Springs):
    """Raises on a batch with a molecule whose id begins with ``bad``, whichever it is of the batch."""

    def energy_forces(self, batch: Batch) -> Evaluation:
        if any(m.id.startswith("bad") for m in batch.molecules):
            raise FloatingPointError("cannot be")
        return super().energy_forces(batch)


@pytest.mark.parametrize("in_flight", [1, 3, 5])
def test_a_molecule_that_the_model_raises_on_ends_alone(in_flight: int) -> None:
    names = ["a", "b", "bad", "c", "d", "e"]
    starts = [at_distance(2.0**k, name, atoms=k + 1) for k, name in enumerate(names)]
    rule = StoppingRule(HARTREE_TO_EV, 50)
    found = by_index(list(minimize(Raises(), starts, Halving(), rule, in_flight=in_flight)))
    alone = [next(minimize(Springs(), [start], Halving(), rule)) for start in starts]
    for name, outcome, expected in zip(names, found, alone, strict=True):
        if name == "bad":
            assert (outcome.status, outcome.model_calls, str(outcome.error)) == (
                "error",
                1,
                "cannot be",
            )
            assert outcome.point.last
        else:
            assert outcome.status == "converged"
            assert fingerprint(outcome) == fingerprint(expected)


class Stumbles(Halving):
    """Raises on molecules of one size: on admission, or when it is to move them."""

    def __init__(self, atoms: int, refuses: bool) -> None:
        self.atoms, self.refuses = atoms, refuses

    def admit(self, slot: int, molecule: Molecule) -> None:
        if self.refuses and len(molecule) == self.atoms:
            raise ZeroDivisionError("not this one")
        super().admit(slot, molecule)
        self.sizes = getattr(self, "sizes", {}) | {slot: len(molecule)}

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        if self.atoms in [self.sizes[slot] for slot in slots.tolist()]:
            raise ZeroDivisionError("not this one")
        return super().step(slots, positions, energies, forces)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
@pytest.mark.parametrize(("refuses", "calls"), [(False, 1), (True, 0)])
def test_a_molecule_that_the_optimizer_raises_on_ends_alone(refuses: bool, calls: int, in_flight: int) -> None:
    starts = [at_distance(2.0**k, atoms=k + 1) for k in range(5)]
    rule = StoppingRule(HARTREE_TO_EV, 50)
    seen: list[tuple[int, bool]] = []

    def observe(point: Point) -> bool:
        seen.append((point.index, point.last))
        return False

    found = by_index(list(minimize(Springs(), starts, Stumbles(4, refuses), rule, observe, in_flight=in_flight)))
    assert [o.status for o in found] == ["converged", "converged", "converged", "error", "converged"]
    assert [o.point.step for o in found] == [0, 1, 2, 0, 4]
    assert [o.model_calls for o in found] == [1, 2, 3, calls, 5]
    assert str(found[3].error) == "not this one"
    assert [last for index, last in seen if index == 3] == [refuses]


def test_an_exception_that_no_molecule_escapes_comes_out_at_the_end() -> None:
    walk = minimize(Springs(), [at_distance(1.0, str(k)) for k in range(3)], Stumbles(1, refuses=False), RULE)
    assert [next(walk).status for _ in range(3)] == ["error"] * 3
    with pytest.raises(ZeroDivisionError, match="not this one"):
        next(walk)


def test_a_missing_engine_is_no_fault_of_a_molecule_and_comes_out_at_once() -> None:
    class Missing(Springs):
        def energy_forces(self, batch: Batch) -> Evaluation:
            raise ComponentMissingError("not installed")

    with pytest.raises(ComponentMissingError, match="not installed"):
        next(minimize(Missing(), [at_distance(1.0, str(k)) for k in range(3)], Halving(), RULE))


@pytest.mark.parametrize(("atoms", "cutoff", "together"), [(4, 5.0, 32), (42, 5.0, 4), (60, 5.0, 2), (42, 0.0, 32)])
def test_a_batch_holds_what_suits_the_device(atoms: int, cutoff: float, together: int) -> None:
    model = Springs(cutoff=cutoff)
    starts = [at_distance(1e-4, str(k), atoms) for k in range(40)]
    assert len(list(minimize(model, starts, Halving(), RULE))) == 40
    assert len(model.batches[0]) == together


def test_a_molecule_larger_than_a_batch_walks_alone() -> None:
    model = Springs(cutoff=None)
    sizes = {"large": 120, "a": 10, "b": 10}
    starts = [at_distance(1.0, name, atoms) for name, atoms in sizes.items()]
    assert [o.status for o in minimize(model, starts, Halving(), StoppingRule(HARTREE_TO_EV, 50))] == ["converged"] * 3
    assert model.batches == [["large"], ["a", "b"]]


def test_an_error_in_the_model_itself_comes_out() -> None:
    class Broken(Springs):
        def energy_forces(self, batch: Batch) -> Evaluation:
            raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(minimize(Broken(), [at_distance(1.0)], Halving(), RULE))


class Walled(Springs):
    """Fails on ids that begin with a kind of failure while the first atom is between two distances from the origin."""

    nearest, farthest = 0.3, 0.75

    def energy_forces(self, batch: Batch) -> Evaluation:
        found = super().energy_forces(batch)
        energies, errors = found.energies.clone(), dict(found.errors)
        for row, molecule in enumerate(batch.molecules):
            inside = self.nearest < abs(float(batch.positions[batch.offsets[row], 0])) < self.farthest
            if inside and molecule.id.startswith("raises"):
                raise FloatingPointError("cannot be")
            if inside and molecule.id.startswith("answers"):
                errors[row] = OracleError("no answer", "not_converged")
            if inside and molecule.id.startswith("nan"):
                energies[row] = torch.nan
        return Evaluation(energies, found.forces, errors)


@pytest.mark.parametrize("kind", ["raises", "answers", "nan"])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_failure_at_a_trial_point_costs_calls_and_not_the_walk(kind: str, in_flight: int) -> None:
    """From 1.0 half the way leads to 0.5, which fails; a quarter of the way, and all further ones, do not."""
    starts = [at_distance(1.0, "sound"), at_distance(1.0, kind), at_distance(2.0, "sound, too", atoms=2)]
    seen: dict[int, list[tuple[int, float]]] = {0: [], 1: [], 2: []}

    def observe(point: Point) -> bool:
        seen[point.index].append((point.step, float(point.positions[0, 0])))
        return False

    class Narrow(Walled):
        nearest, farthest = 0.45, 0.55

    rule = StoppingRule(0.3 * HARTREE_TO_EV, 50)
    sound, walled, other = by_index(list(minimize(Narrow(), starts, Halving(), rule, observe, in_flight=in_flight)))
    assert (walled.status, walled.error) == ("converged", None)
    assert seen[1] == [(0, 1.0), (2, 0.75), (3, 0.375), (4, 0.1875)]
    assert (walled.point.step, walled.model_calls) == (4, 5)
    for outcome, distance in ((sound, 1.0), (other, 2.0)):
        (alone,) = minimize(Springs(), [starts[outcome.point.index]], Halving(), rule)
        assert fingerprint(outcome) == fingerprint(alone)
        assert outcome.point.positions[0, 0] == distance / 2**outcome.point.step


def test_where_shorter_steps_fail_too_the_force_shows_another_way() -> None:
    class Sideways(Halving):
        def step(
            self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
        ) -> torch.Tensor:
            return torch.where(positions[..., :1] > 0.9, torch.tensor([0.0, 0.4, 0.0]), -0.5 * positions)

    class Corridor(Springs):
        """Only the x axis can be computed."""

        def energy_forces(self, batch: Batch) -> Evaluation:
            found = super().energy_forces(batch)
            off = torch.nonzero(batch.positions[batch.offsets[:-1], 1].abs() > 1e-6)[:, 0].tolist()
            return Evaluation(found.energies, found.forces, {row: OracleError("off") for row in off})

    seen: list[tuple[int, float]] = []

    def observe(point: Point) -> bool:
        seen.append((point.step, float(point.positions[0, 0])))
        return False

    (outcome,) = minimize(Corridor(), [at_distance(1.0)], Sideways(), StoppingRule(0.5 * HARTREE_TO_EV, 50), observe)
    assert outcome.status == "converged"
    assert seen == [(0, 1.0), (4, pytest.approx(0.8)), (5, pytest.approx(0.4))]


@pytest.mark.parametrize(("limit", "calls"), [(50, 2 + len(TRIES)), (5, 6)])
def test_a_model_that_fails_around_a_point_ends_the_walk_within_bounds(limit: int, calls: int) -> None:
    starts = [at_distance(1.0, "answers"), at_distance(1.0, "nan"), at_distance(1.0, "sound")]

    class Everywhere(Walled):
        nearest, farthest = 0.0, 0.999

    rule = StoppingRule(0.3 * HARTREE_TO_EV, limit)
    answers, nan, sound = by_index(list(minimize(Everywhere(), starts, Halving(), rule)))
    assert (answers.status, answers.model_calls, str(answers.error)) == ("error", calls, "no answer")
    assert (nan.status, nan.model_calls) == ("diverged", calls)
    assert (sound.status, sound.point.step) == ("converged", 2)


@pytest.mark.parametrize("name", ["rfo-internal", "lbfgs", "fire", "adam"])
def test_a_network_that_runs_away_still_diverges(name: str) -> None:
    class Abyss(Springs):
        """Pushes the atoms apart, ever harder, and has no number beyond some distance."""

        def energy_forces(self, batch: Batch) -> Evaluation:
            found = super().energy_forces(batch)
            lost = found.energies > 30.0
            return Evaluation(torch.where(lost, torch.nan, -found.energies), -found.forces, {})

    pair = Molecule("pair", np.array([6, 6]), np.array([[0.7, 0, 0], [-0.7, 0, 0]]))
    (outcome,) = minimize(Abyss(), [pair], optimizer(name), StoppingRule(0.05, 500))
    assert outcome.status == "diverged"
    assert not np.isfinite(outcome.point.energy)
    assert outcome.model_calls == outcome.point.step + 1 <= 250
