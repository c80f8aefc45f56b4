"""``golf-lbfgs`` against ``torch.optim.LBFGS``, called as the published driver calls it."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.specs import ComponentRef
from golfbench_optimizers.golf_lbfgs import GolfLBFGS

DRUGS = ["CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O", "CCO"]


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


def published(model, molecule, environment_steps, **settings):
    """Return the points that torch evaluates, without repetitions, and the states after each environment step."""
    x = torch.tensor(molecule.positions, requires_grad=True)
    torchs = torch.optim.LBFGS([x], **{"lr": 1, "max_iter": 5, **settings})
    points, states = [], []

    def closure():
        here = x.detach().numpy().copy()
        if not points or not np.array_equal(points[-1], here):
            points.append(here)
        evaluation = model.energy_forces(make_batch([molecule.at(here)], None))
        x.grad = -evaluation.forces
        return evaluation.energies[0]

    for _ in range(environment_steps):
        torchs.step(closure)
        states.append(x.detach().numpy().copy())
    return np.stack(points), np.stack(states)


def walked(model, molecule, steps, **settings):
    points = []
    rule = StoppingRule(0.0, steps)
    list(minimize(model, [molecule], GolfLBFGS(**settings), rule, lambda p: points.append(p.positions)))
    return np.stack(points)


@pytest.mark.parametrize("smiles", DRUGS[:2])
def test_path_is_that_of_torch(mmff, smiles):
    molecule = embed(smiles, smiles, 1, 1)[0]
    points, states = published(mmff, molecule, 12)
    ours = walked(mmff, molecule, 60)
    assert len(points) == 60  # one evaluation per update
    assert np.abs(ours[:60] - points).max() < 1e-9
    assert np.abs(ours[5::5] - states).max() < 1e-9  # the state after environment step k is update 5k


@pytest.mark.parametrize("smiles", DRUGS[:2])
def test_every_displacement_is_that_of_torch(mmff, smiles):
    # Rounding grows tenfold in every seven updates of a free walk, so here both are at the points of torch.
    molecule = embed(smiles, smiles, 1, 1)[0]
    points, _ = published(mmff, molecule, 60)
    moving = GolfLBFGS()
    moving.allocate(1, len(molecule), torch.device("cpu"))
    moving.admit(0, molecule)
    assert len(points) > 105  # the history was full, too
    for here, there in pairwise(points):
        forces = mmff.energy_forces(make_batch([molecule.at(here)], None)).forces
        step = moving.step(torch.tensor([0]), torch.from_numpy(here)[None], torch.zeros(1), forces[None])
        assert np.abs(step[0].numpy() - (there - here)).max() < 1e-9


def test_path_is_that_of_torch_when_the_history_is_full(mmff):
    molecule = embed(DRUGS[0], DRUGS[0], 1, 1)[0]
    points, _ = published(mmff, molecule, 12, history_size=4, lr=0.5)
    assert np.abs(walked(mmff, molecule, 59, memory=4, rate=0.5) - points).max() < 1e-9


def test_a_molecule_stays_where_torch_stops(mmff):
    molecule = embed(DRUGS[2], DRUGS[2], 1, 1)[0]
    points, states = published(mmff, molecule, 40)
    ours = walked(mmff, molecule, 150)
    assert np.array_equal(states[-1], states[-2])
    assert len(points) < 100
    assert np.abs(ours[: len(points)] - points).max() < 1e-9
    assert np.abs(ours[-1] - states[-1]).max() < 1e-9
    assert np.array_equal(ours[-1], ours[-2])


def test_first_step_is_the_force_over_its_sum_and_later_ones_have_no_bound():
    moving = GolfLBFGS()
    moving.allocate(1, 1, torch.device("cpu"))
    moving.admit(0, Molecule("atom", np.array([2]), np.zeros((1, 3))))

    positions = torch.zeros(1, 1, 3, dtype=torch.float64)

    def step(force):
        moved = moving.step(torch.tensor([0]), positions, torch.zeros(1), torch.tensor([[force]], dtype=torch.float64))
        positions.add_(moved)
        return moved[0, 0].tolist()

    assert step([6.0, 0.0, -2.0]) == pytest.approx([0.75, 0.0, -0.25])
    # the force fell by a tenth along the step, so that the whole way is nine times as far
    assert step([5.4, 0.0, -1.8]) == pytest.approx([6.75, 0.0, -2.25])
    assert step([np.nan, 0.0, 0.0]) == [0.0, 0.0, 0.0]
    assert step([0.3, 0.0, 0.0]) == pytest.approx([0.3, 0.0, 0.0])  # anew, and |g|₁ is below 1


def test_parameters_out_of_range_are_refused():
    for settings in ({"memory": 0}, {"rate": 0.0}):
        with pytest.raises(ConfigurationError):
            GolfLBFGS(**settings)
