"""Metrics: pure functions of records, with the definitions of Tsypin et al. (ICLR 2024, arXiv 2311.06295, section 6).

The paper leaves the diverged out of its means. Every mean is given a second time with all molecules in the denominator,
so that a model gains nothing by diverging on hard molecules. Sums are exact (``math.fsum``): no result depends on the
order of the records.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import get_args

from pydantic import NonNegativeFloat, NonNegativeInt

from golfbench.benchmark.failures import FailedWalks, failed_walks
from golfbench.benchmark.records import ENERGY_TOLERANCE_HARTREE, FrozenModel, Identity, Record, Stage, Status
from golfbench.errors import ConfigurationError
from golfbench.units import HARTREE_TO_KCAL_MOL

#: "Matches the oracle": a residual energy below this, kcal/mol.
SUCCESS_KCAL_MOL = 1.0
#: A reference minimum is covered by an end point nearer than this, Å.
COVERAGE_ANGSTROM = 0.5

#: Counts by (combination, stage) and purpose.
Counts = Mapping[tuple[str, str], Mapping[str, int]]


class CpuSeconds(FrozenModel):
    """Processor time of a learning loop up to a model, s, those of all members of a committee.

    The training of a baseline before the loop, which all selections share, is not in it, nor is what judging costs.

    Attributes:
        exploration: Walks of trajectories on the network, with all that the selection asks the network for meanwhile.
        selection: The selection itself, a surrogate or twin that runs in this process, features of the training set.
        training: Updates of the weights.
        oracle: Labels: the engine's processor time where it is measured, else its wall time.
        base: Calls of a delta base that is an engine, likewise.
        surrogate: Calls of an engine that a selection looked at, likewise.
    """

    exploration: NonNegativeFloat = 0.0
    selection: NonNegativeFloat = 0.0
    training: NonNegativeFloat = 0.0
    oracle: NonNegativeFloat = 0.0
    base: NonNegativeFloat = 0.0
    surrogate: NonNegativeFloat = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return math.fsum(self.model_dump().values())


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a network costs.

    Attributes:
        parameters: Trainable parameters.
        updates: Updates of its weights that were timed.
        wall_s: Wall time of these updates.
        labels: Labels that it has learned from, those of the initial set included.
        cpu_s: Processor time of its learning loop; ``None`` where that was not recorded.
    """

    parameters: int
    updates: int
    wall_s: float
    labels: int | None = None
    cpu_s: CpuSeconds | None = None

    @property
    def ms_per_training_step(self) -> float | None:
        """Wall time of one update, ms; ``None`` if none was timed."""
        return 1000.0 * self.wall_s / self.updates if self.updates else None


#: Costs by (combination, stage).
NetworkCosts = Mapping[tuple[str, str], NetworkCost]


class CallsByPurpose(FrozenModel):
    """Oracle calls (or cache hits) by purpose (see ``oracles.ledger.PURPOSES``); they are never added up."""

    initial: NonNegativeInt = 0
    training: NonNegativeInt = 0
    reference: NonNegativeInt = 0
    evaluation: NonNegativeInt = 0
    base: NonNegativeInt = 0
    selection: NonNegativeInt = 0


class Summary(FrozenModel):
    """Metrics of a set of records. ``None`` means that no record has the number.

    *Finished* molecules have an end point that did not diverge; they are the denominator of the paper's means.
    *Judged* are those and the diverged; *failed* is the rest (``oracle_failed``, ``error``, ``skipped``,
    ``interrupted``). Failed ones stay in the denominators, but where nothing at all was judged, nothing is known of
    the model, and there is no pct, residual, success or divergence.

    Attributes:
        n: Records.
        n_finished: Records that finished.
        n_at_minimum: Records whose start is already the reference minimum (or below it): they have no pct.
        n_without_reference: Records that lack the initial or the reference energy: they have no pct, no residual
            and cannot succeed.
        pct_mean: Mean pct of the finished, %.
        pct_std: Its population standard deviation over molecules, %.
        pct_mean_all: Mean pct where a walk that did not finish counts as 0, the start, %.
        residual_kcal_mol_mean: Mean residual energy of the finished.
        residual_kcal_mol_mean_all: Mean residual energy where a walk that did not finish counts with its start.
        success_pct: Successes among all records, %.
        success_pct_of_finished: Successes among the finished, %.
        divergence_pct: Diverged, among all records, %; what failed is not among them.
        topology_changed_pct: Changed bond graphs, among all records, %.
        step_limit_pct: Stopped by the step limit, among all records, %.
        convergence_pct: Met the force criterion, with any status, among all records, %.
        steps_mean: Mean optimizer updates of the finished.
        steps_capped: Some finished molecule was stopped before it converged: ``steps_mean`` is a lower bound.
        model_calls: Force evaluations of all records.
        ms_per_force_call: Wall time of one force evaluation of one molecule, the optimizer's step with it.
        cov_pct: COV, share of the reference minima with an end point within 0.5 Å, %.
        mat_angstrom: MAT, mean distance from a reference minimum to the nearest end point.
        wall_s: Wall time of all records.
        statuses: Records by status.
    """

    n: int
    n_finished: int
    n_at_minimum: int
    n_without_reference: int
    pct_mean: float | None
    pct_std: float | None
    pct_mean_all: float | None
    residual_kcal_mol_mean: float | None
    residual_kcal_mol_mean_all: float | None
    success_pct: float | None
    success_pct_of_finished: float | None
    divergence_pct: float | None
    topology_changed_pct: float | None
    step_limit_pct: float | None
    convergence_pct: float | None
    steps_mean: float | None
    steps_capped: bool
    model_calls: int
    ms_per_force_call: float | None
    cov_pct: float | None
    mat_angstrom: float | None
    wall_s: float
    statuses: dict[Status, int]


class Row(Summary, Identity):
    """One row of a table: the summary of one combination and stage.

    Attributes:
        residual_kcal_mol_std: Population standard deviation of the residual energy over the finished molecules.
        failures: The failed molecules in groups, with the reasons.
        oracle_calls: What the ledger counted for it.
        cache_hits: Labels that came from the cache instead.
        parameters: Trainable parameters of the network.
        labels: Labels that it has learned from in all, those of the initial set included.
        ms_per_training_step: Wall time of one update of its weights.
        note: What a reader must know of its training, empty if nothing.
    """

    residual_kcal_mol_std: float | None
    failures: tuple[FailedWalks, ...]
    oracle_calls: CallsByPurpose
    cache_hits: CallsByPurpose
    parameters: int | None = None
    labels: int | None = None
    ms_per_training_step: float | None = None
    note: str = ""

    @property
    def n_failed(self) -> int:
        """Molecules of which nothing is known."""
        return sum(group.count for group in self.failures)


def pct(record: Record) -> float | None:
    """Return 100 (E_0 - E_T) / (E_0 - E_opt), unclipped; above 100 a lower basin was found.

    ``None`` if an energy is missing or the start is already at the minimum (see ``at_minimum``).
    """
    return _pct_of(record, record.energy_final_hartree)


def at_minimum(record: Record) -> bool:
    """Whether the reference minimum is not below the start, so that there is no descent to take a percentage of."""
    descent = _descent(record)
    return descent is not None and descent < ENERGY_TOLERANCE_HARTREE


def residual_kcal_mol(record: Record) -> float | None:
    """Return E_T - E_opt in kcal/mol, negative if a lower basin was found; ``None`` if an energy is missing."""
    if record.energy_final_hartree is None or record.energy_reference_hartree is None:
        return None
    return (record.energy_final_hartree - record.energy_reference_hartree) * HARTREE_TO_KCAL_MOL


def success(record: Record) -> bool:
    """Whether the end point is a finished one of unchanged topology, less than 1 kcal/mol above the minimum."""
    residual = residual_kcal_mol(record)
    sound = record.status.finished and record.status is not Status.TOPOLOGY_CHANGED
    return sound and residual is not None and residual < SUCCESS_KCAL_MOL


def summary(records: Iterable[Record]) -> Summary:
    """Return the metrics of a set of records, in any order.

    Raises:
        golfbench.errors.ConfigurationError: If a molecule of one combination and stage has two records (see
            ``records.latest_records``).
    """
    everyone = list(records)
    _check_unique(everyone)
    finished = [r for r in everyone if r.status.finished]
    counted = everyone if any(r.status.judged for r in everyone) else []
    pcts = _known(pct(r) for r in finished)
    statuses = Counter(r.status for r in everyone)
    cov_pct, mat_angstrom = coverage(counted)
    model_calls, wall_s = sum(r.model_calls for r in everyone), math.fsum(r.wall_s for r in everyone)
    return Summary(
        n=len(everyone),
        n_finished=len(finished),
        n_at_minimum=sum(map(at_minimum, everyone)),
        n_without_reference=sum(_descent(r) is None for r in everyone),
        pct_mean=_mean(pcts),
        pct_std=_population_std(pcts),
        pct_mean_all=_mean(_known(map(_pct_or_start, counted))),
        residual_kcal_mol_mean=_mean(_known(map(residual_kcal_mol, finished))),
        residual_kcal_mol_mean_all=_mean(_known(map(_residual_or_start, counted))),
        success_pct=_percentage(sum(map(success, everyone)), len(counted)),
        success_pct_of_finished=_percentage(sum(map(success, finished)), len(finished)),
        divergence_pct=_percentage(statuses[Status.DIVERGED], len(counted)),
        topology_changed_pct=_percentage(statuses[Status.TOPOLOGY_CHANGED], len(counted)),
        step_limit_pct=_percentage(statuses[Status.STEP_LIMIT], len(counted)),
        convergence_pct=_percentage(sum(r.converged for r in everyone), len(counted)),
        steps_mean=_mean([r.n_steps for r in finished]),
        steps_capped=any(not r.converged for r in finished),
        model_calls=model_calls,
        ms_per_force_call=1000.0 * wall_s / model_calls if model_calls else None,
        cov_pct=cov_pct,
        mat_angstrom=mat_angstrom,
        wall_s=wall_s,
        statuses={status: statuses[status] for status in Status if statuses[status]},
    )


def coverage(records: Iterable[Record]) -> tuple[float | None, float | None]:
    """Return COV (%) and MAT (Å) over the reference minima of all groups.

    A minimum is matched with the finished end points of its own group only. One whose group has none is not covered,
    and has no distance that MAT could average. Both are ``None`` if no end point was compared with anything.
    """
    records = list(records)
    finished = [r for r in records if r.status.finished]
    if finished and not any(r.rmsd_to_references_angstrom for r in finished):
        return None, None
    distances: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.energy_reference_hartree is not None:  # a minimum, even if no end point was compared with it
            distances.setdefault((record.group, record.molecule), [])
        for reference, distance in record.rmsd_to_references_angstrom.items():
            found = distances.setdefault((record.group, reference), [])
            found.extend([distance] * record.status.finished)
    nearest = [min(found) for found in distances.values() if found]
    covered = sum(distance < COVERAGE_ANGSTROM for distance in nearest)
    return _percentage(covered, len(distances)), _mean(nearest)


def pct_curve(records: Iterable[Record]) -> dict[int, float]:
    """Return the mean pct of the finished molecules at each evaluation step.

    A molecule that stopped earlier stays where it stopped, so that every mean is over the same molecules; only one
    without an energy at a step that it did reach is missing from that step.
    """
    finished = [r for r in records if r.status.finished]
    curve = {}
    for step in sorted({step for r in finished for step in r.energies_at_step_hartree}):
        mean = _mean(_known(_pct_of(r, _energy_at(r, step)) for r in finished))
        if mean is not None:
            curve[step] = mean
    return curve


def summarise(
    records: Iterable[Record],
    calls: Counts | None = None,
    cache_hits: Counts | None = None,
    costs: NetworkCosts | None = None,
) -> list[Row]:
    """Return one row per combination and stage: reference rows first, then before, then after.

    Args:
        records: In any order.
        calls: Oracle calls of each (combination, stage) by purpose; zero where it says nothing.
        cache_hits: Cache hits, likewise.
        costs: What the networks cost, likewise.

    Raises:
        golfbench.errors.ConfigurationError: If records of one combination and stage disagree, in their level of
            theory for example, or a molecule has two of them.
    """
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.combination, record.stage].append(record)
    rows = []
    for key, group in groups.items():
        identity = _common_identity(group)
        counted = CallsByPurpose(**(calls or {}).get(key, {}))
        hits = CallsByPurpose(**(cache_hits or {}).get(key, {}))
        row = Row(
            **dict(identity),
            **dict(summary(group)),
            residual_kcal_mol_std=_population_std(_known(residual_kcal_mol(r) for r in group if r.status.finished)),
            failures=failed_walks(group),
            oracle_calls=counted,
            cache_hits=hits,
        )
        if cost := (costs or {}).get(key):
            known = {"parameters": cost.parameters, "ms_per_training_step": cost.ms_per_training_step}
            row = row.model_copy(update={**known, "labels": cost.labels})
        rows.append(row)
    return sorted(rows, key=_place)


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over several seeds.

    Attributes:
        mean: Over the seeds that have the number.
        std: Sample standard deviation, the one that estimates the spread of training runs; ``None`` for one seed.
        count: How many seeds have the number.
    """

    mean: float
    std: float | None
    count: int


@dataclass(frozen=True, slots=True)
class SeedMean:
    """Rows that differ in nothing but the seed.

    Attributes:
        rows: Two or more.
    """

    rows: tuple[Row, ...]

    def spread(self, field: str) -> Spread | None:
        """Return mean and sample standard deviation of a field, for example ``oracle_calls.training``."""
        values = _known(map(attrgetter(field), self.rows))
        mean = _mean(values)
        if mean is None:
            return None
        return Spread(mean, statistics.stdev(values) if len(values) > 1 else None, len(values))


def seed_means(rows: Iterable[Row]) -> list[SeedMean]:
    """Return the groups of rows that differ only in the seed and have more than one, in the order of the rows."""
    groups: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.seed is not None:
            name = row.combination.removesuffix(f"|seed={row.seed}")
            groups[name, row.model, row.optimizer, row.selection, row.oracle, row.method, row.stage].append(row)
    return [SeedMean(tuple(group)) for group in groups.values() if len(group) > 1]


def _descent(record: Record) -> float | None:
    """Return E_0 - E_opt, Hartree."""
    if record.energy_initial_hartree is None or record.energy_reference_hartree is None:
        return None
    return record.energy_initial_hartree - record.energy_reference_hartree


def _pct_of(record: Record, energy: float | None) -> float | None:
    descent, start = _descent(record), record.energy_initial_hartree
    if descent is None or start is None or energy is None or at_minimum(record):
        return None
    return 100.0 * (start - energy) / descent


def _pct_or_start(record: Record) -> float | None:
    if record.status.finished:
        return pct(record)
    return None if at_minimum(record) else 0.0


def _residual_or_start(record: Record) -> float | None:
    if record.status.finished:
        return residual_kcal_mol(record)
    descent = _descent(record)
    return None if descent is None else descent * HARTREE_TO_KCAL_MOL


def _energy_at(record: Record, step: int) -> float | None:
    stopped = record.energy_final_hartree if step >= record.n_steps else None
    return record.energies_at_step_hartree.get(step, stopped)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _population_std(values: Sequence[float]) -> float | None:
    mean = _mean(values)
    return None if mean is None else math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def _percentage(count: int, of: int) -> float | None:
    return 100.0 * count / of if of else None


def _check_unique(records: Sequence[Record]) -> None:
    counts = Counter((r.molecule, r.stage, r.combination) for r in records)
    for (molecule, stage, combination), count in counts.items():
        if count > 1:
            raise ConfigurationError(f"{molecule} has {count} records for {combination}, stage {stage}")


def _common_identity(records: Sequence[Record]) -> Identity:
    """Return the identity that all records share; energies of two levels of theory must not be averaged."""
    fields = set(Identity.model_fields)
    first = Identity(**records[0].model_dump(include=fields))
    for record in records:
        for field in fields:
            mine, other = getattr(first, field), getattr(record, field)
            if mine != other:
                raise ConfigurationError(f"records of {first.combination} disagree in {field}: {mine} and {other}")
    return first


def _place(row: Row) -> tuple[int, str, str, str, str, float, int, str]:
    seed = -1 if row.seed is None else row.seed
    stage = get_args(Stage).index(row.stage)
    budget = math.inf if row.budget is None else row.budget  # the end of a training comes after the points on its way
    return stage, row.model, row.optimizer, row.selection, row.oracle, budget, seed, row.combination
