"""NequIP as a network: derivatives, invariances, sizes, seeds, and nothing left behind in the process."""

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import DRUGLIKE_ELEMENTS, ModelSpec
from golfbench_nequip import networks

SMALL = {"features": 8, "layers": 2, "radial_neurons": 16}
FORMIC_ACID = Molecule(
    "formic acid",
    np.array([6, 8, 8, 1, 1]),
    np.array([[0.02, 0.42, 0.03], [-1.04, -0.45, 0.1], [1.18, 0.12, -0.05], [-0.42, 1.45, 0.0], [-0.66, -1.35, 0.2]]),
)
WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]))
LONE = Molecule("chlorine", np.array([17]), np.zeros((1, 3)), multiplicity=2)


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return registry().find(ModelSpec, "nequip").create({**SMALL, **parameters})


def energy_forces(net, molecules):
    energies, forces = energies_and_forces(net, make_batch(molecules, net.cutoff), create_graph=False)
    return energies.detach(), forces


@pytest.mark.parametrize("parity", [False, True])
def test_forces_are_minus_the_gradient_and_turn_with_the_molecule(parity):
    net = network(l_max=2, parity=parity).double()
    energy, forces = energy_forces(net, [FORMIC_ACID])
    step, direction = 1e-5, np.random.default_rng(2).normal(size=(5, 3))
    ends = [FORMIC_ACID.at(FORMIC_ACID.positions + s * step * direction) for s in (1, -1)]
    plus, minus = net(make_batch(ends, net.cutoff)).tolist()
    assert (forces.numpy() * direction).sum() == pytest.approx((minus - plus) / (2 * step), rel=1e-7)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    rotation *= torch.linalg.det(rotation)
    turned = FORMIC_ACID.at(FORMIC_ACID.positions @ rotation.numpy().T + [100.0, -50.0, 7.0])
    turned_energy, turned_forces = energy_forces(net, [turned])
    assert abs(turned_energy - energy) < 1e-12
    assert (turned_forces - forces @ rotation.T).abs().max() < 1e-12


def test_only_parity_makes_mirror_images_alike():
    twisted = Molecule(
        "OO", np.array([8, 8, 1, 1]), np.array([[0.0, 0.7, 0], [0, -0.7, 0], [0.8, 0.9, 0.5], [-0.8, -0.9, 0.5]])
    )
    mirrored = twisted.at(twisted.positions * [-1, 1, 1])
    differences = []
    for parity in (True, False):
        left, right = network(parity=parity, l_max=1, layers=3).double()(make_batch([twisted, mirrored], 5.0)).tolist()
        differences.append(abs(left - right))
    assert differences[0] < 1e-12
    assert differences[1] > 1e-6


@pytest.mark.parametrize("parity", [False, True])
def test_features_are_the_same_when_the_molecule_is_turned(parity):
    net = network(l_max=2, parity=parity).double()
    turned = FORMIC_ACID.at(Rotation.random(rng=np.random.default_rng(3)).apply(FORMIC_ACID.positions))
    features, again = (net.features(make_batch([m], net.cutoff)) for m in (FORMIC_ACID, turned))
    assert features.shape == (len(FORMIC_ACID), 8)
    assert (features - again).abs().max() < 1e-12 * features.abs().max()
    assert len(torch.unique(features.detach().round(decimals=6), dim=0)) == len(FORMIC_ACID)


def test_energies_do_not_depend_on_the_batch_and_lone_atoms_have_one():
    net = network()
    together, _ = energy_forces(net, [FORMIC_ACID, LONE, WATER])
    alone = torch.cat([energy_forces(net, [m])[0] for m in (FORMIC_ACID, LONE, WATER)])
    assert together.dtype == torch.float32
    assert (together - alone).abs().max() < 1e-6
    assert torch.isfinite(together).all()


def test_far_from_the_origin_float32_loses_nothing():
    net = network()
    near, _ = energy_forces(net, [FORMIC_ACID])
    far, _ = energy_forces(net, [FORMIC_ACID.at(FORMIC_ACID.positions + 1000.0)])
    assert abs(far - near) < 2e-6


def test_wigner_symbols_are_those_of_the_precision():
    net = network(l_max=2).double()
    symbols = {name: b for name, b in net.named_buffers() if name.endswith("_w3j_2_2_2")}
    assert symbols
    assert all(abs(b.square().sum() - 1) < 1e-14 for b in symbols.values())
    rounded = {name: b for name, b in network(l_max=2).named_buffers() if name in symbols}
    assert all(b.dtype == torch.float32 for b in rounded.values())


def test_initial_weights_depend_on_the_seed_alone():
    first, again, other = (network(seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_building_and_evaluating_warns_of_nothing_and_leaves_e3nn_as_it_was():
    before = networks.e3nn.get_optimization_defaults()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy_forces(network(), [WATER])
    assert networks.e3nn.get_optimization_defaults() == before
    assert torch.get_default_dtype() == torch.float32


def test_presets_have_the_documented_sizes():
    small = registry().find(ModelSpec, "nequip").create({})
    assert sum(p.numel() for p in small.parameters()) == 127_256
    assert (small.cutoff, networks.PRESETS["medium"].features, networks.PRESETS["medium"].l_max) == (5.0, 64, 2)


def test_overrides_reach_the_modules_they_name():
    net = network(radial=5, cutoff=4, envelope=3, avg_neighbours=9, l_max=0, radial_layers=1, elements="C H")
    basis, envelope = net.model.radial_basis.basis, net.model.radial_basis.cutoff
    assert (net.cutoff, basis.r_max, envelope.p) == (4.0, 4.0, 3.0)
    assert basis.bessel_weights.shape == (5,)
    assert net.model.layer1_convnet.conv.avg_num_neighbors == 9.0
    assert net.model.layer1_convnet.conv.fc.hs == [5, 16, 8]
    assert net.types[[6, 1]].tolist() == [0, 1]


def test_elements_outside_the_table_are_refused():
    net = network(elements="H O")
    assert network().elements == DRUGLIKE_ELEMENTS
    assert torch.isfinite(net(make_batch([WATER], net.cutoff))).all()
    with pytest.raises(MoleculeError, match="formic acid: element C"):
        net(make_batch([WATER, FORMIC_ACID], net.cutoff))


@pytest.mark.parametrize(
    "wrong",
    [{"features": 0}, {"layers": 0}, {"l_max": 12}, {"radial": 0}, {"cutoff": -1}, {"avg_neighbours": 0}]
    + [{"elements": text} for text in ("", "H H", "Xx", "X")],
)
def test_sizes_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        network(**wrong)
