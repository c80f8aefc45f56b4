"""The configurations of the GOLF paper: published values, and that each one runs, made small on the tiny dataset."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from golfbench.learning.opening import new_network
from golfbench.runs.config import load_config
from golfbench.specs import ComponentRef

PAPER = Path(__file__).parents[2] / "examples" / "paper"
FILES = sorted(PAPER.glob("*.yaml"))
#: Tables 5 and 6 of the paper: K labels, U updates for each, what is learned in all.
LEARNED = {"golf-1k": (1000, 500), "golf-10k": (10_000, 50), "rdkit": (10_000, 50)}
BASELINES = {"trained": 500_000, "traj-500k": 1_000_000, "golf-1k": 500_000, "golf-10k": 500_000, "rdkit": 500_000}
#: Rows of each file, and labels that training asks for.
PLANS = {
    "mmff94": ("mmff94", "", 0),
    "trained": ("painn:preset=published", "", 0),
    "traj-500k": ("painn:preset=published", "", 0),
    "published": ("painn:preset=published", "", 0),
    "rdkit": ("painn:preset=published", "last", 10_000),
    "golf-1k": ("painn:preset=published", "golf:ceiling_kcal_mol=300", 1000),
    "golf-10k": ("painn:preset=published", "golf:ceiling_kcal_mol=300", 10_000),
}


def config(name):
    return load_config(PAPER / f"{name}.yaml", {})


def test_every_file_is_known_here():
    assert {path.stem for path in FILES} == set(PLANS)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_networks_are_trained_as_published(name):
    settings = config(name)
    assert [str(model) for model in settings.models] == ["painn:preset=published"]
    assert [str(optimizer) for optimizer in settings.optimizers] == ["golf-lbfgs"]
    assert settings.baseline.updates == BASELINES[name]
    assert settings.delta is None
    for part in (settings.baseline, settings.training) if name in LEARNED else (settings.baseline,):
        assert (part.batch_size, part.learning_rate, part.gradient_clip) == (64, 1e-4, 1.0)
        assert (part.energy_weight, part.force_weight, part.ema_decay, part.schedule) == (0.01, 0.99, 0.0, "cosine")
    assert (settings.protocol.steps, settings.protocol.inner_steps) == (100, 5)
    assert settings.protocol.evaluation_steps == ()


@pytest.mark.parametrize("name", sorted(LEARNED))
def test_the_loop_is_as_published(name):
    settings, (labels, updates) = config(name), LEARNED[name]
    assert (settings.budget, settings.golf.updates_per_label) == (labels, updates)
    assert settings.budget * settings.golf.updates_per_label == 500_000
    assert (settings.golf.initial_share, settings.golf.lag, settings.golf.restart) == (0.1, 0, "initial")
    assert settings.golf.parallel == (48 if name == "golf-1k" else 120)
    assert settings.golf.force_norm_guard_hartree_per_angstrom == 10.5
    assert settings.golf.explorer == ("relaxed" if name == "rdkit" else "walks")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_planned_on_another_dataset(golfbench, tiny_folder, path, published):
    weights = ["--checkpoint", str(published)] if path.stem == "published" else []
    data = ["--dataset", f"folder:path={tiny_folder}", "--oracle", "gfn2-xtb"]
    done = golfbench("run", str(path), *data, *weights, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    model, selection, training = PLANS[path.stem]
    assert [(row["model"], row["selection"]) for row in plan["rows"]] == [(model, selection)]
    calls = plan["oracle_calls_at_most"]
    judged = 6 if training else 3  # three molecules, before and after
    assert calls == {"initial": 0, "training": training, "reference": 0, "evaluation": judged}


@pytest.fixture
def published(tmp_path):
    """A file as the authors of GOLF publish them: the state of their PaiNN, with numbers that nobody has trained."""
    network = new_network(ComponentRef("painn"), 3)
    names = {name: "model." + name.replace("outnet.", "output_modules.0.outnet.") for name in network.state_dict()}
    torch.save({names[name]: tensor for name, tensor in network.state_dict().items()}, tmp_path / "NNP_checkpoint")
    return tmp_path / "NNP_checkpoint"


@pytest.fixture
def small(tmp_path, tiny_folder, tiny_model):
    """Write one of the files with a tiny network and a few steps."""

    def write(name, **changes):
        settings = yaml.safe_load((PAPER / f"{name}.yaml").read_text())
        settings |= {
            "dataset": f"folder:path={tiny_folder}",
            "oracles": ["gfn2-xtb"],
            "models": [tiny_model],
            "workers": 1,
        }
        settings["baseline"] |= {"updates": 20, "batch_size": 4}
        settings["protocol"] |= {"steps": 1, "inner_steps": 1}  # whole steps on a network that has learned nothing
        for key, value in changes.items():
            settings[key] = settings[key] | value if isinstance(value, dict) else value
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        return f"{name}.yaml"

    return write


def test_a_network_of_given_labels_is_trained_and_judged_without_a_label(golfbench, results, small, tmp_path):
    done = golfbench("run", small("trained"), "--output", "runs")
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "runs")
    (row,) = run.rows
    assert (row["stage"], row["labels"]) == ("before", 9)  # all of the initial set
    assert row["oracle_calls"]["training"] == 0
    assert len(set(run.asked)) == len(run.asked) <= 3


def test_minima_of_the_force_field_are_labelled_and_learned_from(golfbench, results, small, tmp_path):
    done = golfbench(
        "run", small("rdkit", budget=4, golf={"updates_per_label": 2}, training={"batch_size": 4}), "--output", "runs"
    )
    assert done.returncode == 0, done.stderr
    run = results(tmp_path / "runs")
    after = run.rows[-1]
    assert (after["selection"], after["stage"], after["oracle_calls"]["training"]) == ("last", "after", 4)
    assert after["labels"] == 9 + 4
