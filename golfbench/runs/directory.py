"""The run directory: its files, its lock, its manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from golfbench.durable import write_atomically
from golfbench.errors import ConfigurationError, GolfbenchError, WriteError
from golfbench.oracles.running import RUNNING
from golfbench.runs.manifest import Manifest

SCHEMA_VERSION = 1
#: Bytes of a file name that is made from a text; most disks take 255, with the ending.
LONGEST_NAME = 200


class RunDirectory:
    """``<out>/<run_id>/`` and the names of the files in it.

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "manifest.json"
        self.records = path / "records.jsonl"
        self.calls = path / "oracle_calls.jsonl"
        self.costs = path / "costs.jsonl"
        self.labels = path / "labels.db"
        self.summary = path / "summary.json"
        self.log = path / "log.txt"
        self.checkpoints = path / "checkpoints"
        self.trajectories = path / "trajectories"
        self.running = path / RUNNING
        self.lock = path / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory for one process; its log is written meanwhile.

        Raises:
            ConfigurationError: If another process has it, or it cannot be written.
            WriteError: If the disk is full.
        """
        try:
            for folder in (self.checkpoints, self.trajectories):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        with locked(self.path, self.lock), self.logged():
            yield

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Write the log meanwhile, as the process that holds the lock or as its child.

        Raises:
            ConfigurationError: If the log cannot be written.
            WriteError: If the disk is full.
        """
        try:
            handler = _log_handler(self.log)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        logging.getLogger("golfbench").addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger("golfbench").removeHandler(handler)
            handler.close()

    @property
    def in_use(self) -> bool:
        """Whether a process holds the lock; the folder that shards share has no such lock and counts as locked."""
        if not self.lock.exists():
            return self.running.exists()
        try:
            with FileLock(self.lock).acquire(timeout=0):
                return False
        except (Timeout, OSError):
            return True

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            NothingToDoError: If this is not a run directory.
            ConfigurationError: If it is damaged.
        """
        return Manifest.read(self.manifest)


@contextmanager
def locked(place: Path, file: Path) -> Iterator[None]:
    """Lock a directory for one process, by a lock file.

    Raises:
        ConfigurationError: If another process has it, or it cannot be written.
        WriteError: If the disk is full.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reason = "is in use by another process" if file.exists() else "cannot be written: no file can be made there"
        raise ConfigurationError(f"{place} {reason}") from None
    except OSError as error:
        raise _unwritable(place, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(place: Path, error: OSError) -> GolfbenchError:
    kind = WriteError if error.errno == errno.ENOSPC else ConfigurationError
    return kind(f"{place} cannot be written: {error.strerror}")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file completely or not at all.

    Raises:
        WriteError: If it cannot be written.
    """
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


class _Log(logging.FileHandler):
    """A log that stays silent when the disk is full: files that must not be lost report that themselves."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say nothing; logging would print a traceback for each line."""


def _log_handler(path: Path) -> logging.Handler:
    handler = _Log(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("golfbench").setLevel(logging.INFO)
    return handler


def slug(text: str) -> str:
    """Return a text as a file name; one too long for the disk ends in a hash of the whole text."""
    name = "".join(c if c.isalnum() or c in "-=.+" else "_" for c in text)
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{name.encode()[: LONGEST_NAME - 13].decode(errors='ignore')}_{digest}"
