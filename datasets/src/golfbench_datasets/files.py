"""The files of a dataset folder: two ASE SQLite databases in the format of the GOLF paper, and ``dataset.yaml``.

A row is one conformation. Its atoms are the geometry (Å); ``data`` holds ``energy`` (Hartree) and ``forces``
((n_atoms, 3), Hartree/Å), and in the test part ``optimal_energy``, ``optimal_positions`` and ``optimal_forces`` of the
minimum reached from that geometry. ``key_value_pairs`` hold ``molecule_name`` (or ``moses_id``, as the paper's own
files do), ``conformation_id``, ``smiles``, and where they are not 0 and 1, ``total_charge`` and ``multiplicity``.

A folder may have ``trajectories.db`` besides: the geometries of walks in their order, one after the other for each
molecule, without labels.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from ase import Atoms
from ase.db import connect
from ase.db.row import AtomsRow
from ase.db.sqlite import SQLite3Database
from pydantic import BaseModel, ConfigDict, ValidationError

from golfbench.chemistry import check_topology
from golfbench.contracts import FloatArray, Label, LabelledMolecule, TestMolecule
from golfbench.errors import ConfigurationError, MoleculeError, WriteError
from golfbench.molecules import Molecule, check_molecule
from golfbench.training_sets import is_large, sample

INITIAL, TEST, TRAJECTORIES = "initial.db", "test.db", "trajectories.db"
#: The list of drugs that a test part is built from, and the oracle's walks of them, in the format of ``initial.db``.
DRUGS, WALKS = "drugs.csv", "walks.db"
#: Labels that runs on the dataset paid for, as ``golfbench cache export`` writes them.
KNOWN_LABELS = "labels.jsonl"
DESCRIPTION, BASELINES = "dataset.yaml", "baselines"
DISTANCE_UNIT = "Ang"
PROPERTY_UNITS = {"energy": "Hartree", "forces": "Hartree/Ang"}
PAGE_BYTES = 32768


class PartFacts(BaseModel):
    """How much there is in one part."""

    model_config = ConfigDict(extra="forbid")

    molecules: int
    conformations: int


class Description(BaseModel):
    """``dataset.yaml``. A folder of one's own needs only ``name`` and ``method``.

    Attributes:
        name: Name of the dataset.
        method: Level of theory of every label and minimum.
        oracle: The oracle that gives these labels, as written on the command line.
        elements: Element symbols that occur.
        atoms_min: Atoms of the smallest molecule, hydrogens included.
        atoms_max: Atoms of the largest molecule.
        initial: Counts of the initial training set.
        test: Counts of the test part.
        test_of: The dataset that ships whose test part this one has; empty where the folder has its own ``test.db``.
        content_sha256: See ``content_hash``; checked at every reading where it is given.
        built_with: The command, the seed and the versions behind the files.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    method: str
    oracle: str = ""
    elements: list[str] = []
    atoms_min: int | None = None
    atoms_max: int | None = None
    initial: PartFacts | None = None
    test: PartFacts | None = None
    test_of: Literal["", "druglike-mini", "druglike-xtb"] = ""
    content_sha256: str = ""
    built_with: dict[str, str | int] = {}


def read_description(folder: Path) -> Description:
    """Read ``dataset.yaml``.

    Raises:
        ConfigurationError: If it is missing, or a key is unknown, missing or of another type.
    """
    path = folder / DESCRIPTION
    try:
        return Description.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} is not a dataset: it has no {DESCRIPTION}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"{path}: {where}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def write_description(folder: Path, description: Description) -> None:
    """Write ``dataset.yaml``."""
    text = yaml.safe_dump(description.model_dump(), sort_keys=False, width=120)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_initial(path: Path, method: str) -> list[LabelledMolecule]:
    """Read the initial training set.

    Raises:
        ConfigurationError: If the file is missing, damaged, empty, in other units or of another method, or if a row
            has no label or a molecule that no engine should be given.
    """
    return [labelled_of(row, path, method) for row in _rows(path, method)]


def labelled_of(row: AtomsRow, path: Path, method: str) -> LabelledMolecule:
    """Return a molecule with its label.

    Raises:
        ConfigurationError: If the row has no label that is usable.
        MoleculeError: If no engine should see its molecule.
    """
    molecule = _molecule(row, path)
    return LabelledMolecule(molecule, _label(row, path, molecule, method, ""))


def read_test(path: Path, method: str) -> list[TestMolecule]:
    """Read the test part; labels of starts and minima may be absent, as in data from elsewhere.

    Forces of a minimum that the file gives only an energy for are NaN.

    Raises:
        ConfigurationError: As for ``read_initial``.
    """
    return [tested_of(row, path, method) for row in _rows(path, method)]


def tested_of(row: AtomsRow, path: Path, method: str) -> TestMolecule:
    """Return a test molecule with what the row has of labels.

    Raises:
        ConfigurationError: If the row has a label that is not usable.
        MoleculeError: If no engine should see its molecule.
    """
    molecule = _molecule(row, path)
    start = _label(row, path, molecule, method, "") if "energy" in row.data else None
    minimum = _label(row, path, molecule, method, "optimal_") if "optimal_energy" in row.data else None
    positions = row.data.get("optimal_positions")
    if positions is not None:
        positions = _minimum_positions(positions, row, path, molecule)
    return TestMolecule(molecule, start, positions, minimum)


def read_trajectories(path: Path, method: str) -> dict[str, list[Molecule]]:
    """Read the geometries of given walks by the name of their molecule; none if there is no such file.

    Raises:
        ConfigurationError: As for ``read_initial``.
    """
    found: dict[str, list[Molecule]] = {}
    for row in _rows(path, method) if path.exists() else ():
        molecule = _molecule(row, path)
        found.setdefault(molecule_name(molecule), []).append(molecule)
    return found


def _minimum_positions(positions: Any, row: AtomsRow, path: Path, molecule: Molecule) -> FloatArray:
    try:
        minimum = molecule.at(positions)
        check_molecule(minimum, owner=path.name)
    except (MoleculeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}, row {row.id}: {molecule.id}: optimal_positions: {error}") from None
    return minimum.positions


def _rows(path: Path, method: str) -> Iterator[AtomsRow]:
    """Yield the rows of a database whose metadata fit."""
    database = open_database(path, method)
    with unreadable(path):
        yield from database.select(sort="id")


def open_database(path: Path, method: str, *, must_tell_units: bool = True) -> SQLite3Database:
    """Open a database whose metadata fit, and insist on at least one row.

    Args:
        path: The file.
        method: Level of theory of its labels.
        must_tell_units: Whether metadata without units are refused, as those with other units are.

    Raises:
        ConfigurationError: If the file is missing, damaged, empty, in other units or of another method.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ConfigurationError(f"{path} is empty")
    with unreadable(path):
        database: SQLite3Database = connect(str(path), type="db", use_lock_file=False)
        _check_metadata(path, database.metadata, method, must_tell_units)
        if database.count() == 0:
            raise ConfigurationError(f"{path} is empty: it has no rows")
    return database


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Name the file when it cannot be read.

    Raises:
        ConfigurationError: In place of what SQLite and ASE raise.
    """
    try:
        yield
    except (sqlite3.DatabaseError, KeyError, OSError, EOFError) as error:
        raise ConfigurationError(f"{path} is not a readable ASE database ({error})") from None


def _check_metadata(path: Path, metadata: dict[str, Any], method: str, must_tell_units: bool) -> None:
    properties = metadata.get("_property_unit_dict") or {}
    told = {"distances": metadata.get("_distance_unit")} | {name: properties.get(name) for name in PROPERTY_UNITS}
    for name, unit in {"distances": DISTANCE_UNIT, **PROPERTY_UNITS}.items():
        if told[name] != unit and (must_tell_units or told[name] is not None):
            raise ConfigurationError(f"{path}: {name} must be in {unit}; its metadata say {told[name]}")
    if metadata.get("method", method) != method:
        raise ConfigurationError(f"{path}: labelled by {metadata['method']}, but {DESCRIPTION} says {method}")


def _molecule(row: AtomsRow, path: Path) -> Molecule:
    facts = row.key_value_pairs
    name = name_of(facts, row.id)
    try:
        molecule = Molecule(
            id=name,
            numbers=row["numbers"],
            positions=row.positions,
            charge=int(facts.get("total_charge", 0)),
            multiplicity=int(facts.get("multiplicity", 1)),
            smiles=facts.get("smiles"),
        )
        check_molecule(molecule, owner=path.name)
        if molecule.smiles is not None:
            check_topology(molecule)
    except (MoleculeError, TypeError, ValueError) as error:
        text = str(error) if name in str(error) else f"{name}: {error}"
        raise MoleculeError(f"{path}, row {row.id}: {text}") from None
    return molecule


def name_of(facts: dict[str, Any], row: int) -> str:
    """Return the id of a row's molecule, by its ``key_value_pairs``."""
    name = facts.get("molecule_name", facts.get("moses_id", f"row-{row}"))
    return f"{name}/{facts.get('conformation_id', 0)}"


def _label(row: AtomsRow, path: Path, molecule: Molecule, method: str, prefix: str) -> Label:
    """Read ``energy`` and ``forces``, or with a prefix those of the minimum."""
    shape = (len(molecule), 3)
    try:
        energy = np.array(row.data[f"{prefix}energy"], dtype=np.float64).item()
        forces = np.array(row.data[f"{prefix}forces"] if f"{prefix}forces" in row.data or not prefix else None)
        forces = np.full(shape, np.nan) if forces.ndim == 0 else forces.astype(np.float64)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no usable {prefix}energy and forces ({error})"
        raise ConfigurationError(f"{path}, row {row.id}: {molecule.id}: {reason}") from None
    finite = np.isfinite(energy) and (np.isfinite(forces).all() or bool(prefix))
    if forces.shape != shape or not finite:
        reason = f"{prefix}energy or {prefix}forces are not finite {shape} data"
        raise ConfigurationError(f"{path}, row {row.id}: {molecule.id}: {reason}")
    return Label(energy, forces, method)


def write_initial(path: Path, method: str, rows: Iterable[LabelledMolecule]) -> None:
    """Write the initial training set, completely or not at all.

    Raises:
        WriteError: If the file cannot be written.
    """
    _write(path, method, [(row.molecule, _data(row.label), {}) for row in rows])


def write_trajectories(path: Path, method: str, states: Iterable[Molecule]) -> None:
    """Write the geometries of walks in their order, completely or not at all.

    Raises:
        WriteError: If the file cannot be written.
    """
    _write(path, method, [(state, {}, {}) for state in states])


def write_test(path: Path, method: str, rows: Iterable[TestMolecule], formulas: Mapping[str, str]) -> None:
    """Write the test part, completely or not at all.

    Args:
        path: The file.
        method: Level of theory.
        rows: Molecules with labels of start and minimum.
        formulas: Known molecular formula by molecule name, where one is known.

    Raises:
        WriteError: If the file cannot be written.
    """
    entries = []
    for row in rows:
        assert row.start is not None
        assert row.minimum is not None
        data = _data(row.start) | {
            "optimal_energy": [row.minimum.energy],
            "optimal_positions": row.minimum_positions,
            "optimal_forces": row.minimum.forces,
        }
        known = formulas.get(molecule_name(row.molecule))
        entries.append((row.molecule, data, {} if known is None else {"known_formula": known}))
    _write(path, method, entries)


def _data(label: Label) -> dict[str, Any]:
    return {"energy": [label.energy], "forces": label.forces}


def _write(path: Path, method: str, entries: Sequence[tuple[Molecule, dict[str, Any], dict[str, str]]]) -> None:
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    try:
        database = connect(str(temporary), type="db", append=False, use_lock_file=False)
        with database:  # one transaction
            for molecule, data, extra in entries:
                atoms = Atoms(numbers=molecule.numbers, positions=molecule.positions)
                database.write(atoms, data=data, key_value_pairs=_facts(molecule) | extra)
        database.metadata = {
            "_distance_unit": DISTANCE_UNIT,
            "_property_unit_dict": PROPERTY_UNITS,
            "method": method,
        }
        _compact(temporary)
        os.replace(temporary, path)
    except (sqlite3.Error, OSError) as error:
        raise WriteError(f"{path} cannot be written: {error}") from error


def _compact(path: Path) -> None:
    """Rewrite the file in pages that hold several rows: with SQLite's default size, most of a page would be empty."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database.execute("VACUUM")


def _facts(molecule: Molecule) -> dict[str, Any]:
    facts = {
        "molecule_name": molecule_name(molecule),
        "conformation_id": int(molecule.id.rpartition("/")[2]),
        "smiles": molecule.smiles,
    }
    if (molecule.charge, molecule.multiplicity) != (0, 1):
        facts |= {"total_charge": molecule.charge, "multiplicity": molecule.multiplicity}
    return facts


def molecule_name(molecule: Molecule) -> str:
    """Return ``ibuprofen`` for ``ibuprofen/0``."""
    return molecule.id.rpartition("/")[0]


def read_known_formulas(path: Path) -> dict[str, str]:
    """Return the known formula by molecule name, for the rows that state one."""
    database = connect(str(path), type="db", use_lock_file=False)
    facts = [row.key_value_pairs for row in database.select(columns=["id", "key_value_pairs"], include_data=False)]
    return {f["molecule_name"]: f["known_formula"] for f in facts if "known_formula" in f}


def content_hash(
    method: str,
    initial: Sequence[LabelledMolecule],
    test: Sequence[TestMolecule],
    trajectories: Mapping[str, Sequence[Molecule]] | None = None,
) -> str:
    """Return SHA-256 over everything a run can see, independent of file layout.

    Covered: method, ids, SMILES, charges, multiplicities, and the exact float64 values of positions, energies and
    forces, of starts and of minima. Of a large initial set: the number of its labels, and a sample of them
    (see ``golfbench.training_sets``). The order of the rows does not matter where all of them are covered.
    """
    digest = hashlib.sha256(json.dumps({"method": method}).encode())
    if is_large(initial):
        digest.update(json.dumps({"labels": len(initial)}).encode())
    for row in sorted(sample(initial), key=lambda r: r.molecule.id):
        _digest(digest, "initial", row.molecule, row.label)
    for item in sorted(test, key=lambda t: t.molecule.id):
        _digest(digest, "test", item.molecule, item.start)
        if item.minimum_positions is not None:
            digest.update(_bytes(item.minimum_positions))
        if item.minimum is not None:
            digest.update(_bytes(item.minimum.energy) + _bytes(item.minimum.forces))
    for name in sorted(trajectories or ()):
        for state in (trajectories or {})[name]:
            _digest(digest, "trajectory", state, None)
    return digest.hexdigest()


def _digest(digest: Any, part: str, molecule: Molecule, label: Label | None) -> None:
    header = [part, molecule.id, molecule.smiles, molecule.charge, molecule.multiplicity, molecule.numbers.tolist()]
    digest.update(json.dumps(header).encode() + _bytes(molecule.positions))
    if label is not None:
        digest.update(_bytes(label.energy) + _bytes(label.forces))


def _bytes(values: Any) -> bytes:
    return np.asarray(values, dtype="<f8").tobytes()
