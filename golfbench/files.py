"""A user's own molecules: SDF, XYZ and SMILES in, SDF and extended XYZ out.

A file may list its atoms in any order, while a ``Molecule`` with a SMILES has them in the SMILES's. So an SDF record
becomes a molecule in the order of its canonical SMILES, together with the permutation that puts it back: what is
written has the order, the bonds, the title and the data fields of the file that was read.

One bad record stops nothing: it takes its place in the list as ``Unusable``, with the reason.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read as read_atoms
from ase.io import write as write_atoms
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import (
    FloatArray,
    IntArray,
    bond_graph_changed,
    charge_and_multiplicity,
    check_topology,
    embed,
    from_ase,
    mol_from_smiles,
    rdkit_mol,
    to_ase,
)
from golfbench.errors import ConfigurationError, MoleculeError, WriteError
from golfbench.molecules import Molecule

#: Kind of each file name ending that is read.
SUFFIXES = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".smi": "smi",
    ".smiles": "smi",
}
OUTPUT_SUFFIXES = (".sdf", ".extxyz", ".xyz")
#: More neighbours than this and an atom cannot be flat: the coordinates are those of a drawing.
_MOST_FLAT_NEIGHBOURS = 3
#: Texts in the comment line of an XYZ frame. ASE would read ``F`` as false, ``[H][H]`` as a list, and drop ``\``.
_COMMENT_TEXT = re.compile(r'(?:^|\s)(id|smiles)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Reading:
    """How molecules are read.

    Attributes:
        conformers: Conformers made of each SMILES.
        seed: Seed of their coordinates.
        charge: Total charge of XYZ frames that do not say it; ``None`` means 0.
        multiplicity: Multiplicity of XYZ frames that do not say it; ``None`` means 1.
    """

    conformers: int = 1
    seed: int = 0
    charge: int | None = None
    multiplicity: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A molecule and where it came from.

    Attributes:
        molecule: In the order of its SMILES, if it has one.
        source: The file and the number of the record or line in it, or the SMILES as it was typed.
        order: (n_atoms,) the place in the file of each atom of ``molecule``.
        mol: The record as it was read, atoms in the file's order; ``None`` where the bonds are not known.
    """

    molecule: Molecule
    source: str
    order: IntArray
    mol: Chem.Mol | None

    def in_file_order(self, positions: FloatArray) -> FloatArray:
        """Return positions (n_atoms, 3) of ``molecule`` in the order of the file."""
        placed = np.empty_like(positions)
        placed[self.order] = positions
        return placed


@dataclass(frozen=True, slots=True)
class Unusable:
    """What was given instead of a molecule, and why it is none."""

    id: str
    source: str
    error: MoleculeError


@dataclass(frozen=True, slots=True)
class EndPoint:
    """Where a molecule came to rest.

    Attributes:
        entry: The molecule.
        positions: (n_atoms, 3), Å, in the order of ``entry.molecule``.
        facts: What is written beside it, by name with the unit.
    """

    entry: Entry
    positions: FloatArray
    facts: Mapping[str, str | float]


def read_molecules(inputs: Sequence[str], reading: Reading) -> list[Entry | Unusable]:
    """Read files and SMILES, in their order.

    Args:
        inputs: Names of files or, where no such file exists, SMILES.
        reading: Conformers of SMILES; charge and multiplicity of XYZ.

    Raises:
        ConfigurationError: If a file is missing, cannot be read or is of no known kind, or an option is for a kind of
            input that is not there.
    """
    kinds = [_kind(text) for text in inputs]
    if reading.conformers > 1 and not {"smi", "smiles"} & set(kinds):
        raise ConfigurationError("conformers are made of SMILES only: a file with coordinates is taken as it is")
    if (reading.charge is not None or reading.multiplicity is not None) and "xyz" not in kinds:
        raise ConfigurationError("charge and multiplicity are options for XYZ only: SDF and SMILES say them themselves")
    return [entry for text, kind in zip(inputs, kinds, strict=True) for entry in _READERS[kind](text, reading)]


def _kind(text: str) -> str:
    suffix = Path(text).suffix.lower()
    if os.path.isfile(text):  # unlike Path.is_file, this bears with a SMILES that is too long for a file name
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"{text}: files are read by their endings: {', '.join(SUFFIXES)}")
        return SUFFIXES[suffix]
    if suffix in SUFFIXES:
        raise ConfigurationError(f"{text} does not exist")
    return "smiles"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def _attempt(id: str, source: str, make: Callable[[], Entry]) -> Entry | Unusable:
    try:
        return make()
    except MoleculeError as error:
        return Unusable(id, source, error)


def _empty(path: str) -> Unusable:
    return Unusable(Path(path).name, path, MoleculeError("the file holds no molecule"))


# --- SDF -----------------------------------------------------------------------------------------------------------


def _read_sdf(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    text = _text(path)
    if not text.strip():
        yield _empty(path)
        return
    supplier: Any = Chem.SDMolSupplier()
    with BlockLogs():
        supplier.SetData(text, sanitize=False, removeHs=False)
        records = list(supplier)
    for number, record in enumerate(records, start=1):
        title = record.GetProp("_Name").strip() if record is not None and record.HasProp("_Name") else ""
        id, source = title or f"{Path(path).name}:{number}", f"{path}:{number}"
        yield _attempt(id, source, partial(_from_record, record, id, source))


def _from_record(record: Chem.Mol | None, id: str, source: str) -> Entry:
    if record is None:
        raise MoleculeError(f"{id}: is not a valid mol block")
    if record.GetNumAtoms() == 0:
        raise MoleculeError(f"{id}: no atoms")
    mol = _sanitized(record, id)
    _check_complete(mol, id)
    smiles, order = smiles_order(mol, id)
    charge, multiplicity = charge_and_multiplicity(smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])[order]
    positions = mol.GetConformer().GetPositions()[order]
    molecule = Molecule(id, numbers, positions, charge, multiplicity, smiles)
    return Entry(molecule, source, order, record)


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


def _check_complete(mol: Chem.Mol, id: str) -> None:
    """Refuse missing hydrogens and the flat coordinates of a drawing."""
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if missing:
        raise MoleculeError(
            f"{id}: {missing} hydrogens are missing; add them with coordinates, for example by "
            "`obabel IN.sdf -O OUT.sdf -h` or RDKit's Chem.AddHs(mol, addCoords=True)"
        )
    says_flat = mol.HasProp("_MolFileInfo") and mol.GetProp("_MolFileInfo")[20:22] == "2D"
    crowded = any(atom.GetDegree() > _MOST_FLAT_NEIGHBOURS for atom in mol.GetAtoms())
    if not mol.GetConformer().Is3D() and (says_flat or crowded):
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
        raise MoleculeError(f"{id}: its bonds do not survive a round trip through SMILES ({smiles}); give it as XYZ")
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


# --- XYZ -----------------------------------------------------------------------------------------------------------


def _read_xyz(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    frames = list(_frames(_text(path).splitlines()))
    if not frames:
        yield _empty(path)
    for number, frame in enumerate(frames, start=1):
        id, source = f"{Path(path).name}:{number}", f"{path}:{number}"
        yield _attempt(id, source, partial(_from_frame, frame, id, source, reading))


def _frames(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of each frame; where a frame does not begin with a count, all that is left is one frame."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        size = int(lines[at]) + 2 if lines[at].strip().isdecimal() else len(lines)
        yield lines[at : at + size]
        at += size


def _from_frame(lines: list[str], id: str, source: str, reading: Reading) -> Entry:
    if not lines[0].strip().isdecimal():
        raise MoleculeError(f"{id}: '{lines[0].strip()[:40]}' is no number of atoms; nothing behind it was read")
    if len(lines) < int(lines[0]) + 2:
        raise MoleculeError(f"{id}: the file ends before its last atom")
    molecule = _named(_atoms(lines, id), lines[1], id, reading)
    if molecule.smiles is not None:
        check_topology(molecule)
        if bond_graph_changed(molecule, molecule.positions):
            raise MoleculeError(f"{id}: its bonds are not those of 'smiles={molecule.smiles}': remove that, or mend it")
    return Entry(molecule, source, np.arange(len(molecule)), None if molecule.smiles is None else rdkit_mol(molecule))


def _atoms(lines: list[str], id: str) -> Atoms:
    try:
        atoms = read_atoms(io.StringIO("\n".join(lines) + "\n"), format="extxyz", index=0)
    except KeyError as error:
        raise MoleculeError(f"{id}: {error} is no symbol of an element") from error
    except Exception as error:  # ASE lets whatever a malformed line causes come out
        raise MoleculeError(f"{id}: is not a valid XYZ frame ({' '.join(str(error).split())})") from error
    assert isinstance(atoms, Atoms)
    return atoms


def _named(atoms: Atoms, comment: str, id: str, reading: Reading) -> Molecule:
    """Return the molecule of a frame; a bare word of its comment line, which ASE reads as ``True``, says nothing."""
    info = {key: value for key, value in atoms.info.items() if not isinstance(value, bool | np.bool_)}
    info |= {key: bare or quoted.replace('\\"', '"') for key, quoted, bare in _COMMENT_TEXT.findall(comment)}
    name = info.get("id") or id
    for key, given, otherwise in (("charge", reading.charge, 0), ("multiplicity", reading.multiplicity, 1)):
        info[key] = _integer(info.get(key, otherwise if given is None else given), key, name)
    atoms.info = info
    return from_ase(atoms, name)


def _integer(value: Any, key: str, id: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number != float(value):
        raise MoleculeError(f"{id}: {key} must be an integer, not {value}")
    return number


# --- SMILES --------------------------------------------------------------------------------------------------------


def _read_smiles_file(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Read ``SMILES name`` lines; blank lines, comments (``#``) and a header that begins with ``SMILES`` are none."""
    empty = True
    for number, line in enumerate(_text(path).splitlines(), start=1):
        smiles, _, name = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        if not smiles or smiles.startswith("#") or (number == 1 and smiles.lower() == "smiles"):
            continue
        empty = False
        id = name.strip() or f"{Path(path).name}:{number}"
        yield from _embedded(smiles, id, f"{path}:{number}", reading)
    if empty:
        yield _empty(path)


def _read_smiles(smiles: str, reading: Reading) -> Iterator[Entry | Unusable]:
    return _embedded(smiles, smiles, smiles, reading)


def _embedded(smiles: str, id: str, source: str, reading: Reading) -> Iterator[Entry | Unusable]:
    try:
        made = embed(smiles, id, reading.conformers, reading.seed)
    except MoleculeError as error:
        yield Unusable(id, source, error)
        return
    except RuntimeError as error:  # RDKit's invariants, for what its distance geometry has no rules for
        reason = str(error).strip().splitlines()[0]
        yield Unusable(id, source, MoleculeError(f"{id}: '{smiles}' does not embed: {reason}"))
        return
    for molecule in made:
        named = molecule if reading.conformers > 1 else replace(molecule, id=id)
        yield Entry(named, source, np.arange(len(named)), rdkit_mol(named))
    for k in range(len(made), reading.conformers):
        lost = f"{id}/{k}: only {len(made)} of {reading.conformers} conformers could be embedded"
        yield Unusable(f"{id}/{k}", source, MoleculeError(lost))


_READERS: Mapping[str, Callable[[str, Reading], Iterator[Entry | Unusable]]] = {
    "sdf": _read_sdf,
    "xyz": _read_xyz,
    "smi": _read_smiles_file,
    "smiles": _read_smiles,
}


# --- Output --------------------------------------------------------------------------------------------------------


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse, before anything is computed, a file that could not be written afterwards.

    Raises:
        ConfigurationError: If its ending is not known, its folder is missing, or it exists and is to stay.
    """
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise ConfigurationError(f"{path}: the output is .sdf, or .extxyz (also .xyz)")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise ConfigurationError(f"{path} exists already: choose another name, or give --overwrite")


def check_bonds(path: Path, entries: Sequence[Entry | Unusable]) -> None:
    """Refuse an SDF of molecules whose bonds are not known.

    Raises:
        ConfigurationError: With the first of them.
    """
    bare = [e.source for e in entries if isinstance(e, Entry) and e.mol is None]
    if path.suffix.lower() == ".sdf" and bare:
        raise ConfigurationError(f"{path}: an SDF needs bonds and {bare[0]} has none; write .extxyz instead")


def write_molecules(path: Path, ends: Sequence[EndPoint]) -> None:
    """Write end points in the atom order of the files they came from; whole or not at all.

    SDF has coordinates to 0.0001 Å, extended XYZ to 1e-8 Å.

    Raises:
        WriteError: If it cannot be written.
    """
    text = _sdf(ends) if path.suffix.lower() == ".sdf" else _extxyz(ends)
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise WriteError(f"{path} cannot be written: {error.strerror}") from error


def _sdf(ends: Sequence[EndPoint]) -> str:
    text = io.StringIO()
    writer: Any = Chem.SDWriter(text)
    writer.SetKekulize(False)  # the bonds stay as they were read
    for end in ends:
        assert end.entry.mol is not None
        mol = Chem.Mol(end.entry.mol)
        mol.UpdatePropertyCache(strict=False)
        mol.GetConformer().SetPositions(end.entry.in_file_order(end.positions))
        mol.GetConformer().Set3D(True)
        mol.SetProp("_Name", end.entry.molecule.id)
        for name, value in end.facts.items():
            mol.SetProp(name, str(value))
        writer.write(mol)
    writer.close()
    return text.getvalue()


def _extxyz(ends: Sequence[EndPoint]) -> str:
    text = io.StringIO()
    for end in ends:
        entry = end.entry
        atoms = to_ase(entry.molecule.at(end.positions))[np.argsort(entry.order)]
        assert isinstance(atoms, Atoms)
        if not np.array_equal(entry.order, np.arange(len(entry.order))):
            del atoms.info["smiles"]  # a SMILES is the topology of atoms in its own order only
        atoms.info |= dict(end.facts)
        write_atoms(text, atoms, format="extxyz")
    return text.getvalue()
