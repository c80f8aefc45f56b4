"""Charge and multiplicity where bonds are known: the bonds say the charge, and suggest the multiplicity."""

from __future__ import annotations

from collections.abc import Mapping

from rdkit import Chem

from golfbench.errors import MoleculeError
from golfbench.molecule_files.input_molecules import Reading
from golfbench.spins import unpaired_electrons


def charge_of_bonds(mol: Chem.Mol, id: str, teller: str, told: int | None) -> int:
    """Return the total charge of a molecule with bonds, e.

    Args:
        mol: The molecule.
        id: Its name.
        teller: Who else says a charge, for the message.
        told: What that is.

    Raises:
        MoleculeError: If it is another one.
    """
    charge = int(Chem.GetFormalCharge(mol))
    if told is not None and told != charge:
        raise MoleculeError(f"{id}: its atoms and bonds have charge {charge:+d}, but {teller} says {told:+d}")
    return charge


def guessed_multiplicity(mol: Chem.Mol, example: str, reading: Reading, told: Mapping[int, int] | None = None) -> int:
    """Return the multiplicity that bonds suggest, and note where another one is possible.

    Args:
        mol: Sanitized.
        example: What it is called in the note.
        reading: Its notes get the guess.
        told: Unpaired electrons of single atoms, by index, where the file says them.
    """
    unpaired = unpaired_electrons(mol, told)
    if unpaired.guessed:
        reading.notes.add(
            f"open shells are possible: multiplicity {unpaired.count + 1} is a guess; say another one with "
            "--multiplicity, or in a data field 'multiplicity' of an SDF",
            example,
        )
    return unpaired.count + 1
