"""Sella under the driver against Sella itself."""

import numpy as np
import pytest
import torch
from ase import Atoms

from golfbench.ase import GolfbenchCalculator
from golfbench.chemistry import embed
from golfbench.contracts import Evaluation
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV

pytest.importorskip("sella", reason="Sella is not installed (pip install sella)")
pytest.importorskip("golfbench_rdkit", reason="the forces are RDKit's (pip install golfbench-rdkit)")


class Noted(GolfbenchCalculator):
    """MMFF94 for ASE alone, with every place that it was asked about."""

    def __init__(self, smiles):
        super().__init__("mmff94", smiles=smiles)
        self.places = []

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.places.append(atoms.positions.copy())


def optimizer(**parameters):
    return registry().find(OptimizerSpec, "sella").create(parameters)


def walked(molecules, in_flight, force_max=0.01, max_steps=60, **parameters):
    """Return outcomes and places by name of the molecule."""
    places = {}

    def note(point):
        places.setdefault(molecules[point.index].id, []).append(point.positions)
        return False

    model = open_fixed_model(ComponentRef("mmff94"))
    rule = StoppingRule(force_max, max_steps)
    found = minimize(model, molecules, optimizer(**parameters), rule, note, in_flight)
    return {molecules[o.point.index].id: o for o in found}, places


@pytest.mark.parametrize("internal", [True, False])
def test_the_path_is_that_of_sella_alone(internal):
    from sella import Sella

    (molecule,) = embed("CCO", "ethanol", 1, 5)
    outcomes, places = walked([molecule], 1, internal=internal)
    atoms = Atoms(molecule.numbers, molecule.positions, calculator=Noted("CCO"))
    Sella(atoms, order=0, internal=internal, logfile=None).run(fmax=0.01, steps=60)
    ours, theirs = places["ethanol/0"], atoms.calc.places
    assert outcomes["ethanol/0"].status == "converged"
    assert outcomes["ethanol/0"].point.force_max * HARTREE_TO_EV <= 0.01
    both = min(len(ours), len(theirs))
    assert both > 5
    assert abs(len(ours) - len(theirs)) <= 1  # Sella projects translation and rotation out of the forces it judges
    assert np.abs(np.array(ours[:both]) - np.array(theirs[:both])).max() < 1e-6


def test_the_path_is_the_same_alone_in_a_batch_and_in_another_order():
    molecules = [embed(smiles, smiles, 1, 5)[0] for smiles in ("CCO", "C1CC1", "NC=O")]
    _, alone = walked(molecules, 1)
    _, together = walked(molecules[::-1], 3)
    assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_internal_coordinates_need_fewer_calls_than_cartesian_ones():
    molecules = embed("CC(=O)Nc1ccc(O)cc1", "paracetamol", 1, 5)
    internal, _ = walked(molecules, 1, max_steps=150)
    cartesian, _ = walked(molecules, 1, max_steps=150, internal=False)
    (found,), (other,) = internal.values(), cartesian.values()
    assert found.status == "converged"
    assert found.model_calls < 40 < other.model_calls


class Repelling:
    """All atoms repel each other and are drawn to their centre: any molecule has a minimum, and none is an error."""

    cutoff = None

    def energy_forces(self, batch):
        energies, forces = [], []
        for molecule in batch.current_molecules():
            x = torch.tensor(molecule.positions, requires_grad=True)
            i, j = torch.triu_indices(len(x), len(x), 1)
            distance = (x[i] - x[j]).norm(dim=1)
            energy = (0.2 / distance).sum() + 0.1 * ((x - x.mean(0)) ** 2).sum()
            energies.append(energy.item())
            forces.append(-torch.autograd.grad(energy, x)[0])
        return Evaluation(torch.tensor(energies, dtype=torch.float64), torch.cat(forces))


def test_odd_molecules_break_no_batch():
    water = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
    line = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.16], [0.0, 0.0, -1.16]])
    molecules = [
        Molecule("water", np.array([8, 1, 1]), water),
        Molecule("carbon dioxide", np.array([6, 8, 8]), line),
        Molecule("helium", np.array([2]), np.zeros((1, 3))),
        Molecule("hydrogen", np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]])),
        Molecule("two waters", np.array([8, 1, 1] * 2), np.concatenate([water, water + np.array([4.0, 0.5, 0.0])])),
    ]
    outcomes = list(minimize(Repelling(), molecules, optimizer(), StoppingRule(0.05, 40), in_flight=5))
    calls = {molecules[o.point.index].id: o.model_calls for o in outcomes if o.status == "converged"}
    assert calls == {"water": 11, "carbon dioxide": 4, "helium": 1, "hydrogen": 10, "two waters": 18}


def test_torch_is_as_it_was():
    optimizer()
    assert torch.get_default_dtype() == torch.float32
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
