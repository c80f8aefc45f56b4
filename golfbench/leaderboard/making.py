"""From a run directory to entries: rows that fit the track become entries, others are refused with the reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from golfbench.benchmark.metrics import summary
from golfbench.benchmark.records import Record, latest_records, read_records
from golfbench.contracts import Dataset, FloatArray
from golfbench.durable import write_atomically
from golfbench.errors import ConfigurationError, GolfbenchError, NothingToDoError
from golfbench.leaderboard.checks import problems
from golfbench.leaderboard.entries import (
    Cost,
    Credits,
    DatasetFacts,
    Entry,
    PretrainedWeights,
    Provenance,
    PurposeAccount,
    SeedRun,
    canonical_text,
    combination_of,
    read_entry,
    sealed,
)
from golfbench.leaderboard.geometries import pack, read_trajectory
from golfbench.leaderboard.tracks import Track, read_track, track_folders
from golfbench.learning import checkpoint
from golfbench.learning.weights import ModelChoice
from golfbench.oracles.ledger import CACHE_HIT, OracleCall, read_calls
from golfbench.registry import KINDS, registry
from golfbench.runs.config import RunConfig
from golfbench.runs.costs import read_costs
from golfbench.runs.directory import RunDirectory, slug
from golfbench.runs.manifest import Manifest, Origin
from golfbench.runs.starts import shipping, start_of
from golfbench.runs.summary import bill_of, bills_of, calls_by_then
from golfbench.specs import ModelSpec

#: The beginning of an absolute path, or of one that shows the name of a user's folder.
PATH = re.compile(r"(?:(?<=[\s=:,(])|^)(?<!http:)(?<!https:)(?:~|\.{1,2})?/(?:[^/\s,]+/)*")
_START = ("limit", "delta", "checkpoint", "checkpoint_format", "initial_labels", "learner", "baseline", "dtype")
#: What a combination is defined by beside its names and its seeds, by stage: keys of ``RunConfig``. For weights that
#: were made elsewhere, ``fine_tuning`` takes the place of ``training``.
SETTINGS = {
    "reference": ("limit",),
    "before": _START,
    "after": (*_START, "budget", "surrogate", "golf", "training"),
}
#: The learner that entries do not name, since older entries were made when there was no other.
DEFAULT_LEARNER = "single"
#: Why a row is not on the leaderboard.
Refusal = str


def track_of(run: RunDirectory, leaderboards: Path) -> Track:
    """Return the one track that a run fits.

    Raises:
        ConfigurationError: If it fits none, with the reasons, or several.
    """
    manifest = run.read_manifest()
    tracks = [read_track(folder) for folder in track_folders(leaderboards)]
    reasons = [run_refusals(manifest, track) for track in tracks]
    fitting = [track for track, found in zip(tracks, reasons, strict=True) if not found]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigurationError(f"{run.path} fits {', '.join(t.name for t in fitting)}: choose one with --track")
    lines = [f"{track.name}: {'; '.join(found)}" for track, found in zip(tracks, reasons, strict=True)]
    raise ConfigurationError(f"{run.path} fits no track. " + " | ".join(lines))


def run_refusals(manifest: Manifest, track: Track) -> list[Refusal]:
    """Return why no row of a run can be on a track; empty if some may."""
    config = config_of(manifest)
    found = track.protocol_differences(config.protocol)
    if manifest.dataset.sha256 != track.dataset.sha256:
        found.append(f"dataset '{manifest.dataset.name}' has another content than the track's")
    if not any(map(track.accepts_oracle, config.oracles)):
        found.append(f"no oracle of the run is the track's ({track.oracle.name})")
    if manifest.finished_utc is None:
        found.append("the run has not finished: the same command resumes it")
    if manifest.shard:
        found.append("it is one shard of a run: join them by `golfbench merge`")
    return found


def config_of(manifest: Manifest) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        ConfigurationError: If it was written by another version of the suite.
    """
    try:
        return RunConfig.model_validate(manifest.config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"the manifest is of another version: config.{where}: {first['msg']}") from None


def entries_of(
    run: RunDirectory, track: Track, submitter: str = "", weights_license: str = ""
) -> tuple[list[Entry], list[Refusal]]:
    """Return the entries that a run makes on a track, and why other rows make none.

    Every returned entry has passed the same check as a submitted one.

    Args:
        run: A finished run; all of its directory is needed.
        track: The track.
        submitter: Who publishes the entries.
        weights_license: Licence of the trained weights.

    Raises:
        ConfigurationError: If no row of the run can be on the track.
        NothingToDoError: If the run has no records.
    """
    manifest = run.read_manifest()
    if found := run_refusals(manifest, track):
        raise ConfigurationError(f"{run.path} does not fit track {track.name}: {'; '.join(found)}")
    if not run.records.exists():
        raise NothingToDoError(f"{run.path} has no records")
    maker = Maker(run, track, manifest, submitter, weights_license)
    made, refused = [], []
    for records in by_combination(latest_records(read_records(run.records))):
        first = records[0]
        if first.budget:  # a point of a curve: entries are of complete trainings
            continue
        name = " ".join(filter(None, (first.stage, first.model, first.optimizer, first.selection, first.oracle)))
        try:
            if not first.optimizer:
                raise ConfigurationError(
                    "end points that were made elsewhere are no entry: their walk cannot be repeated"
                )
            entry = maker.entry(records)
            wrong = problems(entry, track, maker.dataset)
        except (GolfbenchError, ValueError) as error:
            wrong = [" ".join(str(error).split())]
        if wrong:
            refused += [f"{name}: {reason}" for reason in wrong]
        else:
            made.append(entry)
    return made, refused


def publish(folder: Path, entries: Iterable[Entry], overwrite: bool) -> tuple[list[Path], list[Path]]:
    """Write entries into the folder of their track, which has one entry of a combination, with all its seeds.

    Args:
        folder: Of the track.
        entries: New ones.
        overwrite: Whether an entry replaces an old one of the same combination; else the old one is kept.

    Returns:
        The files that were written, and those that were kept.
    """
    there: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json")):
        with suppress(ConfigurationError):  # an unreadable file is no entry
            there[combination_of(read_entry(path))] = path
    written, kept = [], []
    for entry in entries:
        path = folder / f"{entry.entry_id}.json"
        old = there.get(combination_of(entry), path)  # the old one may have other seeds, and so another name
        if old.exists() and not overwrite:
            kept.append(old)
            continue
        write_atomically(path, canonical_text(entry), parents=True)
        written.append(path)
        if old != path:
            old.unlink()
    return written, kept


def by_combination(records: Iterable[Record]) -> list[list[Record]]:
    """Return records in groups that differ in the seed and the molecule only."""
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        names = (record.stage, record.model, record.optimizer, record.selection, record.oracle)
        groups[*names, str(record.budget or "")].append(record)
    return list(groups.values())


class Maker:
    """Makes the entries of one run."""

    def __init__(
        self, run: RunDirectory, track: Track, manifest: Manifest, submitter: str, weights_license: str
    ) -> None:
        self.run, self.track, self.manifest = run, track, manifest
        self.submitter, self.weights_license = submitter, weights_license
        self.config = config_of(manifest)
        self.dataset: Dataset = track.open_dataset()
        self.order = {item.molecule.id: n for n, item in enumerate(self.dataset.test)}
        self.calls = list(read_calls(run.calls))
        self.costs = read_costs(run.costs)

    def entry(self, records: Sequence[Record]) -> Entry:
        """Return the entry of one combination.

        Raises:
            GolfbenchError: If something that it needs is not in the run directory.
        """
        first = records[0]
        by_seed: defaultdict[int | None, list[Record]] = defaultdict(list)
        for record in records:
            by_seed[record.seed].append(record)
        seeds = sorted(by_seed, key=lambda seed: -1 if seed is None else seed)
        names = {name: getattr(first, name) for name in ("stage", "model", "optimizer", "selection", "oracle")}
        return sealed(
            Entry(
                **names,
                entry_id="",
                track=self.track.name,
                method=first.method,
                budget=(first.budget or self.config.budget) if first.stage == "after" else 0,
                dataset=DatasetFacts(**self.manifest.dataset.model_dump(include=set(DatasetFacts.model_fields))),
                protocol=self.config.protocol,
                settings=self._settings(first),
                provenance=self._provenance(first),
                credits=self._credits(first),
                weights=self._weights(first),
                runs=tuple(self._seed_run(by_seed[seed]) for seed in seeds),
            )
        )

    def _seed_run(self, records: Sequence[Record]) -> SeedRun:
        # The text of an error may name folders of the machine.
        plain = [record.model_copy(update={"error_message": None, "log": None}) for record in records]
        plain.sort(key=lambda record: self.order.get(record.molecule, len(self.order)))
        first = plain[0]
        bills = set(bills_of(first))
        calls = [call for call in self.calls if bill_of(call) in bills] + list(calls_by_then(first, self.calls))
        return SeedRun(
            seed=first.seed,
            summary=summary(plain),
            missing=tuple(sorted(set(self.order) - {record.molecule for record in plain}, key=self.order.__getitem__)),
            records=tuple(plain),
            end_points=pack(self._end_points(plain)),
            oracle_calls={purpose: _account(asked) for purpose, asked in _by_purpose(calls).items()},
            engines=tuple(sorted({call.engine for call in calls if call.engine})),
            cost=self._cost(first),
        )

    def _end_points(self, records: Sequence[Record]) -> dict[str, FloatArray]:
        first = records[0]
        path = self.run.trajectories / f"{slug(first.combination)}-{first.stage}.extxyz"
        frames = read_trajectory(path)
        found = {}
        for record in records:
            status, positions = frames.get(record.molecule, ("", None))
            if positions is None or status != record.status:
                raise ConfigurationError(f"trajectories/{path.name} has no end point of {record.molecule}'s record")
            if abs(positions).max(initial=0.0) < float("inf"):  # NaN compares false, too
                found[record.molecule] = positions
        return found

    def _cost(self, first: Record) -> Cost | None:
        key = (first.combination, first.stage)
        if key not in self.costs:
            return None
        cost, learning, weights = self.costs[key], {}, ""
        if first.stage == "after":
            path = self.run.checkpoints / slug(first.combination) / "final.safetensors"
            tensors, header = checkpoint.load(path)
            learning, weights = header["golf"], checkpoint.content_hash(tensors)
        return Cost(
            parameters=cost.parameters,
            updates=cost.updates,
            wall_s=cost.wall_s,
            learning=learning,
            weights_sha256=weights,
            labels=cost.labels,
        )

    def _settings(self, first: Record) -> dict[str, Any]:
        imported = any(facts.imported for facts in self._started_from(first).values())
        names = ["fine_tuning" if imported and name == "training" else name for name in SETTINGS[first.stage]]
        chosen = self.config.model_dump(mode="json", include=set(names))
        if "checkpoint" in chosen:
            chosen["checkpoint"] = Path(chosen["checkpoint"]).name
        if chosen.get("learner") == DEFAULT_LEARNER:
            del chosen["learner"]
        return {name: chosen[name] for name in names if chosen.get(name) not in (None, "")}

    def _started_from(self, first: Record) -> dict[str, Origin]:
        """Return the baselines of a row, by the name of the checkpoint; none of a fixed model."""
        if first.stage == "reference":
            return {}
        model = first.model.partition(":")[0]
        if registry().has("model", first.model):  # it may have been typed by an alias
            model = registry().component(ModelSpec, first.model).spec.name
        found = {name: facts for name, facts in self.manifest.baselines.items() if facts.model == model}
        if len({_label(facts) for facts in found.values()}) < 2:
            return found
        # Several sets of weights of one model in one run.
        choice = ModelChoice.parse(first.model, self.config.checkpoint, self.config.checkpoint_format)
        label = start_of(choice, shipping(self.dataset, first.method), self.config).weights.label
        return {name: facts for name, facts in found.items() if _label(facts) == label} or found

    def _weights(self, first: Record) -> PretrainedWeights | None:
        """Return the pretrained weights that a row started from, if any."""
        imported = (facts.imported for facts in self._started_from(first).values())
        return next((PretrainedWeights.of(_without_paths(facts)) for facts in imported if facts), None)

    def _provenance(self, first: Record) -> Provenance:
        manifest = self.manifest
        models = {ref.name for ref in (*self.config.models, *self.config.references) if str(ref) == first.model}
        machines = [shard.hardware for shard in manifest.merged.shards] if manifest.merged else [manifest.hardware]
        baselines = {name: facts.model_dump() for name, facts in self._started_from(first).items()}
        elsewhere = {name: facts.model_dump() for name, facts in manifest.environments.items() if name in models}
        copied = manifest.model_dump(include=set(Provenance.model_fields))
        return Provenance(
            **copied
            | {
                "hardware": tuple(machine.model_dump() for machine in machines),
                "device": self.config.device,
                "argv": tuple(PATH.sub("", argument) for argument in manifest.argv),
                "baselines": _without_paths(baselines),
                "environments": _without_paths(elsewhere),
            }
        )

    def _credits(self, first: Record) -> Credits:
        named = {"model": first.model, "optimizer": first.optimizer, "selection": first.selection}
        named |= {"oracle": first.oracle, "dataset": str(self.config.dataset)}
        licenses: dict[str, str] = {}
        citations: dict[str, str] = {}
        for kind, text in named.items():
            kinds = ("model", "oracle") if kind == "model" else (kind,)
            for found in (registry().component(KINDS[k], text) for k in kinds if text and registry().has(k, text)):
                licenses |= {found.ref.name: found.spec.license} if found.spec.license else {}
                citations |= {found.ref.name: found.spec.citation} if found.spec.citation else {}
                break
        return Credits(
            licenses=licenses,
            weights_license=self.weights_license or self._notice(first),
            citations=citations,
            submitter=self.submitter,
        )

    def _notice(self, first: Record) -> str:
        """Return the notice that the licence of imported weights demands."""
        imported = [facts.imported or {} for facts in self._started_from(first).values()]
        return " ".join(dict.fromkeys(str(facts["notice"]) for facts in imported if facts.get("notice")))


def _label(facts: Origin) -> str:
    """Return the label of a baseline's weights among those of its model; see ``learning.weights.Weights.label``."""
    imported = facts.imported or {}
    return str(imported.get("weights") or imported.get("format") or "")


def _by_purpose(calls: Iterable[OracleCall]) -> dict[Any, list[OracleCall]]:
    found: defaultdict[str, list[OracleCall]] = defaultdict(list)
    for call in calls:
        found[call.purpose].append(call)
    return dict(sorted(found.items()))


def _account(calls: Sequence[OracleCall]) -> PurposeAccount:
    asked = [call for call in calls if call.outcome != CACHE_HIT]
    kinds = [call.outcome for call in asked if call.outcome != "ok"]
    seconds = [call.cpu_s for call in asked]
    return PurposeAccount(
        ok=len(asked) - len(kinds),
        failed={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        cache_hits=len(calls) - len(asked),
        wall_s=round(sum(call.wall_s for call in asked), 6),
        cpu_s=None if None in seconds else round(sum(s for s in seconds if s is not None), 6),
    )


def _without_paths(value: Any) -> Any:
    """Return JSON with every path cut to the name of its file."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return PATH.sub("", value) if isinstance(value, str) else value
