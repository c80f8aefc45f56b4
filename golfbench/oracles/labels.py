"""The store of labels: everything an oracle delivered to this run, in the paper's format (ASE SQLite).

Written before the call enters the ledger and carrying the call itself, so that a crash between the two loses neither:
opening the store with a ledger adds the line that is missing.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import now
from ase.db.row import AtomsRow

from golfbench.contracts import Label, LabelledMolecule
from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecules import Molecule
from golfbench.oracles.ledger import Ledger, OracleCall

#: Units as the paper's databases declare them.
_UNITS = {"_distance_unit": "Ang", "_property_unit_dict": {"energy": "Hartree", "forces": "Hartree/Ang"}}


def label_key(oracle: str, geometry_sha256: str) -> str:
    """Return the address of a label: which oracle, with which options, for which geometry."""
    return hashlib.sha256(f"{oracle}/{geometry_sha256}".encode()).hexdigest()


class LabelStore:
    """Labels by address, in one SQLite file.

    Args:
        path: ``labels.db`` of a run.
        ledger: Gets the lines that a crash kept from it.

    Raises:
        ConfigurationError: If the file is not such a store.
        WriteError: If it cannot be opened for writing.
    """

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        # No lock file: a killed process would leave it behind; SQLite has its own locking, and a run its own lock.
        try:
            if not path.exists():
                _create(path)
            self._db: Any = connect(str(path), type="db", use_lock_file=False)
            self._open(ledger)
        except sqlite3.OperationalError as error:
            raise WriteError(f"{path.name} cannot be opened: {error}") from error
        except (sqlite3.DatabaseError, OSError, AttributeError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"{path.name} is not a store of labels ({reason})") from error

    def _open(self, ledger: Ledger) -> None:
        for row in self._db.select():
            self._rows[row.label_key] = row.id
            call = OracleCall.model_validate_json(row.data["call"])
            if call.call_id not in ledger:
                ledger.append(call)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str) -> Label:
        """Return the label at that address."""
        with self._lock:
            row = self._db.get(id=self._rows[key])
        forces = np.array(row.data["forces"], dtype=np.float64)
        return Label(float(row.data["energy"][0]), forces, row.method)

    def labelled(self, key: str) -> LabelledMolecule:
        """Return the label at that address with its molecule."""
        label = self.get(key)
        with self._lock:
            row = self._db.get(id=self._rows[key])
        molecule = Molecule(
            OracleCall.model_validate_json(row.data["call"]).molecule,
            row.numbers,
            row.positions,
            int(row.total_charge),
            int(row.multiplicity),
            row.get("smiles"),
        )
        return LabelledMolecule(molecule, label)

    def put(self, key: str, molecule: Molecule, label: Label, call: OracleCall) -> None:
        """Store a label; it survives the death of this process.

        Raises:
            WriteError: If it cannot be written.
        """
        row = anonymous_row(molecule)
        # The molecule's id is in the call only: ASE refuses text that reads as a number.
        facts = {
            "label_key": key,
            "method": label.method,
            "purpose": call.purpose,
            "total_charge": molecule.charge,
            "multiplicity": molecule.multiplicity,
        } | ({"smiles": molecule.smiles} if molecule.smiles else {})
        data = {"energy": [label.energy], "forces": label.forces, "call": call.model_dump_json()}
        with self._lock:
            try:
                self._rows[key] = self._db.write(row, key_value_pairs=facts, data=data)
            except (sqlite3.Error, OSError) as error:
                raise WriteError(f"{self.path.name} cannot be written: {error}") from error


def _create(path: Path) -> None:
    """Create an empty store, whole or not at all.

    ASE creates one table after the other and SQLite commits each, so a full disk would leave some of them. In a
    folder of its own a journal is removed with its database.
    """
    folder = path.with_name(f"{path.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        with connect(str(folder / path.name), type="db", use_lock_file=False) as database:
            database.metadata = _UNITS
        (folder / path.name).replace(path)
    except OSError as error:
        raise WriteError(f"{path.name} cannot be created: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def anonymous_row(molecule: Molecule) -> AtomsRow:
    """Return a database row of a geometry without the name of the user, which ASE would add."""
    row: Any = AtomsRow(Atoms(numbers=molecule.numbers, positions=molecule.positions))
    row.ctime, row.user = now(), None
    return row  # type: ignore[no-any-return]
