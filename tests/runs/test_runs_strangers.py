"""A package of a stranger on the path: its selection, learner and named weights run from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

STRANGERS = Path(__file__).parents[1] / "strangers"


@pytest.fixture
def command(tmp_path):
    """Run ``golfbench`` with the stranger's package on its path."""
    path = os.pathsep.join(filter(None, [str(STRANGERS), os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "GOLFBENCH_WEIGHTS": str(tmp_path / "store"),
    }

    def run(*arguments):
        words = [sys.executable, "-m", "golfbench", *arguments]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run


def test_a_selection_and_a_learner_of_a_stranger(command, write_config, results, tmp_path):
    from golfbench.learning import checkpoint

    config = write_config(learner="head-only:members=2", selections=["most-disputed:apart=2"], delta=None)
    done = command("run", config, "--output", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "out")
    training = [call for call in run._lines("oracle_calls.jsonl") if call["purpose"] == "training"]
    assert len(training) == 4
    rounds = {}
    for call in training:
        start, _, step = call["molecule"].rpartition("@")
        rounds.setdefault((call.get("round"), start), []).append(int(step))
    assert all(abs(a - b) >= 2 for steps in rounds.values() for a in steps for b in steps if a is not b and a != b)
    checkpoints = run.path / "checkpoints"
    (final,), (baseline,) = (list(checkpoints.rglob(f"{name}.safetensors")) for name in ("final", "baseline"))
    (after, header), (before, _) = checkpoint.load(final), checkpoint.load(baseline)
    assert header["members"] == 2
    frozen = {name for name in after if name.startswith(("member-0.representation", "member-1.representation"))}
    assert frozen
    assert frozen != set(after)
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    assert any(not torch.equal(after[name], before[name]) for name in set(after) - frozen)


def test_a_committee_is_needed_and_the_line_says_so(command, write_config, tmp_path):
    config = write_config(selections=["most-disputed"], delta=None)
    done = command("run", config, "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "give --learner committee" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_weights_of_a_stranger_by_name(command, write_config, results, tmp_path):
    common = {"delta": None, "selections": ["none"], "references": [], "budget": 1, "baseline": {"updates": 5}}
    models = ["charges:weights=made-up", "charges:weights=fresh"]
    config = write_config(models=models, **common)
    missing = command("run", config, "--output", str(tmp_path / "out"))
    assert missing.returncode == 3
    line = "weights 'made-up' of model 'charges' are not on this machine: golfbench models fetch charges"
    assert missing.stderr.splitlines()[-1] == f"golfbench: error: {line}"
    fetched = command("models", "fetch", "charges", "--file", str(STRANGERS / "weights.json"))
    assert fetched.returncode == 0, fetched.stderr
    assert "charges:weights=made-up (GFN2-xTB, CC-BY-4.0) is in " in fetched.stderr
    done = command("run", config, "--output", str(tmp_path / "out"), "--json")
    assert done.returncode in (0, 1), done.stderr  # a network of one number takes few molecules to a minimum
    assert "the weights 'made-up' are under CC-BY-4.0" in done.stderr
    before = [row for row in results(tmp_path / "out").rows if row["stage"] == "before"]
    assert sorted((row["model"], row["seed"], row["n"]) for row in before) == [
        (models[1], 0, 3),
        (models[0], None, 3),  # all seeds share what was there before the run
    ]
    # where nothing is said and no baseline ships, they are what the model starts from; minimize takes them, too
    quiet = command("run", write_config("b.yaml", models=["charges"], checkpoint="auto", **common), "--output", "b")
    assert "the weights 'made-up' are under CC-BY-4.0" in quiet.stderr
    (row,) = (row for row in results(tmp_path / "b").rows if row["stage"] == "before")
    (named,) = (row for row in before if row["model"] == models[0])
    assert (row["seed"], row["residual_kcal_mol_mean"]) == (None, named["residual_kcal_mol_mean"])
    walked = command("minimize", "--model", "charges", "CO", "--output", "walked.sdf")
    assert "the weights 'made-up' are under CC-BY-4.0" in walked.stderr
    assert (tmp_path / "walked.sdf").exists()


def test_weights_that_are_not_the_known_ones_are_refused(command, write_config, tmp_path):
    refused = command("models", "fetch", "charges:weights=altered", "--file", str(STRANGERS / "weights.json"))
    assert refused.returncode == 2
    assert "weights.json is another file than the one known by that name" in refused.stderr
    for words in (("run", write_config(models=["charges:weights=maed-up"], delta=None)), ("minimize", "CO", "--model")):
        unknown = command(*words, *(["charges:weights=maed-up"] if words[0] == "minimize" else []))
        assert unknown.returncode == 2
        assert "model 'charges' has no weights 'maed-up'; known: made-up, altered" in unknown.stderr
    unknown = command("models", "fetch", "charges:weights=maed-up")
    assert unknown.returncode == 2
    assert "unknown set of weights 'maed-up': did you mean 'made-up'?" in unknown.stderr


def test_lists_and_doctor_say_which_weights_are_here(command):
    def listed():
        document = json.loads(command("models", "list", "--json").stdout)
        (model,) = (model for model in document["models"] if model["name"] == "charges")
        return {weights["name"]: weights for weights in model["weights"]}

    def found():
        done = command("doctor", "--json")
        (line,) = (f for f in json.loads(done.stdout)["findings"] if f["name"] == "charges:weights=made-up")
        return line["area"], line["status"], line["detail"]

    assert listed()["made-up"]["path"] is None
    assert listed()["altered"]["fetch"] == "golfbench models fetch charges:weights=altered"
    assert found() == ("weights", "missing", "golfbench models fetch charges")
    command("models", "fetch", "charges", "--file", str(STRANGERS / "weights.json"))
    path = listed()["made-up"]["path"]
    assert Path(path).is_file()
    assert found() == ("weights", "ok", path)
    (line,) = (row for row in command("models", "list").stdout.splitlines() if row.startswith("charges:weights=made"))
    assert line.split("\t")[1:3] == ["GFN2-xTB", "CC-BY-4.0"]
