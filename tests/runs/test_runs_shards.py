"""Shards of a run and their merge: real runs of seconds, against one process that runs the same command."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import pytest
from ase.db import connect
from filelock import FileLock

from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.learning import checkpoint
from golfbench.oracles.ledger import read_calls
from golfbench.runs import merge as merging
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory
from golfbench.runs.grid import combinations, fixed_rows
from golfbench.runs.merge import MergeError
from golfbench.runs.shards import Shard, Share, deal, locate

TIMES = ("call_id", "started_utc", "wall_s", "cpu_s", "awaited_s", "worker")
SMALL = {
    "budget": 2,
    "baseline": {"updates": 4},
    "golf": {"parallel": 2, "steps": 3, "inner_steps": 2, "updates_per_label": 2},
    "protocol": {"steps": 4, "inner_steps": 2, "evaluation_steps": [1]},
    "cache": "off",
}


def lines(directory: Path, name: str, *volatile: str) -> list[str]:
    """Lines of a file without what differs between two runs of the same command."""
    read = [json.loads(line) for line in (directory / name).read_text().splitlines()]
    return [json.dumps({k: v for k, v in line.items() if k not in volatile}, sort_keys=True) for line in read]


def asked_twice(directory: Path) -> list[str]:
    calls = Counter(c.geometry_sha256 for c in read_calls(directory / "oracle_calls.jsonl") if c.outcome == "ok")
    return [geometry for geometry, count in calls.items() if count > 1]


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != "lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def weights(directory: Path) -> dict[str, tuple[str, dict[str, object]]]:
    """Hash and header of each checkpoint, without the processor time that is in a snapshot, and its seal over that."""
    found = {}
    for path in (directory / "checkpoints").rglob("*.safetensors"):
        tensors, header = checkpoint.load(path)
        kept = {key: value for key, value in header.items() if key not in ("cpu_s", "content_sha256")}
        found[str(path.relative_to(directory))] = checkpoint.content_hash(tensors), kept
    return found


def problems(path: Path) -> list[str]:
    with pytest.raises(MergeError) as caught:
        merging.merge(path, pytest.fail)
    return caught.value.problems


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- dealing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "shard '2': write I/N"),
        ("0/2", "there is no 0 of 2; they count from 1"),
        ("3/2", "there is no 3 of 2; they count from 1"),
        ("1/0", "there is no 1 of 0; they count from 1"),
        ("a/b", "shard 'a/b': write I/N"),
        ("-1/2", "shard '-1/2': write I/N"),
        ("slurm", "SLURM_ARRAY_TASK_MIN is not set: is this a task of a job array?"),
    ],
)
def test_what_is_no_shard_is_refused(monkeypatch, text, message):
    monkeypatch.delenv("SLURM_ARRAY_TASK_MIN", raising=False)
    with pytest.raises(ConfigurationError, match="shard") as caught:
        Shard.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "shard"),
    [
        ({"ID": "1", "MIN": "1", "COUNT": "8"}, Shard(1, 8)),
        ({"ID": "7", "MIN": "0", "COUNT": "8", "STEP": "1"}, Shard(8, 8)),
        ({"ID": "14", "MIN": "2", "COUNT": "4", "STEP": "4"}, Shard(4, 4)),
        ({"ID": "7", "MIN": "0", "COUNT": "3"}, None),
        ({"ID": "3", "MIN": "0", "COUNT": "4", "STEP": "2"}, None),
    ],
)
def test_a_task_of_a_job_array_is_a_shard(monkeypatch, variables, shard):
    for name in ("ID", "MIN", "COUNT", "STEP"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    if shard is None:
        with pytest.raises(ConfigurationError, match="shard 'slurm'"):
            Shard.parse("slurm")
    else:
        assert Shard.parse("slurm") == shard


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_each_row_has_one_owner_and_models_are_spread(count):
    config = RunConfig(
        models=("painn:preset=small", "schnet:preset=small", "gfn1-xtb"),
        optimizers=("lbfgs", "fire"),
        selections=("golf", "random"),
        oracles=("gfn2-xtb", "gfn1-xtb"),
        seeds=(0, 1, 2),
    )
    owner = deal(config, count)
    assert owner == deal(config, count)
    trained = combinations(config)
    assert set(owner) >= {(c.id, "after") for c in trained} | {(row.id, "reference") for row in fixed_rows(config)}
    befores = [row for row in owner if row[1] == "before"]
    assert len(befores) == 2 * 2 * 2 * (3 + 1)  # model, optimizer, oracle; each seed, and the row that seeds share
    assert len(owner) == 2 * 2 * 2 * 2 * 3 + 2 * 2 * 2 + len(befores)
    assert set(owner.values()) <= set(range(1, count + 1))
    for model in ("painn:preset=small", "schnet:preset=small"):
        share = Counter(owner[c.id, "after"] for c in trained if str(c.model) == model)
        assert max(share.values()) - min(share.get(k, 0) for k in range(1, count + 1)) <= 1
    for combination in trained:
        of_same = [c for c in trained if c.before(None) == combination.before(None)]
        assert owner[combination.before(None).id, "before"] in {owner[c.id, "after"] for c in of_same}


def test_a_share_survives_the_way_to_another_interpreter(tmp_path):
    mine = Share(rows=frozenset({("a|b|c|d|seed=0", "after")}), common=tmp_path)
    assert Share.model_validate_json(mine.model_dump_json()) == mine
    assert Share.model_validate_json(Share().model_dump_json()) == Share()


def test_a_dry_run_shows_the_rows_of_a_shard(golfbench, write_config):
    config = write_config(**SMALL)
    plans = [
        json.loads(golfbench("run", config, "--dry-run", "--json", *shard).stdout)
        for shard in ((), ("--shard", "1/2"), ("--shard", "2/2"))
    ]
    whole, first, second = ({tuple(row.values()) for row in plan["rows"]} for plan in plans)
    assert first | second == whole
    assert not first & second
    calls = [plan["oracle_calls_at_most"] for plan in plans]
    assert calls[1]["training"] + calls[2]["training"] == calls[0]["training"] == 4
    assert calls[1]["evaluation"] + calls[2]["evaluation"] == calls[0]["evaluation"]


# --- running and merging -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def runs(golfbench, write_config, made, results, tmp_path_factory):
    """A run in one process, its two shards, their merge, and the text that each command printed."""
    config = write_config(**SMALL)
    if not made:
        whole, sharded = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("sharded")
        made["whole"] = golfbench("run", config, "-o", str(whole))
        for shard in ("2/2", "1/2"):
            made[shard] = golfbench("run", config, "-o", str(sharded), "--shard", shard)
            assert made[shard].returncode == 0, made[shard].stderr
        made["unmerged"] = shutil.copytree(sharded, tmp_path_factory.mktemp("unmerged") / "out")
        path = results(sharded).path
        made["merge"] = golfbench("merge", str(path))
        assert made["merge"].returncode == 0, made["merge"].stderr
        made.update(whole_path=results(whole).path, merged_path=path)
    return made


@pytest.fixture
def unmerged(runs, results, tmp_path):
    """A copy of the run directory before the merge, which a test may spoil."""
    return results(shutil.copytree(runs["unmerged"], tmp_path / "copy")).path


def test_the_merge_of_two_shards_is_the_run_in_one_piece(runs, results):
    one, two = runs["whole_path"], runs["merged_path"]
    assert one.name == two.name
    assert lines(two, "records.jsonl", "wall_s") == lines(one, "records.jsonl", "wall_s")
    assert results(two.parent).rows == results(one.parent).rows
    assert Counter(lines(two, "oracle_calls.jsonl", *TIMES)) == Counter(lines(one, "oracle_calls.jsonl", *TIMES))
    assert results(two.parent).endpoints == results(one.parent).endpoints
    assert asked_twice(two) == []
    assert [call.call_id for call in read_calls(two / "oracle_calls.jsonl")] == list(
        range(len(lines(one, "oracle_calls.jsonl")))
    )
    assert weights(two) == weights(one) != {}
    ours = {p.name for p in two.iterdir()}
    assert ours == {p.name for p in one.iterdir()} | {"shards"}


def test_the_shards_share_the_work_and_the_merge_says_who_did_it(runs):
    parts = [runs["merged_path"] / "shards" / name for name in ("1-of-2", "2-of-2")]
    rows = [{(r["combination"], r["stage"]) for r in map(json.loads, lines(part, "records.jsonl"))} for part in parts]
    assert not rows[0] & rows[1]
    assert all(any(stage == "after" for _, stage in row) for row in rows)
    manifest = json.loads((runs["merged_path"] / "manifest.json").read_text())
    assert [(s["index"], s["count"]) for s in manifest["merged"]["shards"]] == [(1, 2), (2, 2)]
    assert [s["argv"][-1] for s in manifest["merged"]["shards"]] == ["1/2", "2/2"]
    assert manifest.keys() >= {"config", "dataset", "versions", "plugins"}
    assert not manifest.keys() & {"files", "common", "shard"}
    assert list(manifest["baselines"]) == list(
        json.loads((runs["whole_path"] / "manifest.json").read_text())["baselines"]
    )


def test_the_table_is_that_of_a_report_and_a_second_merge_says_so(golfbench, runs):
    path = runs["merged_path"]
    assert runs["merge"].stdout == golfbench("report", str(path)).stdout
    again = golfbench("merge", str(path))
    assert again.returncode == 4
    assert again.stderr == f"golfbench: error: {path} is merged already\n"


def test_a_merged_run_and_its_shards_go_on_like_any_other(golfbench, runs, write_config, results, tmp_path):
    output = Path(shutil.copytree(runs["merged_path"].parent, tmp_path / "merged"))
    config, path = write_config(**SMALL), results(output).path
    before = lines(path, "oracle_calls.jsonl"), lines(path, "records.jsonl")
    for shard in ((), ("--shard", "1/2")):
        done = golfbench("run", config, "-o", str(output), *shard)
        assert done.returncode == 0, done.stderr
        assert (lines(path, "oracle_calls.jsonl"), lines(path, "records.jsonl")) == before


def test_another_level_of_theory_is_asked_for_once(golfbench, write_config, results, tmp_path):
    config = write_config(**SMALL, oracles=["gfn1-xtb"], limit=2, selections=["golf", "none"], references=[])
    assert golfbench("run", config, "-o", str(tmp_path / "whole")).returncode == 0
    output = str(tmp_path / "sharded")
    killed = golfbench.interrupted(signal.SIGKILL, 5, 0.0, "run", config, "-o", output, "--shard", "1/2")
    assert killed.returncode == -signal.SIGKILL  # in the middle of the minima, with its lock held
    for shard in ("2/2", "1/2"):
        done = golfbench("run", config, "-o", output, "--shard", shard)
        assert done.returncode == 0, done.stderr
    one, two = results(tmp_path / "whole"), results(tmp_path / "sharded")
    merged = golfbench("merge", str(two.path), "--format", "json")
    assert merged.returncode == 0, merged.stderr
    assert two.rows == one.rows
    assert json.loads(merged.stdout)["rows"][0]["oracle_calls"]["reference"] > 5
    assert lines(two.path, "records.jsonl", "wall_s") == lines(one.path, "records.jsonl", "wall_s")
    assert Counter(lines(two.path, "oracle_calls.jsonl", *TIMES)) == Counter(
        lines(one.path, "oracle_calls.jsonl", *TIMES)
    )
    assert asked_twice(two.path) == []
    shared = [c.purpose for c in read_calls(two.path / "shards" / "common" / "oracle_calls.jsonl")]
    assert shared.count("initial") == 2
    assert set(shared) == {"initial", "reference"}


def test_more_shards_than_rows(golfbench, write_config, results, tmp_path):
    config = write_config(**SMALL, selections=["none"], limit=1, models=["mmff94"])
    for shard in ("1/2", "2/2"):
        done = golfbench("run", config, "-o", str(tmp_path / "out"), "--shard", shard, "--json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["rows"]) == (shard == "1/2")
    assert "shard 2-of-2 has nothing to run: the grid has fewer rows than shards" in done.stderr
    merged = golfbench("merge", str(results(tmp_path / "out").path))
    assert merged.returncode == 0, merged.stderr
    assert [row["model"] for row in results(tmp_path / "out").rows] == ["mmff94"]


def test_a_shard_waits_for_another_one_and_says_so(tmp_path):
    share, said, entered = Share(common=tmp_path), [], []

    def second() -> None:
        with share.locked("labels", said.append):
            entered.append(True)

    thread = Thread(target=second)
    with share.locked("labels", pytest.fail), share.locked("the baseline", pytest.fail):
        thread.start()
        while not said:
            time.sleep(0.01)
        assert not entered
    thread.join()
    assert entered == [True]
    assert said == ["another shard is busy with labels, which all of them need: waiting for it"]


# --- what is refused -----------------------------------------------------------------------------------------------


def test_shards_and_pieces_of_another_number_do_not_mix(runs, unmerged, write_config):
    config = RunConfig.model_validate(json.loads((runs["whole_path"] / "manifest.json").read_text())["config"])
    with pytest.raises(ConfigurationError, match="holds this run in one piece"):
        locate(config, runs["whole_path"], Shard(1, 2))
    with pytest.raises(ConfigurationError, match="is split in 2, not in 3"):
        locate(config, unmerged, Shard(1, 3))
    with pytest.raises(ConfigurationError, match="holds shards: golfbench merge"):
        locate(config, unmerged, None)
    with pytest.raises(NothingToDoError, match="has no shards"):
        merging.merge(runs["whole_path"], pytest.fail)
    (unmerged / "shards" / "1-of-3").mkdir()
    assert "shards of 2 and of 3 lie side by side: keep those of one number" in problems(unmerged)
    (unmerged / "records.jsonl").write_text("")
    with pytest.raises(ConfigurationError, match="holds files of a run in one piece"):
        merging.merge(unmerged, pytest.fail)


def test_what_is_missing_is_named_and_nothing_is_written(golfbench, unmerged):
    shutil.rmtree(unmerged / "shards" / "1-of-2")
    edit(unmerged / "shards" / "2-of-2" / "manifest.json", finished_utc=None)
    before = snapshot(unmerged)
    done = golfbench("merge", str(unmerged))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "golfbench: error: shard 1-of-2 is missing: run it with --shard 1/2",
        "golfbench: error: shard 2-of-2: it has not finished: the same command goes on with it",
    ]
    assert done.stdout == ""
    assert snapshot(unmerged) == before


OTHER_DATA = {"name": "tiny", "method": "GFN2-xTB", "sha256": "0", "initial_labels": 1, "test_molecules": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"golfbench_version": "0.0.9"}, "shard 2-of-2: golfbench is 0.0.9 there, 0.1.0 elsewhere"),
        ({"plugins": {}}, "shard 2-of-2: golfbench-datasets is missing there, 0.1.0 elsewhere"),
        ({"run_id": "tiny-0123456789"}, "shard 2-of-2: it has another configuration than 1-of-2"),
        ({"dataset": OTHER_DATA}, "shard 2-of-2: it was run on another content of the dataset than 1-of-2"),
        ({"common": "0"}, "shard 2-of-2: it shared another common"),
        ({"shard": {"index": 1, "count": 2}}, "shard 2-of-2: its manifest is not of this shard"),
    ],
)
def test_shards_of_different_runs_are_refused(unmerged, changes, message):
    edit(unmerged / "shards" / "2-of-2" / "manifest.json", **changes)
    before = snapshot(unmerged)
    assert message in problems(unmerged)
    assert snapshot(unmerged) == before


def test_another_library_is_a_warning(unmerged):
    manifest = unmerged / "shards" / "2-of-2" / "manifest.json"
    versions = json.loads(manifest.read_text())["versions"]
    edit(manifest, python_version="3.11.0", versions=versions | {"torch": "2.12.0"})
    said = []
    merging.merge(unmerged, said.append)
    assert len(said) == 2
    assert said[0].startswith("shard 2-of-2: python is 3.11.0 there")
    assert said[1].startswith("shard 2-of-2: torch is 2.12.0 there")


def test_altered_files_are_named(unmerged):
    part = unmerged / "shards" / "1-of-2"
    records = (part / "records.jsonl").read_text().splitlines(keepends=True)
    changed = {**json.loads(records[0]), "n_steps": 1000}
    (part / "records.jsonl").write_text("".join([json.dumps(changed) + "\n", *records[1:]]))
    next((part / "trajectories").iterdir()).unlink()
    baseline = next((unmerged / "shards" / "common" / "checkpoints").rglob("baseline.safetensors"))
    baseline.write_bytes(baseline.read_bytes()[:-1])
    found = problems(unmerged)
    assert len(found) == 3
    assert "shard 1-of-2: records.jsonl is not what the shard wrote" in found
    assert sum(line.endswith("is missing") and "trajectories/" in line for line in found) == 1
    assert sum(line.startswith("common: baseline painn") for line in found) == 1


@pytest.fixture
def unsealed(monkeypatch):
    """Let changed files pass, so that what they contain is looked at."""
    monkeypatch.setattr(merging, "broken_seals", lambda path, sealed: [])


@pytest.mark.usefixtures("unsealed")
def test_incomplete_doubled_and_strange_rows_are_named(unmerged):
    first, second = (unmerged / "shards" / name / "records.jsonl" for name in ("1-of-2", "2-of-2"))
    one, two = (path.read_text().splitlines(keepends=True) for path in (first, second))
    first.write_text("".join([*one[1:], one[1]]))
    second.write_text("".join([*two, one[0]]))
    molecule, row = (json.loads(one[0])[name] for name in ("molecule", "combination"))
    assert any(line.endswith("has two records") for line in problems(unmerged))
    first.write_text("".join(one[1:]))
    stage = json.loads(one[0])["stage"]
    assert f"shard 2-of-2: {row} ({stage}) is not a row of this shard" in problems(unmerged)
    second.write_text("".join(two))
    assert problems(unmerged) == [f"shard 1-of-2: {row} ({stage}) lacks 1 of 3 records: {molecule}"]


@pytest.mark.usefixtures("unsealed")
def test_two_answers_to_one_question_are_named(unmerged):
    stores = [unmerged / "shards" / name / "labels.db" for name in ("1-of-2", "2-of-2")]
    ledgers = [store.with_name("oracle_calls.jsonl") for store in stores]
    for source, target in (stores, ledgers):
        shutil.copyfile(source, target)
    (name,) = {call.molecule for call in read_calls(ledgers[0]) if call.call_id == 0}
    entry = next(merging._stored_labels(stores[1]))
    assert entry.call.call_id == 0
    connect(str(stores[1]), use_lock_file=False).update(1, data={"energy": [entry.label.energy + 1e-5]})
    assert problems(unmerged) == [f"shard 2-of-2: the label of {name} is not the one that shard 1-of-2 has"]


def test_a_shard_at_work_has_not_finished(unmerged):
    with FileLock(unmerged / "shards" / "2-of-2" / "lock"), pytest.raises(ConfigurationError, match="in use"):
        merging.merge(unmerged, pytest.fail)


# --- killed in the middle of a merge -------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [0, 3, 4, 8, 12])
def test_a_killed_merge_leaves_the_old_state_or_the_whole(unmerged, runs, moment):
    """Kill before a rename: one while it is built, the one that declares it complete (3), then those of its files."""
    shards = snapshot(unmerged / "shards")
    child = os.fork()
    if not child:
        count, replace = 0, os.replace

        def strike(*arguments: object) -> None:
            nonlocal count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            replace(*arguments)

        os.replace = strike
        merging.merge(unmerged, lambda text: None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not RunDirectory(unmerged).manifest.exists()
    assert (unmerged / merging.READY).exists() == (moment > 3)
    assert len(list(unmerged.iterdir())) == 3 + max(moment - 4, 0)  # shards, lock, and the folder of the merge
    merging.merge(unmerged, pytest.fail)
    whole = runs["whole_path"]
    assert lines(unmerged, "records.jsonl", "wall_s") == lines(whole, "records.jsonl", "wall_s")
    assert Counter(lines(unmerged, "oracle_calls.jsonl", *TIMES)) == Counter(lines(whole, "oracle_calls.jsonl", *TIMES))
    assert {p.name for p in unmerged.iterdir()} == {p.name for p in runs["merged_path"].iterdir()}
    assert snapshot(unmerged / "shards") == shards
    with pytest.raises(NothingToDoError, match="merged already"):
        merging.merge(unmerged, pytest.fail)
