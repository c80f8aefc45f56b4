"""Intervals, verdicts and what counts as a regression."""

import json

import pytest

from golfbench.compare.differences import chance_of_losses, compare
from golfbench.compare.pairs import pair_up
from golfbench.compare.report import compare_sides, markdown, rows
from golfbench.compare.sides import read_side
from golfbench.leaderboard.standings import rank_entries, read_entries
from golfbench.leaderboard.statistics import interval
from golfbench.leaderboard.tracks import read_track
from golfbench.oracles.ledger import read_calls
from golfbench.units import HARTREE_TO_KCAL_MOL

GOLF = "after · painn:preset=small · lbfgs · golf · gfn2-xtb"


def comparison(one, other, title=GOLF):
    result = compare_sides(read_side(one), read_side(other))
    return next(c for c in result.comparisons if c.pair.title == title)


def verdicts(found):
    """Return the verdicts on everything but the times, which have none."""
    times = {difference.measure.name: difference for difference in found.differences if difference.measure.timing}
    assert {(d.low, d.high, d.verdict) for d in times.values()} == {(None, None, "not judged")}
    return {d.measure.name: d.verdict for d in found.differences if d.measure.name not in times}


def worse_by(kcal_mol, **only):
    """Raise the end points of some records; one that would lie above its start has diverged."""

    def change(line):
        if any(line[name] != value for name, value in only.items()) or line["energy_final_hartree"] is None:
            return line
        end = line["energy_final_hartree"] + kcal_mol / HARTREE_TO_KCAL_MOL
        above = end > line["energy_initial_hartree"]
        return line | {"energy_final_hartree": end} | ({"status": "diverged"} if above else {})

    return change


def diverging(count, **only):
    """Let the walks of the first compounds diverge."""
    chosen = []

    def change(line):
        finished = line["status"] in ("converged", "step_limit", "topology_changed")
        if any(line[name] != value for name, value in only.items()) or not finished:
            return line
        if line["group"] not in chosen and len(chosen) < count:
            chosen.append(line["group"])
        if line["group"] not in chosen:
            return line
        # the energies stay where a residual of all molecules hardly moves: what is tested is the loss alone
        return line | {"status": "diverged", "energy_final_hartree": line["energy_initial_hartree"] + 1e-5}

    return change


def test_a_run_is_no_better_than_itself(seeds, command):
    result = compare_sides(read_side(seeds), read_side(seeds))
    assert len(result.comparisons) == 4
    for found in result.comparisons:
        assert set(verdicts(found).values()) == {"not separable"}
        assert {d.value for d in found.differences} == {0.0}
        assert {(d.low, d.high) for d in found.differences if not d.measure.timing} == {(0.0, 0.0)}
        assert (found.changed, found.lost, found.won, found.regressions) == ((), (), (), [])
    done = command(seeds, seeds, "--fail-on-regression")
    assert (done.exit_code, done.stderr) == (0, "")


def test_calls_of_a_base_are_compared_where_there_are_any(long_run, altered):
    based = altered(long_run)
    calls = [call for call in read_calls(based / "oracle_calls.jsonl") if call.purpose == "training"]
    with (based / "oracle_calls.jsonl").open("a") as ledger:
        for number, call in enumerate(calls[:6]):
            base = {"call_id": 10_000 + number, "purpose": "base", "oracle": "gfn1-xtb", "method": "GFN1-xTB"}
            ledger.write(call.model_copy(update=base).model_dump_json() + "\n")
    compared = comparison(long_run, based)
    assert compared.calls["base"] == (0, 6)
    assert ("Oracle calls, base", "0", "6", "+6", "", "") in rows(compared)
    same = comparison(long_run, long_run)
    assert same.calls == {name: (a, a) for name, (a, _) in compared.calls.items()}
    assert not any("base" in cell for row in rows(same) for cell in row)


def test_a_run_that_is_worse_fails_and_the_other_way_round_does_not(long_run, altered, command):
    worse = altered(long_run, worse_by(4.0, selection="golf"))
    found = comparison(long_run, worse)
    residual = next(d for d in found.differences if d.measure.name == "residual_kcal_mol_mean_all")
    assert residual.verdict == "worse"
    assert 0 < residual.low < residual.value < residual.high < 5
    assert found.regressions[0].startswith("Residual, all is worse: +")
    failed = command(long_run, worse, "--fail-on-regression")
    assert failed.exit_code == 1
    assert f"golfbench: error: regression: {GOLF}: Residual, all is worse: " in failed.stderr
    assert command(long_run, worse).exit_code == 0  # said, but nobody asked to fail
    assert verdicts(comparison(worse, long_run))["residual_kcal_mol_mean_all"] == "better"
    assert command(worse, long_run, "--fail-on-regression").exit_code == 0


def test_intervals_are_those_of_the_leaderboard(entries):
    track = read_track(entries)
    standings = {s.entry.model: s for s in rank_entries(track, read_entries(entries, track))}
    one, other = (read_side(next(entries.glob(f"{name}_rfo-internal_reference_*.json"))) for name in ("mmff94", "uff"))
    (pair,) = pair_up(one, other).pairs
    residual = compare(pair, one.sha256).differences[0]
    # fixed models have no seeds: the draws of compounds are the same for everybody
    ends = interval(standings["uff"].resampled - standings["mmff94"].resampled)
    assert (residual.low, residual.high) == pytest.approx(ends, rel=1e-12)
    assert residual.value == pytest.approx(12.18, abs=0.01)
    assert residual.verdict == "worse"


@pytest.mark.parametrize(("lost", "won", "chance"), [(6, 0, 1 / 64), (5, 0, 1 / 32), (1, 0, 0.5), (3, 3, 42 / 64)])
def test_the_chance_of_losses_is_that_of_a_coin(lost, won, chance):
    assert chance_of_losses(lost, won) == chance


def test_losing_six_compounds_is_no_chance_and_five_may_be(long_run, altered):
    reasons = {}
    for count in (5, 6):
        other = altered(long_run, diverging(count, selection="golf"), name=f"lost-{count}")
        found = comparison(long_run, other)
        assert (len(found.lost), found.won) == (count, ())
        assert [change.other.status.value for change in found.changed] == ["diverged"] * count
        reasons[count] = [reason for reason in found.regressions if reason.startswith("no longer finish")]
    assert reasons[5] == []
    assert len(reasons[6]) == 1


def test_where_nothing_is_drawn_one_loss_is_enough(long_run, altered, command):
    other = altered(long_run, diverging(1, model="mmff94"))
    found = comparison(long_run, other, "reference · mmff94 · lbfgs · gfn2-xtb")
    (change,) = found.changed
    assert found.regressions == [f"no longer finish: {change.one.group} (0 compounds finish that did not)"]
    assert command(long_run, other, "--fail-on-regression").exit_code == 1


def test_molecules_without_a_record_are_named_and_fail(long_run, altered, command):
    gone = []

    def lose(line):
        if line["selection"] == "golf" and len(gone) < 3:
            gone.append(line["molecule"])
            return None
        return line

    other = altered(long_run, lose)
    found = comparison(long_run, other)
    assert (len(found.molecules), sorted(found.only[0]), found.only[1]) == (39, sorted(gone), ())
    assert found.regressions == [f"unfinished: no record of {', '.join(sorted(gone))}"]
    done = command(long_run, other, "--format", "md", "--fail-on-regression")
    assert done.exit_code == 1
    assert f"No record in B of {', '.join(sorted(gone))}." in done.stdout


def test_a_run_of_fewer_molecules_is_compared_over_those(long_run, altered):
    kept = read_side(long_run).series[0].seeds[None]
    first = set(list(kept)[:10])
    other = altered(
        long_run,
        lambda line: line if line["molecule"] in first else None,
        lambda facts: facts["dataset"].update(test_molecules=10),
    )
    found = comparison(long_run, other)
    assert (len(found.molecules), len(found.only[0])) == (10, 32)
    assert found.regressions == []


def test_fewer_than_six_compounds_prove_nothing(long_run, altered, command):
    side = read_side(long_run)
    first = set(list(side.series[0].seeds[None])[:5])

    def few(change):
        return lambda line: change(line) if line["molecule"] in first else None

    one = altered(long_run, few(lambda line: line), name="one")
    other = altered(long_run, few(worse_by(4.0)), name="other")
    found = comparison(one, other)
    residual = found.differences[0]
    assert residual.low > 3.9
    assert set(verdicts(found).values()) == {"not separable"}
    assert "Fewer than 6 compounds prove nothing." in command(one, other).stdout


def test_the_same_command_prints_the_same_bytes(seeds, altered, command):
    other = altered(seeds, worse_by(1.0, selection="golf"))
    first, second = (command(seeds, other, "--format", "json").stdout for _ in range(2))
    assert first == second
    (golf,) = (p for p in json.loads(first)["pairs"] if p["a"]["selection"] == "golf")
    assert golf["oracle_calls"]["training"] == {"a": pytest.approx(191 / 3), "b": pytest.approx(191 / 3)}
    assert [m["name"] for m in golf["metrics"] if m["ranked"]] == [
        "residual_kcal_mol_mean_all",
        "pct_mean_all",
        "success_pct",
    ]
    cost = next(m for m in golf["metrics"] if m["name"] == "ms_per_force_call")
    assert (cost["verdict"], cost["unit"]) == ("not judged", "ms")


def test_capped_steps_are_bounds(seeds, altered):
    def capped(line):
        stopped = line["selection"] == "golf" and line["status"] == "converged"
        return line | {"status": "step_limit", "converged": False} if stopped else line

    found = compare_sides(read_side(seeds), read_side(altered(seeds, capped)))
    (steps,) = (line for line in markdown(found).splitlines() if line.startswith("| Steps") and "≥" in line)
    assert steps == "| Steps | 25.4 | ≥25.4 | +0.0 | +0.0 to +0.0 | not separable |"


def test_a_machine_that_was_busy_makes_no_model_worse(seeds, altered, command):
    busy = altered(seeds, lambda line: line | {"wall_s": 3.0 * line["wall_s"]})
    for one, other in ((seeds, busy), (busy, seeds)):
        found = comparison(one, other, GOLF.replace("lbfgs", "rfo-internal"))
        assert set(verdicts(found).values()) == {"not separable"}
    time = next(
        d for d in comparison(seeds, busy, GOLF.replace("lbfgs", "rfo-internal")).differences if d.measure.timing
    )
    assert time.other == pytest.approx(3.0 * time.one)
    done = command(seeds, busy, "--fail-on-regression")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "worse" not in done.stdout
    assert "better" not in done.stdout
