"""NequIP 0.19 as a network, in the environment that has it: symmetries, precision, sizes, nothing left behind."""

import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec


def _nequip_19():
    try:
        return version("nequip").startswith("0.19.")
    except PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    not _nequip_19(), reason="needs NequIP 0.19 (an environment of its own: golfbench plugins install nequip-next)"
)

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
    return registry().find(ModelSpec, "nequip-next").create({**SMALL, **parameters})


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
    turned = FORMIC_ACID.at(FORMIC_ACID.positions @ rotation.numpy().T + [100.0, -50.0, 7.0])  # proper or not
    turned_energy, turned_forces = energy_forces(net, [turned])
    assert abs(turned_energy - energy) < 1e-11
    assert (turned_forces - forces @ rotation.T).abs().max() < 1e-11


def test_mirror_images_are_alike_with_or_without_both_parities():
    positions = np.array([[0.0, 0.7, 0], [0, -0.7, 0], [0.8, 0.9, 0.5], [-0.8, -0.9, 0.5]])
    twisted = Molecule("OO", np.array([8, 8, 1, 1]), positions)
    mirrored = twisted.at(positions * [-1, 1, 1])
    for parity in (True, False):
        left, right = network(parity=parity, layers=3).double()(make_batch([twisted, mirrored], 5.0)).tolist()
        assert abs(left - right) < 1e-11


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


def test_every_tensor_follows_the_precision_and_constants_are_exact_in_it():
    net = network(l_max=2, layers=3, cutoff=4.7)
    assert {t.dtype for t in net.state_dict().values()} == {torch.float32}
    energy = net(make_batch([WATER], net.cutoff))
    precise = net.double()
    assert {t.dtype for t in precise.state_dict().values()} == {torch.float64}
    assert float(precise.model.edge_norm._rmax_recip) == 1 / 4.7
    symbols = [b for name, b in precise.named_buffers() if name.endswith("_w3j_2_2_2")]
    assert symbols
    assert all(abs(b.square().sum() - 1) < 1e-14 for b in symbols)
    assert precise(make_batch([WATER], net.cutoff)).item() == pytest.approx(energy.item(), rel=1e-4)


def test_initial_weights_depend_on_the_seed_alone():
    first, again, other = (network(seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_building_and_evaluating_warns_of_nothing_and_leaves_the_process_as_it_was():
    network()
    import e3nn

    before = e3nn.get_optimization_defaults()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy_forces(network(), [WATER])
    assert e3nn.get_optimization_defaults() == before
    assert torch.get_default_dtype() == torch.float32


def test_sizes_are_those_of_the_table_and_of_nequip_itself():
    small = registry().find(ModelSpec, "nequip-next").create({})
    assert sum(p.numel() for p in small.parameters()) == 183_584
    net = network(radial=5, cutoff=4, envelope=3, avg_neighbours=9, radial_layers=2, elements="C H")
    assert (net.cutoff, net.model.bessel_encode.num_bessels, net.model.bessel_encode.cutoff.p) == (4.0, 5, 3.0)
    assert float(net.model.layer1_convnet.conv.avg_num_neighbors_norm.norm_const) == pytest.approx(1 / 3)
    assert net.types[[6, 1]].tolist() == [0, 1]


@pytest.mark.parametrize("parity", [False, True])
def test_weights_fit_the_network_of_the_decorated_builder(parity):
    """What is called here without its decorator is what NequIP's users build."""
    from golfbench.imports import contained

    with contained():
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        set_global_state()
        theirs = NequIPGNNModel(
            seed=1,
            model_dtype="float32",
            type_names=["H", "C", "N", "O", "F", "S", "Cl", "Br"],
            r_max=5.0,
            avg_num_neighbors=17.0,
            num_layers=3,
            num_features=8,
            l_max=2,
            parity=parity,
            radial_mlp_width=16,
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
        )
    net = network(l_max=2, layers=3, parity=parity)
    inner = "model.func."
    weights = {name.removeprefix(inner): t for name, t in theirs.state_dict().items() if name.startswith(inner)}
    net.model.load_state_dict(weights, strict=True)
    batch = make_batch([FORMIC_ACID], 5.0)
    out = theirs({"pos": batch.positions, "edge_index": batch.pairs, "atom_types": net.types[batch.numbers][:, None]})
    energy, forces = energy_forces(net, [FORMIC_ACID])
    assert energy.item() == pytest.approx(float(out["total_energy"].detach()), rel=1e-5)
    assert (forces - out["forces"]).abs().max() < 1e-5 * forces.abs().max()


def test_elements_outside_the_table_are_refused():
    net = network(elements="H O")
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
