"""The stages of a combination: its baseline, what it learns, and how its models are judged. Each returns its result.

A stage whose result is there already is not repeated: records, checkpoints and labels are files, so a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from golfbench.benchmark.evaluate import GivenEnds, Judge, evaluate, evaluate_given, record_failure
from golfbench.benchmark.metrics import CpuSeconds, Row, Summary
from golfbench.benchmark.prepare import Report, spread
from golfbench.benchmark.protocol import Protocol
from golfbench.benchmark.records import RecordFile, Stage
from golfbench.contracts import Dataset, FloatArray, LabelledMolecule, Model, Optimizer
from golfbench.errors import TrainingError
from golfbench.learning import checkpoint
from golfbench.learning.acquisition import Acquisition
from golfbench.learning.clock import Clock
from golfbench.learning.explorer import Explorer, Given, Relaxed, Surrogate, Walks
from golfbench.learning.foreign import adopt
from golfbench.learning.headers import Header, header_of
from golfbench.learning.learner import Learner, Task
from golfbench.learning.loop import LearningLoop, LoopProgress, Parts
from golfbench.learning.opening import (
    labels_learned,
    load_potential,
    open_fixed_model,
    potential_header,
    save_potential,
)
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.references import FollowingReferences
from golfbench.learning.settings import GolfSettings, TrainSettings
from golfbench.learning.starts import Starts
from golfbench.learning.targets import InitialSet, Remainder
from golfbench.learning.twin import Twin
from golfbench.learning.weights import ModelChoice
from golfbench.loggers import Log
from golfbench.minimization import StoppingRule
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.runs.baseline import TORCH_TYPES, Permission, Recipe, train_baseline
from golfbench.runs.bases import base_of_run, surrogate_model
from golfbench.runs.config import RunConfig
from golfbench.runs.costs import CostLine, append_cost, loop_cpu_s
from golfbench.runs.directory import RunDirectory, slug
from golfbench.runs.grid import Combination, written
from golfbench.runs.loggers import Loggers
from golfbench.runs.shards import Share
from golfbench.runs.starts import initial_labels, start_of
from golfbench.runs.summary import rows_of
from golfbench.specs import Component, ComponentRef, LearnerSpec, OptimizerSpec, OracleSpec, SelectionSpec
from golfbench.training_sets import sample

log = logging.getLogger(__name__)

#: The checkpoint of weights that were made elsewhere, in a folder named by model and weights.
ADOPTED = "imported.safetensors"


@dataclass(frozen=True, slots=True)
class Start:
    """What a model starts from.

    Attributes:
        path: The checkpoint.
        seed: The seed that it was drawn with; ``None`` for one that was there before the run: all seeds share it.
        updates: Updates that were done for it just now.
        wall_s: Wall time that they took.
    """

    path: Path
    seed: int | None
    updates: int = 0
    wall_s: float = 0.0


@dataclass(slots=True)
class Context:
    """What the stages of one oracle share.

    Attributes:
        config: The run's.
        directory: The run's.
        records: Its records.
        dataset: At the oracle's level of theory.
        oracle: The genuine oracle.
        method: Its level of theory.
        service: Where its labels come from.
        report: Shows progress.
        permission: What the user allows.
        share: The rows of this shard.
        loggers: What records how the training goes.
        unjudged: Ids of training molecules that the surrogate cannot judge.
        ends: End points that were made elsewhere, by name.
    """

    config: RunConfig
    directory: RunDirectory
    records: RecordFile
    dataset: Dataset
    oracle: Component[OracleSpec]
    method: str
    service: OracleService
    report: Report
    permission: Permission
    share: Share
    loggers: Loggers
    unjudged: frozenset[str] = frozenset()
    ends: Mapping[str, GivenEnds] = field(default_factory=dict)
    _initial: dict[int | None, InitialSet] = field(default_factory=dict)

    @property
    def judge(self) -> Judge:
        """Who judges end points."""
        protocol: Protocol = self.config.protocol
        return Judge(self.oracle, self.service, protocol, self.dataset.test, self.records, self.directory.log.name)

    def choice(self, combination: Combination) -> ModelChoice:
        """Return what the model of a row starts from."""
        config = self.config
        asked = ModelChoice.parse(written(config, combination), config.checkpoint, config.checkpoint_format)
        return start_of(asked, self.dataset, config)

    def initial(self, choice: ModelChoice) -> InitialSet:
        """Return D_0 without the bases, which are computed once for all rows that share them."""
        count = initial_labels(self.config, choice)
        if count not in self._initial:
            labels, bases = spread(self.dataset.initial, count), self.bases("", "before")
            self._initial[count] = InitialSet.of(labels, bases, self.dataset.atom_energies)
        return self._initial[count]

    def rows(self, choice: ModelChoice) -> Sequence[Remainder] | Sequence[LabelledMolecule]:
        """Return the labels of D_0 that a model learns: by default none for weights that were made elsewhere."""
        return [] if initial_labels(self.config, choice) == 0 else self.initial(choice).rows

    def starts(self, choice: ModelChoice) -> Sequence[Molecule] | None:
        """Return where trajectories start, if not from the labels of D_0 that are learned from."""
        if initial_labels(self.config, choice) is None:
            return None
        return self.dataset.unlabelled or [item.molecule for item in sample(self.dataset.initial)]

    def bases(self, combination: str, stage: str) -> list[Model]:
        """Return the bases of delta learning, whose calls count for a row."""
        return [base_of_run(self.config.delta, self.service, combination, stage)] if self.config.delta else []

    def load(self, path: Path, row: Combination, stage: str) -> tuple[Potential, Header]:
        """Load a potential whose base calls count for a row."""
        return load_potential(
            path,
            self.config.device,
            TORCH_TYPES[self.config.dtype],
            lambda name: base_of_run(name, self.service, row.id, stage),
        )

    def optimizer(self, ref: ComponentRef | None) -> Optimizer:
        """Make a fresh optimizer for a row that has one."""
        assert ref is not None
        made: Optimizer = registry().component(OptimizerSpec, ref).create()
        return made

    def note_cost(
        self,
        row: Combination,
        stage: Stage,
        potential: Potential,
        updates: int = 0,
        wall_s: float = 0.0,
        note: str = "",
        labels: int | None = None,
        cpu_s: CpuSeconds | None = None,
    ) -> None:
        """Write what a network cost."""
        line = CostLine(
            combination=row.id,
            stage=stage,
            parameters=potential.parameters,
            updates=updates,
            wall_s=wall_s,
            device=self.config.device,
            dtype=self.config.dtype,
            labels=labels,
            cpu_s=cpu_s,
            note=note,
        )
        append_cost(self.directory.costs, line)


# --- Baseline ------------------------------------------------------------------------------------------------------


def run_baseline(context: Context, combination: Combination) -> Start:
    """Return what a combination starts from, trained here if need be; shards train a baseline once, for all of them.

    Raises:
        TrainingError: If its training blows up.
    """
    seed = combination.seed or 0
    choice = context.choice(combination)
    holder = RunDirectory(context.share.common) if context.share.common else context.directory
    # Weights made elsewhere are adopted once for all seeds.
    adopted = choice.weights.made_elsewhere
    whose = f"the baseline of {choice.ref}, {context.method}" + ("" if adopted else f", seed {seed}")
    title = f"{choice.ref}|{context.method}|seed={seed}"
    with context.share.locked(whose, context.permission.tell), context.loggers.log(title) as log:
        return _start(context, choice, seed, holder.checkpoints, log)


def _start(context: Context, choice: ModelChoice, seed: int, folder: Path, log: Log) -> Start:
    config, dataset = context.config, context.dataset
    recipe = Recipe(choice.ref, config.delta, config.baseline, config.learner, seed, config.device, config.dtype)
    if choice.weights.made_elsewhere:
        return Start(_adopted(context, choice, folder), None)
    if choice.weights.path is not None:
        return Start(choice.weights.path, None)
    committee = f"|{config.learner}" if str(config.learner) != "single" else ""
    name = slug(f"{choice.ref}|delta={config.delta}|{dataset.method}{committee}|seed={seed}")
    path = folder / name / "baseline.safetensors"
    if path.exists():
        return Start(path, seed)
    return Start(path, seed, *train_baseline(dataset, context.initial(choice), recipe, path, context.report, log))


def _adopted(context: Context, choice: ModelChoice, folder: Path) -> Path:
    delta, dataset = context.config.delta, context.dataset
    name = slug(f"{choice.ref}|{choice.weights.label}|delta={delta}|{dataset.method}")
    path = folder / name / ADOPTED
    if not path.exists():
        potential, header = choice.open(context.permission.unsafe)
        bases = context.bases("", "before")
        labels = spread(dataset.initial, initial_labels(context.config, choice))
        notice = adopt(potential, header, labels, dataset.method, delta, bases, path)
        context.permission.tell(notice)
    return path


# --- Learn ---------------------------------------------------------------------------------------------------------


def run_learn(context: Context, combination: Combination, start: Start) -> None:
    """Train a combination, unless it is trained, or its training failed before and would again; see ``learned_path``.

    Raises:
        TrainingError: If its training blows up.
    """
    final = learned_path(context, combination)
    if not final.exists() and not context.records.judged(combination.id, "after"):
        with context.loggers.log(combination.id) as log:
            _learn(context, combination, start.path, final, log)


def learned_path(context: Context, row: Combination) -> Path:
    """Return where the checkpoint of what a combination has learned is, at the end or with the row's budget."""
    folder = context.directory.checkpoints / slug(replace(row, budget=None).id)
    return folder / (f"budget-{row.budget}.safetensors" if row.budget else "final.safetensors")


def updates_in(context: Context, path: Path) -> int:
    """Return how many updates of the loop are in a checkpoint of it."""
    header = header_of(path, checkpoint.load(path)[1])
    return header["golf"]["spent"] * _settings(context.config, header)[1].updates_per_label


def _learn(context: Context, combination: Combination, baseline: Path, final: Path, log: Log) -> None:
    config, seed = context.config, combination.seed or 0
    potential, header = context.load(baseline, combination, "after")
    settings, golf = _settings(config, header)
    updates = config.budget * golf.updates_per_label
    task = Task(potential, settings, updates, combination.seed or 0, f"golf/{combination.id}", log)
    learner = _learner(config, task)
    # The baseline's references and scale define the targets; its bases are those of the run.
    guard = golf.force_norm_guard_hartree_per_angstrom
    choice = context.choice(combination)
    pool = Pool(potential, context.rows(choice), golf.initial_share, guard)
    parts = _parts(context, combination, learner, pool, context.starts(choice))
    parts = replace(parts, references=_references(context, header, potential, pool))

    def write(row: Combination, path: Path) -> None:
        note = loop.progress.note(row.budget or config.budget, len(parts.starts.unjudged))
        if note:
            context.permission.tell(f"warning: {row.id}: {note}")
        cpu_s = loop_cpu_s(parts.clock.spent_s, context.directory.calls, combination.id)
        context.note_cost(row, "after", potential, learner.timed_updates, learner.timed_s, note, cpu_s=cpu_s)
        save_potential(path, potential, _facts(context, header, potential, pool, loop.progress))

    def at_point(labels: int) -> None:
        row = replace(combination, budget=labels)
        if not (path := learned_path(context, row)).exists():
            write(row, path)

    loop = LearningLoop(parts, golf, config.budget, seed, combination.id, final.parent, log)
    name = f"learning: {combination.model} {combination.selection}, seed {combination.seed}"
    loop.run(lambda so_far: context.report(name, so_far.spent, config.budget), config.points, at_point)
    write(combination, final)


def _facts(context: Context, header: Header, potential: Potential, pool: Pool, progress: LoopProgress) -> Header:
    """Return the header of what was learned, from that of the baseline."""
    ref = ComponentRef(header["model"], header["parameters"])
    facts = potential_header(ref, potential, context.config.delta, context.method)
    if "training" in header:
        facts["training"] = header["training"]
    if "imported" in header:
        facts["imported"] = header["imported"]
    before = labels_learned(header)
    facts["labels"] = (pool.initial_size if before is None else before) + len(pool) - pool.initial_size
    facts["golf"] = progress.to_json()
    return facts


def _settings(config: RunConfig, header: Header) -> tuple[TrainSettings, GolfSettings]:
    """Return how a model is trained within the loop: gently, if its weights were made elsewhere."""
    if "imported" not in header:
        return config.training, config.golf
    gentle = config.fine_tuning
    return gentle, config.golf.model_copy(update={"updates_per_label": gentle.updates_per_label})


def _references(context: Context, header: Header, potential: Potential, pool: Pool) -> FollowingReferences | None:
    """Return the fit of reference energies to the labels, for weights that were trained at another level of theory."""
    imported = header.get("imported")
    known = not imported or (imported["method"] == context.method and not potential.bases)
    return None if known or not pool.in_memory else FollowingReferences(potential)


def _learner(config: RunConfig, task: Task) -> Learner:
    learner: Learner = registry().find(LearnerSpec, config.learner).open(config.learner.parameters, task)
    return learner


def _parts(
    context: Context, combination: Combination, learner: Learner, pool: Pool, given: Sequence[Molecule] | None
) -> Parts:
    assert combination.selection is not None
    selection = registry().component(SelectionSpec, combination.selection)
    spec = selection.spec
    acquisition = Acquisition(str(selection), selection.create(), spec.sees)
    forces = "surrogate_forces" in spec.sees
    surrogate = surrogate_of_run(context, combination, forces) if spec.needs_surrogate else None
    golf = context.config.golf
    twin = Twin(learner.potential(), golf.twin_decay) if "twin" in spec.sees else None
    name, clock = spec.explorer or golf.explorer, Clock()
    explorer = _explorer(context, combination, acquisition, name, surrogate, twin, clock)
    starts = Starts(pool, given, context.unjudged if spec.needs_surrogate else frozenset())
    parts = Parts(learner, pool, explorer, acquisition, context.oracle, context.service, spec.asks_oracle, starts)
    return replace(parts, twin=twin, clock=clock)


def _explorer(
    context: Context,
    combination: Combination,
    acquisition: Acquisition,
    name: str,
    surrogate: Surrogate | None,
    twin: Twin | None,
    clock: Clock,
) -> Explorer:
    golf = context.config.golf
    if name == "given":
        return Given(context.dataset.trajectories, acquisition, surrogate, twin)
    optimizer = partial(context.optimizer, combination.optimizer)
    rule = StoppingRule(context.config.protocol.force_max_ev_per_angstrom, golf.steps * golf.inner_steps)
    if name == "relaxed":
        relaxing = surrogate_model(str(context.config.surrogate), context.service, combination.id)
        return Relaxed(acquisition, relaxing, optimizer, rule)
    return Walks(acquisition, optimizer, rule, golf.inner_steps, surrogate, twin, clock)


def surrogate_of_run(context: Context, combination: Combination, forces: bool) -> Surrogate:
    """Return the surrogate; the service asks an engine, on an account of its own.

    Args:
        context: Of the oracle.
        combination: Whose calls they are.
        forces: Whether the selection looks at forces, too.
    """
    surrogate = registry().component(OracleSpec, context.config.surrogate)
    if surrogate.spec.cheap:
        oracle = open_oracle(surrogate, registry())
        return oracle.label if forces else oracle.energy
    account = Account(combination.id, "after", "selection")

    def ask(molecule: Molecule) -> float | tuple[float, FloatArray]:
        label = context.service.submit(surrogate, molecule, account).result()
        return (label.energy, label.forces) if forces else label.energy

    return ask


# --- Judge ---------------------------------------------------------------------------------------------------------


def run_given(context: Context, row: Combination) -> None:
    """Judge end points that were made elsewhere."""
    done, count = context.records.judged(row.id, "reference"), len(context.dataset.test)
    if len(done) < count:
        evaluate_given(
            context.judge,
            row.identity("reference", context.method),
            context.ends[row.model.name],
            done,
            _endpoints(context, row, "reference"),
            lambda judged: context.report(f"judging: {row.model}", judged, count),
        )


def run_reference(context: Context, row: Combination) -> None:
    """Judge a fixed model."""
    run_judge(context, row, "reference", partial(open_fixed_model, row.model))


def run_network(context: Context, row: Combination, stage: Stage, path: Path, updates: int = 0) -> None:
    """Judge the network in a checkpoint; see ``run_judge``."""
    labels = labels_learned(checkpoint.load(path)[1])
    run_judge(context, row, stage, lambda: context.load(path, row, stage)[0], updates, labels)


def run_judge(
    context: Context,
    row: Combination,
    stage: Stage,
    model: Callable[[], Model],
    updates: int = 0,
    labels: int | None = None,
) -> None:
    """Minimize the test molecules with a model and append the records that are not there yet.

    Args:
        context: Of the oracle.
        row: Whose records they are.
        stage: Of the records.
        model: Opened only if a record is missing.
        updates: Of the network so far, for the log.
        labels: How many labels it has learned from.
    """
    done, count = context.records.judged(row.id, stage), len(context.dataset.test)
    if len(done) == count:
        return
    name = f"{row.model} {row.selection or stage}" + (f", {row.budget} labels" if row.budget else "")
    name += "" if row.seed is None else f", seed {row.seed}"
    walker = model()
    if isinstance(walker, Potential):
        context.note_cost(row, stage, walker, labels=labels)
    evaluate(
        context.judge,
        row.identity(stage, context.method),
        walker,
        context.optimizer(row.optimizer),
        done,
        _endpoints(context, row, stage),
        lambda walked: context.report(f"minimizing: {name}", walked, count),
        lambda judged: context.report(f"judging: {name}", judged, count),
    )
    with context.loggers.log(row.id) as log:
        if log:
            (judged,) = (r for r in rows_of(context.directory) if (r.combination, r.stage) == (row.id, stage))
            log.scalars(updates, _scalars(judged))


def _endpoints(context: Context, row: Combination, stage: Stage) -> Path:
    return context.directory.trajectories / f"{slug(row.id)}-{stage}.extxyz"


def give_up(context: Context, row: Combination, stage: Stage, reason: TrainingError) -> None:
    """Note for each molecule of a row why there is no model to judge."""
    done = context.records.judged(row.id, stage)
    if context.share.owns(row, stage) and len(done) < len(context.dataset.test):
        context.permission.tell(f"{row.id} has no {stage} row: {reason}")
        record_failure(context.judge, row.identity(stage, context.method), done, reason)


def _scalars(row: Row) -> Mapping[str, float]:
    """Return the numbers of a row, for a log, without those that are missing."""
    metrics = row.model_dump(include=set(Summary.model_fields) - {"statuses"})
    metrics |= {f"oracle_calls_{purpose}": count for purpose, count in row.oracle_calls.model_dump().items()}
    return {f"evaluation/{name}": float(value) for name, value in metrics.items() if value is not None}
