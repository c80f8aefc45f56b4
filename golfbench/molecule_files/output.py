"""A file of minimized molecules that is filled while others still walk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecule_files.entries import EndPoint
from golfbench.molecule_files.writing import molecule_bytes

SUFFIXES = (".sdf", ".extxyz", ".xyz")


class Output:
    """Molecules that are kept as soon as they are done; made by ``open_output``.

    Attributes:
        path: The output, which appears at the end, with the molecules in the order of the input.
        partial: A file beside it with those that are done, in that order; readable at any time.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        _check(path, overwrite)
        self.path = path
        self.partial = path.with_suffix(f".partial{path.suffix}")
        self._file = _open(path, self.partial, overwrite)
        self._size = 0
        self._pieces: dict[int, tuple[int, int]] = {}  # offset and length, by the place in the input

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, place: int, end: EndPoint) -> None:
        """Keep a molecule.

        Args:
            place: Its place in the input.
            end: Where it came to rest.

        Raises:
            WriteError: If it cannot be written; those before it are safe.
        """
        data = molecule_bytes(self.path.suffix, end)
        try:
            self._file.seek(self._size)
            self._file.truncate()  # what an earlier run or an interrupted call has left
            _write(self._file, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise WriteError(f"{self.partial} cannot be written: {error.strerror}") from error
        self._pieces[place] = self._size, len(data)
        self._size += len(data)

    def finish(self) -> None:
        """Make the output of what was kept, if anything was.

        Raises:
            WriteError: If it cannot be written; the file beside it stays.
        """
        if not self._pieces:
            return
        ordered = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with ordered.open("wb") as file:
                for _, (offset, length) in sorted(self._pieces.items()):
                    self._file.seek(offset)
                    file.write(self._file.read(length))
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
        """Remove the file beside the output if nothing is in it."""
        with self._file:
            empty = not os.fstat(self._file.fileno()).st_size
        if empty:
            self.partial.unlink(missing_ok=True)


@contextmanager
def open_output(path: Path | None, overwrite: bool) -> Iterator[Output | None]:
    """Try the place of an output before anything is computed, and finish it at the end.

    Args:
        path: The output; ``None`` gives ``None``.
        overwrite: Replace a file that exists.

    Raises:
        ConfigurationError: If it could not be written: its ending is not known, its folder is missing or takes no
            file, or it exists and is to stay.
        WriteError: If it cannot be written in the end. Where the molecules are is told in a note of this exception, as
            of every other that ends the work early.
    """
    if path is None:
        yield None
        return
    output = Output(path, overwrite)
    try:
        yield output
        output.finish()
    except BaseException as error:
        if len(output):
            error.add_note(f"{len(output)} molecules are in {output.partial}, in the order in which they were done")
        raise
    finally:
        output.close()


def _check(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"{path}: the output is .sdf, or .extxyz (also .xyz)")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if path.exists() and not overwrite:
        raise ConfigurationError(f"{path} exists already: choose another name, or give --overwrite")


def _open(path: Path, partial: Path, overwrite: bool) -> FileIO:
    try:
        return FileIO(partial, "a+" if overwrite else "x+")
    except FileExistsError:
        raise ConfigurationError(
            f"{partial} exists: a run that was killed left it, or another one writes it now; move it away, or give "
            "--overwrite"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def _write(file: FileIO, data: bytes) -> None:
    """Write all of it; the system may take it in parts."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
