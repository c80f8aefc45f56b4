"""Readers of molecules that others collected, to test on molecules from outside the suite.

They have no training set: that of a shipped dataset at the same level of theory is used. Files are read from the user's
checkout of the repository. Molecules whose geometry is not that of their SMILES are left out, and named.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read as read_atoms

from golfbench.contracts import Dataset, Label, TestMolecule
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecules import check_molecule
from golfbench.seeds import derived
from golfbench_datasets.atom_order import in_order
from golfbench_datasets.files import content_hash
from golfbench_datasets.loading import data_folder
from golfbench_datasets.reader import FolderReader

METHOD = "GFN2-xTB"
#: Å, standard deviation of each coordinate: how far a start is from the minimum that it is made of.
DISPLACEMENT = 0.05
NO_MINIMA = (
    "its geometries are no minima: at B3LYP/6-311G** the largest force on an atom is 0.031 Hartree/bohr on average and "
    "at least 0.012 (issue 1 of its repository); they are starts, and the oracle finds the minima"
)
log = logging.getLogger(__name__)


@dataclass
class _Found:
    """What was read, and what was left out, by its reason."""

    test: list[TestMolecule] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)

    def add(self, id: str, smiles: str, atoms: Atoms, energy: float | None = None) -> None:
        """Add a molecule, at a minimum with this energy (Hartree), which its start is near, or somewhere."""
        try:
            molecule, _ = in_order(id, smiles, np.asarray(atoms.numbers, dtype=np.int64), atoms.positions)
            check_molecule(molecule, owner="the oracle")
        except MoleculeError as error:
            self.left_out.append(str(error))
            return
        if molecule.smiles != smiles:
            self.renamed.append(f"{id}: its geometry is another stereoisomer than its SMILES: {molecule.smiles}")
        if energy is None:
            self.test.append(TestMolecule(molecule))
        else:
            minimum = Label(energy, np.full(molecule.positions.shape, np.nan), METHOD)
            away = derived(0, "displacement", id).normal(0.0, DISPLACEMENT, molecule.positions.shape)
            self.test.append(TestMolecule(molecule.at(molecule.positions + away), None, molecule.positions, minimum))

    def dataset(self, name: str, path: Path, train: str) -> Dataset:
        """Return the dataset, and tell what is not in it.

        Raises:
            ConfigurationError: If nothing is in it.
        """
        if not self.test:
            raise ConfigurationError(
                f"{name}: no molecule could be read in {path}; {(self.left_out or ['none there'])[0]}"
            )
        for kind, lines in (("left out", self.left_out), ("of another stereochemistry", self.renamed)):
            if lines:
                log.warning("%s: %d %s (golfbench datasets check): %s", name, len(lines), kind, lines[0])
        initial = FolderReader(data_folder(train)).read().initial
        return Dataset(name, METHOD, initial, self.test, content_hash(METHOD, initial, self.test))


@dataclass(frozen=True, slots=True)
class MpconfReader:
    """Reads MPCONF196GEN (see ``contracts.DatasetReader``): ``SMILES.txt``, ``data/ID.xyz``, CREST's ensembles.

    Attributes:
        path: A checkout of the repository.
        starts: ``input``, what CREST began from, or ``crest``, near its minima, which are the references then.
        conformers: Minima of each molecule.
        train: Whose initial set is learned from.
    """

    path: Path
    starts: str
    conformers: int
    train: str

    def read(self) -> Dataset:
        """Read the molecules.

        Raises:
            ConfigurationError: If a file is missing or is not what it should be.
        """
        return self._found().dataset("mpconf196gen", self.path, self.train)

    def check(self) -> list[str]:
        """Return what is wrong; with labels recomputed, the suite checks CREST's minima."""
        found = self._found()
        return [*found.left_out, *found.renamed]

    def _found(self) -> _Found:
        found = _Found()
        for smiles, name in self._molecules():
            if self.starts == "input":
                folders = [self.path / folder / f"{name}.xyz" for folder in ("data", "MPCONF196_data")]
                frames = _frames(next((file for file in folders if file.is_file()), folders[0]))
                found.add(f"{name}/0", smiles, frames[0])
                continue
            file = self.path / "molecules" / name / "crest_conformers.xyz"
            frames, energies = _frames(file), _energies(file)
            for k in np.unique(np.linspace(0, len(frames) - 1, min(self.conformers, len(frames))).round().astype(int)):
                found.add(f"{name}/{k}", smiles, frames[k], energies[k])
        return found

    def _molecules(self) -> Iterator[tuple[str, str]]:
        """Yield SMILES and name of each molecule."""
        file = self.path / "SMILES.txt"
        rows = list(csv.DictReader(_lines(file), delimiter="\t"))
        if not rows or not {"SMILES", "molecule_id"} <= rows[0].keys():
            raise ConfigurationError(f"{file} has no table of rotatable_bonds, SMILES and molecule_id")
        yield from ((str(row["SMILES"]), str(row["molecule_id"])) for row in rows)


@dataclass(frozen=True, slots=True)
class ConformersReader:
    """Reads the conformer benchmark (see ``contracts.DatasetReader``): ``geometries/*/NAME/rmsdN-opt.xyz``.

    Attributes:
        path: A checkout of the repository.
        conformers: Of each molecule, the first by number.
        train: Whose initial set is learned from.
    """

    path: Path
    conformers: int
    train: str

    def read(self) -> Dataset:
        """Read the molecules.

        Raises:
            ConfigurationError: If a file is missing or is not what it should be.
        """
        return self._found().dataset("conformer-benchmark", self.path, self.train)

    def check(self) -> list[str]:
        """Return what is wrong, first of all that there are no minima."""
        found = self._found()
        return [NO_MINIMA, *found.left_out, *found.renamed]

    def _found(self) -> _Found:
        found = _Found()
        smiles = self._smiles()
        for folder in sorted(folder for folder in self.path.glob("geometries/*/*") if folder.is_dir()):
            if folder.name not in smiles:
                found.left_out.append(f"{folder.name}: SMILES/molecules.smi has no SMILES of it")
                continue
            files = sorted(folder.glob("*-opt.xyz"), key=_number)
            for file in files[: self.conformers]:
                found.add(f"{folder.name}/{_number(file)}", smiles[folder.name], _frames(file)[0])
        return found

    def _smiles(self) -> dict[str, str]:
        """Return the SMILES by the molecule's name; some lines have a blank between them, most a tab."""
        pairs = [line.split() for line in _lines(self.path / "SMILES" / "molecules.smi") if line.strip()]
        return {pair[1]: pair[0] for pair in pairs if len(pair) > 1}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _frames(file: Path) -> list[Atoms]:
    """Return the geometries of a plain XYZ file."""
    try:
        found: Any = read_atoms(file, index=":", format="xyz")
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ConfigurationError(f"{file} is not a readable XYZ file ({str(error).splitlines()[0]})") from None
    if not found:
        raise ConfigurationError(f"{file} is empty")
    return list(found)


def _energies(file: Path) -> list[float]:
    """Return the energies (Hartree) that stand alone in the comment lines of an XYZ file."""
    lines, energies, at = _lines(file), [], 0
    try:
        while at < len(lines) and lines[at].strip():
            energies.append(float(lines[at + 1]))
            at += int(lines[at]) + 2
    except (ValueError, IndexError):
        raise ConfigurationError(f"{file}, line {at + 2}: no energy stands there") from None
    return energies


def _number(file: Path) -> int:
    digits = "".join(filter(str.isdecimal, file.name.partition("-")[0]))
    return int(digits) if digits else 0


def open_mpconf(path: str | None, starts: str, conformers: int, train: str) -> MpconfReader:
    """Open MPCONF196GEN."""
    return MpconfReader(_checkout("mpconf196gen", path), starts, conformers, train)


def open_conformers(path: str | None, conformers: int, train: str) -> ConformersReader:
    """Open the conformer benchmark."""
    return ConformersReader(_checkout("conformer-benchmark", path), conformers, train)


def _checkout(name: str, path: str | None) -> Path:
    """Return the folder of a repository.

    Raises:
        ConfigurationError: If there is none.
    """
    if path is None:
        raise ConfigurationError(f"{name}: where is it? Write {name}:path=DIRECTORY, a checkout of its repository")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"{name}: {path} is not a folder")
    return folder
