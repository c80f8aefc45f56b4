"""MACE from scratch: sizes, parameters, elements, precision, and what the import leaves behind."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.testing.samples import samples
from golfbench_mace.architecture import architecture

TINY = {"channels": 4, "harmonics": 1, "correlation": 2, "radial_mlp": "8"}
MOLECULES = samples(("CCO", "O", "Clc1ccncc1", "CS(N)(=O)=O"), None)


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return registry().find(ModelSpec, "mace").create({**TINY, **parameters})


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


def test_a_molecule_does_not_depend_on_its_batch_nor_on_training_mode(tiny):
    energies, forces = energy_forces(tiny.train(), MOLECULES)
    alone = [energy_forces(tiny.eval(), [m]) for m in MOLECULES]
    assert (energies - torch.cat([e for e, _ in alone])).abs().max() < 1e-6 * energies.abs().max()
    assert (forces - torch.cat([f for _, f in alone])).abs().max() < 1e-6 * forces.abs().max()


def test_lone_atoms_have_an_energy_and_no_force(tiny):
    atoms = [Molecule(f"atom {z}", np.array([z]), np.zeros((1, 3))) for z in (6, 17)]
    energies, forces = energy_forces(tiny, atoms)
    assert torch.isfinite(energies).all()
    assert energies[0] != energies[1]
    assert not forces.any()


def test_features_are_the_same_when_the_molecule_is_turned():
    net = network(max_l=1).double()
    molecule = MOLECULES[2]
    turned = molecule.at(Rotation.random(rng=np.random.default_rng(3)).apply(molecule.positions))
    features, again = (net.features(make_batch([m], net.cutoff)) for m in (molecule, turned))
    assert features.shape == (len(molecule), 8)
    assert (features - again).abs().max() < 1e-9 * features.abs().max()
    assert len(torch.unique(features.detach().round(decimals=6), dim=0)) == len(molecule)
    mirrored = net.features(make_batch([molecule.at(-molecule.positions)], net.cutoff))
    assert (features - mirrored).abs().max() < 1e-9 * features.abs().max()


def test_an_element_outside_the_embedding_is_named(tiny):
    phosphane = Molecule("phosphane", np.array([15, 1]), np.array([[0.0, 0, 0], [0, 0, 1.4]]))
    with pytest.raises(MoleculeError, match="phosphane: element P is outside the elements of this MACE network"):
        tiny(make_batch([phosphane], 5.0))


def test_the_embedding_follows_the_elements_parameter():
    net = network(elements="P H", interactions=1)
    assert net.elements == {1, 15}
    assert net.mace.atomic_numbers.tolist() == [15, 1]
    assert net.one_hot[15].tolist() == [1.0, 0.0]
    assert net.one_hot[1].tolist() == [0.0, 1.0]
    assert net.mace.node_embedding.linear.weight.shape == (8,)  # 2 elements, 4 channels


def test_presets_and_overrides():
    small = registry().find(ModelSpec, "mace").create({})
    assert sum(p.numel() for p in small.parameters()) == 154_192
    assert small.cutoff == 5.0
    spec = registry().find(ModelSpec, "mace")
    medium = architecture(**spec.resolve({"preset": "medium", "cutoff": 6, "channels": 96}))
    assert (medium.channels, medium.max_l, medium.correlation, medium.harmonics) == (96, 1, 3, 3)
    assert medium.cutoff == 6.0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"channels": 0}, "channels=0: 1 to 4096"),
        ({"correlation": 5}, "correlation=5: 1 to 4"),
        ({"max_l": 2}, "max_l=2: at most harmonics=1"),
        ({"cutoff": -1}, "cutoff=-1.0: a positive, finite number"),
        ({"avg_neighbours": "nan"}, "avg_neighbours=nan"),
        ({"elements": "H Xx"}, "'Xx' is no element"),
        ({"elements": "H H"}, "each element once"),
        ({"radial_mlp": "64,64"}, "radial_mlp=64,64: widths are written like '64 64 64'"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, reason):
    with pytest.raises(ConfigurationError, match=reason):
        network(**wrong)


QUIET = """
import os, pickle, tempfile, torch
from golfbench.batches import make_batch
from golfbench.learning.potential import energies_and_forces
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.testing.samples import sample
net = registry().find(ModelSpec, "mace").create({"channels": 2, "harmonics": 1, "radial_mlp": "4"})
for smiles in ("O", "CCO", "CC", "O"):
    energies, forces = energies_and_forces(net, make_batch([sample(smiles)], 5.0), True)
    forces.square().sum().backward()
assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
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
        [sys.executable, "-W", "error", "-c", QUIET], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
