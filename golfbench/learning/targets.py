"""What a network learns: label minus bases minus references, in units of the forces of the training set.

Bases are asked once for each label. One that is an engine is an ``OracleModel`` over the oracle service: its labels are
counted (purpose ``base``), kept with the run, and looked up when the run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from golfbench.batches import make_batch
from golfbench.contracts import FloatArray, LabelledMolecule, Model, device_of
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.learning.settings import FORCE_NORM_GUARD
from golfbench.molecules import Molecule
from golfbench.training_sets import is_large, sample

IntArray = npt.NDArray[np.int64]
#: Labels whose bases are asked for together: as many engine calls wait in the queue of the service.
_TOGETHER = 256


#: Atomic numbers, and how many atoms there are of each.
Composition = tuple[IntArray, IntArray]


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of a label when the bases are taken away.

    Attributes:
        molecule: The geometry.
        energy: Hartree.
        forces: (n_atoms, 3), Hartree/Å.
    """

    molecule: Molecule
    energy: float
    forces: FloatArray

    @property
    def norm(self) -> float:
        """Frobenius norm of the forces, Hartree/Å."""
        return float(np.linalg.norm(self.forces))


def remainders(labels: Sequence[LabelledMolecule], bases: Sequence[Model]) -> Iterator[Remainder]:
    """Yield what is left of each label, in order.

    Raises:
        ConfigurationError: If a base cannot evaluate a molecule; it is named.
    """
    if not bases:
        yield from (Remainder(item.molecule, item.label.energy, item.label.forces) for item in labels)
        return
    rows = iter(labels)
    while group := list(islice(rows, _TOGETHER)):
        yield from _without_bases(group, bases)


def _without_bases(labels: Sequence[LabelledMolecule], bases: Sequence[Model]) -> list[Remainder]:
    molecules = [item.molecule for item in labels]
    left = [(item.label.energy, item.label.forces) for item in labels]
    edges = np.cumsum([0, *map(len, molecules)])
    for base in bases:
        part = base.energy_forces(make_batch(molecules, base.cutoff, device_of(base)))
        for row, error in sorted(part.errors.items()):
            raise ConfigurationError(f"{molecules[row].id}: the delta model cannot evaluate it: {error}")
        energies, forces = part.energies.tolist(), part.forces.cpu().numpy()
        left = [
            (energy - energies[row], of_label - forces[edges[row] : edges[row + 1]])
            for row, (energy, of_label) in enumerate(left)
        ]
    return [Remainder(m, energy, forces) for m, (energy, forces) in zip(molecules, left, strict=True)]


@dataclass(frozen=True, slots=True)
class InitialSet:
    """D_0, ready to be learned from.

    Attributes:
        rows: What is left of the labels; the labels themselves where they are too many for memory.
        bases: What was taken away.
        references: Energy (Hartree) by atomic number.
        scale: Hartree, and Hartree/Å for forces, per unit of a network's output.
    """

    rows: Sequence[Remainder] | Sequence[LabelledMolecule]
    bases: Sequence[Model]
    references: Mapping[int, float]
    scale: float

    @classmethod
    def of(
        cls, labels: Sequence[LabelledMolecule], bases: Sequence[Model], atom_energies: Mapping[int, float]
    ) -> InitialSet:
        """Subtract the bases from the labels, and fit references and scale: of a large set, to a sample of it.

        Args:
            labels: D_0.
            bases: Fixed models.
            atom_energies: The dataset's reference energies of whole labels, or empty.

        Raises:
            NothingToDoError: As ``fit_references``.
            ConfigurationError: As ``fit_references`` and ``remainders``.
        """
        rows = list(remainders(sample(labels), bases))
        references, scale = fit_references(rows, {} if bases else atom_energies)
        return cls(labels if is_large(labels) else rows, bases, references, scale)


def fit_references(
    rows: Sequence[Remainder],
    given: Mapping[int, float],
    guard: float = FORCE_NORM_GUARD,
) -> tuple[dict[int, float], float]:
    """Return reference energies (Hartree) by atomic number and the output scale (Hartree/Å) of a training set.

    References come from the dataset where it has them (for every element that occurs), else from least squares of the
    energies on the composition. The scale is the root mean square component of the forces. Rows beyond the guard (see
    ``settings.FORCE_NORM_GUARD``) take part in neither. One pass, in memory that does not grow with the rows.

    Args:
        rows: What is left of the labels.
        given: The dataset's reference energies: of labels without a base, of no others.
        guard: Largest Frobenius norm of the forces, Hartree/Å.

    Raises:
        NothingToDoError: If the training set is empty, or no row is within the guard.
        ConfigurationError: If an element has no reference.
    """
    if not rows:
        raise NothingToDoError("the initial training set is empty")
    seen = _Sums()
    for row in rows:
        # MMFF94 forces have no bound where three bonded atoms are nearly in line: one such row would set the scale.
        if row.norm <= guard:
            seen.add(row)
    if not seen.components:
        raise NothingToDoError(f"no label of the initial training set has forces within {guard} Hartree/Å")
    elements = seen.elements()
    scale = float(np.sqrt(seen.squares / seen.components))
    if given:
        if missing := sorted(set(elements) - set(given)):
            raise ConfigurationError(f"no reference energy for {', '.join(chemical_symbols[z] for z in missing)}")
        return {z: float(e) for z, e in given.items()}, scale
    return dict(zip(elements, least_squares(seen.compositions, seen.energies, elements), strict=True)), scale


class _Sums:
    """What references and scale need of the rows."""

    def __init__(self) -> None:
        self.squares, self.components = 0.0, 0
        self.compositions: list[Composition] = []
        self.energies: list[float] = []

    def add(self, row: Remainder) -> None:
        self.squares += float(np.square(row.forces).sum())
        self.components += row.forces.size
        self.compositions.append(composition(row.molecule))
        self.energies.append(row.energy)

    def elements(self) -> list[int]:
        return sorted({int(z) for numbers, _ in self.compositions for z in numbers})


def composition(molecule: Molecule) -> Composition:
    """Return the atomic numbers that occur in a molecule, and how many atoms it has of each."""
    numbers, counts = np.unique(molecule.numbers, return_counts=True)
    return numbers.astype(np.int64), counts.astype(np.int64)


def corrected(
    known: Mapping[int, float], compositions: Sequence[Composition], lacking: Sequence[float]
) -> dict[int, float]:
    """Return reference energies with the smallest correction that explains best what they lack of the labels.

    Args:
        known: Energy by atomic number; 0 for others. Elements that do not occur in the labels keep theirs.
        compositions: Of the labelled molecules.
        lacking: Energy that each label has beyond the potential with these references.
    """
    elements = sorted({int(z) for numbers, _ in compositions for z in numbers})
    correction = least_squares(compositions, lacking, elements)
    return {**known, **{z: known.get(z, 0.0) + c for z, c in zip(elements, correction, strict=True)}}


def least_squares(
    compositions: Sequence[Composition], energies: Sequence[float], elements: Sequence[int]
) -> list[float]:
    """Return the energy per element that explains the energies best; of equally good ones, the smallest.

    Args:
        compositions: Atomic numbers of each molecule, and how many atoms it has of each.
        energies: Of each molecule.
        elements: In the order of the result.
    """
    column = {z: k for k, z in enumerate(elements)}
    counts = np.zeros((len(energies), len(elements)))
    for row, (numbers, many) in zip(counts, compositions, strict=True):
        row[[column[int(z)] for z in numbers]] = many
    solution: list[float] = np.linalg.lstsq(counts, np.array(energies), rcond=None)[0].tolist()
    return solution
