"""XYZ and extended XYZ frames."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read as read_atoms

from golfbench.chemistry import bond_graph_changed, check_topology, from_ase, rdkit_mol
from golfbench.errors import MoleculeError
from golfbench.molecule_files.entries import Entry, Reading, Unusable, attempt, empty, text_of
from golfbench.molecules import Molecule

#: Texts in the comment line of an XYZ frame. ASE would read ``F`` as false, ``[H][H]`` as a list, and drop ``\``.
_COMMENT_TEXT = re.compile(r'(?:^|\s)(id|smiles)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')


def read_xyz(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Yield the frames of an XYZ file."""
    frames = list(_frames(text_of(path).splitlines()))
    if not frames:
        yield empty(path)
    for number, frame in enumerate(frames, start=1):
        id, source = f"{Path(path).name}:{number}", f"{path}:{number}"
        yield attempt(id, source, partial(_from_frame, frame, id, source, reading))


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
