"""A run: the grid, in order, each stage skipped where its records are there already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from golfbench.benchmark.evaluate import Judge, evaluate, forgo
from golfbench.benchmark.metrics import Row, Summary
from golfbench.benchmark.prepare import Expected, Report, expected_calls, limited, prepare
from golfbench.benchmark.records import Stage, latest_records, read_records
from golfbench.benchmark.soundness import LABELS_PER_REFERENCE, check_labels
from golfbench.contracts import Dataset, Model, Optimizer
from golfbench.errors import ConfigurationError, TrainingError
from golfbench.golf import checkpoint
from golfbench.golf.collect import Surrogate
from golfbench.golf.loop import Golf, Parts
from golfbench.golf.models import load_potential, open_fixed_model, potential_header, save_potential
from golfbench.golf.samples import fit_references
from golfbench.loggers import Log
from golfbench.oracles.calls import utc_now
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import OracleService
from golfbench.potential import Potential
from golfbench.registry import registry
from golfbench.runs.baseline import TORCH_TYPES, Permission, Start, baseline_path
from golfbench.runs.config import RunConfig
from golfbench.runs.costs import CostLine, append_cost
from golfbench.runs.directory import SCHEMA_VERSION, RunDirectory, slug, write_json
from golfbench.runs.examine import examine
from golfbench.runs.grid import Combination, combinations, fixed_rows
from golfbench.runs.loggers import Loggers
from golfbench.runs.parts import run_part, split
from golfbench.runs.provenance import provenance
from golfbench.runs.service import open_service
from golfbench.runs.shards import SEAL, Shard, Share, join, locate, seal
from golfbench.runs.summary import rows_of, write_summary
from golfbench.specs import ComponentRef, DatasetSpec, OptimizerSpec, OracleSpec, SelectionSpec

log = logging.getLogger(__name__)


def open_dataset(name: str) -> Dataset:
    """Read a dataset by the name (with parameters) that a person gives.

    Raises:
        ConfigurationError: If its labels cannot be right (see ``benchmark.soundness``), or as its reader says.
    """
    ref = ComponentRef.parse(name)
    dataset: Dataset = registry().find(DatasetSpec, ref.name).create(ref.parameters).read()
    check_labels(dataset)
    return dataset


def run(
    config: RunConfig,
    output: Path,
    arguments: Sequence[str],
    report: Report,
    permission: Permission | None = None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Run or resume a grid, or one shard of it.

    Args:
        config: What to do.
        output: Folder that holds run directories.
        arguments: The command line, for the manifest.
        report: Shows progress.
        permission: What the person allows; nothing unsafe by default.
        shard: Which part of the grid; all of it by default.

    Returns:
        The summary (see ``summary_content``).
    """
    permission = permission or Permission()
    here, elsewhere = split(config)
    dataset = limited(open_dataset(config.dataset), config.limit)
    directory, share = locate(config, output / config.run_id(), shard)
    with directory.locked():
        _check_same_data(directory, dataset)
        manifest = _manifest(config, dataset, arguments) | _shard_facts(shard, share, dataset, permission)
        if directory.manifest.exists():  # a resumed run began when it was first started
            before = directory.read_manifest()
            manifest |= {name: before[name] for name in ("started_utc", "merged") if name in before}
        write_json(directory.manifest, manifest)
        facts = run_here(here, directory, report, permission, share)
        manifest |= {"baselines": facts["baselines"], "unjudged": facts["unjudged"]}
        for environment, part in elsewhere.items():
            if not share.oracles(part):
                continue
            theirs = run_part(environment, part, share, directory.path, permission.unsafe)
            manifest["baselines"] |= theirs["baselines"]
            manifest["unjudged"] |= theirs["unjudged"]
            manifest["environments"][environment.name] = theirs["provenance"]
        directory.records.open("a").close()  # a shard without a row has a table without rows
        manifest |= {"finished_utc": utc_now("seconds")} | ({"files": seal(directory.path)} if shard else {})
        write_json(directory.manifest, manifest)
        return write_summary(directory)


def _shard_facts(shard: Shard | None, share: Share, dataset: Dataset, permission: Permission) -> dict[str, Any]:
    """Return what the manifest of a shard says besides, and tell a person whose shard has no row."""
    if shard is None:
        return {}
    if not share.rows:
        permission.tell(f"shard {shard.name} has nothing to run: the grid has fewer rows than shards")
    identity = join(share, dataset.content_hash)
    return {"shard": {"index": shard.index, "count": shard.count}, "common": identity}


def run_here(
    config: RunConfig, directory: RunDirectory, report: Report, permission: Permission, share: Share
) -> dict[str, Any]:
    """Run or resume what this process runs of a grid, in a directory that it, or its parent, holds.

    Returns:
        What the manifest says of it: ``baselines``, ``provenance``, and as ``unjudged`` why the surrogate cannot judge
        a training molecule, by its id.
    """
    dataset = limited(open_dataset(config.dataset), config.limit)
    oracles = share.oracles(config)
    examined = examine(config, dataset, oracles, permission.unsafe)
    for warning in examined.warnings:
        permission.tell(f"warning: {warning}")
    baselines: dict[str, Any] = {}
    grids = [
        _Grid(config, directory, dataset, oracle, report, permission, share, examined.unjudged) for oracle in oracles
    ]
    if share.common and any(grid.lacks_labels for grid in grids):
        _prepare_for_all(grids, config, share, share.common, permission)
    if grids:
        with _opened(config, directory.path) as service:
            for grid in grids:
                grid.prepare(service)
                grid.run()
                baselines |= grid.baselines
    return {"baselines": baselines, "provenance": provenance([]), "unjudged": dict(examined.unjudged)}


def _prepare_for_all(
    grids: Sequence[_Grid], config: RunConfig, share: Share, common: Path, permission: Permission
) -> None:
    """Ask for what the rows of all shards rest on: one shard at a time, so that nothing is asked twice."""
    with share.held("labels and minima", permission.tell):
        try:
            with _opened(config, common) as service:
                for grid in grids:
                    grid.prepare(service)
        finally:
            write_json(common / SEAL, seal(common))


@contextmanager
def _opened(config: RunConfig, path: Path) -> Iterator[OracleService]:
    service = open_service(config, path)
    try:
        yield service
    except KeyboardInterrupt:
        service.close(wait=False)  # a call may take hours
        raise
    finally:
        service.close()


def _check_same_data(directory: RunDirectory, dataset: Dataset) -> None:
    """Refuse to go on with another content of the dataset: records of both would meet in one table."""
    if directory.manifest.exists() and directory.read_manifest()["dataset"]["sha256"] != dataset.content_hash:
        raise ConfigurationError(
            f"{directory.path} was made with another content of its dataset '{dataset.name}': remove it, or give "
            "another --output"
        )


def _manifest(config: RunConfig, dataset: Dataset, arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id(),
        "started_utc": utc_now("seconds"),
        "finished_utc": None,
        "config": config.model_dump(mode="json"),
        "dataset": {
            "name": dataset.name,
            "method": dataset.method,
            "sha256": dataset.content_hash,
            "initial_labels": len(dataset.initial),
            "test_molecules": len(dataset.test),
        },
        "baselines": {},
        "unjudged": {},
        "environments": {},
        **provenance(arguments),
    }


def _origin(baseline: Path) -> dict[str, Any]:
    """Return what the manifest says of a baseline: its hash and how it was made."""
    header = checkpoint.load(baseline)[1]
    return {name: header.get(name) for name in ("model", "delta", "method", "content_sha256", "training", "imported")}


class _Grid:
    """The part of the grid that one oracle judges."""

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        dataset: Dataset,
        oracle: str,
        report: Report,
        permission: Permission,
        share: Share,
        unjudged: Collection[str],
    ) -> None:
        self.permission, self.share, self.unjudged = permission, share, frozenset(unjudged)
        self.loggers = Loggers(config.loggers, directory.path, directory.read_manifest()["run_id"], permission.tell)
        self.config, self.directory, self.dataset, self.report = config, directory, dataset, report
        self.baselines: dict[str, dict[str, Any]] = {}
        self.oracle = ComponentRef.parse(oracle)
        self.method = registry().find(OracleSpec, self.oracle.name).level_of_theory(self.oracle.parameters)

    @property
    def lacks_labels(self) -> bool:
        """Whether the oracle is asked for something before any row is made."""
        return expected_calls(self.dataset, self.method, self.config.protocol) != Expected(0, 0)

    def prepare(self, service: OracleService) -> None:
        """Let a service be asked from now on, first of all for labels and minima that the dataset lacks."""
        protocol, directory = self.config.protocol, self.directory
        reference_optimizer = partial(self._optimizer, protocol.reference_optimizer)
        if self.method == self.dataset.method:
            service.gate.expect(self.method, _references(self.dataset))
        self.dataset = prepare(
            self.dataset, self.method, self.oracle, service, reference_optimizer, protocol, self.report
        )
        service.gate.expect(self.method, _references(self.dataset))
        self.service = service
        self.judge = Judge(self.oracle, service, protocol, self.dataset.test, directory.records, directory.log.name)

    def run(self) -> None:
        """Judge the fixed models, then train and judge each combination."""
        for row in fixed_rows(self.config):
            if row.oracle == str(self.oracle) and self.share.owns(row, "reference"):
                with self.loggers.log(row.id) as log:
                    self._evaluate(row, "reference", partial(open_fixed_model, ComponentRef.parse(row.model)), log)
        for combination in combinations(self.config):
            if combination.oracle == str(self.oracle) and self.share.owns(combination, "after"):
                self._combination(combination)

    def _combination(self, combination: Combination) -> None:
        try:
            start = self._start(combination)
        except TrainingError as error:  # the other rows of the grid do not depend on it
            self._forgo(combination.before(combination.seed), "before", error)
            self._forgo(combination, "after", error)
            return
        path = start.path
        self.baselines[path.name if start.seed is None else path.parent.name] = _origin(path)
        before = combination.before(start.seed)
        if start.updates:
            self._note_cost(before, "before", self._load(path)[0], start.updates, start.wall_s)
        if self.share.owns(before, "before"):
            with self.loggers.log(before.id) as log:
                self._evaluate(before, "before", lambda: self._load(path)[0], log)
        final = self.directory.checkpoints / slug(combination.id) / "final.safetensors"
        with self.loggers.log(combination.id) as log:
            if not final.exists():
                if self._judged(combination, "after"):  # its training failed, and would again
                    return
                try:
                    self._learn(combination, path, final, log)
                except TrainingError as error:
                    self._forgo(combination, "after", error)
                    return
            updates = checkpoint.load(final)[1]["golf"]["spent"] * self.config.golf.updates_per_label
            self._evaluate(combination, "after", lambda: self._load(final)[0], log, updates)

    def _start(self, combination: Combination) -> Start:
        """Return what a combination starts from; shards train a baseline once, for all of them."""
        config, model, seed = self.config, ComponentRef.parse(combination.model), combination.seed or 0
        holder = RunDirectory(self.share.common) if self.share.common else self.directory
        # A file made elsewhere is imported once for all seeds.
        whose = f"the baseline of {model}, {self.method}" + ("" if config.checkpoint_format else f", seed {seed}")
        with (
            self.share.held(whose, self.permission.tell),
            self.loggers.log(f"{model}|{self.method}|seed={seed}") as log,
        ):
            folder = holder.checkpoints
            return baseline_path(config, self.dataset, model, seed, folder, self.report, self.permission, log)

    def _learn(self, combination: Combination, baseline: Path, final: Path, log: Log) -> None:
        potential, header = self._load(baseline)
        name = f"learning: {combination.selection}, seed {combination.seed}"
        golf = Golf(
            self._parts(combination, potential),
            list(self.dataset.initial),
            self.config.golf,
            self.config.training,
            self.config.budget,
            self.config.protocol.force_max_ev_per_angstrom,
            combination.seed or 0,
            combination.id,
            final.parent,
            log,
        )
        progress = golf.run(lambda so_far: self.report(name, so_far.spent, self.config.budget))
        if note := progress.note(self.config.budget, len(golf.parts.unjudged)):
            self.permission.tell(f"warning: {combination.id}: {note}")
        self._note_cost(combination, "after", potential, golf.trainer.timed_updates, golf.trainer.timed_s, note)
        ref = ComponentRef(header["model"], header["parameters"])
        facts = potential_header(ref, potential, self.config.delta, self.method)
        facts |= {name: header[name] for name in ("training", "imported") if name in header}
        save_potential(final, potential, {**facts, "golf": progress.to_json()})

    def _note_cost(
        self,
        row: Combination,
        stage: Stage,
        potential: Potential,
        updates: int = 0,
        wall_s: float = 0.0,
        note: str = "",
    ) -> None:
        line = CostLine(
            combination=row.id,
            stage=stage,
            parameters=potential.parameters,
            updates=updates,
            wall_s=wall_s,
            device=self.config.device,
            dtype=self.config.dtype,
            note=note,
        )
        append_cost(self.directory.costs, line)

    def _load(self, path: Path) -> tuple[Potential, dict[str, Any]]:
        return load_potential(path, self.config.device, TORCH_TYPES[self.config.dtype])

    def _parts(self, combination: Combination, potential: Potential) -> Parts:
        ref = ComponentRef.parse(combination.selection)
        spec = registry().find(SelectionSpec, ref.name)
        return Parts(
            potential,
            lambda: self._optimizer(combination.optimizer),
            spec.create(ref.parameters),
            _surrogate(self.config.surrogate) if spec.needs_surrogate else None,
            self.oracle,
            self.service,
            spec.asks_oracle,
            self.unjudged if spec.needs_surrogate else frozenset(),
        )

    def _optimizer(self, name: str) -> Optimizer:
        ref = ComponentRef.parse(name)
        optimizer: Optimizer = registry().find(OptimizerSpec, ref.name).create(ref.parameters)
        return optimizer

    def _evaluate(self, row: Combination, stage: Stage, model: Callable[[], Model], log: Log, updates: int = 0) -> None:
        done, count = self._judged(row, stage), len(self.judge.test)
        if len(done) == count:
            return
        name = f"minimizing: {row.model} {row.selection or stage}" + ("" if row.seed is None else f", seed {row.seed}")
        endpoints = self.directory.trajectories / f"{slug(row.id)}-{stage}.extxyz"
        identity = row.identity(stage, self.method)
        optimizer = self._optimizer(row.optimizer)
        walker = model()
        if isinstance(walker, Potential):
            self._note_cost(row, stage, walker)
        evaluate(
            self.judge,
            identity,
            walker,
            optimizer,
            done,
            endpoints,
            lambda walked: self.report(name, walked, count),
        )
        if log:
            (judged,) = (r for r in rows_of(self.directory) if (r.combination, r.stage) == (row.id, stage))
            log.scalars(updates, _scalars(judged))

    def _forgo(self, row: Combination, stage: Stage, reason: TrainingError) -> None:
        """Note for each molecule of a row why there is no model to judge."""
        done = self._judged(row, stage)
        if self.share.owns(row, stage) and len(done) < len(self.judge.test):
            self.permission.tell(f"{row.id} has no {stage} row: {reason}")
            forgo(self.judge, row.identity(stage, self.method), done, reason)

    def _judged(self, row: Combination, stage: Stage) -> set[str]:
        """Return the ids of the molecules that have a record."""
        if not self.directory.records.exists():
            return set()
        records = latest_records(read_records(self.directory.records))
        return {r.molecule for r in records if (r.combination, r.stage) == (row.id, stage)}


def _scalars(row: Row) -> dict[str, float]:
    """Return the numbers of a row, for a log; what it does not have is left out."""
    metrics = row.model_dump(include=set(Summary.model_fields) - {"statuses"})
    metrics |= {f"oracle_calls_{purpose}": count for purpose, count in row.oracle_calls.model_dump().items()}
    return {f"evaluation/{name}": float(value) for name, value in metrics.items() if value is not None}


def _references(dataset: Dataset) -> Mapping[int, float]:
    """Return reference energies for the label gate; none where the initial set is too small to say."""
    elements = {int(z) for item in dataset.initial for z in item.molecule.numbers}
    if len(dataset.initial) < LABELS_PER_REFERENCE * len(elements):
        return dataset.atom_energies
    return fit_references(dataset.initial, dict(dataset.atom_energies), None)[0]


def _surrogate(name: str) -> Surrogate:
    return open_oracle(ComponentRef.parse(name), registry()).energy
