"""What is kept while molecules walk: a row of each, and the minimized ones in a file that grows.

The output is the state. ``NAME.partial.sdf`` has the molecules in the order in which they were done, and beside it
``NAME.partial.sdf.state``, an SQLite file, has the rows, where in the file each molecule is, and what the command was:
the same command goes on from there. The end is the output in the order of the input, or ranked. Nothing of this is in
memory, however many molecules there are.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecule_files.input_molecules import EndPoint
from golfbench.molecule_files.rows import OwnRow
from golfbench.molecule_files.state import LAYOUT, TABLES, Shape, State, connected, packed
from golfbench.molecule_files.writing import with_facts

SUFFIXES = (".sdf", ".extxyz", ".xyz")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one molecule.

    Attributes:
        place: Its place in the input.
        row: What became of it.
        data: Its record of the output; ``None`` where it has no end point.
        shape: Where it came to rest; ``None`` where it has no end point that can be compared.
        end: The end point itself, for callers in this process (see ``library.Job.gives_ends``).
    """

    place: int
    row: OwnRow
    data: bytes | None = None
    shape: Shape | None = None
    end: EndPoint | None = None


class Output(State):
    """Molecules that are kept as soon as they are done; made by ``open_output``.

    Attributes:
        path: The output, which appears at the end; ``None`` where rows alone are kept, in a temporary place.
        fresh: Whether nothing has been kept so far, now or by an earlier command.
        partial: A file beside it with those that are done; readable at any time.
    """

    def __init__(self, path: Path | None, overwrite: bool, command: str) -> None:
        super().__init__()
        self.path, self.fresh = path, True
        if path is None:
            self._file: FileIO = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
            self._size = 0
            return
        check_place(path, overwrite)
        self.partial = path.with_suffix(f".partial{path.suffix}")
        self.state = self.partial.with_name(f"{self.partial.name}.state")
        self._file = _locked(path, self.partial)
        try:
            self._begin(overwrite, command)
        except BaseException:
            if not os.fstat(self._file.fileno()).st_size:
                self.partial.unlink(missing_ok=True)
            self._file.close()
            raise

    def _begin(self, overwrite: bool, command: str) -> None:
        """Go on with what is there, or make room for what will be."""
        self._size = 0
        self._command = hashlib.sha256(command.encode()).hexdigest(), command
        left = os.fstat(self._file.fileno()).st_size
        self.fresh = overwrite or not self.state.exists()
        if left and self.fresh and not overwrite:
            raise ConfigurationError(
                f"{self.partial} exists, and no {self.state.name} that says what it is: move it away, or give "
                "--overwrite"
            )
        if not self.fresh:
            self._resume(left)

    def _resume(self, size: int) -> None:
        try:
            self._db = connected(str(self.state))
            ((layout, fingerprint, said),) = self._db.execute("SELECT * FROM command")
            for table in ("molecules", "verdicts"):
                self._db.execute(f"DELETE FROM {table} WHERE status = 'interrupted'")  # noqa: S608 - constants
            ((end, self.resumed),) = self._db.execute(
                "SELECT max(coalesce((SELECT max(begin + length) FROM molecules), 0), "
                "coalesce((SELECT max(begin + length) FROM verdicts), 0)), (SELECT count(*) FROM molecules)"
            )
        except (sqlite3.Error, ValueError) as error:
            raise ConfigurationError(f"{self.state} is damaged: give --overwrite to begin anew ({error})") from error
        if (layout, fingerprint) != (LAYOUT, self._command[0]):
            raise ConfigurationError(
                f"{self.partial} is of another command ({_difference(said, self._command[1])}): repeat that one, name "
                "another output, or give --overwrite"
            )
        if end > size:
            raise ConfigurationError(f"{self.partial} is shorter than it was: give --overwrite to begin anew")
        self._db.execute("PRAGMA synchronous = OFF")
        self._size = end
        self._file.truncate(end)  # a record that was not kept whole

    def _start(self) -> None:
        """Replace what an earlier command left, now that there is something to keep."""
        self.fresh = False
        if self.path is None:
            return
        self.state.unlink(missing_ok=True)
        self._file.truncate(0)
        self._db = connected(str(self.state))
        self._db.executescript(f"PRAGMA synchronous = OFF; {TABLES}")  # enough for the death of the process
        self._db.execute("INSERT INTO command VALUES (?, ?, ?)", (LAYOUT, *self._command))

    def add(self, kept: Kept, by_oracle: bool = False) -> None:
        """Keep what became of a molecule on the model, or what the oracle made of it.

        Raises:
            WriteError: If it cannot be written; those before it are safe.
        """
        begin, data, shape = self._size, kept.data or b"", kept.shape
        place: object = self.partial if self.path is not None else "the temporary folder"
        try:
            if self.fresh:
                self._start()
            self._file.seek(begin)
            _write(self._file, data)
            told = (None, None, None) if shape is None else (shape.energy, shape.kind, packed(shape))
            row, table = kept.row, "verdicts" if by_oracle else "molecules"
            with self._lock:
                self._db.execute(
                    f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
                    (kept.place, row.id, row.status.value, row.model_dump_json(), begin, len(data), *told),
                )
        except (OSError, sqlite3.OperationalError) as error:
            with contextlib.suppress(OSError):
                self._file.truncate(begin)
            reason = error.strerror if isinstance(error, OSError) else error
            raise WriteError(f"{place} cannot be written: {reason}") from error
        self._size += len(data)

    def finish(self, ranked: bool = False) -> None:
        """Make the output of what was kept, if anything was, and remove what it was made of.

        Raises:
            WriteError: If it cannot be written; the file beside it stays.
        """
        if self.path is None or not len(self):
            return
        ordered = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with ordered.open("wb") as file:
                for row, begin, length in self.ordered(ranked):
                    if length and row.left_out is None:
                        self._file.seek(begin)
                        file.write(with_facts(self.path.suffix, self._file.read(length), _told(row)))
                file.flush()
                os.fsync(file.fileno())
            os.replace(ordered, self.path)
        except OSError as error:
            raise WriteError(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                ordered.unlink(missing_ok=True)
        self._file.truncate(0)

    def close(self) -> None:
        """Remove the files beside the output if nothing is in the first."""
        self._db.close()
        with self._file:
            empty = not os.fstat(self._file.fileno()).st_size
        if empty and self.path is not None and not self.fresh:
            self.state.unlink(missing_ok=True)
        if empty and self.path is not None:
            self.partial.unlink(missing_ok=True)


def add_together(output: Output, kept: Sequence[Kept]) -> None:
    """Keep several molecules, all or none of them whenever the process dies.

    Raises:
        WriteError: See ``Output.add``.
    """
    if output.fresh and kept:
        output._start()
    with output.ranking():
        for one in kept:
            output.add(one)


def _told(row: OwnRow) -> dict[str, str | float]:
    """Return what is known of a molecule only when all are done."""
    relative = row.energy_relative_kcal_mol
    facts: dict[str, str | float] = {} if row.unique_id == row.id else {"id": row.unique_id}
    return facts | ({} if relative is None else {"energy_relative_kcal_mol": round(relative, 6)})


def _difference(before: str, now: str) -> str:
    """Return what an earlier command had otherwise, one line of each."""
    old, new = (dict(line.partition(" ")[::2] for line in text.splitlines()) for text in (before, now))
    names = [name for name in old if old[name] != new.get(name)]
    return ", ".join(f"its {name} was {old[name]}" if len(old[name]) < 60 else f"another {name}" for name in names[:3])


@contextmanager
def open_output(path: Path | None, overwrite: bool, command: str = "") -> Iterator[Output]:
    """Try the place of an output before anything is computed, or go on with what is there.

    Args:
        path: The output; ``None`` keeps rows alone.
        overwrite: Replace a file that exists, and forget what an earlier command has done.
        command: What must be the same for an earlier command to be gone on with: a name and its value a line.

    Raises:
        ConfigurationError: If it could not be written: its ending is not known, its folder is missing or takes no
            file, it exists and is to stay, another process writes it, or it is of another command.
        WriteError: If it cannot be written in the end. Where the molecules are is told in a note of this exception, as
            of every other that ends the work early.
    """
    output = Output(path, overwrite, command)
    try:
        yield output
    except BaseException as error:
        if path is not None and (count := len(output)):
            error.add_note(f"{count} molecules are in {output.partial}, in the order in which they were done")
        raise
    finally:
        output.close()


def check_place(path: Path, overwrite: bool) -> None:
    """Refuse an output that cannot be.

    Raises:
        ConfigurationError: If its ending is not known, its folder is missing, or it exists and is to stay.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"{path}: the output is .sdf, or .extxyz (also .xyz)")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if path.exists() and not overwrite:
        raise ConfigurationError(f"{path} exists already: choose another name, or give --overwrite")


def _locked(path: Path, partial: Path) -> FileIO:
    """Open the file that grows, and see to it that nobody else writes it; the lock goes with the process."""
    try:
        file = FileIO(partial, "a+")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigurationError(
            f"{partial} is written by another process now: wait for it, or name another"
        ) from error
    return file


def _write(file: FileIO, data: bytes) -> None:
    """Write all of it; the system may take it in parts."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
