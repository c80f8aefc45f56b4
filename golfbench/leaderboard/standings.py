"""Standings: the entries of a track with their numbers, intervals and ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

from golfbench.benchmark.records import Status
from golfbench.contracts import FloatArray
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.entries import Entry, combination_of, entry_id_of, part_hashes, read_entry
from golfbench.leaderboard.measures import quotients
from golfbench.leaderboard.statistics import (
    RESAMPLES,
    Estimate,
    draw_counts,
    estimate,
    ranks,
    resampled_values,
    separable,
)
from golfbench.leaderboard.tracks import Track, read_track, track_folders
from golfbench.oracles.ledger import Purpose, shown_purposes


@dataclass(frozen=True)
class Standing:
    """An entry with its numbers.

    Attributes:
        entry: The entry.
        estimates: Its numbers by the name of the measure.
        resampled: The ranked number in each resample, paired with that of the other entries.
        rank: ``None`` for one that is incomplete or a fixed model.
        tied: Whether it shares its rank.
    """

    entry: Entry
    estimates: Mapping[str, Estimate]
    resampled: FloatArray = field(repr=False)
    rank: int | None = None
    tied: bool = False

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Molecules of all seeds that were judged, that failed, and that are missing."""
        statuses = [record.status for run in self.entry.runs for record in run.records]
        judged = sum(status.judged for status in statuses)
        return judged, len(statuses) - judged, sum(len(run.missing) for run in self.entry.runs)

    @property
    def complete(self) -> bool:
        """Whether every test molecule of every seed was judged, or walked to where the oracle gives no energy.

        Such an end point counts with its start in the ranked numbers, since the model led the walk there.
        """
        walked = (r.status.judged or r.status is Status.ORACLE_FAILED for run in self.entry.runs for r in run.records)
        return all(walked) and not any(run.missing for run in self.entry.runs)

    @property
    def steps_capped(self) -> bool:
        """Whether the mean number of steps is a lower bound."""
        return any(run.summary.steps_capped for run in self.entry.runs)

    def calls(self, purpose: str) -> tuple[float, float]:
        """Return oracle calls for a purpose, and labels that were known already and cost none; means over seeds."""
        accounts = [account for run in self.entry.runs for p, account in run.oracle_calls.items() if p == purpose]
        seeds = len(self.entry.runs)
        return sum(a.calls for a in accounts) / seeds, sum(a.cache_hits for a in accounts) / seeds

    @property
    def labels_in_all(self) -> float:
        """Labels that were learned from, those of the initial set included; mean over seeds."""
        return sum(map(self.entry.labels_in_all, self.entry.runs)) / len(self.entry.runs)

    @property
    def initial_labels(self) -> int:
        """Labels that were learned from before the training; assumed where the entry lacks the number."""
        return max(self.entry.labels_in_all(run) - run.acquired for run in self.entry.runs)

    @property
    def budget_group(self) -> int | None:
        """The budget whose table it is in: 0 for baselines, ``None`` for fixed models, which have their own table."""
        return None if self.entry.stage == "reference" else self.entry.budget


def called_for(standings: Sequence[Standing]) -> list[Purpose]:
    """Return the purposes that a table of these entries has a column for."""
    return shown_purposes(lambda purpose: sum(sum(standing.calls(purpose)) for standing in standings))


def read_entries(folder: Path, track: Track) -> list[Entry]:
    """Read the entries of a track, in the order of their names.

    Raises:
        ConfigurationError: If one is damaged, altered or of another track, lies under another name, or is the same
            combination as another one.
    """
    entries: list[Entry] = []
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json")):
        entry = read_entry(path)
        if entry.hashes != part_hashes(entry) or path.stem != entry.entry_id or entry.entry_id != entry_id_of(entry):
            raise ConfigurationError(f"{path} is not what `leaderboard add` wrote: see `leaderboard check`")
        if entry.track != track.name:
            raise ConfigurationError(f"{path} is an entry of track '{entry.track}'")
        other = seen.setdefault(combination_of(entry), path)
        if other != path:
            raise ConfigurationError(f"{path} is the combination of {other.name} with other seeds: keep one of them")
        entries.append(entry)
    return entries


def standings_of(folder: Path) -> tuple[Track, list[Standing]]:
    """Return a track and the standings of its entries.

    Raises:
        ConfigurationError: If the track or an entry is not valid.
    """
    track = read_track(folder)
    return track, rank_entries(track, read_entries(folder, track))


def all_standings(leaderboards: Path) -> list[tuple[Track, list[Standing]]]:
    """Return every track of a folder with the standings of its entries, in the order in which they are shown.

    The main track comes first, the others by how many entries they have; those without entries come last.

    Raises:
        ConfigurationError: If a track or an entry is not valid, or two tracks are the main one.
    """
    tracks = [standings_of(folder) for folder in track_folders(leaderboards)]
    main = [track.name for track, _ in tracks if track.main]
    if len(main) > 1:
        raise ConfigurationError(f"{leaderboards}: {' and '.join(main)} both say 'main: true'; one track may")
    return sorted(tracks, key=lambda found: (not found[1], not found[0].main, -len(found[1]), found[0].name))


def rank_entries(track: Track, entries: Sequence[Entry]) -> list[Standing]:
    """Return the standings: fixed models, then by budget and rank; those without a rank at the end of their group."""
    groups = sorted({record.group for entry in entries for run in entry.runs for record in run.records})
    drawn = draw_counts(len(groups), RESAMPLES, track.dataset.sha256, "compounds") if groups else None
    found: defaultdict[int | None, list[Standing]] = defaultdict(list)
    for entry in entries:
        seeds = draw_counts(len(entry.runs), RESAMPLES, entry.entry_id, "seeds")
        numbers = quotients([run.records for run in entry.runs], groups)
        assert drawn is not None
        values = {name: resampled_values(quotient, drawn, seeds) for name, quotient in numbers.items()}
        estimates = {name: estimate(quotient, values[name]) for name, quotient in numbers.items()}
        standing = Standing(entry, estimates, values[track.ranked])
        found[standing.budget_group].append(standing)
    order = sorted(found, key=lambda budget: -1 if budget is None else budget)
    return [standing for budget in order for standing in _ranked(track, found[budget])]


def _ranked(track: Track, group: Sequence[Standing]) -> list[Standing]:
    """Return one group with ranks, in order."""

    def place(standing: Standing) -> tuple[float, float, str]:
        value = standing.estimates[track.ranked].value
        rank = float("inf") if standing.rank is None else standing.rank
        signed = float("inf") if value is None else value * (1 if track.lower_is_better else -1)
        return rank, signed, standing.entry.entry_id

    values = {id(s): s.estimates[track.ranked].value for s in group}
    competing = [s for s in group if s.complete and s.budget_group is not None and values[id(s)] is not None]
    numbers = [value for s in competing if (value := values[id(s)]) is not None]
    given = ranks(numbers, [s.resampled for s in competing], lower_is_better=track.lower_is_better)
    ranked = [
        Standing(s.entry, s.estimates, s.resampled, rank, given.count(rank) > 1)
        for s, rank in zip(competing, given, strict=True)
    ]
    others = [s for s in group if not any(s is c for c in competing)]
    return sorted([*ranked, *others], key=place)


def separable_pairs(standings: Sequence[Standing]) -> list[tuple[str, str]]:
    """Return the ids of entries of one budget that are separable, each pair once."""
    pairs = []
    for one, other in combinations(standings, 2):
        if one.budget_group == other.budget_group and separable(one.resampled, other.resampled):
            pairs.append((one.entry.entry_id, other.entry.entry_id))
    return pairs
