"""Entries: a combination with all its seeds, in one JSON file that holds everything its numbers are made from.

The file has one canonical form (one record a line), so that nothing can be hidden in it and every change shows in a
diff. Every part carries its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from golfbench.benchmark.metrics import Summary
from golfbench.benchmark.protocol import Protocol
from golfbench.benchmark.records import FrozenModel, Identity, Record, Stage, combination_id
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.geometries import EndPoints
from golfbench.oracles.ledger import Purpose
from golfbench.runs.directory import slug

SCHEMA_VERSION = 1
SCHEMA_FILE = "schema.json"
#: Larger files are not read: 1000 molecules and ten seeds take about 15 MB.
MOST_BYTES = 50_000_000
#: Digits of the hash that ends an entry's id.
ID_DIGITS = 8
#: The overlap of training data with test molecules, where it was not stated.
UNKNOWN = "unknown"

#: Text that is written into tables and pages as it is, so it may have no markup.
Plain = Annotated[str, Field(pattern=r"^[^<>|`\x00-\x1f]*$")]


class DatasetFacts(FrozenModel):
    """The dataset that was run.

    Attributes:
        name: Its name.
        sha256: Hash of its content.
        initial_labels: Labels of its initial set; they are the dataset's and cost no call.
        test_molecules: Molecules (conformations) that the run was to judge.
    """

    name: str
    sha256: str
    initial_labels: NonNegativeInt
    test_molecules: NonNegativeInt


class PurposeAccount(FrozenModel):
    """The calls of one purpose in the ledger of a run.

    Attributes:
        ok: Calls that gave a label.
        failed: Calls that gave none, by kind of failure.
        cache_hits: Labels that were known already and cost no call.
        wall_s: Wall time of the calls.
        cpu_s: CPU time of the calls, where all of them measured it.
    """

    ok: NonNegativeInt = 0
    failed: dict[str, NonNegativeInt] = Field(default_factory=dict)
    cache_hits: NonNegativeInt = 0
    wall_s: NonNegativeFloat = 0.0
    cpu_s: NonNegativeFloat | None = None

    @property
    def calls(self) -> int:
        """Oracle calls: failed ones count, cache hits do not."""
        return self.ok + sum(self.failed.values())


class Cost(FrozenModel):
    """What a network costs.

    Attributes:
        parameters: Trainable parameters.
        updates: Updates of its weights that were timed.
        wall_s: Wall time of these updates.
        learning: The learning loop's own account: trajectories, labels spent and failed, force evaluations.
        weights_sha256: Hash of the trained weights.
        labels: Labels that it has learned from in all, those of the initial set included; ``None`` in older
            entries, which lack it.
    """

    parameters: NonNegativeInt
    updates: NonNegativeInt = 0
    wall_s: NonNegativeFloat = 0.0
    learning: dict[str, NonNegativeInt] = Field(default_factory=dict)
    weights_sha256: str = ""
    labels: NonNegativeInt | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(dump(self), "labels")


class SeedRun(FrozenModel):
    """One seed of a combination.

    Attributes:
        seed: ``None`` where nothing is random.
        summary: Metrics of the records, as ``metrics.summary`` computes them.
        missing: Test molecules without a record: the entry is incomplete.
        records: One per molecule.
        end_points: The last geometries of the walks.
        oracle_calls: The ledger's account by purpose.
        engines: Names and versions of the engines that were asked.
        cost: What the network costs; ``None`` for a fixed model.
    """

    seed: int | None
    summary: Summary
    missing: tuple[str, ...] = ()
    records: tuple[Record, ...]
    end_points: EndPoints
    oracle_calls: dict[Purpose, PurposeAccount]
    engines: tuple[str, ...] = ()
    cost: Cost | None = None

    def account(self, purpose: Purpose) -> PurposeAccount:
        """Return the account of a purpose, an empty one if the ledger has none."""
        return self.oracle_calls.get(purpose, PurposeAccount())

    @property
    def acquired(self) -> int:
        """Labels of the training that were learned from, by the learning loop's account."""
        learning = self.cost.learning if self.cost else {}
        if not learning.get("trajectories"):  # with `none`, no label is asked for: the budget counts updates only
            return 0
        return learning.get("spent", 0) - learning.get("failed", 0) - learning.get("guarded", 0)


class PretrainedWeights(FrozenModel):
    """Weights that were made elsewhere, before anything was learned here.

    Attributes:
        name: Their name in the plugin; empty for a file without a name.
        license: SPDX identifier; empty where it is not known.
        method: Level of theory that they were trained at; empty where it is not known.
        file_sha256: Hash of the file that they came in.
        overlap: What is known of test molecules in their training data: ``unknown``, ``none``, or a sentence.
    """

    name: Plain = ""
    license: Plain = ""
    method: Plain = ""
    file_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    overlap: Plain = Field(UNKNOWN, min_length=1)

    @classmethod
    def of(cls, imported: Mapping[str, Any]) -> PretrainedWeights:
        """Return the facts that the provenance of a baseline holds.

        Raises:
            ValidationError: If one of them is missing or malformed.
        """
        name = imported.get("weights") or imported.get("file", "")
        facts = {"name": name, "file_sha256": imported.get("file_sha256")}
        facts |= {name: imported[name] for name in ("license", "method", "overlap") if name in imported}
        return cls.model_validate(facts)


class Provenance(FrozenModel):
    """Where the numbers come from: the manifest of the run without its paths.

    Attributes:
        run_id: Id of the run.
        started_utc: ISO 8601.
        finished_utc: ISO 8601.
        golfbench_version: Version of the suite.
        source: Commit of the checkout and whether it was changed; ``None`` for an installed package.
        python_version: Version of Python.
        platform: Operating system and architecture.
        versions: Versions of the libraries that results depend on.
        plugins: Versions of the plugins.
        hardware: One machine, or several for a run in shards.
        threads: Variables that limit threads.
        device: Where networks lived.
        argv: The command line.
        baselines: What the networks started from: hash, training, import.
        environments: Versions of the environment of its own that the model ran in, if it did.
    """

    run_id: str
    started_utc: str
    finished_utc: str
    golfbench_version: str
    source: dict[str, str | bool] | None
    python_version: str
    platform: str
    versions: dict[str, str]
    plugins: dict[str, str]
    hardware: tuple[dict[str, str | int | float | None], ...]
    threads: dict[str, str]
    device: str
    argv: tuple[str, ...]
    baselines: dict[str, Any] = Field(default_factory=dict)
    environments: dict[str, Any] = Field(default_factory=dict)


class Credits(FrozenModel):
    """Whose work it is.

    Attributes:
        licenses: SPDX identifier, or the notice of imported weights, by component.
        weights_license: Licence of the trained weights, in the submitter's words.
        citations: DOI or arXiv number by component.
        submitter: Who publishes the entry, if they want to be named.
    """

    licenses: dict[str, str] = Field(default_factory=dict)
    weights_license: str = ""
    citations: dict[str, str] = Field(default_factory=dict)
    submitter: Plain = ""


class Entry(FrozenModel):
    """One combination with all its seeds on one track.

    Attributes:
        schema_version: Version of this schema.
        entry_id: Name of its file; see ``entry_id_of``.
        track: Name of the track.
        stage: ``reference`` (a fixed model), ``before`` (the baseline) or ``after`` the training by GOLF.
        model: The model as it was typed.
        optimizer: The optimizer as it was typed.
        selection: The selection as it was typed; empty where there was none.
        oracle: The oracle as it was typed.
        method: Level of theory of every energy.
        budget: Training labels that were allowed; 0 for a fixed model or a baseline.
        dataset: The dataset that was run.
        protocol: The protocol that was run.
        settings: What else the combination is defined by: hyper-parameters, delta, checkpoint.
        provenance: Where the numbers come from.
        credits: Whose work it is.
        weights: The pretrained weights that it started from; ``None`` where there were none.
        runs: The seeds.
        hashes: SHA-256 of the canonical text of every other part.
    """

    schema_version: Literal[1] = 1
    entry_id: str
    track: str
    stage: Stage
    model: Plain
    optimizer: Plain
    selection: Plain
    oracle: Plain
    method: Plain
    budget: NonNegativeInt
    dataset: DatasetFacts
    protocol: Protocol
    settings: dict[str, Any]
    provenance: Provenance
    credits: Credits
    weights: PretrainedWeights | None = None
    runs: tuple[SeedRun, ...] = Field(min_length=1)
    hashes: dict[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_what_there_is_not(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(dump(self), "weights")

    def identity(self, seed: int | None) -> Identity:
        """Return what all records of a seed have in common."""
        names = (self.model, self.optimizer, self.selection, self.oracle)
        return Identity(
            combination=combination_id(*names, seed),
            model=self.model,
            optimizer=self.optimizer,
            selection=self.selection,
            oracle=self.oracle,
            seed=seed,
            stage=self.stage,
            method=self.method,
        )

    @property
    def delta(self) -> str:
        """The fixed model that the network's output is added to; empty if there is none."""
        return str(self.settings.get("delta") or "")

    @property
    def title(self) -> str:
        """The model, its base and the checkpoint that it started from, as a reader tells entries apart."""
        checkpoint = self.settings.get("checkpoint") or "auto"
        start = "" if checkpoint in ("auto", "none") else f" from {checkpoint}"
        return f"{self.model} + {self.delta}{start}" if self.delta else f"{self.model}{start}"

    def labels_in_all(self, run: SeedRun) -> int:
        """Return how many labels a seed has learned from, those of the initial set included.

        Older entries lack it; all of them learned from the whole initial set.
        """
        if self.stage == "reference":
            return 0
        if run.cost and run.cost.labels is not None:
            return run.cost.labels
        return self.dataset.initial_labels + run.acquired


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Leave out a field that older entries lack, so that their text and its hashes stay the same."""
    return {key: value for key, value in fields.items() if key != name or value is not None}


def entry_id_of(entry: Entry) -> str:
    """Return the id of an entry: names, budget, and a hash of settings, seeds and weights.

    The same combination run again with the same settings and seeds has the same id and replaces the old entry.
    """
    seeds = [run.seed for run in entry.runs]
    facts = [entry.oracle, entry.settings, seeds, entry.dataset.sha256]
    facts += [entry.weights.file_sha256] if entry.weights else []
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]
    names = [entry.model, entry.optimizer, entry.selection or entry.stage]
    names += [f"k{entry.budget}"] if entry.stage == "after" else []
    return "_".join([*(slug(name).replace("_", "-") for name in names), digest])


def combination_of(entry: Entry) -> str:
    """Return the key of an entry without its seeds: a track has one entry for each, so a rerun adds none."""
    names = [entry.stage, entry.model, entry.optimizer, entry.selection, entry.oracle, entry.budget]
    facts = [*names, entry.settings, entry.dataset.sha256, entry.weights.file_sha256 if entry.weights else None]
    return json.dumps(facts, sort_keys=True, allow_nan=False)


def part_hashes(entry: Entry) -> dict[str, str]:
    """Return SHA-256 of the canonical text of each part."""
    parts = entry.model_dump(mode="json", exclude={"hashes"})
    return {name: hashlib.sha256(_compact(part).encode()).hexdigest() for name, part in parts.items()}


def sealed(entry: Entry) -> Entry:
    """Return an entry with its id and its hashes."""
    named = entry.model_copy(update={"entry_id": entry_id_of(entry)})
    return named.model_copy(update={"hashes": part_hashes(named)})


def canonical_text(entry: Entry) -> str:
    """Return the one text of an entry."""
    return laid_out(entry.model_dump(mode="json"))


def laid_out(parts: Mapping[str, Any]) -> str:
    """Return the text of an entry's parts: a line for each, for each field of a seed, and for each record.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    runs = [_object({**run, "records": _Lines(run["records"])}, "  ") for run in parts["runs"]]
    return _object({**parts, "runs": _Lines(runs)}, "") + "\n"


class _Lines(list[Any]):
    """A list written with a line for each item; items that are text are written as they are."""


def _object(fields: Mapping[str, Any], indent: str) -> str:
    lines = [f"{indent} {json.dumps(name)}: {_value(value, indent + ' ')}" for name, value in fields.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _value(value: Any, indent: str) -> str:
    if not isinstance(value, _Lines):
        return _compact(value)
    items = [f"{indent} {item if isinstance(item, str) else _compact(item)}" for item in value]
    return "[\n" + ",\n".join(items) + f"\n{indent}]" if items else "[]"


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def parse_entry(text: str) -> Entry:
    """Read an entry, strictly.

    Raises:
        ConfigurationError: If it is not JSON (NaN is none), a key comes twice, it does not fit the schema, or it is
            not written in the canonical form.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
        entry = Entry.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the entry"
        raise ConfigurationError(f"{where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not valid JSON: {error}") from None
    try:
        canonical = canonical_text(entry)
    except ValueError as error:  # a NaN in a free mapping
        raise ConfigurationError(f"not valid JSON: {error}") from None
    if text != canonical:
        pairs = zip_longest(text.split("\n"), canonical.split("\n"))
        place = next(number for number, (given, wanted) in enumerate(pairs, 1) if given != wanted)
        raise ConfigurationError(f"line {place} is not in the canonical form that `leaderboard add` writes")
    return entry


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key '{next(name for name in names if names.count(name) > 1)}' comes twice")
    return found


def read_entry(path: Path) -> Entry:
    """Read the file of an entry.

    Raises:
        ConfigurationError: As for ``parse_entry``, naming the file.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{path}: larger than {MOST_BYTES} bytes")
        return parse_entry(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def schema_text() -> str:
    """Return the JSON Schema of an entry, as it is published."""
    return json.dumps(Entry.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
