"""A run: the grid, in order. A stage is skipped if its records are there already."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from golfbench.benchmark.evaluate import GivenEnds
from golfbench.benchmark.prepare import Expected, Report, expected_calls, limited, prepare
from golfbench.benchmark.records import RecordFile
from golfbench.benchmark.soundness import check_labels
from golfbench.contracts import Dataset
from golfbench.errors import ConfigurationError, GolfbenchError, TrainingError
from golfbench.learning import checkpoint
from golfbench.learning.targets import fit_references, remainders
from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.calls import utc_now
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.baseline import Permission
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory, write_json
from golfbench.runs.examine import examine
from golfbench.runs.grid import Combination, after_rows, combinations, fixed_rows, plan
from golfbench.runs.hours import WORTH_TELLING, hours_of
from golfbench.runs.loggers import Loggers
from golfbench.runs.manifest import Manifest, Origin, PartFacts, Place, RunData
from golfbench.runs.parts import run_part, split
from golfbench.runs.provenance import provenance
from golfbench.runs.service import open_service
from golfbench.runs.shards import SEAL, Shard, Share, join, locate, seal
from golfbench.runs.stages import (
    ADOPTED,
    Context,
    Start,
    give_up,
    learned_path,
    run_baseline,
    run_given,
    run_learn,
    run_network,
    run_reference,
    updates_in,
)
from golfbench.runs.starts import most_initial_labels
from golfbench.runs.summary import write_summary
from golfbench.specs import ComponentRef, DatasetSpec, Named, OracleSpec
from golfbench.training_sets import LABELS_PER_REFERENCE, is_large, sample, sampled

log = logging.getLogger(__name__)


def open_dataset(named: Named) -> Dataset:
    """Read a dataset.

    Raises:
        ConfigurationError: If its labels cannot be right (see ``benchmark.soundness``), or as its reader says.
    """
    dataset: Dataset = registry().component(DatasetSpec, named).create().read()
    check_labels(dataset)
    return dataset


def run(
    config: RunConfig,
    output: Path,
    arguments: Sequence[str],
    report: Report,
    permission: Permission | None = None,
    shard: Shard | None = None,
    ends: Mapping[str, GivenEnds] | None = None,
) -> dict[str, Any]:
    """Run or resume a grid, or one shard of it.

    Args:
        config: What to do.
        output: Folder that holds run directories.
        arguments: The command line, for the manifest.
        report: Shows progress.
        permission: What the user allows; nothing unsafe by default.
        shard: Which part of the grid; all of it by default.
        ends: The end points of the files in the configuration, by the names that it gives them.

    Returns:
        The summary (see ``summary_content``).
    """
    permission = permission or Permission()
    here, elsewhere = split(config)
    dataset = limited(open_dataset(config.dataset), config.limit)
    directory, share = locate(config, output / config.run_id(), shard)
    with directory.locked():
        _check_same_data(directory, dataset)
        manifest = _manifest(config, dataset, arguments).model_copy(
            update=_shard_facts(shard, share, dataset, permission)
        )
        if directory.manifest.exists():  # a resumed run began when it was first started
            before = directory.read_manifest()
            manifest = manifest.model_copy(update={"started_utc": before.started_utc, "merged": before.merged})
        else:
            _tell_hours(config, dataset, share, permission)
        manifest.write(directory.manifest)
        facts = run_here(here, directory, report, permission, share, ends or {})
        baselines, unjudged, processes = dict(facts.baselines), dict(facts.unjudged), {}
        for environment, part in elsewhere.items():
            if not share.oracles(part):
                continue
            theirs = run_part(environment, part, share, directory.path, permission.unsafe)
            baselines |= theirs.baselines
            unjudged |= theirs.unjudged
            processes[environment.name] = theirs.provenance
        directory.records.open("a").close()  # a shard without rows has a table without rows
        found = {"baselines": baselines, "unjudged": unjudged, "environments": processes}
        files = seal(directory.path) if shard else None
        manifest.model_copy(update={**found, "finished_utc": utc_now("seconds"), "files": files}).write(
            directory.manifest
        )
        return write_summary(directory)


def _tell_hours(config: RunConfig, dataset: Dataset, share: Share, permission: Permission) -> None:
    """Print before a run starts how long its oracle calls will take, if that is long and can be estimated."""
    calls = plan(config, dataset, share.owns).calls_by_oracle
    for one in hours_of(config, dataset, calls, LabelCache(default_path())):
        if one.hours is not None and one.hours > WORTH_TELLING:
            permission.tell(one.sentence)


def _shard_facts(shard: Shard | None, share: Share, dataset: Dataset, permission: Permission) -> dict[str, Any]:
    """Return the additional fields in the manifest of a shard, and warn if the shard has no row."""
    if shard is None:
        return {}
    if not share.rows:
        permission.tell(f"shard {shard.name} has nothing to run: the grid has fewer rows than shards")
    identity = join(share, dataset.content_hash)
    return {"shard": Place(index=shard.index, count=shard.count), "common": identity}


def run_here(
    config: RunConfig,
    directory: RunDirectory,
    report: Report,
    permission: Permission,
    share: Share,
    ends: Mapping[str, GivenEnds],
) -> PartFacts:
    """Run or resume this process's part of a grid, in a directory that it, or its parent, has locked.

    Returns:
        What the manifest says of it.
    """
    dataset = limited(open_dataset(config.dataset), config.limit)
    oracles = share.oracles(config)
    examined = examine(config, dataset, oracles, permission.unsafe)
    for warning in examined.warnings:
        permission.tell(f"warning: {warning}")
    _take_known_labels(config, dataset, permission)
    baselines: dict[str, Origin] = {}
    known = _Known(examined.unjudged, ends)
    grids = [_Grid(config, directory, dataset, oracle, report, permission, share, known) for oracle in oracles]
    if share.common and any(grid.lacks_labels for grid in grids):
        _prepare_for_all(grids, config, share, share.common, permission)
    if grids:
        with _opened(config, directory.path, report) as service:
            for grid in grids:
                grid.run(service)
                baselines |= grid.baselines
    return PartFacts(baselines=baselines, provenance=provenance([]), unjudged=dict(examined.unjudged))


def _take_known_labels(config: RunConfig, dataset: Dataset, permission: Permission) -> None:
    """Put the labels that come with the dataset into the label cache, if they are not there yet."""
    if not dataset.known_labels or config.cache == "off":
        return
    try:
        added = LabelCache(default_path()).load(Path(dataset.known_labels)).added
    except GolfbenchError as error:  # a cache only saves calls: a run works without it
        permission.tell(f"warning: the labels that come with dataset '{dataset.name}' are not used: {error}")
        return
    if added:
        permission.tell(f"{added} labels that come with dataset '{dataset.name}' are now in the label cache")


def _prepare_for_all(
    grids: Sequence[_Grid], config: RunConfig, share: Share, common: Path, permission: Permission
) -> None:
    """Compute what the rows of all shards need: one shard at a time, so that no call is made twice."""
    with share.locked("labels and minima", permission.tell):
        try:
            with _opened(config, common, grids[0].report) as service:
                for grid in grids:
                    grid.prepare(service)
        finally:
            write_json(common / SEAL, seal(common))


@contextmanager
def _opened(config: RunConfig, path: Path, report: Report) -> Iterator[OracleService]:
    service = open_service(config, path)
    service.watch(lambda oracle, ended, asked: report(f"calls of {oracle}", ended, asked))
    try:
        yield service
    except KeyboardInterrupt:
        service.close(wait=False)  # a call may take hours
        raise
    finally:
        service.close()


def _check_same_data(directory: RunDirectory, dataset: Dataset) -> None:
    """Refuse to go on with another content of the dataset: one table would mix records of both."""
    if directory.manifest.exists() and directory.read_manifest().dataset.sha256 != dataset.content_hash:
        raise ConfigurationError(
            f"{directory.path} was made with another content of its dataset '{dataset.name}': remove it, or give "
            "another --output"
        )


def _manifest(config: RunConfig, dataset: Dataset, arguments: Sequence[str]) -> Manifest:
    return Manifest(
        run_id=config.run_id(),
        started_utc=utc_now("seconds"),
        finished_utc=None,
        config=config.model_dump(mode="json"),
        dataset=RunData(
            name=dataset.name,
            method=dataset.method,
            sha256=dataset.content_hash,
            initial_labels=len(dataset.initial),
            test_molecules=len(dataset.test),
            sampled_labels=len(sampled(dataset.initial)) if is_large(dataset.initial) else None,
        ),
        **dict(provenance(arguments)),
    )


def _name(start: Start) -> str:
    """Return how the manifest names a baseline: by a file, if it was there before the run or all seeds share it."""
    path = start.path
    if start.seed is not None:
        return path.parent.name
    return f"{path.parent.name}.safetensors" if path.name == ADOPTED else path.name


def _origin(baseline: Path) -> Origin:
    """Return what the manifest says of a baseline: its hash and how it was made."""
    return Origin.model_validate(checkpoint.load(baseline)[1])


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known before a grid is run.

    Attributes:
        unjudged: Ids of training molecules that the surrogate cannot judge.
        ends: End points that were made elsewhere, by name.
    """

    unjudged: Collection[str]
    ends: Mapping[str, GivenEnds]


class _Grid:
    """The part of the grid that one oracle judges.

    Args:
        config: The run's.
        directory: The run's.
        dataset: As it was read.
        oracle: The genuine oracle.
        report: Shows progress.
        permission: What the user allows.
        share: The rows of this shard.
        known: What is known before the run.
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        dataset: Dataset,
        oracle: ComponentRef,
        report: Report,
        permission: Permission,
        share: Share,
        known: _Known,
    ) -> None:
        self.config, self.directory, self.dataset, self.report = config, directory, dataset, report
        self.permission, self.share, self.known = permission, share, known
        self.baselines: dict[str, Origin] = {}
        self.oracle = registry().component(OracleSpec, oracle)
        self.method = self.oracle.spec.level_of_theory(self.oracle.parameters)

    @property
    def lacks_labels(self) -> bool:
        """Whether oracle calls are needed before any row is made."""
        return expected_calls(
            self.dataset, self.method, self.config.protocol, most_initial_labels(self.config, self.dataset, self.method)
        ) != Expected(0, 0)

    def prepare(self, service: OracleService) -> Context:
        """Use a service from now on, first for the labels and minima that the dataset lacks."""
        config = self.config
        run_id = self.directory.read_manifest().run_id
        context = Context(
            config,
            self.directory,
            RecordFile(self.directory.records),
            self.dataset,
            self.oracle,
            self.method,
            service,
            self.report,
            self.permission,
            self.share,
            Loggers(config.loggers, self.directory.path, run_id, self.permission.tell),
            frozenset(self.known.unjudged),
            self.known.ends,
        )
        optimizer = partial(context.optimizer, config.protocol.reference_optimizer)
        if self.method == self.dataset.method:
            service.gate.expect(self.method, _references(self.dataset))
        context.dataset = prepare(
            self.dataset,
            self.method,
            self.oracle,
            service,
            optimizer,
            config.protocol,
            self.report,
            most_initial_labels(config, self.dataset, self.method),
        )
        self.dataset = context.dataset  # what shards prepared together is not asked for again
        service.gate.expect(self.method, _references(context.dataset))
        return context

    def run(self, service: OracleService) -> None:
        """Judge the fixed models and given end points, then train and judge each combination."""
        context = self.prepare(service)
        for row in fixed_rows(self.config):
            if row.oracle == self.oracle.ref and self.share.owns(row, "reference"):
                (run_given if row.optimizer is None else run_reference)(context, row)
        for combination in combinations(self.config):
            if combination.oracle == self.oracle.ref and self.share.owns(combination, "after"):
                self._combination(context, combination)

    def _combination(self, context: Context, combination: Combination) -> None:
        learned = after_rows(self.config, combination)
        try:
            start = run_baseline(context, combination)
        except TrainingError as error:  # the other rows of the grid do not depend on it
            give_up(context, combination.before(combination.seed), "before", error)
            for row in learned:
                give_up(context, row, "after", error)
            return
        path, before = start.path, combination.before(start.seed)
        self.baselines[_name(start)] = _origin(path)
        if start.updates:
            potential = context.load(path, before, "before")[0]
            context.note_cost(before, "before", potential, start.updates, start.wall_s)
        if self.share.owns(before, "before"):
            run_network(context, before, "before", path)
        if not learned:
            return
        failure = None
        try:
            run_learn(context, combination, start)
        except TrainingError as error:
            failure = error
        for row in learned:  # what was trained before a failure is judged
            if (path := learned_path(context, row)).exists():
                run_network(context, row, "after", path, updates_in(context, path))
            elif failure is not None:
                give_up(context, row, "after", failure)


def _references(dataset: Dataset) -> Mapping[int, float]:
    """Return reference energies for the label gate; none where the initial set is too small for a fit."""
    labels = sample(dataset.initial)
    elements = {int(z) for item in labels for z in item.molecule.numbers}
    if not labels or len(labels) < LABELS_PER_REFERENCE * len(elements):
        return dataset.atom_energies
    return fit_references(list(remainders(labels, [])), dataset.atom_energies)[0]
