"""Initial sets that are too large for memory: read row by row, looked at in a sample, damaged rows named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

from golfbench import training_sets
from golfbench.benchmark.prepare import limited
from golfbench.benchmark.soundness import overlap
from golfbench.contracts import LabelledMolecule
from golfbench.errors import ConfigurationError, GolfbenchError
from golfbench.runs.runner import open_dataset
from golfbench_datasets.check import check
from golfbench_datasets.files import read_initial, write_initial
from golfbench_datasets.labels_in_file import LabelsInFile
from golfbench_datasets.loading import data_folder
from golfbench_datasets.reader import FolderReader

ROWS = 60


@pytest.fixture(scope="module")
def original() -> list[LabelledMolecule]:
    return list(FolderReader(data_folder("druglike-mini")).read().initial[:ROWS])


@pytest.fixture
def folder(original, tmp_path: Path, monkeypatch) -> Path:
    """A set of 60 labels where 10 are too many; six of them stand for all."""
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 10)
    monkeypatch.setattr(training_sets, "SAMPLED", 6)
    monkeypatch.setattr(training_sets, "SAMPLED_OF_ELEMENT", 0)
    write_initial(tmp_path / "initial.db", "GFN2-xTB", original)
    shutil.copy(data_folder("druglike-mini") / "test.db", tmp_path)
    (tmp_path / "dataset.yaml").write_text("name: many\nmethod: GFN2-xTB\n")
    return tmp_path


def change(folder: Path, statement: str, *values) -> None:
    with sqlite3.connect(folder / "initial.db") as connection:
        connection.execute(statement, values)


def assert_same(one: LabelledMolecule, two: LabelledMolecule) -> None:
    assert one.molecule.to_json() == two.molecule.to_json()
    assert one.label.energy == two.label.energy
    assert np.array_equal(one.label.forces, two.label.forces)
    assert one.label.method == two.label.method


def test_a_large_set_has_the_same_labels_in_the_same_order(folder):
    in_file, in_memory = (
        LabelsInFile(folder / "initial.db", "GFN2-xTB"),
        read_initial(folder / "initial.db", "GFN2-xTB"),
    )
    assert len(in_file) == len(in_memory) == ROWS
    for one, two in zip(in_file, in_memory, strict=True):
        assert_same(one, two)
    assert list(in_file.ids()) == [item.molecule.id for item in in_memory]
    assert_same(in_file[-1], in_memory[-1])
    every_third = in_file[2:50:3]
    assert list(every_third.ids()) == [item.molecule.id for item in in_memory[2:50:3]]
    assert_same(every_third[1:][0], in_memory[5])
    with pytest.raises(IndexError):
        in_file[ROWS]


def test_rows_that_were_deleted_leave_no_gap(folder):
    database = connect(str(folder / "initial.db"), use_lock_file=False)
    database.delete([1, 17, 18])
    in_file, in_memory = (
        LabelsInFile(folder / "initial.db", "GFN2-xTB"),
        read_initial(folder / "initial.db", "GFN2-xTB"),
    )
    assert [item.molecule.id for item in in_file] == [item.molecule.id for item in in_memory] == list(in_file.ids())
    assert [in_file.place(k).rpartition(", ")[2] for k in (0, 14, 15)] == ["row 2", "row 16", "row 19"]


def test_opening_reads_the_sample_once_and_nothing_else(folder, monkeypatch):
    read: list[int] = []
    whole = LabelsInFile._read_row
    monkeypatch.setattr(LabelsInFile, "_read_row", lambda self, row: read.append(row) or whole(self, row))
    dataset = open_dataset(f"folder:path={folder}")
    assert len(dataset.initial) == ROWS
    assert sorted(read) == [1, 13, 25, 36, 48, 60]


def test_with_no_more_rows_than_fit_nothing_stays_in_the_file(folder, monkeypatch):
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", ROWS)
    assert isinstance(FolderReader(folder).read().initial, list)


DAMAGE = {
    "cut-positions": ("UPDATE systems SET positions = substr(positions, 1, 100) WHERE id = 30", ()),
    "no-data": ("UPDATE systems SET data = x'00' WHERE id = 30", ()),
    "cut-data": ("UPDATE systems SET data = substr(data, 1, 200) WHERE id = 30", ()),
    "facts-no-json": ("UPDATE systems SET key_value_pairs = '{\"smiles' WHERE id = 30", ()),
    "other-atoms": ("UPDATE systems SET numbers = (SELECT numbers FROM systems WHERE id = 60) WHERE id = 30", ()),
    "overlap": ("UPDATE systems SET positions = zeroblob(length(positions)) WHERE id = 30", ()),
    "odd-charge": ('UPDATE systems SET key_value_pairs = \'{"total_charge": "high"}\' WHERE id = 30', ()),
    "nan-energy": ("UPDATE systems SET data = ? WHERE id = 30", ('{"energy": [NaN], "forces": []}',)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_is_named_when_it_is_met_and_not_before(folder, damage):
    statement, values = DAMAGE[damage]
    change(folder, statement, *values)
    initial = open_dataset(f"folder:path={folder}").initial
    assert initial[28].label.energy < 0
    with pytest.raises(GolfbenchError, match=r"initial\.db, row 30\b") as caught:
        initial[29]
    assert "\n" not in str(caught.value)


def test_a_file_that_ends_too_soon_is_one_line(folder):
    path = folder / "initial.db"
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(ConfigurationError, match=r"initial\.db"):
        FolderReader(folder).read()


def test_the_hash_covers_the_sample_and_the_number_of_labels(folder):
    def hash_now() -> str:
        return FolderReader(folder).read().content_hash

    first = hash_now()
    assert hash_now() == first
    database = connect(str(folder / "initial.db"), use_lock_file=False)
    data = dict(database.get(25).data)
    database.update(25, data=data | {"energy": [data["energy"][0] + 1e-12]})
    second = hash_now()
    database.delete([30])
    assert len({first, second, hash_now()}) == 3


def test_a_hash_in_the_description_is_compared(folder):
    (folder / "dataset.yaml").write_text(f"name: many\nmethod: GFN2-xTB\ncontent_sha256: {'ab' * 32}\n")
    with pytest.raises(ConfigurationError, match=r"the content is not what dataset\.yaml describes"):
        FolderReader(folder).read()


def test_an_element_that_few_labels_have_is_in_the_sample(folder, original, monkeypatch):
    def elements(items) -> set[int]:
        return {int(z) for item in items for z in item.molecule.numbers}

    initial = FolderReader(folder).read().initial
    assert elements(training_sets.sample(initial)) < elements(original)
    monkeypatch.setattr(training_sets, "SAMPLED_OF_ELEMENT", 1)
    assert elements(training_sets.sample(initial)) == elements(original)
    counts = [sum(z in item.molecule.numbers for item in original) for z in elements(original)]
    found = initial.examples(5)
    for z, count in zip(elements(original), counts, strict=True):
        assert sum(z in initial[k].molecule.numbers for k in found) >= min(count, 5)


def test_a_test_molecule_anywhere_in_the_set_is_told(folder, original):
    dataset = FolderReader(folder).read()
    assert overlap(dataset) == ""
    sampled = {item.molecule.smiles for item in training_sets.sample(dataset.initial)}
    unseen = next(item for item in original if item.molecule.smiles not in sampled)
    leak = replace(dataset.test[0], molecule=replace(unseen.molecule, id="leak/0"))
    assert overlap(replace(dataset, test=[*dataset.test, leak])).startswith("1 of 13 test molecules are in the initial")


def test_a_limit_takes_the_same_labels_as_of_a_set_in_memory(folder, original, monkeypatch):
    dataset = FolderReader(folder).read()
    small = limited(replace(dataset, initial=original), 7)
    for limit, kind in ((7, list), (20, training_sets.Part)):
        found = limited(dataset, limit).initial
        expected = limited(replace(dataset, initial=original), limit).initial
        assert isinstance(found, kind)
        assert [item.molecule.id for item in found] == [item.molecule.id for item in expected]
    assert len(small.initial) == 7
    part = limited(dataset, 20).initial
    rows = {item.molecule.id: k + 1 for k, item in enumerate(original)}
    assert training_sets.place_of(part, 4).endswith(f"row {rows[part[4].molecule.id]}")


def test_data_as_text_is_what_older_versions_of_ase_wrote(folder, original):
    label = original[0].label
    text = json.dumps({"energy": [label.energy], "forces": {"__ndarray__": [list(label.forces.shape), "float64", []]}})
    text = text.replace("[]]}}", json.dumps(label.forces.ravel().tolist()) + "]}}")
    change(folder, "UPDATE systems SET data = ? WHERE id = 1", text)
    assert_same(FolderReader(folder).read().initial[0], original[0])


@pytest.mark.parametrize("name", ["with space", "q?mode=rw", "hash#tag", "percent%41"])
def test_the_name_of_the_folder_is_only_a_name(folder, original, tmp_path, name):
    strange = tmp_path / name
    strange.mkdir()
    for part in ("initial.db", "test.db", "dataset.yaml"):
        shutil.copy(folder / part, strange)
    assert_same(FolderReader(strange).read().initial[30], original[30])


def test_check_reads_every_row(folder):
    (folder / "dataset.yaml").write_text(
        "name: many\nmethod: GFN2-xTB\ninitial: {molecules: 8, conformations: 60}\natoms_min: 20\natoms_max: 31\n"
    )
    (said,) = [line for line in check(folder) if "dataset.yaml" in line]
    assert said == "dataset.yaml says atoms_max = 31, the content has 30"
    database = connect(str(folder / "initial.db"), use_lock_file=False)
    data = dict(database.get(30).data)
    forces = np.array(data["forces"])
    forces[0, 0] += 1.0
    database.update(30, data=data | {"forces": forces})
    assert "the forces add up to 1 Hartree/Å, not to zero" in "\n".join(check(folder))
