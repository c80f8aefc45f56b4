"""Databases that others published: real rows, and small ones that are made here and damaged in every way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect

from golfbench import training_sets
from golfbench.chemistry import embed
from golfbench.contracts import LabelledMolecule
from golfbench.errors import ComponentMissingError, ConfigurationError, GolfbenchError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec
from golfbench_datasets.catalogue import GOLF_FILES, NABLA2_FILES
from golfbench_datasets.files import PROPERTY_UNITS
from golfbench_datasets.labels_in_file import LabelsInFile

ATOMS = {1: -0.5025, 6: -37.7981, 7: -54.5224, 8: -74.9767, 16: -397.9719}
SMILES = ("CCO", "CC(=O)NC", "c1ccccc1S", "OCC(N)C(=O)O", "CCCCC", "CC#N")
TINY, TEST, WALKS = (
    next(file.name for file in NABLA2_FILES if file.split == split) for split in ("tiny", "test", "test-traj")
)
KCAL, EV = 627.509, 27.2114


def central_forces(positions: np.ndarray, size: float = 0.02) -> np.ndarray:
    """Forces that neither push nor turn: along the lines between the atoms."""
    ways = positions[:, None] - positions[None]
    distances = np.linalg.norm(ways, axis=-1) + np.eye(len(positions))
    return (size * (np.sin(3.0 * distances) / distances)[..., None] * ways).sum(axis=1)


def rows(kind: str = "formation", count: int = 24) -> list[dict]:
    """Rows of a made-up level of theory: a bond energy of 0.17 Hartree an atom."""
    made = []
    for number in range(count):
        smiles = SMILES[number % len(SMILES)]
        molecule = embed(smiles, f"{number}", 1, seed=number + 1)[0]
        energy = -0.17 * len(molecule) + 0.001 * number
        if kind == "total":
            energy += sum(ATOMS[z] for z in molecule.numbers.tolist())
        made.append(
            {
                "numbers": molecule.numbers.copy(),
                "positions": molecule.positions.copy(),
                "facts": {"moses_id": number // 2, "conformation_id": number % 2, "smiles": smiles},
                "data": {"energy": [energy], "forces": central_forces(molecule.positions)},
            }
        )
    return made


def write(path: Path, made: list[dict], atoms: dict[int, float] | None = None, metadata: dict | None = None) -> Path:
    database = connect(str(path), use_lock_file=False)
    with database:
        for row in made:
            geometry = Atoms(numbers=row["numbers"], positions=row["positions"])
            database.write(geometry, key_value_pairs=row["facts"], data=row["data"])
    references = [(ATOMS if atoms is None else atoms).get(z, 0.0) for z in range(20)]
    database.metadata = (
        {"_distance_unit": "Ang", "_property_unit_dict": PROPERTY_UNITS, "atomrefs": {"energy": references}}
        if metadata is None
        else metadata
    )
    return path


def reader(folder: Path, name: str = "nabla2dft", **parameters: str):
    given = ",".join(f"{key}={value}" for key, value in ({"path": f'"{folder}"'} | parameters).items())
    return registry().component(DatasetSpec, f"{name}:{given}").create()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / TINY, rows())
    write(tmp_path / TEST, rows(count=6))
    return tmp_path


@pytest.fixture
def large(monkeypatch) -> list[int]:
    """Ten labels are too many for memory; the rows that are read."""
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 10)
    monkeypatch.setattr(training_sets, "SAMPLED", 3)
    monkeypatch.setattr(training_sets, "SAMPLED_OF_ELEMENT", 0)
    read: list[int] = []
    whole = LabelsInFile._read_row
    monkeypatch.setattr(LabelsInFile, "_read_row", lambda self, row: read.append(row) or whole(self, row))
    return read


def sample_file() -> Path:
    given = os.environ.get("GOLFBENCH_REFERENCE_DATA")
    if not given:
        pytest.skip("GOLFBENCH_REFERENCE_DATA is not set: the published sample is not part of this repository")
    return Path(given) / "nabladft-sample.db"


def test_the_real_sample_becomes_total_energies(tmp_path):
    published = sample_file()
    for name in (TINY, TEST):
        shutil.copy(published, tmp_path / name)
    dataset = reader(tmp_path).read()
    assert (dataset.name, dataset.method, len(dataset.initial), len(dataset.test)) == (
        "nabla2dft",
        "wB97X-D/def2-SVP",
        50,
        50,
    )
    references = connect(str(published)).metadata["atomrefs"]["energy"]
    for row, item in zip(connect(str(published)).select(), dataset.initial, strict=True):
        total = row.data["energy"][0] + sum(references[z] for z in row.numbers)
        assert item.label.energy == pytest.approx(total, abs=1e-9)
        assert np.array_equal(item.label.forces, np.array(row.data["forces"]))
        assert item.molecule.id == f"{row.moses_id}/{row.conformation_id}"
    assert dataset.atom_energies[35] == pytest.approx(-2573.8571719615)
    assert reader(tmp_path).check() == []


def test_the_real_sample_is_no_file_of_total_energies(tmp_path):
    for name in (TINY, TEST):
        shutil.copy(sample_file(), tmp_path / name)
    with pytest.raises(ConfigurationError, match="no total energies in Hartree: they are formation energies"):
        reader(tmp_path, energies="total").read()


def test_formation_energies_become_total_ones(folder):
    dataset = reader(folder).read()
    ethanol = dataset.initial[0]
    assert ethanol.molecule.smiles == "CCO"
    assert ethanol.label.energy == pytest.approx(-0.17 * 9 + 2 * ATOMS[6] + 6 * ATOMS[1] + ATOMS[8], abs=1e-12)
    assert [item.molecule.id for item in dataset.initial[:3]] == ["0/0", "0/1", "1/0"]
    assert dataset.test[0].start.energy == ethanol.label.energy
    assert dataset.test[0].minimum is None


def test_a_large_set_is_open_without_being_read(folder, large):
    initial = reader(folder).read().initial
    assert sorted(large) == [1, 12, 13, 24] or sorted(large) == [1, 13, 24]
    assert len(initial) == 24
    assert initial[20].label.energy < initial[20].molecule.numbers.sum() * -0.5


def test_a_row_that_cannot_be_right_is_named_when_it_is_met_and_not_before(folder, large):
    (folder / TINY).unlink()
    made = rows()
    made[21]["data"]["forces"] = np.zeros_like(made[21]["data"]["forces"])
    write(folder / TINY, made)
    initial = reader(folder).read().initial
    assert initial[20].molecule.id == "10/0"
    with pytest.raises(ConfigurationError, match=rf"{TINY}, row 22: 10/1: all its forces are zero"):
        initial[21]
    assert [line for line in reader(folder).check() if "row 22" in line] == [
        f"{folder / TINY}, row 22: 10/1: all its forces are zero"
    ]


def _scaled(energies: float, forces: float = 1.0):
    def change(made: list[dict]) -> None:
        for row in made:
            row["data"] = {"energy": [row["data"]["energy"][0] * energies], "forces": row["data"]["forces"] * forces}

    return change


def _other_order(made: list[dict]) -> None:
    """All atoms of a row in another order, consistently: its SMILES does not fit any more."""
    row = made[4]
    order = np.random.default_rng(1).permutation(len(row["numbers"]))
    row["numbers"], row["positions"] = row["numbers"][order], row["positions"][order]
    row["data"]["forces"] = row["data"]["forces"][order]


def _carbons_exchanged(made: list[dict]) -> None:
    """The atoms of one element in another order: the formula still fits."""
    row = made[4]
    order = np.arange(len(row["numbers"]))
    order[[0, 4]] = order[[4, 0]]
    row["positions"], row["data"]["forces"] = row["positions"][order], row["data"]["forces"][order]


def _forces_of_other_atoms(made: list[dict]) -> None:
    forces = made[3]["data"]["forces"] * 40
    made[3]["data"]["forces"] = np.roll(forces, 5, axis=0)


def _other_smiles(made: list[dict]) -> None:
    made[2]["facts"]["smiles"] = "CCO"


def _no_forces(made: list[dict]) -> None:
    made[5]["data"] = {"energy": made[5]["data"]["energy"]}


def _not_finite(made: list[dict]) -> None:
    made[5]["data"]["energy"] = [float("nan")]


def _one_row_in_ev(made: list[dict]) -> None:
    made[5]["data"]["energy"] = [made[5]["data"]["energy"][0] * EV]


WRONG = {
    "energies-in-eV": (_scaled(EV), "no formation energies in Hartree: they look like formation energies in eV"),
    "energies-in-kcal/mol": (_scaled(KCAL), "they look like formation energies in kcal/mol"),
    "energies-in-kJ/mol": (_scaled(4.184 * KCAL), "they look like formation energies in kJ/mol"),
    "forces-in-kcal/mol/A": (_scaled(1.0, KCAL), r"Hartree/Å \(root mean square\) .* are they in eV/Å or kcal/mol/Å"),
    "atoms-in-another-order": (_other_order, "row 5: .*its atoms are not those of its SMILES 'CCCCC'"),
    "carbons-exchanged": (_carbons_exchanged, "row 5: .*a bond of its SMILES 'CCCCC' is .* in another order"),
    "forces-of-other-atoms": (_forces_of_other_atoms, "row 4: .*the forces turn the molecule"),
    "another-smiles": (_other_smiles, "row 3: .*its atoms are not those of its SMILES 'CCO'"),
    "no-forces": (_no_forces, r"row 6: .*no usable energy and forces"),
    "not-finite": (_not_finite, "row 6: .*energy or forces are not finite"),
    "one-row-in-eV": (_one_row_in_ev, "row 6: .*Hartree per atom away from the sum"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_with_the_reason(folder, wrong):
    change, reason = WRONG[wrong]
    made = rows()
    change(made)
    (folder / TINY).unlink()
    write(folder / TINY, made)
    with pytest.raises(GolfbenchError, match=reason) as caught:
        reader(folder).read()
    assert "\n" not in str(caught.value)


def test_total_energies_where_formation_energies_are_declared(folder):
    (folder / TINY).unlink()
    write(folder / TINY, rows("total"))
    with pytest.raises(ConfigurationError, match="no formation energies in Hartree: they are total energies"):
        reader(folder).read()
    for factor, unit in ((EV, "eV"), (KCAL, "kcal/mol")):
        (folder / TINY).unlink()
        made = rows("total")
        _scaled(factor)(made)
        write(folder / TINY, made)
        with pytest.raises(ConfigurationError, match=f"they look like total energies in {unit}"):
            reader(folder).read()


def test_a_missing_reference_energy_is_named_by_row(folder):
    (folder / TINY).unlink()
    write(folder / TINY, rows(), {z: energy for z, energy in ATOMS.items() if z != 16})
    with pytest.raises(ConfigurationError, match=r"row 3: 1/0: the file's atomrefs have no reference energy of S"):
        reader(folder).read()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "no atomrefs"),
        ({"atomrefs": {"energy": "none"}}, "atomrefs that are no list of energies"),
        ({"_distance_unit": "Bohr"}, "distances must be in Ang; its metadata say Bohr"),
        ({"_property_unit_dict": {"energy": "eV"}}, "energy must be in Hartree; its metadata say eV"),
    ],
)
def test_metadata_that_say_something_else_or_too_little(folder, metadata, reason):
    (folder / TINY).unlink()
    write(folder / TINY, rows(), metadata=metadata)
    with pytest.raises(ConfigurationError, match=reason):
        reader(folder).read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: whole[: len(whole) // 2], r"is cut off: it has \d+ of \d+ bytes"),
        (lambda whole: whole[:50], "is cut off: it has 50 bytes"),
        (lambda whole: b"<html>\n<body>404</body>", "is no SQLite database: it begins with '<html>'"),
        (lambda whole: b"id,smiles,energy\n1,CCO,-1.5\n", "it begins with 'id,smiles,energy'"),
        (lambda whole: b"", "it begins with 'nothing'"),
        (lambda whole: whole[:100] + b"\xff" * (len(whole) - 100), "is not a readable ASE database"),
    ],
)
def test_a_file_that_is_none(folder, content, reason):
    path = folder / TINY
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(ConfigurationError, match=reason) as caught:
        reader(folder).read()
    assert "\n" not in str(caught.value)


def test_files_that_were_not_fetched_are_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLFBENCH_DATA", str(tmp_path))
    opened = registry().component(DatasetSpec, "nabladft-golf:train=traj-10k").create()
    command = "golfbench datasets fetch nabladft-golf --split d0 --split traj-10k --split test"
    for ask in (opened.read, opened.check):
        with pytest.raises(ComponentMissingError, match=rf"D-0\.db, D-traj-10k\.db, D-test\.db; {command}$"):
            ask()


def _golf(folder: Path) -> None:
    names = {file.split: file.name for file in GOLF_FILES}
    made = rows("total", count=30)
    write(folder / names["d0"], made[:18])
    walk = [made[0] | {"positions": made[0]["positions"] + 0.01 * k} for k in range(4)]
    write(folder / names["traj-10k"], walk)
    tests = made[18:]
    for row in tests:
        row["data"] = {**row["data"], "optimal_energy": row["data"]["energy"][0] - 0.02}
    write(folder / names["test"], tests)


def test_the_papers_data_with_given_trajectories(tmp_path):
    _golf(tmp_path)
    plain = reader(tmp_path, "nabladft-golf").read()
    assert (len(plain.initial), len(plain.test)) == (18, 12)
    first = plain.test[0]
    assert first.minimum.energy == pytest.approx(first.start.energy - 0.02)
    assert np.isnan(first.minimum.forces).all()
    assert first.minimum_positions is None
    joined = reader(tmp_path, "nabladft-golf", train="traj-10k").read()
    assert [item.molecule.id for item in joined.initial[17:20]] == ["8/1", "0/0@1", "0/0@2"]
    assert len({item.molecule.id for item in joined.initial}) == 22
    assert joined.content_hash != plain.content_hash


def test_joined_files_stay_in_their_files(tmp_path, large):
    _golf(tmp_path)
    initial = reader(tmp_path, "nabladft-golf", train="traj-10k").read().initial
    assert len(large) <= 4
    assert len(initial) == 22
    assert list(initial.ids())[17:19] == ["8/1", "0/0@1"]
    assert initial.place(17).endswith("D-0.db, row 18")
    assert initial.place(18).endswith("D-traj-10k.db, row 1")
    assert initial[-1].molecule.id == "0/0@4"
    assert [item.molecule.id for item in initial[16:20:2]] == ["8/0", "0/0@1"]
    assert initial.structures({"CCO", "CCCCCCC"}) == {"CCO"}
    with pytest.raises(IndexError):
        initial[22]
    found = initial.examples(2)
    assert all(isinstance(initial[k], LabelledMolecule) for k in found)
    assert max(found) >= 18


def test_walks_give_their_start_and_the_minimum_that_they_reached(folder):
    starts = rows(count=3)
    states = []
    for number, start in enumerate(starts):
        for step in range(5):
            row = {**start, "facts": start["facts"] | {"moses_id": number, "conformation_id": 0}}
            size = 0.02 * 0.5**step if number < 2 else 0.02
            fall = -0.01 * step if number != 1 else 0.01 * step
            small = 0.01 if step == 4 and number < 2 else 1.0
            energy = start["data"]["energy"][0] + fall
            row["data"] = {"energy": [energy], "forces": central_forces(start["positions"], size * small)}
            states.append(row)
    write(folder / WALKS, states)
    test = reader(folder, test="test-traj").read().test
    assert [item.molecule.id for item in test] == ["0/0", "1/0", "2/0"]
    down, up, moving = test
    assert down.minimum.energy == pytest.approx(down.start.energy - 0.04)
    assert np.array_equal(down.minimum_positions, starts[0]["positions"])
    assert up.minimum is None  # it went up
    assert moving.minimum is None  # it still moves


def test_references_of_another_level_are_refused(folder):
    (folder / TEST).unlink()
    write(folder / TEST, rows(count=6), {z: energy - 0.01 for z, energy in ATOMS.items()})
    with pytest.raises(ConfigurationError, match="its atomrefs are not those of the other files"):
        reader(folder).read()
