"""Bringing the files of a dataset into the store: checked before they take their place, so that all in it are complete.

Beside each file lies what is known of it (``NAME.json``): the SHA-256 and the size that were seen first. They stay when
the file is removed, and another file is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from golfbench import store
from golfbench.durable import write_atomically, write_errors
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError
from golfbench.fetching import OnBytes, check_known, copy, download, held, sha256_of
from golfbench.specs import DataFile, DatasetSpec, load_factory


class Known(BaseModel):
    """What is known of a file of a dataset.

    Attributes:
        schema_version: Of this document.
        sha256: Of the first file that passed its check.
        size_bytes: Its size.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """How the user wants a file of a dataset to be fetched.

    Attributes:
        file: The file, got by other means, or a folder that it lies in under its own name.
        mirror: Another address of the file; one that ends with ``/`` is a folder of them.
        tell: Shows a sentence.
        report: Shows progress.
    """

    file: Path | None = None
    mirror: str = ""
    tell: Callable[[str], None] = lambda text: None
    report: OnBytes = lambda done, total: None


def fetch(spec: DatasetSpec, file: DataFile, wish: Wish) -> Path:
    """Bring a file of a dataset into the store, if it is not there yet or is damaged, and return where it is.

    Raises:
        ComponentMissingError: If it cannot be got, or a package that reads it is not installed.
        ConfigurationError: If it is not the known file, or not of its kind.
        WriteError: If the store cannot be written.
    """
    target = store.data_place(spec.name, file)
    what = f"dataset '{spec.name}', {file.split}"
    check = load_factory(file.check, spec.name, spec.install_hint) if file.check else lambda path: None
    with held(target.with_name(f"{file.name}.lock"), wish.tell, file.name):
        known = _known(target)
        expected = file.sha256 or (known.sha256 if known else "")
        if target.is_file():
            if known and target.stat().st_size == known.size_bytes and sha256_of(target) == expected:
                return target
            wish.tell(f"{target} is not the file that was fetched: it is fetched again")
        source = _source(spec, file, target, wish)
        try:
            found = sha256_of(source)
            check_known(source, found, expected, what, str(wish.file or _address(file, wish)))
            check(source)
        except ConfigurationError:
            source.unlink(missing_ok=True)
            raise
        about = Known(sha256=found, size_bytes=source.stat().st_size)
        write_atomically(_beside(target), json.dumps(about.model_dump(), indent=2) + "\n")
        with write_errors(target):
            source.replace(target)
        with suppress(OSError):  # files of an unfinished fetch are there, too
            source.parent.rmdir()
        return target


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _known(target: Path) -> Known | None:
    path = _beside(target)
    try:
        return Known.model_validate_json(path.read_bytes()) if path.exists() else None
    except (ValidationError, OSError) as error:
        raise ConfigurationError(f"{path} is damaged: remove it ({str(error).splitlines()[0]})") from None


def _address(file: DataFile, wish: Wish) -> str:
    return f"{wish.mirror}{file.name}" if wish.mirror.endswith("/") else wish.mirror or file.url


def _source(spec: DatasetSpec, file: DataFile, target: Path, wish: Wish) -> Path:
    """Return the whole file, in a folder of its own in the store."""
    source = target.parent / "incoming" / file.name
    with write_errors(source):
        source.parent.mkdir(exist_ok=True)
    if wish.file is not None:
        given = wish.file / file.name if wish.file.is_dir() else wish.file
        copy(given, source, wish.report)
        if file.size_bytes and (size := source.stat().st_size) != file.size_bytes:
            source.unlink()
            raise CheckpointError(f"{given} is {size} bytes long, not {file.size_bytes}: it is another file")
        return source
    address = _address(file, wish)
    wish.tell(f"getting {address}")
    try:
        download(address, source, file.size_bytes, wish.report)
    except ComponentMissingError as error:
        command = f"golfbench datasets fetch {spec.name} --split {file.split}"
        raise ComponentMissingError(
            f"{error}; give another address ({command} --mirror URL), or bring the file by other means ({command} "
            "--file FILE)"
        ) from None
    return source
