"""Tripos MOL2 records: bonds as the file says them, charges as RDKit reads its atom types."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.errors import MoleculeError
from golfbench.molecule_files.input_molecules import InputMolecule, Pending, Reading, attempt
from golfbench.molecule_files.sdf import input_of_mol, kekulized
from golfbench.molecule_files.text import Text, empty, file_name

_BEGIN, _ATOMS = "@<TRIPOS>MOLECULE", "@<TRIPOS>ATOM"
#: Titles that stand for none.
_NO_TITLE = frozenset({"", "****", "*****"})
#: What the fourth line behind the title says where the last column of the atoms holds no charges.
_NO_CHARGES = "NO_CHARGES"
_CHARGE_COLUMN = 8
#: e; partial charges that add up to a whole number as closely as this are believed.
_ROUNDING = 0.1


def read_mol2(text: Text, reading: Reading) -> Iterator[Pending]:
    """Yield the records of a MOL2 file."""
    number = 0
    for number, lines in enumerate(_records(text.lines()), start=1):
        title = lines[1].strip() if len(lines) > 1 else ""
        id = f"{file_name(text.label)}:{number}" if title in _NO_TITLE or title.startswith("@") else title
        yield partial(attempt, id, f"{text.label}:{number}", partial(_from_record, lines))
    if not number:
        yield partial(empty, text.label)


def _records(lines: Iterator[str]) -> Iterator[list[str]]:
    record: list[str] = []
    for line in lines:
        if line.startswith(_BEGIN):
            if record:
                yield record
            record = []
        elif not record and (not line.strip() or line.startswith("#")):
            continue  # comments before the first record
        record.append(line)
    if record:
        yield record


def _from_record(lines: list[str], id: str, source: str, reading: Reading) -> InputMolecule:
    if not lines[0].startswith(_BEGIN):
        raise MoleculeError(f"{id}: no MOL2 record begins here ('{lines[0].strip()[:40]}')")
    with BlockLogs():
        mol = Chem.MolFromMol2Block("\n".join([*lines, ""]), sanitize=False, removeHs=False)
    if mol is None:
        raise MoleculeError(f"{id}: is not a valid MOL2 record")
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(False)  # a valence that is left open is a hydrogen that is missing, and no radical
    mol = kekulized(mol, id)
    told, bonds = _told_charge(lines), int(Chem.GetFormalCharge(mol))
    if told is not None and told != bonds and reading.charge is None:
        raise MoleculeError(
            f"{id}: its atom types and bonds have charge {bonds:+d}, but its partial charges add up to {told:+d}: "
            "give it as SDF"
        )
    return input_of_mol(mol, id, source, reading)


def _told_charge(lines: list[str]) -> int | None:
    """Return the sum of the partial charges, where they are given and add up to a whole number."""
    if any(line.strip() == _NO_CHARGES for line in lines[:6]):
        return None
    begin = next((k for k, line in enumerate(lines) if line.startswith(_ATOMS)), len(lines))
    total, any_charge = 0.0, False
    for line in lines[begin + 1 :]:
        cells = line.split()
        if line.startswith("@") or not cells:
            break
        try:
            charge = float(cells[_CHARGE_COLUMN])
        except (IndexError, ValueError):
            return None
        total, any_charge = total + charge, any_charge or charge != 0
    return round(total) if any_charge and abs(total - round(total)) < _ROUNDING else None
