"""What a person has in memory as molecules, and their end points as the same kind of thing.

RDKit molecules, ASE atoms, SMILES, arrays, ``golfbench.molecules.Molecule`` and files are understood by the readers of
``molecule_files``: the same charges, checks and messages as on the command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import IntArray, rdkit_mol
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Reading, Unusable, attempt
from golfbench.molecule_files.isomorphism import in_order_of
from golfbench.molecule_files.reading import Inputs
from golfbench.molecule_files.sdf import input_of_mol, smiles_order
from golfbench.molecule_files.smiles import embedded, read_smiles
from golfbench.molecule_files.writing import PREFIX
from golfbench.molecule_files.xyz import input_of_atoms
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV

#: Makes of an end point the kind of thing that went in.
Back = Callable[[EndPoint], Any]
KINDS = (
    "an RDKit molecule, ASE atoms, a SMILES, a Path of a file, arrays (numbers, positions in Å), or a "
    "golfbench.molecules.Molecule"
)


@dataclass(frozen=True, slots=True)
class Start:
    """A molecule that is about to be walked.

    Attributes:
        read: The molecule, or why it is none.
        back: Makes of its end point what went in.
        given: Which of the things that were given it is from, counted from 0.
    """

    read: InputMolecule | Unusable
    back: Back
    given: int


def listed(molecules: Any) -> Iterable[Any]:
    """Return one thing or several as several."""
    if isinstance(molecules, str | Path | Chem.Mol | Atoms | Molecule) or _is_arrays(molecules):
        return [molecules]
    if not isinstance(molecules, Iterable):
        raise ConfigurationError(f"a molecule is {KINDS}, not {type(molecules).__name__}")
    return molecules


def starts_of(molecules: Iterable[Any], reading: Reading) -> Iterator[Start]:
    """Yield the starts of what was given: each conformer of an RDKit molecule, each record of a file.

    Args:
        molecules: See ``KINDS``.
        reading: How they are read. Its notes are added to.

    Raises:
        ConfigurationError: If one is none of these kinds, or a file cannot be opened.
    """
    for number, given in enumerate(molecules):
        for read, back in _read(given, f"molecules[{number}]", reading):
            yield Start(read, back, number)


def _read(given: Any, source: str, reading: Reading) -> Iterator[tuple[InputMolecule | Unusable, Back]]:
    if isinstance(given, str):
        if os.path.isfile(given):
            raise ConfigurationError(f"{source} '{given}' is a file, and text is a SMILES: give a pathlib.Path")
        yield from ((_said_of_smiles(read), as_mol) for read in read_smiles(given, reading))
    elif isinstance(given, Path):
        for pending in Inputs([str(given)], reading).pending():
            for read in pending(reading):
                yield read, as_mol if isinstance(read, Unusable) or read.atoms is None else as_atoms
    elif isinstance(given, Chem.Mol):
        yield from ((read, as_mol) for read in _of_mol(given, source, reading))
    elif isinstance(given, Atoms):
        yield from ((read, as_atoms) for read in _of_atoms(given, source, reading))
    elif isinstance(given, Molecule):
        mol = rdkit_mol(given) if given.smiles is not None else None
        yield InputMolecule(given, source, np.arange(len(given)), mol), lambda end: end.given.molecule.at(end.positions)
    elif _is_arrays(given):
        yield from ((read, as_arrays) for read in _of_arrays(given[0], given[1], source, reading))
    else:
        raise ConfigurationError(f"{source} is {type(given).__name__}: a molecule is {KINDS}")


def bonds_of(given: Any, source: str, reading: Reading) -> Iterator[list[InputMolecule | Unusable]]:
    """Yield the conformers that are made of a molecule's bonds, those of each record of a file together.

    Args:
        given: A SMILES, an RDKit molecule, or the path of a file.
        source: What it is called.
        reading: How conformers are made.

    Raises:
        ConfigurationError: If it is something else: bonds are known of these alone.
    """
    if isinstance(given, Path):
        yield from (list(pending(reading)) for pending in Inputs([str(given)], reading).pending())
    elif isinstance(given, Chem.Mol):
        mol = Chem.Mol(given)
        if mol.GetNumConformers() and mol.GetConformer().Is3D():
            Chem.AssignStereochemistryFrom3D(mol)
        mol.RemoveAllConformers()
        yield _of_mol(mol, source, reading)
    elif isinstance(given, str):
        yield [read for read, _ in _read(given, source, reading)]
    else:
        kinds = "a SMILES, an RDKit molecule, or a Path of a file"
        raise ConfigurationError(f"{source} is {type(given).__name__}: conformers are made of the bonds of {kinds}")


def _said_of_smiles(read: InputMolecule | Unusable) -> InputMolecule | Unusable:
    if isinstance(read, InputMolecule):
        return read
    return replace(read, error=MoleculeError(str(read.error).replace("neither a file that exists nor a", "not a")))


def in_python(text: str) -> str:
    """Return a sentence of the command line with its options as arguments: ``--check-minima`` is ``check_minima=``."""
    return re.sub(r"--([a-z][a-z-]*)", lambda found: f"{found[1].replace('-', '_')}=", text)


def _is_arrays(given: Any) -> bool:
    """Return whether something is atomic numbers (n,) and positions (n, 3)."""
    if (
        not isinstance(given, tuple)
        or len(given) != 2
        or any(isinstance(part, str | Chem.Mol | Atoms) for part in given)
    ):
        return False
    return np.ndim(given[0]) == 1 and np.ndim(given[1]) == 2


def _of_arrays(numbers: Any, positions: Any, source: str, reading: Reading) -> list[InputMolecule | Unusable]:
    try:
        atoms = Atoms(numbers=np.asarray(numbers, dtype=np.int64), positions=np.asarray(positions, dtype=np.float64))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        reason = MoleculeError(f"{source}: numbers and positions do not make a molecule: {error}")
        return [Unusable(source, source, reason)]
    return _of_atoms(atoms, source, reading)


def _of_atoms(atoms: Atoms, source: str, reading: Reading) -> list[InputMolecule | Unusable]:
    info = atoms.info
    name = next((str(info[key]) for key in ("id", "name", "title") if info.get(key)), source)
    smiles = None if info.get("smiles") is None else str(info["smiles"])

    def make(id: str, source: str, reading: Reading) -> InputMolecule:
        if len(atoms) == 0:
            raise MoleculeError(f"{id}: no atoms")
        return input_of_atoms(atoms, "", id, smiles, source, reading)

    return attempt(name, source, make, reading)


def _of_mol(mol: Chem.Mol, source: str, reading: Reading) -> list[InputMolecule | Unusable]:
    """Return a start for each conformer of a molecule; of one that has none they are made, as of its SMILES."""
    name = (mol.GetProp("_Name") if mol.HasProp("_Name") else "") or source
    if not mol.GetNumAtoms():
        return [Unusable(name, source, MoleculeError(f"{name}: no atoms"))]
    if not mol.GetNumConformers():
        return list(_conformers_of(mol, name, source, reading))
    conformers = [conformer.GetId() for conformer in mol.GetConformers()]
    fields = tuple((key, str(value)) for key, value in mol.GetPropsAsDict().items() if not key.startswith(PREFIX))
    found: list[InputMolecule | Unusable] = []
    for place, conformer in enumerate(conformers):
        read = partial(_input_of, Chem.Mol(mol, confId=conformer), fields)
        found += attempt(name if len(conformers) == 1 else f"{name}/{place}", source, read, reading)
    return found


def _conformers_of(mol: Chem.Mol, name: str, source: str, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    """Yield conformers of a molecule without coordinates: its own atoms in their order, then its hydrogens."""
    try:
        with BlockLogs():
            full = Chem.AddHs(mol)
            Chem.SanitizeMol(full)
        smiles, order = smiles_order(full, name)
    except (MoleculeError, ValueError, RuntimeError) as error:
        yield Unusable(name, source, MoleculeError(f"{name}: {str(error).removeprefix(f'{name}: ')}"))
        return
    for made in embedded(smiles, name, source, (), reading):
        if isinstance(made, Unusable):
            yield made
            continue
        placed = _placed(full, smiles, order, made.molecule)
        yield from attempt(made.molecule.id, source, partial(_input_of, placed, ()), reading)


def _placed(full: Chem.Mol, smiles: str, order: IntArray, made: Molecule) -> Chem.Mol:
    """Return a molecule at the positions of a conformer that was made of its SMILES, or of an isomer of it."""
    numbers = np.array([atom.GetAtomicNum() for atom in full.GetAtoms()])[order]
    target = Molecule(made.id, numbers, made.positions, made.charge, smiles=smiles)
    positions = np.empty_like(made.positions)
    positions[order] = in_order_of(target, str(made.smiles), made.positions)
    placed, conformer = Chem.Mol(full), Chem.Conformer(len(made))
    conformer.SetPositions(positions)
    placed.AddConformer(conformer, assignId=True)
    return placed


def _input_of(
    mol: Chem.Mol, fields: tuple[tuple[str, str], ...], id: str, source: str, reading: Reading
) -> InputMolecule:
    return input_of_mol(mol, id, source, reading, fields)


def as_mol(end: EndPoint) -> Chem.Mol:
    """Return an RDKit molecule: atoms, bonds and properties as they were given, one conformer, and our facts."""
    read = end.given
    assert read.mol is not None
    mol = Chem.Mol(read.mol)
    mol.GetConformer().SetPositions(read.in_file_order(end.positions))
    mol.GetConformer().Set3D(True)
    mol.SetProp("_Name", read.molecule.id)
    for name, value in _facts(end).items():
        mol.SetDoubleProp(name, value) if isinstance(value, float) else mol.SetProp(name, str(value))
    return mol


def as_atoms(end: EndPoint) -> Atoms:
    """Return ASE atoms as they were given, with the energy (eV) in a calculator and our facts in ``info``."""
    read = end.given
    assert read.atoms is not None
    atoms: Atoms = read.atoms.copy()
    atoms.set_positions(read.in_file_order(end.positions), apply_constraint=False)
    atoms.info |= _facts(end)
    energy = float(end.facts["energy_final_hartree"]) * HARTREE_TO_EV
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


def as_arrays(end: EndPoint) -> tuple[Any, Any]:
    """Return atomic numbers (n,) and positions (n, 3), Å."""
    return end.given.molecule.numbers.copy(), end.given.in_file_order(end.positions)


def _facts(end: EndPoint) -> Mapping[str, str | float]:
    return {f"{PREFIX}{name}": value for name, value in end.facts.items()}
