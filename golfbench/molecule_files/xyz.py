"""XYZ and extended XYZ frames."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from ase import Atoms
from ase.io import read as read_atoms

from golfbench.chemistry import (
    bond_graph_changed,
    charge_and_multiplicity,
    check_topology,
    mol_from_smiles,
    rdkit_mol,
    stereo_contradictions,
)
from golfbench.errors import MoleculeError
from golfbench.molecule_files.bonds import guessed_multiplicity
from golfbench.molecule_files.drawings import is_drawing
from golfbench.molecule_files.input_molecules import InputMolecule, Pending, Reading, attempt
from golfbench.molecule_files.text import Text, empty, file_name
from golfbench.molecules import Molecule, check_electrons
from golfbench.states import LEADING_INTEGERS, stated

#: Texts in the comment line of an XYZ frame. ASE would read ``F`` as false, ``[H][H]`` as a list, and drop ``\``.
_COMMENT_TEXT = re.compile(r'(?:^|\s)(id|name|title|smiles)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))', re.IGNORECASE)
#: A fact in a comment line.
_PAIR = re.compile(r"""(?<![^\s="'])[^\s="']+\s*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|\{+[^{}]*\}|\[+[^\[\]]*\]|\S+)""")
#: A comment line is the name of its molecule if it is not longer than this.
_LONGEST_NAME = 60
#: Longer numbers are no numbers of atoms.
_MOST_DIGITS = 18
#: What says that the coordinates are in bohr; not what says it of dipoles, forces or energies.
_BOHR = re.compile(
    r"(?<![\w/*^.-])(?<!per )(?<!\d )bohrs?(?![\w/*^])"
    r"|(?:^|[\s,;({])[\"']?(?:(?:length|distance|coord\w*|position\w*|geometry|xyz)[_ -]?)?units?[\"']?\s*[:=]?\s*"
    r"[\"']?(?:a\.u\.|au\b|atomic\b)"
    r"|\b(?:coord\w*|positions?|geometry|xyz|lengths?|distances?)\b[^=:;,]{0,40}\b(?:a\.u\.|au\b|atomic[ _-]units?\b)",
    re.IGNORECASE,
)
_ANGSTROM = re.compile(r"angstr|ångstr|å(?!\w)|\u212b", re.IGNORECASE)
#: What the reading of a comment line as ``key=value`` may not be given up for.
_LAYOUT = re.compile(r"properties|lattice|pbc", re.IGNORECASE)
ASSUMED = (
    "charge 0 is assumed, which nothing says; write charge=... and multiplicity=... in the comment line, or give "
    "--charge and --multiplicity"
)


def read_xyz(text: Text, reading: Reading) -> Iterator[Pending]:
    """Yield the frames of an XYZ file."""
    number = 0
    for number, frame in enumerate(_frames(text.lines()), start=1):
        source = f"{text.label}:{number}"
        yield partial(attempt, f"{file_name(text.label)}:{number}", source, partial(_from_frame, frame))
    if not number:
        yield partial(empty, text.label)


def read_geometries(text: Text) -> Iterator[Pending]:
    """Yield the frames of an XYZ file as they stand: whatever bonds, charge and spin they have.

    A SMILES of a comment line must have the atoms in this order; whether the coordinates have its bonds is not asked.
    """
    number = 0
    for number, frame in enumerate(_frames(text.lines()), start=1):
        source = f"{text.label}:{number}"
        yield partial(attempt, f"{file_name(text.label)}:{number}", source, partial(_geometry, frame))
    if not number:
        yield partial(empty, text.label)


def _geometry(lines: list[str], id: str, source: str, reading: Reading) -> InputMolecule:
    atoms, name, smiles = _read(lines, id)
    charge = 0 if smiles is None else charge_and_multiplicity(smiles)[0]
    molecule = Molecule(name, atoms.numbers, atoms.positions.copy(), charge, smiles=smiles)
    if smiles is not None:
        check_topology(molecule)
    return InputMolecule(molecule, source, np.arange(len(molecule)), None, atoms=atoms)


def _frames(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the lines of each frame. One that is not as long as it says ends where the next number stands alone."""
    frame: list[str] = []
    size = 0.0
    for line in _without_blank_end(lines):
        counted = _is_count(line)
        comes_next = bool(frame) and counted and len(frame) >= (2 if _is_count(frame[0]) else 1)
        if frame and (comes_next or len(frame) >= size):
            yield frame
            frame = []
        if not frame:
            if not line.strip():
                continue
            size = int(line) + 2 if counted else math.inf
        frame.append(line)
    if frame:
        yield frame


def _without_blank_end(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines but for the blank ones behind the last that is not."""
    blank: list[str] = []
    for line in lines:
        if line.strip():
            yield from blank
            blank = []
            yield line
        else:
            blank.append(line)


def _is_count(line: str) -> bool:
    text = line.strip()
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _read(lines: list[str], id: str) -> tuple[Atoms, str, str | None]:
    """Return the atoms of a frame, its name and its SMILES."""
    if not _is_count(lines[0]):
        raise MoleculeError(f"{id}: '{lines[0].strip()[:40]}' is no number of atoms")
    if len(lines) < int(lines[0]) + 2:
        raise MoleculeError(f"{id}: the frame ends before its last atom")
    if int(lines[0]) == 0:
        raise MoleculeError(f"{id}: no atoms")
    _check_unit(lines[1], id)
    atoms = _atoms(lines, id)
    return atoms, *_describe(atoms, lines[1], id)


def _from_frame(lines: list[str], id: str, source: str, reading: Reading) -> InputMolecule:
    atoms, name, smiles = _read(lines, id)
    return input_of_atoms(atoms, lines[1], name, smiles, source, reading)


def input_of_atoms(
    atoms: Atoms, comment: str, name: str, smiles: str | None, source: str, reading: Reading
) -> InputMolecule:
    """Return the molecule of ASE atoms.

    Args:
        atoms: With what they say of charge and spin in ``info`` and ``arrays``.
        comment: The comment line that they come with.
        name: Its name.
        smiles: Whose atoms they are, in its order, if that is known.
        source: Where it is from.
        reading: Charge and multiplicity where nothing else says them; its notes are added to.

    Raises:
        MoleculeError: If it is none that can be minimized.
    """
    molecule = _molecule(atoms, comment, name, smiles, source, reading)
    if smiles is not None:
        if bond_graph_changed(molecule, molecule.positions):
            raise MoleculeError(f"{name}: its bonds are not those of 'smiles={smiles}': remove that, or mend it")
        if other := stereo_contradictions(molecule):
            raise MoleculeError(
                f"{name}: its coordinates are another stereoisomer than 'smiles={smiles}' ({_became(other)})"
            )
    elif is_drawing(molecule.numbers, molecule.positions):
        reading.notes.add("all atoms lie in one plane, as in a flat drawing, which this molecule cannot", source)
    mol = None if smiles is None else rdkit_mol(molecule)
    return InputMolecule(molecule, source, np.arange(len(molecule)), mol, atoms=atoms)


def _became(changes: Sequence[str]) -> str:
    return "; ".join(changes).replace(" became ", " there, here ")


def _check_unit(comment: str, id: str) -> None:
    found = _BOHR.search(comment)
    if found and not _ANGSTROM.search(comment):
        said = found[0].strip(" ,;({\"'")
        raise MoleculeError(
            f"{id}: its comment line says that the coordinates are in bohr ('{said}'), but XYZ files are in Å: convert "
            "them and remove these words"
        )


def _atoms(lines: list[str], id: str) -> Atoms:
    try:
        try:
            atoms = _by_ase(lines)
        except (IndexError, ValueError):  # ASE stumbles over signs of equality in a comment line of plain words
            if _LAYOUT.search(lines[1]):
                raise
            atoms = _by_ase([lines[0], "", *lines[2:]])
    except KeyError as error:
        raise MoleculeError(f"{id}: {error} is no symbol of an element") from error
    except Exception as error:  # ASE lets whatever a malformed line causes come out
        raise MoleculeError(f"{id}: is not a valid XYZ frame ({' '.join(str(error).split())})") from error
    assert isinstance(atoms, Atoms)
    return atoms


def _by_ase(lines: list[str]) -> Atoms | list[Atoms]:
    return read_atoms(io.StringIO("\n".join(lines) + "\n"), format="extxyz", index=0)


def _describe(atoms: Atoms, comment: str, id: str) -> tuple[str, str | None]:
    """Return name and SMILES of a frame, and leave in ``atoms`` the facts that its comment line states.

    Energies and forces of the start, which ASE knows as results, keep their values under other names.
    """
    bare = " ".join(_PAIR.sub(" ", comment).split())
    words = set(bare.split())
    for key, value in list(atoms.info.items()):  # ASE reads a bare word, and what is in braces, as true
        if (value is True or isinstance(value, np.bool_)) and (key in words or not re.fullmatch(r"\w\S*", key)):
            del atoms.info[key]
    texts = {key.lower(): short or long.replace('\\"', '"') for key, long, short in _COMMENT_TEXT.findall(comment)}
    atoms.info |= texts
    if atoms.calc is not None:
        for key, value in atoms.calc.results.items():
            target = atoms.arrays if np.shape(value)[:1] == (len(atoms),) and key not in atoms.info else atoms.info
            target[f"input_{key}"] = value
        atoms.calc = None
    leading = LEADING_INTEGERS.match(bare)
    title = bare[leading.end() :].strip() if leading else bare
    is_name = title[:1].isalnum() and any(map(str.isalpha, title)) and len(title) <= _LONGEST_NAME and ":" not in title
    if title and not is_name:
        atoms.info["comment"] = title
    name = next((texts[key] for key in ("id", "name", "title") if texts.get(key)), title if is_name else "")
    return name or id, texts.get("smiles")


def _molecule(atoms: Atoms, comment: str, name: str, smiles: str | None, source: str, reading: Reading) -> Molecule:
    """Return the molecule of a frame: what it says, else the options, else its SMILES, else a neutral singlet."""
    if atoms.pbc.any():
        raise MoleculeError(f"{name}: periodic systems are not molecules")
    bonds = None if smiles is None else charge_and_multiplicity(smiles)
    fallback = next((charge for charge in (reading.charge, bonds and bonds[0]) if charge is not None), None)
    state = stated(name, atoms.numbers, atoms.info, atoms.arrays, comment, otherwise=fallback or 0)
    for note in state.notes:
        reading.notes.add(note, source)
    charge = fallback if state.charge is None else state.charge
    multiplicity = reading.multiplicity if state.multiplicity is None else state.multiplicity
    if multiplicity is None and smiles is not None:
        multiplicity = guessed_multiplicity(mol_from_smiles(smiles), source, reading)
    molecule = Molecule(name, atoms.numbers, atoms.positions.copy(), charge or 0, multiplicity or 1, smiles)
    if smiles is not None:
        check_topology(molecule)
    check_electrons(molecule, _hint(charge, multiplicity, state.notes))
    if charge is None:
        reading.notes.add(ASSUMED, source)
    return molecule


def _hint(charge: int | None, multiplicity: int | None, notes: Sequence[str]) -> str:
    """Return what to do about a number of electrons that does not fit what was assumed or understood."""
    if charge is None:
        remedy = "write charge=... multiplicity=... in its comment line, or give --charge and --multiplicity"
        return f"; nothing says the charge: {remedy}"
    if multiplicity is None:
        return "; nothing says the multiplicity: write multiplicity=... in its comment line, or give --multiplicity"
    return "".join(f" ({note})" for note in notes)
