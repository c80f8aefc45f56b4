"""The text of a file that anybody may have written: compressed, in any encoding, with any line ends."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.input_molecules import Notes, Reading, Unusable

_GZIP = b"\x1f\x8b"
#: What is tried where no byte-order mark says it: UTF-8, Windows-1252, and Latin-1, which takes everything.
_ENCODINGS = ("utf-8", "cp1252", "latin-1")
#: Bytes read at a time.
_BLOCK = 2**20
#: First bytes of what is no text, and what it is.
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"\xfd7zXZ\x00": "compressed by xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a database",
}
#: A longer mark comes before the shorter one that it begins with.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a file turned out to be: packed by gzip or not, its encoding, and the bytes of its byte-order mark."""

    packed: bool
    encoding: str
    errors: str = "strict"
    mark: int = 0


class Text:
    r"""The text of a file, line by line: without a byte-order mark, with ``\n`` for every line end.

    The file is read through once before its first line is given, so that a file that is damaged or no text gives none,
    and its encoding is known. It is never in memory as a whole.

    Unpacked if it begins as gzip does, whatever its name. UTF-8, or what its byte-order mark says; what is neither is
    read as Windows-1252 (Latin-1 and typographic signs), which is noted.

    Args:
        path: The file.
        notes: Told what had to be assumed.
        label: What it is called in notes and errors, and begins the sources of its records; left out, its path.

    Attributes:
        label: See there.
        digest: SHA-256 of what is in it, unpacked.
        size: Its bytes on the disk.

    Raises:
        ConfigurationError: If it cannot be read, is damaged or is no text.
    """

    def __init__(self, path: str, notes: Notes, label: str = "") -> None:
        self.label = label or path
        self._path = path
        self._file: IO[bytes] | None = None
        try:
            self.size = os.path.getsize(path)
            self._kind, self.digest = _examined(path, self.label, notes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ConfigurationError(f"{self.label}: the gzip file is damaged ({error})") from error
        except OSError as error:
            raise ConfigurationError(f"{self.label}: {error.strerror or error}") from error

    def share(self) -> float:
        """Return how much of the file has been given, from 0 to 1."""
        if self._file is None:
            return 0.0
        return 1.0 if self._file.closed or not self.size else self._file.tell() / self.size

    def lines(self) -> Iterator[str]:
        """Yield the lines without their ends."""
        with open(self._path, "rb") as file:
            self._file = file
            unpacked = gzip.GzipFile(fileobj=file) if self._kind.packed else file
            unpacked.read(self._kind.mark)
            for line in io.TextIOWrapper(unpacked, encoding=self._kind.encoding, errors=self._kind.errors):
                yield line.rstrip("\n").replace("\x1a", "")


def _examined(path: str, label: str, notes: Notes) -> tuple[_Kind, str]:
    """Read a file through; return what it is, and the digest of its content."""
    with open(path, "rb") as file:
        packed = file.peek(len(_GZIP)).startswith(_GZIP)
        if packed and not label.lower().endswith(".gz"):
            notes.add("is compressed by gzip, although its name does not say so; it was read", label)
        unpacked = gzip.GzipFile(fileobj=file) if packed else file
        block = unpacked.read(_BLOCK)
        for mark, kind in _OTHERS.items():
            if block.startswith(mark):
                raise ConfigurationError(f"{label}: is {kind}")
        marks = [(encoding, len(mark)) for mark, encoding in _MARKS.items() if block.startswith(mark)]
        kinds = [_Kind(packed, encoding, "replace", size) for encoding, size in marks[:1]]
        kinds = kinds or [_Kind(packed, encoding) for encoding in _ENCODINGS]
        decoders = [(kind, codecs.getincrementaldecoder(kind.encoding)(kind.errors)) for kind in kinds]
        digest, first = hashlib.sha256(), kinds[0].mark
        while True:
            digest.update(block)
            decoders = [pair for pair in decoders if _takes(pair[1], block[first:], label)]
            if not block:
                break
            block, first = unpacked.read(_BLOCK), 0
    found = decoders[0][0]
    if found.encoding == _ENCODINGS[1] or found.encoding == _ENCODINGS[2]:
        notes.add("is not UTF-8, and was read as Latin-1 (Windows-1252)", label)
    return found, digest.hexdigest()


def _takes(decoder: codecs.IncrementalDecoder, block: bytes, label: str) -> bool:
    """Return whether a block, empty at the end of the file, is text of this encoding."""
    try:
        text = decoder.decode(block, final=not block)
    except UnicodeDecodeError:
        return False
    if "\0" in text:
        raise ConfigurationError(f"{label}: is no text")
    return True


def legible(path: str) -> str:
    r"""Return the name of a file for texts and files of ours: bytes that are no UTF-8 are written as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_name(path: str) -> str:
    """Return the name of a file, which begins the ids of what has no name of its own."""
    return Path(path).name


def empty(label: str, reading: Reading) -> list[Unusable]:
    """Return what stands for a file without any molecule."""
    return [Unusable(file_name(label), label, MoleculeError("the file holds no molecule"))]
