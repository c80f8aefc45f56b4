"""SDF records: the atoms in the order of their SMILES, with the permutation that puts them back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import IntArray, charge_and_multiplicity, mol_from_smiles
from golfbench.errors import MoleculeError
from golfbench.molecule_files.entries import Entry, Reading, Unusable, attempt, empty, text_of
from golfbench.molecules import Molecule

#: More neighbours than this and an atom cannot be flat: the coordinates are those of a drawing.
_MOST_FLAT_NEIGHBOURS = 3


def read_sdf(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Yield the records of an SDF or MOL file."""
    text = text_of(path)
    if not text.strip():
        yield empty(path)
        return
    supplier: Any = Chem.SDMolSupplier()
    with BlockLogs():
        supplier.SetData(text, sanitize=False, removeHs=False)
        records = list(supplier)
    for number, record in enumerate(records, start=1):
        title = record.GetProp("_Name").strip() if record is not None and record.HasProp("_Name") else ""
        id, source = title or f"{Path(path).name}:{number}", f"{path}:{number}"
        yield attempt(id, source, partial(_from_record, record, id, source))


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
