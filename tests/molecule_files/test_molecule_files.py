import random
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from golfbench.chemistry import bond_graph_changed, embed, mol_from_smiles, rdkit_mol
from golfbench.errors import ConfigurationError
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Reading, Unusable
from golfbench.molecule_files.reading import read_molecules
from golfbench.molecule_files.sdf import smiles_order
from golfbench.molecule_files.writing import molecule_bytes

ACETAMINOPHEN = "CC(=O)Nc1ccc(O)cc1"
SHUFFLED = [
    ACETAMINOPHEN,
    "C[C@H](N)C(=O)[O-]",
    "C/C(=N/O)c1ccccc1",
    "[H]/N=C/c1ccccc1",  # the hydrogen that tells E from Z stays in the SMILES
    "[2H]C([2H])O",
    "[NH4+].[Cl-]",
    "[H][H]",
    "O=[N+]([O-])c1ccccc1S(N)(=O)=O",
]
WATER = "3\n{comment}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
DEFAULT = Reading()
SHIFT = np.array([1.0, 0.0, 0.0])


def write_molecules(path, ends):
    path.write_bytes(b"".join(molecule_bytes(path.suffix, end) for end in ends))


def sdf(mol: Chem.Mol, title: str = "") -> str:
    mol.SetProp("_Name", title)
    return Chem.MolToMolBlock(mol) + "> <assay>\n7.5\n\n$$$$\n"


def conformer(smiles: str) -> Chem.Mol:
    return rdkit_mol(embed(smiles, "m", 1, seed=1)[0])


def shuffled(mol: Chem.Mol, seed: int) -> Chem.Mol:
    order = list(range(mol.GetNumAtoms()))
    random.Random(seed).shuffle(order)
    return Chem.RenumberAtoms(mol, order)


def refusal(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    (given,) = read_molecules([str(tmp_path / name)], DEFAULT)
    assert isinstance(given, Unusable)
    return str(given.error)


@pytest.mark.parametrize("smiles", SHUFFLED)
def test_a_shuffled_record_becomes_a_molecule_in_the_order_of_its_smiles(smiles, tmp_path):
    for seed in range(3):
        mol = shuffled(conformer(smiles), seed)
        (tmp_path / "a.sdf").write_text(sdf(mol, "title"))
        (given,) = read_molecules([str(tmp_path / "a.sdf")], DEFAULT)
        assert isinstance(given, InputMolecule)
        molecule = given.molecule
        assert Chem.CanonSmiles(molecule.smiles) == Chem.CanonSmiles(smiles)
        assert molecule.numbers.tolist() == [a.GetAtomicNum() for a in mol_from_smiles(molecule.smiles).GetAtoms()]
        assert molecule.charge == Chem.GetFormalCharge(mol)
        assert not bond_graph_changed(molecule, molecule.positions)
        np.testing.assert_allclose(
            given.in_file_order(molecule.positions), mol.GetConformer().GetPositions(), atol=6e-5
        )


def test_an_sdf_comes_back_with_its_order_bonds_title_and_fields(tmp_path):
    mol = shuffled(conformer(ACETAMINOPHEN), seed=4)
    (tmp_path / "in.sdf").write_text(sdf(mol, "paracetamol"))
    (given,) = read_molecules([str(tmp_path / "in.sdf")], DEFAULT)
    moved = given.molecule.positions + SHIFT
    write_molecules(tmp_path / "out.sdf", [EndPoint(given, moved, {"energy_final_hartree": -1.5})])
    (back,) = Chem.SDMolSupplier(str(tmp_path / "out.sdf"), removeHs=False)
    assert back.GetPropsAsDict() == {"assay": 7.5, "golfbench_energy_final_hartree": -1.5}
    assert back.GetProp("_Name") == "paracetamol"
    assert [a.GetSymbol() for a in back.GetAtoms()] == [a.GetSymbol() for a in mol.GetAtoms()]
    assert Chem.MolToSmiles(Chem.RemoveHs(back)) == ACETAMINOPHEN
    np.testing.assert_allclose(back.GetConformer().GetPositions(), mol.GetConformer().GetPositions() + SHIFT, atol=2e-4)


def test_extended_xyz_has_the_order_of_the_file_and_a_smiles_only_in_its_own_order(tmp_path):
    straight, mixed = conformer("CCO"), shuffled(conformer("CCO"), seed=2)
    (tmp_path / "in.sdf").write_text(sdf(straight, "a") + sdf(mixed, "b"))
    inputs = read_molecules([str(tmp_path / "in.sdf")], DEFAULT)
    write_molecules(tmp_path / "out.extxyz", [EndPoint(e, e.molecule.positions, {}) for e in inputs])
    back = read_molecules([str(tmp_path / "out.extxyz")], DEFAULT)
    assert [(e.molecule.id, e.molecule.smiles) for e in back] == [("a", "CCO"), ("b", None)]
    assert back[1].molecule.numbers.tolist() == [a.GetAtomicNum() for a in mixed.GetAtoms()]
    np.testing.assert_allclose(back[1].molecule.positions, mixed.GetConformer().GetPositions(), atol=6e-5)


@pytest.mark.parametrize("smiles", ["F", "[H][H]", "C/C=C\\C", "C/C=C\\[NH3+]", "OCC"])
def test_extended_xyz_keeps_every_smiles(smiles, tmp_path):
    (given,) = read_molecules([smiles], DEFAULT)
    write_molecules(tmp_path / "a.extxyz", [EndPoint(given, given.molecule.positions, {})])
    (back,) = read_molecules([str(tmp_path / "a.extxyz")], DEFAULT)
    assert (back.molecule.id, back.molecule.smiles) == (smiles, smiles)
    assert back.molecule.charge == given.molecule.charge
    np.testing.assert_allclose(back.molecule.positions, given.molecule.positions, atol=1e-8)


def test_bad_records_take_their_place_and_stop_nothing(tmp_path):
    good, bare, flat, five = conformer("C"), Chem.RemoveHs(conformer("CCO")), conformer("CC"), conformer("C")
    flat.GetConformer().SetPositions(flat.GetConformer().GetPositions() * [1, 1, 0])
    flat.GetConformer().Set3D(False)
    crowded = Chem.RWMol(five)
    crowded.AddBond(0, crowded.AddAtom(Chem.Atom("F")), Chem.BondType.SINGLE)
    crowded.GetConformer().SetPositions(np.vstack([five.GetConformer().GetPositions(), [[3.0, 0.0, 0.0]]]))
    blocks = [sdf(m) for m in (good, bare, flat, crowded)]
    not_finite = sdf(good).replace(sdf(good).splitlines()[4][:10], "       nan")
    (tmp_path / "a.sdf").write_text("".join([*blocks, "torn\n\n\nxx\n$$$$\n", not_finite, sdf(good, "last")]))
    inputs = read_molecules([str(tmp_path / "a.sdf")], DEFAULT)
    reasons = [str(e.error) if isinstance(e, Unusable) else "" for e in inputs]
    assert [bool(reason) for reason in reasons] == [False, True, True, True, True, True, False]
    assert reasons[1].startswith("a.sdf:2: 6 hydrogens are missing; add them with coordinates")
    assert "flat drawing" in reasons[2]
    assert "Explicit valence for atom # 0 C, 5, is greater than permitted" in reasons[3]
    assert reasons[4].startswith("torn: is not a valid mol block: Counts line too short")
    assert reasons[5] == "a.sdf:6: is not a valid mol block: Cannot process coordinates on line 5"
    assert inputs[6].molecule.id == "last"
    assert inputs[0].source == f"{tmp_path / 'a.sdf'}:1"


def test_a_flat_molecule_that_is_flat_is_no_drawing(tmp_path):
    water = conformer("O")
    water.GetConformer().SetPositions(np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]))
    (tmp_path / "a.mol").write_text(Chem.MolToMolBlock(water))
    (given,) = read_molecules([str(tmp_path / "a.mol")], DEFAULT)
    assert given.molecule.smiles == "O"


def test_smiles_order_takes_the_hydrogens_of_each_atom():
    mol = shuffled(conformer("CCO"), seed=9)
    smiles, order = smiles_order(mol, "ethanol")
    assert smiles == "CCO"
    template = mol_from_smiles(smiles)
    for bond in template.GetBonds():
        assert mol.GetBondBetweenAtoms(int(order[bond.GetBeginAtomIdx()]), int(order[bond.GetEndAtomIdx()]))


def test_xyz_says_its_charge_and_multiplicity_or_takes_the_options(tmp_path):
    comments = ["", "charge=1 multiplicity=2 id=cation", "a word on charge", "charge=-1.0 mult=2"]
    (tmp_path / "a.xyz").write_text("\n".join(WATER.format(comment=c) for c in comments))
    reading = Reading(charge=2, multiplicity=3)
    inputs = read_molecules([str(tmp_path / "a.xyz")], reading)
    assert [(e.molecule.id, e.molecule.charge, e.molecule.multiplicity) for e in inputs] == [
        ("a.xyz:1", 2, 3),
        ("cation", 1, 2),
        ("a word on charge", 2, 3),
        ("a.xyz:4", -1, 2),
    ]
    assert reading.notes.lines() == []
    assert inputs[0].molecule.smiles is None
    assert inputs[0].mol is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1\n\nXx 0 0 0\n", "'Xx' is no symbol of an element"),
        ("1\n\nH 0 0\n", "is not a valid XYZ frame"),
        ("2\n\nH 0 0 0\n", "the frame ends before its last atom"),
        ("H 0 0 0\n", "'H 0 0 0' is no number of atoms"),
        (WATER.format(comment="charge=0.5"), "charge must be an integer, not 0.5"),
        (WATER.format(comment='Lattice="5 0 0 0 5 0 0 0 5"'), "periodic systems are not molecules"),
        (WATER.format(comment="smiles=CO"), "its atoms are not those of its SMILES 'CO'"),
        (WATER.replace("0.96", "2.96").format(comment="smiles=O"), "its bonds are not those of 'smiles=O'"),
        ("\n", "the file holds no molecule"),
    ],
)
def test_a_bad_frame_says_what_is_wrong(text, reason, tmp_path):
    assert reason in refusal(tmp_path, "a.xyz", text)


def test_a_smiles_file_has_names_comments_and_a_header(tmp_path):
    (tmp_path / "a.smi").write_text("SMILES Name\nCCO the alcohol\n\n# none\nC1CC broken\nO\tw\nC\n")
    inputs = read_molecules([str(tmp_path / "a.smi"), "N"], DEFAULT)
    ids = [e.molecule.id if isinstance(e, InputMolecule) else e.id for e in inputs]
    assert ids == ["the alcohol", "broken", "w", "a.smi:7", "N"]
    assert [isinstance(e, Unusable) for e in inputs] == [False, True, False, False, False]
    assert str(inputs[1].error) == "'C1CC' is not a valid SMILES"


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_conformers_differ_whatever_the_seed(seed):
    made = read_molecules([ACETAMINOPHEN], Reading(conformers=3, seed=seed))
    assert [e.molecule.id for e in made] == [f"{ACETAMINOPHEN}/{k}" for k in range(3)]
    positions = [e.molecule.positions for e in made]
    assert min(np.abs(positions[a] - positions[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.1


@pytest.mark.parametrize("smiles", ["C1#CC1", "C1CC", "é", "C" * 300 + "("])
def test_smiles_that_give_no_molecule_are_unusable(smiles):
    (given,) = read_molecules([smiles], DEFAULT)
    assert isinstance(given, Unusable)


@pytest.mark.parametrize(
    ("inputs", "reading", "message"),
    [
        (["none.sdf"], DEFAULT, "none.sdf does not exist"),
        (["w.xyz"], Reading(conformers=2), "conformers are made of SMILES only"),
        (["notes.txt"], DEFAULT, "files are read by their endings"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(inputs, reading, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("w.xyz").write_text(WATER.format(comment=""))
    Path("notes.txt").write_text("C")
    with pytest.raises(ConfigurationError, match=message):
        read_molecules(inputs, reading)
