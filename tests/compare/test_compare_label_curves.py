"""Curves over labels: from published runs, and from records whose numbers are known."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from golfbench.benchmark.metrics import CallsByPurpose, CpuSeconds
from golfbench.benchmark.records import Record, Status
from golfbench.compare.label_curves import Curve, between, contrasts, curves_of, detectable_difference
from golfbench.compare.label_tables import TABLES, as_csv, as_markdown
from golfbench.compare.sides import Key, Series, Side
from golfbench.compare.verdict import MEASURE
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.units import KCAL_MOL_TO_HARTREE

COMPOUNDS = [f"c{k:02d}" for k in range(40)]
TRUE_GAIN = 0.4  # kcal/mol, of one selection over the other at each point


def record(compound, residual, seed, selection, budget=None, status=Status.CONVERGED, stage="after"):
    """A walk from 10 kcal/mol above the minimum to ``residual`` above it."""
    return Record(
        combination=f"net|opt|{selection}|engine|seed={seed}|{budget}",
        model="net",
        optimizer="opt",
        selection=selection,
        oracle="engine",
        seed=seed,
        stage=stage,
        method="GFN2-xTB",
        budget=budget,
        molecule=f"{compound}/0",
        group=compound,
        n_atoms=20,
        status=status,
        converged=status is Status.CONVERGED,
        n_steps=5,
        model_calls=6,
        wall_s=0.1,
        energy_initial_hartree=10.0 * KCAL_MOL_TO_HARTREE,
        energy_reference_hartree=0.0,
        energy_final_hartree=residual * KCAL_MOL_TO_HARTREE,
    )


def series(selection, residuals, budget=None, cpu=None, stage="after", labels=None, seeds=(0, 1, 2)):
    """A point; ``residuals(compound number, seed)`` in kcal/mol."""
    walks = {
        seed: {
            f"{c}/0": record(c, residuals(k, seed), seed, selection, budget, stage=stage)
            for k, c in enumerate(COMPOUNDS)
        }
        for seed in seeds
    }
    key = Key(stage, "net", "opt", selection, "engine", f"{budget} labels" if budget else "", "GFN2-xTB")
    calls = dict.fromkeys(seeds, CallsByPurpose())
    return Series(key, walks, calls, len(COMPOUNDS), labels, {} if cpu is None else dict.fromkeys(seeds, cpu))


def hard(number):
    return 0.2 + 0.1 * number  # compounds differ far more than selections do


def side(**changes):
    """Two selections, judged with 8 + 8, 8 + 24 and 8 + 56 labels; ``good`` is ahead by TRUE_GAIN at each."""
    rng = np.random.default_rng(3)
    noise = {(k, s): float(rng.normal(scale=0.05)) for k in range(40) for s in range(3)}
    found = [series("", lambda k, s: 5.0, stage="before", labels=8)]
    for budget, level in ((8, 2.0), (24, 1.0), (None, 0.5)):
        spent = CpuSeconds(training=level, oracle=1.0)
        found.append(series("plain", lambda k, s, level=level: hard(k) + level + noise[k, s], budget, spent))
        found.append(series("good", lambda k, s, level=level: hard(k) + level - TRUE_GAIN, budget, spent))
    settings = {"budget": "56"}
    return replace(Side("run", "data", "0" * 64, {}, settings, found), **changes)


def curve(curves, selection) -> Curve:
    return next(one for one in curves if one.selection == selection)


def test_points_are_at_the_labels_asked_for_in_all():
    found = curves_of(side())
    assert [one.selection for one in found] == ["good", "plain"]
    assert list(curve(found, "good").points) == [8, 16, 32, 64]


def test_the_paired_difference_sees_what_the_spread_over_compounds_hides():
    found = list(contrasts(curves_of(side()), "plain"))
    residuals = [one for one in found if one.measure.name == MEASURE]
    assert [one.labels for one in residuals] == [16, 32, 64, None]
    for one in residuals:
        assert math.isclose(one.estimate.value, -TRUE_GAIN, abs_tol=0.03)
        assert one.estimate.low < one.estimate.value < one.estimate.high < -0.3
        assert one.verdict == "better"
        assert (one.molecules, one.compounds, one.seeds) == (40, 40, 3)
        assert one.against == "plain"
    apart = curve(curves_of(side()), "good").estimates[64][MEASURE]
    assert apart.high - apart.low > TRUE_GAIN  # unpaired, the two intervals overlap


def test_the_whole_curve_is_the_mean_of_its_points_and_leaves_the_shared_start_out():
    found = [one for one in contrasts(curves_of(side()), "plain") if one.measure.name == MEASURE]
    points, (whole,) = found[:-1], found[-1:]
    assert math.isclose(whole.estimate.value, sum(one.estimate.value for one in points) / 3, rel_tol=1e-12)


def test_two_curves_that_are_alike_are_not_told_apart_and_the_power_says_what_would_have_been():
    """The noise of one side is drawn: its mean over 40 compounds and 3 seeds has a spread that is known."""
    rng = np.random.default_rng(7)
    noise = {(k, s): float(rng.normal(scale=0.6)) for k in range(40) for s in range(3)}
    start = series("", lambda k, s: 5.0, stage="before", labels=8)
    plain, same = (
        series(name, lambda k, s, n=n: hard(k) + 3 + n * noise[k, s]) for name, n in (("plain", 0), ("same", 1))
    )
    one = next(iter(contrasts(curves_of(side(series=[start, plain, same])), "plain")))
    assert one.verdict == "not separable"
    of_compounds = np.array([np.mean([noise[k, s] for s in range(3)]) for k in range(40)])
    of_seeds = np.array([np.mean([noise[k, s] for k in range(40)]) for s in range(3)])
    least = 2.80 * of_compounds.std(ddof=1) / math.sqrt(40)
    most = 2.80 * math.sqrt(of_compounds.var(ddof=1) / 40 + of_seeds.var(ddof=1) / 3 + 0.36 / 120)
    assert 0.9 * least < one.detectable < 1.1 * most


@pytest.mark.parametrize(("sd", "size"), [(1.0, 20000), (0.25, 20000)])
def test_the_detectable_difference_is_that_of_a_normal_test(sd, size):
    draws = np.random.default_rng(1).normal(scale=sd, size=size)
    # 80 of 100 tests at 5 % find a shift of so much: by drawing, not by the formula.
    shift = detectable_difference(draws)
    assert abs((np.abs(draws + shift) > 1.95996 * sd).mean() - 0.8) < 0.02


def test_only_what_both_have_is_compared():
    found = curves_of(side())
    good, plain = curve(found, "good"), curve(found, "plain")
    last = plain.points[64]
    fewer = replace(
        last, seeds={s: {n: r for n, r in w.items() if n != "c05/0"} for s, w in last.seeds.items() if s != 1}
    )
    cut = replace(plain, points={**plain.points, 64: fewer})
    by_labels = {one.labels: one for one in between(good, cut) if one.measure.name == MEASURE}
    assert (by_labels[16].molecules, by_labels[16].seeds) == (40, 3)
    assert (by_labels[64].molecules, by_labels[64].seeds) == (39, 2)
    assert (by_labels[None].molecules, by_labels[None].seeds) == (39, 2)


def test_runs_of_two_datasets_are_not_compared():
    one, other = curves_of(side())[0], curves_of(side(sha256="1" * 64))[0]
    with pytest.raises(ConfigurationError, match="two datasets"):
        list(between(one, other))


def level_curve(*highs):
    """A curve whose residuals have no spread: the interval is the number."""
    start = series("", lambda k, s: 9.0, stage="before", labels=0)
    points = [series("x", lambda k, s, h=h: h, 2 ** (n + 1)) for n, h in enumerate(highs)]
    return curves_of(side(series=[start, *points]))[0]


@pytest.mark.parametrize(
    ("residuals", "labels"), [((2.0, 0.9, 0.8), 4), ((0.9, 1.2, 0.8), 8), ((0.5, 0.5, 1.0), None), ((0.9, 0.8, 0.7), 2)]
)
def test_labels_until_below_one_are_those_after_which_it_stays_below(residuals, labels):
    assert level_curve(*residuals).labels_until() == labels


def test_processor_time_is_the_mean_over_seeds_and_not_known_if_a_seed_lacks_it():
    good = curve(curves_of(side()), "good")
    assert good.cpu_s(8) == CpuSeconds()
    assert good.cpu_s(16).total == 3.0
    point = good.points[16]
    spent = {0: CpuSeconds(training=1.0), 1: CpuSeconds(training=2.0), 2: CpuSeconds(training=6.0, oracle=3.0)}
    assert replace(good, points={16: replace(point, cpu_s=spent)}).cpu_s(16) == CpuSeconds(training=3.0, oracle=1.0)
    del spent[1]
    assert replace(good, points={16: replace(point, cpu_s=spent)}).cpu_s(16) is None


def test_a_diverged_walk_counts_with_its_start_in_a_difference():
    found = curves_of(side())
    good, plain = curve(found, "good"), curve(found, "plain")
    point = good.points[64]
    broken = {
        seed: {n: r.model_copy(update={"status": Status.DIVERGED}) if n == "c00/0" else r for n, r in walks.items()}
        for seed, walks in point.seeds.items()
    }
    worse = replace(good, points={**good.points, 64: replace(point, seeds=broken)})
    values = {one.measure.name: one for one in between(worse, plain) if one.labels == 64}
    expected = -TRUE_GAIN + (10.0 - (hard(0) + 0.5 - TRUE_GAIN)) / 40
    assert math.isclose(values[MEASURE].estimate.value, expected, abs_tol=0.03)
    assert math.isclose(values["divergence_pct"].estimate.value, 100 / 40)


def test_what_has_no_start_or_no_training_is_nothing_to_draw():
    everything = side().series
    with pytest.raises(NothingToDoError, match="how many labels net began with"):
        curves_of(side(series=everything[1:]))
    with pytest.raises(NothingToDoError, match="no model that was trained"):
        curves_of(side(series=everything[:1]))


def test_tables_have_every_number_with_its_interval_seeds_and_molecules():
    found = curves_of(side())
    compared = list(contrasts(found, "plain"))
    tables = {name: list(table(found, compared)) for name, table in TABLES.items()}
    lines = list(csv.DictReader(io.StringIO(as_csv(tables["points"]))))
    assert len(lines) == 8
    last = next(row for row in lines if (row["selection"], row["labels"]) == ("good", "64"))
    assert (last["molecules"], last["seeds"], last["total_cpu_s"]) == ("40", "3", "1.5")
    assert float(last[f"{MEASURE}_low"]) < float(last[MEASURE]) < float(last[f"{MEASURE}_high"])
    rows = [row for row in tables["differences"] if row["measure"] == MEASURE]
    assert [row["labels"] for row in rows] == [16, 32, 64, "whole curve"]
    text = as_markdown(rows)
    assert text.splitlines()[0].split(" | ")[3:7] == ["against", "labels", "measure", "difference"]
    assert f"| -0.40 [{rows[0]['low']:.2f}, {rows[0]['high']:.2f}] |" in text
    reached = {row["selection"]: row["labels_until_below_1_kcal_mol"] for row in tables["reached"]}
    assert reached == {"good": None, "plain": None}
    assert "| – |" in as_markdown(tables["reached"])
    shown = {row["selection"]: row for row in tables["residuals"]}
    assert list(shown) == ["good", "plain"]
    assert "model" not in shown["good"]  # there is one, which the page names
    assert shown["good"]["64 labels"] == float(last[MEASURE])
    assert [name for name in shown["good"] if name.endswith(" labels")] == [f"{n} labels" for n in (8, 16, 32, 64)]
    parts = {row["selection"]: row for row in tables["basins"]}
    # no record of these has a distance, so that none is known to be in the basin
    assert (parts["good"]["in the basin, %"], parts["good"]["residual there"]) == (0.0, None)
    assert math.isclose(parts["good"]["residual of the others"], float(last[MEASURE]))
    (whole,) = tables["whole"]
    assert (whole["selection"], whole["against"], whole["seeds"]) == ("good", "plain", 3)
    assert (whole["difference"], whole["verdict"]) == (rows[-1]["difference"], rows[-1]["verdict"])


def test_nothing_makes_an_empty_table():
    assert as_csv([]) == ""
    assert as_markdown([]) == "Nothing to show.\n"
