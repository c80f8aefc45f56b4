"""Reader of SPICE (Eastman et al., 10.1038/s41597-022-01882-6): one HDF5 file, a group for each molecule.

Positions are in bohr, gradients in Hartree/bohr, and the SMILES has a number for each atom. Conformations are read on
demand; the index of the molecules is read when the file is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.contracts import Dataset, FloatArray, Label, LabelledMolecule, TestMolecule
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecules import Molecule, check_molecule
from golfbench.store import required_data
from golfbench.training_sets import Part, is_large
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_datasets.atom_order import IntArray, in_order
from golfbench_datasets.catalogue import SPICE_FILES, SPICE_METHOD
from golfbench_datasets.files import content_hash
from golfbench_datasets.published import BONDS, FIRST, label_fault

#: One molecule in so many is in the test part.
TEST_SHARE = 100
#: What the file says of its units, where it says it.
UNITS = {"conformations": "bohr", "dft_total_energy": "hartree", "dft_total_gradient": "hartree/bohr"}
_DATA = (*UNITS, "formation_energy", "atomic_numbers", "smiles", "subset")


@dataclass(frozen=True, slots=True)
class SpiceReader:
    """Reads SPICE (see ``contracts.DatasetReader``).

    Attributes:
        subset: What the name of the subset of a molecule contains; empty for all.
        folder: Where the file lies, if not in the store.
    """

    subset: str = ""
    folder: Path | None = None

    def read(self) -> Dataset:
        """Read the index, the labels if they are few, and one start for each test molecule.

        Raises:
            ComponentMissingError: If the file was not fetched.
            ConfigurationError: If it cannot be read, or is not what it should be.
        """
        (path,) = required_data("spice", SPICE_FILES, self.folder)
        file = SpiceFile(path)
        groups = file.groups(self.subset)
        if len(groups) < 2:
            raise ConfigurationError(f"{path}: {len(groups)} molecules in subset '{self.subset}', at least 2 needed")
        by_hash = sorted(groups, key=lambda name: sha256(file.smiles(name).encode()).digest())
        in_test = set(by_hash[: max(1, len(groups) // TEST_SHARE)])
        labels = SpiceLabels(file, [name for name in groups if name not in in_test])
        file.prove([name for name in groups if name not in in_test][:FIRST])
        first = [file.labelled(name, 0) for name in groups if name in in_test]
        test = [TestMolecule(item.molecule, item.label) for item in first]
        initial: Sequence[LabelledMolecule] = labels if is_large(labels) else list(labels)
        return Dataset("spice", SPICE_METHOD, initial, test, content_hash(SPICE_METHOD, initial, test))


class SpiceFile:
    """An open file.

    Args:
        path: The file.

    Raises:
        ConfigurationError: If it is no HDF5 file, or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise ConfigurationError(f"{path} is not a readable HDF5 file ({error})") from None
        self._order = lru_cache(1024)(self._ordered)

    def groups(self, subset: str = "") -> list[str]:
        """Return the names of the molecules of a subset.

        Raises:
            ConfigurationError: If something else is in the file.
        """
        return [name for name in self._file if subset.lower() in self._text(name, "subset").lower()]

    def count(self, name: str) -> int:
        """Return how many conformations a molecule has."""
        return int(self._data(name, "conformations").shape[0])

    def smiles(self, name: str) -> str:
        """Return the SMILES of a molecule with the numbers of its atoms."""
        return self._text(name, "smiles")

    def prove(self, names: Sequence[str]) -> None:
        """Check the units and the kind of the energies on the first conformation of some molecules.

        Raises:
            ConfigurationError: With the numbers.
        """
        for name in names:
            for data, unit in UNITS.items():
                if (told := self._data(name, data).attrs.get("units", unit)) != unit:
                    raise ConfigurationError(f"{self.path}, {name}: {data} must be in {unit}; the file says {told}")
        formed = [float(self._data(n, "formation_energy")[0]) / len(self._data(n, "atomic_numbers")) for n in names]
        total = [float(self._data(n, "dft_total_energy")[0]) / len(self._data(n, "atomic_numbers")) for n in names]
        formation, whole = float(np.median(formed)), float(np.median(total))
        if not BONDS[0] < formation < BONDS[1] or whole > formation - 0.45:  # a hydrogen atom has -0.5
            raise ConfigurationError(
                f"{self.path}: formation energies of {formation:.3g} and total energies of {whole:.3g} Hartree an atom "
                f"in its first {len(names)} molecules: are they in another unit?"
            )

    def labelled(self, name: str, conformation: int) -> LabelledMolecule:
        """Return a conformation with its label: total energy and forces.

        Raises:
            ConfigurationError: If it cannot be right; it is named.
        """
        place = f"{self.path}, {name}, conformation {conformation}"
        try:
            molecule, order = self._order(name)
            positions = self._row(name, "conformations", conformation) * BOHR_TO_ANGSTROM
            forces = -self._row(name, "dft_total_gradient", conformation) / BOHR_TO_ANGSTROM
            energy = float(self._row(name, "dft_total_energy", conformation))
            found = replace(molecule, id=f"{name}/{conformation}", positions=positions[order])
            check_molecule(found, owner=self.path.name)
        except (MoleculeError, OSError, ValueError, IndexError) as error:
            raise ConfigurationError(f"{place}: {error}") from None
        label = Label(energy, forces[order], SPICE_METHOD)
        if fault := label_fault(found, label):
            raise ConfigurationError(f"{place}: {fault}")
        return LabelledMolecule(found, label)

    def _ordered(self, name: str) -> tuple[Molecule, IntArray]:
        """Return the first conformation of a molecule, and the order of its atoms in the file."""
        numbers = np.asarray(self._data(name, "atomic_numbers")[:], dtype=np.int64)
        positions = self._row(name, "conformations", 0) * BOHR_TO_ANGSTROM
        smiles, bonded = _unmapped(self.smiles(name))
        if [atom.GetAtomicNum() for atom in bonded.GetAtoms()] != numbers.tolist():
            raise MoleculeError(f"its atoms are not those of its SMILES '{smiles}'")
        return in_order(name, smiles, numbers, positions, bonded)

    def _row(self, name: str, data: str, index: int) -> FloatArray:
        return np.asarray(self._data(name, data)[index], dtype=np.float64)

    def _data(self, name: str, data: str) -> Any:
        group = self._file[name]
        if not isinstance(group, h5py.Group) or data not in group:
            raise ConfigurationError(f"{self.path}, {name}: no '{data}'; SPICE has {', '.join(_DATA)}")
        return group[data]

    def _text(self, name: str, data: str) -> str:
        value = np.ravel(self._data(name, data)[()])[0]
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _unmapped(mapped: str) -> tuple[str, Chem.Mol]:
    """Return a SMILES without numbers of atoms, and the molecule with its atoms in the order of the numbers.

    Raises:
        MoleculeError: If it cannot be parsed, or not every atom has a number of its own.
    """
    parameters: Any = Chem.SmilesParserParams()
    parameters.removeHs = False
    with BlockLogs():
        mol = Chem.MolFromSmiles(mapped, parameters)
    if mol is None:
        raise MoleculeError(f"'{mapped}' is not a valid SMILES")
    places = [atom.GetAtomMapNum() for atom in mol.GetAtoms()]
    if sorted(places) != list(range(1, len(places) + 1)):
        raise MoleculeError(f"the SMILES '{mapped}' does not number each atom, hydrogens among them")
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    with BlockLogs():
        smiles = str(Chem.MolToSmiles(Chem.RemoveHs(mol)))
    return smiles, Chem.RenumberAtoms(mol, np.argsort(places).tolist())


class SpiceLabels(Sequence[LabelledMolecule]):
    """The conformations of some molecules, one molecule after the other (see ``contracts.HasRows``, ``HasContents``).

    Args:
        file: The file.
        groups: The molecules.
    """

    def __init__(self, file: SpiceFile, groups: Sequence[str]) -> None:
        self._file, self._groups = file, groups
        self._ends = list(accumulate(file.count(name) for name in groups))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> LabelledMolecule: ...
    @overload
    def __getitem__(self, index: slice) -> Part: ...
    def __getitem__(self, index: int | slice) -> LabelledMolecule | Part:
        if isinstance(index, slice):
            return Part(self, range(*index.indices(len(self))))
        return self._file.labelled(*self._where(index))

    def _where(self, index: int) -> tuple[str, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index % len(self), side="right"))
        return self._groups[number], index % len(self) - (self._ends[number - 1] if number else 0)

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules, in order."""
        counts = np.diff([0, *self._ends]).tolist()
        return [f"{name}/{k}" for name, count in zip(self._groups, counts, strict=True) for k in range(count)]

    def place(self, index: int) -> str:
        """Return the file and the conformation of a label."""
        name, conformation = self._where(index)
        return f"{self._file.path}, {name}, conformation {conformation}"

    def examples(self, most: int) -> Sequence[int]:
        """Return no index: the whole file would have to be read to find an element."""
        return []

    def structures(self, smiles: Collection[str]) -> set[str]:
        """Return which of these SMILES occur."""
        return set(smiles) & {_unmapped(self._file.smiles(name))[0] for name in self._groups}


def check_file(path: Path) -> None:
    """Check the first molecules of a file that was fetched.

    Raises:
        ConfigurationError: If it is no such file.
    """
    file = SpiceFile(path)
    first = file.groups()[:FIRST]
    if not first:
        raise ConfigurationError(f"{path} is empty: it has no molecules")
    file.prove(first)
    for name in first:
        file.labelled(name, 0)


def open_spice(subset: str, path: str | None, version: str) -> SpiceReader:
    """Open SPICE."""
    return SpiceReader("" if subset == "all" else subset, None if path is None else Path(path).expanduser())
