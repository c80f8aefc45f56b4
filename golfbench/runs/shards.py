"""Shards: parts of a grid, run by processes on any number of machines, which share nothing but a folder.

``<out>/<run_id>/shards/2-of-8/`` has the files of a run, for the rows of that shard. What all shards need (labels of
the initial set and reference minima at another level of theory, baselines) is made once, by the first shard that needs
it, in ``shards/common/``; ``merge`` joins all shards.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from golfbench.benchmark.records import Stage
from golfbench.durable import UNFINISHED
from golfbench.errors import ConfigurationError
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory, slug, write_json
from golfbench.runs.grid import Combination, after_rows, combinations, fixed_rows, written
from golfbench.runs.manifest import Common, read_document
from golfbench.specs import ComponentRef

#: Folder of the shards in a run directory, and in it the folder of what they share.
FOLDER, COMMON = "shards", "common"
#: File with the hashes of what the shards share.
SEAL = "files.json"
#: Key of a row: the id of its combination, and its stage.
RowKey = tuple[str, Stage]
#: Seconds between two attempts at a lock that another shard holds.
POLL_S = 0.5
_NAME = re.compile(r"([1-9]\d*)-of-([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a grid.

    Attributes:
        index: Which one, from 1.
        count: How many there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``; ``slurm`` stands for this task of a job array.

        Raises:
            ConfigurationError: If it is neither, or there is no such shard.
        """
        if text == "slurm":
            return _of_job_array()
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise ConfigurationError(f"shard '{text}': write I/N (2/8 is the second of eight), or slurm")
        return cls(int(index), int(count)).checked(text)

    @classmethod
    def named(cls, folder: str) -> Shard | None:
        """Return the shard of a folder, ``None`` if it is no shard's."""
        found = _NAME.fullmatch(folder)
        return cls(*map(int, found.groups())) if found else None

    def checked(self, text: str) -> Shard:
        """Return it if it is one of its number.

        Raises:
            ConfigurationError: Otherwise.
        """
        if not 1 <= self.index <= self.count:
            raise ConfigurationError(f"shard '{text}': there is no {self.index} of {self.count}; they count from 1")
        return self

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.index}-of-{self.count}"


def _of_job_array() -> Shard:
    """Return the shard of this task of a Slurm job array; the array may begin with any number."""
    first, step = _slurm("MIN"), _slurm("STEP", 1)
    index, rest = divmod(_slurm("ID") - first, max(step, 1))
    if rest:
        raise ConfigurationError("shard 'slurm': the tasks of the job array are not evenly numbered: write --shard I/N")
    return Shard(index + 1, _slurm("COUNT")).checked("slurm")


def _slurm(name: str, default: int | None = None) -> int:
    variable = f"SLURM_ARRAY_TASK_{name}"
    text = os.environ.get(variable, "" if default is None else str(default))
    if not text.isdecimal():
        raise ConfigurationError(f"shard 'slurm': {variable} is {text or 'not set'}: is this a task of a job array?")
    return int(text)


def before_rows(combination: Combination) -> tuple[RowKey, RowKey]:
    """Return the rows that a trained combination's baseline may have: shared by all seeds, and its own."""
    return (combination.before(None).id, "before"), (combination.before(combination.seed).id, "before")


def deal(config: RunConfig, count: int) -> dict[RowKey, int]:
    """Return which shard, from 1, has each row of a grid.

    Combinations go to the shards in turn, those of one model and selection one after the other, so that each shard gets
    its share of the expensive ones. A baseline's row goes to the shard of the first combination that has it.
    """
    turn = itertools.cycle(range(1, count + 1))
    owner: dict[RowKey, int] = {}
    for combination in sorted(combinations(config), key=lambda c: _place(config, c)):
        owner[combination.id, "after"] = next(turn)
        for row in after_rows(config, combination):
            owner[row.id, "after"] = owner[combination.id, "after"]
        for before in before_rows(combination):
            owner.setdefault(before, owner[combination.id, "after"])
    for row in fixed_rows(config):
        owner[row.id, "reference"] = next(turn)
    return owner


def _place(config: RunConfig, row: Combination) -> tuple[int, ...]:
    return (
        config.models.index(written(config, row)),
        config.oracles.index(row.oracle),
        config.selections.index(row.selection),
        config.optimizers.index(row.optimizer),
        config.seeds.index(row.seed or 0),
    )


class Share(BaseModel):
    """The part of a grid that a process runs, and the folder of what it shares with others.

    Attributes:
        rows: Its rows; ``None``: all of them.
        common: Folder of what all shards share; ``None`` for a run in one piece.
    """

    model_config = ConfigDict(frozen=True)

    rows: frozenset[RowKey] | None = None
    common: Path | None = None

    def owns(self, row: Combination, stage: Stage) -> bool:
        """Return whether a row is written here."""
        return self.rows is None or (row.id, stage) in self.rows

    def oracles(self, config: RunConfig) -> list[ComponentRef]:
        """Return the oracles of a grid, or of a part of one, that judge at least one row of this share."""
        listed = [row.oracle for row in fixed_rows(config) if self.owns(row, "reference")]
        listed += [row.oracle for row in combinations(config) if self.owns(row, "after")]
        return [oracle for oracle in config.oracles if oracle in listed]

    @contextmanager
    def locked(self, what: str, tell: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock on something that all shards need; a run without shards has no lock.

        Args:
            what: What is locked; another shard may make something else meanwhile.
            tell: Is given a sentence when another shard has the lock.
        """
        if self.common is None:
            yield
            return
        folder = self.common / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{slug(what)}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"another shard is busy with {what}, which all of them need: waiting for it")
            lock.acquire(poll_interval=POLL_S)
        try:
            yield
        finally:
            lock.release()


def locate(config: RunConfig, path: Path, shard: Shard | None) -> tuple[RunDirectory, Share]:
    """Return where a process writes, and what it runs.

    Args:
        config: The whole grid.
        path: The run directory.
        shard: Which part; ``None``: all of it.

    Raises:
        ConfigurationError: If the run was begun without shards and is now to have some, or the other way round, or
            with another number of them.
    """
    whole, begun = RunDirectory(path), shards_in(path)
    started = whole.manifest.exists()
    share = share_of(config, path, shard)
    if shard is None:
        if begun and not started:
            raise ConfigurationError(f"{path} holds shards: golfbench merge {path}, or give another --output")
        return whole, share
    if started and whole.read_manifest().merged is None:
        raise ConfigurationError(f"{path} holds this run in one piece: remove it, or give another --output")
    if others := {other.count for other in begun} - {shard.count}:
        raise ConfigurationError(f"{path} is split in {max(others)}, not in {shard.count}: give another --output")
    return RunDirectory(path / FOLDER / shard.name), share


def share_of(config: RunConfig, path: Path, shard: Shard | None) -> Share:
    """Return the share of a process."""
    if shard is None:
        return Share()
    mine = frozenset(row for row, index in deal(config, shard.count).items() if index == shard.index)
    return Share(rows=mine, common=path / FOLDER / COMMON)


def shards_in(path: Path) -> list[Shard]:
    """Return the shards that a run directory has a folder of, in order."""
    folder = path / FOLDER
    names = [child.name for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    found = [shard for name in names if (shard := Shard.named(name))]
    return sorted(found, key=lambda shard: (shard.count, shard.index))


def join(share: Share, dataset_sha256: str) -> str:
    """Return the id of what the shards share; the first of them draws it.

    Raises:
        ConfigurationError: If it was made with another content of the dataset.
    """
    assert share.common is not None
    path = share.common / "manifest.json"
    with share.locked("manifest", lambda text: None):  # held for milliseconds
        if not path.exists():
            write_json(path, Common(id=uuid.uuid4().hex, dataset_sha256=dataset_sha256).model_dump())
    facts = read_document(Common, path)
    if facts.dataset_sha256 != dataset_sha256:
        raise ConfigurationError(
            f"{share.common.parent} was made with another content of its dataset: remove it, or give another --output"
        )
    return facts.id


def seal(path: Path) -> dict[str, str]:
    """Return SHA-256 of the files of a shard that are merged, by their names relative to its folder."""
    directory = RunDirectory(path)
    single = [directory.records, directory.calls, directory.costs, directory.labels]
    files = [file for file in single if file.exists()]
    if path.name != COMMON:  # other shards may be training a baseline there; a baseline has a hash of its own
        files += [*results_in(directory.trajectories), *results_in(directory.checkpoints)]
    return {str(file.relative_to(path)): _sha256(file) for file in files}


def results_in(folder: Path) -> list[Path]:
    """Return the files below a folder; states of a training in progress are no results."""
    unfinished = (".training.safetensors", UNFINISHED)
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(unfinished))


def broken_seals(path: Path, sealed: Mapping[str, str]) -> list[str]:
    """Return one line for each file that is missing, is not what the shard wrote, or is not the shard's."""
    found = seal(path)
    missing = [f"{name} is missing" for name in sealed if name not in found]
    strange = [f"{name} was added after the shard had ended" for name in found if name not in sealed]
    altered = [f"{name} is not what the shard wrote" for name in found if sealed.get(name, found[name]) != found[name]]
    return missing + strange + altered


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
