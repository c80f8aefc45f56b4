"""The text of a file that anybody may have written: compressed, in any encoding, with any line ends."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.entries import Notes, Unusable

_GZIP = b"\x1f\x8b"
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


def text_of(path: str, notes: Notes) -> str:
    r"""Return the text of a file, without a byte-order mark and with ``\n`` at the end of each line.

    Unpacked if it begins as gzip does, whatever its name. UTF-8, or what its byte-order mark says; what is neither is
    read as Windows-1252 (Latin-1 and typographic signs), which is noted.

    Raises:
        ConfigurationError: If it cannot be read, is damaged or is no text.
    """
    try:
        data = Path(path).read_bytes()
        if data.startswith(_GZIP):
            if not path.lower().endswith(".gz"):
                notes.add("is compressed by gzip, although its name does not say so; it was read", path)
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigurationError(f"{path}: the gzip file is damaged ({error})") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    for mark, kind in _OTHERS.items():
        if data.startswith(mark):
            raise ConfigurationError(f"{path}: is {kind}")
    text = _decoded(data, path, notes)
    if "\0" in text:
        raise ConfigurationError(f"{path}: is no text")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x1a", "")


def _decoded(data: bytes, path: str, notes: Notes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        notes.add("is not UTF-8, and was read as Latin-1 (Windows-1252)", path)
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def file_name(path: str) -> str:
    """Return the name of a file, which begins the ids of what has no name of its own."""
    return Path(path).name


def empty(path: str) -> Unusable:
    """Return what stands for a file without any molecule."""
    return Unusable(file_name(path), path, MoleculeError("the file holds no molecule"))
