"""FIRE, Adam and Lion against their other implementations and against what follows from their definitions."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize.fire2 import FIRE2

from golfbench.batches import make_batch
from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.specs import ComponentRef
from golfbench_optimizers.adam import Adam
from golfbench_optimizers.fire import DELAY, FIRE
from golfbench_optimizers.lion import Lion

DRUG = "CC(=O)Nc1ccc(O)cc1"
FAR = 1e6


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


@pytest.fixture(scope="module")
def drug():
    return embed(DRUG, DRUG, 1, 1)[0]


def forces_at(model, molecule, positions):
    return model.energy_forces(make_batch([molecule.at(positions)], None)).forces


def path(model, molecule, optimizer, steps):
    """Return the points that are evaluated, (steps + 1, atoms, 3), Å."""
    points = []
    list(minimize(model, [molecule], optimizer, StoppingRule(0.0, steps), lambda p: points.append(p.positions)))
    return np.stack(points)


def one_atom(optimizer, *forces):
    """Return the displacements (n, 3) of one atom under these forces."""
    optimizer.allocate(1, 1, torch.device("cpu"))
    optimizer.admit(0, Molecule("atom", np.array([2]), np.zeros((1, 3))))
    positions, steps = torch.zeros(1, 1, 3, dtype=torch.float64), []
    for f in forces:
        force = torch.tensor([[f]], dtype=torch.float64)
        steps.append(optimizer.step(torch.tensor([0]), positions, torch.zeros(1), force))
        positions = positions + steps[-1]
    return torch.stack(steps)[:, 0, 0]


def test_fire_walks_the_points_of_ase_fire2(mmff, drug):
    evaluated = []

    class Noted(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=None, system_changes=None):
            if not evaluated or not np.array_equal(evaluated[-1], atoms.positions):
                evaluated.append(atoms.positions.copy())
            self.results = {"energy": 0.0, "forces": forces_at(mmff, drug, atoms.positions).numpy()}

    # ASE does not delay the first shrinkage: from this time step the walk goes downhill for longer than that.
    atoms = Atoms(drug.numbers, drug.positions, calculator=Noted())
    moving = FIRE2(atoms, dt=0.1, dtmax=1.0, dtmin=2e-3, maxstep=FAR, logfile=None)
    for _ in range(150):
        moving.step()
    ours = FIRE(time_step=0.1, max_step=FAR)
    points = path(mmff, drug, ours, len(evaluated) - 1)
    assert len(evaluated) == 150 + 7  # seven times it turned around, which costs a force call of its own
    assert np.abs(points - np.stack(evaluated)).max() < 1e-9


def test_fire_turns_around_as_published():
    steps = one_atom(FIRE(time_step=0.5, max_step=FAR), [0.4, 0, 0], [0.4, 0, 0], [-0.4, 0, 0], [-0.4, 0, 0])
    # v = 0.2, then 0.4; uphill: half a step of 0.5 * 0.4 back, and from rest at the same time step
    assert steps[:, 0].tolist() == pytest.approx([0.1, 0.2, -0.1, -0.1])
    assert not steps[:, 1:].any()


def test_fire_shortens_its_time_step_only_after_the_delay():
    down, up = [0.4, 0, 0], [-0.4, 0, 0]
    early = one_atom(FIRE(time_step=0.5, max_step=FAR), down, up, up)
    assert early[2, 0] == pytest.approx(-0.1)
    late = one_atom(FIRE(time_step=0.5, max_step=FAR), *[down] * DELAY, up, up)
    speed = 0.2 * DELAY  # the growth of the time step has waited as well
    assert late[DELAY - 1, 0] == pytest.approx(0.5 * speed)
    assert late[DELAY, 0] == pytest.approx(-0.5 * 0.5 * speed)
    later = one_atom(FIRE(time_step=0.5, max_step=FAR), *[down] * (DELAY + 1), up, up)
    assert later[DELAY, 0] == pytest.approx(0.5 * 0.2 * (DELAY + 1))
    assert later[DELAY + 1, 0] == pytest.approx(-0.5 * 0.25 * 0.2 * (DELAY + 1))
    assert later[DELAY + 2, 0] == pytest.approx(-0.4 * 0.25**2)


def test_fire_and_adam_minimize_a_drug(mmff, drug):
    for optimizer, most in ((FIRE(), 110), (Adam(), 110)):
        (outcome,) = minimize(mmff, [drug], optimizer, StoppingRule(0.05, 200))
        assert outcome.status == "converged"
        assert outcome.model_calls < most


def test_adam_walks_the_points_of_torch_adam(mmff, drug):
    x = torch.tensor(drug.positions, requires_grad=True)
    torchs = torch.optim.Adam([x], lr=0.02)
    points = []
    for _ in range(200):
        points.append(x.detach().numpy().copy())
        x.grad = -forces_at(mmff, drug, points[-1])
        torchs.step()
    assert np.abs(path(mmff, drug, Adam(rate=0.02, max_step=FAR), 199) - np.stack(points)).max() < 1e-9


def test_adam_first_moves_every_coordinate_by_its_rate():
    steps = one_atom(Adam(rate=0.01), [5.0, -2e-3, 0.0])
    assert steps[0].tolist() == pytest.approx([0.01, -0.01, 0.0], rel=1e-5)


def test_lion_is_its_definition(mmff, drug):
    x, mean = drug.positions.copy(), np.zeros((len(drug), 3))
    points = []
    for t in range(100):
        points.append(x.copy())
        force = forces_at(mmff, drug, x).numpy()
        x = x + 0.05 * 0.97**t * np.sign(0.9 * mean + 0.1 * force)
        mean = 0.99 * mean + 0.01 * force
    assert np.abs(path(mmff, drug, Lion(), 99) - np.stack(points)).max() < 1e-9


def test_lion_moves_by_its_rate_and_the_rate_falls():
    steps = one_atom(Lion(rate=0.05, decay=0.5), [3.0, -1e-9, 0.0], [3.0, -1e-9, 0.0])
    assert steps[0].tolist() == pytest.approx([0.05, -0.05, 0.0])
    assert steps[1].tolist() == pytest.approx([0.025, -0.025, 0.0])


def test_lion_comes_closer_as_its_rate_falls(mmff, drug):
    ends = {}
    for decay in (1.0, 0.97):
        (outcome,) = minimize(mmff, [drug], Lion(decay=decay), StoppingRule(0.0, 250))
        ends[decay] = outcome.point.force_max
    assert ends[0.97] < 0.05 / 27.2 < 0.1 < ends[1.0]  # a constant rate does not converge


@pytest.mark.parametrize("make", [FIRE, Adam, Lion])
def test_no_atom_moves_farther_than_the_cap(make, mmff, drug):
    points = path(mmff, drug, make(max_step=0.03), 40)
    moved = np.linalg.norm(np.diff(points, axis=0), axis=-1).max()
    assert moved == pytest.approx(0.03, rel=1e-12)


@pytest.mark.parametrize("make", [FIRE, Adam, Lion])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_after_a_force_that_is_not_finite_a_molecule_starts_anew(make, value):
    good = [0.3, 0.1, -0.2]
    steps = one_atom(make(), good, good, [value, 0, 0], good)
    assert not steps[2].any()
    assert torch.equal(steps[3], steps[0])


@pytest.mark.parametrize(
    ("make", "settings"),
    [(FIRE, {"time_step": 0.0}), (Adam, {"rate": 0.0}), (Lion, {"decay": 1.1}), (Lion, {"max_step": 0.0})],
)
def test_parameters_out_of_range_are_refused(make, settings):
    with pytest.raises(ConfigurationError):
        make(**settings)
