"""Optimizers on analytic potentials and on the real MMFF94 force field."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import LBFGS as AseLBFGS
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.rdForceFieldHelpers import MMFFGetMoleculeForceField, MMFFGetMoleculeProperties

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import OptimizerSpec
from golfbench.units import HARTREE_TO_EV, KCAL_MOL_TO_HARTREE
from golfbench_optimizers.lbfgs import FIRST_INVERSE_CURVATURE

DRUGS = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(=O)Nc1ccc(O)cc1",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CN1CCC[C@H]1c1cccnc1",
    "CC(C)NCC(O)COc1cccc2ccccc12",
    "CN(C)CCOC(c1ccccc1)c1ccccc1",
    "COc1ccc2cc(ccc2c1)C(C)C(=O)O",
    "Clc1ccc(cc1)C(c1ccccc1)N1CCNCC1",
    "CCOC(=O)c1ccc(N)cc1",
    "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "Cc1ccc(cc1)S(=O)(=O)NC(=O)NN1CCCCC1",
    "NS(=O)(=O)c1cc(C(=O)O)c(NCc2ccco2)cc1Cl",
    "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc12",
    "CC(N)Cc1ccccc1",
    "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
    "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "Cc1nnc2n1-c1ccc(Cl)cc1C(=NC2)c1ccccc1",
    "COc1cc2c(cc1OC)C(=O)C(CC1CCN(CC1)Cc1ccccc1)C2",
    "O=C(O)Cc1ccccc1Nc1c(Cl)cccc1Cl",
]
CPU = torch.device("cpu")


class Mmff:
    """A molecule of RDKit with its MMFF94 force field."""

    def __init__(self, smiles):
        self.rdmol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(self.rdmol, randomSeed=7)
        numbers = np.array([a.GetAtomicNum() for a in self.rdmol.GetAtoms()])
        self.molecule = Molecule(smiles, numbers, self.rdmol.GetConformer().GetPositions())
        self.field = MMFFGetMoleculeForceField(self.rdmol, MMFFGetMoleculeProperties(self.rdmol))

    def __call__(self, positions):
        flat = positions.reshape(-1).tolist()
        energy = self.field.CalcEnergy(flat)  # first: CalcGrad uses the distances that CalcEnergy leaves behind
        gradient = np.array(self.field.CalcGrad(flat)).reshape(-1, 3)
        return energy * KCAL_MOL_TO_HARTREE, -gradient * KCAL_MOL_TO_HARTREE


class Analytic:
    """A function of torch positions as a potential."""

    def __init__(self, energy, positions):
        self.energy = energy
        self.molecule = Molecule("analytic", np.ones(len(positions)), positions)

    def __call__(self, positions):
        x = torch.tensor(positions, requires_grad=True)
        energy = self.energy(x)
        return energy.item(), -torch.autograd.grad(energy, x)[0].numpy()


@pytest.fixture(scope="module")
def drugs():
    return [Mmff(smiles) for smiles in DRUGS]


def optimizer(text, slots, atoms):
    name, _, rest = text.partition(":")
    made = registry().find(OptimizerSpec, name).create(dict(i.split("=") for i in rest.split(",") if i))
    made.allocate(slots, atoms, CPU)
    return made


def minimize(potentials, text="lbfgs", fmax_ev=0.05, limit=500, atoms=None, order=None):
    """Return (force calls, energies, final positions, largest displacement of an atom) per potential."""
    n = len(potentials)
    width = atoms or max(len(p.molecule) for p in potentials)
    moving = optimizer(text, n, width)
    positions = torch.zeros(n, width, 3, dtype=torch.float64)
    for slot, potential in enumerate(potentials):
        moving.admit(slot, potential.molecule)
        positions[slot, : len(potential.molecule)] = torch.from_numpy(potential.molecule.positions)
    calls, energies, longest = np.zeros(n, int), np.zeros(n), 0.0
    live = list(order or range(n))
    for _ in range(limit):
        forces = torch.zeros(len(live), width, 3, dtype=torch.float64)
        for row, slot in enumerate(live):
            size = len(potentials[slot].molecule)
            energies[slot], force = potentials[slot](positions[slot, :size].numpy())
            forces[row, :size] = torch.from_numpy(force)
            calls[slot] += 1
        rows = (forces.norm(dim=-1).amax(-1) > fmax_ev / HARTREE_TO_EV).nonzero().flatten().tolist()
        live = [live[row] for row in rows]
        if not live:
            break
        slots = torch.tensor(live)
        step = moving.step(slots, positions[slots], torch.from_numpy(energies[live]), forces[rows])
        longest = max(longest, float(step.norm(dim=-1).max()))
        positions[slots] += step
    assert not live, f"{len(live)} of {n} did not converge"
    return calls, energies, positions, longest


def ase_calls(potential, fmax_ev):
    """Return the number of force calls that ASE's L-BFGS needs, and its energy in Hartree."""
    calls = []

    class Counted(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=None, system_changes=None):
            energy, forces = potential(atoms.positions)
            calls.append(energy)
            self.results = {"energy": energy * HARTREE_TO_EV, "forces": forces * HARTREE_TO_EV}

    atoms = Atoms(potential.molecule.numbers, potential.molecule.positions, calculator=Counted())
    assert AseLBFGS(atoms, logfile=None).run(fmax=fmax_ev, steps=500)
    return len(calls), calls[-1]


def test_lbfgs_solves_a_quadratic_in_as_many_steps_as_it_has_curvatures():
    curvatures = torch.tensor([0.5, 1.0, 2.0])
    start = np.array([[0.1, 0.1, 0.1], [-0.1, 0.05, 0.1]])
    calls, energies, positions, _ = minimize(
        [Analytic(lambda x: (0.5 * curvatures * x * x).sum(), start)], fmax_ev=1e-6
    )
    assert calls[0] <= 12
    assert energies[0] < 1e-13
    assert np.abs(positions.numpy()).max() < 1e-6


def test_lbfgs_walks_down_the_valley_of_rosenbrock():
    def rosenbrock(x):
        u = x.reshape(-1)
        return (10 * (u[1:] - u[:-1] ** 2) ** 2 + (1 - u[:-1]) ** 2).sum()

    start = np.array([[0.5, 0.8, 0.5], [0.2, 0.1, 0.0]])
    calls, energies, positions, longest = minimize([Analytic(rosenbrock, start)], fmax_ev=1e-5)
    assert calls[0] < 120
    assert energies[0] < 1e-9
    assert np.abs(positions.numpy() - 1).max() < 1e-4
    assert longest <= 0.2 + 1e-12


def test_lbfgs_straightens_a_stiff_chain_of_springs():
    rng = np.random.default_rng(1)
    start = np.outer(np.arange(12), [1.0, 0, 0]) + rng.normal(0, 0.2, (12, 3))

    def chain(x):
        bonds = (x[1:] - x[:-1]).norm(dim=-1)
        bends = (x[2:] - x[:-2]).norm(dim=-1)
        return ((bonds - 1.2) ** 2).sum() + 0.02 * ((bends - 2.4) ** 2).sum()

    calls, energies, positions, _ = minimize([Analytic(chain, start)], fmax_ev=0.01)
    bonds = positions[0, 1:].sub(positions[0, :-1]).norm(dim=-1)
    assert calls[0] < 110  # ASE's L-BFGS: 315
    assert energies[0] < 1e-4
    assert (bonds - 1.2).abs().max() < 2e-3


def test_lbfgs_needs_no_more_force_calls_than_ase_on_drug_molecules(drugs):
    calls, energies, _, longest = minimize(drugs)
    reference = [ase_calls(drug, 0.05) for drug in drugs]
    assert calls.mean() <= 1.1 * np.mean([c for c, _ in reference])
    assert calls.max() < 200
    assert longest == pytest.approx(0.2, abs=1e-12)
    difference = (energies - [e for _, e in reference]) / KCAL_MOL_TO_HARTREE
    assert np.median(np.abs(difference)) < 0.2  # most end in the basin that ASE ends in


@pytest.mark.parametrize("text", ["lbfgs:memory=7", "gradient-descent:rate=0.1,momentum=0.9"])
def test_a_molecule_moves_alike_alone_in_a_batch_permuted_and_under_wider_padding(drugs, text):
    few = drugs[:6]
    calls, energies, positions, _ = minimize(few, text)
    shuffled = minimize(few, text, order=[3, 0, 5, 1, 4, 2])
    wide = minimize(few, text, atoms=200)
    assert (shuffled[0] == calls).all()
    assert torch.equal(shuffled[2], positions)
    assert torch.equal(wide[2][:, : positions.shape[1]], positions)
    assert not wide[2][:, positions.shape[1] :].any()
    for slot, drug in enumerate(few):
        alone = minimize([drug], text)
        assert alone[0][0] == calls[slot]
        assert alone[1][0] == energies[slot]
        assert torch.equal(alone[2][0], positions[slot, : len(drug.molecule)])


@pytest.mark.parametrize("text", ["lbfgs", "gradient-descent:momentum=0.9"])
def test_admit_forgets_the_molecule_before(drugs, text):
    first, second = drugs[0], drugs[1]
    size = max(len(first.molecule), len(second.molecule))
    used, fresh = optimizer(text, 2, size), optimizer(text, 2, size)

    def three_steps(moving, potential):
        n = len(potential.molecule)
        positions = torch.zeros(1, size, 3, dtype=torch.float64)
        positions[0, :n] = torch.from_numpy(potential.molecule.positions)
        moving.admit(1, potential.molecule)
        for _ in range(3):
            energy, force = potential(positions[0, :n].numpy())
            forces = torch.zeros_like(positions)
            forces[0, :n] = torch.from_numpy(force)
            positions += moving.step(torch.tensor([1]), positions, torch.tensor([energy]), forces)
        return positions

    three_steps(used, first)
    assert torch.equal(three_steps(used, second), three_steps(fresh, second))


def one_step(moving, forces, positions=None):
    forces = torch.as_tensor(forces, dtype=torch.float64)
    positions = torch.zeros_like(forces) if positions is None else positions
    rows = torch.arange(len(forces))
    return moving.step(rows, positions, torch.zeros(len(forces)), forces)


@pytest.mark.parametrize("text", ["lbfgs", "gradient-descent:momentum=0.5"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_force_that_is_not_finite_moves_nothing_and_harms_nobody(text, value):
    moving = optimizer(text, 2, 2)
    good = [[0.01, 0, 0], [0, 0.02, 0]]
    step = one_step(moving, [good, [[value, 0, 0], [0, 0, 0]]])
    assert not step[1].any()
    assert step[0].any()
    assert torch.isfinite(one_step(moving, [good, good])).all()


def test_lbfgs_first_step_follows_the_forces_up_to_the_cap():
    gentle = [[0.01, 0, 0], [-0.01, 0, 0.002]]
    moving = optimizer("lbfgs:max_step=0.1", 2, 2)
    step = one_step(moving, [gentle, [[3.0, 0, 0], [0, 4.0, 0]]])
    assert torch.allclose(step[0], torch.tensor(gentle, dtype=torch.float64) * FIRST_INVERSE_CURVATURE)
    assert pytest.approx(0.38873, abs=1e-5) == FIRST_INVERSE_CURVATURE
    assert step[1].norm(dim=-1).tolist() == pytest.approx([0.075, 0.1])


def test_lbfgs_keeps_no_pair_of_negative_curvature():
    moving = optimizer("lbfgs", 1, 1)
    moved = one_step(moving, [[[0.1, 0, 0]]])
    step = one_step(moving, [[[0.2, 0, 0]]], moved)  # the force grows along the way: s·y < 0
    assert torch.allclose(step, torch.tensor([[[0.2 * FIRST_INVERSE_CURVATURE, 0, 0]]], dtype=torch.float64))


def test_gradient_descent_adds_momentum_after_the_cap():
    moving = optimizer("gradient-descent:rate=0.5,momentum=0.5,max_step=0.2", 1, 1)
    assert one_step(moving, [[[1.0, 0, 0]]])[0, 0].tolist() == pytest.approx([0.2, 0, 0])
    there = torch.tensor([[[0.2, 0.0, 0.0]]], dtype=torch.float64)  # the step was taken as proposed
    assert one_step(moving, [[[0.0, 0.1, 0]]], there)[0, 0].tolist() == pytest.approx([0.1, 0.05, 0])


def test_gradient_descent_with_momentum_minimizes_drugs(drugs):
    calls, energies, _, longest = minimize(drugs[:4], "gradient-descent:momentum=0.9", limit=400)
    starts = [drug(drug.molecule.positions)[0] for drug in drugs[:4]]
    assert calls.mean() < 250
    assert ((starts - energies) / KCAL_MOL_TO_HARTREE).min() > 10
    assert longest <= 0.2 + 1e-12


def test_gradient_descent_without_momentum_goes_downhill_in_every_step(drugs):
    drug = drugs[0]
    size = len(drug.molecule)
    moving = optimizer("gradient-descent", 1, size)
    moving.admit(0, drug.molecule)
    positions, energies = drug.molecule.positions.copy(), []
    for _ in range(60):
        energy, forces = drug(positions)
        energies.append(energy)
        positions += one_step(moving, forces[None], torch.from_numpy(positions)[None])[0].numpy()
    assert (np.diff(energies) < 0).all()
    assert (energies[0] - energies[-1]) / KCAL_MOL_TO_HARTREE > 10


@pytest.mark.parametrize("text", ["lbfgs:memory=0", "lbfgs:max_step=0", "gradient-descent:momentum=1"])
def test_parameters_out_of_range_are_refused(text):
    with pytest.raises(ConfigurationError):
        optimizer(text, 1, 1)
