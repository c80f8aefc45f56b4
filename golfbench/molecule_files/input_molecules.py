"""What a user's files give: molecules with the place that they came from, and what is no molecule, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from ase import Atoms
from rdkit import Chem

from golfbench.chemistry import FloatArray, IntArray
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule

#: Files that a note names.
_NAMED = 3


class Notes:
    """What a person should know of how his files were understood: one line for each kind of thing."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[str, int]]] = {}  # by text and file: the first source, and how many

    def add(self, text: str, source: str, count: int = 1) -> None:
        """Note something of a record (``file:number``), of a whole file, or of a SMILES as it was typed."""
        files = self._found.setdefault(text, {})
        file = re.sub(r":\d+$", "", source)
        first, before = files.get(file, (source, 0))
        files[file] = first, before + count

    def include(self, others: Notes) -> None:
        """Add what was noted elsewhere."""
        for text, files in others._found.items():
            for first, count in files.values():
                self.add(text, first, count)

    def lines(self) -> list[str]:
        """Return what was noted, in the order in which it came up, with the files and how often."""
        return [f"{self._where(files)}: {text}" for text, files in self._found.items()]

    @staticmethod
    def _where(files: Mapping[str, tuple[str, int]]) -> str:
        named = [
            first if count == 1 else f"{file} ({count} molecules)"
            for file, (first, count) in islice(files.items(), _NAMED)
        ]
        more = len(files) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Reading:
    """How molecules are read.

    Attributes:
        conformers: Conformers made of each SMILES.
        seed: Seed of their coordinates.
        charge: Total charge of XYZ frames that do not say it. What bonds say can be confirmed only.
        multiplicity: Multiplicity of what does not say it: frames and records without a field for it, SMILES.
        bonds_only: Whether of an SDF record the bonds alone count: conformers are made of it as of a SMILES, and it may
            be a drawing and without hydrogens.
        every_isomer: Whether a SMILES that leaves stereo open stands for all of its isomers, and not for one.
        notes: Where the readers say what they assumed.
    """

    conformers: int = 1
    seed: int = 0
    charge: int | None = None
    multiplicity: int | None = None
    bonds_only: bool = False
    every_isomer: bool = False
    notes: Notes = field(default_factory=Notes, compare=False)


@dataclass(frozen=True, slots=True)
class InputMolecule:
    """A molecule that a person gave, with where it came from.

    Attributes:
        molecule: In the order of its SMILES, if it has one.
        source: The file and the number of the record or line in it, or the SMILES as it was typed.
        order: (n_atoms,) the place in the file of each atom of ``molecule``.
        mol: The record as it was read, atoms in the file's order; ``None`` where the bonds are not known.
        fields: Data of the record by name, in its order; a name may come twice.
        atoms: An XYZ frame with its facts and columns; ``None`` for other files.
    """

    molecule: Molecule
    source: str
    order: IntArray
    mol: Chem.Mol | None
    fields: tuple[tuple[str, str], ...] = ()
    atoms: Atoms | None = None

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
        given: The molecule at its start.
        positions: (n_atoms, 3), Å, in the order of ``given.molecule``.
        facts: What is written beside it, by name with the unit; the writer puts ``golfbench_`` before each name.
    """

    given: InputMolecule
    positions: FloatArray
    facts: Mapping[str, str | float]


#: A record, frame or line as it was cut out of its file: cheap to make and to send. Called, it is understood, and
#: gives its molecules, or why there are none.
Pending = Callable[[Reading], Iterable[InputMolecule | Unusable]]


def attempt(
    id: str, source: str, make: Callable[[str, str, Reading], InputMolecule], reading: Reading
) -> list[InputMolecule | Unusable]:
    """Return the one molecule that ``make`` makes of an id, a source and how to read, or why it is none."""
    try:
        return [make(id, source, reading)]
    except MoleculeError as error:
        return [Unusable(id, source, error)]
    except (ValueError, RuntimeError, OverflowError) as error:  # RDKit's and numpy's, for what nobody thought of
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return [Unusable(id, source, MoleculeError(f"{id}: {reason}"))]
