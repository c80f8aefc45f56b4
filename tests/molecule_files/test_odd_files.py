"""Files as people have them: encodings, compression, tables of SMILES, names, facts, drawings, missing files."""

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from golfbench.chemistry import embed, formula, to_ase
from golfbench.errors import ConfigurationError
from golfbench.molecule_files.drawings import is_drawing
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Reading, Unusable
from golfbench.molecule_files.reading import read_molecules
from golfbench.molecule_files.writing import molecule_bytes

WATER = "3\n{comment}\nO 0 0 0.117\nH 0 0.757 -0.469\nH 0 -0.757 -0.469\n"


def write_molecules(path: Path, ends: list[EndPoint]) -> None:
    path.write_bytes(b"".join(molecule_bytes(path.suffix, end) for end in ends))


def read(tmp_path: Path, name: str, data: str | bytes, reading: Reading) -> list[InputMolecule | Unusable]:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return read_molecules([str(tmp_path / name)], reading)


def names(inputs: list[InputMolecule | Unusable]) -> list[str]:
    return [e.molecule.id if isinstance(e, InputMolecule) else f"!{e.id}" for e in inputs]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("O wäßrig\n".encode(), ""),
        (b"\xef\xbb\xbf" + "O wäßrig\n".encode(), ""),
        ("O wäßrig\n".encode("latin-1"), "is not UTF-8, and was read as Latin-1"),
        ("O wäßrig\n".encode("utf-16"), ""),
        (b"\xfe\xff" + "O wäßrig\n".encode("utf-16-be"), ""),
        (gzip.compress("O wäßrig\n".encode(), mtime=0), "is compressed by gzip, although its name does not say so"),
    ],
)
def test_every_encoding_is_read_and_written_as_utf_8(data, said, tmp_path):
    reading = Reading()
    inputs = read(tmp_path, "a.smi", data, reading)
    assert names(inputs) == ["wäßrig"]
    assert said in "".join(reading.notes.lines())
    assert bool(said) is bool(reading.notes.lines())
    write_molecules(tmp_path / "b.sdf", [EndPoint(inputs[0], inputs[0].molecule.positions, {})])
    assert (tmp_path / "b.sdf").read_bytes().startswith("wäßrig\n".encode())


@pytest.mark.parametrize("name", ["a.smi.gz", "A.SMI.GZ", "a.xyz.gz"])
def test_gzip_of_every_kind_is_read(name, tmp_path):
    text = "O w\n" if "smi" in name.lower() else WATER.format(comment="w")
    reading = Reading()
    assert names(read(tmp_path, name, gzip.compress(text.encode(), mtime=0), reading)) == ["w"]
    assert not any("compressed" in line for line in reading.notes.lines())


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.cif", b"ATOM", "files are read by their endings"),
        ("a.txt.gz", b"ATOM", "files are read by their endings"),
    ],
)
def test_what_is_no_molecule_file_is_refused(name, data, why, tmp_path):
    with pytest.raises(ConfigurationError, match=why):
        read(tmp_path, name, data, Reading())


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.sdf.gz", gzip.compress(b"x" * 1000, mtime=0)[:20], "the gzip file is damaged"),
        ("a.sdf", b"PK\x03\x04rest", "is a zip archive: unpack it first"),
        ("a.xyz", b"\x00\x01\x02", "is no text"),
        ("a.smi", b"O w\n\x00", "is no text"),
    ],
)
def test_a_file_that_is_no_text_costs_itself_alone(name, data, why, tmp_path):
    (tmp_path / "good.smi").write_text("O water\n")
    (tmp_path / name).write_bytes(data)
    inputs = read_molecules([str(tmp_path / name), str(tmp_path / "good.smi")], Reading())
    assert names(inputs) == [f"!{name}", "water"]
    assert why in str(inputs[0].error)


@pytest.mark.parametrize(
    ("smiles", "flat"),
    [
        ("O", True),  # water is flat
        ("c1ccccc1", True),
        ("C=O", True),
        ("C=CC=C", True),
        ("NC=O", True),
        ("Oc1ccc(Cl)cc1", True),
        ("CCO", False),
        ("C1CCCCC1", False),
        ("CN", False),
        ("OC1COCC1O", False),
        ("CC#N", False),
    ],
)
def test_what_cannot_be_flat_is_a_drawing(smiles, flat):
    molecule = embed(smiles, "x", 1, 1)[0]
    centred = molecule.positions - molecule.positions.mean(axis=0)
    axes = np.linalg.svd(centred)[2]
    pressed = centred @ axes.T * [1.0, 1.0, 0.0]
    assert flat or not is_drawing(molecule.numbers, centred)
    assert is_drawing(molecule.numbers, pressed) is not flat


@pytest.mark.parametrize(
    "comment",
    [
        "units=bohr",
        "in Bohr",
        "Bohr",
        "unit: a.u.",
        "length_unit=au charge=0",
        'units="atomic units"',
        "coordinates (atomic units)",
        '{"units": "bohr"}',
        "positions in a.u.",
    ],
)
def test_coordinates_in_bohr_are_refused(comment, tmp_path):
    inputs = read(tmp_path, "a.xyz", WATER.format(comment=comment) + WATER.format(comment="w"), Reading())
    assert names(inputs) == ["!a.xyz:1", "w"]
    assert "in bohr" in str(inputs[0].error)


@pytest.mark.parametrize(
    "comment",
    [
        "energy=-76.4 forces_unit=hartree/bohr",
        "energy in a.u.: -76.4",
        "energy_unit=a.u.",
        "dipole_unit=e*bohr",
        "dipole_moment 0.7 a.u.",
        "converted from bohr to angstrom",
        "polarizability in bohr^3",
        "gradient in Eh per bohr",
        "Bohrium",
        "aurora",
    ],
)
def test_units_of_something_else_are_no_matter(comment, tmp_path):
    assert isinstance(read(tmp_path, "a.xyz", WATER.format(comment=comment), Reading())[0], InputMolecule)


@pytest.mark.parametrize(
    ("comment", "charge"),
    [
        ('{"charge": 2}', 2),
        ("{'charge': -2, 'name': 'x'}", -2),
        ('"charge"=2', 2),
        ('{"total charge": "-2"}', -2),
        ("= = = charge=2", 2),
        ("== x == charge: -2", -2),
    ],
)
def test_charges_in_odd_spellings(comment, charge, tmp_path):
    given = read(tmp_path, "a.xyz", WATER.format(comment=comment), Reading())[0]
    assert given.molecule.charge == charge


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("SMILES\nCCO ethanol\nO water\n", ["ethanol", "water"]),
        ("smiles\nCCO\tethanol\nO\twater\n", ["ethanol", "water"]),
        ("  CCO ethanol  \n\tO water\t\n", ["ethanol", "water"]),
        ("\tSMILES\tname\n0\tCCO\tethanol\n1\tO\twater\n", ["ethanol", "water"]),
        ("CCO |$a;;b$| ethanol\nO\t|(0,0,)|\twater\n", ["ethanol", "water"]),
        ('smiles,name\n"CCO |$a;;b$|",ethanol\n', ["ethanol"]),
        ("CCO |Sg:n:1::ht| polymer\nO water\n", ["!polymer", "water"]),
        ("CCO |LN:1:1.3| linked\nO water\n", ["!linked", "water"]),
        ("CCO |nothing| x\nO a|b|\n", ["!x", "a|b|"]),
        ("*CC x\n[*:1]O y\nCС z\nC\u2212C w\n", ["!x", "!y", "!z", "!w"]),
    ],
)
def test_lines_of_smiles_keep_their_names(lines, expected, tmp_path):
    assert names(read(tmp_path, "a.smi", lines, Reading())) == expected


@pytest.mark.parametrize(
    ("line", "formula_", "multiplicity"),
    [
        ("C[CH2] |^1:1|", "C2H5", 2),
        ("CCO |^1:1|", "C2H5O", 2),
        ("C[C@H](F)Cl |&1:1|", "C2H4ClF", 1),
    ],
)
def test_an_extension_is_part_of_the_molecule(line, formula_, multiplicity):
    given = read_molecules([line], Reading())[0]
    assert formula(given.molecule) == formula_
    assert given.molecule.multiplicity == multiplicity
    assert "|" not in given.molecule.smiles


@pytest.mark.parametrize(
    ("smiles", "why"),
    [
        ("CF(C)C", "valence for atom # 1 F"),
        ("c1cccc1C", "kekul"),
        ("Ccc", "non-ring atom 1 marked aromatic"),
        ("C" * 400, "1202 atoms, but conformers are made of up to 1000"),
        ("*", "wildcard"),
        ("CС", "no ASCII character"),
    ],
)
def test_the_reason_against_a_smiles_is_told(smiles, why):
    assert why in str(read_molecules([smiles], Reading())[0].error)


@pytest.mark.parametrize("text", ["x", "x ", "a=[", "a={", "charge ", "id ", 'a="', "= ", "charge" + " " * 50_000])
def test_time_for_a_comment_line_grows_with_its_length_alone(text, tmp_path):
    start = time.process_time()
    read(tmp_path, "a.xyz", WATER.format(comment=text * (100_000 // len(text))), Reading())
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("x.cif", "^x.cif does not exist .and such a file would not be read"),
        ("x.pdb", "^x.pdb does not exist$"),
        ("x.mol2", "x.mol2 does not exist"),
        ("x.sdf.gz", "^x.sdf.gz does not exist$"),
        ("in/x.XYZ", "in/x.XYZ does not exist"),
        (".", "is a folder"),
        ("./conformers", "neither a file that exists nor a valid SMILES"),
    ],
)
def test_a_missing_file_is_no_bad_smiles(typed, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=why):
        read_molecules([typed], Reading())


def test_smiles_with_slashes_and_dots_are_smiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for smiles in ("F/C=C/F", "C.O", "[Na+].[Cl-]", "F\\C=C\\F"):
        assert names(read_molecules([smiles], Reading())) == [smiles]
    (given,) = read_molecules(["conformers"], Reading())
    assert isinstance(given, Unusable)
    assert str(given.error) == "'conformers' is neither a file that exists nor a valid SMILES"


@pytest.mark.parametrize(
    ("text", "expected", "header"),
    [
        ("smiles,name\nCCO,ethanol\nCCC,propane\n", ["ethanol", "propane"], True),
        ("CCO,ethanol\nCCC,propane\n", ["ethanol", "propane"], False),
        ("CCO;ethanol\n", ["ethanol"], False),
        ("canonical_smiles\tid\nCCO\tethanol\n", ["ethanol"], True),
        ('name,SMILES,logP\n"acid, formic",OC=O,-0.5\n', ["acid, formic"], True),
        ("mol_id,structure_smiles\n7,CCO\n", ["7"], True),
        ("SMILES\nCCO\nC\n", ["a.smi:2", "a.smi:3"], True),
        ("Structure Name\nCCO the alcohol\n", ["the alcohol"], True),
        ("C methane\nbroken one\nO water\n", ["methane", "!one", "water"], False),
        ("smiles\n", ["!a.smi"], True),
    ],
)
def test_tables_of_smiles(text, expected, header, tmp_path):
    reading = Reading()
    assert names(read(tmp_path, "a.smi", text, reading)) == expected
    assert any("the first line names columns" in line for line in reading.notes.lines()) is header


def test_columns_of_a_table_are_kept(tmp_path):
    (given,) = read(tmp_path, "a.csv", "name,SMILES,logP,status\nformic,OC=O,-0.5,bought\n", Reading())
    assert isinstance(given, InputMolecule)
    assert dict(given.fields) == {"logP": "-0.5", "status": "bought"}


def test_titles_facts_and_columns_of_xyz_are_kept(tmp_path):
    columns = (
        "Properties=species:S:1:pos:R:3:shift:R:1:forces:R:3 name=w3 dft_energy=-76.4 config_type=wat relaxed=T "
        'energy=-3.5 status=mine pbc="F F F"'
    )
    rows = ["O 0 0 0.117 1.5 0 0 1", "H 0 0.757 -0.469 2.5 0 0 2", "H 0 -0.757 -0.469 3.5 0 0 3"]
    text = WATER.format(comment="water conformer 3") + "\n".join(["3", columns, *rows, ""])
    inputs = read(tmp_path, "a.extxyz", text, Reading())
    assert names(inputs) == ["water conformer 3", "w3"]
    write_molecules(tmp_path / "b.extxyz", [EndPoint(e, e.molecule.positions + 1, {"status": "ok"}) for e in inputs])
    first, second = read_molecules([str(tmp_path / "b.extxyz")], Reading())
    assert names([first, second]) == ["water conformer 3", "w3"]
    facts = second.atoms.info
    wanted = {"name": "w3", "dft_energy": -76.4, "config_type": "wat", "status": "mine", "golfbench_status": "ok"}
    assert wanted.items() <= facts.items()
    assert facts["relaxed"]
    assert facts["input_energy"] == -3.5  # of the start, not of what was written
    assert second.atoms.arrays["shift"].tolist() == [1.5, 2.5, 3.5]
    assert second.atoms.arrays["input_forces"][:, 2].tolist() == [1, 2, 3]
    assert second.atoms.calc is None
    np.testing.assert_allclose(second.molecule.positions, inputs[1].molecule.positions + 1, atol=1e-7)
    assert "energy=" not in (tmp_path / "b.extxyz").read_text().replace("_energy=", "")


@pytest.mark.parametrize(
    ("comment", "name", "kept"),
    [
        ("i = 5, E = -76.3", "a.xyz:1", None),
        ("energy: -5.07 gnorm: 0.001 xtb: 6.4.1", "a.xyz:1", "energy: -5.07 gnorm: 0.001 xtb: 6.4.1"),
        ("-1 2 hydrated electron", "hydrated electron", None),
        ('title="a b" charge=0', "a b", None),
        ("Ωmega ü", "Ωmega ü", None),
        ("x" * 90, "a.xyz:1", "x" * 90),
    ],
)
def test_a_comment_line_is_a_name_or_is_kept(comment, name, kept, tmp_path):
    (given,) = read(tmp_path, "a.xyz", WATER.format(comment=comment), Reading())
    assert names([given]) == [name]
    assert given.atoms.info.get("comment") == kept
    write_molecules(tmp_path / "b.xyz", [EndPoint(given, given.molecule.positions, {})])
    (back,) = read_molecules([str(tmp_path / "b.xyz")], Reading())
    assert back.molecule.charge == given.molecule.charge
    assert back.molecule.multiplicity == given.molecule.multiplicity
    assert back.atoms.info.get("comment") == kept


def test_an_assumed_charge_is_told_once_for_a_file(tmp_path):
    reading = Reading()
    read(tmp_path, "a.xyz", WATER.format(comment="") * 3 + WATER.format(comment="charge=0"), reading)
    (line,) = reading.notes.lines()
    assert line.startswith(f"{tmp_path / 'a.xyz'} (3 molecules): charge 0 is assumed")


@pytest.mark.parametrize(
    ("comment", "why"),
    [("charge=1", "give --multiplicity"), ("", ""), ("12 5", "the two integers that begin the comment line")],
)
def test_electrons_that_do_not_fit_say_what_to_give(comment, why, tmp_path):
    (given,) = read(tmp_path, "a.xyz", WATER.format(comment=comment), Reading())
    assert isinstance(given, Unusable) is bool(why)
    assert not why or why in str(given.error)


def test_a_radical_without_a_word_is_refused(tmp_path):
    (given,) = read(tmp_path, "a.xyz", "2\n\nO 0 0 0\nH 0 0 0.97\n", Reading())
    assert isinstance(given, Unusable)
    assert "9 electrons (charge +0) cannot have multiplicity 1; nothing says the charge" in str(given.error)
    assert "--charge and --multiplicity" in str(given.error)


def test_a_short_or_long_frame_costs_itself_alone(tmp_path):
    short, good = WATER.format(comment="").rsplit("\n", 2)[0] + "\n", WATER.format(comment="good")
    long = WATER.format(comment="") + "H 5 5 5\n"
    inputs = read(tmp_path, "a.xyz", good + short + good + long + good, Reading())
    assert [name.startswith("!") for name in names(inputs)] == [False, True, False, False, True, False]


def _flat(smiles: str) -> str:
    atoms = to_ase(embed(smiles, "m", 1, 1)[0])
    atoms.positions[:, 2] = 0.0
    rows = [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
    return "\n".join([str(len(atoms)), "charge=0", *rows, ""])


@pytest.mark.parametrize(
    ("smiles", "drawing"), [("CC", True), ("CN", True), ("c1ccccc1", False), ("C=C", False), ("O", False)]
)
def test_a_drawing_is_told(smiles, drawing, tmp_path):
    reading = Reading()
    read(tmp_path, "a.xyz", _flat(smiles), reading)
    assert any("in one plane" in line for line in reading.notes.lines()) is drawing


def test_a_smiles_of_another_isomer_is_refused_in_xyz(tmp_path):
    for smiles, other in (("C/C=C/C", "C/C=C\\C"), ("C[C@H](F)Cl", "C[C@@H](F)Cl")):
        atoms = to_ase(embed(smiles, "m", 1, 1)[0])
        rows = [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
        frames = ["\n".join([str(len(atoms)), f'smiles="{s}"', *rows, ""]) for s in (smiles, other)]
        good, bad = read(tmp_path, "a.extxyz", "".join(frames), Reading())
        assert isinstance(good, InputMolecule)
        assert good.molecule.smiles == smiles
        assert isinstance(bad, Unusable)
        assert "its coordinates are another stereoisomer than" in str(bad.error)


def test_seeds_give_conformers_of_their_own():
    seeds = [0, 1, 2, 3, 2**31 - 2, 2**31 - 1, 2**31, 2**40]
    made = [read_molecules(["CCCCCO"], Reading(conformers=3, seed=seed)) for seed in seeds]
    firsts = {given.molecule.positions.tobytes() for inputs in made for given in inputs}
    assert len(firsts) == 3 * len(seeds)


def test_names_that_are_shared_are_told(tmp_path):
    reading = Reading()
    assert names(read(tmp_path, "a.smi", "C a\nCC a\nO b\n", reading)) == ["a", "a", "b"]
    assert any("(2 molecules): the same name stands for more than one" in line for line in reading.notes.lines())


def test_smiles_take_a_multiplicity_and_refuse_another_charge():
    (given,) = read_molecules(["F[C]F"], Reading(multiplicity=3))
    assert given.molecule.multiplicity == 3
    (given,) = read_molecules(["F[C]F"], Reading())
    assert given.molecule.multiplicity == 1
    for reading, why in [
        (Reading(charge=1), "its atoms and bonds have charge +0, but --charge says +1"),
        (Reading(multiplicity=2), "cannot have multiplicity 2"),
    ]:
        (given,) = read_molecules(["F[C]F"], reading)
        assert why in str(given.error)
