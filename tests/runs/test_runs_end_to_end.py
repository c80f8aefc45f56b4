import json
import random
import signal

import pytest
from filelock import FileLock

PRINTED = {
    "model",
    "optimizer",
    "selection",
    "oracle",
    "seed",
    "stage",
    "n",
    "pct_mean",
    "pct_std",
    "residual_kcal_mol_mean",
    "success_pct",
    "success_pct_of_finished",
    "divergence_pct",
    "steps_mean",
    "model_calls",
    "oracle_calls",
    "wall_s",
}


@pytest.fixture(scope="module")
def whole(server, tiny_folder, tmp_path_factory):
    """One uninterrupted run: its output folder and how long it took."""
    return {}


@pytest.fixture
def uninterrupted(golfbench, write_config, results, whole, tmp_path_factory):
    config = write_config()
    if not whole:
        output = tmp_path_factory.mktemp("whole")
        done = golfbench("run", config, "--output", str(output), "--json")
        whole.update(output=output, done=done)
        assert done.returncode == 0, done.stderr
    return whole["output"], whole["done"], config


def test_druglike_mini_end_to_end(golfbench, write_config, results, tmp_path, tiny_model):
    config = write_config(dataset="druglike-mini", limit=1, budget=2, protocol={"steps": 5, "inner_steps": 2})
    done = golfbench("run", config, "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    rows = results(tmp_path / "out").rows
    assert [(r["stage"], r["model"], r["selection"], r["seed"]) for r in rows] == [
        ("reference", "mmff94", "", None),
        ("before", tiny_model, "", 0),
        ("after", tiny_model, "golf", 0),
        ("after", tiny_model, "random", 0),
    ]
    assert {r["n"] for r in rows} == {1}
    assert rows[0]["oracle_calls"] == {
        "initial": 0,
        "training": 0,
        "reference": 0,
        "evaluation": 1,
        "selection": 0,
        "base": 0,
    }
    # the two selections may ask for the same state of the same walk, which is then known
    assert [r["oracle_calls"]["training"] + r["cache_hits"]["training"] for r in rows[2:]] == [2, 2]
    for name in ("mmff94", "golf", "random"):
        assert name in done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_budget_models_are_judged_once_as_they_start(golfbench, write_config, results, tmp_path, tiny_model):
    config = write_config(budget=0, seeds=[0, 1], selections=["golf", "random"])
    planned = json.loads(golfbench("run", config, "--dry-run", "--json").stdout)
    assert {(row["model"], row["selection"]) for row in planned["rows"]} == {(m, "") for m in ("mmff94", tiny_model)}
    for output, shards in (("whole", [()]), ("parts", [("--shard", "1/2"), ("--shard", "2/2")])):
        for shard in shards:
            done = golfbench("run", config, "--output", str(tmp_path / output), *shard)
            assert done.returncode == 0, done.stderr
    assert golfbench("merge", str(next((tmp_path / "parts").iterdir()))).returncode == 0
    rows = results(tmp_path / "whole").rows
    assert rows[0]["stage"] == "reference"
    assert {row["stage"] for row in rows[1:]} == {"before"}
    assert {row["oracle_calls"]["training"] for row in rows} == {0}
    assert results(tmp_path / "parts").records == results(tmp_path / "whole").records


def test_the_json_has_the_published_keys(uninterrupted, results):
    output, done, _ = uninterrupted
    content = json.loads(done.stdout)
    assert content.keys() == {"schema_version", "run_dir", "rows"}
    assert content["run_dir"] == str(results(output).path)
    for row in content["rows"]:
        assert row.keys() >= PRINTED
        assert row["oracle_calls"].keys() == {
            "initial",
            "training",
            "reference",
            "evaluation",
            "selection",
            "base",
        }
        assert row["stage"] in ("reference", "before", "after")
    assert [row["n"] for row in content["rows"]] == [3, 3, 3, 3]


def test_the_files_of_a_run_are_there_and_name_nobody(uninterrupted, results):
    import getpass
    import socket

    path = results(uninterrupted[0]).path
    assert {p.name for p in path.iterdir()} == {
        "manifest.json",
        "records.jsonl",
        "oracle_calls.jsonl",
        "costs.jsonl",
        "labels.db",
        "checkpoints",
        "trajectories",
        "summary.json",
        "log.txt",
        "lock",
    }
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["dataset"]["sha256"]
    assert manifest["versions"].keys() >= {"torch", "rdkit", "xtb"}
    assert manifest["config"]["budget"] == 4
    assert manifest["finished_utc"] >= manifest["started_utc"]
    for name in (socket.gethostname(), f"/{getpass.getuser()}/", f"/home/{getpass.getuser()}"):
        assert name not in (path / "manifest.json").read_text()
    assert not list(path.rglob("*.partial"))


def test_mmff_and_the_trained_model_are_judged_by_the_oracle(uninterrupted, results, tiny):
    from golfbench.oracles.opening import open_oracle
    from golfbench.registry import registry
    from golfbench.specs import ComponentRef

    run = results(uninterrupted[0])
    minima = {item.molecule.id: item for item in tiny.test}
    for record in run.records:
        assert record["energy_initial_hartree"] == minima[record["molecule"]].start.energy
        assert record["energy_reference_hartree"] == minima[record["molecule"]].minimum.energy
        assert record["method"] == "GFN2-xTB"
    from ase.io import read

    frames = read(run.path / "trajectories" / "mmff94_rfo-internal__gfn2-xtb-reference.extxyz", index=":")
    assert [frame.info["molecule"] for frame in frames] == [item.molecule.id for item in tiny.test]
    final = {r["molecule"]: r["energy_final_hartree"] for r in run.records if r["stage"] == "reference"}
    with open_oracle(ComponentRef("gfn2-xtb"), registry()) as oracle:
        for frame in frames:
            molecule = minima[frame.info["molecule"]].molecule
            # extxyz holds eight decimals of an Å
            assert oracle.label(molecule.at(frame.positions))[0] == pytest.approx(final[molecule.id], abs=1e-7)


def test_the_same_command_again_does_nothing_new(golfbench, uninterrupted, results):
    output, done, config = uninterrupted
    run = results(output)
    names = ("records.jsonl", "oracle_calls.jsonl", "labels.db", "trajectories", "checkpoints")
    before = {name: (run.path / name).stat().st_mtime_ns for name in names}
    again = golfbench("run", config, "--output", str(output), "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert {name: (run.path / name).stat().st_mtime_ns for name in names[:2]} == {n: before[n] for n in names[:2]}
    assert {p.name for p in (run.path / "checkpoints").iterdir()}


def test_more_workers_find_the_same_run(golfbench, uninterrupted, results):
    output, done, config = uninterrupted
    again = golfbench("run", config, "--output", str(output), "--json", "--workers", "3")
    assert json.loads(again.stdout)["run_dir"] == json.loads(done.stdout)["run_dir"]


def test_a_report_replays_the_table(golfbench, uninterrupted, results):
    output, done, _ = uninterrupted
    run = results(output)
    before = (run.path / "summary.json").read_text()
    (run.path / "summary.json").unlink()
    replayed = golfbench("report", str(run.path), "--format", "json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout) == json.loads(done.stdout)
    assert (run.path / "summary.json").read_text() == before
    table = golfbench("report", str(run.path))
    assert table.returncode == 0
    assert golfbench("run", uninterrupted[2], "--output", str(output)).stdout == table.stdout


def test_another_folder_and_more_workers_give_the_same_records(golfbench, uninterrupted, results, tmp_path):
    output, _, config = uninterrupted
    done = golfbench("run", config, "--output", str(tmp_path / "other"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    one, two = results(output), results(tmp_path / "other")
    assert two.path.name == one.path.name
    assert two.records == one.records
    assert two.ledger == one.ledger
    assert two.rows == one.rows


MOMENTS = 20


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_killed_run_resumes_to_the_same_end(golfbench, uninterrupted, results, tmp_path, moment):
    output, _, config = uninterrupted
    total = len(results(output).ledger)
    chance = random.Random(moment)
    first, last = (total * k // MOMENTS for k in (moment, moment + 1))
    calls, after_s = 1 + chance.randrange(first, max(last, first + 1)), chance.uniform(0, 0.1)
    command = ("run", config, "--output", str(tmp_path / "killed"), "--workers", str(1 + moment % 2))
    killed = golfbench.interrupted(signal.SIGKILL, calls, after_s, *command)
    assert killed.returncode == -signal.SIGKILL
    done = golfbench(*command)
    assert done.returncode == 0, done.stderr
    one, two = results(output), results(tmp_path / "killed")
    assert two.records == one.records
    assert two.ledger == one.ledger
    assert len(two.asked) == len(set(two.asked))
    assert two.rows == one.rows
    assert two.endpoints == one.endpoints


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(golfbench, uninterrupted, results, tmp_path):
    output, _, config = uninterrupted
    command = ("run", config, "--output", str(tmp_path / "stopped"))
    half = len(results(output).ledger) // 2
    stopped = golfbench.interrupted(signal.SIGINT, half, 0.02, *command)
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == "golfbench: interrupted; the same command resumes where it stopped"
    assert "Traceback" not in stopped.stderr
    assert golfbench(*command).returncode == 0
    assert results(tmp_path / "stopped").records == results(output).records
    assert results(tmp_path / "stopped").ledger == results(output).ledger


def test_a_second_process_in_the_same_run_is_refused(golfbench, uninterrupted, results):
    output, _, config = uninterrupted
    path = results(output).path
    with FileLock(path / "lock"):
        refused = golfbench("run", config, "--output", str(output))
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == f"golfbench: error: {path} is in use by another process"
    assert golfbench("run", config, "--output", str(output)).returncode == 0


@pytest.mark.parametrize(
    ("settings", "lost", "kept"),
    [
        ("training", ["after", "after"], ["reference", "before"]),
        ("baseline", ["before", "after", "after"], ["reference"]),
    ],
)
def test_a_training_that_blows_up_costs_its_own_rows_only(
    golfbench, write_config, results, tmp_path, settings, lost, kept
):
    config = write_config(**{settings: {"learning_rate": 1e30}})
    output = tmp_path / "out"
    done = golfbench("run", config, "--output", str(output))
    assert done.returncode == 1
    assert "the training blew up" in done.stderr
    assert "Traceback" not in done.stderr
    run = results(output)
    assert [r["stage"] for r in run.rows if r["statuses"] == {"error": 3}] == lost
    assert [r["stage"] for r in run.rows if "error" not in r["statuses"]] == kept
    written = run.records
    assert {r["error_type"] for r in written if r["status"] == "error"} == {"TrainingError"}
    assert golfbench("run", config, "--output", str(output)).returncode == 1
    assert results(output).records == written
