"""Reading: the folders that ship, a folder of one's own, and files that are not what they should be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect

from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec
from golfbench_datasets.check import check
from golfbench_datasets.files import PROPERTY_UNITS
from golfbench_datasets.loading import data_folder
from golfbench_datasets.reader import FolderReader, open_dataset

UNITS = {"_distance_unit": "Ang", "_property_unit_dict": PROPERTY_UNITS}
WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A copy of druglike-mini to damage."""
    return Path(shutil.copytree(data_folder("druglike-mini"), tmp_path / "mini"))


def write_water(path: Path, metadata: dict | None = None, positions=WATER, **data) -> None:
    path.unlink(missing_ok=True)
    database = connect(str(path), type="db", use_lock_file=False)
    facts = {"moses_id": 7, "conformation_id": 2, "smiles": "O"}
    contents = {"energy": [-5.07], "forces": np.zeros((3, 3))} | data
    database.write(Atoms("OHH", positions=positions), key_value_pairs=facts, data=contents)
    database.metadata = UNITS if metadata is None else metadata


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder as a user writes it, in the format of the paper's own files."""
    (tmp_path / "dataset.yaml").write_text("name: water\nmethod: GFN2-xTB\n")
    write_water(tmp_path / "initial.db")
    write_water(tmp_path / "test.db", optimal_energy=-5.08)
    return tmp_path


def test_offering_datasets_imports_nothing_heavy() -> None:
    code = (
        "import sys, golfbench_datasets as g; assert g.golfbench_datasets();"
        "print([m for m in ('torch', 'rdkit', 'ase', 'yaml', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mini_is_read_through_the_registry() -> None:
    dataset = registry().find(DatasetSpec, "druglike-mini").create({}).read()
    assert (dataset.name, dataset.method) == ("druglike-mini", "GFN2-xTB")
    assert (len(dataset.initial), len(dataset.test)) == (240, 12)
    first = dataset.test[0]
    assert (first.molecule.id, len(first.molecule)) == ("aspirin/0", 21)
    assert first.start.energy > first.minimum.energy
    assert dataset.initial[0].label.forces.shape == dataset.initial[0].molecule.positions.shape


def test_checkpoints_are_found_by_stem(mini: Path) -> None:
    (mini / "baselines").mkdir(exist_ok=True)
    path = mini / "baselines" / "a-network.safetensors"
    path.write_bytes(b"")
    assert FolderReader(mini).read().checkpoints["a-network"] == str(path)


def test_a_folder_in_the_papers_format_is_read(own: Path) -> None:
    dataset = registry().find(DatasetSpec, "folder").create({"path": str(own)}).read()
    (row,), (item,) = dataset.initial, dataset.test
    assert row.molecule.id == "7/2"
    assert row.molecule.smiles == "O"
    assert row.label.energy == -5.07
    assert item.minimum.energy == -5.08
    assert np.isnan(item.minimum.forces).all()
    assert item.minimum_positions is None
    assert check(own) == [
        "7/2: this id occurs 2 times",
        "7/2: the same geometry as 7/2",
        "7/2: is in the initial set as well",
    ]


def test_the_hash_covers_every_number(own: Path) -> None:
    before = FolderReader(own).read().content_hash
    assert FolderReader(own).read().content_hash == before
    write_water(own / "initial.db", positions=WATER + np.array([0.0, 0.0, 1e-15]))
    assert FolderReader(own).read().content_hash != before


def test_a_changed_label_is_refused_and_reported(mini: Path) -> None:
    database = connect(str(mini / "initial.db"), use_lock_file=False)
    data = dict(database.get(5).data)
    database.update(5, data=data | {"energy": [data["energy"][0] + 1e-12]})
    with pytest.raises(ConfigurationError, match=r"the content is not what dataset\.yaml describes"):
        FolderReader(mini).read()
    (problem,) = check(mini)
    assert problem.startswith("dataset.yaml says content_sha256")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"initial\.db does not exist"),
        (lambda path: path.write_bytes(b""), r"initial\.db is empty"),
        (lambda path: path.write_bytes(b"not a database" * 500), r"initial\.db is not a readable ASE database"),
        (lambda path: path.write_bytes(path.read_bytes()[:50_000]), r"initial\.db is not a readable ASE database"),
    ],
    ids=["missing", "empty", "other-bytes", "truncated"],
)
def test_a_damaged_file_gets_one_line(mini: Path, damage, message: str) -> None:
    damage(mini / "initial.db")
    with pytest.raises(ConfigurationError, match=message):
        FolderReader(mini).read()
    assert len(check(mini)) == 1


def test_a_database_without_rows_is_empty(own: Path) -> None:
    database = connect(str(own / "initial.db"), use_lock_file=False)
    database.delete([1])
    with pytest.raises(ConfigurationError, match="it has no rows"):
        open_dataset(str(own)).read()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "distances must be in Ang; its metadata say None"),
        (UNITS | {"_property_unit_dict": {"energy": "eV", "forces": "eV/Ang"}}, "energy must be in Hartree.* eV"),
        (UNITS | {"method": "MMFF94"}, r"labelled by MMFF94, but dataset\.yaml says GFN2-xTB"),
    ],
    ids=["no-units", "other-units", "other-method"],
)
def test_units_and_method_must_fit(own: Path, metadata: dict, message: str) -> None:
    write_water(own / "initial.db", metadata)
    with pytest.raises(ConfigurationError, match=message):
        open_dataset(str(own)).read()


@pytest.mark.parametrize(
    "data",
    [{"energy": []}, {"energy": np.nan}, {"energy": "low"}, {"forces": np.zeros((2, 3))}],
    ids=["no-energy", "nan-energy", "text-energy", "short-forces"],
)
def test_an_unusable_label_names_its_row(own: Path, data: dict) -> None:
    write_water(own / "initial.db", **data)
    with pytest.raises(ConfigurationError, match="7/2"):
        open_dataset(str(own)).read()


def test_impossible_coordinates_are_refused(own: Path) -> None:
    write_water(own / "initial.db", positions=np.zeros((3, 3)))
    with pytest.raises(MoleculeError, match="7/2: atoms 0 and 1 overlap"):
        open_dataset(str(own)).read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: water\n", "method: Field required"),
        ("name: water\nmethod: X\ncolour: red\n", "colour: Extra inputs"),
        ("name: [", "cannot be read"),
        ("", "the file: "),
    ],
)
def test_a_wrong_description_names_the_key(own: Path, text: str, message: str) -> None:
    (own / "dataset.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        open_dataset(str(own)).read()


def test_a_folder_must_be_given_and_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder:path=DIRECTORY"):
        open_dataset()
    with pytest.raises(ConfigurationError, match="is not a folder"):
        open_dataset(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"it has no dataset\.yaml"):
        open_dataset(str(tmp_path)).read()
