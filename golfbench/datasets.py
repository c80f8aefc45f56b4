"""What a dataset is, and what its reader does; plugins import these names from ``golfbench.contracts``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from golfbench.molecules import Molecule

if TYPE_CHECKING:
    from pathlib import Path

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Label:
    """What an oracle says of one geometry.

    Attributes:
        energy: Total energy, Hartree.
        forces: Shape (n_atoms, 3), Hartree/Å.
        method: Level of theory, for example ``GFN2-xTB``. Labels of different methods never mix.
    """

    energy: float
    forces: FloatArray
    method: str


@dataclass(frozen=True, slots=True)
class LabelledMolecule:
    """A molecule of a training set with its label."""

    molecule: Molecule
    label: Label


@dataclass(frozen=True, slots=True)
class TestMolecule:
    """A molecule of a test set: its start and, where the dataset has it, the minimum reached from that start.

    Attributes:
        molecule: The start.
        start: Label of the start, or ``None``.
        minimum_positions: (n_atoms, 3) Å, or ``None``.
        minimum: Label of the minimum, or ``None``.
    """

    __test__ = False  # pytest: not a test class

    molecule: Molecule
    start: Label | None = None
    minimum_positions: FloatArray | None = None
    minimum: Label | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a reader returns.

    Attributes:
        name: Its name.
        method: Level of theory of labels and minima.
        initial: The initial training set, D_0.
        test: Test molecules.
        content_hash: SHA-256 over the content, independent of file layout.
        atom_energies: Energy (Hartree) per atomic number to subtract, or empty: then least squares.
        checkpoints: Baseline checkpoints that ship, by name (``painn-small``) -> path.
        unlabelled: Geometries of the initial set, where its labels are only those that a run asked for.
    """

    name: str
    method: str
    initial: Sequence[LabelledMolecule]
    test: Sequence[TestMolecule]
    content_hash: str
    atom_energies: Mapping[int, float] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    unlabelled: Sequence[Molecule] = ()


class DatasetReader(Protocol):
    """What a dataset factory returns."""

    def read(self) -> Dataset:
        """Read everything.

        Raises:
            golfbench.errors.ConfigurationError: If a file is missing, empty or not what it says.
        """
        ...


@runtime_checkable
class DatasetChecks(Protocol):
    """A reader that can prove more of its dataset than that it can be read."""

    def check(self, recompute: int = 0) -> list[str]:
        """Return one line for each thing that is wrong.

        Args:
            recompute: Labels to compute anew with the engine of the dataset; 0 for none.
        """
        ...


@runtime_checkable
class DatasetBuilds(Protocol):
    """A reader that can make its dataset anew from its sources."""

    def build(self, output: Path) -> None:
        """Build it in a folder; called again after an interruption, go on.

        Raises:
            golfbench.errors.GolfbenchError: If a source is missing or an engine fails.
        """
        ...
