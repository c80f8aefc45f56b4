"""ASE's optimizers under the driver against ASE itself, and the threads that they run in."""

import _thread
import gc
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import ase.optimize
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from golfbench.chemistry import embed
from golfbench.contracts import Evaluation
from golfbench.errors import ComponentMissingError, ConfigurationError, GolfbenchError
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import OptimizerSpec
from golfbench.units import HARTREE_TO_EV
from golfbench_ase import inverted
from golfbench_ase.inverted import InvertedOptimizer
from golfbench_ase.optimizers import fire, lbfgs

ALGORITHMS = {
    "ase-lbfgs": "LBFGS",
    "ase-bfgs": "BFGS",
    "ase-bfgs-line-search": "BFGSLineSearch",
    "ase-rfo": "RFO",
    "ase-fire": "FIRE",
    "ase-fire2": "FIRE2",
    "ase-good-old-quasi-newton": "GoodOldQuasiNewton",
}


def springs(positions, lengths):
    """Morse-like springs between all atoms: smooth, anharmonic, the same for every place and orientation."""
    i, j = np.triu_indices(len(positions), 1)
    apart = positions[i] - positions[j]
    distance = np.linalg.norm(apart, axis=1)
    stretch = 1.0 - np.exp(lengths - distance)
    pull = -(2.0 * 0.2 * stretch * np.exp(lengths - distance) / distance)[:, None] * apart
    forces = np.zeros_like(positions)
    np.add.at(forces, i, pull)
    np.add.at(forces, j, -pull)
    return float(0.2 * (stretch**2).sum()), forces


class Springs:
    """``springs`` as a model, with the lengths of the molecules as they are made; places are noted by molecule."""

    cutoff = None

    def __init__(self):
        self.places = {}

    def energy_forces(self, batch):
        energies, forces = [], []
        for molecule in batch.current_molecules():
            self.places.setdefault(molecule.id, []).append(molecule.positions.copy())
            energy, own = springs(molecule.positions, relaxed_lengths(molecule.id))
            energies.append(energy)
            forces.append(torch.from_numpy(own))
        return Evaluation(torch.tensor(energies, dtype=torch.float64), torch.cat(forces))


class Noted(Calculator):
    """``springs`` for ASE alone."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, lengths):
        super().__init__()
        self.lengths, self.places = lengths, []

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        self.places.append(atoms.positions.copy())
        energy, forces = springs(atoms.positions, self.lengths)
        energy *= HARTREE_TO_EV
        self.results = {"energy": energy, "free_energy": energy, "forces": forces * HARTREE_TO_EV}


MADE = {smiles: embed(smiles, smiles, 1, 5)[0] for smiles in ("O", "CCO", "CC(C)=O", "c1ccccc1", "CC(=O)N")}


def relaxed_lengths(name):
    positions = MADE[name.partition("/")[0]].positions
    i, j = np.triu_indices(len(positions), 1)
    return np.linalg.norm(positions[i] - positions[j], axis=1)


def shaken(smiles, seed=1):
    molecule = MADE[smiles]
    shift = np.random.default_rng(seed).normal(scale=0.15, size=molecule.positions.shape)
    return Molecule(f"{smiles}/{seed}", molecule.numbers, molecule.positions + shift)


def walked(optimizer, molecules, in_flight, force_max=0.01, max_steps=300):
    model = Springs()
    outcomes = minimize(model, molecules, optimizer, StoppingRule(force_max, max_steps), in_flight=in_flight)
    return {molecules[o.point.index].id: o for o in outcomes}, model.places


def create(name, **parameters):
    return registry().find(OptimizerSpec, name).create(parameters)


def at_work():
    return [t for t in threading.enumerate() if t.name == "golfbench-optimizer"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    assert at_work() == []
    yield
    gc.collect()  # tracebacks of expected errors may still hold optimizers
    assert at_work() == []


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_path_is_that_of_ase_alone(name):
    molecule = shaken("CC(C)=O")
    outcomes, places = walked(create(name), [molecule], in_flight=1)
    calculator = Noted(relaxed_lengths(molecule.id))
    atoms = Atoms(molecule.numbers, molecule.positions, calculator=calculator)
    made = getattr(ase.optimize, ALGORITHMS[name])(atoms, logfile=None)
    made.run(fmax=0.01, steps=300)
    assert outcomes[molecule.id].status == "converged"
    assert outcomes[molecule.id].model_calls == len(calculator.places) > 10  # line searches are counted, too
    assert np.abs(np.array(places[molecule.id]) - np.array(calculator.places)).max() < 1e-9


def test_the_path_is_the_same_alone_in_a_batch_and_in_another_order():
    molecules = [shaken(smiles, seed) for seed in (1, 2) for smiles in MADE]
    _, alone = walked(create("ase-bfgs-line-search"), molecules, in_flight=1)
    _, together = walked(create("ase-bfgs-line-search"), molecules[::-1], in_flight=4)
    assert alone.keys() == together.keys()
    assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_two_hundred_molecules_leave_no_thread_behind():
    molecules = [shaken(smiles, seed) for seed in range(40) for smiles in MADE]
    optimizer, most, model = create("ase-lbfgs"), 0, Springs()
    for _ in minimize(model, molecules, optimizer, StoppingRule(0.05, 5), in_flight=6):
        most = max(most, len(at_work()))
    assert len(model.places) == 200
    assert 2 <= most <= 6
    optimizer.allocate(1, 1, torch.device("cpu"))
    assert at_work() == []


def test_an_interrupted_walk_ends_with_its_optimizer():
    optimizer = fire(0.2)
    outcomes = minimize(Springs(), [shaken("CCO", seed) for seed in range(8)], optimizer, StoppingRule(0.0, 3))
    next(outcomes)
    assert at_work()
    outcomes.close()
    del optimizer, outcomes
    gc.collect()
    assert at_work() == []


def failing(how, after=3):
    """Return an optimizer that goes down as ``LBFGS``, but fails on molecules of propanone."""

    def run(molecule, measure):
        calls = 0

        def measure_and_fail(positions):
            nonlocal calls
            calls += 1
            if len(molecule) == len(MADE["CC(C)=O"]) and calls > after:
                how(measure, positions)
            return measure(positions)

        atoms = inverted.measured_atoms(molecule, measure_and_fail)
        ase.optimize.LBFGS(atoms, logfile=None).run(fmax=0.0)

    return InvertedOptimizer(run)


def singular(measure, positions):
    np.linalg.inv(np.zeros((2, 2)))


def leave(measure, positions):
    sys.exit(3)


def circle(measure, positions):
    while True:
        measure(positions)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (singular, "LinAlgError: Singular matrix"),
        (leave, "SystemExit: 3"),
        (circle, "RuntimeError: it no longer moves"),
    ],
)
def test_a_library_that_fails_ends_its_own_molecule_only(how, words):
    molecules = [shaken(smiles) for smiles in MADE]
    outcomes, places = walked(failing(how), molecules, in_flight=5)
    _, expected = walked(lbfgs(100, 0.2), molecules, in_flight=1)
    failed = outcomes.pop("CC(C)=O/1")
    assert (failed.status, str(failed.error)) == ("error", f"CC(C)=O/1: the optimizer failed: {words}")
    assert np.isfinite(failed.point.positions).all()
    assert {o.status for o in outcomes.values()} == {"converged"}
    assert all(np.array_equal(places[name], expected[name]) for name in outcomes)


def test_a_library_that_stops_by_itself_says_so():
    optimizer = InvertedOptimizer(lambda molecule, measure: measure(molecule.positions))
    outcomes, _ = walked(optimizer, [shaken("O")], in_flight=1)
    assert str(outcomes["O/1"].error) == "O/1: the optimizer failed: RuntimeError: it stopped by itself"


def test_molecules_at_rest_stay_where_they_are():
    atom = Molecule("helium", np.array([2]), np.zeros((1, 3)))
    optimizer = lbfgs(100, 0.2)
    optimizer.allocate(1, 3, torch.device("cpu"))
    optimizer.admit(0, atom)
    nothing = torch.zeros(1, 3, 3, dtype=torch.float64)
    move = optimizer.step(torch.tensor([0]), nothing, torch.zeros(1, dtype=torch.float64), nothing)
    assert torch.equal(move, nothing)
    assert at_work() == []


def test_random_numbers_of_a_library_are_its_molecules_own():
    def wander(molecule, measure):
        positions = molecule.positions
        while True:
            measure(positions)
            positions = positions + 0.01 * np.random.normal(size=positions.shape)

    np.random.seed(11)
    expected = np.random.RandomState(11).normal()
    molecules = [shaken("O"), shaken("CCO")]
    _, alone = walked(InvertedOptimizer(wander), molecules, in_flight=1, max_steps=20)
    _, together = walked(InvertedOptimizer(wander), molecules, in_flight=2, max_steps=20)
    assert np.random.normal() == expected
    assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_an_interrupt_from_the_keyboard_comes_through(request):
    # A shell's background jobs are started deaf to it.
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(molecule, measure):
        measure(molecule.positions)
        _thread.interrupt_main()
        time.sleep(0.2)
        measure(molecule.positions + 0.1)

    optimizer = InvertedOptimizer(interrupt)
    with pytest.raises(KeyboardInterrupt):
        walked(optimizer, [shaken("O")], in_flight=1)
    optimizer.allocate(1, 1, torch.device("cpu"))


AT_EXIT = """
import numpy as np, torch
from golfbench.molecules import Molecule
from golfbench_ase import inverted
from golfbench_ase.optimizers import fire

def stubborn(molecule, measure):
    while True:
        try:
            measure(molecule.positions + np.random.normal(size=(2, 3)))
        except BaseException:
            pass

inverted.PATIENCE_S = 0.3
kept = []
for optimizer in (fire(0.2), inverted.InvertedOptimizer(stubborn)):
    optimizer.allocate(2, 2, torch.device("cpu"))
    for slot in range(2):
        optimizer.admit(slot, Molecule("hydrogen", np.array([1, 1]), np.eye(3)[:2]))
    state = torch.eye(3, dtype=torch.float64)[:2].repeat(2, 1, 1)
    kept.append((optimizer, optimizer.step(torch.arange(2), state, torch.zeros(2, dtype=torch.float64), state)))
print("moved", float(kept[0][1].abs().max()) > 0)
"""


def test_the_interpreter_ends_with_libraries_at_work():
    ended = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "moved True\n", "")


def test_parameters_that_make_no_sense_are_refused():
    for name, parameters in (
        ("ase-lbfgs", {"memory": 0}),
        ("ase-fire", {"max_step": 0.0}),
        ("ase-rfo", {"max_step": 2}),
    ):
        with pytest.raises(ConfigurationError, match="must be"):
            create(name, **parameters)


def test_an_algorithm_that_this_ase_lacks_is_a_missing_component(monkeypatch):
    monkeypatch.delattr(ase.optimize, "FIRE2")
    with pytest.raises(ComponentMissingError, match="has no FIRE2"):
        create("ase-fire2")


def test_the_largest_step_is_the_one_that_was_asked_for():
    optimizer = create("ase-lbfgs", max_step=0.03)
    optimizer.allocate(1, 3, torch.device("cpu"))
    molecule = shaken("O")
    optimizer.admit(0, molecule)
    energy, forces = springs(molecule.positions, relaxed_lengths("O"))
    state = [torch.from_numpy(values)[None] for values in (molecule.positions, 50 * forces)]
    move = optimizer.step(torch.tensor([0]), state[0], torch.tensor([energy], dtype=torch.float64), state[1])
    assert float(move.norm(dim=-1).max()) == pytest.approx(0.03)


def test_failures_are_errors_of_the_suite():
    optimizer = InvertedOptimizer(lambda molecule, measure: 1 / 0)
    optimizer.allocate(1, 3, torch.device("cpu"))
    molecule = shaken("O")
    optimizer.admit(0, molecule)
    state = torch.from_numpy(molecule.positions)[None]
    for _ in range(2):
        with pytest.raises(GolfbenchError, match="O/1: the optimizer failed: ZeroDivisionError"):
            optimizer.step(torch.tensor([0]), state, torch.zeros(1, dtype=torch.float64), state)
