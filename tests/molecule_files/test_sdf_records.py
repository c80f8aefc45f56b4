"""SDF records: as many rows as records, whatever is wrong with one of them, and what is written is read back."""

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from golfbench.chemistry import embed, rdkit_mol
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Reading, Unusable
from golfbench.molecule_files.reading import read_molecules
from golfbench.molecule_files.sdf_records import split_records, written
from golfbench.molecule_files.writing import molecule_bytes


def write_molecules(path: Path, ends: list[EndPoint]) -> None:
    path.write_bytes(b"".join(molecule_bytes(path.suffix, end) for end in ends))


def block(smiles: str, title: str) -> str:
    mol = rdkit_mol(embed(smiles, "m", 1, seed=1)[0])
    mol.SetProp("_Name", title)
    return str(Chem.MolToMolBlock(mol))


METHANOL, ETHANE, WATER = block("CO", "methanol"), block("CC", "ethane"), block("O", "water")
END = "$$$$\n"


def read(tmp_path: Path, text: str | bytes, reading: Reading | None = None) -> list[InputMolecule | Unusable]:
    path = tmp_path / "a.sdf"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_molecules([str(path)], reading or Reading())


def names(inputs: list[InputMolecule | Unusable]) -> list[str]:
    return [e.molecule.id if isinstance(e, InputMolecule) else f"!{e.id}" for e in inputs]


def data(given: InputMolecule | Unusable) -> dict[str, str]:
    assert isinstance(given, InputMolecule)
    return dict(given.fields)


@pytest.mark.parametrize("text", ["1,234", "", "abc", "1.2D+00", "−1.2", "1.2.3", "nan", "1 2", "--1"])
@pytest.mark.parametrize("v3000", [False, True])
def test_coordinates_are_numbers(text, v3000, tmp_path):
    lines = METHANOL.split("\n")
    lines[5] = lines[5][:10] + text.rjust(10) + lines[5][20:]
    if v3000:
        mol = rdkit_mol(embed("CO", "m", 1, seed=1)[0])
        lines = Chem.MolToMolBlock(mol, forceV3000=True).split("\n")
        lines[0] = "methanol"
        k = next(k for k, line in enumerate(lines) if line.startswith("M  V30 2 O"))
        cells = lines[k].split()
        lines[k] = "M  V30 " + " ".join([*cells[2:5], text, *cells[6:]])
    inputs = read(tmp_path, "\n".join(lines) + END + WATER)
    assert names(inputs) == ["!methanol", "water"]


@pytest.mark.parametrize(("kind", "refused"), [(1, False), (5, True), (6, True), (7, True), (8, True)])
def test_a_query_bond_is_no_bond(kind, refused, tmp_path):
    inputs = read(tmp_path, METHANOL.replace("  1  2  1  0", f"  1  2  {kind}  0", 1) + END + WATER)
    assert names(inputs) == ["!methanol" if refused else "methanol", "water"]
    assert not refused or "query" in str(inputs[0].error)


@pytest.mark.parametrize(("smiles", "radical"), [("[CH3]", "C"), ("[OH]", "O"), ("C[NH]", "N"), ("[CH2]c1ccccc1", "C")])
def test_a_doublet_radical_in_the_atom_line(smiles, radical, tmp_path):
    lines = [line for line in block(smiles, "x").split("\n") if not line.startswith("M  RAD")]
    open_atom = next(a.GetIdx() for a in Chem.MolFromSmiles(smiles).GetAtoms() if a.GetNumRadicalElectrons())
    line = lines[4 + open_atom]
    assert line[31:34].strip() == radical
    lines[4 + open_atom] = line[:36] + "  4" + line[39:48] + "  0" + line[51:]
    inputs = read(tmp_path, "\n".join(lines) + END + WATER)
    assert names(inputs) == ["x", "water"]
    assert (inputs[0].molecule.charge, inputs[0].molecule.multiplicity) == (0, 2)


def test_a_fourth_line_in_a_header(tmp_path):
    title, rest = METHANOL.split("\n", 1)
    inputs = read(tmp_path, f"{title}\n\n{rest}" + END + WATER)
    assert names(inputs) == ["methanol", "water"]


ALL = ["methanol", "ethane", "water"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (METHANOL + END + ETHANE + END + WATER + END, ALL),
        (METHANOL + END + ETHANE + END + WATER, ALL),
        (METHANOL + ETHANE + WATER, ALL),
        (METHANOL + "\n\n" + ETHANE + "\n" + WATER + "\n\n", ALL),
        (METHANOL + "> <a>\n1\n" + END + ETHANE + "> <a>\n2\n" + END + WATER + END, ALL),
        (METHANOL + "> <a>\n1\n\n" + ETHANE + "> <a>\n2\n\n" + WATER, ALL),
        (METHANOL + "> <a>\n1\n \n" + END + ETHANE + "> <a>\n2\n\t\n" + END + WATER + END, ALL),
        (METHANOL + END + "\n" + ETHANE + END + "\n\n" + WATER + END, ALL),
        (METHANOL.replace("M  END", "M END") + END + ETHANE + END + WATER + END, ["!methanol", *ALL[1:]]),
        (METHANOL.replace("M  END\n", "") + END + ETHANE + END + WATER + END, ["!methanol", *ALL[1:]]),
        (METHANOL.replace("M  END\n", "") + ETHANE + END + WATER + END, ["!methanol", *ALL[1:]]),
        ("\n".join(METHANOL.split("\n")[:7]) + "\n" + END + ETHANE + WATER, ["!methanol", *ALL[1:]]),
        ("\n".join(METHANOL.split("\n")[:7]) + "\n" + ETHANE + WATER, ["!methanol", *ALL[1:]]),
        (METHANOL + END + END + ETHANE + END, ["methanol", "!a.sdf:2", "ethane"]),
        (METHANOL + END + ETHANE + END + "no record\n", ["methanol", "ethane", "!no record"]),
        (METHANOL + END + ETHANE + END + "\x1a", ["methanol", "ethane"]),
        (METHANOL.replace("methanol\n", "\n").lstrip("\n") + END + ETHANE, ["a.sdf:1", "ethane"]),
        (METHANOL + f"> <block>\n{WATER}\n" + END + ETHANE, ["methanol", "ethane"]),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_as_many_rows_as_records(text, expected, line_end, tmp_path):
    assert names(read(tmp_path, text.replace("\n", line_end))) == expected


def test_v3000_and_v2000_stand_side_by_side(tmp_path):
    v3000 = Chem.MolToV3KMolBlock(Chem.MolFromMolBlock(ETHANE, removeHs=False))
    assert names(read(tmp_path, METHANOL + v3000 + WATER + END + v3000 + END)) == [
        "methanol",
        "ethane",
        "water",
        "ethane",
    ]


def test_data_items_in_every_form(tmp_path):
    items = "> <one>\n1\n\n>  25 <two>  (MD-1)\n2a\n2b\n\n> 25\nnameless\n\n><three>\n> <four>\n4\n5 > 4\n\n6\n"
    (given,) = read(tmp_path, METHANOL + items + END)
    assert data(given) == {"one": "1", "two": "2a\n2b", "unnamed": "nameless", "three": "", "four": "4\n5 > 4\n\n6"}


def test_rdkits_reason_is_told_once(tmp_path, capfd):
    (given, *_) = read(tmp_path, METHANOL.replace(" C  ", " Qx ") + END + ETHANE)
    assert isinstance(given, Unusable)
    assert str(given.error) == "methanol: is not a valid mol block: Element 'Qx' not found"
    assert capfd.readouterr().err == ""


def test_the_spin_of_a_record_is_its_own_then_the_option_then_a_guess(tmp_path):
    carbene = block("F[C]F", "carbene").replace("M  END", "M  RAD  1   2   3\nM  END")
    carbene = "\n".join(line for line in carbene.split("\n") if line != "M  RAD  1   2   1")
    told = carbene.replace("   2   3\n", "   2   1\n")
    guessed = block("C[C]C", "dimethylcarbene").replace("M  RAD  1   2   3\n", "")
    for text, option, multiplicity in [
        (carbene, None, 3),
        (told, None, 1),
        (told, 3, 3),
        (told + "> <Multiplicity>\n3\n", None, 3),
        (told + "> <spin multiplicity>\n3\n", None, 3),
        (block("C[CH2]", "ethyl"), None, 2),
        (block("O=O", "oxygen"), None, 3),
        (block("O=O", "oxygen"), 1, 1),
    ]:
        (given,) = read(tmp_path, text, Reading(multiplicity=option))
        assert isinstance(given, InputMolecule), given
        assert given.molecule.multiplicity == multiplicity
    reading = Reading()
    read(tmp_path, guessed, reading)
    read(tmp_path, block("O=O", "oxygen"), reading)
    assert any("multiplicity 3 is a guess" in line and "--multiplicity" in line for line in reading.notes.lines())


@pytest.mark.parametrize(
    ("fields", "reading", "why"),
    [
        ("> <total charge>\n-1\n", Reading(), "its atoms and bonds have charge +0, but a data field says -1"),
        ("", Reading(charge=1), "its atoms and bonds have charge +0, but --charge says +1"),
        ("", Reading(multiplicity=2), "18 electrons (charge +0) cannot have multiplicity 2"),
        ("> <multiplicity>\n4\n", Reading(), "'multiplicity' (4) does not fit 18 electrons"),
    ],
)
def test_a_charge_or_multiplicity_that_cannot_be_is_refused(fields, reading, why, tmp_path):
    (given,) = read(tmp_path, METHANOL + fields + END, reading)
    assert isinstance(given, Unusable)
    assert why in str(given.error)


def test_a_charge_that_agrees_and_partial_charges_are_fine(tmp_path):
    acetate = block("CC(=O)[O-]", "acetate")
    fields = "> <PUBCHEM_TOTAL_CHARGE>\n-1\n\n> <PUBCHEM_MMFF94_PARTIAL_CHARGES>\n2\n1 -0.9\n2 -0.1\n"
    (given,) = read(tmp_path, acetate + fields + END)
    assert isinstance(given, InputMolecule)
    assert given.molecule.charge == -1


def test_a_smiles_among_the_data_that_is_another_isomer_is_told(tmp_path):
    e = block("C/C=C/C", "e")
    for smiles, told in [("C/C=C\\C", True), ("C/C=C/C", False), ("CC=CC", False), ("CCCC", False)]:
        reading = Reading()
        read(tmp_path, e + f"> <SMILES>\n{smiles}\n" + END, reading)
        assert bool(reading.notes.lines()) is told


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
LINES = st.lists(
    TEXT | st.sampled_from(["$$$$", "M  END", "> <x>", "  3  2  0  0  0  0  0  0  0  0999 V2000"]), max_size=4
)
FIELDS = st.lists(st.tuples(TEXT, LINES.map("\n".join)), max_size=4)


def _kept(name: str, value: str) -> tuple[str, str]:
    """Return what is promised of an item: not blanks around names, and none that begin a line or are all of it."""
    lines = [line[1:] if line.startswith((" $$$$", " >")) else line for line in value.split("\n")]
    lines = ["" if not line.strip() else line for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return " ".join(name.split()) or "unnamed", "\n".join(lines)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXT, fields=FIELDS)
def test_what_is_written_is_read_back(title, fields):
    text = written(title, METHANOL, fields) + written("next", ETHANE, [])
    first, second = split_records(text.split("\n"))
    assert second.title == "next"
    assert first.title == title.strip()
    assert [_kept(*item) for item in first.fields] == [_kept(*item) for item in fields]
    assert Chem.MolFromMolBlock(first.block, removeHs=False).GetNumAtoms() == 6


def test_rdkit_reads_what_is_written(tmp_path):
    text = METHANOL + "> <status>\nmine\n\n> <model>\nmine, too\n\n> <_x>\n1\n\n> <ü>\nΔ°\n" + END
    (given,) = read(tmp_path, text)
    assert isinstance(given, InputMolecule)
    end = EndPoint(given, given.molecule.positions, {"status": "converged", "model": "m"})
    write_molecules(tmp_path / "b.sdf", [end, end])
    for mol in Chem.SDMolSupplier(str(tmp_path / "b.sdf"), removeHs=False):
        found = mol.GetPropsAsDict(includePrivate=True)
        wanted = {"status": "mine", "model": "mine, too", "ü": "Δ°", "_x": 1, "golfbench_status": "converged"}
        assert wanted.items() <= found.items()
        assert found["golfbench_model"] == "m"
    again = read_molecules([str(tmp_path / "b.sdf")], Reading())
    assert [data(e) for e in again] == [data(given) | {"golfbench_status": "converged", "golfbench_model": "m"}] * 2
    write_molecules(tmp_path / "c.sdf", [EndPoint(again[0], end.positions, {"status": "step_limit"})])
    (third,) = read_molecules([str(tmp_path / "c.sdf")], Reading())
    assert data(third)["golfbench_status"] == "step_limit"


def test_a_double_bond_is_written_without_a_mark(tmp_path):
    for smiles in ("C/C=C/C", "CC=CC"):
        (given,) = read_molecules([smiles], Reading())
        write_molecules(tmp_path / "a.sdf", [EndPoint(given, given.molecule.positions, {})])
        lines = (tmp_path / "a.sdf").read_text().splitlines()
        bonds = list(itertools.takewhile(lambda line: not line.startswith("M"), lines[4 + 12 :]))
        assert len(bonds) == 11
        assert {line.split()[3] for line in bonds} == {"0"}
