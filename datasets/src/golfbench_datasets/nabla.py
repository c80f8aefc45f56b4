"""Readers of the data of the GOLF paper (Tsypin et al., arXiv 2311.06295) and of nabla2DFT (arXiv 2406.14347)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from golfbench.contracts import Dataset, LabelledMolecule, TestMolecule
from golfbench.errors import ConfigurationError
from golfbench.specs import DataFile
from golfbench.store import required_data
from golfbench.training_sets import is_large
from golfbench_datasets.catalogue import GOLF_FILES, METHOD, NABLA2_FILES
from golfbench_datasets.files import content_hash
from golfbench_datasets.joined import Joined
from golfbench_datasets.labels_in_file import LabelsInFile
from golfbench_datasets.published import FIRST, Energies, PublishedRows

#: A walk of the data ends at a minimum where no atom has more force than this, Hartree/Å: Psi4 stops at 0.0003
#: Hartree/bohr of root mean square and 0.00045 at most, which is 0.0009 Hartree/Å.
AT_REST = 0.002


@dataclass(frozen=True, slots=True)
class NablaReader:
    """Reads databases of the paper or of nabla2DFT (see ``contracts.DatasetReader``).

    Attributes:
        name: Of the dataset.
        training: Files of the training set.
        test: The file of the test part.
        energies: What kind of energies the files have.
        folder: Where they lie, if not in the store.
    """

    name: str
    training: Sequence[DataFile]
    test: DataFile
    energies: Energies
    folder: Path | None = None

    def read(self) -> Dataset:
        """Open the training set, without reading all of it if it is large, and read the test part.

        Raises:
            ComponentMissingError: If a file was not fetched.
            ConfigurationError: If a file is not what it is declared to be, or a row cannot be right.
        """
        *training, test = required_data(self.name, [*self.training, self.test], self.folder)
        opened = [self._open(path, file) for path, file in zip(training, self.training, strict=True)]
        labels: Sequence[LabelledMolecule] = Joined([part for part, _ in opened])
        initial = labels if is_large(labels) else list(labels)
        in_test, rows = self._open(test, self.test)
        starts = _walks(in_test, rows) if rows.walks else [rows.tested(row) for row in in_test.rows()]
        references = opened[0][1].references
        _check_references(references, [rows, *(rows for _, rows in opened)])
        return Dataset(
            name=self.name,
            method=METHOD,
            initial=initial,
            test=starts,
            content_hash=content_hash(METHOD, initial, starts),
            atom_energies=dict(references),
        )

    def _open(self, path: Path, file: DataFile) -> tuple[LabelsInFile, PublishedRows]:
        rows = PublishedRows(path, METHOD, self.energies, walks="traj" in file.split)
        labels = LabelsInFile(path, METHOD, rows)
        rows.prove(list(labels.rows(FIRST)))
        return labels, rows

    def check(self) -> list[str]:
        """Read every row, and return one line for each thing that is wrong.

        Raises:
            ComponentMissingError: If a file was not fetched.
        """
        problems = [*self._refused_rows()]
        try:
            self.read()
        except ConfigurationError as error:
            problems.append(str(error))
        return [*dict.fromkeys(problems)]

    def _refused_rows(self) -> Iterator[str]:
        """Yield one line for each row that cannot be right, or one for a file that cannot be read."""
        files = [*self.training, self.test]
        for path, file in zip(required_data(self.name, files, self.folder), files, strict=True):
            try:
                labels, rows = self._open(path, file)
            except ConfigurationError as error:
                yield str(error)
                continue
            read = rows.tested if file == self.test else rows.labelled
            for row in labels.rows():
                try:
                    read(row)
                except ConfigurationError as error:
                    yield str(error)


def _walks(labels: LabelsInFile, rows: PublishedRows) -> list[TestMolecule]:
    """Return the start of each walk, and its end if that is a minimum; the states between are not read."""
    ends: dict[str, tuple[int, int]] = {}
    for number, name in zip(labels.numbers(), labels.ids(), strict=True):
        walk = name.rpartition("@")[0]
        ends[walk] = (ends.get(walk, (number,))[0], number)
    found = []
    for walk, (first, last) in ends.items():
        start, end = (rows.labelled(labels.row(number)) for number in (first, last))
        molecule = replace(start.molecule, id=walk)
        at_rest = float(np.linalg.norm(end.label.forces, axis=1).max()) < AT_REST
        if at_rest and end.label.energy < start.label.energy:
            found.append(TestMolecule(molecule, start.label, end.molecule.positions, end.label))
        else:
            found.append(TestMolecule(molecule, start.label))
    return found


def _check_references(known: dict[int, float], files: Sequence[PublishedRows]) -> None:
    """Refuse files whose free atoms differ: they are of other levels of theory.

    Raises:
        ConfigurationError: With the file.
    """
    for rows in files:
        for number, energy in rows.references.items():
            if abs(known.get(number, energy) - energy) > 1e-6:
                raise ConfigurationError(f"{rows.path}: its atomrefs are not those of the other files of the dataset")


def check_total(path: Path) -> None:
    """Refuse a file without total energies; see ``_check_file``."""
    _check_file(path, "total")


def check_formation(path: Path) -> None:
    """Refuse a file without formation energies; see ``_check_file``."""
    _check_file(path, "formation")


def _check_file(path: Path, energies: Energies) -> None:
    """Check the first rows of a file that was fetched.

    Raises:
        ConfigurationError: If it is no such file.
    """
    rows = PublishedRows(path, METHOD, energies)
    first = list(LabelsInFile(path, METHOD, rows).rows(FIRST))
    rows.prove(first)
    for row in first:
        rows.tested(row)


def open_golf(train: str, path: str | None, energies: Energies) -> NablaReader:
    """Open the data of the GOLF paper."""
    files = {file.split: file for file in GOLF_FILES}
    training = [files["d0"], *([] if train == "d0" else [files[train]])]
    return NablaReader("nabladft-golf", training, files["test"], energies, _folder(path))


def open_nabla2(train: str, test: str, path: str | None, energies: Energies) -> NablaReader:
    """Open nabla2DFT."""
    files = {file.split: file for file in NABLA2_FILES}
    return NablaReader("nabla2dft", [files[train]], files[test], energies, _folder(path))


def _folder(path: str | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
