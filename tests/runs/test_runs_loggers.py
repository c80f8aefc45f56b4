"""Runs with a log: the same results and the same name, killed and resumed without a step twice."""

import random
import signal
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from golfbench import hookimpl
from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.registry import Plugin, Registry
from golfbench.runs.config import RunConfig
from golfbench.runs.loggers import Loggers, check_loggers
from golfbench.specs import LoggerSpec, Parameter


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """Read a log back as TensorBoard does; a step that is there twice is an error."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    read.Reload()
    found = {}
    for tag in read.Tags()["scalars"]:
        events = read.Scalars(tag)
        assert max(Counter(event.step for event in events).values()) == 1, tag
        found[tag] = {event.step: event.value for event in events}
    return found


def test_a_log_is_killed_resumed_and_changes_nothing(golfbench, write_config, results, tmp_path):
    config = write_config(selections=["random"], golf={"parallel": 2, "steps": 6, "inner_steps": 2} | {"lag": 0})
    alone = golfbench("run", config, "--output", str(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    command = ("run", config, "--output", str(tmp_path / "logged"), "--logger", "tensorboard")
    chance = random.Random(1)
    half = len(results(tmp_path / "alone").ledger) // 2
    killed = golfbench.interrupted(signal.SIGKILL, half, chance.uniform(0, 0.1), *command)
    assert killed.returncode == -signal.SIGKILL
    done = golfbench(*command)
    assert done.returncode == 0, done.stderr
    one, two = results(tmp_path / "alone"), results(tmp_path / "logged")
    assert two.path.name == one.path.name  # the run id knows nothing of loggers
    assert (two.records, two.ledger, two.rows, two.endpoints) == (one.records, one.ledger, one.rows, one.endpoints)
    assert not (one.path / "logs").exists()

    logs = {folder.name: curves(folder) for folder in (two.path / "logs" / "tensorboard").iterdir()}
    (baseline,) = (log for name, log in logs.items() if name.endswith("_GFN2-xTB_seed=0"))
    assert list(baseline["train/force_rmse_kcal_mol_per_angstrom"]) == [20, 40, 60]
    (trained,) = (log for name, log in logs.items() if "_random_" in name)
    assert set(trained["golf/labels_learned"].values()) == {2.0, 4.0}
    assert list(trained["train/learning_rate"]) == [20, 40]
    after = next(row for row in two.rows if row["stage"] == "after")
    ((step, pct),) = trained["evaluation/pct_mean"].items()
    assert (step, pct) == (40, pytest.approx(after["pct_mean"], rel=1e-6))
    assert trained["evaluation/oracle_calls_training"] == {40: 4.0}
    (reference,) = (log for name, log in logs.items() if name.startswith("mmff94"))
    assert list(reference["evaluation/residual_kcal_mol_mean"]) == [0]


def test_a_logger_that_is_not_there_is_refused_before_anything_runs(golfbench, write_config, tmp_path):
    config = write_config()
    unknown = golfbench("run", config, "--output", str(tmp_path / "out"), "--logger", "tensorbord")
    assert unknown.returncode == 2
    assert "did you mean 'tensorboard'?" in unknown.stderr
    wrong = golfbench("run", config, "--output", str(tmp_path / "out"), "--logger", "tensorboard:project=x")
    assert wrong.returncode == 2
    assert "unknown parameter 'project'" in wrong.stderr
    assert not (tmp_path / "out").exists()


def test_loggers_are_no_part_of_the_name_of_a_run():
    assert RunConfig().run_id() == RunConfig(loggers=("tensorboard", "wandb:project=x")).run_id()


class Offering:
    """A plugin with a logger whose engine is missing, and one that always fails."""

    @hookimpl
    def golfbench_loggers(self):
        return [
            LoggerSpec(
                name="absent",
                factory="no_such_engine:Log",
                summary="Missing.",
                requires=("no_such_engine",),
                install_hint="pip install no-such-engine",
            ),
            LoggerSpec(
                name="broken", factory="builtins:open", summary="Broken.", parameters=(Parameter("key", "", "A key."),)
            ),
        ]


@pytest.fixture
def offered(monkeypatch):
    found = Registry(list[EntryPoint]())
    found.register(Offering(), Plugin("offering", "offering", "1"))
    monkeypatch.setattr("golfbench.runs.loggers.registry", lambda: found)
    return found


def test_a_package_that_is_missing_is_named_with_its_cure(offered):
    with pytest.raises(ComponentMissingError, match="'absent' needs no_such_engine: pip install no-such-engine"):
        check_loggers(["absent"])
    with pytest.raises(ConfigurationError, match="unknown parameter 'kee'"):
        check_loggers(["broken:kee=1"])
    check_loggers(["broken:key=1"])


def test_a_person_is_told_once_and_the_run_goes_on(offered, tmp_path):
    told = []
    loggers = Loggers(["broken", "absent", "elsewhere"], tmp_path, "run", told.append)
    for combination in ("a|b", "c|d"):
        with loggers.log(combination) as log:
            log.scalars(1, {"x": 1.0})
            log.scalars(2, {"x": 1.0})
    assert [line.split("'")[1] for line in told] == ["elsewhere", "broken", "absent"]
    assert all(line.startswith("warning: logger ") and "the run goes on without it" in line for line in told)
    assert (tmp_path / "logs" / "broken" / "a_b").is_dir()
