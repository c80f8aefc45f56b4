"""PaiNN and SchNet as networks: derivatives, invariances, sizes, and the published weights."""

import copy
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.db import connect

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError
from golfbench.learning.foreign import ForeignFile, open_foreign
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, ModelSpec
from golfbench.units import HARTREE_TO_KCAL_MOL

NAMES = ("painn", "schnet")
ETHANOL = Molecule(
    "ethanol",
    np.array([6, 6, 8, 1, 1, 1, 1, 1, 1]),
    np.array(
        [
            [-0.89, -0.14, 0.02],
            [0.46, 0.52, -0.05],
            [1.43, -0.36, 0.49],
            [-1.66, 0.52, -0.41],
            [-0.90, -1.09, -0.54],
            [-1.18, -0.37, 1.06],
            [0.47, 1.47, 0.53],
            [0.75, 0.78, -1.08],
            [1.49, -1.16, -0.06],
        ]
    ),
)
WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]))
METHANE = Molecule(
    "methane",
    np.array([6, 1, 1, 1, 1]),
    np.array([[0.0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.62]]),
)
SMALL_BATCH = [ETHANOL, WATER, METHANE]


def network(name, seed=0, **parameters):
    torch.manual_seed(seed)
    return registry().find(ModelSpec, name).create({"preset": "small", **parameters})


def energy_forces(net, molecules, create_graph=False):
    batch = make_batch(molecules, net.cutoff)
    batch = batch.replace_positions(batch.positions.clone().requires_grad_(True))
    energies = net(batch)
    gradient = torch.autograd.grad(energies.sum(), batch.positions, create_graph=create_graph)[0]
    return energies, -gradient


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_minus_the_gradient(name):
    net = network(name).double()
    _, forces = energy_forces(net, [ETHANOL])
    step = 1e-5
    numerical = np.zeros((len(ETHANOL), 3))
    for atom, axis in np.ndindex(numerical.shape):
        shift = np.zeros_like(ETHANOL.positions)
        shift[atom, axis] = step
        ends = make_batch([ETHANOL.at(ETHANOL.positions + sign * shift) for sign in (1, -1)], net.cutoff)
        plus, minus = net(ends).tolist()
        numerical[atom, axis] = (minus - plus) / (2 * step)
    assert np.abs(forces.numpy() - numerical).max() < 1e-7 * np.abs(numerical).max() + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_single(name):
    net = network(name)
    energies, forces = energy_forces(net, SMALL_BATCH)
    single = [energy_forces(net, [m]) for m in SMALL_BATCH]
    assert energies.dtype == torch.float32
    assert forces.dtype == torch.float64
    assert (energies - torch.cat([e for e, _ in single])).abs().max() < 2e-6
    # With several threads the products of matrices round otherwise for another number of pairs.
    assert (forces - torch.cat([f for _, f in single])).abs().max() < 1e-5 * forces.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_invariances(name):
    net = network(name).double()
    energy, forces = energy_forces(net, [ETHANOL])
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    moved = ETHANOL.positions @ rotation.numpy().T + [100.0, -50.0, 7.0]
    turned_energy, turned_forces = energy_forces(net, [ETHANOL.at(moved)])
    assert abs(turned_energy - energy) < 1e-10
    assert (turned_forces - forces @ rotation.T).abs().max() < 1e-10
    order = np.array([8, 3, 0, 5, 1, 7, 2, 6, 4])
    shuffled = Molecule("shuffled", ETHANOL.numbers[order], ETHANOL.positions[order])
    other_energy, other_forces = energy_forces(net, [shuffled])
    assert abs(other_energy - energy) < 1e-10
    assert (other_forces - forces[order]).abs().max() < 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_far_from_the_origin_float32_loses_nothing(name):
    net = network(name)
    near, _ = energy_forces(net, [ETHANOL])
    far, _ = energy_forces(net, [ETHANOL.at(ETHANOL.positions + 1000.0)])
    assert abs(far - near) < 2e-6


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_from_energies_and_forces(name):
    net = network(name)
    energies, forces = energy_forces(net, SMALL_BATCH, create_graph=True)
    (energies.pow(2).mean() + (forces - 0.1).pow(2).mean()).backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_energy_is_smooth_at_the_cutoff_and_knows_lone_atoms(name):
    net = network(name, cutoff=3.0).double()
    pair = [Molecule("pair", np.array([6, 8]), np.array([[0.0, 0, 0], [0, 0, z]])) for z in (2.9999, 3.0001)]
    inside, outside = net(make_batch(pair, net.cutoff)).tolist()
    assert abs(inside - outside) < 1e-7
    lone = [Molecule(str(z), np.array([z]), np.zeros((1, 3)), multiplicity=m) for z, m in ((6, 1), (8, 1))]
    assert sum(net(make_batch(lone, net.cutoff)).tolist()) == pytest.approx(outside, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_depend_on_the_seed_alone(name):
    first, again, other = (network(name, seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize(
    ("name", "preset", "parameters"),
    [("painn", "published", 623_617), ("painn", "small", 107_713), ("schnet", "published", 238_465)],
)
def test_presets_have_the_published_sizes(name, preset, parameters):
    net = network(name, preset=preset)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net.cutoff == 5.0


def test_overrides_replace_the_values_of_the_preset():
    net = network("painn", preset="published", features="32", interactions="2", radial="8", cutoff="4")
    assert net.cutoff == 4.0
    assert net.representation.embedding.weight.shape == (100, 32)
    assert len(net.representation.interactions) == 2
    assert net.representation.radial_basis.freqs.shape == (8,)


@pytest.mark.parametrize("wrong", [{"features": 1}, {"interactions": 0}, {"radial": 1}, {"cutoff": -1}])
def test_sizes_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        network("painn", **wrong)


def test_the_import_leaves_no_trace():
    from torch.utils.data import dataloader

    network("painn")
    assert not hasattr(dataloader, "T_co")
    assert torch.get_default_dtype() == torch.float32


def test_the_heaviest_supported_element_has_an_embedding():
    spec = registry().find(ModelSpec, "painn")
    assert spec.elements == frozenset(range(1, 100))
    atom = Molecule("es", np.array([max(spec.elements)]), np.zeros((1, 3)), multiplicity=4)
    assert torch.isfinite(network("painn")(make_batch([atom], 5.0))).all()


def read_sample(path, rows):
    """Return molecules with formation energies (Hartree) and forces (Hartree/Å) of the first rows of a database."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as check:
        assert check.execute("select count(*) from systems").fetchone()[0] >= rows
    molecules, energies, forces = [], [], []
    for row in connect(path).select(limit=rows):
        molecules.append(Molecule(str(row.id), row.numbers, row.positions))
        energies.append(float(np.ravel(row.data["energy"])[0]))
        forces.append(row.data["forces"])
    return molecules, np.array(energies), np.concatenate(forces)


def test_the_published_baseline_has_its_published_errors():
    folder = os.environ.get("GOLFBENCH_REFERENCE_DATA")
    if not folder:
        pytest.skip("GOLFBENCH_REFERENCE_DATA is not set: the published checkpoint is not part of this repository")
    file = ForeignFile(Path(folder) / "golf-checkpoints" / "baseline-NNP.pt", "golf")
    potential, header = open_foreign(file, ComponentRef("painn"))
    assert header["imported"]["method"] == header["method"] == "wB97X-D/def2-SVP"
    assert potential.scale == 1.0
    molecules, energies, forces = read_sample(Path(folder) / "nabladft-sample.db", 30)
    predicted, predicted_forces = energy_forces(potential.network, molecules)
    energy_error = np.abs(predicted.detach().numpy() - energies).mean() * HARTREE_TO_KCAL_MOL
    per_molecule = np.split(np.abs(predicted_forces.numpy() - forces), np.cumsum([len(m) for m in molecules])[:-1])
    force_error = np.mean([error.mean() for error in per_molecule]) * HARTREE_TO_KCAL_MOL
    assert energy_error == pytest.approx(1.25, abs=0.005)
    assert force_error == pytest.approx(0.88, abs=0.005)


def original(net):
    """Return the same network with SchNetPack's own forward pass."""
    from schnetpack.representation import PaiNN

    other = copy.deepcopy(net)
    other.representation.__class__ = PaiNN
    return other


def loss_gradient(net, molecules):
    energies, forces = energy_forces(net, molecules, create_graph=True)
    (energies.pow(2).mean() + (forces - 0.1).pow(2).mean()).backward(inputs=list(net.parameters()))
    return {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize("interactions", [1, 2, 3])
@pytest.mark.parametrize("cutoff", [1.2, 3.0, 5.0, 50.0])
def test_painn_is_schnetpacks_own_in_energies_forces_and_gradients(interactions, cutoff):
    net = network("painn", interactions=interactions, cutoff=cutoff).double()
    for bias in (net.representation.filter_net.bias, net.outnet[0].bias):
        torch.nn.init.normal_(bias, generator=torch.Generator().manual_seed(1))  # they begin as zeros
    other = original(net)
    assert net.state_dict().keys() == other.state_dict().keys()
    for found, expected in zip(energy_forces(net, SMALL_BATCH), energy_forces(other, SMALL_BATCH), strict=True):
        assert (found - expected).abs().max() < 1e-12 * expected.detach().abs().max().clamp(min=1.0)
    gradients, wanted = loss_gradient(net, SMALL_BATCH), loss_gradient(other, SMALL_BATCH)
    for name, expected in wanted.items():
        assert (gradients[name] - expected).abs().max() < 1e-11 * max(1.0, float(expected.abs().max())), name


@pytest.mark.parametrize("molecules", [[ETHANOL], [WATER, ETHANOL], [METHANE, *SMALL_BATCH * 4]])
def test_painn_in_single_precision_is_schnetpacks_own_but_for_rounding(molecules):
    net = network("painn", preset="published")
    for found, expected in zip(energy_forces(net, molecules), energy_forces(original(net), molecules), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.detach().abs().max()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_on_one_thread_painn_keeps_the_bits_of_a_molecule_in_every_batch(one_thread):
    net = network("painn", preset="published")
    alone, forces = energy_forces(net, [ETHANOL])
    for batch in ([ETHANOL, WATER], [WATER, METHANE, ETHANOL], [METHANE] * 20 + [ETHANOL] + [WATER] * 7):
        row, begin = batch.index(ETHANOL), sum(len(m) for m in batch[: batch.index(ETHANOL)])
        energies, all_forces = energy_forces(net, batch)
        assert energies[row] == alone[0]
        assert torch.equal(all_forces[begin : begin + len(ETHANOL)], forces)
