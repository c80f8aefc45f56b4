"""Constraints as a person writes them: atoms by their number in the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.chemistry import IntArray
from golfbench.constraints import Constraint
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.input_molecules import InputMolecule
from golfbench.units import HARTREE_TO_EV

#: Instead of a list of atoms: all but hydrogens.
HEAVY = "heavy"
#: eV/Å² of a spring: an atom that a force of 0.1 eV/Å pulls moves by 0.1 Å.
SPRING = 1.0
#: Longer lists are mistakes.
_MOST_ATOMS = 1_000_000


@dataclass(frozen=True, slots=True)
class Constraints:
    """What does not move in each of the molecules.

    Attributes:
        fixed: Atoms that do not move, counted from 1 in the file's order.
        heavy: Whether all atoms but hydrogens are fixed.
        torsions: Four atoms each, which keep the torsion that they begin with.
        springs: Atoms that are held back, and the force constant, eV/Å²; ``None`` stands for all but hydrogens.
    """

    fixed: tuple[int, ...] = ()
    heavy: bool = False
    torsions: tuple[tuple[int, ...], ...] = ()
    springs: tuple[tuple[tuple[int, ...] | None, float], ...] = ()

    @classmethod
    def parse(
        cls, fixed: str | None, heavy: bool, torsions: Sequence[str] | None, springs: Sequence[str] | None
    ) -> Constraints:
        """Read what the options say.

        Args:
            fixed: A list such as ``1-4,7``, or ``heavy``.
            heavy: See ``Constraints``.
            torsions: Four atoms each, ``1,2,3,4``.
            springs: A list or ``heavy`` each, and after a colon the force constant, eV/Å².

        Raises:
            ConfigurationError: If something is not written so.
        """
        four = tuple(_atoms(text, "--freeze-torsion") for text in torsions or ())
        for text, atoms in zip(torsions or (), four, strict=True):
            if len(atoms) != 4 or len(set(atoms)) != 4:
                raise ConfigurationError(f"--freeze-torsion takes four different atoms, as in 1,2,3,4, not '{text}'")
        all_heavy = heavy or fixed == HEAVY
        listed = () if fixed in (None, HEAVY) else _atoms(fixed, "--fix-atoms")
        return cls(listed, all_heavy, four, tuple(map(_spring, springs or ())))

    def __bool__(self) -> bool:
        return bool(self.fixed or self.heavy or self.torsions or self.springs)

    def of(self, given: InputMolecule) -> Constraint | None:
        """Return what does not move in a molecule; ``None`` where everything may.

        Raises:
            MoleculeError: If it has no atom with one of the numbers, or a torsion is undefined.
        """
        if not self:
            return None
        molecule = given.molecule
        heavy = np.flatnonzero(molecule.numbers > 1)
        fixed = self._places(given, self.fixed)
        if self.heavy:
            fixed = np.union1d(fixed, heavy)
        strengths = np.zeros(len(molecule))
        for listed, strength in self.springs:
            strengths[heavy if listed is None else self._places(given, listed)] = strength / HARTREE_TO_EV
        torsions = [self._places(given, four) for four in self.torsions]
        try:
            shaped = np.array(torsions, dtype=np.int64).reshape(-1, 4)
            return Constraint(molecule.positions, fixed, shaped, strengths)
        except MoleculeError as error:
            raise MoleculeError(f"{molecule.id}: {error}") from error

    @staticmethod
    def _places(given: InputMolecule, numbers: Sequence[int]) -> IntArray:
        """Return where in the molecule the atoms of these numbers in the file are."""
        if numbers and max(numbers) > len(given.molecule):
            raise MoleculeError(
                f"{given.molecule.id}: there is no atom {max(numbers)} to constrain, it has {len(given.molecule)}"
            )
        places: IntArray = np.argsort(given.order)[np.array(numbers, dtype=np.int64) - 1]
        return places


#: Nothing is constrained.
FREE = Constraints()


def _spring(text: str) -> tuple[tuple[int, ...] | None, float]:
    listed, colon, constant = text.partition(":")
    try:
        strength = float(constant) if colon else SPRING
    except ValueError:
        strength = math.nan
    if not 0 < strength < math.inf:
        raise ConfigurationError(f"--restrain: the force constant must be above 0 eV/Å², not '{constant}'")
    return (None if listed == HEAVY else _atoms(listed, "--restrain")), strength


def _atoms(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``1-4,7``."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        ends = [first, last] if dash else [first, first]
        if not all(end.isascii() and end.isdecimal() and 0 < int(end) <= _MOST_ATOMS for end in ends):
            raise ConfigurationError(
                f"{option} takes atoms as in 1-4,7 (counted from 1, in the file's order), not '{text}'"
            )
        numbers += range(int(ends[0]), int(ends[1]) + 1)
    return tuple(numbers)
