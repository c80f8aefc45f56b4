import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from golfbench.benchmark.metrics import (
    at_minimum,
    coverage,
    pct,
    pct_curve,
    residual_kcal_mol,
    seed_means,
    success,
    summarise,
    summary,
)
from golfbench.benchmark.records import Record, Status
from golfbench.errors import ConfigurationError

Build = Callable[..., Record]
#: Hartree in kcal/mol (CODATA), written out so that the constant itself is under test.
KCAL = 627.5094740631


def two_by_hand(record: Build) -> list[Record]:
    """E_0 - E_opt is 0.1 and 0.05 Hartree; 0.0995 and 0.04 of it are descended: 99.5 % and 80 %."""
    return [
        record(molecule="a", energy_final_hartree=-40.0995, n_steps=40, model_calls=41),
        record(
            molecule="b",
            energy_initial_hartree=-50.0,
            energy_final_hartree=-50.04,
            energy_reference_hartree=-50.05,
            status="step_limit",
            n_steps=100,
            model_calls=101,
        ),
    ]


def test_two_molecules_by_hand(record: Build) -> None:
    first, second = two_by_hand(record)
    assert pct(first) == pytest.approx(99.5, abs=1e-9)
    assert pct(second) == pytest.approx(80.0, abs=1e-9)
    assert residual_kcal_mol(first) == pytest.approx(0.0005 * KCAL, rel=1e-6)
    assert residual_kcal_mol(second) == pytest.approx(0.01 * KCAL, rel=1e-6)
    assert [success(first), success(second)] == [True, False]
    result = summary([first, second])
    assert (result.n, result.n_finished) == (2, 2)
    assert result.pct_mean == pytest.approx(89.75)
    assert result.pct_std == pytest.approx(9.75)  # population, not sample (13.79)
    assert result.pct_mean_all == pytest.approx(89.75)
    assert result.residual_kcal_mol_mean == pytest.approx(0.00525 * KCAL)
    assert (result.success_pct, result.success_pct_of_finished) == (50.0, 50.0)
    assert (result.divergence_pct, result.step_limit_pct, result.convergence_pct) == (0.0, 50.0, 50.0)
    assert (result.steps_mean, result.steps_capped, result.model_calls, result.wall_s) == (70.0, True, 142, 1.0)
    assert result.statuses == {Status.CONVERGED: 1, Status.STEP_LIMIT: 1}


def test_diverged_are_excluded_as_in_the_paper_and_counted_beside(record: Build) -> None:
    records = [
        *two_by_hand(record),
        record(molecule="c", status="diverged", energy_final_hartree=-39.9, n_steps=7, model_calls=8),
        record(molecule="d", status="oracle_failed", n_steps=9, model_calls=10),
    ]
    result = summary(records)
    assert result.pct_mean == pytest.approx(89.75)
    assert result.pct_mean_all == pytest.approx(179.5 / 4)
    assert result.residual_kcal_mol_mean == pytest.approx(0.00525 * KCAL)
    assert result.residual_kcal_mol_mean_all == pytest.approx((0.0005 + 0.01 + 0.1 + 0.1) / 4 * KCAL)
    assert (result.success_pct, result.success_pct_of_finished) == (25.0, 50.0)
    assert result.divergence_pct == 25.0  # what the oracle has no energy for failed, it did not diverge
    assert result.steps_mean == 70.0
    assert result.model_calls == 160
    assert pct(records[2]) == pytest.approx(-100.0)


def test_skipped_error_and_interrupted_count_in_n_only(record: Build) -> None:
    unjudged = [
        record(molecule=status, status=status, energy_initial_hartree=None, energy_reference_hartree=None)
        for status in ("skipped", "error", "interrupted")
    ]
    result = summary([record(), *unjudged])
    assert (result.n, result.n_finished, result.n_without_reference) == (4, 1, 3)
    assert result.pct_mean == pytest.approx(90.0)
    assert result.pct_mean_all == pytest.approx(22.5)
    assert result.divergence_pct == 0.0
    assert (result.success_pct, result.success_pct_of_finished) == (0.0, 0.0)


def test_pct_above_100_is_kept(record: Build) -> None:
    lower = record(energy_final_hartree=-40.12)
    assert pct(lower) == pytest.approx(120.0)
    assert residual_kcal_mol(lower) == pytest.approx(-0.02 * KCAL)
    assert success(lower)
    assert summary([lower]).pct_mean == pytest.approx(120.0)


def test_start_at_the_minimum_has_no_pct_but_may_succeed(record: Build) -> None:
    still = record(molecule="a", energy_final_hartree=-40.0, energy_reference_hartree=-40.0 - 5e-7, n_steps=0)
    below = record(molecule="b", energy_final_hartree=-40.0, energy_reference_hartree=-39.9)
    assert pct(still) is None
    assert pct(below) is None
    assert at_minimum(still)
    result = summary([still, below, record(molecule="c")])
    assert (result.n, result.n_at_minimum, result.n_without_reference) == (3, 2, 0)
    assert result.pct_mean == result.pct_mean_all == pytest.approx(90.0)
    assert result.success_pct == pytest.approx(200 / 3)
    assert pct(record(energy_final_hartree=-40.0, energy_reference_hartree=-40.000002)) == pytest.approx(0.0)


def test_diverged_start_at_the_minimum_has_no_place_in_the_mean(record: Build) -> None:
    gone = record(molecule="a", status="diverged", energy_final_hartree=None, energy_reference_hartree=-40.0)
    assert summary([gone, record(molecule="b")]).pct_mean_all == pytest.approx(90.0)


def test_changed_topology_is_in_the_mean_but_never_a_success(record: Build) -> None:
    changed = record(molecule="b", status="topology_changed", energy_final_hartree=-40.2)
    result = summary([record(molecule="a", energy_final_hartree=-40.1), changed])
    assert result.pct_mean == pytest.approx(150.0)
    assert (result.success_pct, result.topology_changed_pct, result.divergence_pct) == (50.0, 50.0, 0.0)
    assert result.convergence_pct == 100.0
    assert not result.steps_capped


def test_success_is_strictly_below_1_kcal_mol(record: Build) -> None:
    kcal = 1 / KCAL
    assert success(record(energy_final_hartree=-40.1 + 0.9999 * kcal))
    assert not success(record(energy_final_hartree=-40.1 + 1.0001 * kcal))


def test_empty_input() -> None:
    result = summary([])
    assert result.n == result.n_finished == result.model_calls == 0
    assert result.wall_s == 0.0
    means = [name for name in type(result).model_fields if name.endswith(("_pct", "_mean", "_mean_all", "_std"))]
    assert all(getattr(result, name) is None for name in means)
    assert (result.cov_pct, result.mat_angstrom, result.steps_capped) == (None, None, False)
    assert summarise([]) == []
    assert pct_curve([]) == {}


def test_all_diverged_gives_none_not_nan(record: Build) -> None:
    result = summary([record(status="diverged", energy_final_hartree=None)])
    assert (result.pct_mean, result.pct_std, result.residual_kcal_mol_mean, result.steps_mean) == (None,) * 4
    assert result.success_pct_of_finished is None
    assert (result.pct_mean_all, result.success_pct, result.divergence_pct) == (0.0, 0.0, 100.0)


def test_cov_and_mat_by_hand(record: Build) -> None:
    records = [
        record(molecule="a0", group="a", rmsd_to_references_angstrom={"a0": 0.6, "a1": 0.9}),
        record(molecule="a1", group="a", rmsd_to_references_angstrom={"a0": 0.2, "a1": 0.5}),
        record(molecule="b0", group="b", rmsd_to_references_angstrom={"b0": 0.4}),
    ]
    # minima: a0 0.2 (covered), a1 0.5 (not below 0.5), b0 0.4 (covered)
    cov, mat = coverage(records)
    assert cov == pytest.approx(200 / 3)
    assert mat == pytest.approx((0.2 + 0.5 + 0.4) / 3)


def test_end_points_of_the_diverged_cover_nothing(record: Build) -> None:
    records = [
        record(molecule="a0", group="a", rmsd_to_references_angstrom={"a0": 0.6, "a1": 0.3}),
        record(molecule="a1", group="a", status="diverged", rmsd_to_references_angstrom={"a0": 0.1, "a1": 0.1}),
        record(molecule="b0", group="b", status="diverged", energy_final_hartree=None),
    ]
    # a0 0.6, a1 0.3 (by the other conformation), b0 by nothing: not covered and without a distance
    cov, mat = coverage(records)
    assert cov == pytest.approx(100 / 3)
    assert mat == pytest.approx(0.45)


def test_no_cov_where_nothing_was_compared(record: Build) -> None:
    assert coverage([record()]) == (None, None)
    assert coverage([record(status="diverged", energy_final_hartree=None)]) == (0.0, None)


def test_same_reference_name_in_two_groups_is_two_minima(record: Build) -> None:
    records = [
        record(molecule=name, group=name, energy_reference_hartree=None, rmsd_to_references_angstrom={"0": distance})
        for name, distance in (("a", 0.1), ("b", 2.0))
    ]
    assert coverage(records) == (50.0, pytest.approx(1.05))


def test_pct_curve_keeps_a_molecule_that_stopped(record: Build) -> None:
    records = [
        record(molecule="a", n_steps=2, energies_at_step_hartree={1: -40.05, 2: -40.09}),
        record(
            molecule="b",
            status="step_limit",
            n_steps=5,
            energies_at_step_hartree={1: -40.01, 2: -40.03, 5: -40.09},
        ),
        record(molecule="c", status="diverged", energies_at_step_hartree={1: -39.0}),
        record(molecule="d", n_steps=9, energies_at_step_hartree={2: -40.06}),  # its step 1 has no energy
    ]
    curve = pct_curve(records)
    assert list(curve) == [1, 2, 5]
    assert [curve[1], curve[2], curve[5]] == pytest.approx([30.0, 60.0, 90.0])


def test_rows_and_their_order(record: Build) -> None:
    combination = "painn:preset=small|lbfgs|golf|gfn2-xtb|seed=0"
    records = [
        record(seed=1),
        record(),
        record(stage="before", energy_final_hartree=-40.05),
        record(stage="reference", model="mmff94", selection="none", seed=None),
    ]
    calls = {(combination, "after"): {"training": 400, "evaluation": 20}, (combination, "before"): {"evaluation": 20}}
    rows = summarise(records, calls, cache_hits={(combination, "before"): {"evaluation": 3}})
    assert [(row.stage, row.model, row.seed) for row in rows] == [
        ("reference", "mmff94", None),
        ("before", "painn:preset=small", 0),
        ("after", "painn:preset=small", 0),
        ("after", "painn:preset=small", 1),
    ]
    assert rows[2].oracle_calls.model_dump() == {
        "initial": 0,
        "training": 400,
        "reference": 0,
        "evaluation": 20,
        "base": 0,
        "selection": 0,
    }
    assert rows[3].oracle_calls.training == 0
    assert rows[1].cache_hits.evaluation == 3
    keys = (
        "model optimizer selection oracle seed stage n pct_mean pct_std residual_kcal_mol_mean success_pct"
        " success_pct_of_finished divergence_pct steps_mean model_calls oracle_calls wall_s"
    )
    assert set(keys.split()) <= set(rows[0].model_dump(mode="json"))
    with pytest.raises(ValidationError, match="tranining"):
        summarise(records, {(combination, "after"): {"tranining": 400}})


def test_levels_of_theory_never_mix(record: Build) -> None:
    with pytest.raises(ConfigurationError, match="disagree in method"):
        summarise([record(molecule="a"), record(molecule="b", method="GFN1-xTB")])


def test_a_molecule_counts_once(record: Build) -> None:
    with pytest.raises(ConfigurationError, match="aspirin-0 has 2 records"):
        summarise([record(status="interrupted"), record()])


def test_mean_over_seeds(record: Build) -> None:
    records = [record(seed=seed, energy_final_hartree=-40.0 - e) for seed, e in enumerate((0.07, 0.08, 0.09))]
    records += [record(seed=None, model="mmff94", stage="reference"), record(seed=0, selection="random")]
    (mean,) = seed_means(summarise(records))
    assert [row.seed for row in mean.rows] == [0, 1, 2]
    spread = mean.spread("pct_mean")
    assert spread is not None
    assert (spread.mean, spread.std, spread.count) == (pytest.approx(80.0), pytest.approx(10.0), 3)


def test_mean_over_seeds_says_how_many_have_the_number(record: Build) -> None:
    (mean,) = seed_means(summarise([record(seed=0), record(seed=1, status="diverged", energy_final_hartree=None)]))
    spread = mean.spread("pct_mean")
    assert spread is not None
    assert (spread.mean, spread.std, spread.count) == (pytest.approx(90.0), None, 1)
    assert mean.spread("mat_angstrom") is None


def random_fields(index: int, status: Status, start: float, drop: float, depth: float, wall_s: float) -> dict[str, Any]:
    end = None if status is Status.ORACLE_FAILED else start - drop
    return {
        "molecule": str(index),
        "group": str(index % 3),
        "status": status,
        "stage": ("before", "after")[index % 2],
        "energy_initial_hartree": start,
        "energy_final_hartree": end,
        "energy_reference_hartree": start - depth,
        "rmsd_to_references_angstrom": {str(index): drop},
        "wall_s": wall_s,
    }


arguments = st.tuples(
    st.sampled_from(Status), st.floats(-500, 500), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1e3)
)


@given(drawn=st.lists(arguments, max_size=12), shuffler=st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_rows_do_not_depend_on_the_order_of_records(
    record: Build, drawn: list[tuple[Any, ...]], shuffler: random.Random
) -> None:
    records = [record(**random_fields(index, *values)) for index, values in enumerate(drawn)]
    shuffled = records[:]
    shuffler.shuffle(shuffled)
    rows = summarise(records)
    assert summarise(shuffled) == rows
    assert pct_curve(shuffled) == pct_curve(records)
    for row in rows:
        assert row.n == sum(row.statuses.values())
        assert 0.0 <= (row.success_pct or 0.0) <= (row.success_pct_of_finished or 0.0) <= 100.0
        assert row.n_failed == sum(count for status, count in row.statuses.items() if status.failed)
