"""An initial training set that stays in its file: rows are read on demand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, overload
from urllib.parse import quote

import numpy as np
from ase.db.row import AtomsRow
from ase.db.sqlite import SQLite3Database

from golfbench.contracts import LabelledMolecule
from golfbench.errors import ConfigurationError
from golfbench.training_sets import Part
from golfbench_datasets.files import labelled_of, name_of, open_database, unreadable

#: Rows that are kept in memory: those of the sample are read several times.
_KEPT = 4096
#: What ASE raises for a damaged row.
_DAMAGE = (sqlite3.Error, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, OverflowError)


class Rows(Protocol):
    """How the rows of a file are read."""

    def open(self) -> SQLite3Database:
        """Open the file and check its metadata."""
        ...

    def name(self, facts: dict[str, Any], row: int) -> str:
        """Return the id of a row's molecule, by its ``key_value_pairs``."""
        ...

    def labelled(self, row: AtomsRow) -> LabelledMolecule:
        """Return the molecule and the label of a row, or refuse it by its number."""
        ...


@dataclass(frozen=True, slots=True)
class FolderRows:
    """Rows of a dataset folder, see ``files``.

    Attributes:
        path: The file.
        method: Level of theory of its labels.
    """

    path: Path
    method: str

    def open(self) -> SQLite3Database:
        """Open the file; see ``files.open_database``."""
        return open_database(self.path, self.method)

    def name(self, facts: dict[str, Any], row: int) -> str:
        """Return the id of a row's molecule."""
        return name_of(facts, row)

    def labelled(self, row: AtomsRow) -> LabelledMolecule:
        """Return what the row has; see ``files.labelled_of``."""
        return labelled_of(row, self.path, self.method)


class LabelsInFile(Sequence[LabelledMolecule]):
    """The rows of an ASE SQLite file, in the order of their ids (see ``contracts.HasRows`` and ``HasContents``).

    Args:
        path: The file.
        method: Level of theory of its labels.
        rows: How rows are read; ``None`` for those of a dataset folder.

    Raises:
        ConfigurationError: If the file is missing, damaged, empty, in other units or of another method.
    """

    def __init__(self, path: Path, method: str, rows: Rows | None = None) -> None:
        self._path, self._read_as = path, rows or FolderRows(path, method)
        self._database: SQLite3Database = self._read_as.open()
        self._lock = Lock()  # batches are made in a thread
        with unreadable(path):
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, check_same_thread=False
            )
            # Sorted here: SQLite reads an index for this, and would read the whole table to sort.
            self._rows = np.sort(np.fromiter((n for (n,) in self._all("SELECT id FROM systems")), dtype=np.int64))
        self._read = lru_cache(_KEPT)(self._read_row)
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> LabelledMolecule: ...
    @overload
    def __getitem__(self, index: slice) -> Part: ...
    def __getitem__(self, index: int | slice) -> LabelledMolecule | Part:
        if isinstance(index, slice):
            return Part(self, range(*index.indices(len(self))))
        return self._read(int(self._rows[index]))

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules, in order; read once."""
        if not self._ids:
            with unreadable(self._path):
                rows = self._all("SELECT id, key_value_pairs FROM systems ORDER BY id")
                self._ids = [self._read_as.name(json.loads(text), row) for row, text in rows]
        return self._ids

    def place(self, index: int) -> str:
        """Return the file and the row of a label."""
        return f"{self._path}, row {self._rows[index]}"

    def examples(self, most: int) -> Sequence[int]:
        """Return indices of labels that have each element that occurs: ``most`` for each."""
        with unreadable(self._path):
            elements = [z for (z,) in self._all("SELECT DISTINCT Z FROM species")]
            found = {
                row for z in elements for (row,) in self._all("SELECT id FROM species WHERE Z = ? LIMIT ?", (z, most))
            }
        return [int(k) for k in np.searchsorted(self._rows, sorted(found))]

    def structures(self, smiles: Collection[str]) -> set[str]:
        """Return which of these SMILES occur."""
        with unreadable(self._path):
            rows = self._all("SELECT DISTINCT value FROM text_key_values WHERE key = 'smiles'")
        return {value for (value,) in rows} & set(smiles)

    def _all(self, statement: str, values: Sequence[Any] = ()) -> Iterable[tuple[Any, ...]]:
        with self._lock:
            rows: list[tuple[Any, ...]] = self._connection.execute(statement, values).fetchall()
        return rows

    def _read_row(self, row: int) -> LabelledMolecule:
        return self._read_as.labelled(self.row(row))

    def numbers(self) -> list[int]:
        """Return the ids of the rows, in order."""
        return [int(number) for number in self._rows]

    def rows(self, most: int | None = None) -> Iterator[AtomsRow]:
        """Yield the rows in order, so many of them or all."""
        yield from map(self.row, self.numbers()[:most])

    def row(self, number: int) -> AtomsRow:
        """Return a row of the file by its id.

        Raises:
            ConfigurationError: If it is damaged.
        """
        statement = "SELECT numbers, positions, key_value_pairs, data FROM systems WHERE id = ?"
        database: Any = self._database  # these two methods have no types
        deblob, decode = database.deblob, database.decode
        try:
            ((numbers, positions, facts, data),) = self._all(statement, (number,))
            values = {
                "id": number,
                "numbers": deblob(numbers, np.int32),
                "positions": deblob(positions, shape=(-1, 3)),
                "key_value_pairs": decode(facts),
                "data": data,
            }
            read = AtomsRow(values)
            read.data  # noqa: B018 - it is decoded here
        except _DAMAGE as error:
            raise ConfigurationError(f"{self._path}, row {number} cannot be read ({error})") from None
        return read
