"""Bringing one file: from an address, or out of a wheel of the package index. Nothing that is fetched is run.

A download that was cut off goes on where it stopped, also in a later process, if the server still has the same file.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from golfbench.durable import UNFINISHED, replacing, write_atomically, write_errors
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError, WriteError

#: Called with bytes done and bytes in all; the latter is zero where the server does not say it.
OnBytes = Callable[[int, int], None]
#: Seconds without a byte after which a connection counts as lost.
SILENCE_S = 30.0
#: Attempts after a lost connection that brought no byte, and seconds before each of them.
PATIENCE, PAUSE_S = 3, 1.0
_BLOCK = 2**18
_PARTIAL, _OK, _NOT_SATISFIABLE = 206, 200, 416


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(lock: Path, tell: Callable[[str], None], what: str) -> Iterator[None]:
    """Let one process at a time fetch.

    Args:
        lock: A file; its folder is made.
        tell: Shows a sentence to the user who has to wait.
        what: What is fetched: ``weights``.

    Raises:
        WriteError: If the folder cannot be written.
    """
    waiting = FileLock(lock)
    with write_errors(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            waiting.acquire(timeout=0)
        except Timeout:
            tell(f"another process fetches {what}: waiting for it")
            waiting.acquire()
    try:
        yield
    finally:
        waiting.release()


def check_known(path: Path, found: str, expected: str, what: str, origin: str) -> None:
    """Refuse a file that is not the one that is known, and remove it.

    Args:
        path: The file.
        found: Its SHA-256.
        expected: That of the file that is known; empty where none is.
        what: What it is for: ``weights 'off23-small'``.
        origin: Where it came from.

    Raises:
        CheckpointError: If it is another file.
    """
    if expected and found != expected:
        path.unlink()
        raise CheckpointError(
            f"{what}: {origin} is another file than the one known by that name "
            f"(SHA-256 {found[:12]}..., expected {expected[:12]}...)"
        )


def copy(source: Path, target: Path, report: OnBytes = lambda done, total: None) -> None:
    """Copy a file that the user has, completely or not at all.

    Raises:
        CheckpointError: If there is none.
        WriteError: If the copy cannot be written.
    """
    if not source.is_file():
        raise CheckpointError(f"{source} does not exist")
    total, done = source.stat().st_size, 0
    with replacing(target, sync=False) as unfinished, source.open("rb") as file, unfinished.open("wb") as copied:
        while block := file.read(_BLOCK):
            done += copied.write(block)
            report(done, total)


def from_wheel(requirement: str, member: str, target: Path) -> None:
    """Take one file out of the wheel of a distribution; the wheel is neither installed nor kept.

    If exactly that version is installed already, the file is taken from there, and nothing is downloaded.

    Args:
        requirement: For pip: ``Auto3D==2.3.1``. Where pip looks is set by its own configuration and variables.
        member: Path of the file in the wheel.
        target: Where the file goes.

    Raises:
        ComponentMissingError: If there is no pip, or it cannot get the wheel.
        CheckpointError: If the wheel has no such file.
    """
    if installed := _installed(requirement, member):
        write_atomically(target, installed.read_bytes())
        return
    if importlib.util.find_spec("pip") is None:
        raise ComponentMissingError(f"pip, which gets {requirement}, is not installed: {sys.executable} -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="golfbench-wheel-") as folder:
        # Only wheels: pip would run code of a source distribution to learn its metadata.
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--", requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {done.returncode}"
            raise ComponentMissingError(f"pip cannot download {requirement}: {reason}")
        out_of_wheel(wheels[0], member, target)


def _installed(requirement: str, member: str) -> Path | None:
    """Return a file of an installed distribution, if it is here in the version that is required (``name==version``)."""
    name, _, version = requirement.partition("==")
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(member)))
    return path if distribution.version == version and path.is_file() else None


def out_of_wheel(wheel: Path, member: str, target: Path) -> None:
    """Write one file of a wheel to ``target``.

    Raises:
        CheckpointError: If the wheel cannot be read or has no such file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(member)
    except KeyError:
        raise CheckpointError(f"{wheel.name} has no file {member}") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{wheel.name} is not a readable wheel: {error}") from None
    write_atomically(target, content)


def download(url: str, target: Path, size_bytes: int = 0, report: OnBytes = lambda done, total: None) -> None:
    """Download a file; after a lost connection its part beside ``target`` is completed by the next call.

    Args:
        url: ``http`` or ``https``.
        target: Where the file goes.
        size_bytes: Its length; zero where that is not known.
        report: Shows progress.

    Raises:
        ConfigurationError: If the address is not that of a web server.
        ComponentMissingError: If the server cannot be reached, has no such file, or the connection is lost again and
            again.
        CheckpointError: If the file is longer or shorter than it must be.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"{url}: an address begins with https:// or http://")
    transfer = _Transfer(url, target.with_name(target.name + UNFINISHED), size_bytes, report)
    cuts = 0
    while cuts <= PATIENCE:
        before = transfer.done()
        try:
            if transfer.go_on():
                transfer.finish(target)
                return
            reason = f"cut off after {transfer.done()} bytes"
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500:  # asking again changes nothing
                break
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        cuts = 0 if transfer.done() > before else cuts + 1
        if cuts:
            time.sleep(PAUSE_S)
    raise ComponentMissingError(f"{url} cannot be downloaded: {reason}")


class _Transfer:
    """The bytes of a file that are here, and the server's mark of the version that they are of (an ``ETag`` or date).

    Args:
        url: The file.
        partial: Where its bytes lie meanwhile.
        size_bytes: See ``download``.
        report: See ``download``.
    """

    def __init__(self, url: str, partial: Path, size_bytes: int, report: OnBytes) -> None:
        self.url, self.partial, self.size_bytes, self.report = url, partial, size_bytes, report
        self._mark = partial.with_name(partial.name + ".version")

    def done(self) -> int:
        """Return how many bytes are here."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def go_on(self) -> bool:
        """Ask for what is missing; return whether the file is whole.

        Raises:
            OSError: If the connection fails; ``urllib.error.HTTPError`` where the server refuses.
            http.client.HTTPException: If the server speaks no HTTP.
            CheckpointError: If the file has another length than it must have.
        """
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity"})  # noqa: S310 - see download
        mark = self._mark.read_text(encoding="utf-8") if self._mark.exists() else ""
        have = self.done() if mark else 0  # without a mark it is not known whether the rest is of the same file
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", mark)
        try:
            response = _OPENER.open(request, timeout=SILENCE_S)
        except urllib.error.HTTPError as error:
            if error.code != _NOT_SATISFIABLE:
                raise
            self.forget()  # what is here is not the beginning of the file
            return False
        with response:
            return self._receive(response, have)

    def _receive(self, response: Any, have: int) -> bool:
        start = have if response.status == _PARTIAL and _first_byte(response) == have else 0
        length = str(response.headers.get("Content-Length") or "")
        total = start + int(length) if length.isdecimal() and int(length) else 0
        if self.size_bytes and total and total != self.size_bytes:
            self.forget()
            raise CheckpointError(f"{self.url} is {total} bytes long, not {self.size_bytes}: it is another file")
        with write_errors(self.partial):
            missing, free = total - start, shutil.disk_usage(self.partial.parent).free
            if missing > free:
                raise WriteError(
                    f"{self.partial}: {missing / 1e9:.3g} GB are to come, and {free / 1e9:.3g} GB are free"
                )
            self._mark.write_text(_version(response), encoding="utf-8")
            file = self.partial.open("ab" if start else "wb")
        with file:
            while block := response.read(_BLOCK):
                with write_errors(self.partial):
                    file.write(block)
                start += len(block)
                self.report(start, total or self.size_bytes)
        return start == (total or self.size_bytes or start)

    def finish(self, target: Path) -> None:
        """Let the bytes take their place."""
        with write_errors(target):
            self.partial.replace(target)
            self._mark.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what is here."""
        self.partial.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)


def _first_byte(response: Any) -> int:
    """Return where the content of a partial answer begins (``bytes 100-199/200``), or -1."""
    words = str(response.headers.get("Content-Range", "")).replace("-", " ").split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else -1


def _version(response: Any) -> str:
    """Return a mark by which the server tells versions of the file apart, or nothing: then no download goes on."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


class _StaySecure(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from ``https`` to ``http``."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it leads to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_StaySecure)
