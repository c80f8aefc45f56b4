"""Conversions, RMSD, bond graph, formulas: against known facts and RDKit called directly."""

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdMolAlign, rdMolDescriptors

from golfbench import chemistry
from golfbench.chemistry import best_rmsd, bond_graph_changed, embed, formula, from_ase, rdkit_mol, scaffold, to_ase
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule, check_molecule

#: Name -> SMILES and molecular formula as in the pharmacopoeia.
DRUGS = {
    "aspirin": ("CC(=O)Oc1ccccc1C(=O)O", "C9H8O4"),
    "paracetamol": ("CC(=O)Nc1ccc(O)cc1", "C8H9NO2"),
    "ibuprofen": ("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "C13H18O2"),
    "lidocaine": ("CCN(CC)CC(=O)Nc1c(C)cccc1C", "C14H22N2O"),
    "caffeine": ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", "C8H10N4O2"),
    "diazepam": ("CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21", "C16H13ClN2O"),
    "fluoxetine": ("CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1", "C17H18F3NO"),
    "sulfamethoxazole": ("Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1", "C10H11N3O3S"),
    "salbutamol": ("CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "C13H21NO3"),
    "warfarin": ("CC(=O)CC(c1ccccc1)c1c(O)c2ccccc2oc1=O", "C19H16O4"),
    "propranolol": ("CC(C)NCC(O)COc1cccc2ccccc12", "C16H21NO2"),
    "naproxen": ("COc1ccc2cc(ccc2c1)C(C)C(=O)O", "C14H14O3"),
    "penicillin G": ("CC1(C)SC2C(NC(=O)Cc3ccccc3)C(=O)N2C1C(=O)O", "C16H18N2O4S"),
    "nitrofurantoin": ("O=C1CN(N=Cc2ccc(o2)[N+](=O)[O-])C(=O)N1", "C8H6N4O5"),
    "bromazepam": ("O=C1CN=C(c2ccccn2)c2cc(Br)ccc2N1", "C14H10BrN3O"),
    "ketamine": ("CNC1(CCCCC1=O)c1ccccc1Cl", "C13H16ClNO"),
    "amantadine": ("NC12CC3CC(CC(C3)C1)C2", "C10H17N"),
    "cetirizine": ("OC(=O)COCCN1CCN(CC1)C(c1ccccc1)c1ccc(Cl)cc1", "C21H25ClN2O3"),
    "omeprazole": ("COc1ccc2[nH]c(nc2c1)S(=O)Cc1ncc(C)c(OC)c1C", "C17H19N3O3S"),
    "captopril": ("CC(CS)C(=O)N1CCCC1C(=O)O", "C9H15NO3S"),
}


@pytest.mark.parametrize(("smiles", "known"), DRUGS.values(), ids=DRUGS)
def test_drugs_have_their_formula_and_keep_their_bonds(smiles: str, known: str) -> None:
    assert formula(smiles) == known
    for conformer in embed(smiles, "drug", 3, seed=7):
        check_molecule(conformer)
        assert formula(conformer) == known
        assert not bond_graph_changed(conformer, conformer.positions)


def test_formula_agrees_with_rdkit_for_ions_and_inorganics() -> None:
    for smiles in ("CC(=O)[O-]", "C[N+](C)(C)C", "O", "[NH4+].[Cl-]", "OS(=O)(=O)O", "[O-]C(=O)C(=O)[O-]"):
        assert formula(smiles) == rdMolDescriptors.CalcMolFormula(Chem.MolFromSmiles(smiles))


def test_embed_is_deterministic_and_in_the_order_of_the_smiles() -> None:
    smiles, _ = DRUGS["captopril"]
    first, again, other = (embed(smiles, "captopril", 3, seed) for seed in (5, 5, 6))
    assert [m.id for m in first] == ["captopril/0", "captopril/1", "captopril/2"]
    assert all((a.positions == b.positions).all() for a, b in zip(first, again, strict=True))
    assert not np.allclose(first[0].positions, other[0].positions)
    expected = [a.GetAtomicNum() for a in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms()]
    assert first[0].numbers.tolist() == expected
    assert first[0].smiles == smiles


@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [("O", 0, 1), ("CC(=O)[O-]", -1, 1), ("C[NH3+]", 1, 1), ("[CH3]", 0, 2), ("[O][O]", 0, 3), ("[Na+].[Cl-]", 0, 1)],
)
def test_charge_and_multiplicity_come_from_the_smiles(smiles: str, charge: int, multiplicity: int) -> None:
    molecule = embed(smiles, "m", 1, seed=1)[0]
    assert (molecule.charge, molecule.multiplicity) == (charge, multiplicity)
    check_molecule(molecule)


@pytest.mark.parametrize("smiles", ["C1CC", "not a molecule", "", "C(C)(C)(C)(C)C"])
def test_bad_smiles_are_one_clear_line(smiles: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MoleculeError, match="not a valid SMILES") as caught:
        embed(smiles, "bad", 1, seed=1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_molecule_that_cannot_exist_does_not_embed() -> None:
    with pytest.raises(MoleculeError, match="cyclopropyne: 'C1#CC1' does not embed"):
        embed("C1#CC1", "cyclopropyne", 1, seed=1)


def test_fragments_are_embedded_side_by_side() -> None:
    salt = embed("CCN.OC(=O)c1ccccc1.Cl", "salt", 2, seed=1)
    for conformer in salt:
        check_molecule(conformer)
        assert not bond_graph_changed(conformer, conformer.positions)
    pair = embed("[Na+].[Cl-]", "ions", 1, seed=1)[0]
    assert np.linalg.norm(pair.positions[0] - pair.positions[1]) == pytest.approx(chemistry.FRAGMENT_GAP)


def test_rdkit_mol_has_the_positions_and_checks_the_atoms() -> None:
    molecule = embed("CCO", "ethanol", 1, seed=1)[0]
    assert (rdkit_mol(molecule).GetConformer().GetPositions() == molecule.positions).all()
    rdkit_mol(molecule).RemoveAllConformers()
    assert rdkit_mol(molecule).GetNumConformers() == 1
    assert chemistry.mol_from_smiles("CCO").GetNumConformers() == 0
    shuffled = Molecule("ethanol", molecule.numbers[::-1], molecule.positions[::-1], smiles="CCO")
    with pytest.raises(MoleculeError, match="not those of its SMILES"):
        rdkit_mol(shuffled)
    with pytest.raises(MoleculeError, match="no SMILES"):
        rdkit_mol(Molecule("nameless", molecule.numbers, molecule.positions))
    with pytest.raises(MoleculeError, match=r"charge \+2, but its SMILES 'CCO' has \+0"):
        rdkit_mol(Molecule("dication", molecule.numbers, molecule.positions, charge=2, smiles="CCO"))


def test_ase_round_trip_keeps_everything() -> None:
    molecule = embed("[CH2]C(=O)[O-]", "radical anion", 1, seed=1)[0]
    back = from_ase(to_ase(molecule))
    assert (back.id, back.charge, back.multiplicity, back.smiles) == ("radical anion/0", -1, 2, "[CH2]C(=O)[O-]")
    assert (back.positions == molecule.positions).all()
    assert back.geometry_hash() == molecule.geometry_hash()


def test_plain_ase_atoms_are_a_neutral_singlet_and_crystals_are_refused() -> None:
    water = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    molecule = from_ase(water)
    assert (molecule.id, molecule.charge, molecule.multiplicity, molecule.smiles) == ("OH2", 0, 1, None)
    water.pbc = True
    with pytest.raises(MoleculeError, match="periodic"):
        from_ase(water, "ice")


def test_best_rmsd_is_rdkit_on_heavy_atoms() -> None:
    a, b = embed(DRUGS["lidocaine"][0], "lidocaine", 2, seed=3)
    direct = rdMolAlign.GetBestRMS(Chem.RemoveHs(rdkit_mol(a)), Chem.RemoveHs(rdkit_mol(b)))
    assert best_rmsd(a, a.positions, b.positions) == pytest.approx(direct, abs=1e-6)
    assert direct > 0.3


def test_best_rmsd_ignores_rotation_and_symmetry() -> None:
    benzoate = embed("[O-]C(=O)c1ccccc1", "benzoate", 1, seed=1)[0]
    swapped = benzoate.positions.copy()
    swapped[[0, 2]] = swapped[[2, 0]]
    turned = swapped @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) + 3.0
    assert best_rmsd(benzoate, benzoate.positions, turned) < 1e-3
    moved = benzoate.positions.copy()
    moved[9:] += 0.7  # hydrogens do not count
    assert best_rmsd(benzoate, benzoate.positions, moved) < 1e-6


def test_bond_graph_sees_a_broken_bond() -> None:
    ethane = embed("CC", "ethane", 1, seed=1)[0]
    axis = ethane.positions[1] - ethane.positions[0]
    axis /= np.linalg.norm(axis)
    right = np.array([1, 5, 6, 7])
    for length, changed in ((1.54, False), (2.15, False), (2.25, True), (4.0, True)):
        stretched = ethane.positions.copy()
        stretched[right] += axis * (length - np.linalg.norm(ethane.positions[1] - ethane.positions[0]))
        assert bond_graph_changed(ethane, stretched) is changed, length


def test_bond_graph_sees_a_proton_transfer_and_a_new_bond() -> None:
    dimer = Molecule(
        "hydronium to be",
        np.array([8, 8, 1, 1, 1, 1]),
        np.array([[0, 0, 0], [2.8, 0, 0], [0.97, 0, 0], [-0.3, 0.92, 0], [3.4, 0.7, 0], [3.4, -0.7, 0]]),
        smiles="O.O",
    )
    assert not bond_graph_changed(dimer, dimer.positions)
    handed_over = dimer.positions.copy()
    handed_over[2, 0] = 1.8
    assert bond_graph_changed(dimer, handed_over)
    close = dimer.positions.copy()
    close[[1, 4, 5], 0] -= 1.4  # O-O at 1.4 Å: a peroxide bond that the SMILES does not have
    assert bond_graph_changed(dimer, close)


def test_bond_graph_leaves_ion_pairs_alone_and_refuses_nan() -> None:
    salt = Molecule("salt", np.array([11, 17]), np.array([[0, 0, 0], [2.36, 0, 0]]), smiles="[Na+].[Cl-]")
    assert not bond_graph_changed(salt, salt.positions)
    assert bond_graph_changed(salt, salt.positions * np.nan)


def test_scaffolds() -> None:
    assert scaffold(DRUGS["paracetamol"][0]) == "c1ccccc1"
    assert scaffold(DRUGS["diazepam"][0]) == Chem.CanonSmiles("O=C1CN=C(c2ccccc2)c2ccccc2N1")
    assert scaffold("CCO") == ""
    assert scaffold("C[C@H]1CCCN(C1)c1ccccc1") == scaffold("C[C@@H]1CCCN(C1)c1ccccc1")


def test_the_rmsds_of_all_pairs_are_those_of_each_pair() -> None:
    conformers = chemistry.embed("CC(C)CC(N)C(=O)O", "leucine", 4, 3)
    found = chemistry.conformer_rmsds(conformers)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    expected = [chemistry.best_rmsd(conformers[0], conformers[i].positions, conformers[j].positions) for i, j in pairs]
    assert np.allclose(found, expected, atol=1e-6)
    assert len(chemistry.conformer_rmsds(conformers[:1])) == 0


def test_flat_smiles_are_the_same_for_all_stereoisomers() -> None:
    isomers = ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "OC(=O)C(N)C")
    assert {chemistry.flat_smiles(smiles) for smiles in isomers} == {"CC(N)C(=O)O"}
    assert chemistry.flat_smiles(r"F/C=C\Cl") == chemistry.flat_smiles("F/C=C/Cl")
