"""Potentials: E = Σ e_Z + s · network + delta, with the forces that belong to it. PaiNN in float64, MMFF94 as delta."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.chemistry import embed
from golfbench.contracts import Label, Model
from golfbench.curvature import hessian
from golfbench.errors import MoleculeError, OracleError
from golfbench.learning.opening import new_network, open_fixed_model
from golfbench.learning.potential import Potential, energies_and_forces
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.registry import registry
from golfbench.specs import DRUGLIKE_ELEMENTS, ComponentRef, OptimizerSpec

REFERENCES = {1: -0.5, 6: -37.8, 7: -54.5, 8: -75.0}
SCALE = 0.03


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """PaiNN with 8 features and a cutoff that leaves pairs out, in float64."""
    sizes = {"preset": "small", "features": 8, "interactions": 2, "radial": 8, "cutoff": 3.0}
    return new_network(ComponentRef("painn", sizes), seed=1).double()


@pytest.fixture(scope="module")
def mmff94() -> Model:
    return open_fixed_model(ComponentRef("mmff94"))


@pytest.fixture(scope="module")
def molecules() -> list[Molecule]:
    return [embed(smiles, name, 1, seed=2)[0] for name, smiles in (("ethanol", "CCO"), ("formamide", "NC=O"))]


def energy(model: Model, molecule: Molecule) -> float:
    return float(model.energy_forces(make_batch([molecule], model.cutoff)).energies[0])


def test_energy_is_references_plus_scaled_network_plus_delta(
    network: torch.nn.Module, mmff94: Model, molecules: list[Molecule]
) -> None:
    batch = make_batch(molecules, 3.0)
    raw = network(batch).detach()
    references = np.array([2 * -37.8 - 75.0 + 6 * -0.5, -37.8 - 54.5 - 75.0 + 3 * -0.5])
    plain = Potential(network, REFERENCES, SCALE).energy_forces(batch)
    np.testing.assert_allclose(plain.energies, references + SCALE * raw.numpy(), rtol=0, atol=1e-12)
    extra = mmff94.energy_forces(batch)
    both = Potential(network, REFERENCES, SCALE, [mmff94]).energy_forces(batch)
    np.testing.assert_allclose(both.energies - plain.energies, extra.energies, rtol=0, atol=1e-12)
    np.testing.assert_allclose(both.forces - plain.forces, extra.forces, rtol=0, atol=1e-12)
    assert float(extra.energies.abs().max()) > 1e-3  # neither part is nothing
    assert float((plain.energies - torch.tensor(references)).abs().max()) > 1e-6
    for evaluation in (plain, both):
        assert evaluation.energies.dtype == evaluation.forces.dtype == torch.float64
        assert not evaluation.energies.requires_grad
        assert not evaluation.forces.requires_grad
        assert evaluation.errors == {}


@pytest.mark.parametrize("with_delta", [False, True], ids=["network", "delta"])
def test_forces_are_minus_the_gradient(
    with_delta: bool, network: torch.nn.Module, mmff94: Model, molecules: list[Molecule]
) -> None:
    # without references: a total energy of 150 Hartree would hide the last digits of the differences
    potential = Potential(network, dict.fromkeys(REFERENCES, 0.0), 1.0, [mmff94] if with_delta else [])
    h = 2e-5
    for molecule in molecules:
        forces = potential.energy_forces(make_batch([molecule], 3.0)).forces.numpy()
        differences = np.zeros_like(forces)
        for place in np.ndindex(*forces.shape):
            shift = np.zeros_like(forces)
            shift[place] = h
            up, down = (energy(potential, molecule.at(molecule.positions + sign * shift)) for sign in (1, -1))
            differences[place] = (down - up) / (2 * h)
        np.testing.assert_allclose(forces, differences, rtol=0, atol=1e-7)
        np.testing.assert_allclose(forces.sum(0), 0.0, atol=1e-10)
        assert np.abs(forces).max() > 1e-3


def test_the_scale_scales_forces_and_references_do_not_enter_them(
    network: torch.nn.Module, molecules: list[Molecule]
) -> None:
    batch = make_batch(molecules, 3.0)
    unit = Potential(network, dict.fromkeys(REFERENCES, 0.0)).energy_forces(batch)
    scaled = Potential(network, REFERENCES, SCALE).energy_forces(batch)
    np.testing.assert_allclose(scaled.forces, SCALE * unit.forces, rtol=1e-14, atol=0)


def test_network_forces_can_be_learned_from(network: torch.nn.Module, molecules: list[Molecule]) -> None:
    energies, forces = energies_and_forces(network, make_batch(molecules, 3.0), create_graph=True)
    gradients = torch.autograd.grad(
        forces.square().sum() + energies.sum(), list(network.parameters()), allow_unused=True
    )
    assert any(g is not None and float(g.abs().max()) > 0 for g in gradients)
    assert forces.shape == (9 + 6, 3)


def test_references_keep_their_digits_beside_a_network_in_float32(molecules: list[Molecule]) -> None:
    small = new_network(ComponentRef("painn", {"preset": "small", "features": 8, "radial": 4}), seed=0)
    heavy = {1: -0.5 - 1e-9, 6: -3000.0, 7: -4000.0, 8: -6000.0}
    batch = make_batch(molecules, 5.0)
    raw = small(batch).detach().double()
    expected = np.array([-12000.0 + 6 * (-0.5 - 1e-9), -13000.0 + 3 * (-0.5 - 1e-9)])
    found = Potential(small, heavy, SCALE).energy_forces(batch).energies
    np.testing.assert_allclose(found - SCALE * raw, expected, rtol=0, atol=1e-11)


def test_errors_of_the_delta_model_pass_through_beside_the_others(
    network: torch.nn.Module, mmff94: Model, molecules: list[Molecule]
) -> None:
    crushed = molecules[0].at(molecules[0].positions * 0.2)
    potential = Potential(network, REFERENCES, SCALE, [mmff94])
    mixed = potential.energy_forces(make_batch([molecules[0], crushed, molecules[1]], 3.0))
    assert list(mixed.errors) == [1]
    assert isinstance(mixed.errors[1], OracleError)
    assert mixed.errors[1].kind == "input"
    assert str(mixed.errors[1]).startswith("ethanol/0: atoms 2 and 8 overlap")
    assert torch.isnan(mixed.energies).tolist() == [False, True, False]
    assert torch.isnan(mixed.forces).any(1).tolist() == [False] * 9 + [True] * 9 + [False] * 6
    sound = potential.energy_forces(make_batch(molecules, 3.0))
    np.testing.assert_allclose(mixed.energies[[0, 2]], sound.energies, rtol=0, atol=1e-12)


@dataclass
class GivesUpBelow:
    """A delta oracle without an answer once atom 0 is below a height."""

    height: float

    def __call__(self, molecules: Sequence[Molecule]) -> list[Label | OracleError]:
        return [
            OracleError("too low", "not_converged")
            if m.positions[0, 2] < self.height
            else Label(float(m.positions[0, 2]), np.eye(len(m), 3, 2) * -1.0, "slope")
            for m in molecules
        ]


def test_an_error_of_the_delta_model_ends_the_walk(network: torch.nn.Module) -> None:
    potential = Potential(network, REFERENCES, 0.0, [OracleModel(GivesUpBelow(-0.5))])
    atom = Molecule("hydrogen", np.array([1]), np.zeros((1, 3)), multiplicity=2)
    descent = registry().find(OptimizerSpec, "gradient-descent").create({"rate": 0.1})
    (outcome,) = minimize(potential, [atom], descent, StoppingRule(1e-3, 50))
    assert (outcome.status, str(outcome.error)) == ("error", "too low")
    assert -0.6 <= outcome.point.positions[0, 2] < -0.5  # shorter steps were tried, and ended below the edge, too


def test_a_single_atom_and_atoms_out_of_reach_feel_nothing(network: torch.nn.Module) -> None:
    apart = Molecule("apart", np.array([8, 8]), np.array([[0, 0, 0], [0, 0, 3.0]]))
    atom = Molecule("atom", np.array([8]), np.zeros((1, 3)))
    potential = Potential(network, REFERENCES, SCALE)
    alone = potential.energy_forces(make_batch([atom], 3.0))
    assert alone.forces.tolist() == [[0.0, 0.0, 0.0]]
    pair = potential.energy_forces(make_batch([apart], 3.0))
    assert pair.forces.abs().max() == 0.0
    assert float(pair.energies[0]) == pytest.approx(2 * float(alone.energies[0]), abs=1e-12)


def test_elements_without_a_reference_are_refused(network: torch.nn.Module) -> None:
    potential = Potential(network, REFERENCES, SCALE)
    assert potential.elements == {1, 6, 7, 8}
    assert Potential(network, {}).elements == DRUGLIKE_ELEMENTS
    bromide = Molecule("bromide", np.array([35, 1]), np.array([[0, 0, 0], [0, 0, 1.4]]))
    with pytest.raises(MoleculeError, match="bromide: element Br is outside what the model has learned"):
        potential.energy_forces(make_batch([bromide], 3.0))


def test_cutoff_and_device_are_the_networks(network: torch.nn.Module) -> None:
    potential = Potential(network, REFERENCES)
    assert potential.cutoff == 3.0
    assert potential.device == torch.device("cpu")
    assert isinstance(potential, Model)


def test_second_derivatives_are_those_of_the_forces_bases_included(network, mmff94, molecules, monkeypatch):
    """By differentiating twice, against central differences of the forces of the whole potential.

    The steps are small, since two atoms of formamide lie at the cutoff of the network, where its forces bend.
    """
    monkeypatch.setattr("golfbench.curvature.DISPLACEMENT", 1e-4)
    potential = Potential(network, REFERENCES, SCALE, [mmff94])

    class Forces:
        cutoff = potential.cutoff

        def energy_forces(self, batch):
            return potential.energy_forces(batch)

    for molecule in molecules:
        found, expected = hessian(potential, molecule), hessian(Forces(), molecule)
        np.testing.assert_allclose(found, expected, atol=2e-4)  # of 1.6
        assert np.abs(found - hessian(mmff94, molecule)).max() > 1e-3
