"""Writing minimized molecules: SDF and extended XYZ, with the order, bonds, titles and fields of the input."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write as write_atoms
from rdkit import Chem

from golfbench.chemistry import to_ase
from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecule_files.entries import EndPoint, Entry, Unusable

OUTPUT_SUFFIXES = (".sdf", ".extxyz", ".xyz")


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
