"""The two sides of a comparison: run directories or entries, read into one form."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from golfbench.benchmark.metrics import CallsByPurpose, CpuSeconds
from golfbench.benchmark.records import Identity, Record, latest_records, read_records
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.entries import Entry, Provenance, part_hashes, read_entry
from golfbench.runs.costs import read_costs
from golfbench.runs.directory import RunDirectory
from golfbench.runs.manifest import Manifest
from golfbench.runs.summary import rows_of

#: Keys that the names of series contain, so they are no difference of settings.
GRID = frozenset(
    {
        "models",
        "optimizers",
        "selections",
        "oracles",
        "seeds",
        "references",
        "end_points",
        "dataset",
        "protocol",
        "evaluate_at",
    }
)
#: Keys that change no result.
TECHNICAL = frozenset({"executor", "workers", "cache", "limits", "loggers"})
#: Costs oracle calls and changes no end point.
FREE_IN_PROTOCOL = "evaluation_steps"


class Key(NamedTuple):
    """Key of a series: a combination without its seed; ``budget`` is empty except for a model judged on the way."""

    stage: str
    model: str
    optimizer: str
    selection: str
    oracle: str
    budget: str
    method: str

    def __str__(self) -> str:
        return " · ".join(filter(None, self[:-1]))


@dataclass(frozen=True, slots=True)
class Series:
    """One combination with all its seeds.

    Attributes:
        key: Whose records they are.
        seeds: Records by seed, and in them by molecule.
        calls: Oracle calls by seed.
        expected: Molecules that each seed was to judge.
        labels: Labels that the network has learned from in all; ``None`` where it is not known.
        cpu_s: Processor time of its learning loop by seed, where that was recorded.
    """

    key: Key
    seeds: Mapping[int | None, Mapping[str, Record]]
    calls: Mapping[int | None, CallsByPurpose]
    expected: int
    labels: int | None = None
    cpu_s: Mapping[int | None, CpuSeconds] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides of a comparison.

    Attributes:
        name: Its name in messages.
        dataset: Name of the dataset.
        sha256: Hash of its content.
        protocol: The protocol, as JSON.
        settings: What else may explain a difference, by name.
        series: What was judged.
    """

    name: str
    dataset: str
    sha256: str
    protocol: Mapping[str, Any]
    settings: Mapping[str, str]
    series: Sequence[Series] = field(repr=False)


def read_side(path: Path) -> Side:
    """Read a run directory or the file of an entry.

    Raises:
        ConfigurationError: If it is neither, or an entry that was altered.
        NothingToDoError: If a run has no records yet.
    """
    if path.is_file():
        return _side_of_entry(path, read_entry(path))
    return _side_of_run(RunDirectory(path))


def _side_of_run(run: RunDirectory) -> Side:
    manifest = run.read_manifest()
    rows = rows_of(run)
    calls = {(row.combination, row.stage): row.oracle_calls for row in rows}
    labels = {(row.combination, row.stage): row.labels for row in rows}
    costs = {name: cost.cpu_s for name, cost in read_costs(run.costs).items() if cost.cpu_s}
    learned: dict[Key, int | None] = {}
    spent: defaultdict[Key, dict[int | None, CpuSeconds]] = defaultdict(dict)
    grouped: defaultdict[Key, defaultdict[int | None, dict[str, Record]]]
    grouped = defaultdict(lambda: defaultdict(dict))
    counted: defaultdict[Key, dict[int | None, CallsByPurpose]] = defaultdict(dict)
    for record in latest_records(read_records(run.records)):
        key = key_of(record)
        grouped[key][record.seed][record.molecule] = record
        counted[key][record.seed] = calls[record.combination, record.stage]
        learned[key] = labels[record.combination, record.stage]
        if (name := (record.combination, record.stage)) in costs:
            spent[key][record.seed] = costs[name]
    dataset, config = manifest.dataset, manifest.config
    expected = dataset.test_molecules
    return Side(
        name=run.path.resolve().name,
        dataset=dataset.name,
        sha256=dataset.sha256,
        protocol=config["protocol"],
        settings=dict(_flat({k: v for k, v in config.items() if k not in GRID | TECHNICAL}))
        | _origin(manifest, [manifest.hardware.cpu]),
        series=[Series(key, seeds, counted[key], expected, learned[key], spent[key]) for key, seeds in grouped.items()],
    )


def _side_of_entry(path: Path, entry: Entry) -> Side:
    if entry.hashes != part_hashes(entry):
        raise ConfigurationError(f"{path} is not what `leaderboard add` wrote: see `leaderboard check`")
    seeds = {run.seed: {record.molecule: record for record in run.records} for run in entry.runs}
    calls = {
        run.seed: CallsByPurpose(**{purpose: account.calls for purpose, account in run.oracle_calls.items()})
        for run in entry.runs
    }
    key = Key(entry.stage, entry.model, entry.optimizer, entry.selection, entry.oracle, "", entry.method)
    return Side(
        name=entry.entry_id,
        dataset=entry.dataset.name,
        sha256=entry.dataset.sha256,
        protocol=entry.protocol.model_dump(mode="json"),
        settings=dict(_flat(entry.settings))
        | _origin(entry.provenance, [str(machine["cpu"]) for machine in entry.provenance.hardware]),
        series=[Series(key, seeds, calls, entry.dataset.test_molecules)],
    )


def key_of(record: Identity) -> Key:
    """Return the series that a record or a row belongs to."""
    budget = f"{record.budget} labels" if record.budget else ""
    return Key(record.stage, record.model, record.optimizer, record.selection, record.oracle, budget, record.method)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings by dotted names, as text; what is not set is left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value not in (None, ""):
            yield above + name, value if isinstance(value, str) else json.dumps(value)


def _origin(facts: Manifest | Provenance, processors: Sequence[str]) -> dict[str, str]:
    """Return the facts on code and machine in a manifest, or in the entry made from one."""
    source = dict(facts.source or {})
    commit = str(source.get("commit", ""))[:12] + (" with changes" if source.get("changed") else "")
    told = {"golfbench": facts.golfbench_version, "commit": commit, "python": facts.python_version}
    told |= facts.versions | facts.plugins
    return {name: text for name, text in told.items() if text} | {"processor": ", ".join(sorted(set(processors)))}


def check_comparable(one: Side, other: Side) -> None:
    """Refuse two sides whose numbers do not mean the same.

    Raises:
        ConfigurationError: If they have another dataset, protocol or level of theory.
    """
    if one.sha256 != other.sha256:
        raise ConfigurationError(
            f"not comparable: the dataset '{one.dataset}' ({one.sha256[:12]}) has another content than "
            f"'{other.dataset}' ({other.sha256[:12]})"
        )
    names = sorted({*one.protocol, *other.protocol} - {FREE_IN_PROTOCOL})
    unequal = [name for name in names if one.protocol.get(name) != other.protocol.get(name)]
    if unequal:
        told = "; ".join(f"{name} is {one.protocol.get(name)} and {other.protocol.get(name)}" for name in unequal)
        raise ConfigurationError(f"not comparable: the protocols differ: {told}")
    methods, others = ({series.key.method for series in side.series} for side in (one, other))
    if not methods & others:
        raise ConfigurationError(
            f"not comparable: energies are under {', '.join(sorted(methods))} and under {', '.join(sorted(others))}"
        )


def differing_settings(one: Side, other: Side) -> list[tuple[str, str, str]]:
    """Return name and values of the settings in which the sides differ, a dash where one does not state it."""
    return [
        (name, one.settings.get(name, "–"), other.settings.get(name, "–"))
        for name in {**one.settings, **other.settings}
        if one.settings.get(name) != other.settings.get(name)
    ]
