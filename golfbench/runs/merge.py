"""Merging the shards of a run: strict, and complete or nothing.

Everything is checked before anything is written. The merged run is built in a folder of its own; one rename declares
it complete. After that a crash only delays the moves of its files to the run directory; the manifest is moved last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.db import connect
from pydantic import ValidationError

from golfbench.benchmark.records import (
    ENERGY_TOLERANCE_HARTREE,
    Record,
    Status,
    append_records,
    latest_records,
    read_records,
)
from golfbench.contracts import Label
from golfbench.durable import replacing
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError, NothingToDoError
from golfbench.learning import checkpoint
from golfbench.molecules import Molecule
from golfbench.oracles.calls import utc_now
from golfbench.oracles.labels import LabelStore
from golfbench.oracles.ledger import Ledger, OracleCall, read_calls
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory, locked, write_json
from golfbench.runs.grid import Combination, after_rows, combinations, fixed_rows
from golfbench.runs.manifest import Common, Manifest, Merged, MergedShard, Place, read_document
from golfbench.runs.provenance import code_of, differences, libraries_of
from golfbench.runs.shards import COMMON, FOLDER, SEAL, RowKey, Shard, broken_seals, deal, results_in, shards_in
from golfbench.runs.summary import rows_of, summary_content

#: Forces (Hartree/Å) closer than this are the same: more than another order of additions on another machine changes.
FORCE_TOLERANCE_HARTREE_PER_ANGSTROM = 1e-5
#: Folders of a merged run that is being built, and of a complete one that is not yet moved to its place.
READY = "merge.ready"
#: Molecules that a line about missing records names.
EXAMPLES = 3


class MergeError(GolfbenchError):
    """Shards that do not make a complete run.

    Attributes:
        problems: One line for each thing that is missing or contradictory.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Part:
    """One shard as it is on disk.

    Attributes:
        shard: Which one.
        directory: Its files.
        manifest: What it says of itself.
        records: The last record of each of its molecules and rows.
    """

    shard: Shard
    directory: RunDirectory
    manifest: Manifest
    records: Sequence[Record] = ()

    def says(self, problem: str) -> str:
        """Return a line about it."""
        return f"shard {self.shard.name}: {problem}"


def merge(path: Path, warn: Callable[[str], None]) -> RunDirectory:
    """Join the shards of a run in its directory.

    Args:
        path: The run directory.
        warn: Is given the differences between shards that are no contradiction.

    Raises:
        MergeError: If anything is missing or contradictory; nothing is written then.
        NothingToDoError: If there are no shards, or they are merged already.
        ConfigurationError: If the directory is in use, or holds a run that was not made in shards.
    """
    whole = RunDirectory(path)
    if whole.manifest.exists() and whole.read_manifest().merged and not (path / READY).exists():
        raise NothingToDoError(f"{path} is merged already")
    if not (shards := shards_in(path)):
        raise NothingToDoError(f"{path} has no shards")
    with locked(path, path / "lock"):
        if not (path / READY).exists():
            _refuse_other_run(whole)
            _finished(path, shards)  # a running shard does no harm here; later it is found unfinished
            with _all_held(path, shards):
                _build(_checked(path, shards, warn), path)
        _install(path)
    return whole


def _refuse_other_run(whole: RunDirectory) -> None:
    files = (whole.manifest, whole.records, whole.calls, whole.costs, whole.labels)
    folders = (whole.checkpoints, whole.trajectories)
    if any(file.exists() for file in files) or any(folder.is_dir() and any(folder.iterdir()) for folder in folders):
        raise ConfigurationError(f"{whole.path} holds files of a run in one piece: remove them, or that run's shards")


@contextmanager
def _all_held(path: Path, shards: Sequence[Shard]) -> Iterator[None]:
    with ExitStack() as stack:
        for shard in shards:
            folder = path / FOLDER / shard.name
            stack.enter_context(locked(folder, folder / "lock"))
        yield


# --- What must be there, and agree ---------------------------------------------------------------------------------


def _checked(path: Path, shards: Sequence[Shard], warn: Callable[[str], None]) -> list[Part]:
    """Return the parts of a complete run, with their records.

    Raises:
        MergeError: If they do not make one.
    """
    found = _finished(path, shards)
    _raise([*_disagreements(found), *_altered(path, found)])
    for line in _deviations(found):
        warn(line)
    with_records, unreadable = _with_records(found)
    _raise(unreadable)
    config = RunConfig.model_validate(found[0].manifest.config)
    _raise([*_row_problems(config, with_records), *_label_problems(path, found)])
    return with_records


def _finished(path: Path, shards: Sequence[Shard]) -> list[Part]:
    """Return all shards, without their records.

    Raises:
        MergeError: If one is missing or has not finished.
    """
    read = [_read_part(path, shard) for shard in shards]
    _raise([*_missing(shards), *(part for part in read if isinstance(part, str))])
    return [part for part in read if isinstance(part, Part)]


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise MergeError(problems)


def _missing(shards: Sequence[Shard]) -> list[str]:
    counts = sorted({shard.count for shard in shards})
    if len(counts) > 1:
        return [f"shards of {' and of '.join(map(str, counts))} lie side by side: keep those of one number"]
    there = {shard.index for shard in shards}
    absent = [k for k in range(1, counts[0] + 1) if k not in there]
    return [f"shard {k}-of-{counts[0]} is missing: run it with --shard {k}/{counts[0]}" for k in absent]


def _read_part(path: Path, shard: Shard) -> Part | str:
    """Return a shard that has finished, or what is wrong with it."""
    directory = RunDirectory(path / FOLDER / shard.name)
    try:
        manifest = directory.read_manifest()
    except GolfbenchError as error:
        return f"shard {shard.name}: {error}"
    part = Part(shard, directory, manifest)
    if not manifest.finished_utc:
        return part.says("it has not finished: the same command goes on with it")
    if manifest.shard != Place(index=shard.index, count=shard.count):
        return part.says("its manifest is not of this shard")
    return part


def _disagreements(parts: Sequence[Part]) -> list[str]:
    """Return the differences between shards that make them parts of different runs."""
    first = parts[0]
    lines = []
    for part in parts:
        lines += [part.says(line) for line in differences(code_of(first.manifest), code_of(part.manifest))]
        for name in part.manifest.environments.keys() & first.manifest.environments.keys():
            one, other = (p.manifest.environments[name] for p in (first, part))
            lines += [part.says(f"environment of {name}: {line}") for line in differences(code_of(one), code_of(other))]
        if part.manifest.dataset != first.manifest.dataset:
            lines.append(part.says(f"it was run on another content of the dataset than {first.shard.name}"))
        if not _is_of(part.manifest.config, first.manifest.run_id) or _differs("run_id", part, first):
            lines.append(part.says(f"it has another configuration than {first.shard.name}"))
        if _differs("common", part, first):
            lines.append(part.says(f"it did not share labels and baselines with {first.shard.name}"))
        shared = part.manifest.baselines.keys() & first.manifest.baselines.keys()
        names = [name for name in sorted(shared) if _hash_of(part, name) != _hash_of(first, name)]
        lines += [part.says(f"it started from another baseline {name} than {first.shard.name}") for name in names]
    return lines


def _differs(name: str, one: Part, other: Part) -> bool:
    return bool(getattr(one.manifest, name) != getattr(other.manifest, name))


def _hash_of(part: Part, baseline: str) -> str:
    return str(part.manifest.baselines[baseline].content_sha256)


def _is_of(config: Any, run_id: str) -> bool:
    try:
        return RunConfig.model_validate(config).run_id() == run_id
    except (ValidationError, ConfigurationError):
        return False


def _deviations(parts: Sequence[Part]) -> list[str]:
    """Return what differs in Python, libraries and platform, which may change the last digits."""
    first = libraries_of(parts[0].manifest)
    return [part.says(line) for part in parts for line in differences(first, libraries_of(part.manifest))]


def _altered(path: Path, parts: Sequence[Part]) -> list[str]:
    """Return the files that have changed since their shard finished."""
    lines = [part.says(line) for part in parts for line in broken_seals(part.directory.path, part.manifest.files or {})]
    common = RunDirectory(path / FOLDER / COMMON)
    try:
        identity = read_document(Common, common.manifest).id
        sealed = json.loads((common.path / SEAL).read_text()) if (common.path / SEAL).exists() else {}
    except (GolfbenchError, ValueError) as error:
        return [*lines, f"{COMMON}: {error}"]
    lines += [f"{COMMON}: {line}" for line in broken_seals(common.path, sealed)]
    lines += [part.says(f"it shared another {COMMON}") for part in parts if part.manifest.common != identity]
    trained = {name: _hash_of(part, name) for part in parts for name in part.manifest.baselines}
    for name, expected in trained.items():
        if not name.endswith(".safetensors"):  # otherwise it was there before the run
            lines += _baseline_problems(common.checkpoints / name / "baseline.safetensors", name, expected)
    return lines


def _baseline_problems(path: Path, name: str, expected: str) -> list[str]:
    try:
        found = checkpoint.load(path)[1]["content_sha256"]
    except CheckpointError as error:
        return [f"{COMMON}: baseline {name}: {error}"]
    return [] if found == expected else [f"{COMMON}: baseline {name} is not the one that the shards started from"]


def _with_records(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """Return the parts with their records, and what is wrong with these."""
    read, lines = [], []
    for part in parts:
        try:
            records = read_records(part.directory.records)
        except ConfigurationError as error:
            lines.append(part.says(str(error)))
            continue
        lines += [part.says(line) for line in _repeated(records)]
        read.append(Part(part.shard, part.directory, part.manifest, latest_records(records)))
    return read, lines


def _repeated(records: Sequence[Record]) -> list[str]:
    """Return the molecules that have two records in a row; one that was interrupted has another one later."""
    seen: dict[tuple[RowKey, str], Record] = {}
    lines = []
    for record in records:
        key = (_row(record), record.molecule)
        if key in seen and seen[key].status is not Status.INTERRUPTED:
            lines.append(f"{_shown(key[0])}: {record.molecule} has two records")
        seen[key] = record
    return lines


def _row(record: Record) -> RowKey:
    return record.combination, record.stage


def _shown(row: RowKey) -> str:
    return f"{row[0]} ({row[1]})"


def _row_problems(config: RunConfig, parts: Sequence[Part]) -> list[str]:
    """Return the rows that are not complete, or do not belong to their shard."""
    owner = deal(config, len(parts))
    found: dict[RowKey, set[str]] = {}
    lines = []
    for part in parts:
        for record in part.records:
            found.setdefault(_row(record), set()).add(record.molecule)
    rows = expected_rows(config, found)
    for part in parts:
        expected = {row for row in rows if owner[row] == part.shard.index}
        strange = dict.fromkeys(row for record in part.records if (row := _row(record)) not in expected)
        lines += [part.says(f"{_shown(row)} is not a row of this shard") for row in strange]
    molecules = set().union(*found.values())
    count = parts[0].manifest.dataset.test_molecules
    if len(molecules) > count:
        lines.append(f"there are records of {len(molecules)} molecules, but the dataset has {count}")
    for row in rows:
        if absent := count - len(found.get(row, ())):
            names = sorted(molecules - found.get(row, set()))
            which = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
            shard = Shard(owner[row], len(parts)).name
            lines.append(f"shard {shard}: {_shown(row)} lacks {absent} of {count} records: {which}")
    return lines


def expected_rows(config: RunConfig, found: Mapping[RowKey, Any]) -> list[RowKey]:
    """Return every row of a complete run, in the order of a run in one process.

    Args:
        config: The grid.
        found: Rows that are there: they show whether seeds share a baseline or each one has its own.
    """
    rows: dict[RowKey, None] = {}
    for oracle in config.oracles:
        rows |= {(row.id, "reference"): None for row in fixed_rows(config) if row.oracle == oracle}
        for combination in combinations(config):
            if combination.oracle == oracle:
                rows[_before(combination, found)] = None
                rows |= {(row.id, "after"): None for row in after_rows(config, combination)}
    return list(rows)


def _before(combination: Combination, found: Mapping[RowKey, Any]) -> RowKey:
    shared: RowKey = (combination.before(None).id, "before")
    return shared if shared in found else (combination.before(combination.seed).id, "before")


def _label_problems(path: Path, parts: Sequence[Part]) -> list[str]:
    """Return the geometries that two shards have different labels of, and labels whose call is in no ledger."""
    known: dict[str, tuple[str, Label]] = {}
    lines = []
    for name, directory in _sources(path, parts):
        numbers = {call.call_id for call in read_calls(directory.calls)}
        for stored in _stored_labels(directory.labels):
            if stored.call.call_id not in numbers:
                lines.append(f"{name}: its ledger does not account for the label of {stored.call.molecule}")
            if stored.refused:
                continue
            whose, label = known.setdefault(stored.key, (name, stored.label))
            if not _same(label, stored.label):
                lines.append(f"{name}: the label of {stored.call.molecule} is not the one that {whose} has")
    return lines


def _same(one: Label, other: Label) -> bool:
    forces = np.abs(one.forces - other.forces).max(initial=0.0)
    close = abs(one.energy - other.energy) <= ENERGY_TOLERANCE_HARTREE
    return bool(one.method == other.method and close and forces <= FORCE_TOLERANCE_HARTREE_PER_ANGSTROM)


@dataclass(frozen=True, slots=True)
class _StoredLabel:
    """A row of a store of labels."""

    key: str
    molecule: Molecule
    label: Label
    call: OracleCall

    @property
    def refused(self) -> bool:
        """Whether the gate refused it; it is kept to be looked at, not to be used."""
        return self.call.outcome == "rejected"


def _stored_labels(path: Path) -> Iterator[_StoredLabel]:
    """Yield what a store of labels holds, without opening it for writing."""
    if not path.exists():
        return
    for row in connect(str(path), type="db", use_lock_file=False).select():
        call = OracleCall.model_validate_json(row.data["call"])
        charge, multiplicity = int(row.total_charge), int(row.multiplicity)
        molecule = Molecule(call.molecule, row.numbers, row.positions, charge, multiplicity, row.get("smiles"))
        label = Label(float(row.data["energy"][0]), np.array(row.data["forces"], dtype=np.float64), row.method)
        yield _StoredLabel(row.label_key, molecule, label, call)


def _sources(path: Path, parts: Sequence[Part]) -> list[tuple[str, RunDirectory]]:
    """Return what is merged, by the name in messages: first what all shards share."""
    common = (COMMON, RunDirectory(path / FOLDER / COMMON))
    return [common, *((f"shard {part.shard.name}", part.directory) for part in parts)]


# --- The merged run ------------------------------------------------------------------------------------------------


def _build(parts: Sequence[Part], path: Path) -> None:
    """Build the merged run in a folder beside the run directory, and declare it complete."""
    with replacing(path / READY) as unfinished:
        _build_in(unfinished, parts, path)


def _build_in(unfinished: Path, parts: Sequence[Part], path: Path) -> None:
    target = RunDirectory(unfinished)
    for folder in (target.path, target.checkpoints, target.trajectories):
        folder.mkdir()
    sources = _sources(path, parts)
    _merge_calls(sources, target)
    for name, directory in sources:
        _copy_files(name, directory, target)
    config = RunConfig.model_validate(parts[0].manifest.config)
    append_records(target.records, _ordered(config, [record for part in parts for record in part.records]))
    write_json(target.summary, {**summary_content(target, rows_of(target)), "run_dir": path.resolve().name})
    _manifest(parts).write(target.manifest)


def _merge_calls(sources: Sequence[tuple[str, RunDirectory]], target: RunDirectory) -> None:
    """Write all calls under new numbers, and each label once, with the number of its call."""
    ledger = Ledger(target.calls)
    numbers: dict[str, dict[int, int]] = {name: {} for name, _ in sources}
    for name, directory in sources:
        for call in read_calls(directory.calls):
            numbers[name][call.call_id] = ledger.next_id
            ledger.append(call.model_copy(update={"call_id": ledger.next_id}))
    labels = LabelStore(target.labels, ledger)
    for name, directory in sources:
        for stored in _stored_labels(directory.labels):
            if stored.refused or stored.key not in labels:
                call = stored.call.model_copy(update={"call_id": numbers[name][stored.call.call_id]})
                labels.put(stored.key, stored.molecule, stored.label, call)
    ledger.close()


def _copy_files(name: str, source: RunDirectory, target: RunDirectory) -> None:
    """Append costs and log, and copy checkpoints and trajectories."""
    if source.costs.exists():
        with target.costs.open("ab") as costs:
            costs.write(source.costs.read_bytes())
    if source.log.exists():
        with target.log.open("ab") as log:
            log.write(f"--- {name}\n".encode() + source.log.read_bytes())
    for folder in (source.checkpoints, source.trajectories):
        for file in results_in(folder):
            copy = target.path / file.relative_to(source.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _ordered(config: RunConfig, records: Sequence[Record]) -> list[Record]:
    """Return records in the order of the rows of a run in one process; within a row they stay as they were."""
    rows = expected_rows(config, {_row(record): None for record in records})
    place = {row: index for index, row in enumerate(rows)}
    return sorted(records, key=lambda record: place[_row(record)])


def _manifest(parts: Sequence[Part]) -> Manifest:
    """Return the manifest of the merged run: the first shard's, with where and when each one ran."""
    manifests = [part.manifest for part in parts]
    first, shards = manifests[0], [_kept_of(manifest) for manifest in manifests]
    return first.model_copy(
        update={
            "shard": None,
            "common": None,
            "files": None,
            "baselines": {name: origin for m in manifests for name, origin in m.baselines.items()},
            "environments": {name: process for m in manifests for name, process in m.environments.items()},
            "started_utc": min(shard.started_utc for shard in shards),
            "finished_utc": max(shard.finished_utc for shard in shards),
            "merged": Merged(merged_utc=utc_now("seconds"), shards=tuple(shards)),
        }
    )


def _kept_of(manifest: Manifest) -> MergedShard:
    facts = dict(manifest)
    return MergedShard(
        **dict(facts["shard"]),
        **{name: facts[name] for name in MergedShard.model_fields if name not in Place.model_fields},
    )


def _install(path: Path) -> None:
    """Move the files of a complete merged run to their place, the manifest last; a second call continues."""
    ready = path / READY
    for file in sorted(ready.iterdir(), key=lambda file: file.name == "manifest.json"):
        os.replace(file, path / file.name)
    ready.rmdir()
