"""The store of labels: everything an oracle delivered to this run, in the paper's format (ASE SQLite).

Written before the call enters the ledger and carrying the call itself, so that a crash between the two loses neither:
opening the store with a ledger adds the line that is missing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import now
from ase.db.row import AtomsRow

from golfbench.contracts import Label, LabelledMolecule
from golfbench.durable import write_atomically, write_errors
from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecules import Molecule
from golfbench.oracles.ledger import Ledger, OracleCall

#: Units as the paper's databases declare them.
_UNITS = {"_distance_unit": "Ang", "_property_unit_dict": {"energy": "Hartree", "forces": "Hartree/Ang"}}


class LabelStore:
    """Labels by address, in one SQLite file; labels that the gate refused lie beside them and are never given out.

    Args:
        path: ``labels.db`` of a run.
        ledger: Gets the lines that are missing after a crash.

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
        # Straight from ASE's tables: its own rows would be read and parsed one by one, a minute for a million.
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            numbers = dict(db.execute("SELECT id, value FROM number_key_values WHERE key = 'call_id'"))
            keys = dict(db.execute("SELECT id, value FROM text_key_values WHERE key = 'label_key'"))
            refused = {row for (row,) in db.execute("SELECT id FROM text_key_values WHERE key = 'rejected'")}
            (rows,) = db.execute("SELECT count(*) FROM systems").fetchone()
        for name, found in (("label_key", keys), ("call_id", numbers)):
            if len(found) != rows:
                raise ValueError(f"{rows - len(found)} of its {rows} rows have no {name}")
        self._rows = {key: row for row, key in keys.items() if row not in refused}
        for row, call_id in numbers.items():
            if int(call_id) not in ledger:
                ledger.append(OracleCall.model_validate_json(self._db.get(id=row).data["call"]))

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

        One whose call was ``rejected`` is kept with the reason, and is not in the store for those who ask.

        Raises:
            WriteError: If it cannot be written.
        """
        row = anonymous_row(molecule)
        # The molecule's id is in the call only: ASE refuses text that reads as a number.
        facts = {
            "label_key": key,
            "call_id": call.call_id,
            "method": label.method,
            "purpose": call.purpose,
            "total_charge": molecule.charge,
            "multiplicity": molecule.multiplicity,
        } | ({"smiles": molecule.smiles} if molecule.smiles else {})
        refused = call.outcome == "rejected"
        facts |= {"rejected": call.error} if refused else {}
        data = {"energy": [label.energy], "forces": label.forces, "call": call.model_dump_json()}
        with self._lock:
            try:
                written = self._db.write(row, key_value_pairs=facts, data=data)
            except (sqlite3.Error, OSError) as error:
                raise WriteError(f"{self.path.name} cannot be written: {error}") from error
            if not refused:
                self._rows[key] = written


def _create(path: Path) -> None:
    """Create an empty store, completely or not at all.

    ASE creates one table after the other and SQLite commits each, so a full disk would leave some of them.
    """
    with write_errors(path), TemporaryDirectory(prefix="golfbench-") as folder:
        blank = Path(folder) / path.name
        with connect(str(blank), type="db", use_lock_file=False) as database:
            database.metadata = _UNITS
        write_atomically(path, blank.read_bytes())


def anonymous_row(molecule: Molecule) -> AtomsRow:
    """Return a database row of a geometry without the name of the user, which ASE would add."""
    row: Any = AtomsRow(Atoms(numbers=molecule.numbers, positions=molecule.positions))
    row.ctime, row.user = now(), None
    return row  # type: ignore[no-any-return]
