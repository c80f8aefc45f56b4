"""Writing files so that after a crash or on a full disk a file is either the old or the complete new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from golfbench.errors import WriteError

#: Name of a file or folder until it takes its place.
UNFINISHED = ".partial"
_BLOCK = 2**16


@contextmanager
def write_errors(path: Path | str, comfort: str = "") -> Iterator[None]:
    """Turn an error of writing into one line: which file, why, and what is not lost.

    Raises:
        WriteError: Instead of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}{comfort}") from error


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path, for a file or folder, that replaces ``path`` when all of it is on the disk.

    If something is raised meanwhile, ``path`` stays as it was, and the temporary path is removed.

    Args:
        path: The file or folder.
        sync: Whether to wait until the disk has it; without, it survives the death of the process only.

    Raises:
        WriteError: If it cannot be written.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    _remove(unfinished)
    try:
        with write_errors(path):
            yield unfinished
            if sync:
                _to_disk(unfinished)
            os.replace(unfinished, path)
    except BaseException:
        _remove(unfinished)
        raise


def write_atomically(path: Path, content: bytes | str, *, parents: bool = False, sync: bool = True) -> None:
    """Write a file completely or not at all; when this returns, the disk has it.

    Args:
        path: The file; one that is there is replaced.
        content: Text is written in UTF-8, its line ends as they are.
        parents: Whether missing folders are made.
        sync: See ``replacing``.

    Raises:
        WriteError: If it cannot be written; then it is what it was.
    """
    if parents:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, sync=sync) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def append_whole(file: Path | FileIO, block: bytes, *, sync: bool = False) -> None:
    """Append all of a block or, when that fails, nothing of it.

    Args:
        file: A path, or a file that was opened for appending and without a buffer: what a full disk refuses must not
            stay in a buffer and be written in the middle of a later line.
        block: What to append.
        sync: Whether to wait until the disk has it; without, it survives the death of the process only.

    Raises:
        WriteError: If it cannot be written; then the file is what it was.
    """
    if isinstance(file, Path):
        with write_errors(file), file.open("ab", buffering=0) as opened:
            append_whole(opened, block, sync=sync)
        return
    with write_errors(str(file.name), "; what was in it before is safe"):
        end = os.fstat(file.fileno()).st_size
        try:
            rest = memoryview(block)
            while rest:
                rest = rest[file.write(rest) :]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def cut_torn_line(path: Path) -> None:
    """Remove a last line that has no line end: the process died while it wrote it. A missing file is left alone.

    Raises:
        WriteError: If it cannot be removed.
    """
    if not path.exists():
        return
    with write_errors(path), path.open("r+b") as file:
        size = start = file.seek(0, os.SEEK_END)
        end = 0  # behind the last line end
        while start and not end:
            start = max(start - _BLOCK, 0)
            file.seek(start)
            found = file.read(_BLOCK).rfind(b"\n")
            end = start + found + 1 if found >= 0 else 0
        if end < size:
            file.truncate(end)


def _to_disk(path: Path) -> None:
    """Wait until the disk has a file, or every file below a folder."""
    for file in [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file()):
        with file.open("rb") as written:
            os.fsync(written.fileno())


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and as far as that is possible."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
