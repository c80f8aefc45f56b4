"""SDF records: the atoms in the order of their SMILES, with the permutation that puts them back."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from rdkit import Chem, rdBase
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import IntArray, mol_from_smiles
from golfbench.errors import MoleculeError
from golfbench.molecule_files.bonds import charge_of_bonds, guessed_multiplicity
from golfbench.molecule_files.drawings import MOST_FLAT_NEIGHBOURS, NEVER_FLAT, is_flat
from golfbench.molecule_files.input_molecules import InputMolecule, Pending, Reading, Unusable, attempt
from golfbench.molecule_files.sdf_records import SdfRecord, split_records
from golfbench.molecule_files.smiles import embedded
from golfbench.molecule_files.text import Text, empty, file_name
from golfbench.molecules import Molecule, check_electrons
from golfbench.states import State, stated
from golfbench.stereo import open_elements

#: A coordinate; RDKit takes ``1,2`` for 1 and blanks for 0.
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
#: Lines before the atoms of a V2000 block, the width of a coordinate there, and where the charge stands.
_LINES_BEFORE, _WIDTH, _CHARGE_COLUMNS = 4, 10, slice(36, 39)
#: The charge that means a doublet radical.
_DOUBLET = "4"
_V3000_ATOMS = re.compile(r"^M  V30 BEGIN ATOM$(.*?)^M  V30 END ATOM$", re.MULTILINE | re.DOTALL)
_V3000_ATOM = re.compile(r"^M  V30 +\d+ +\S+ +(\S+) +(\S+) +(\S+)", re.MULTILINE)


def read_sdf(text: Text, reading: Reading) -> Iterator[Pending]:
    """Yield the records of an SDF or MOL file."""
    number = 0
    read = _from_bonds if reading.bonds_only else _as_it_stands
    for number, record in enumerate(split_records(text.lines()), start=1):
        yield partial(read, record, record.title or f"{file_name(text.label)}:{number}", f"{text.label}:{number}")
    if not number:
        yield partial(empty, text.label)


def _as_it_stands(record: SdfRecord, id: str, source: str, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    yield from attempt(id, source, partial(_from_record, record), reading)


def _from_bonds(record: SdfRecord, id: str, source: str, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    """Yield conformers of the molecule that a record's bonds say; its coordinates say the stereoisomer only."""
    try:
        smiles = _smiles_of(record, id)
    except MoleculeError as error:
        yield Unusable(id, source, error)
    else:
        yield from embedded(smiles, id, source, record.fields, reading)


def _smiles_of(record: SdfRecord, id: str) -> str:
    if record.empty:
        raise MoleculeError(f"{id}: the record is empty")
    mol = _mol(record.block, id)
    if mol.GetNumAtoms() == 0:
        raise MoleculeError(f"{id}: no atoms")
    spatial = _sanitized(mol, id)  # it says what is wrong with the bonds of a drawing, too
    with BlockLogs():
        if is_flat(mol.GetConformer().GetPositions()):
            spatial = Chem.MolFromMolBlock(record.block) or spatial  # wedges
        return str(Chem.MolToSmiles(Chem.RemoveHs(spatial)))


def _from_record(record: SdfRecord, id: str, source: str, reading: Reading) -> InputMolecule:
    if record.empty:
        raise MoleculeError(f"{id}: the record is empty")
    given = input_of_mol(_mol(record.block, id), id, source, reading, record.fields, _told_spins(record.block))
    _note_other_isomer(given.molecule, record, source, reading)
    return given


def input_of_mol(
    read: Chem.Mol,
    id: str,
    source: str,
    reading: Reading,
    fields: tuple[tuple[str, str], ...] = (),
    spins: Mapping[int, int] | None = None,
) -> InputMolecule:
    """Return the molecule of a record with bonds.

    Args:
        read: As it was read, not sanitized; what is written has its atoms and bonds.
        id: Its name.
        source: Where it is from.
        reading: Charge and multiplicity; its notes are added to.
        fields: Its data.
        spins: Unpaired electrons of single atoms, by index, where the file says them.

    Raises:
        MoleculeError: If it is none, or none that can be minimized.
    """
    if read.GetNumAtoms() == 0:
        raise MoleculeError(f"{id}: no atoms")
    mol = _sanitized(read, id)
    _check_complete(mol, id)
    smiles, order = smiles_order(mol, id)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])[order]
    positions = mol.GetConformer().GetPositions()[order]
    charge = charge_of_bonds(mol, id, "--charge", reading.charge)
    facts, known = dict(fields), reading.multiplicity
    state = stated(id, numbers, facts, known=State(multiplicity=known), otherwise=charge, strict=False)
    charge_of_bonds(mol, id, "a data field", state.charge)
    if (multiplicity := state.multiplicity) is None:
        multiplicity = guessed_multiplicity(mol, source, reading, spins)
    molecule = Molecule(id, numbers, positions, charge, multiplicity, smiles)
    check_electrons(molecule)
    return InputMolecule(molecule, source, order, read, fields)


def _mol(block: str, id: str) -> Chem.Mol:
    with BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        raise MoleculeError(f"{id}: is not a valid mol block: {_reason(block)}")
    if any(atom.HasQuery() for atom in mol.GetAtoms()) or any(bond.HasQuery() for bond in mol.GetBonds()):
        raise MoleculeError(
            f"{id}: it has query atoms or bonds, which say what to search for: it is no single molecule"
        )
    lines = block.split("\n")[_LINES_BEFORE : _LINES_BEFORE + mol.GetNumAtoms()]
    if found := _V3000_ATOMS.search(block):
        _check_coordinates(_V3000_ATOM.findall(found[1]), id)
        return mol
    _check_coordinates([[line[k : k + _WIDTH] for k in range(0, 3 * _WIDTH, _WIDTH)] for line in lines], id)
    if not re.search(r"^M  (CHG|RAD)", block, re.MULTILINE):  # these overrule the charges of the atom lines
        for atom, line in zip(mol.GetAtoms(), lines, strict=True):
            if line[_CHARGE_COLUMNS].strip() == _DOUBLET:  # RDKit takes it for no charge
                atom.SetNumRadicalElectrons(1)
    return mol


def _check_coordinates(rows: Sequence[Sequence[str]], id: str) -> None:
    for number, texts in enumerate(rows, start=1):
        if (bad := next((text for text in texts if not _NUMBER.fullmatch(text)), None)) is not None:
            raise MoleculeError(f"{id}: coordinate '{bad.strip()}' of atom {number} is no number")


def _reason(block: str) -> str:
    """Return why RDKit does not take a mol block; it says so in its log only."""
    heard, logger = io.StringIO(), logging.getLogger("rdkit")
    before = logger.handlers, logger.propagate
    rdBase.LogToPythonLogger()
    logger.handlers, logger.propagate = [logging.StreamHandler(heard)], False
    try:
        Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    finally:
        logger.handlers, logger.propagate = before
        rdBase.LogToCppStreams()
    lines = [re.sub(r"^\[[\d:]+\]\s*", "", line).strip(" *") for line in heard.getvalue().splitlines()]
    said = [line for line in lines if line and "Violation" not in line]
    return said[0] if said else "RDKit does not say why"


def _told_spins(block: str) -> dict[int, int]:
    """Return the unpaired electrons of the atoms of which a mol block says them: M  RAD, 1 singlet to 3 triplet."""
    told: dict[int, int] = {}
    for line in block.split("\n"):
        if line.startswith("M  RAD"):
            numbers = [int(text) for text in line.split()[3:] if text.isdecimal()]
            told |= {atom - 1: spin - 1 for atom, spin in zip(numbers[::2], numbers[1::2], strict=False)}
        elif found := re.match(r"M  V30 (\d+) .*\bRAD=([123])", line):
            told[int(found[1]) - 1] = int(found[2]) - 1
    return told


def _note_other_isomer(molecule: Molecule, record: SdfRecord, source: str, reading: Reading) -> None:
    """Note a SMILES among the data that is another stereoisomer than the coordinates, which count."""
    for name, value in record.fields:
        if "smiles" in name.lower() and _is_other_isomer(value.strip(), str(molecule.smiles)):
            text = f"its coordinates are another stereoisomer than its data field '{name}' says; the coordinates count"
            reading.notes.add(text, source)


def _is_other_isomer(said: str, seen: str) -> bool:
    with BlockLogs():
        mols = [Chem.MolFromSmiles(smiles) for smiles in (said, seen)]
        if None in mols or open_elements(said):
            return False
        (said, seen), (said_flat, seen_flat) = (
            [Chem.MolToSmiles(mol, isomericSmiles=isomeric) for mol in mols] for isomeric in (True, False)
        )
    return said_flat == seen_flat and said != seen


def _sanitized(record: Chem.Mol, id: str) -> Chem.Mol:
    """Return the record with aromaticity and stereochemistry perceived; the record itself stays as it was read."""
    mol = Chem.Mol(record)
    try:
        with BlockLogs():
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistryFrom3D(mol)
    except (ValueError, RuntimeError) as error:
        raise MoleculeError(f"{id}: RDKit refuses its bonds: {error}") from error
    return mol


def kekulized(mol: Chem.Mol, id: str) -> Chem.Mol:
    """Return a molecule with single, double and triple bonds alone, as an SDF has them, and no implicit hydrogens left.

    Raises:
        MoleculeError: If RDKit refuses its bonds.
    """
    plain = _sanitized(mol, id)
    with BlockLogs():
        Chem.Kekulize(plain, clearAromaticFlags=True)
    return plain


def _check_complete(mol: Chem.Mol, id: str) -> None:
    """Refuse missing hydrogens and the flat coordinates of a drawing."""
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if missing:
        raise MoleculeError(
            f"{id}: {missing} hydrogens are missing; add them with coordinates, for example by "
            "`obabel IN.sdf -O OUT.sdf -h` or RDKit's Chem.AddHs(mol, addCoords=True)"
        )
    says_flat = mol.HasProp("_MolFileInfo") and mol.GetProp("_MolFileInfo")[20:22] == "2D"
    conformer = mol.GetConformer()
    crowded = any(a.GetDegree() > MOST_FLAT_NEIGHBOURS and a.GetAtomicNum() in NEVER_FLAT for a in mol.GetAtoms())
    if (says_flat and not conformer.Is3D()) or (crowded and is_flat(conformer.GetPositions())):
        raise MoleculeError(f"{id}: the coordinates are a flat drawing; give three-dimensional ones, or SMILES")


def smiles_order(mol: Chem.Mol, id: str) -> tuple[str, IntArray]:
    """Return the canonical SMILES of a molecule with all its hydrogens, and its atoms in the SMILES's order.

    Args:
        mol: Sanitized, hydrogens explicit, atoms in any order.
        id: Its name, for the message.

    Returns:
        The SMILES and (n_atoms,) the index in ``mol`` of each atom of ``AddHs(MolFromSmiles(smiles))``.

    Raises:
        MoleculeError: If RDKit reads the SMILES back as other atoms, bonds or charges.
    """
    marked = Chem.Mol(mol)
    for atom in marked.GetAtoms():
        atom.SetIntProp("index", atom.GetIdx())
    with BlockLogs():
        bare = Chem.RemoveHs(marked)
        smiles = Chem.MolToSmiles(bare)
    written = list(bare.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    order = _with_hydrogens(mol, mol_from_smiles(smiles), [bare.GetAtomWithIdx(k).GetIntProp("index") for k in written])
    if not _same_graph(mol, mol_from_smiles(smiles), order):
        raise MoleculeError(f"{id}: SMILES cannot express its bonds ({smiles} has others); give it as XYZ")
    return smiles, np.array(order, dtype=np.int64)


def _with_hydrogens(mol: Chem.Mol, template: Chem.Mol, order: list[int]) -> list[int]:
    """Append, for each hydrogen behind the atoms of the SMILES, one of those that its neighbour has in ``mol``."""
    taken = set(order)
    full = list(order)
    for atom in list(template.GetAtoms())[len(order) :]:
        parent = mol.GetAtomWithIdx(full[atom.GetNeighbors()[0].GetIdx()])
        free = (n.GetIdx() for n in parent.GetNeighbors() if n.GetAtomicNum() == 1 and n.GetIdx() not in taken)
        found = next(free, None)
        if found is None:
            break
        full.append(found)
        taken.add(found)
    return full


def _same_graph(mol: Chem.Mol, template: Chem.Mol, order: list[int]) -> bool:
    if sorted(order) != list(range(mol.GetNumAtoms())) or template.GetNumAtoms() != len(order):
        return False
    atoms = [mol.GetAtomWithIdx(k) for k in order]
    same = all(_traits(a) == _traits(b) for a, b in zip(atoms, template.GetAtoms(), strict=True))
    bonds = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
    read_back = {frozenset((order[b.GetBeginAtomIdx()], order[b.GetEndAtomIdx()])) for b in template.GetBonds()}
    return same and bonds == read_back


def _traits(atom: Chem.Atom) -> tuple[int, int, int]:
    return atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetNumRadicalElectrons()
