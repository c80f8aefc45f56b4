"""What is known of the molecules of a command, in an SQLite file: rows, end points, ranks, and what an oracle said."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from golfbench.chemistry import FloatArray, IntArray
from golfbench.molecule_files.rows import OwnRow

#: Changes with the layout of the state.
LAYOUT = "2"
_COLUMNS = """(
    place INTEGER PRIMARY KEY, id TEXT, status TEXT, row TEXT, begin INTEGER, length INTEGER, energy REAL, kind TEXT,
    atoms BLOB
);"""
#: ``molecules`` has what became of each on the model, ``verdicts`` what the oracle made of it, ``ends`` the last word.
TABLES = f"""
CREATE TABLE command (layout TEXT, fingerprint TEXT, said TEXT);
CREATE TABLE molecules {_COLUMNS}
CREATE TABLE verdicts {_COLUMNS}
CREATE TABLE ranks (place INTEGER PRIMARY KEY, relative REAL, left_out TEXT);
CREATE TABLE hessians (place INTEGER PRIMARY KEY, hessian BLOB);
CREATE VIEW ends AS
    SELECT found.*, relative, left_out FROM (
        SELECT * FROM molecules WHERE place NOT IN (SELECT place FROM verdicts) UNION ALL SELECT * FROM verdicts
    ) AS found LEFT JOIN ranks USING (place);
"""  # noqa: S608 - constants
#: The rows, with how many have the same name and the number of each among them; and their two orders.
_ROWS = """
SELECT row, relative, left_out, begin, length, count(*) OVER (PARTITION BY id),
    row_number() OVER (PARTITION BY id ORDER BY place)
FROM ends ORDER BY """
_BY_INPUT = "place"
_RANKED = "min(place) OVER (PARTITION BY coalesce(kind, place)), energy IS NULL, energy, place"


@dataclass(frozen=True, slots=True)
class Shape:
    """An end point that can be ranked among others.

    Attributes:
        kind: The same for conformers of one molecule.
        energy: Hartree.
        numbers: (n_atoms,).
        positions: (n_atoms, 3), Å.
    """

    kind: str
    energy: float
    numbers: IntArray
    positions: FloatArray


class State:
    """Rows and end points in a database.

    Attributes:
        resumed: Molecules that an earlier command has done.
    """

    def __init__(self) -> None:
        self.resumed, self._db = 0, connected("")
        self._db.executescript(TABLES)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many molecules are kept with a place in the output."""
        ((count,),) = self._db.execute("SELECT count(*) FROM ends WHERE length > 0 AND left_out IS NULL")
        return int(count)

    def done(self, first: int, last: int) -> set[int]:
        """Return the places, from ``first`` to ``last``, that are done."""
        if not self.resumed:
            return set()
        return {
            place
            for (place,) in self._db.execute("SELECT place FROM molecules WHERE place BETWEEN ? AND ?", (first, last))
        }

    def shapes(self) -> Iterator[tuple[int, Shape, str | None]]:
        """Yield places, end points that can be ranked, and SMILES: those of one molecule together, lowest first."""
        found = self._db.execute(
            "SELECT place, kind, energy, atoms, row ->> '$.smiles' FROM ends WHERE kind IS NOT NULL "
            "ORDER BY kind, energy, place"
        )
        for place, kind, energy, atoms, smiles in found:
            yield place, Shape(kind, energy, *_shape_of(atoms)), smiles

    def rank(self, place: int, relative: float, left_out: str | None) -> None:
        """Note how far a molecule is above the lowest of its kind, kcal/mol, and why it is left out, if it is."""
        self._db.execute("INSERT OR REPLACE INTO ranks VALUES (?, ?, ?)", (place, relative, left_out))

    @contextmanager
    def ranking(self) -> Iterator[None]:
        """Take in many ranks at once."""
        self._db.execute("BEGIN")
        yield
        self._db.execute("COMMIT")

    def rows(self, ranked: bool = False) -> Iterator[OwnRow]:
        """Yield all rows, in the order of the input or, ranked, those of one molecule together and the lowest first."""
        return (row for row, _, _ in self.ordered(ranked))

    def ordered(self, ranked: bool) -> Iterator[tuple[OwnRow, int, int]]:
        """Yield all rows, each with where its record begins in the file beside, and its length."""
        found = self._db.execute(_ROWS + (_RANKED if ranked else _BY_INPUT))
        for row, relative, left_out, begin, length, same, number in found:
            read = OwnRow.model_validate_json(row)
            unique = read.id if same == 1 else f"{read.id}/{number - 1}"
            told = {"unique_id": unique, "energy_relative_kcal_mol": relative, "left_out": left_out}
            yield read.model_copy(update=told), begin, length

    def shared_names(self) -> Iterator[tuple[str, int]]:
        """Yield the source of the first, and the number, of each group of molecules with the same name."""
        yield from self._db.execute(
            "SELECT row ->> '$.input', count(*) FROM ends WHERE status <> 'skipped' OR row ->> '$.n_atoms' > 0 "
            "GROUP BY id HAVING count(*) > 1 ORDER BY min(place)"
        )

    def walked(self, first: int, last: int) -> dict[int, tuple[OwnRow, FloatArray]]:
        """Return the rows and positions (n_atoms, 3), Å, that a model's walks ended with, by place in a range.

        Those alone that an oracle may look at: no walk that failed, and no molecule whose bonds changed.
        """
        found = self._db.execute(
            "SELECT place, row, atoms FROM molecules WHERE atoms IS NOT NULL AND place BETWEEN ? AND ?", (first, last)
        )
        return {place: (OwnRow.model_validate_json(row), _shape_of(atoms)[1]) for place, row, atoms in found}

    def count_walked(self) -> int:
        """Return how many molecules ``walked`` has in all."""
        ((count,),) = self._db.execute("SELECT count(*) FROM molecules WHERE atoms IS NOT NULL")
        return int(count)

    def judged(self) -> set[int]:
        """Return the places of molecules that the oracle has done with."""
        return {place for (place,) in self._db.execute("SELECT place FROM verdicts")}

    def hessian(self, place: int) -> FloatArray | None:
        """Return the second derivatives that were kept for a molecule; may be asked from any thread."""
        with self._lock:
            found = self._db.execute("SELECT hessian FROM hessians WHERE place = ?", (place,)).fetchone()
        if found is None:
            return None
        flat = np.frombuffer(found[0], "<f8")
        size = round(flat.size**0.5)
        return flat.reshape(size, size)

    def keep_hessian(self, place: int, hessian: FloatArray) -> None:
        """Keep second derivatives (3·n_atoms, 3·n_atoms) at a model's end: a resumed walk takes the same steps."""
        with self._lock:
            self._db.execute("INSERT INTO hessians VALUES (?, ?)", (place, hessian.astype("<f8").tobytes()))


def connected(path: str) -> sqlite3.Connection:
    """Open a database that several threads may use, one at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def packed(shape: Shape) -> bytes:
    """Return numbers and positions as they are kept."""
    return shape.numbers.astype("<i8").tobytes() + shape.positions.tobytes()


def _shape_of(atoms: bytes) -> tuple[IntArray, FloatArray]:
    size = len(atoms) // 32
    numbers, positions = np.frombuffer(atoms, "<i8", size), np.frombuffer(atoms, "<f8", 3 * size, 8 * size)
    return numbers, positions.reshape(size, 3)
