"""AIMNet2 from scratch: the contract, charges, batches of different sizes, second derivatives, elements, sizes."""

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.testing import contract_tests
from golfbench.testing.samples import sample, samples
from golfbench_aimnet.architecture import ELEMENTS
from golfbench_aimnet.terms import Coulomb, Dispersion

TINY = {"preset": "small", "features": 4, "radial": 4, "vectors": 2, "hidden": "16 12", "summary": 8, "readout": 6}
test_contract = contract_tests("model", "aimnet2:" + ",".join(f"{k}={v}" for k, v in TINY.items()))
AMMONIUM, CARBOXYLATE, ZWITTERION = (sample(s) for s in ("C[NH+](C)Cc1ccccc1", "CC(=O)[O-]", "[NH3+]CC(=O)[O-]"))
MIXED = [AMMONIUM, *samples(("O", "Brc1ccccc1S(N)(=O)=O", "Clc1ccncc1"), None), CARBOXYLATE, ZWITTERION]


def network(seed=0, **parameters):
    torch.manual_seed(seed)
    return registry().find(ModelSpec, "aimnet2").create({**TINY, **parameters})


@pytest.fixture(scope="module")
def tiny():
    return network().double()


def energy_forces(net, molecules):
    energies, forces = energies_and_forces(net, make_batch(molecules, net.cutoff))
    return energies.detach(), forces


def test_charges_add_up_to_the_charge_of_each_molecule(tiny):
    batch = make_batch(MIXED, None)
    charges = tiny.charges(batch).detach()
    totals = torch.zeros(len(MIXED), dtype=torch.float64).index_add(0, batch.molecule, charges)
    assert totals.tolist() == pytest.approx([1, 0, 0, 0, -1, 0], abs=1e-3)
    assert charges.std() > 1e-3


def test_a_molecule_does_not_depend_on_the_sizes_beside_it(tiny):
    energies, forces = energy_forces(tiny, MIXED)
    alone = [energy_forces(tiny, [m]) for m in MIXED]
    assert (energies - torch.cat([e for e, _ in alone])).abs().max() < 1e-12 * energies.abs().max()
    assert (forces - torch.cat([f for _, f in alone])).abs().max() < 1e-12 * forces.abs().max()


def test_training_on_forces_of_different_sizes_has_the_gradients_of_finite_differences():
    """A step of training on a batch whose molecules have 3 to 21 atoms: no NaN, and the right second derivatives."""
    net = network(1).double()
    batch = make_batch(MIXED, None)

    def loss():
        energies, forces = energies_and_forces(net, batch, create_graph=True)
        return (forces - 0.1).square().sum() + energies.square().sum()

    loss().backward()
    for name in ("afv.weight", "conv_a.agh", "conv_q.agh", "mlps.0.0.weight", "mlps.2.0.weight"):
        weight = net.get_parameter(name)
        assert torch.isfinite(weight.grad).all()
        place = np.unravel_index(int(weight.grad.abs().argmax()), weight.shape)
        expected, ends = float(weight.grad[place]), []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * 1e-5
            ends.append(float(loss().detach()))
            with torch.no_grad():
                weight[place] -= sign * 1e-5
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-5)


def test_the_hessian_is_symmetric_and_is_the_slope_of_the_forces(tiny):
    water = sample("O")

    def energy(flat):
        return tiny(make_batch([water], None).replace_positions(flat.view(-1, 3)))[0]

    start = torch.from_numpy(water.positions).flatten()
    hessian = torch.autograd.functional.hessian(energy, start)
    assert (hessian - hessian.T).abs().max() < 1e-10
    shift = torch.zeros(9, dtype=torch.float64)
    shift[2] = 1e-5
    (_, plus), (_, minus) = (energy_forces(tiny, [water.at((start + s * shift).view(-1, 3).numpy())]) for s in (1, -1))
    assert ((minus - plus).flatten() / 2e-5 - hessian[2]).abs().max() < 1e-6 * hessian.abs().max()


def test_far_from_the_origin_float32_loses_nothing():
    net = network()
    near, near_forces = energy_forces(net, MIXED)
    far, far_forces = energy_forces(net, [m.at(m.positions + 1000.0) for m in MIXED])
    assert near.dtype == torch.float32
    assert (far - near).abs().max() < 5e-6 * near.abs().max()
    assert (far_forces - near_forces).abs().max() < 5e-6 * near_forces.abs().max()


def test_lone_atoms_have_an_energy_and_no_force(tiny):
    atoms = [Molecule(f"atom {z}", np.array([z]), np.zeros((1, 3))) for z in (6, 17)]
    energies, forces = energy_forces(tiny, atoms)
    assert energies[0] != energies[1]
    assert not forces.any()


def test_features_are_of_atoms_and_do_not_turn(tiny):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    turned = AMMONIUM.at(AMMONIUM.positions @ turn.numpy().T)
    shown, again = (tiny.features(make_batch([m], None)).detach() for m in (AMMONIUM, turned))
    assert shown.shape == (len(AMMONIUM), 8)
    assert (shown - again).abs().max() < 1e-10
    assert shown.std() > 1e-4


def test_the_coulomb_energy_is_that_of_point_charges_at_a_distance_and_damped_below():
    charges, pairs = torch.tensor([1.0, -1.0], dtype=torch.float64), torch.tensor([[0], [1]])
    ev = [float(Coulomb()(charges, pairs, torch.tensor([r], dtype=torch.float64))) for r in (10.0, 4.6, 1.0, 0.01)]
    assert ev[0] == pytest.approx(-1.43996448, rel=1e-6)  # e²/(4πε₀) = 14.3996448 eV Å
    assert ev[1] == pytest.approx(-14.3996448 / 4.6, rel=1e-6)
    # 1 - exp(1 - 1 / (1 - (1/4.6)²)) = 0.0483976 of it at 1 Å
    assert ev[2] == pytest.approx(-14.3996448 * (1 - np.exp(1 - 1 / (1 - (1 / 4.6) ** 2))), rel=1e-6)
    assert abs(ev[3]) < abs(ev[2])


def test_dispersion_between_far_atoms_is_c6_over_r6():
    """Two neon-like atoms with one reference: far away the energy is -(C6 / r⁶ + 3 Q C6 s8 / r⁸)."""
    term = Dispersion().double()
    term.c6[0, 0, 0, 0], term.r4r2[0] = 6.5, 2.0
    term.cn[0, 1:] = 40.0
    bohr = 20.0
    distance = torch.tensor([bohr * 0.529177210903], dtype=torch.float64)
    energy = float(term(torch.zeros(2, dtype=torch.int64), torch.tensor([[0], [1]]), distance))
    radius = 0.566 * 12**0.5 + 3.128
    expected = 6.5 / (bohr**6 + radius**6) + 0.3908 * 12 * 6.5 / (bohr**8 + radius**8)
    assert energy == pytest.approx(-27.211386 * expected, rel=1e-6)


def test_an_element_outside_is_named(tiny):
    for symbol, z in (("Na", 11), ("Au", 79)):
        alien = Molecule("alien", np.array([z, 1]), np.array([[0.0, 0, 0], [0, 0, 1.6]]))
        with pytest.raises(MoleculeError, match=f"alien: element {symbol} is outside the elements of AIMNet2"):
            tiny(make_batch([alien], None))


def test_all_fourteen_elements_are_told_apart(tiny):
    atoms = [Molecule(str(z), np.array([z]), np.zeros((1, 3))) for z in ELEMENTS]
    assert len({round(e, 9) for e in energy_forces(tiny, atoms)[0].tolist()}) == 14


@pytest.mark.parametrize(("preset", "parameters"), [("published", 2_205_493), ("small", 144_981)])
def test_presets_have_their_sizes(preset, parameters):
    net = registry().find(ModelSpec, "aimnet2").create({"preset": preset})
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net.cutoff is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"features": 0}, "features=0: 1 to 4096"),
        ({"cutoff": "nan"}, "cutoff=nan: a finite distance"),
        ({"hidden": "64,64"}, "hidden=64,64: widths are written like '512 380'"),
        ({"hidden": ""}, "hidden: at least one width"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, reason):
    with pytest.raises(ConfigurationError, match=reason):
        network(**wrong)
