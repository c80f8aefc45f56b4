"""A curve from one run: models judged on the way to the budget."""

import json
import random
import re
import signal

import pytest
import yaml

from golfbench.compare.figure import figure
from golfbench.compare.label_curves import curves_of
from golfbench.compare.sides import read_side
from golfbench.errors import ConfigurationError
from golfbench.runs.config import RunConfig, load_config
from golfbench.runs.defaults import suited
from golfbench.runs.grid import after_rows, combinations
from golfbench.runs.merge import expected_rows
from golfbench.runs.shards import deal

SMALL = {"selections": ["golf-neural", "random"], "budget": 6, "protocol": {"steps": 6, "inner_steps": 2}}
#: Three points are between the start and the end; rounds are of two labels, so that one of them cuts a round.
POINTS = "0,2,3,4,6"


# --- the configuration ---------------------------------------------------------------------------------------------


def read(tmp_path, **settings):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    return load_config(tmp_path / "run.yaml", {})


@pytest.mark.parametrize(
    ("settings", "budget", "points"),
    [
        ({"evaluate_at": [0, 16, 32, 64]}, 64, (16, 32)),
        ({"evaluate_at": [32, 8, 8]}, 32, (8,)),
        ({"evaluate_at": [16], "budget": 40}, 40, (16,)),
        ({"evaluate_at": [0]}, 0, ()),
        ({"evaluate_at": [0, 64], "budget": 64}, 64, ()),
        ({}, 64, ()),
    ],
)
def test_points_lie_between_the_start_and_the_budget(tmp_path, settings, budget, points):
    config = read(tmp_path, **settings)
    assert (config.budget, config.points) == (budget, points)
    expected = "constant" if points else "cosine"  # without a point on the way the run is what it was
    assert (config.training.schedule, config.fine_tuning.schedule) == (expected, expected)
    assert RunConfig.model_validate_json(config.model_dump_json()).run_id() == config.run_id()
    assert bool([text for text in suited(config).told if "on the way" in text]) == bool(points)


def test_a_run_without_points_keeps_its_name():
    assert (
        RunConfig(evaluate_at=()).run_id() == RunConfig().run_id() != RunConfig(evaluate_at=(16,), budget=64).run_id()
    )


def test_other_settings_of_the_training_stay(tmp_path):
    config = read(tmp_path, evaluate_at=[4, 8], training={"learning_rate": 0.01}, fine_tuning={"schedule": "constant"})
    assert (config.training.learning_rate, config.training.schedule) == (0.01, "constant")
    assert config.baseline.schedule == "cosine"  # its end is known


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluate_at": [16, 128], "budget": 64}, "evaluate_at: .*128 labels are never reached with a budget of 64"),
        ({"evaluate_at": [-1]}, "evaluate_at"),
        ({"evaluate_at": ["many"]}, "evaluate_at"),
        ({"evaluate_at": 16}, "evaluate_at"),
        ({"evaluate_at": [4, 8], "training": {"schedule": "cosine"}}, "training: .*'cosine' falls to the end"),
        ({"evaluate_at": [4, 8], "fine_tuning": {"schedule": "cosine"}}, "fine_tuning: .*'cosine' falls to the end"),
    ],
)
def test_what_cannot_be_judged_on_the_way_is_refused(tmp_path, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, **settings)


@pytest.mark.parametrize("text", ["16;32", "16,,32", "a few", "", "1.5", "-4"])
def test_a_mistyped_list_of_points_is_refused(golfbench, text):
    done = golfbench("run", "--evaluate-at", text)
    assert done.returncode == 2
    assert "--evaluate-at" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_counts_the_oracle_calls_of_the_points(golfbench, write_config):
    plain, curve = (
        json.loads(golfbench("run", write_config(**SMALL), "--dry-run", "--json", *extra).stdout)[
            "oracle_calls_at_most"
        ]
        for extra in ((), ("--evaluate-at", POINTS))
    )
    assert curve["training"] == plain["training"]
    assert curve["evaluation"] - plain["evaluation"] == 2 * 3 * 3  # rows, points, molecules


def test_the_points_of_a_row_go_to_its_shard_and_come_before_it():
    config = RunConfig(models=("schnet",), evaluate_at=(4, 8, 16), seeds=(0, 1, 2))
    owner = deal(config, 4)
    rows = expected_rows(config, {})
    assert {row for row in owner if row[1] == "after"} == {row for row in rows if row[1] == "after"}
    for combination in combinations(config):
        keys = [(row.id, "after") for row in after_rows(config, combination)]
        assert len(keys) == 3
        assert {owner[key] for key in keys} == {owner[keys[-1]]}
        assert [row for row in rows if row in keys] == keys


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def curve(golfbench, write_config, made, tmp_path_factory):
    """One run with points: its output folder and its configuration."""
    config = write_config(**SMALL)
    if not made:
        made["output"] = tmp_path_factory.mktemp("curve")
        made["done"] = golfbench("run", config, "--evaluate-at", POINTS, "--output", str(made["output"]), "--json")
        assert made["done"].returncode == 0, made["done"].stderr
    return made["output"], config


def plain(record):
    return {key: value for key, value in record.items() if key not in ("combination", "budget")}


def test_each_point_has_its_rows_and_its_bill(curve, made, results):
    rows = results(curve[0]).rows
    found = [(row["stage"], row["selection"], row["budget"]) for row in rows]
    trained = [("after", name, budget) for name in ("golf-neural", "random") for budget in (2, 3, 4, None)]
    assert found == [("reference", "", None), ("before", "", None), *trained]
    for row in rows[2:]:
        spent = row["budget"] or 6
        assert row["oracle_calls"]["training"] + row["cache_hits"]["training"] == spent
        assert row["labels"] == 9 + spent  # the initial set of nine, and what was asked for
        assert row["n"] == 3
        assert row["oracle_calls"]["evaluation"] + row["cache_hits"]["evaluation"] <= 3
    assert "judged on the way, with 2, 3, 4 labels: the learning rate is constant" in made["done"].stderr


@pytest.mark.parametrize(("budget", "before"), [(2, []), (3, [2])])
def test_a_point_is_what_a_run_with_that_budget_ends_with(
    golfbench, write_config, curve, results, tmp_path, budget, before
):
    """With the points before it, since the loop waits there for the labels on their way."""
    settings = SMALL | {"budget": budget, "evaluate_at": before}
    config = write_config(**settings, training={"schedule": "constant"})
    assert golfbench("run", config, "--output", str(tmp_path / "short")).returncode == 0
    written = results(tmp_path / "short").records
    short = [plain(r) for r in written if r["stage"] == "after" and "budget" not in r]
    point = [plain(record) for record in results(curve[0]).records if record.get("budget") == budget]
    assert short == point
    assert len(point) == 6


MOMENTS = 8


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_killed_curve_resumes_to_the_same_end(golfbench, curve, results, tmp_path, moment):
    output, config = curve
    total = len(results(output).ledger)
    chance = random.Random(moment)
    calls = 1 + chance.randrange(total * moment // MOMENTS, total * (moment + 1) // MOMENTS)
    command = ("run", config, "--evaluate-at", POINTS, "--output", str(tmp_path / "killed"))
    killed = golfbench.interrupted(signal.SIGKILL, calls, chance.uniform(0, 0.1), *command)
    assert killed.returncode == -signal.SIGKILL
    done = golfbench(*command)
    assert done.returncode == 0, done.stderr
    one, two = results(output), results(tmp_path / "killed")
    assert two.records == one.records
    assert two.ledger == one.ledger
    assert len(two.asked) == len(set(two.asked))
    assert two.rows == one.rows
    assert two.endpoints == one.endpoints


def test_the_shards_of_curves_merge_to_the_run_in_one_piece(golfbench, curve, results, tmp_path):
    output, config = curve
    command = ("run", config, "--evaluate-at", POINTS, "-o", str(tmp_path / "out"))
    for shard in ("1/2", "2/2"):
        done = golfbench(*command, "--shard", shard)
        assert done.returncode == 0, done.stderr
    path = results(tmp_path / "out").path
    merged = golfbench("merge", str(path))
    assert merged.returncode == 0, merged.stderr
    one, two = results(output), results(tmp_path / "out")
    assert two.records == one.records
    assert two.rows == one.rows


def test_each_point_says_what_its_loop_has_cost(curve, results):
    """Later points cost more of everything; the labels of MMFF94 come from the ledger."""
    path = results(curve[0]).path
    for found in curves_of(read_side(path)):
        assert list(found.points) == [9, 11, 12, 13, 15]
        costs = [found.cpu_s(labels) for labels in found.points]
        assert None not in costs
        for part in ("exploration", "selection", "training", "oracle"):
            spent = [getattr(cost, part) for cost in costs]
            assert spent == sorted(spent)
            assert spent[1] > 0
    drawn = figure([read_side(path)], "success_pct", "cpu_s")
    assert drawn.count(" labels, ") == 10


def test_a_figure_report_and_comparison_have_the_points(golfbench, curve, results, tmp_path):
    path = results(curve[0]).path
    drawn = figure([read_side(path)])
    for labels in (9, 11, 12, 13, 15):
        assert drawn.count(f"{labels} labels: ") == 2  # a curve for each selection
    report = golfbench("report", str(path), "--format", "csv")
    assert report.returncode == 0, report.stderr
    table = golfbench("report", str(path), "--format", "md").stdout
    # Six points in the table, and none in the sentence that ranks the ends.
    assert len(re.findall(r"after (?:golf-neural|random), [234] labels", table)) == 6
    compared = golfbench("compare", str(path), str(path), "--format", "json")
    assert compared.returncode == 0, compared.stderr
    pairs = json.loads(compared.stdout)["pairs"]
    assert {pair["a"]["budget"] for pair in pairs} == {"", "2 labels", "3 labels", "4 labels"}
    assert golfbench("status", str(path)).returncode == 0
    page = golfbench("report", str(path), "--format", "html", "--output", str(tmp_path / "page"))
    assert page.returncode == 0, page.stderr


def test_a_training_that_blows_up_has_no_model_at_its_points(golfbench, write_config, results, tmp_path):
    config = write_config(**SMALL | {"selections": ["random"]}, training={"learning_rate": 1e30})
    command = ("run", config, "--evaluate-at", "4,6", "--output", str(tmp_path / "out"))
    assert golfbench(*command).returncode == 1
    rows = results(tmp_path / "out").rows
    assert [row["statuses"] for row in rows if row["stage"] == "after"] == [{"error": 3}] * 2
    written = results(tmp_path / "out").records
    assert golfbench(*command).returncode == 1
    assert results(tmp_path / "out").records == written


def test_the_control_that_asks_for_nothing_has_its_points_too(golfbench, write_config, results, tmp_path):
    config = write_config(**SMALL | {"selections": ["none"]})
    done = golfbench("run", config, "--evaluate-at", POINTS, "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    rows = [row for row in results(tmp_path / "out").rows if row["stage"] == "after"]
    assert [row["budget"] for row in rows] == [2, 3, 4, None]
    assert {row["labels"] for row in rows} == {9}  # it asks for nothing
    assert {row["oracle_calls"]["training"] for row in rows} == {0}
    assert len({row["residual_kcal_mol_mean"] for row in rows}) == 4  # and learns on
