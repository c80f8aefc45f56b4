"""Writing minimized molecules: SDF and extended XYZ, with the order, bonds, titles and fields of the input."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.io import write as write_atoms
from rdkit import Chem

from golfbench.chemistry import charge_and_multiplicity, to_ase
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule
from golfbench.molecule_files.sdf_records import written

#: Begins the names of the facts that golfbench adds to those of a user's file.
PREFIX = "golfbench_"


def molecule_bytes(suffix: str, end: EndPoint) -> bytes:
    """Return an end point as a record of a file with this ending, in the atom order of the file that it came from.

    SDF has coordinates to 0.0001 Å, extended XYZ to 1e-8 Å.
    """
    return (_sdf([end]) if suffix.lower() == ".sdf" else _extxyz([end])).encode()


def with_facts(suffix: str, record: bytes, facts: Mapping[str, str | float]) -> bytes:
    """Return a record of ``molecule_bytes`` with more facts of golfbench's, which are not in it yet."""
    if not facts:
        return record
    if suffix.lower() == ".sdf":
        fields = "".join(f">  <{PREFIX}{name}>\n{' '.join(str(value).split())}\n\n" for name, value in facts.items())
        end = record.rindex(b"$$$$")
        return record[:end] + fields.encode() + record[end:]
    count, comment, *rows = record.split(b"\n")
    added = "".join(f" {PREFIX}{name}={json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    return b"\n".join([count, comment + added.encode(), *rows])


def _sdf(ends: Sequence[EndPoint]) -> str:
    return "".join(map(_sdf_record, ends))


def _sdf_record(end: EndPoint) -> str:
    given = end.given
    assert given.mol is not None
    mol = Chem.Mol(given.mol)
    mol.UpdatePropertyCache(strict=False)
    mol.GetConformer().SetPositions(given.in_file_order(end.positions))
    mol.GetConformer().Set3D(True)
    # The bonds stay as they were read. The coordinates are the stereo: marks would say less, or "either".
    block = Chem.MolToMolBlock(mol, includeStereo=False, kekulize=False)
    ours = {**_facts(end), **_state_beyond_bonds(given)}
    theirs = [*given.fields, *(_xyz_facts(given.atoms) if given.atoms is not None else [])]
    fields = [(name, value) for name, value in theirs if name not in ours]
    return written(given.molecule.id, block, [*fields, *((name, str(value)) for name, value in ours.items())])


def _facts(end: EndPoint) -> dict[str, str | float]:
    """Return what golfbench adds, under names that are nobody else's."""
    return {f"{PREFIX}{name}": value for name, value in end.facts.items()}


def _state_beyond_bonds(given: InputMolecule) -> dict[str, int]:
    """Return the multiplicity where the bonds suggest another one, so that the file is read back as it was."""
    molecule = given.molecule
    known = molecule.smiles is not None and charge_and_multiplicity(molecule.smiles)[1] == molecule.multiplicity
    return {} if known else {"multiplicity": molecule.multiplicity}


def _xyz_facts(atoms: Atoms) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in atoms.info.items() if np.ndim(value) == 0]


def _extxyz(ends: Sequence[EndPoint]) -> str:
    text = io.StringIO()
    for end in ends:
        write_atoms(text, _frame(end), format="extxyz")
    return text.getvalue()


def _frame(end: EndPoint) -> Atoms:
    """Return the atoms with what their file said of them, in its order."""
    given, molecule = end.given, end.given.molecule
    positions = given.in_file_order(end.positions)
    if given.atoms is None:
        told = to_ase(molecule)[np.argsort(given.order)]
        assert isinstance(told, Atoms)
        atoms, facts = told, dict(given.fields)
        if not np.array_equal(given.order, np.arange(len(given.order))):
            del atoms.info["smiles"]  # a SMILES is the topology of atoms in its own order only
    else:
        atoms, facts = given.atoms.copy(), dict(given.atoms.info)
        atoms.info = dict(to_ase(molecule).info)
    atoms.set_positions(positions)
    named = {key: value for key, value in facts.items() if key not in atoms.info}
    atoms.info |= {_key(key): value for key, value in named.items()} | _facts(end)
    return atoms


def _key(name: str) -> str:
    """Return a name of a fact that a comment line can hold."""
    return re.sub(r"[\s=\"'{}\[\]]+", "_", name).strip("_") or "unnamed"
