"""Molecule: one conformation, and the checks that every engine relies on. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from golfbench.errors import ConfigurationError, MoleculeError

#: Two atoms closer than this (Å) are an overlap: no engine is given such a molecule.
MINIMUM_DISTANCE = 0.4
MAXIMUM_ATOMIC_NUMBER = 118


@dataclass(frozen=True, slots=True, eq=False)
class Molecule:
    """One conformation.

    Attributes:
        id: Its name in records, unique in its dataset.
        numbers: (n_atoms,) int64 atomic numbers.
        positions: (n_atoms, 3) float64, Å.
        charge: Total charge, e.
        multiplicity: 2S + 1.
        smiles: SMILES whose atoms, after adding hydrogens, are in the order of ``numbers``; or ``None``.
    """

    id: str
    numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    charge: int = 0
    multiplicity: int = 1
    smiles: str | None = None

    def __post_init__(self) -> None:
        numbers = np.ascontiguousarray(self.numbers, dtype=np.int64)
        positions = np.ascontiguousarray(self.positions, dtype=np.float64)
        if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
            raise MoleculeError(
                f"{self.id}: numbers {numbers.shape} and positions {positions.shape} do not fit together"
            )
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", positions)

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, positions: npt.ArrayLike) -> Molecule:
        """Return the same molecule at other positions (n_atoms, 3), Å."""
        return replace(self, positions=np.array(positions, dtype=np.float64))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; floats survive the round trip exactly."""
        return {
            "id": self.id,
            "numbers": self.numbers.tolist(),
            "positions_angstrom": self.positions.tolist(),
            "charge": self.charge,
            "multiplicity": self.multiplicity,
            "smiles": self.smiles,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Molecule:
        """Rebuild what ``to_json`` wrote."""
        fields = {key: data[key] for key in ("id", "charge", "multiplicity", "smiles")}
        return cls(numbers=np.array(data["numbers"]), positions=np.array(data["positions_angstrom"]), **fields)

    def geometry_hash(self) -> str:
        """Return SHA-256 over numbers, exact positions, charge and multiplicity: the address of a label."""
        digest = hashlib.sha256(self.numbers.astype("<i8").tobytes())
        digest.update((self.positions + 0.0).astype("<f8").tobytes())  # + 0.0 makes -0.0 and 0.0 the same
        digest.update(f"{self.charge}/{self.multiplicity}".encode())
        return digest.hexdigest()


def group_of(molecule_id: str) -> str:
    """Return the compound of a conformation's id: ``ibuprofen`` of ``ibuprofen/0``."""
    return molecule_id.rsplit("/", 1)[0]


def check_molecule(molecule: Molecule, elements: frozenset[int] | None = None, owner: str = "the engine") -> None:
    """Refuse molecules for which engines return nonsense or crash.

    Args:
        molecule: The molecule.
        elements: Atomic numbers that ``owner`` supports; ``None`` means any.
        owner: The engine or model, for the message.

    Raises:
        MoleculeError: No atoms, NaN or infinite coordinates, an unknown or unsupported element, a number of
            electrons that does not fit the multiplicity, or overlapping atoms.
    """
    if len(molecule) == 0:
        raise MoleculeError(f"{molecule.id}: no atoms")
    if not np.isfinite(molecule.positions).all():
        raise MoleculeError(f"{molecule.id}: coordinates are not finite")
    check_elements(molecule, elements, owner)
    check_electrons(molecule)
    distance, i, j = closest_pair(molecule.positions)
    if distance < MINIMUM_DISTANCE:
        raise MoleculeError(
            f"{molecule.id}: atoms {i} and {j} overlap ({distance:.3f} Å, at least {MINIMUM_DISTANCE} Å needed)"
        )


def check_elements(molecule: Molecule, elements: frozenset[int] | None, owner: str) -> None:
    """Refuse a molecule with an element that does not exist or that ``owner`` does not support.

    Raises:
        MoleculeError: With the symbols.
    """
    from ase.data import chemical_symbols

    present = set(molecule.numbers.tolist())
    if min(present) < 1 or max(present) > MAXIMUM_ATOMIC_NUMBER:
        raise MoleculeError(f"{molecule.id}: atomic numbers outside 1 to {MAXIMUM_ATOMIC_NUMBER}")
    outside = sorted(present - elements) if elements is not None else []
    if outside:
        symbols = ", ".join(chemical_symbols[z] for z in outside)
        raise MoleculeError(f"{molecule.id}: element {symbols} is outside {owner}")


def parse_elements(text: str) -> tuple[int, ...]:
    """Return the atomic numbers of symbols that are separated by blanks, in their order.

    Raises:
        ConfigurationError: If there is none, or one is unknown or comes twice.
    """
    from ase.data import atomic_numbers

    symbols = text.split()
    unknown = [symbol for symbol in symbols if not atomic_numbers.get(symbol)]  # ASE has a number for X: 0
    if unknown or not symbols or len(set(symbols)) < len(symbols):
        reason = f"'{unknown[0]}' is no element" if unknown else "each element once, for example 'H C N O'"
        raise ConfigurationError(f"elements={text}: {reason}")
    return tuple(int(atomic_numbers[symbol]) for symbol in symbols)


def check_electrons(molecule: Molecule, hint: str = "") -> None:
    """Refuse a multiplicity that the number of electrons cannot have.

    Args:
        molecule: The molecule.
        hint: What to do about it, for the message.

    Raises:
        MoleculeError: With the number of electrons.
    """
    electrons = int(molecule.numbers.sum()) - molecule.charge
    unpaired = molecule.multiplicity - 1
    if electrons < 1 or unpaired < 0 or unpaired > electrons or (electrons - unpaired) % 2:
        raise MoleculeError(
            f"{molecule.id}: {electrons} electrons (charge {molecule.charge:+d}) cannot have "
            f"multiplicity {molecule.multiplicity}{hint}"
        )


def closest_pair(positions: npt.NDArray[np.float64]) -> tuple[float, int, int]:
    """Return the smallest distance (Å) between two atoms, and which they are; infinity for one atom."""
    if len(positions) < 2:
        return float("inf"), 0, 0
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    return float(distances[i, j]), int(i), int(j)
