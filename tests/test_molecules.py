"""Molecules: what is refused and how it is said, exact round trips, the address of a geometry."""

import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule, check_molecule, closest_pair

WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]))


def water(**changes: object) -> Molecule:
    return replace(WATER, **changes)


def moved(row: int, column: int, value: float) -> Molecule:
    positions = WATER.positions.copy()
    positions[row, column] = value
    return WATER.at(positions)


ON_TOP = Molecule("x", np.array([1, 1, 8]), np.array([[0, 0, 0], [5, 0, 0], [5, 0, 0.25]]))


@pytest.mark.parametrize(
    ("molecule", "message"),
    [
        (Molecule("x", np.zeros(0), np.zeros((0, 3))), "x: no atoms"),
        (moved(1, 2, np.nan), "water: coordinates are not finite"),
        (moved(0, 0, np.inf), "water: coordinates are not finite"),
        (moved(2, 1, -np.inf), "water: coordinates are not finite"),
        (water(numbers=[0, 1, 1]), "water: atomic numbers outside 1 to 118"),
        (water(numbers=[119, 1, 1]), "water: atomic numbers outside 1 to 118"),
        (water(numbers=[-8, 1, 1]), "water: atomic numbers outside 1 to 118"),
        (water(numbers=[35, 1, 1]), "water: element Br is outside gfn2-xtb"),
        (water(numbers=[80, 35, 1]), "water: element Br, Hg is outside gfn2-xtb"),
        (water(charge=1), "water: 9 electrons (charge +1) cannot have multiplicity 1"),
        (water(charge=-1), "water: 11 electrons (charge -1) cannot have multiplicity 1"),
        (water(charge=10), "water: 0 electrons (charge +10) cannot have multiplicity 1"),
        (water(multiplicity=2), "water: 10 electrons (charge +0) cannot have multiplicity 2"),
        (water(multiplicity=0), "water: 10 electrons (charge +0) cannot have multiplicity 0"),
        (water(multiplicity=-1), "water: 10 electrons (charge +0) cannot have multiplicity -1"),
        (water(multiplicity=13), "water: 10 electrons (charge +0) cannot have multiplicity 13"),
        (ON_TOP, "x: atoms 1 and 2 overlap (0.250 Å, at least 0.4 Å needed)"),
    ],
)
def test_refusals_say_which_molecule_and_why(molecule: Molecule, message: str) -> None:
    with pytest.raises(MoleculeError) as caught:
        check_molecule(molecule, frozenset({1, 8}), "gfn2-xtb")
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_what_is_sound_passes() -> None:
    check_molecule(WATER)
    check_molecule(WATER, frozenset({1, 8}), "an engine")
    check_molecule(water(charge=1, multiplicity=2))
    check_molecule(water(multiplicity=11))  # ten electrons, all parallel
    check_molecule(Molecule("hydrogen", np.array([1]), np.zeros((1, 3)), multiplicity=2))
    check_molecule(Molecule("oganesson", np.array([118]), np.zeros((1, 3))))
    check_molecule(Molecule("touching", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.4]])))


def test_numbers_and_positions_must_fit() -> None:
    with pytest.raises(MoleculeError, match=r"x: numbers \(2,\) and positions \(3, 3\) do not fit together"):
        Molecule("x", np.array([1, 1]), np.zeros((3, 3)))
    with pytest.raises(MoleculeError, match="do not fit"):
        WATER.at(np.zeros((2, 3)))


def test_closest_pair() -> None:
    distance, i, j = closest_pair(WATER.positions)
    assert distance == pytest.approx(np.hypot(0.7572, 0.5865), abs=1e-12)
    assert (i, j) == (0, 1)
    assert closest_pair(np.zeros((1, 3))) == (float("inf"), 0, 0)


def test_json_round_trip_is_exact() -> None:
    rng = np.random.default_rng(3)
    awkward = np.concatenate([rng.normal(size=(7, 3)) * 10.0 ** rng.integers(-300, 300, (7, 3)), [[0.1, -0.0, 5e-324]]])
    molecule = Molecule("Å/0", np.arange(1, 9), awkward, charge=-2, multiplicity=3, smiles="C#N")
    again = Molecule.from_json(json.loads(json.dumps(molecule.to_json())))
    assert again.positions.tobytes() == molecule.positions.tobytes()
    assert again.numbers.tolist() == molecule.numbers.tolist()
    assert again.numbers.dtype == np.int64
    assert (again.id, again.charge, again.multiplicity, again.smiles) == ("Å/0", -2, 3, "C#N")
    assert again.geometry_hash() == molecule.geometry_hash()


def test_at_copies() -> None:
    positions = WATER.positions.copy()
    other = WATER.at(positions)
    positions[:] = 7.0
    assert other.positions.tobytes() == WATER.positions.tobytes()


def test_address_of_a_geometry_is_fixed_for_ever() -> None:
    # stores of labels outlive versions of this package
    packed = struct.pack("<3q9d", *WATER.numbers, *WATER.positions.ravel()) + b"0/1"
    assert WATER.geometry_hash() == hashlib.sha256(packed).hexdigest()
    assert WATER.geometry_hash() == "4df1baf6eb9e3344e88cd5ecc4447fab24cc74d7db8a676c01ef3c784e7d85b8"


def test_address_depends_on_the_geometry_and_the_electrons_alone() -> None:
    address = WATER.geometry_hash()
    assert moved(0, 0, -0.0).geometry_hash() == address
    assert water(id="other", smiles="O").geometry_hash() == address
    assert water(positions=np.asfortranarray(WATER.positions)).geometry_hash() == address
    assert water(numbers=WATER.numbers.astype(np.int32)).geometry_hash() == address
    changed = [
        water(charge=2),
        water(multiplicity=3),
        water(charge=1, multiplicity=2),
        water(numbers=[8, 1, 9]),
        WATER.at(WATER.positions[[0, 2, 1]]),
        moved(1, 1, np.nextafter(0.7572, 1)),
    ]
    assert len({address, *(m.geometry_hash() for m in changed)}) == 7


def test_nothing_of_a_molecule_needs_torch() -> None:
    code = "import sys, golfbench.molecules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
