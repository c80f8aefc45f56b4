"""SMILES, in a file or as typed: conformers made by ETKDG."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import embed, mol_from_smiles, rdkit_mol, spread_seed
from golfbench.errors import MoleculeError
from golfbench.molecule_files.bonds import charge_of_bonds, guessed_multiplicity
from golfbench.molecule_files.input_molecules import InputMolecule, Pending, Reading, Unusable
from golfbench.molecule_files.isomers import every_isomer, fixed_isomer
from golfbench.molecule_files.text import Text, empty, file_name
from golfbench.molecules import Molecule, check_electrons

#: First words of a header line that do not speak of SMILES.
_HEADINGS = re.compile(r"smi|^(structure|mol|molecule|molecule.?name|compound|name|title|id|mol.?id)$", re.IGNORECASE)
#: A SMILES and, behind a blank, its CXSMILES extension; what has no second bar is cut off.
_EXTENSION = re.compile(r"(\s*\S+)\s+(\|[^|]*(?:\|(?=\s|$)|$))")
#: The distance geometry takes minutes for larger molecules.
MOST_ATOMS = 1000
_NAMES = re.compile(r"name|title|^id$|[_ ]?id$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a line has its SMILES and its name; ``names`` are the headings of all columns, if there are any."""

    smiles: int = 0
    name: int | None = 1
    names: tuple[str, ...] = ()


def read_smiles_file(text: Text, reading: Reading) -> Iterator[Pending]:
    """Yield lines of a SMILES and a name, parted by blanks, a tab, a comma or a semicolon.

    Blank lines and comments (``#``) are none. A first line that names columns is skipped, which is noted; it says which
    column the SMILES is, and the columns behind the name become data of the molecule.
    """
    columns: _Columns | None = None
    found = False
    label = text.label
    for number, line in enumerate(text.lines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if columns is None and (columns := _header(line)) is not None:
            reading.notes.add("the first line names columns, and was skipped", label)
            continue
        columns = columns or _Columns()
        found = True
        line, extension = _without_extension(line)
        cells = _cells(line, len(columns.names))
        cells += [""] * (columns.smiles + 1 - len(cells))
        name = cells[columns.name] if columns.name is not None and columns.name < len(cells) else ""
        fields = [(key, cell) for key, cell in zip(columns.names, cells, strict=False) if cell and cell != name]
        id, source = name or f"{file_name(label)}:{number}", f"{label}:{number}"
        yield partial(embedded, cells[columns.smiles] + extension, id, source, tuple(fields[1:]))
    if not found:
        yield partial(empty, label)


def _header(line: str) -> _Columns | None:
    """Return the columns that a line names, or nothing if it is no header."""
    cells = _cells(line, len(line))
    if not any(map(_HEADINGS.search, cells[:1])) and not any("smiles" in cell.lower() for cell in cells):
        return None
    if cells[0] and _is_smiles(cells[0]):
        return None
    if len(cells) == 1:  # what is behind the SMILES is a name, although the header does not say so
        return _Columns()
    smiles = next((k for k, cell in enumerate(cells) if "smi" in cell.lower()), 0)
    others = [k for k in range(len(cells)) if k != smiles]
    name = next((k for k in others if _NAMES.search(cells[k])), others[0] if others else None)
    return _Columns(smiles, name, tuple(cells))


def _is_smiles(text: str) -> bool:
    with BlockLogs():
        return Chem.MolFromSmiles(text, sanitize=False) is not None


def _cells(line: str, columns: int) -> list[str]:
    """Return the cells of a line with so many headings; what is behind the last of them is part of it."""
    line = line.rstrip() if columns else line.strip()  # a table may begin with an empty cell
    if "\t" in line:
        return [cell.strip() for cell in line.split("\t")]
    first = line.split(maxsplit=1)[0]
    for delimiter in (",", ";"):  # neither is in a SMILES
        if delimiter in first or (columns and delimiter in line):
            return [cell.strip() for cell in next(csv.reader([line.strip()], delimiter=delimiter))]
    return line.strip().split(maxsplit=max(columns - 1, 1))


def read_smiles(smiles: str, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    """Yield the conformers of a SMILES as it was typed."""
    text, extension = _without_extension(smiles.strip())
    bare, *name = text.split(maxsplit=1)
    for made in embedded(bare + extension, name[0] if name else text + extension, smiles, (), reading):
        if isinstance(made, Unusable):
            said = f"'{smiles}' is neither a file that exists nor a valid"
            reason = str(made.error).replace(f"'{bare}' is not a valid", said, 1)
            yield replace(made, id=smiles if reason.startswith(said) else made.id, error=MoleculeError(reason))
        else:
            yield made


def _without_extension(line: str) -> tuple[str, str]:
    """Return a line without the CXSMILES extension behind its SMILES, and that extension with a blank before it."""
    found = _EXTENSION.match(line)
    return (found[1] + line[found.end() :], f" {found[2]}") if found else (line, "")


def _plain(smiles: str, id: str, source: str, reading: Reading) -> str:
    """Return the SMILES of what a SMILES with an extension says.

    Raises:
        MoleculeError: If RDKit does not read the extension, or it says that there is no single molecule.
    """
    bare, _, extension = smiles.partition(" ")
    if not extension:
        return smiles
    if not extension.startswith("|"):
        raise MoleculeError(f"'{smiles}' is not a valid SMILES: there is a blank in it")
    plain = mol_from_smiles(bare)
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise MoleculeError(f"{id}: the CXSMILES extension '{extension}' of '{bare}' is not valid")
        repeats = any(group.GetProp("TYPE") != "DAT" for group in Chem.GetMolSubstanceGroups(mol))
        if repeats or mol.HasProp("_molLinkNodes"):
            raise MoleculeError(f"{id}: the CXSMILES extension '{extension}' says that '{bare}' is no single molecule")
        if mol.GetStereoGroups():
            text = "its CXSMILES extension leaves stereo open or means a mixture: the isomer is taken as it is written"
            reading.notes.add(text, source)
        said = str(Chem.MolToSmiles(mol))
        return bare if said == Chem.MolToSmiles(Chem.RemoveHs(plain)) else said


def embedded(
    smiles: str, id: str, source: str, fields: tuple[tuple[str, str], ...], reading: Reading
) -> Iterator[InputMolecule | Unusable]:
    """Yield the conformers of a SMILES, with its CXSMILES extension behind a blank if it has one."""
    if reading.every_isomer:
        yield from _isomers(smiles, id, source, fields, reading)
        return
    try:
        made = _conformers(smiles, id, source, reading)
    except MoleculeError as error:
        yield Unusable(id, source, error)
        return
    except RuntimeError as error:  # RDKit's invariants, for what its distance geometry has no rules for
        reason = str(error).strip().splitlines()[0]
        yield Unusable(id, source, MoleculeError(f"{id}: '{smiles}' does not embed: {reason}"))
        return
    for molecule in made:
        named = molecule if reading.conformers > 1 else replace(molecule, id=id)
        yield InputMolecule(named, source, np.arange(len(named)), rdkit_mol(named), fields)
    for k in range(len(made), reading.conformers):
        lost = f"{id}/{k}: only {len(made)} of {reading.conformers} conformers could be embedded"
        yield Unusable(f"{id}/{k}", source, MoleculeError(lost))


def _isomers(
    smiles: str, id: str, source: str, fields: tuple[tuple[str, str], ...], reading: Reading
) -> Iterator[InputMolecule | Unusable]:
    """Yield the conformers of every isomer of a SMILES; where there are several, their ids have numbers."""
    try:
        plain = _plain(smiles, id, source, reading)
        mol_from_smiles(plain)
        isomers = every_isomer(plain)
    except MoleculeError as error:
        yield Unusable(id, source, error)
        return
    for number, isomer in enumerate(isomers, start=1):
        name = id if len(isomers) == 1 else f"{id}/isomer{number}"
        yield from embedded(isomer, name, source, fields, replace(reading, every_isomer=False))


def _conformers(smiles: str, id: str, source: str, reading: Reading) -> list[Molecule]:
    smiles = _plain(smiles, id, source, reading)
    mol = mol_from_smiles(smiles)
    if mol.GetNumAtoms() > MOST_ATOMS:
        raise MoleculeError(
            f"{id}: {mol.GetNumAtoms()} atoms, but conformers are made of up to {MOST_ATOMS}: give coordinates, as SDF "
            "or XYZ"
        )
    charge_of_bonds(mol, id, "--charge", reading.charge)
    multiplicity = reading.multiplicity
    if multiplicity is None:
        multiplicity = guessed_multiplicity(mol, source, reading)
    isomer = fixed_isomer(smiles)
    if isomer != smiles:
        reading.notes.add(
            f"its SMILES leaves stereo open: all conformers are of one isomer, {isomer}; write the one that you mean",
            source,
        )
    made = [
        replace(m, multiplicity=multiplicity) for m in embed(isomer, id, reading.conformers, spread_seed(reading.seed))
    ]
    check_electrons(made[0])
    return made
