"""The label cache: what engines answered, kept for every run on this machine, in one SQLite file.

A label's address is its question (oracle, method, options, geometry); beside each other stand the answers of different
versions of the engine. A cache saves oracle calls and is never needed: whatever goes wrong with it, a run goes on as if
it were empty.

Each operation opens the file again, in a fraction of a millisecond, so that a file may be removed or replaced
meanwhile. The journal is a rollback journal: write-ahead logs do not work on the network file systems of clusters.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from golfbench.contracts import Label
from golfbench.durable import replacing
from golfbench.errors import ConfigurationError, GolfbenchError, NothingToDoError, WriteError
from golfbench.oracles.cache_rows import COLUMNS, SCHEMA_VERSION, LabelRow, atomic_numbers, parse_line, utc_text
from golfbench.oracles.question import Question
from golfbench.oracles.sizes import basis_functions

#: A file; by default one in the user's cache folder.
PATH_VARIABLE = "GOLFBENCH_CACHE"
#: Marks the file as a label cache (``PRAGMA application_id``): "glfb".
APPLICATION_ID = 0x676C6662
#: How long an operation waits for another process that writes.
LOCK_TIMEOUT_S = 30.0
#: How long a run does not use a cache that stayed locked; so waiting takes a few percent of its time at most.
REST_S = 600.0
#: Rows and lines handled at a time; other processes get their turn in between.
PAGE = 500
_MATCHES = """(:oracle IS NULL OR oracle = :oracle) AND (:method IS NULL OR method = :method)
    AND (:before IS NULL OR created_utc < :before)"""
_SELECT_PAGE = f"SELECT * FROM labels WHERE id > :after AND {_MATCHES} ORDER BY id LIMIT {PAGE}"  # noqa: S608 (constants)
_COUNT = f"SELECT count(*) FROM labels WHERE {_MATCHES}"  # noqa: S608
_DELETE = f"DELETE FROM labels WHERE {_MATCHES}"  # noqa: S608
_ANSWERS = """SELECT * FROM labels WHERE key = :key AND (:engine IS NULL OR engine = :engine)
    ORDER BY created_utc DESC, id DESC"""
_SOURCES = """SELECT oracle, method, engine, count(*), sum(wall_s), sum(cpu_s), count(*) - count(cpu_s)
    FROM labels GROUP BY oracle, method, engine ORDER BY oracle, method, engine"""
_TIMINGS = """SELECT numbers, wall_s FROM labels WHERE oracle = :oracle AND method = :method
    ORDER BY id DESC LIMIT :most"""
log = logging.getLogger(__name__)
_T = TypeVar("_T")
_said: set[tuple[Path, str]] = set()


@dataclass(frozen=True, slots=True)
class CachedLabel:
    """A label that was known, with the engine (name and version) that made it, when, and at what cost.

    ``cpu_s`` is ``None`` where it is not known; ``created_utc`` is ISO 8601.
    """

    label: Label
    engine: str
    wall_s: float
    cpu_s: float | None
    created_utc: str


@dataclass(frozen=True, slots=True)
class Source:
    """How many labels there are of one engine at one level of theory, and the seconds that they took together.

    ``cpu_s`` is the sum over those whose CPU time is known, and ``None`` if there is none.
    """

    oracle: str
    method: str
    engine: str
    labels: int
    wall_s: float
    cpu_s: float | None
    labels_without_cpu: int


@dataclass(slots=True)
class CacheCheck:
    """How many labels were checked, one line a problem, and how many labels were removed."""

    labels: int = 0
    problems: list[str] = field(default_factory=list)
    removed: int = 0


@dataclass(slots=True)
class Import:
    """How many labels of a file are new, how many were there already, and one line for each line refused."""

    added: int = 0
    known: int = 0
    refused: list[str] = field(default_factory=list)


def default_path() -> Path:
    """Return the file that runs share: ``GOLFBENCH_CACHE`` or ``labels.sqlite`` in the user's cache folder."""
    from platformdirs import user_cache_path

    given = os.environ.get(PATH_VARIABLE)
    return Path(given).expanduser() if given else user_cache_path("golfbench") / "labels.sqlite"


class _File:
    """The file: opened for each operation. Runs go on when it fails; persons get an error.

    Args:
        path: It may be missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rest_until = 0.0
        if os.path.isdir(path):
            raise ConfigurationError(f"{path} is a folder: {PATH_VARIABLE} names a file")
        with contextlib.suppress(sqlite3.Error):
            self._open().close()

    def _open(self, create: bool = False) -> sqlite3.Connection:
        """Open the file; what is missing or blank is an empty database in memory, unless it is to be created."""
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        if create:
            self._make_folder()
        elif not os.path.exists(self.path):
            address = ":memory:"
        db = _connect(address)
        try:
            if self._is_blank(db):
                if not create:
                    db.close()
                    db = _connect(":memory:")
                _initialize(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{self.path} cannot be created: {error.strerror}") from error

    def _is_blank(self, db: sqlite3.Connection) -> bool:
        """Return whether a database is empty, and refuse one that is not of this kind."""
        try:
            application, version, tables = _identity(db)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(f"{self.path} is not a label cache (no SQLite file)") from None
            raise
        if application != APPLICATION_ID and (application or version or tables):
            raise ConfigurationError(f"{self.path} is not a label cache (another program's SQLite file)")
        if application and version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self.path} has schema version {version}, this golfbench reads {SCHEMA_VERSION}: "
                f"update golfbench, or let {PATH_VARIABLE} name another file"
            )
        return not application

    def _tolerant(self, work: Callable[[], _T], otherwise: _T) -> _T:
        """Return the result of some work, or ``otherwise`` where the file cannot be used."""
        if time.monotonic() < self._rest_until:
            return otherwise
        try:
            return work()
        except (sqlite3.Error, GolfbenchError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                self._rest_until = time.monotonic() + REST_S
            reason = str(error).replace(str(self.path), "the file")  # logs of runs name no folders of users
            self._warn_once(f"cannot be used, the run goes on without it: {reason}")
            return otherwise

    def _warn_once(self, text: str) -> None:
        if (self.path, text) not in _said:
            _said.add((self.path, text))
            log.warning("label cache %s: %s", self.path.name, text)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn errors of SQLite into those that a person can read."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise WriteError(f"the label cache {self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"the label cache {self.path} is damaged: {error}") from error

    @contextlib.contextmanager
    def _reported(self) -> Iterator[sqlite3.Connection]:
        with self._reporting(), contextlib.closing(self._open()) as db:
            yield db


class LabelCache(_File):
    """Labels by question, shared by processes and threads.

    ``engines``, ``get`` and ``put`` serve runs, and never fail whatever the state of the file. The other methods serve
    a person: they raise ``ConfigurationError`` for a damaged file and ``WriteError`` for one that cannot be used at the
    moment.

    Args:
        path: The file. A missing one is an empty cache; the first ``put`` makes it, with its folder.

    Raises:
        ConfigurationError: If the file is of a newer golfbench, or no label cache at all.
    """

    def engines(self, question: Question) -> list[str]:
        """Return the versions of the engine that have answered a question, the newest answer first."""
        return [row.engine for row in self._answers(question, None)]

    def get(self, question: Question, engine: str | None) -> CachedLabel | None:
        """Return the answer to a question, or ``None`` where it is not known.

        Args:
            question: The question.
            engine: Version of the engine that must have answered; ``None`` takes the newest answer of any.
        """
        row = next(self._answers(question, engine), None)
        return row and CachedLabel(row.label(), row.engine, row.wall_s, row.cpu_s, row.created_utc)

    def put(self, question: Question, label: Label, engine: str, wall_s: float, cpu_s: float | None) -> None:
        """Keep an answer; one that the same version of the engine gave before stays, unless it is damaged.

        Args:
            question: The question.
            label: The answer.
            engine: Name and version of the engine.
            wall_s: Wall-clock seconds that the call took.
            cpu_s: CPU seconds, or ``None`` where they are not known.
        """
        self.put_all([(question, label, engine, wall_s, cpu_s)])

    def put_all(self, answers: Iterable[tuple[Question, Label, str, float, float | None]]) -> None:
        """Keep answers, each with the arguments of ``put``, in one transaction."""
        rows = []
        for row in (LabelRow.of(*answer) for answer in answers):
            if problem := row.problem():
                self._warn_once(f"labels are not kept: {problem}")
            else:
                rows.append(row)
        if rows:
            self._tolerant(lambda: self._add(rows), 0)

    def sources(self) -> list[Source]:
        """Return what is kept, by oracle, method and version of the engine."""
        with self._reported() as db:
            return [Source(*values) for values in db.execute(_SOURCES)]

    def timings(self, oracle: str, method: str) -> list[tuple[int, float]]:
        """Return size (see ``sizes``) and wall time (s) of the newest calls of an oracle at a level of theory.

        Damaged rows are left out; there are ``PAGE`` at most.
        """
        wanted = {"oracle": oracle, "method": method, "most": PAGE}

        def fetch() -> list[tuple[int, float]]:
            with contextlib.closing(self._open()) as db:
                rows = db.execute(_TIMINGS, wanted).fetchall()
            sound = [row for row in rows if isinstance(row[0], bytes) and len(row[0]) % 2 == 0 and row[1] is not None]
            return [(basis_functions(atomic_numbers(numbers)), float(wall_s)) for numbers, wall_s in sound]

        return self._tolerant(fetch, [])

    def verify(self, remove: bool = False) -> CacheCheck:
        """Check the file and each label in it: checksum, hashes, finite numbers; ``remove`` takes damaged ones out."""
        result = CacheCheck()
        try:
            with self._reported() as db:
                lines = [line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok"]
                result.problems += [f"the file itself: {line}" for line in lines]
                for page in _pages(db):
                    bad = {id: problem for id, row in page if (problem := row.problem())}
                    result.labels += len(page)
                    result.problems += [f"label {id}: {problem}" for id, problem in bad.items()]
                    result.removed += sum(_remove(db, id) for id in bad) if remove else 0
        except ConfigurationError as error:
            result.problems.append(str(error))
        return result

    def export(self, target: Path, oracle: str | None = None, method: str | None = None) -> tuple[int, int]:
        """Write labels as JSON lines, all or none; a file that is there is replaced.

        Returns:
            How many were written, and how many damaged ones were left out.

        Raises:
            NothingToDoError: If no intact label is of that oracle and method (``None``: of any).
            WriteError: If the file cannot be written.
        """
        written = damaged = 0
        with replacing(target) as unfinished:
            with self._reported() as db, unfinished.open("w", encoding="utf-8") as file:
                for page in _pages(db, oracle, method):
                    lines = [row.line() for _, row in page if not row.problem()]
                    file.writelines(lines)
                    written, damaged = written + len(lines), damaged + len(page) - len(lines)
            if not written:
                raise NothingToDoError(f"{self.path} has no sound label that matches")
        return written, damaged

    def load(self, source: Path) -> Import:
        """Add the labels of an exported file; those that are there already stay, damaged lines are skipped.

        Raises:
            ConfigurationError: If the file cannot be read.
            NothingToDoError: If it is empty.
        """
        result = Import()
        try:
            with source.open("rb") as lines, self._reporting():
                numbered = enumerate(lines, 1)
                while batch := [(number, parse_line(line)) for number, line in islice(numbered, PAGE)]:
                    result.refused += [f"line {number}: {row}" for number, row in batch if isinstance(row, str)]
                    rows = [row for _, row in batch if isinstance(row, LabelRow)]
                    added = self._add(rows) if rows else 0
                    result.added, result.known = result.added + added, result.known + len(rows) - added
        except OSError as error:
            raise ConfigurationError(f"{source}: {error.strerror}") from error
        if not (result.added or result.known or result.refused):
            raise NothingToDoError(f"{source} is empty")
        return result

    def count(self, oracle: str | None = None, method: str | None = None, before: datetime | None = None) -> int:
        """Return how many labels there are of an oracle, of a method, and made before a time; ``None`` means any."""
        with self._reported() as db:
            (count,) = db.execute(_COUNT, _selection(oracle, method, before)).fetchone()
        return int(count)

    def clear(self, oracle: str | None = None, method: str | None = None, before: datetime | None = None) -> int:
        """Remove the labels that ``count`` counts, give their space back, and return how many there were."""
        with self._reported() as db:
            with _transaction(db):
                removed = db.execute(_DELETE, _selection(oracle, method, before)).rowcount
            # Needs room for a copy, and the file for itself; where it fails, later labels take the space.
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute("VACUUM")
        return removed

    def _answers(self, question: Question, engine: str | None) -> Iterator[LabelRow]:
        """Yield the intact answers to a question, the newest first."""
        wanted = {"key": question.key, "engine": engine}

        def fetch() -> list[tuple[Any, ...]]:
            with contextlib.closing(self._open()) as db:
                return db.execute(_ANSWERS, wanted).fetchall()

        found: list[tuple[Any, ...]] = self._tolerant(fetch, [])
        for id, *values in found:
            row = LabelRow(*values)
            if row.is_sound():
                yield row
            else:
                log.warning("label cache %s: label %d is damaged and left out", self.path.name, id)

    def _add(self, rows: Sequence[LabelRow]) -> int:
        """Add rows in one transaction and return how many were not there, or damaged."""
        with contextlib.closing(self._open(create=True)) as db, _transaction(db):
            return sum(_insert(db, row) for row in rows)


_COLUMN_TYPES = {str: "TEXT NOT NULL", bytes: "BLOB NOT NULL", int: "INTEGER NOT NULL", float: "REAL NOT NULL"}


def _connect(address: str) -> sqlite3.Connection:
    db = sqlite3.connect(address, timeout=LOCK_TIMEOUT_S, isolation_level=None, uri=True)
    db.text_factory = partial(str, encoding="utf-8", errors="replace")  # a damaged text is a wrong checksum, no error
    return db


def _identity(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Return application id, schema version and number of tables.

    Read in one transaction: another process may be creating them.
    """
    db.execute("BEGIN")
    queries = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    application, version, tables = (db.execute(query).fetchone()[0] for query in queries)
    db.execute("COMMIT")
    return application, version, tables


def _initialize(db: sqlite3.Connection) -> None:
    columns = ", ".join(f"{name} {_COLUMN_TYPES.get(kind, 'REAL')}" for name, kind in COLUMNS.items())
    with _transaction(db):
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:  # else another process was quicker
            db.execute(f"CREATE TABLE labels (id INTEGER PRIMARY KEY, {columns})")
            db.execute("CREATE UNIQUE INDEX labels_by_question ON labels (key, engine)")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write in one transaction.

    The lock is taken first, because two readers that both want to write would block each other.
    """
    db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, row: LabelRow) -> bool:
    """Write a row where there is no intact one; return whether it was written."""
    there = db.execute("SELECT * FROM labels WHERE key = ? AND engine = ?", (row.key, row.engine)).fetchone()
    if there and LabelRow(*there[1:]).is_sound():
        return False
    marks = ", ?" * len(row)
    db.execute(f"INSERT OR REPLACE INTO labels VALUES (NULL{marks})", row)  # noqa: S608 (question marks only)
    return True


def _remove(db: sqlite3.Connection, id: int) -> bool:
    """Remove a damaged row, unless somebody replaced it meanwhile."""
    with _transaction(db):
        values = db.execute("SELECT * FROM labels WHERE id = ?", (id,)).fetchone()
        bad = bool(values and LabelRow(*values[1:]).problem())
        if bad:
            db.execute("DELETE FROM labels WHERE id = ?", (id,))
    return bad


def _selection(oracle: str | None, method: str | None, before: datetime | None = None) -> dict[str, str | None]:
    return {"oracle": oracle, "method": method, "before": utc_text(before) if before else None}


def _pages(
    db: sqlite3.Connection, oracle: str | None = None, method: str | None = None
) -> Iterator[list[tuple[int, LabelRow]]]:
    """Yield the rows that match, by id; no lock is held between pages."""
    place: dict[str, Any] = _selection(oracle, method) | {"after": 0}
    while page := db.execute(_SELECT_PAGE, place).fetchall():
        yield [(id, LabelRow(*values)) for id, *values in page]
        place["after"] = page[-1][0]
