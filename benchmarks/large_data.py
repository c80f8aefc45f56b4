"""A training set that does not fit memory: how soon it is open, how fast it is trained from, and in how much memory.

    python benchmarks/large_data.py
    python benchmarks/large_data.py --rows 20000 --updates 50 --folder large

The folder is made if it is not there: geometries of druglike-xtb with 30 to 45 atoms, turned at random and shaken by
0.01 Å, with energies and forces that follow from their labels by a spring on each atom. Rows are written as ASE writes
them, but many at a time. What is measured is measured in a process of its own: its largest resident memory is that of
opening and training together.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import object_to_bytes
from ase.db.sqlite import SQLite3Database, index_statements

from golfbench.contracts import LabelledMolecule
from golfbench.learning.targets import InitialSet
from golfbench.runs.baseline import Recipe, train_baseline
from golfbench.runs.config import Baseline
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef
from golfbench_datasets.files import DISTANCE_UNIT, INITIAL, PROPERTY_UNITS, TEST
from golfbench_datasets.loading import data_folder
from golfbench_datasets.reader import FolderReader

ROWS, CONFORMERS, ATOMS = 500_000, 10, (30, 45)
SHAKE_ANGSTROM, SPRING_HARTREE_PER_ANGSTROM2 = 0.01, 0.1
TOGETHER = 10_000
SMALL = "painn:features=32,interactions=2"
SYSTEMS = "id unique_id ctime mtime numbers positions cell pbc key_value_pairs data natoms mass charge"


def make(folder: Path, rows: int) -> None:
    """Write a dataset folder."""
    source = data_folder("druglike-xtb")
    dataset = FolderReader(source).read()
    parents = [item for item in dataset.initial if ATOMS[0] <= len(item.molecule) <= ATOMS[1]]
    folder.mkdir(parents=True)
    shutil.copy(source / TEST, folder / TEST)
    (folder / "dataset.yaml").write_text(f"name: large\nmethod: {dataset.method}\n", encoding="utf-8")
    part = folder / f"{INITIAL}.part"
    database = connect(str(part), type="db", create_indices=False, use_lock_file=False)
    database.metadata = {
        "_distance_unit": DISTANCE_UNIT,
        "_property_unit_dict": PROPERTY_UNITS,
        "method": dataset.method,
    }
    rng = np.random.default_rng(1)
    with database:
        for first in range(0, rows, TOGETHER):
            numbers = range(first, min(first + TOGETHER, rows))
            insert(database, [(k, *shaken(parents[k // CONFORMERS % len(parents)], rng)) for k in numbers])
        for statement in index_statements:
            database.connection.execute(statement)
    part.rename(folder / INITIAL)


def shaken(item: LabelledMolecule, rng: np.random.Generator) -> tuple[LabelledMolecule, np.ndarray, float, np.ndarray]:
    """Return a label with other positions, energy and forces."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    shift = rng.normal(0.0, SHAKE_ANGSTROM, item.molecule.positions.shape)
    shift -= shift.mean(axis=0)
    energy = item.label.energy - (item.label.forces * shift).sum()
    energy += SPRING_HARTREE_PER_ANGSTROM2 / 2 * (shift**2).sum()
    forces = item.label.forces - SPRING_HARTREE_PER_ANGSTROM2 * shift
    turn[:, 0] *= np.linalg.det(turn)  # no mirror image
    return item, (item.molecule.positions + shift) @ turn, float(energy), forces @ turn


def insert(
    database: SQLite3Database, rows: Sequence[tuple[int, LabelledMolecule, np.ndarray, float, np.ndarray]]
) -> None:
    """Insert rows into the tables that ASE keeps."""
    tables: dict[str, list[tuple[Any, ...]]] = {}
    facts = [
        {"molecule_name": f"{item.molecule.id.replace('/', '-')}-{k // CONFORMERS}", "conformation_id": k % CONFORMERS}
        | {"smiles": item.molecule.smiles}
        for k, item, *_ in rows
    ]
    tables["systems"] = [system(*row, pairs) for row, pairs in zip(rows, facts, strict=True)]
    tables["species"] = [
        (int(z), int(n), k + 1)
        for k, item, *_ in rows
        for z, n in zip(*np.unique(item.molecule.numbers, return_counts=True), strict=True)
    ]
    named = [(k + 1, name, value) for (k, *_), pairs in zip(rows, facts, strict=True) for name, value in pairs.items()]
    tables["keys"] = [(name, k) for k, name, _ in named]
    tables["text_key_values"] = [(name, value, k) for k, name, value in named if isinstance(value, str)]
    tables["number_key_values"] = [(name, value, k) for k, name, value in named if not isinstance(value, str)]
    for table, content in tables.items():
        columns = f"({', '.join(SYSTEMS.split())})" if table == "systems" else ""
        marks = ", ".join("?" * len(content[0]))
        database.connection.executemany(f"INSERT INTO {table} {columns} VALUES ({marks})", content)


def system(
    k: int, item: LabelledMolecule, positions: np.ndarray, energy: float, forces: np.ndarray, pairs: dict[str, Any]
) -> tuple[Any, ...]:
    """Return a row of the table of structures."""
    atoms = Atoms(numbers=item.molecule.numbers)
    data = object_to_bytes({"energy": [energy], "forces": np.ascontiguousarray(forces)})
    blobs = (atoms.numbers.astype(np.int32).tobytes(), positions.tobytes(), np.zeros(9).tobytes())
    return k + 1, f"{k:032x}", 0.0, 0.0, *blobs, 0, json.dumps(pairs), data, len(atoms), atoms.get_masses().sum(), 0.0


def measure(folder: Path, updates: int) -> Iterator[tuple[str, float]]:
    """Open the dataset and train from it."""
    start = time.perf_counter()
    dataset = open_dataset(f'folder:path="{folder}"')
    yield "opened after, s", time.perf_counter() - start
    yield "labels", len(dataset.initial)
    yield "memory after opening, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    start = time.perf_counter()
    initial = InitialSet.of(dataset.initial, [], dataset.atom_energies)
    yield "references and scale, s", time.perf_counter() - start
    checkpoint = folder / "trained.safetensors"
    checkpoint.unlink(missing_ok=True)
    recipe = Recipe(ComponentRef.parse(SMALL), None, Baseline(updates=updates), ComponentRef("single"), seed=0)
    done, wall_s = train_baseline(dataset, initial, recipe, checkpoint, lambda name, step, total: None)
    yield "updates", done
    yield "updates per second", done / wall_s
    yield "largest resident memory, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Read the command line, make the folder, and print one line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("large-data"))
    parser.add_argument("--measure", action="store_true", help="the folder is there: measure in this process")
    given = parser.parse_args()
    if given.measure:
        for name, value in measure(given.folder, given.updates):
            print(f"{name:30}{value:12,.1f}", flush=True)
        return
    if not (given.folder / INITIAL).exists():
        start = time.perf_counter()
        make(given.folder, given.rows)
        print(f"{'made in, s':30}{time.perf_counter() - start:12,.1f}")
    print(f"{'size of the file, MB':30}{(given.folder / INITIAL).stat().st_size / 1e6:12,.1f}", flush=True)
    again = [sys.executable, __file__, "--measure", "--folder", str(given.folder), "--updates", str(given.updates)]
    subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
