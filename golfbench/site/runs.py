"""The page of the user's own runs: what is comparable is shown side by side, and every given run is shown.

Entries are made in memory as for a leaderboard, but an unfinished run, a walk without an end point or a network
without its checkpoint is no reason for refusal.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field, NonNegativeInt, PrivateAttr

from golfbench.benchmark.prepare import limited
from golfbench.benchmark.records import Record, Stage, latest_records, read_records
from golfbench.contracts import Dataset, FloatArray, TestMolecule
from golfbench.errors import ConfigurationError, GolfbenchError
from golfbench.leaderboard import making
from golfbench.leaderboard.content import Section
from golfbench.leaderboard.entries import Cost, Entry
from golfbench.leaderboard.geometries import read_trajectory
from golfbench.leaderboard.standings import rank_entries
from golfbench.leaderboard.tracks import Track, TrackDataset, TrackOracle
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory, slug
from golfbench.runs.grid import Combination, after_rows, combinations, fixed_rows
from golfbench.site.page import page
from golfbench.specs import ComponentRef, DatasetSpec, OracleSpec

TITLE = "golfbench report"
#: Rows of a grid without a record that a note names.
NAMED = 8


def report_page(runs: Sequence[Path]) -> str:
    """Return the page of run directories: a section for each dataset, level of theory and protocol.

    Args:
        runs: Run directories, finished or not.

    Raises:
        NothingToDoError: If one is not a run directory.
        ConfigurationError: If a manifest is of another version, or its dataset is missing or has changed.
    """
    sections: dict[str, _Comparable] = {}
    for path in dict.fromkeys(path.resolve() for path in runs):
        run = _Run(RunDirectory(path))
        for key, found in run.parts().items():
            sections.setdefault(key, found).join(found)
    titles: defaultdict[str, int] = defaultdict(int)
    made = []
    for number, comparable in enumerate(sections.values(), 1):
        titles[comparable.title] += 1
        made.append(comparable.section(f"runs-{number}", titles[comparable.title]))
    return page(made, TITLE)


class _OwnTrack(Track):
    """A track with its dataset at hand: that of a run, which may be limited or labelled by another method.

    A run may also have no budget: then its networks are judged as they come.
    """

    budgets: tuple[NonNegativeInt, ...] = Field(min_length=1)
    _data: Dataset = PrivateAttr()

    def open_dataset(self) -> Dataset:
        return self._data


class _OwnMaker(making.Maker):
    """Makes an entry of what a run has."""

    def _end_points(self, records: Sequence[Record]) -> dict[str, FloatArray]:
        first = records[0]
        path = self.run.trajectories / f"{slug(first.combination)}-{first.stage}.extxyz"
        try:
            frames = read_trajectory(path)
        except ConfigurationError:
            return {}
        wanted = {record.molecule: record.status for record in records}
        return {
            molecule: positions
            for molecule, (status, positions) in frames.items()
            if wanted.get(molecule) == status and abs(positions).max(initial=0.0) < float("inf")
        }

    def _cost(self, first: Record) -> Cost | None:
        try:
            return super()._cost(first)
        except (GolfbenchError, OSError):
            cost = self.costs[first.combination, first.stage]
            return Cost(parameters=cost.parameters, updates=cost.updates, wall_s=cost.wall_s, labels=cost.labels)


@dataclass
class _Comparable:
    """What one section shows, with the run that it was read from."""

    title: str
    config: RunConfig
    method: str
    dataset_name: str
    sha256: str
    data: Dataset
    parts: list[tuple[_Run, list[Record]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    budgets: set[int] = field(default_factory=set)

    def join(self, other: _Comparable) -> None:
        """Add what another run has for this section."""
        if other is not self:
            for name in ("parts", "notes", "run_ids"):
                getattr(self, name).extend(getattr(other, name))
            self.budgets |= other.budgets

    def section(self, name: str, number: int) -> Section:
        track = _OwnTrack(
            name=name,
            title=self.title if number == 1 else f"{self.title} ({number})",
            description=f"From {', '.join(self.run_ids)}.",
            dataset=TrackDataset(name=self.dataset_name, sha256=self.sha256),
            method=self.method,
            oracle=TrackOracle(name=", ".join(map(str, self.config.oracles))),
            protocol=self.config.protocol.model_dump(mode="json"),
            budgets=tuple(sorted(self.budgets)),
        )
        track._data = self.data
        entries = []
        for run, records in self.parts:
            try:
                entries.append(run.entry(track, records))
            except (GolfbenchError, ValueError) as error:
                reason = " ".join(str(error).split())
                self.notes.append(f"{run.id}: {_row_name(records[0], records[0].stage)} cannot be shown: {reason}")
        return Section(track, rank_entries(track, entries), self.data, published=False, notes=tuple(self.notes))


class _Run:
    """A run directory as it is now."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        manifest = directory.read_manifest()
        self.unfinished = manifest.finished_utc is None
        self.manifest = manifest.model_copy(update={"finished_utc": manifest.finished_utc or ""})
        self.config, self.id = making.config_of(manifest), manifest.run_id
        self.records = latest_records(read_records(directory.records)) if directory.records.exists() else []

    def parts(self) -> dict[str, _Comparable]:
        """Return what the run has, by what makes it comparable."""
        found: dict[str, _Comparable] = {}
        whole = self._dataset()
        for records in making.by_combination(self.records):
            self._at(found, records[0].method, whole).parts.append((self, records))
        for oracle in self.config.oracles:
            method = registry().find(OracleSpec, oracle).level_of_theory(oracle.parameters)
            waiting = self._without_records(oracle)
            if waiting:
                self._at(found, method, whole).notes.append(f"{self.id}: no record yet of {_listed(waiting)}.")
        for comparable in found.values():
            comparable.notes += self._notes()
        return found

    def entry(self, track: Track, records: Sequence[Record]) -> Entry:
        """Return one combination as an entry; its id names the run, too, since several may have it."""
        entry = _OwnMaker(self.directory, track, self.manifest, "", "").entry(records)
        return entry.model_copy(update={"entry_id": f"{self.id}/{entry.entry_id}"})

    def _at(self, found: dict[str, _Comparable], method: str, whole: Dataset) -> _Comparable:
        facts = self.manifest.dataset
        protocol = json.dumps(self.config.protocol.model_dump(mode="json"), sort_keys=True)
        key = "|".join((facts.sha256, str(facts.test_molecules), method, protocol))
        if key not in found:
            found[key] = _Comparable(
                title=f"{facts.name}: {method}",
                config=self.config,
                method=method,
                dataset_name=str(self.config.dataset),
                sha256=facts.sha256,
                data=whole if whole.method == method else _without_labels(whole),
                run_ids=[self.id],
                budgets={*self.config.points, self.config.budget},
            )
        return found[key]

    def _dataset(self) -> Dataset:
        dataset: Dataset = registry().component(DatasetSpec, self.config.dataset).create().read()
        if dataset.content_hash != self.manifest.dataset.sha256:
            raise ConfigurationError(
                f"{self.directory.path}: dataset '{dataset.name}' has changed since the run; "
                "the other formats need the records only"
            )
        return limited(dataset, self.config.limit)

    def _notes(self) -> list[str]:
        notes = [f"{self.id} has not finished: the same command resumes it."] if self.unfinished else []
        if self.manifest.shard:
            notes.append(f"{self.id} is one shard of a run: golfbench merge joins them.")
        return notes

    def _without_records(self, oracle: ComponentRef) -> list[str]:
        """Return the rows of the grid that have no record."""
        present = {(record.combination, record.stage) for record in self.records}
        trained = [row for row in combinations(self.config) if row.oracle == oracle]
        fixed = [row for row in fixed_rows(self.config) if row.oracle == oracle]
        after = [row for combination in trained for row in after_rows(self.config, combination)]
        stages: list[tuple[Stage, list[Combination]]] = [("reference", fixed), ("after", after)]
        return [_row_name(row, stage) for stage, rows in stages for row in rows if (row.id, stage) not in present]


def _without_labels(dataset: Dataset) -> Dataset:
    """Return a dataset for another level of theory: its starts remain, its energies and minima do not count."""
    return replace(dataset, test=[TestMolecule(item.molecule) for item in dataset.test])


def _row_name(row: Combination | Record, stage: Stage) -> str:
    seed = "" if row.seed is None else f"seed {row.seed}"
    labels = f"{row.budget} labels" if row.budget else ""
    return " ".join(
        map(str, filter(None, (row.model, row.optimizer, row.selection or stage, row.oracle, labels, seed)))
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
