"""What two series of a pair differ by, with intervals, and whether that is a regression.

Differences are B minus A over the molecules that both judged, resampled as on the leaderboards (whole compounds, the
same draws on both sides, and the same draws of seeds where seeds are paired; see ``leaderboard.statistics``).

**Times** are shown and not judged: they depend on the load of the machine as much as on the model, and resampling
molecules does not cover that.

**Verdict.** An interval that contains zero is *not separable*. On fewer than six compounds everything is: if nothing
has changed, six compounds all differ in the same direction with a chance of 2/2⁶ = 3 %, but five with 6 %.

**Regression** is any of these:

* the interval of a metric that leaderboards rank by lies wholly on the worse side;
* more compounds stopped finishing than chance allows. A compound is lost when fewer of its walks finish than before,
  and won when more do; without a change both are equally likely, and so many lost or more must have a chance below 2.5
  % (the exact test of McNemar, Psychometrika 12, 153, 1947). Six lost and none won are enough, five are not. Where
  nothing is random and nothing else was changed (a fixed model with the same optimizer), one is enough;
* molecules that A judged have no record in B, which is not finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import Literal, get_args

from golfbench.benchmark.metrics import CallsByPurpose, residual_kcal_mol
from golfbench.benchmark.records import Record
from golfbench.compare.pairs import Pair
from golfbench.compare.sides import Series
from golfbench.leaderboard.measures import MEASURES, Measure, quotients
from golfbench.leaderboard.statistics import RESAMPLES, CountArray, draw_counts, interval, resampled_values, value_of
from golfbench.leaderboard.tracks import RankedMetric

#: With fewer compounds, no difference can be told from chance.
LEAST_COMPOUNDS = 6
#: A loss of molecules with a smaller chance than this is a regression: one side of the 95 % of the intervals.
LEAST_CHANCE = 0.025
RANKED: tuple[str, ...] = get_args(RankedMetric)

Verdict = Literal["better", "worse", "not separable", "not judged"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of both sides.

    Attributes:
        measure: What it is.
        one: Its value in A, the mean over seeds; ``None`` if no seed has it.
        other: Its value in B.
        low: Lower end of the 95 % interval of B − A; ``None`` where there is no difference.
        high: Upper end.
        verdict: Whether B is better, worse or not separable.
    """

    measure: Measure
    one: float | None
    other: float | None
    low: float | None
    high: float | None
    verdict: Verdict

    @property
    def value(self) -> float | None:
        """B − A."""
        return None if self.one is None or self.other is None else self.other - self.one


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A walk whose status or end differs.

    Attributes:
        one: Its record in A.
        other: Its record in B.
    """

    one: Record
    other: Record

    @property
    def residuals(self) -> tuple[float | None, float | None]:
        """Residual energies in A and in B, kcal/mol."""
        return residual_kcal_mol(self.one), residual_kcal_mol(self.other)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A pair with its differences.

    Attributes:
        pair: The pair.
        molecules: Molecules that all of its seeds judged.
        compounds: Compounds that these belong to.
        only: Molecules that have a record in A but lack one in some seed of B, and the other way round.
        unfinished: Molecules of ``only`` in A that B was to judge, too.
        differences: All numbers.
        calls: Oracle calls by purpose, means over seeds, of A and of B.
        capped: Whether the mean number of steps is a lower bound, of A and of B.
        changed: Walks of paired seeds that differ in status or end.
        lost: Compounds of which fewer walks finish than before.
        won: Compounds of which more do.
    """

    pair: Pair
    molecules: tuple[str, ...]
    compounds: tuple[str, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    unfinished: bool
    differences: tuple[Difference, ...]
    calls: Mapping[str, tuple[float, float]]
    capped: tuple[bool, bool]
    changed: tuple[StatusChange, ...]
    lost: tuple[str, ...]
    won: tuple[str, ...]

    @property
    def regressions(self) -> list[str]:
        """Why B is worse than A, one line each; empty if it cannot be shown to be."""
        found = [
            f"{d.measure.title} is worse: {d.value:+.{d.measure.decimals}f} {d.measure.unit} "
            f"[{d.low:+.{d.measure.decimals}f}, {d.high:+.{d.measure.decimals}f}]"
            for d in self.differences
            if d.measure.name in RANKED and d.verdict == "worse"
        ]
        if self.lost and self._beyond_chance():
            found.append(f"no longer finish: {', '.join(self.lost)} ({len(self.won)} compounds finish that did not)")
        if self.unfinished:
            found.append(f"unfinished: no record of {', '.join(self.only[0])}")
        return found

    def _beyond_chance(self) -> bool:
        if not self.pair.differs and self.pair.one.key.stage == "reference":
            return True
        return chance_of_losses(len(self.lost), len(self.won)) < LEAST_CHANCE


def chance_of_losses(lost: int, won: int) -> float:
    """Return the chance of so many losses or more where losing and winning are equally likely."""
    flips = lost + won
    return float(sum(comb(flips, k) for k in range(lost, flips + 1)) / 2**flips)


def compare(pair: Pair, dataset_sha256: str) -> Comparison:
    """Return what a pair differs by.

    Args:
        pair: The pair.
        dataset_sha256: Names the draws of compounds, as on the leaderboards.
    """
    sides = _walks(pair.one, pair.seeds), _walks(pair.other, pair.other_seeds)
    seen = [frozenset[str]().union(*side) for side in sides]
    everywhere = [frozenset(side[0]).intersection(*side) for side in sides]
    common = everywhere[0] & everywhere[1]
    molecules = tuple(name for name in sides[0][0] if name in common)
    judged = tuple([[walks[name] for name in molecules] for walks in side] for side in sides)
    compounds = tuple(sorted({record.group for record in judged[0][0]}))
    only = tuple(sorted(seen[0] - everywhere[1])), tuple(sorted(seen[1] - everywhere[0]))
    complete = all(len(walks) >= pair.other.expected for walks in sides[1])
    lost, won = _flips(judged[0], judged[1], compounds)
    return Comparison(
        pair=pair,
        molecules=molecules,
        compounds=compounds,
        only=only,
        unfinished=bool(only[0]) and not complete,
        differences=tuple(_differences(pair, judged[0], judged[1], compounds, dataset_sha256)),
        calls=_calls(pair),
        capped=(_capped(judged[0]), _capped(judged[1])),
        changed=tuple(_changes(judged[0], judged[1])) if pair.same_seeds else (),
        lost=lost,
        won=won,
    )


def _walks(series: Series, seeds: tuple[int | None, ...]) -> list[Mapping[str, Record]]:
    return [series.seeds[seed] for seed in seeds]


def _differences(
    pair: Pair, one: list[list[Record]], other: list[list[Record]], compounds: tuple[str, ...], sha256: str
) -> Iterator[Difference]:
    numbers, others = quotients(one, compounds), quotients(other, compounds)
    if not compounds:
        return
    drawn = draw_counts(len(compounds), RESAMPLES, sha256, "compounds")
    seeds, other_seeds = _drawn_seeds(pair)
    for measure in MEASURES:
        mine, theirs = numbers[measure.name], others[measure.name]
        if measure.timing:
            yield Difference(measure, value_of(mine), value_of(theirs), None, None, "not judged")
            continue
        resampled = resampled_values(theirs, drawn, other_seeds) - resampled_values(mine, drawn, seeds)
        ends = interval(resampled)
        values = value_of(mine), value_of(theirs)
        low, high = ends if ends is not None and None not in values else (None, None)
        said = verdict(low, high, len(compounds), measure.lower_is_better)
        yield Difference(measure, *values, low, high, said)


def _drawn_seeds(pair: Pair) -> tuple[CountArray, CountArray]:
    """Return draws of seeds: the same for both sides where seeds are paired."""
    drawn = draw_counts(len(pair.seeds), RESAMPLES, "compare", "seeds")
    if pair.same_seeds:
        return drawn, drawn
    return drawn, draw_counts(len(pair.other_seeds), RESAMPLES, "compare", "other seeds")


def verdict(low: float | None, high: float | None, compounds: int, lower_is_better: bool) -> Verdict:
    """Return the verdict on the new one from the interval of the difference, new minus old."""
    if low is None or high is None or compounds < LEAST_COMPOUNDS or low <= 0.0 <= high:
        return "not separable"
    return "better" if (high < 0.0) == lower_is_better else "worse"


def _flips(
    one: list[list[Record]], other: list[list[Record]], compounds: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the compounds of which a smaller, and of which a larger share of the walks finishes than before."""
    before, after = _finished_shares(one), _finished_shares(other)
    lost = tuple(name for name in compounds if after[name] < before[name])
    return lost, tuple(name for name in compounds if after[name] > before[name])


def _finished_shares(walks: list[list[Record]]) -> dict[str, float]:
    ends: dict[str, list[bool]] = {}
    for record in (record for seed in walks for record in seed):
        ends.setdefault(record.group, []).append(record.status.finished)
    return {name: fmean(finished) for name, finished in ends.items()}


def _changes(one: list[list[Record]], other: list[list[Record]]) -> Iterator[StatusChange]:
    for mine, theirs in zip(one, other, strict=True):
        for before, after in zip(mine, theirs, strict=True):
            if before.status is not after.status:
                yield StatusChange(before, after)


def _capped(walks: list[list[Record]]) -> bool:
    return any(record.status.finished and not record.converged for seed in walks for record in seed)


def _calls(pair: Pair) -> dict[str, tuple[float, float]]:
    """Return the means over seeds of oracle calls by purpose."""
    return {
        purpose: (
            fmean(getattr(pair.one.calls[seed], purpose) for seed in pair.seeds),
            fmean(getattr(pair.other.calls[seed], purpose) for seed in pair.other_seeds),
        )
        for purpose in CallsByPurpose.model_fields
    }
