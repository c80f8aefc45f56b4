"""Intervals and ranks where the answer is known: by theory, by SciPy, and from published records."""

from pathlib import Path

import numpy as np
import pytest

from golfbench.benchmark.metrics import summary
from golfbench.benchmark.records import read_records
from golfbench.leaderboard.measures import MEASURES, quotients
from golfbench.leaderboard.statistics import (
    Quotient,
    draw_counts,
    estimate,
    interval,
    ranks,
    resampled_values,
    separable,
    value_of,
)

RESULTS = Path(__file__).parents[2] / "examples" / "results"
RESAMPLES = 10_000


def mean_of(values):
    """One value for each compound, (n_seeds, n_groups), as a quotient."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return Quotient(values, np.ones_like(values))


def resampled(values, name="seeds", resamples=RESAMPLES):
    quotient = mean_of(values)
    seeds, groups = quotient.numerators.shape
    return resampled_values(quotient, draw_counts(groups, resamples, "compounds"), draw_counts(seeds, resamples, name))


@pytest.mark.parametrize("count", [1, 2, 3, 42])
def test_each_draw_is_of_all_but_one(count):
    drawn = draw_counts(count, 5000, "test")
    assert drawn.shape == (5000, count)
    assert set(drawn.sum(axis=1)) == {max(count - 1, 1)}
    assert drawn.mean(axis=0) == pytest.approx(max(count - 1, 1) / count, rel=0.05)


def test_draws_are_the_same_each_time_and_others_for_others():
    assert draw_counts(5, 3, "a").tolist() == [[0, 0, 1, 3, 0], [1, 0, 1, 0, 2], [1, 1, 1, 0, 1]]
    assert (draw_counts(5, 100, "a") != draw_counts(5, 100, "b")).any()


@pytest.mark.parametrize("count", [3, 12, 42])
def test_the_spread_of_a_mean_over_compounds_is_the_unbiased_one(count):
    values = np.random.default_rng(count).normal(10.0, 3.0, count)
    expected = values.std(ddof=1) / np.sqrt(count)
    assert resampled(values).std() == pytest.approx(expected, rel=0.03)
    assert resampled(values).mean() == pytest.approx(values.mean(), abs=0.05 * expected)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_spread_over_seeds_is_the_unbiased_one(count):
    """Compounds all alike, so that only the seeds differ."""
    seeds = np.arange(count, dtype=float)
    expected = seeds.std(ddof=1) / np.sqrt(count)
    assert resampled(np.repeat(seeds[:, None], 7, axis=1)).std() == pytest.approx(expected, rel=0.03)


def test_conformers_of_a_compound_stay_together():
    """Ten copies of each compound are no more evidence than one."""
    values = np.random.default_rng(0).normal(0.0, 1.0, 20)
    tenfold = Quotient(10 * values[None], np.full((1, 20), 10.0))
    groups, seeds = draw_counts(20, RESAMPLES, "compounds"), draw_counts(1, RESAMPLES, "seeds")
    assert resampled_values(tenfold, groups, seeds) == pytest.approx(resampled(values), abs=1e-12)


def test_the_interval_of_a_mean_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(5).exponential(4.0, 150)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    ours = interval(resampled(values, resamples=20_000))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03 * width)


def test_the_interval_of_a_paired_difference_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(6)
    hardness = rng.exponential(5.0, 150)
    one, other = hardness + rng.normal(0.0, 0.5, 150), hardness + rng.normal(0.3, 0.5, 150)
    theirs = stats.bootstrap((one - other,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    ours = interval(resampled(one, resamples=20_000) - resampled(other, resamples=20_000))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03 * width)


def test_intervals_contain_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    found = [interval(resampled(rng.normal(1.0, 2.0, 30), resamples=1000)) for _ in range(400)]
    assert 0.90 < np.mean([low < 1.0 < high for low, high in found]) < 0.98


@pytest.mark.parametrize(("value", "ends"), [(0.0, (0.0, 26.46)), (1.0, (73.54, 100.0))])
def test_a_share_of_nothing_or_everything_has_the_interval_of_clopper_and_pearson(value, ends):
    quotient = Quotient(np.full((3, 12), value), np.ones((3, 12)), 100.0, share=True)
    number = estimate(quotient, np.full(10, 100.0 * value))
    assert (number.value, number.low, number.high) == pytest.approx((100.0 * value, *ends), abs=0.01)


def test_a_number_that_no_seed_has_is_none():
    quotient = Quotient(np.zeros((2, 4)), np.zeros((2, 4)))
    values = resampled_values(quotient, draw_counts(4, 10, "x"), draw_counts(2, 10, "y"))
    assert estimate(quotient, values) == type(estimate(quotient, values))(None, None, None)


def test_a_seed_without_the_number_is_left_out():
    quotient = Quotient(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert value_of(quotient) == 2.0


# --- Ranks -----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(11)
HARDNESS = RNG.exponential(5.0, 40)


def seeds_of(offset, count, stream):
    """Residuals of some seeds: the same hard and easy compounds, noise of each walk, and an offset of the method."""
    rng = np.random.default_rng(stream)
    return HARDNESS + offset + rng.normal(0.0, 0.4, (count, 40)) + rng.normal(0.0, 0.2, (count, 1))


def rank_all(entries, lower_is_better=True):
    values = [float(np.mean(entry)) for entry in entries]
    spread = [resampled(entry, f"seeds of {k}") for k, entry in enumerate(entries)]
    return ranks(values, spread, lower_is_better=lower_is_better)


def test_the_same_method_with_other_seeds_shares_its_rank_and_a_better_one_does_not():
    same, again, better, worse = seeds_of(0, 4, 1), seeds_of(0, 4, 2), seeds_of(-2, 4, 3), seeds_of(3, 4, 4)
    assert rank_all([same, again, better, worse]) == [2, 2, 1, 4]
    assert rank_all([same, again, better, worse], lower_is_better=False) == [2, 2, 4, 1]


def test_pairing_separates_what_the_intervals_alone_do_not():
    one, other = seeds_of(0, 4, 5), seeds_of(1, 4, 6)
    (_, high), (low, _) = interval(resampled(one, "a")), interval(resampled(other, "b"))
    assert low < high
    assert separable(resampled(one, "a"), resampled(other, "b"))


def test_an_entry_is_not_separable_from_itself():
    assert rank_all([seeds_of(0, 2, 1), seeds_of(0, 2, 1)]) == [1, 1]


def test_ranks_of_none_and_one():
    assert rank_all([]) == []
    assert rank_all([seeds_of(0, 1, 1)]) == [1]


# --- Published records -----------------------------------------------------------------------------------------------


def published(name):
    """Records of a published run: by (model, selection), then by seed."""
    found = {}
    for record in read_records(RESULTS / name / "records.jsonl"):
        found.setdefault((record.model, record.selection), {}).setdefault(record.seed, []).append(record)
    return {key: list(seeds.values()) for key, seeds in found.items()}


@pytest.mark.parametrize("name", ["druglike-xtb-on-gfn1", "druglike-mini-seeds"])
def test_every_measure_is_the_metric_of_its_name(name):
    for runs in published(name).values():
        groups = sorted({record.group for run in runs for record in run})
        numbers = quotients(runs, groups)
        for measure in MEASURES:
            expected = np.mean([getattr(summary(run), measure.name) for run in runs])
            assert value_of(numbers[measure.name]) == pytest.approx(expected, rel=1e-12), measure.name


def test_ranks_of_the_published_run():
    """PaiNN on GFN1-xTB is ahead of its base, GOLF and random are close to each other, and UFF is the last by far."""
    rows = published("druglike-xtb-on-gfn1")
    del rows["gfn2-xtb", ""]  # the oracle itself
    groups = sorted({record.group for runs in rows.values() for run in runs for record in run})
    drawn = draw_counts(len(groups), RESAMPLES, "compounds")
    residuals = [quotients(runs, groups)["residual_kcal_mol_mean_all"] for runs in rows.values()]
    seeds = [draw_counts(len(runs), RESAMPLES, "seeds") for runs in rows.values()]
    spread = [resampled_values(q, drawn, counts) for q, counts in zip(residuals, seeds, strict=True)]
    given = ranks([value_of(q) for q in residuals], spread, lower_is_better=True)
    by_name = dict(zip(rows, given, strict=True))
    assert by_name["painn:preset=small", "random"] == by_name["painn:preset=small", "golf"] == 1
    assert by_name["gfn1-xtb", ""] > 1
    assert by_name["mmff94", ""] == len(rows) - 1
    assert by_name["uff", ""] == len(rows)
