"""Writing minimized molecules: SDF and extended XYZ, with the order, bonds, titles and fields of the input."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write as write_atoms
from rdkit import Chem

from golfbench.chemistry import to_ase
from golfbench.errors import ConfigurationError
from golfbench.molecule_files.entries import EndPoint, Entry, Unusable


def check_bonds(path: Path, entries: Sequence[Entry | Unusable]) -> None:
    """Refuse an SDF of molecules whose bonds are not known.

    Raises:
        ConfigurationError: With the first of them.
    """
    bare = [e.source for e in entries if isinstance(e, Entry) and e.mol is None]
    if path.suffix.lower() == ".sdf" and bare:
        raise ConfigurationError(f"{path}: an SDF needs bonds and {bare[0]} has none; write .extxyz instead")


def molecule_bytes(suffix: str, end: EndPoint) -> bytes:
    """Return an end point as a record of a file with this ending, in the atom order of the file that it came from.

    SDF has coordinates to 0.0001 Å, extended XYZ to 1e-8 Å.
    """
    return (_sdf([end]) if suffix.lower() == ".sdf" else _extxyz([end])).encode()


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
