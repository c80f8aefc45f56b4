"""The ASE databases that others published: rows as ``files`` reads them, energies that may be formation energies.

A formation energy is a total energy less the energies of the free atoms, which the metadata of the file hold as
``atomrefs``; labels of the suite are total energies. The kind of a file is declared, and checked on its first rows,
as are its units: bonds contribute some 0.17 Hartree an atom, the atoms themselves a hundred times that. Every row is
checked again when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from ase.db.row import AtomsRow
from ase.db.sqlite import SQLite3Database

from golfbench.chemistry import most_stretched_bond
from golfbench.contracts import Label, LabelledMolecule, TestMolecule
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.gate import energy_objection, label_objection
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL
from golfbench_datasets.files import labelled_of, name_of, open_database, tested_of

Energies = Literal["total", "formation"]
#: Rows by which the kind of energies and the units of a file are checked.
FIRST = 20
#: Hartree per atom that bonds are worth, and what they typically are; 50 rows of nabla2DFT have -0.19 to -0.16.
BONDS, TYPICAL_BONDS = (-0.4, -0.02), -0.17
#: Hartree/Å, root mean square over the components; those rows have 0.045, in eV/Å 1.2.
MOST_FORCE = 0.4
#: Sums of covalent radii: no bond is longer than this. A hydrogen that moved to a neighbour has 1.7.
LONGEST_BOND = 1.8
#: What a Hartree is in units that are often mistaken for it.
UNITS = {"eV": HARTREE_TO_EV, "kcal/mol": HARTREE_TO_KCAL_MOL, "kJ/mol": 4.184 * HARTREE_TO_KCAL_MOL}
_SQLITE, _HEADER_BYTES = b"SQLite format 3\0", 100


@dataclass(frozen=True, slots=True)
class PublishedRows:
    """The rows of a published file (see ``labels_in_file.Rows``).

    Attributes:
        path: The file.
        method: Level of theory of its labels.
        energies: What kind of energies it has.
        walks: Whether rows are states of walks: then several have the same molecule and conformation, and their
            number tells them apart.
        references: Energy (Hartree) of the free atom by atomic number; those of the file, once it is open.
    """

    path: Path
    method: str
    energies: Energies
    walks: bool = False
    references: dict[int, float] = field(default_factory=dict)

    def open(self) -> SQLite3Database:
        """Open the file, if it is whole, and take its reference energies.

        Raises:
            ConfigurationError: If it is cut off, no database, or in other units.
        """
        check_whole(self.path)
        database = open_database(self.path, self.method, must_tell_units=False)
        self.references.update(_references(self.path, database.metadata))
        return database

    def name(self, facts: dict[str, Any], row: int) -> str:
        """Return the id of a row's molecule."""
        return f"{name_of(facts, row)}@{row}" if self.walks else name_of(facts, row)

    def labelled(self, row: AtomsRow) -> LabelledMolecule:
        """Return the molecule of a row with its label, a total energy.

        Raises:
            ConfigurationError: If the row cannot be right; it is named.
        """
        read = labelled_of(row, self.path, self.method)
        molecule = replace(read.molecule, id=self.name(row.key_value_pairs, row.id))
        return LabelledMolecule(molecule, self._total(row, molecule, read.label))

    def tested(self, row: AtomsRow) -> TestMolecule:
        """Return the test molecule of a row; its energies are total energies.

        Raises:
            ConfigurationError: If the row cannot be right; it is named.
        """
        read = tested_of(row, self.path, self.method)
        start = None if read.start is None else self._total(row, read.molecule, read.start)
        minimum = None if read.minimum is None else self._with_atoms(row, read.molecule, read.minimum)
        if minimum and (objection := energy_objection(read.molecule, minimum.energy, self.references)):
            raise self._refused(row, read.molecule, f"its minimum: {objection}")
        return replace(read, start=start, minimum=minimum)

    def _total(self, row: AtomsRow, molecule: Molecule, label: Label) -> Label:
        total = self._with_atoms(row, molecule, label)
        objection = label_fault(molecule, total) or energy_objection(molecule, total.energy, self.references)
        if objection:
            raise self._refused(row, molecule, objection)
        return total

    def _with_atoms(self, row: AtomsRow, molecule: Molecule, label: Label) -> Label:
        """Return a label with the energies of the free atoms in it."""
        if self.energies == "total":
            return label
        atoms = molecule.numbers.tolist()
        if lacking := sorted(set(atoms) - self.references.keys()):
            symbols = ", ".join(chemical_symbols[z] for z in lacking)
            raise self._refused(row, molecule, f"the file's atomrefs have no reference energy of {symbols}")
        return replace(label, energy=label.energy + sum(self.references[z] for z in atoms))

    def _refused(self, row: AtomsRow, molecule: Molecule, reason: str) -> ConfigurationError:
        return ConfigurationError(f"{self.path}, row {row.id}: {molecule.id}: {reason}")

    def prove(self, rows: Sequence[AtomsRow]) -> None:
        """Check the kind of energies, and the units of energies and forces, on rows that have them.

        Raises:
            ConfigurationError: With the numbers, and what the file has instead.
        """
        read = [tested_of(row, self.path, self.method) for row in rows]
        known = [(item.molecule, item.start) for item in read if item.start is not None]
        if not known:
            return
        if not self.references:
            raise ConfigurationError(
                f"{self.path}: its metadata have no atomrefs, without which the kind of its energies is not known"
            )
        atoms = [_sum(molecule, self.references) for molecule, _ in known]
        energies = np.array([label.energy for _, label in known])
        sizes = np.array([len(molecule) for molecule, _ in known])
        _prove_energies(self.path, self.energies, energies, np.array(atoms), sizes)
        forces = float(np.median([np.sqrt((label.forces**2).mean()) for _, label in known]))
        if forces > MOST_FORCE:
            raise ConfigurationError(
                f"{self.path}: forces of {forces:.3g} Hartree/Å (root mean square) in its first {len(known)} rows; are "
                "they in eV/Å or kcal/mol/Å?"
            )


def label_fault(molecule: Molecule, label: Label) -> str:
    """Return why a label cannot be that of a molecule, or an empty text: its forces, or its bonds in the geometry."""
    if not label.forces.any():
        return "all its forces are zero"
    if objection := label_objection(molecule, label.energy, label.forces):
        return objection
    if molecule.smiles is not None and (longest := most_stretched_bond(molecule)) > LONGEST_BOND:
        return (
            f"a bond of its SMILES '{molecule.smiles}' is {longest:.1f} times as long as the atoms' radii: are its "
            "atoms in another order?"
        )
    return ""


def _sum(molecule: Molecule, references: Mapping[int, float]) -> float:
    """Return the energies of the free atoms; NaN where one is not known: such a molecule is not checked."""
    return sum(references.get(z, np.nan) for z in molecule.numbers.tolist())


def _prove_energies(path: Path, declared: Energies, energies: np.ndarray, atoms: np.ndarray, sizes: np.ndarray) -> None:
    """Refuse energies that are not of the declared kind, in Hartree.

    Args:
        path: The file.
        declared: The kind.
        energies: (n,) as the file has them.
        atoms: (n,) sums of the energies of the free atoms, Hartree.
        sizes: (n,) numbers of atoms.
    """

    def bonds(kind: Energies, unit: float) -> np.ndarray:
        found = (energies / unit - (atoms if kind == "total" else 0.0)) / sizes
        finite: np.ndarray = found[np.isfinite(found)]
        return finite

    def fits(values: np.ndarray) -> bool:
        return bool(BONDS[0] < np.median(values) < BONDS[1])

    def oddity(values: np.ndarray) -> float:
        """Return how far values are from the usual energy of bonds, and from each other."""
        return abs(float(np.log(np.median(values) / TYPICAL_BONDS))) + 10.0 * float(
            np.std(values) / abs(np.mean(values))
        )

    if np.isnan(atoms).all() or fits(bonds(declared, 1.0)):
        return
    other: Energies = "formation" if declared == "total" else "total"
    if fits(bonds(other, 1.0)):
        why = f"they are {other} energies: write energies={other} if that is right"
    else:
        found = [(kind, unit) for kind in (declared, other) for unit in UNITS if fits(bonds(kind, UNITS[unit]))]
        likely = min(found, key=lambda pair: oddity(bonds(pair[0], UNITS[pair[1]])), default=None)
        off = float(np.median(bonds(declared, 1.0)))
        why = (
            f"they look like {likely[0]} energies in {likely[1]}"
            if likely
            else f"{off:.3g} Hartree an atom for the bonds"
        )
    raise ConfigurationError(
        f"{path}: the energies of its first {len(energies)} rows are no {declared} energies in Hartree: {why}"
    )


def _references(path: Path, metadata: Mapping[str, Any]) -> dict[int, float]:
    """Return the energies of the free atoms; a zero stands for an element without one."""
    try:
        values = [float(value) for value in (metadata.get("atomrefs") or {}).get("energy", ())]
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(f"{path}: its metadata have atomrefs that are no list of energies") from None
    return {z: value for z, value in enumerate(values) if value}


def check_whole(path: Path) -> None:
    """Refuse a file that is no SQLite database, or not all of one.

    Raises:
        ConfigurationError: With what it is instead.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    if not head.startswith(_SQLITE):
        begin = head[:30].decode("ascii", "replace").split("\n")[0] if size else "nothing"
        raise ConfigurationError(f"{path} is no SQLite database: it begins with {begin!r}")
    if size < _HEADER_BYTES:
        raise ConfigurationError(f"{path} is cut off: it has {size} bytes")
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    stated = (65536 if page == 1 else page) * pages
    if head[24:28] == head[92:96] and size < stated:  # else an old version of SQLite did not keep the number of pages
        raise ConfigurationError(f"{path} is cut off: it has {size} of {stated} bytes")
