"""What does not move does not move, in every optimizer; the minima are those that another program finds."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from golfbench.chemistry import rdkit_mol
from golfbench.constraints import Constraint, torsion_values
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.minimization import minimize
from golfbench.molecule_files.constraints import Constraints
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.input_molecules import Reading
from golfbench.molecule_files.minimizing import minimize_own, open_optimizer
from golfbench.molecule_files.reading import read_molecules
from golfbench.stopping import StoppingRule

OPTIMIZERS = ["rfo-internal", "lbfgs-internal", "lbfgs", "fire"]
RULE = StoppingRule(0.01, 3000)


@pytest.fixture(scope="module")
def driver():
    with open_driver("mmff94", None, "mmff94") as opened:
        yield opened


@pytest.fixture(scope="module")
def inputs():
    return read_molecules(["CCCO", "NCC(=O)O"], Reading())


def ends(inputs, driver, optimizer, constraints):
    found = minimize_own(inputs, driver, open_optimizer(optimizer), RULE, constraints=constraints)
    return {finished.place: finished for finished in found}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fixed_atoms_do_not_move_by_a_bit_and_the_rest_comes_to_rest(inputs, driver, optimizer):
    for constraints in (Constraints(heavy=True), Constraints(fixed=(2,)), Constraints(fixed=(1, 2, 3))):
        for place, finished in ends(inputs, driver, optimizer, constraints).items():
            given = inputs[place]
            held = constraints.of(given)
            assert finished.row.status == "converged"
            assert finished.row.energy_change_kcal_mol < -1
            assert (finished.end.positions[held.fixed] == given.molecule.positions[held.fixed]).all()


def test_fixed_atoms_give_the_minimum_that_rdkit_finds(inputs, driver):
    (given,) = inputs[:1]
    finished = ends([given], driver, "rfo-internal", Constraints(fixed=(1, 2, 3)))[0]
    mol = rdkit_mol(given.molecule)
    field = Chem.rdForceFieldHelpers.MMFFGetMoleculeForceField(
        mol, Chem.rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    )
    for atom in (0, 1, 2):
        field.AddFixedPoint(atom)
    field.Minimize(maxIts=5000, forceTol=1e-6)
    assert finished.row.energy_final_hartree * 627.5095 == pytest.approx(field.CalcEnergy(), abs=0.01)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_frozen_torsion_keeps_its_value_and_the_rest_comes_to_rest(inputs, driver, optimizer):
    (given,) = inputs[:1]
    mol = rdkit_mol(given.molecule)
    rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 0, 1, 2, 3, 100.0)
    turned = type(given)(given.molecule.at(mol.GetConformer().GetPositions()), "x", given.order, given.mol)
    (finished,) = ends([turned], driver, optimizer, Constraints(torsions=((1, 2, 3, 4),))).values()
    mol.GetConformer().SetPositions(finished.end.positions)
    assert finished.row.status == "converged"
    assert rdMolTransforms.GetDihedralDeg(mol.GetConformer(), 0, 1, 2, 3) == pytest.approx(100.0, abs=1e-5)
    assert finished.row.force_max_final_ev_per_angstrom <= 0.01
    assert finished.row.energy_change_kcal_mol < -1


def test_springs_hold_back_and_are_not_in_the_energy(inputs, driver):
    (given,) = inputs[:1]
    free = ends([given], driver, "lbfgs", Constraints())[0]
    loose = ends([given], driver, "lbfgs", Constraints(springs=((None, 20.0),)))[0]
    stiff = ends([given], driver, "lbfgs", Constraints(springs=((None, 500.0),)))[0]
    heavy = given.molecule.numbers > 1
    moved = [np.abs(f.end.positions - given.molecule.positions)[heavy].max() for f in (free, loose, stiff)]
    assert moved[0] > moved[1] > moved[2] > 0
    assert free.row.energy_final_hartree < loose.row.energy_final_hartree < stiff.row.energy_final_hartree
    mol = rdkit_mol(given.molecule.at(stiff.end.positions))
    properties = Chem.rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    energy = Chem.rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties).CalcEnergy()
    assert stiff.row.energy_final_hartree * 627.5095 == pytest.approx(energy, abs=1e-3)


def test_numbers_are_those_of_the_file(tmp_path, driver):
    (given,) = read_molecules(["CCO"], Reading())
    mol = Chem.RenumberAtoms(rdkit_mol(given.molecule), [8, 2, 1, 0, 3, 4, 5, 6, 7])  # O is the second, its H the first
    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    (shuffled,) = read_molecules([str(tmp_path / "a.sdf")], Reading())
    held = Constraints(fixed=(2,)).of(shuffled)
    assert shuffled.molecule.numbers[held.fixed].tolist() == [8]


def test_derivatives_are_those_of_the_values():
    x = np.random.default_rng(0).normal(size=(5, 3))
    torsions = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
    held = Constraint(x, np.array([], dtype=np.int64), torsions, np.zeros(5))
    for column, row in enumerate(np.eye(15)):
        step = 1e-6 * row.reshape(5, 3)
        slope = (torsion_values(torsions, x + step) - torsion_values(torsions, x - step)) / 2e-6
        np.testing.assert_allclose(held._derivatives(x)[:, column], slope, atol=1e-7)
    assert held.basis(x).shape == (15, 13)
    np.testing.assert_allclose(held._derivatives(x) @ held.basis(x), 0, atol=1e-12)


def test_the_driver_leaves_what_is_not_constrained_as_it_was(inputs, driver):
    molecules = [given.molecule for given in inputs]
    plain = {o.point.index: o for o in minimize(driver.model, molecules, open_optimizer("lbfgs"), RULE)}
    held = [Constraints(heavy=True).of(inputs[0]), None]
    mixed = {
        o.point.index: o for o in minimize(driver.model, molecules, open_optimizer("lbfgs"), RULE, constraints=held)
    }
    assert (mixed[1].point.positions == plain[1].point.positions).all()
    assert (mixed[0].point.positions != plain[0].point.positions).any()


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-", "-3", "0", "1.5", "１"])
def test_what_is_no_list_of_atoms_is_refused(text):
    with pytest.raises(ConfigurationError, match="counted from 1, in the file's order"):
        Constraints.parse(text, False, None, None)


def test_a_torsion_along_a_line_is_refused():
    (given,) = read_molecules(["CC#CC"], Reading())
    with pytest.raises(MoleculeError, match="three of its atoms lie in a line"):
        Constraints(torsions=((1, 2, 3, 4),)).of(given)
