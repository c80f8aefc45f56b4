"""The manifest of a run: what ran, on which data, from which weights, with which versions and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from golfbench.durable import write_atomically
from golfbench.errors import ConfigurationError, NothingToDoError

D = TypeVar("D", bound=BaseModel)


class Document(BaseModel):
    """A part of a manifest. Additional fields of a newer suite are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Source(Document):
    """The checkout that the suite ran from.

    Attributes:
        commit: Its commit.
        changed: Whether files of it were changed.
    """

    commit: str
    changed: bool


class Hardware(Document):
    """The machine.

    Attributes:
        cpu: Model of the processor.
        cores: Cores that the process may use.
        memory_gib: Its memory, GiB.
    """

    cpu: str
    cores: int | None
    memory_gib: float


class Provenance(Document):
    """A process: its versions, its machine, its command line.

    Attributes:
        golfbench_version: Version of the suite.
        source: Its checkout; ``None`` for an installed package.
        python_version: Version of Python.
        platform: Operating system and architecture.
        versions: Versions of the libraries that results depend on.
        plugins: Versions of the plugins.
        hardware: The machine.
        threads: Variables that limit threads.
        argv: The command line.
    """

    golfbench_version: str
    source: Source | None = None
    python_version: str
    platform: str
    versions: dict[str, str]
    plugins: dict[str, str]
    hardware: Hardware
    threads: dict[str, str]
    argv: tuple[str, ...]


class RunData(Document):
    """The dataset of a run.

    Attributes:
        name: Its name.
        method: Its level of theory.
        sha256: Hash of its content.
        initial_labels: Labels of its initial set.
        test_molecules: Its test molecules.
        sampled_labels: Labels of a large initial set that were drawn as a sample of it: the hash covers these, and
            checks and reference energies use these.
    """

    name: str
    method: str
    sha256: str
    initial_labels: int
    test_molecules: int
    sampled_labels: int | None = None


class Origin(Document):
    """A baseline: what it is and how it was made.

    Attributes:
        model: Name of the model.
        delta: What is added to the network.
        method: Level of theory.
        content_sha256: Hash of the checkpoint.
        training: How it was trained, if it was trained by this suite.
        imported: Where it is from, if it was made elsewhere.
    """

    model: str | None = None
    delta: str | None = None
    method: str | None = None
    content_sha256: str | None = None
    training: dict[str, Any] | None = None
    imported: dict[str, Any] | None = None


class Place(Document):
    """Which shard of how many."""

    index: int
    count: int


class MergedShard(Place):
    """What a merged run keeps of a shard: when, where and with which versions it ran."""

    started_utc: str
    finished_utc: str
    python_version: str
    platform: str
    versions: dict[str, str]
    hardware: Hardware
    threads: dict[str, str]
    argv: tuple[str, ...]


class Merged(Document):
    """The shards that a run was joined from."""

    merged_utc: str
    shards: tuple[MergedShard, ...]


class PartFacts(Document):
    """What the manifest says of the part of a grid that one process ran.

    Attributes:
        baselines: What networks started from, by the name of the checkpoint.
        provenance: The process.
        unjudged: Why the surrogate cannot judge a training molecule, by its id.
    """

    baselines: dict[str, Origin]
    provenance: Provenance
    unjudged: dict[str, str]


class _Run(Document):
    """What was to be done, and on what.

    Attributes:
        schema_version: Version of this document.
        run_id: Id of the run.
        started_utc: ISO 8601.
        finished_utc: ISO 8601; ``None`` until then.
        config: The configuration, as JSON, since one of another version of the suite may not be valid in this one.
        dataset: The dataset.
        baselines: See ``PartFacts``.
        unjudged: See ``PartFacts``.
        environments: The process in its own environment, by model.
    """

    schema_version: Literal[1] = 1
    run_id: str
    started_utc: str
    finished_utc: str | None
    config: dict[str, Any]
    dataset: RunData
    baselines: dict[str, Origin] = Field(default_factory=dict)
    unjudged: dict[str, str] = Field(default_factory=dict)
    environments: dict[str, Provenance] = Field(default_factory=dict)


class Manifest(Provenance, _Run):
    """``manifest.json`` of a run, of a shard of one, or of shards that were merged.

    Attributes:
        shard: Which shard this is.
        common: Id of what the shards share.
        merged: The shards that the run was joined from.
        files: SHA-256 of the files of a finished shard.
    """

    shard: Place | None = None
    common: str | None = None
    merged: Merged | None = None
    files: dict[str, str] | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it.

        Raises:
            NothingToDoError: If there is none.
            ConfigurationError: If it is damaged, or of another version of the suite.
        """
        return read_document(cls, path)

    def write(self, path: Path) -> None:
        """Write it completely or not at all.

        Raises:
            WriteError: If it cannot be written.
        """
        absent: dict[str, Any] = {
            name: True for name in ("shard", "common", "merged", "files") if getattr(self, name) is None
        }
        if self.dataset.sampled_labels is None:
            absent["dataset"] = {"sampled_labels"}
        content = self.model_dump(mode="json", exclude=absent)
        write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


class Common(Document):
    """``manifest.json`` of the folder that shards share.

    Attributes:
        schema_version: Version of this document.
        id: Drawn at random by the first shard.
        dataset_sha256: Hash of the content of the dataset.
    """

    schema_version: Literal[1] = 1
    id: str
    dataset_sha256: str


def read_document(kind: type[D], path: Path) -> D:
    """Read a manifest of that kind; see ``Manifest.read``."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NothingToDoError(f"{path.parent} is not a run: it has no {path.name}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{path} is damaged: {where + ': ' if where else ''}{first['msg']}") from None
