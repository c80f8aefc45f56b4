"""The examples: every configuration is one that the suite takes, and the shipped baselines can be trained again."""

import re
from pathlib import Path

import pytest

from golfbench.learning import checkpoint
from golfbench.runs.config import load_config
from golfbench.runs.grid import check_names
from golfbench.runs.runner import open_dataset
from golfbench.runs.starts import shipped_baseline

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
TEN_K = ROOT / "datasets" / "druglike-xtb-10k" / "baselines"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_names_what_there_is(path):
    check_names(load_config(path, {}))


def options(command):
    """Return the options of a training, without those that do not change its result."""
    words = command.split()
    given = dict(zip(words[2::2], words[3::2], strict=True))
    return {name: value for name, value in given.items() if name not in ("--logger", "--output")}


def test_each_shipped_baseline_is_trained_by_a_command_of_the_examples():
    script = (EXAMPLES / "from-scratch-baselines.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [options(line) for line in re.findall(r"^golfbench train .*$", script, flags=re.MULTILINE)]
    shipped = sorted(TEN_K.glob("*.safetensors"))
    assert shipped
    for path in shipped:
        assert options(checkpoint.load(path)[1]["training"]["command"]) in commands
        assert path.with_suffix(".csv").read_text(encoding="utf-8").startswith("step,name,value\n20,")
    assert len(commands) == len(shipped)


def test_the_example_from_scratch_starts_from_the_shipped_baseline():
    config = load_config(EXAMPLES / "from-scratch.yaml", {})
    found = shipped_baseline(open_dataset(config.dataset), config.models[0], config.delta, 1)
    assert found is not None
    assert found.parent == TEN_K
