"""What a dataset is, and what its reader does; plugins import these names from ``golfbench.contracts``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """The answer of an oracle for one geometry.

    Attributes:
        energy: Total energy, Hartree.
        forces: Shape (n_atoms, 3), Hartree/Å.
        method: Level of theory, for example ``GFN2-xTB``. Labels of different methods are never mixed.
    """

    energy: float
    forces: FloatArray
    method: str


@dataclass(frozen=True, slots=True)
class LabelledMolecule:
    """A molecule of a training set with its label."""

    molecule: Molecule
    label: Label


@runtime_checkable
class HasRows(Protocol):
    """A training set that reads a label on demand, and can name its rows without reading them."""

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules, in order."""
        ...

    def place(self, index: int) -> str:
        """Return where a label is, ``initial.db, row 17`` for example."""
        ...


@runtime_checkable
class HasContents(Protocol):
    """A training set that knows its molecules without reading its labels."""

    def examples(self, most: int) -> Sequence[int]:
        """Return indices of labels that have each element that occurs: ``most`` for each, or as many as there are."""
        ...

    def structures(self, smiles: Collection[str]) -> set[str]:
        """Return which of these SMILES occur."""
        ...


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
        initial: The initial training set, D_0. It may read labels on demand; then it raises
            ``ConfigurationError``, with the place, for one that is not usable. See ``HasRows`` and ``HasContents``.
        test: Test molecules.
        content_hash: SHA-256 over the content, independent of file layout; of a training set that is too large to be
            read, over the number of its labels and a sample of them (see ``training_sets``).
        atom_energies: Energy (Hartree) per atomic number to subtract, or empty: then least squares.
        checkpoints: Baseline checkpoints that ship, by name (``painn-small``) -> path.
        unlabelled: Geometries of the initial set, where its labels are only those that a run asked for.
        trajectories: Geometries of given walks in their order, by compound
            (``ibuprofen``); what the explorer ``given`` offers.
        known_labels: File of labels that runs on this dataset paid for, as ``golfbench cache export`` writes it: a run
            finds them in the label cache. Empty if there is none.
        oracle: The oracle that gives these labels, as on the command line; empty: found by the level of theory.
    """

    name: str
    method: str
    initial: Sequence[LabelledMolecule]
    test: Sequence[TestMolecule]
    content_hash: str
    atom_energies: Mapping[int, float] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    unlabelled: Sequence[Molecule] = ()
    trajectories: Mapping[str, Sequence[Molecule]] = field(default_factory=dict)
    known_labels: str = ""
    oracle: str = ""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What a dataset of the user's own molecules is to be made of; see ``specs.DatasetSpec.builder``.

    Attributes:
        inputs: Files (SMILES, SDF) or SMILES; training and test molecules where ``test`` is empty.
        output: The folder of the dataset.
        oracle: Gives every label; with parameters, as the user writes it.
        test: Files or SMILES of the test molecules; empty: a share of ``inputs``.
        test_share: That share.
        conformers: Conformers of each training molecule, at most.
        first_walk: Walks test molecules before the oracle does: a model or an oracle, ``none``, or ``auto``.
        seed: Of the conformers and of the split.
        executor: Where oracle calls run, with parameters.
        workers: Oracle calls at a time; by default as many as the executor has room for.
        dry_run: Print what there is to do, and stop.
    """

    inputs: tuple[str, ...]
    output: Path
    oracle: str
    test: tuple[str, ...] = ()
    test_share: float = 0.2
    conformers: int = 3
    first_walk: str = "auto"
    seed: int = 0
    executor: str = "local"
    workers: int | None = None
    dry_run: bool = False


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
    """A reader with checks of its own, of statements in its files for example.

    What holds for any dataset (geometries, labels, minima, separation) the suite checks itself.
    """

    def check(self) -> list[str]:
        """Return one line for each problem; a file that cannot be read is one, too."""
        ...


@runtime_checkable
class DatasetBuilds(Protocol):
    """A reader that can make its dataset again from its sources."""

    def build(self, output: Path) -> None:
        """Build it in a folder; called again after an interruption, go on.

        Raises:
            golfbench.errors.GolfbenchError: If a source is missing or an engine fails.
        """
        ...
