"""What a user's files give: molecules with the place that they came from, and what is no molecule, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem

from golfbench.chemistry import FloatArray, IntArray
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecules import Molecule


@dataclass(frozen=True, slots=True)
class Reading:
    """How molecules are read.

    Attributes:
        conformers: Conformers made of each SMILES.
        seed: Seed of their coordinates.
        charge: Total charge of XYZ frames that do not say it; ``None`` means 0.
        multiplicity: Multiplicity of XYZ frames that do not say it; ``None`` means 1.
    """

    conformers: int = 1
    seed: int = 0
    charge: int | None = None
    multiplicity: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A molecule and where it came from.

    Attributes:
        molecule: In the order of its SMILES, if it has one.
        source: The file and the number of the record or line in it, or the SMILES as it was typed.
        order: (n_atoms,) the place in the file of each atom of ``molecule``.
        mol: The record as it was read, atoms in the file's order; ``None`` where the bonds are not known.
    """

    molecule: Molecule
    source: str
    order: IntArray
    mol: Chem.Mol | None

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
        entry: The molecule.
        positions: (n_atoms, 3), Å, in the order of ``entry.molecule``.
        facts: What is written beside it, by name with the unit.
    """

    entry: Entry
    positions: FloatArray
    facts: Mapping[str, str | float]


def text_of(path: str) -> str:
    """Return the text of a file.

    Raises:
        ConfigurationError: If it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def attempt(id: str, source: str, make: Callable[[], Entry]) -> Entry | Unusable:
    """Return what ``make`` makes, or why it is no molecule."""
    try:
        return make()
    except MoleculeError as error:
        return Unusable(id, source, error)


def empty(path: str) -> Unusable:
    """Return what stands for a file without any molecule."""
    return Unusable(Path(path).name, path, MoleculeError("the file holds no molecule"))
