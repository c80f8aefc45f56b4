"""Curves over labels: what a model reaches with so many labels under each selection, and which selection is ahead.

A curve is a model under a selection, judged on the way to its budget (``run --evaluate-at``), with all its seeds. Its
points are at the labels that were asked for in all, those of the initial set included, so that curves of one run meet
at the same places, also where an oracle refused labels.

**Intervals** are those of the leaderboards: whole compounds and seeds are drawn, the same ones for all curves and
points of a run (see ``leaderboard.statistics``). A difference of two selections is taken within each draw. It is over
the molecules and the seeds that both have at all of its points.

**The whole curve** is the mean over its points but the start, which the curves share. The points of a study lie like
powers of two: it is the mean over the logarithm of the labels, one number for each pair of selections instead of one
for each point, and the one to judge by.

**Power.** What a comparison can see is the difference that it would have found in 80 of 100 repetitions: 2.80 times
the spread of the resampled difference (two-sided test at 5 %, normal errors). Where nothing was found, a difference
below that is not refuted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean

import numpy as np

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL, CpuSeconds
from golfbench.benchmark.records import Record
from golfbench.compare.differences import Verdict, verdict
from golfbench.compare.sides import Series, Side
from golfbench.compare.verdict import MEASURE, number
from golfbench.contracts import FloatArray
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.leaderboard.measures import MEASURES, Measure, quotients
from golfbench.leaderboard.statistics import RESAMPLES, Estimate, draw_counts, interval, resampled_values, value_of

#: What a study shows of each point.
SHOWN: Mapping[str, Measure] = {
    measure.name: measure for measure in MEASURES if measure.name in (MEASURE, "success_pct", "divergence_pct")
}
#: Chance of finding a difference of the size that ``Contrast.detectable`` says.
POWER = 0.8


@dataclass(frozen=True)
class Curve:
    """A model under a selection.

    Attributes:
        run: Name of the run directory.
        sha256: Hash of the dataset's content: names the draws of compounds.
        model: As rows name it.
        selection: As rows name it.
        start: Labels of the model before its loop.
        points: By labels asked for in all, in order; the first one is the model before its loop.
    """

    run: str
    sha256: str
    model: str
    selection: str
    start: int
    points: Mapping[int, Series]

    @cached_property
    def estimates(self) -> dict[int, dict[str, Estimate]]:
        """Each number that is shown, by labels and by the name of the measure."""
        return {
            labels: {name: number(series, self.sha256, name) for name in SHOWN}
            for labels, series in self.points.items()
        }

    def labels_until(self, level: float = SUCCESS_KCAL_MOL) -> int | None:
        """Return the labels from which on the interval of the residual lies below a level; ``None`` if it never does.

        Args:
            level: kcal/mol.
        """
        found = None
        for labels in sorted(self.points, reverse=True):
            high = self.estimates[labels][MEASURE].high
            if high is None or high >= level:
                break
            found = labels
        return found

    def cpu_s(self, labels: int) -> CpuSeconds | None:
        """Return the processor time of the learning loop up to a point, mean over the seeds; ``None`` if not known."""
        if labels == self.start:
            return CpuSeconds()
        spent = [one.model_dump() for one in self.points[labels].cpu_s.values()]
        if len(spent) < len(self.points[labels].seeds):
            return None
        return CpuSeconds(**{name: fmean(one[name] for one in spent) for name in CpuSeconds.model_fields})


@dataclass(frozen=True, slots=True)
class Contrast:
    """What a selection differs by from another one, of one model.

    Attributes:
        curve: The selection that is asked about.
        control: The other one.
        labels: The point; ``None`` for the whole curve.
        measure: What is compared.
        estimate: Mean difference, curve minus control, with its interval.
        detectable: Difference that would have been found with a chance of ``POWER``; ``None`` if not known.
        molecules: Of the test set, that both judged.
        compounds: That these belong to.
        seeds: That both have.
        verdict: What is said of the curve.
    """

    curve: Curve
    control: Curve
    labels: int | None
    measure: Measure
    estimate: Estimate
    detectable: float | None
    molecules: int
    compounds: int
    seeds: int
    verdict: Verdict

    @property
    def against(self) -> str:
        """The other one in words: its selection, or its run where that is another."""
        return self.control.selection if self.control.run == self.curve.run else f"run {self.control.run}"


def curves_of(side: Side) -> list[Curve]:
    """Return the curves of a run, in the order of its rows.

    Raises:
        NothingToDoError: If nothing in it was trained, or it does not say how many labels its models began with.
    """
    starts = {series.key.model: series for series in side.series if series.key.stage == "before"}
    points: defaultdict[tuple[str, str], dict[int, Series]] = defaultdict(dict)
    for series in side.series:
        if series.key.stage != "after":
            continue
        start = starts.get(series.key.model)
        if start is None or start.labels is None:
            raise NothingToDoError(f"{side.name} does not say how many labels {series.key.model} began with")
        points[series.key.model, series.key.selection][start.labels + asked_for(series, side)] = series
    if not points:
        raise NothingToDoError(f"{side.name} has no model that was trained: nothing to draw")
    return [
        _curve(side, model, selection, starts[model], found)
        for (model, selection), found in sorted(points.items(), key=lambda item: item[0])
    ]


def _curve(side: Side, model: str, selection: str, start: Series, found: Mapping[int, Series]) -> Curve:
    labels = start.labels or 0
    points = {labels: start, **dict(sorted(found.items()))}
    return Curve(side.name, side.sha256, model, selection, labels, points)


def asked_for(series: Series, side: Side) -> int:
    """Return how many labels had been asked for when a model was judged."""
    return int(series.key.budget.split()[0]) if series.key.budget else int(side.settings["budget"])


def contrasts(curves: Sequence[Curve], control: str) -> Iterator[Contrast]:
    """Yield what each selection differs by from a control, at each point that both have and over the whole curve.

    Args:
        curves: Of one run.
        control: Name of the selection.
    """
    controls = {curve.model: curve for curve in curves if curve.selection == control}
    for curve in curves:
        other = controls.get(curve.model)
        if other is not None and other is not curve:
            yield from between(curve, other)


def between(curve: Curve, control: Curve) -> Iterator[Contrast]:
    """Yield what a curve differs by from another one of the same test molecules, point by point and as a whole.

    Raises:
        ConfigurationError: If they are of two datasets.
    """
    if curve.sha256 != control.sha256:
        raise ConfigurationError(f"{curve.run} and {control.run} are of two datasets, or of two contents of one")
    shared = [n for n in curve.points if n in control.points and n not in (curve.start, control.start)]
    for labels in shared:
        yield from _contrasts(curve, control, [labels], labels)
    if len(shared) > 1:
        yield from _contrasts(curve, control, shared, None)


def _contrasts(curve: Curve, control: Curve, at: Sequence[int], labels: int | None) -> Iterator[Contrast]:
    pairs = [(curve.points[point], control.points[point]) for point in at]
    everything = [series for pair in pairs for series in pair]
    seeds = [seed for seed in everything[0].seeds if all(seed in series.seeds for series in everything)]
    walks = [series.seeds[seed] for series in everything for seed in seeds]
    molecules = set.intersection(*(set(walk) for walk in walks)) if walks else set()
    if not molecules:
        return
    compounds = sorted({walks[0][name].group for name in molecules})
    draws = (
        draw_counts(len(compounds), RESAMPLES, curve.sha256, "compounds"),
        draw_counts(len(seeds), RESAMPLES, "compare", "seeds"),
    )
    sides = [
        [quotients(_walks(series, seeds, molecules), compounds) for series in pair] for pair in pairs
    ]  # by point, then curve and control
    for measure in SHOWN.values():
        values = [[value_of(side[measure.name]) for side in pair] for pair in sides]
        if any(value is None for pair in values for value in pair):
            continue
        resampled = [[resampled_values(side[measure.name], *draws) for side in pair] for pair in sides]
        mean: FloatArray = np.mean([ours - theirs for ours, theirs in resampled], axis=0)
        low, high = interval(mean) or (None, None)
        yield Contrast(
            curve,
            control,
            labels,
            measure,
            Estimate(fmean((ours or 0.0) - (theirs or 0.0) for ours, theirs in values), low, high),
            detectable_difference(mean),
            len(molecules),
            len(compounds),
            len(seeds),
            verdict(low, high, len(compounds), measure.lower_is_better),
        )


def _walks(series: Series, seeds: Sequence[int | None], molecules: Collection[str]) -> list[list[Record]]:
    return [[record for record in series.seeds[seed].values() if record.molecule in molecules] for seed in seeds]


def detectable_difference(resampled: FloatArray) -> float | None:
    """Return the difference that a test at 5 % finds with a chance of ``POWER``, from resampled differences."""
    known = resampled[np.isfinite(resampled)]
    if known.size < 2:
        return None
    normal = NormalDist()
    return float((normal.inv_cdf(0.975) + normal.inv_cdf(POWER)) * known.std(ddof=1))
