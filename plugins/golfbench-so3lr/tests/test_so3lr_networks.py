"""SO3LR from scratch: sizes, parameters, elements, charges, precision, features, and what the import leaves behind."""

import copy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from golfbench.batches import make_batch
from golfbench.contracts import HasFeatures
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.imports import contained, importable
from golfbench.learning.potential import Potential, energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.testing.samples import sample, samples
from golfbench_so3lr.architecture import Architecture

with importable():
    from so3krates_torch.modules.models import SO3LR

TINY = {"features": 8, "heads": 2, "layers": 2, "radial": 6, "degrees": "1 2"}
MOLECULES = samples(("CCO", "O", "Clc1ccncc1", "CS(N)(=O)=O"), None)
AMMONIUM, CARBOXYLATE = sample("CC[NH3+]"), sample("CC(=O)[O-]")


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return registry().find(ModelSpec, "so3lr").create({**TINY, **parameters})


@pytest.fixture(scope="module")
def tiny():
    return network()


def energy_forces(net, molecules):
    energies, forces = energies_and_forces(net, make_batch(molecules, net.cutoff), create_graph=False)
    return energies.detach(), forces


def test_far_from_the_origin_float32_loses_nothing(tiny):
    near, near_forces = energy_forces(tiny, MOLECULES)
    far, far_forces = energy_forces(tiny, [m.at(m.positions + 1000.0) for m in MOLECULES])
    assert near.dtype == torch.float32
    assert near_forces.dtype == torch.float64
    assert (far - near).abs().max() < 2e-6 * near.abs().max()
    assert (far_forces - near_forces).abs().max() < 2e-6 * near_forces.abs().max()


def test_a_molecule_does_not_depend_on_its_batch_nor_on_training_mode():
    net = network().double()
    molecules = [*MOLECULES, AMMONIUM, CARBOXYLATE]
    energies, forces = energy_forces(net.train(), molecules)
    alone = [energy_forces(net.eval(), [m]) for m in molecules]
    assert (energies - torch.cat([e for e, _ in alone])).abs().max() < 1e-12 * energies.abs().max()
    assert (forces - torch.cat([f for _, f in alone])).abs().max() < 1e-12 * forces.abs().max()


def test_lone_atoms_have_an_energy_and_no_force(tiny):
    atoms = [Molecule(f"atom {z}", np.array([z]), np.zeros((1, 3))) for z in (6, 17)]
    energies, forces = energy_forces(tiny, atoms)
    assert torch.isfinite(energies).all()
    assert energies[0] != energies[1]
    assert not forces.any()


def test_charge_and_unpaired_electrons_change_the_energy(tiny):
    molecule = MOLECULES[0]
    states = [(0, 1), (0, 3), (1, 2), (-1, 2)]
    energies, _ = energy_forces(tiny, [replace(molecule, charge=c, multiplicity=m, smiles=None) for c, m in states])
    assert len(set(energies.tolist())) == len(states)


def test_messages_fade_to_nothing_at_the_cutoff():
    net = network().double()
    pairs = [Molecule(f"{d} Å", np.array([6, 6]), np.array([[0.0, 0, 0], [d, 0, 0]])) for d in (4.4999, 4.5001, 4.5003)]
    energies, forces = energy_forces(net, pairs)
    slope = -float(forces[3, 0])  # of the pair in the middle
    assert energies.diff().tolist() == pytest.approx([2e-4 * slope] * 2, rel=1e-3)


def test_far_apart_atoms_still_feel_each_other():
    net = network().double()
    ends = [Molecule(f"{d} Å", np.array([6, 8]), np.array([[0.0, 0, 0], [d, 0, 0]])) for d in (10.0, 20.0, 40.0)]
    _, forces = energy_forces(net, ends)
    reach = forces[::2, 0].abs()
    assert reach[0] / reach[1] == pytest.approx(4.0, rel=0.1)  # Coulomb: the damping by erf ends within 10 Å
    assert reach[1] / reach[2] == pytest.approx(4.0, rel=1e-2)


def test_an_element_without_a_row_is_named(tiny):
    fermium = Molecule("fermium", np.array([100, 1]), np.array([[0.0, 0, 0], [0, 0, 1.9]]), multiplicity=2)
    with pytest.raises(MoleculeError, match="fermium: element Fm is outside the elements of this SO3LR network"):
        tiny(make_batch([fermium], None))


def test_features_turn_with_nothing_and_differ_between_atoms():
    net = network().double()
    assert isinstance(net, HasFeatures)
    molecule = MOLECULES[2]
    turned = molecule.at(Rotation.random(rng=np.random.default_rng(3)).apply(molecule.positions))
    features, again = (net.features(make_batch([m], None)) for m in (molecule, turned))
    assert features.shape == (len(molecule), 8)
    assert (features - again).abs().max() < 1e-12
    assert len(torch.unique(features.detach().round(decimals=6), dim=0)) == len(molecule)
    shown = Potential(net, {}).showing(frozenset({"features"})).energy_forces(make_batch([molecule, turned], None))
    assert shown.features.shape == (2, 8)


def test_every_trainable_parameter_is_of_some_use():
    """A sulfonamide and ions at once; a tensor without a gradient would be a parameter that nothing depends on."""
    net = network()
    energies, forces = energies_and_forces(
        net, make_batch([*MOLECULES, replace(AMMONIUM, multiplicity=3), CARBOXYLATE], None), create_graph=True
    )
    (energies.square().mean() + forces.square().mean()).backward()
    useless = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert useless == []


def test_it_learns_forces_of_another_network():
    """Second derivatives are right: gradient steps on force errors bring them down."""
    net, teacher = network(seed=1), network(seed=2)
    batch = make_batch([*MOLECULES, AMMONIUM], None)
    wanted = energies_and_forces(teacher, batch)[1].detach()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (energies_and_forces(net, batch, create_graph=True)[1] - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_a_network_that_has_answered_can_be_copied(tiny):
    energy_forces(tiny, MOLECULES)
    other = copy.deepcopy(tiny)
    assert torch.equal(energy_forces(other, MOLECULES)[0], energy_forces(tiny, MOLECULES)[0])


def test_defaults_are_the_published_sizes():
    """Against the package's own model; what is taken away are the references of its 118 elements."""
    published = registry().find(ModelSpec, "so3lr").create({})
    with contained():
        theirs = SO3LR(**Architecture(**registry().find(ModelSpec, "so3lr").resolve({})).arguments())
    count = sum(p.numel() for p in theirs.parameters())
    assert count == 529_852
    assert sum(p.numel() for p in published.parameters()) == count - 118
    assert published.cutoff is None


def test_harmonics_of_other_degrees():
    net = network(degrees="1 3", features=12)
    assert len(net.signs) == 3 + 7
    energies, _ = energy_forces(net, MOLECULES[:1])
    assert torch.isfinite(energies).all()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"features": 2}, "features=2: 4 to 4096"),
        ({"features": 10}, "features=10: a multiple of 4 is needed"),
        ({"features": 16, "heads": 3}, "features=16: a multiple of heads is needed"),
        ({"features": 8, "degrees": "1 2 3"}, "features=8: a multiple of the number of degrees is needed"),
        ({"layers": 0}, "layers=0: 1 to 64"),
        ({"cutoff": -1}, "cutoff=-1.0: a positive, finite number"),
        ({"avg_neighbours": "nan"}, "avg_neighbours=nan"),
        ({"degrees": "2 1"}, "degrees=2 1: rising degrees from 1 to 4"),
        ({"degrees": "0 1"}, "degrees=0 1: rising degrees"),
        ({"degrees": "1,2"}, "degrees=1,2: rising degrees"),
        ({"degrees": "1 1"}, "degrees=1 1: rising degrees"),
        ({"degrees": "5"}, "degrees=5: rising degrees"),
        ({"degrees": ""}, "degrees=: rising degrees"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, reason):
    with pytest.raises(ConfigurationError, match=reason):
        network(**wrong)


QUIET = """
import pickle, tempfile, torch
from golfbench.batches import make_batch
from golfbench.learning.potential import energies_and_forces
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.testing.samples import sample
shown = repr(torch.tensor(1 / 3))
net = registry().find(ModelSpec, "so3lr").create({"features": 8, "heads": 2, "layers": 1, "degrees": "1 2"})
for smiles in ("O", "CCO", "C[NH3+]", "O"):
    energies, forces = energies_and_forces(net, make_batch([sample(smiles)], None), True)
    forces.square().sum().backward()
assert repr(torch.tensor(1 / 3)) == shown
with tempfile.NamedTemporaryFile() as file:
    torch.save(torch.nn.Linear(1, 1), file.name)
    try:
        torch.load(file.name)
    except pickle.UnpicklingError:
        pass
    else:
        raise AssertionError("torch.load runs code from files")
assert torch.get_default_dtype() == torch.float32
"""


def test_nothing_is_printed_or_left_behind():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET], capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
