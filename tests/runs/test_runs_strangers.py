"""A package of a stranger on the path: its selection, learner and named weights run from the command line."""

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
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

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
    done = command("run", config, "--output", str(tmp_path / "out"), "--json")
    assert done.returncode in (0, 1), done.stderr  # a network of one number takes few molecules to a minimum
    assert "the weights 'made-up' are under CC-BY-4.0" in done.stderr
    rows = results(tmp_path / "out").rows
    assert sorted((row["model"], row["stage"], row["seed"], row["n"]) for row in rows if row["stage"] == "before") == [
        (models[1], "before", 0, 3),
        (models[0], "before", None, 3),  # all seeds share what was there before the run
    ]


def test_weights_that_are_not_the_known_ones_are_refused(command, write_config, tmp_path):
    config = write_config(models=["charges:weights=altered"], delta=None)
    done = command("run", config, "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "weights 'altered': weights.json is another file than the one known by that name" in done.stderr
    unknown = command("run", write_config(models=["charges:weights=maed-up"], delta=None))
    assert unknown.returncode == 2
    assert "model 'charges' has no weights 'maed-up'; known: made-up, altered" in unknown.stderr
