"""Whole runs with a committee, and with a base that is an engine: killed anywhere, they end as they would have."""

import collections
import hashlib
import json
import random
import signal

import pytest

SETTINGS = {
    "committee": {"learner": "committee:members=3", "delta": None, "baseline": {"updates": 20}, "selections": ["last"]},
    "base": {"delta": "gfn1-xtb", "baseline": {"updates": 20}, "selections": ["last"]},
}
MOMENTS = 4


@pytest.fixture(scope="module")
def whole():
    """Uninterrupted runs, by name."""
    return {}


@pytest.fixture
def uninterrupted(golfbench, write_config, whole, tmp_path_factory):
    def run(name):
        config = write_config(f"{name}.yaml", **SETTINGS[name])
        if name not in whole:
            output = tmp_path_factory.mktemp(name)
            done = golfbench("run", config, "--output", str(output), "--json")
            assert done.returncode == 0, done.stderr
            whole[name] = output
        return whole[name], config

    return run


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("name", SETTINGS)
def test_a_killed_run_resumes_to_the_same_end(golfbench, uninterrupted, results, tmp_path, name, moment):
    output, config = uninterrupted(name)
    one = results(output)
    total = len(one.ledger)
    chance = random.Random(f"{name} {moment}")
    first, last = (total * k // MOMENTS for k in (moment, moment + 1))
    calls, after_s = 1 + chance.randrange(first, max(last, first + 1)), chance.uniform(0, 0.1)
    command = ("run", config, "--output", str(tmp_path / "killed"), "--workers", str(1 + moment % 2))
    killed = golfbench.interrupted(signal.SIGKILL, calls, after_s, *command)
    assert killed.returncode == -signal.SIGKILL
    done = golfbench(*command)
    assert done.returncode == 0, done.stderr
    two = results(tmp_path / "killed")
    assert two.records == one.records
    assert two.ledger == one.ledger
    asked = [(c["oracle"], c["geometry_sha256"]) for c in two._lines("oracle_calls.jsonl") if c["outcome"] == "ok"]
    assert len(asked) == len(set(asked))
    assert two.rows == one.rows
    assert two.endpoints == one.endpoints


def test_calls_of_a_base_are_in_the_ledger_and_in_the_rows(uninterrupted, results):
    run = results(uninterrupted("base")[0])
    calls = run._lines("oracle_calls.jsonl")
    of_base = [call for call in calls if call["purpose"] == "base"]
    assert {call["oracle"].partition(":")[0] for call in of_base} == {"gfn1-xtb"}
    assert {call["oracle"].partition(":")[0] for call in calls if call["purpose"] != "base"} == {"gfn2-xtb"}
    stages = collections.Counter((c["combination"], c["stage"]) for c in of_base if c["outcome"] != "cache_hit")
    shared = stages[("", "before")]
    assert shared >= 9  # the training set, once for all rows
    rows = {row["stage"]: row["oracle_calls"] for row in run.rows}
    assert rows["before"]["base"] > 0
    assert rows["after"]["base"] > 0
    assert rows["reference"]["base"] == 0


def test_a_committee_is_one_checkpoint_with_all_members(uninterrupted, results):
    from golfbench.learning import checkpoint

    (final,) = (results(uninterrupted("committee")[0]).path / "checkpoints").rglob("final.safetensors")
    tensors, header = checkpoint.load(final)
    assert header["members"] == 3
    assert {name.partition(".")[0] for name in tensors} == {"member-0", "member-1", "member-2"}


@pytest.mark.parametrize(("delta", "oracle"), [("gfn2-xtb", "gfn2-xtb"), ("xtb", "gfn2-xtb"), ("gfn1-xtb", "gfn1-xtb")])
def test_a_base_that_is_the_oracle_is_refused(golfbench, write_config, tmp_path, delta, oracle):
    done = golfbench("run", write_config(delta=delta, oracles=[oracle]), "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert f"the base '{delta}' is the oracle itself: nothing would be left to learn" in done.stderr
    assert not (tmp_path / "out").exists()


def test_fresh_weights_beside_given_ones_in_one_grid(golfbench, write_config, results, tmp_path, tiny_model):
    common = {"delta": None, "baseline": {"updates": 10}, "selections": ["none"], "references": [], "budget": 2}
    first = golfbench("run", write_config("a.yaml", **common), "--output", str(tmp_path / "a"), "--json")
    assert first.returncode == 0, first.stderr
    (baseline,) = (results(tmp_path / "a").path / "checkpoints").rglob("baseline.safetensors")
    models = [f"{tiny_model},weights=fresh", f"{tiny_model},weights={baseline}"]
    done = golfbench("run", write_config("b.yaml", **common, models=models), "--output", str(tmp_path / "b"), "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    digest = hashlib.sha256(baseline.read_bytes()).hexdigest()[:8]  # rows do not say where a file lies
    models[1] = f"{tiny_model},weights=baseline.safetensors@{digest}"
    assert str(tmp_path / "a") not in (results(tmp_path / "b").path / "records.jsonl").read_text()
    assert {(row["model"], row["stage"]) for row in rows} == {
        (m, stage) for m in models for stage in ("before", "after")
    }
    by_row = {(row["model"], row["stage"]): row for row in rows}
    # The file holds what fresh weights were trained to, so the two models begin at the same place.
    before = [by_row[(model, "before")]["residual_kcal_mol_mean"] for model in models]
    assert before[0] == before[1]
    missing = write_config("c.yaml", **common, models=[f"{tiny_model},weights={tmp_path / 'none.safetensors'}"])
    refused = golfbench("run", missing, "--output", str(tmp_path / "c"))
    assert refused.returncode == 2
    assert "none.safetensors does not exist" in refused.stderr
