"""The label gate: real labels pass, impossible ones do not."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

from golfbench.molecules import Molecule
from golfbench.oracles.gate import ENERGY_PER_ATOM, NET_FORCE, Gate
from golfbench.specs import OracleSpec

SPEC = OracleSpec(name="x", factory="m:f", summary="", method="X", refused_engines=r"x 1\.4(\.0|a.*)?")
WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0.1], [0, 0.76, -0.47], [0, -0.76, -0.47]]))
FORCES = np.array([[0.0, 0.0, 0.02], [0.0, 0.01, -0.01], [0.0, -0.01, -0.01]])


def objection(energy: float = -76.3, forces: np.ndarray = FORCES, engine: str = "x 1.5", **references: float) -> str:
    gate = Gate()
    if references:
        gate.expect("X", {8: references["oxygen"], 1: references["hydrogen"]})
    return gate.objection(SPEC, "X", WATER, energy, forces, engine)


def test_a_sound_label_passes() -> None:
    assert objection() == ""
    assert objection(oxygen=-75.0, hydrogen=-0.5) == ""


@pytest.mark.parametrize("energy", [np.nan, np.inf])
def test_numbers_must_be_finite(energy: float) -> None:
    assert objection(energy) == "the energy or the forces are not finite"
    broken = FORCES.copy()
    broken[1, 2] = energy
    assert objection(forces=broken) == "the energy or the forces are not finite"


def test_forces_have_the_shape_of_the_molecule_and_add_up_to_zero() -> None:
    assert objection(forces=FORCES[:2]) == "the forces have the shape (2, 3)"
    assert objection(forces=FORCES + np.array([0, 0, 0.9 * NET_FORCE / 3])) == ""
    pushed = FORCES + np.array([0, 0, 1.1 * NET_FORCE / 3])
    assert objection(forces=pushed) == "the forces add up to 0.022 Hartree/Å, not to zero"


def test_forces_do_not_turn_the_molecule() -> None:
    """In the order of other atoms, or in a frame that the engine has turned, they add up to zero all the same."""
    forces = np.array([[0.0, 0.0, 0.2], [0.0, 0.1, -0.1], [0.0, -0.1, -0.1]])
    assert objection(forces=forces) == ""
    for wrong in (forces[[1, 2, 0]], forces[:, [0, 2, 1]] @ np.diag([1, -1, 1])):
        assert np.abs(wrong.sum(axis=0)).max() < 1e-12
        assert objection(forces=wrong).startswith("the forces turn the molecule (torque 0.")


def test_an_energy_is_near_the_sum_of_its_atoms() -> None:
    # the wrong energies in SPICE were 79 Hartree too low, those in eV are 27 times too large
    for wrong in (-79.9, -72.5, -76.3 * 27.2):
        assert objection(wrong) == ""  # nobody knows what to expect
        assert "Hartree per atom away" in objection(wrong, oxygen=-75.0, hydrogen=-0.5)
    edge = -76.0 - 3 * ENERGY_PER_ATOM
    assert objection(edge + 1e-9, oxygen=-75.0, hydrogen=-0.5) == ""
    assert "-1 Hartree per atom" in objection(edge - 1e-3, oxygen=-75.0, hydrogen=-0.5)


def test_an_element_without_a_reference_is_not_judged() -> None:
    gate = Gate()
    gate.expect("X", {8: -75.0})
    assert gate.objection(SPEC, "X", WATER, 1e6, FORCES, "x 1.5") == ""


@pytest.mark.parametrize(("engine", "refused"), [("x 1.4", 1), ("x 1.4.0", 1), ("x 1.4a3", 1), ("x 1.4.1", 0)])
def test_engines_known_to_be_wrong_are_refused(engine: str, refused: bool) -> None:
    expected = f"{engine} is known to give wrong labels" if refused else ""
    assert objection(engine=engine) == expected


def test_real_labels_of_the_genuine_oracle_pass() -> None:
    folder = os.environ.get("GOLFBENCH_REFERENCE_DATA")
    if not folder:
        pytest.skip("GOLFBENCH_REFERENCE_DATA is not set")
    rows = list(connect(str(Path(folder) / "nabladft-sample.db")).select())
    numbers = [row.numbers for row in rows]
    elements = sorted({int(z) for row in numbers for z in row})
    counts = np.array([[np.count_nonzero(row == z) for z in elements] for row in numbers])
    energies = np.array([float(row.data["energy"][0]) for row in rows])
    gate = Gate()
    gate.expect("X", dict(zip(elements, np.linalg.lstsq(counts, energies, rcond=None)[0], strict=True)))
    for row, energy in zip(rows, energies, strict=True):
        forces = np.array(row.data["forces"]).reshape(-1, 3)
        assert gate.objection(SPEC, "X", Molecule("x", row.numbers, row.positions), energy, forces, "x 1.5") == ""
    assert len(rows) == 50
