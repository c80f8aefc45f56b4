"""The numbers of a leaderboard, each as a quotient of sums over compounds, so that it can be resampled.

Their definitions are those of ``benchmark.metrics``; the value for one seed is the field of that name in its summary.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.benchmark.metrics import COVERAGE_ANGSTROM, at_minimum, pct, residual_kcal_mol, success
from golfbench.benchmark.records import Record, Status
from golfbench.leaderboard.statistics import Quotient
from golfbench.units import HARTREE_TO_KCAL_MOL

#: Numerator and denominator of the records of one compound.
Parts = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a leaderboard.

    Attributes:
        name: Field of ``metrics.Summary``.
        title: Its name in tables.
        unit: Its unit.
        decimals: Decimals in a table.
        parts: Numerator and denominator of the records of one compound and one seed.
        lower_is_better: Whether small values are good.
        scale: What the quotient is multiplied by.
        share: Whether it is a share of the molecules.
        timing: Whether it is a time, which depends on the load of the machine.
    """

    name: str
    title: str
    unit: str
    decimals: int
    parts: Callable[[Sequence[Record]], Parts]
    lower_is_better: bool
    scale: float = 1.0
    share: bool = False
    timing: bool = False


def residual_all(record: Record) -> float | None:
    """Return the residual energy, kcal/mol; a walk that did not finish counts with its start."""
    if record.status.finished:
        return residual_kcal_mol(record)
    if record.energy_initial_hartree is None or record.energy_reference_hartree is None:
        return None
    return (record.energy_initial_hartree - record.energy_reference_hartree) * HARTREE_TO_KCAL_MOL


def pct_all(record: Record) -> float | None:
    """Return pct; a walk that did not finish counts as 0, the start."""
    if record.status.finished:
        return pct(record)
    return None if at_minimum(record) else 0.0


def _mean(number: Callable[[Record], float | None]) -> Callable[[Sequence[Record]], Parts]:
    def parts(records: Sequence[Record]) -> Parts:
        known = [value for record in records if (value := number(record)) is not None]
        return math.fsum(known), len(known)

    return parts


def _of_finished(number: Callable[[Record], float | None]) -> Callable[[Sequence[Record]], Parts]:
    return _mean(lambda record: number(record) if record.status.finished else None)


def _coverage(records: Sequence[Record]) -> Parts:
    nearest = _nearest(records)
    covered = sum(bool(found) and min(found) < COVERAGE_ANGSTROM for found in nearest.values())
    return covered, len(nearest)


def _matching(records: Sequence[Record]) -> Parts:
    nearest = [min(found) for found in _nearest(records).values() if found]
    return math.fsum(nearest), len(nearest)


def _nearest(records: Sequence[Record]) -> Mapping[str, list[float]]:
    """Return the distances of finished end points, Å, by reference minimum."""
    found: dict[str, list[float]] = {r.molecule: [] for r in records if r.energy_reference_hartree is not None}
    for record in records:
        for reference, distance in record.rmsd_to_references_angstrom.items():
            found.setdefault(reference, []).extend([distance] * record.status.finished)
    return found


def _share(name: str, title: str, parts: Callable[[Sequence[Record]], Parts], lower_is_better: bool = False) -> Measure:
    return Measure(name, title, "%", 1, parts, lower_is_better, 100.0, share=True)


def _changed(record: Record) -> bool:
    return record.status is Status.TOPOLOGY_CHANGED


def _times(records: Sequence[Record]) -> Parts:
    return math.fsum(record.wall_s for record in records), sum(record.model_calls for record in records)


MEASURES: tuple[Measure, ...] = (
    Measure("residual_kcal_mol_mean_all", "Residual, all", "kcal/mol", 2, _mean(residual_all), True),
    Measure("pct_mean_all", "pct, all", "%", 1, _mean(pct_all), False),
    Measure("residual_kcal_mol_mean", "Residual, finished", "kcal/mol", 2, _of_finished(residual_kcal_mol), True),
    Measure("pct_mean", "pct, finished", "%", 1, _of_finished(pct), False),
    _share("success_pct", "Success", _mean(success)),
    _share("divergence_pct", "Diverged", _mean(lambda record: record.status is Status.DIVERGED), lower_is_better=True),
    _share("topology_changed_pct", "Topology changed", _mean(_changed), lower_is_better=True),
    _share("convergence_pct", "Converged", _mean(lambda record: record.converged)),
    Measure("steps_mean", "Steps", "", 1, _of_finished(lambda record: record.n_steps), True),
    _share("cov_pct", "COV", _coverage),
    Measure("mat_angstrom", "MAT", "Å", 2, _matching, True),
    Measure("ms_per_force_call", "Time per force call", "ms", 1, _times, True, 1000.0, timing=True),
)


def measure_of(name: str) -> Measure:
    """Return the measure of that name."""
    return next(measure for measure in MEASURES if measure.name == name)


def quotients(seeds: Sequence[Sequence[Record]], groups: Sequence[str]) -> dict[str, Quotient]:
    """Return every number of an entry in a form that can be resampled.

    A seed in which nothing was judged has no number but its times.

    Args:
        seeds: The records of each seed.
        groups: The compounds of the track, in the order of the draws.
    """
    by_group = [_grouped(records) for records in seeds]
    unjudged = [not any(record.status.judged for record in records) for records in seeds]
    found = {}
    for measure in MEASURES:
        parts = np.array([[measure.parts(run.get(group, ())) for group in groups] for run in by_group], dtype=float)
        if not measure.timing:
            parts[unjudged] = 0.0
        found[measure.name] = Quotient(parts[..., 0], parts[..., 1], measure.scale, measure.share)
    return found


def _grouped(records: Sequence[Record]) -> Mapping[str, Sequence[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    return groups
