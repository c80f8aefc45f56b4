"""What a training tells a log, and that nobody who listens can change it."""

import math
import os
import random
import warnings

import numpy as np
import pytest
import torch

from golfbench.learning.learner import LOG_EVERY, Single, Task
from golfbench.learning.pool import Pool
from golfbench.learning.settings import TrainSettings
from golfbench.loggers import NO_LOG, Log
from golfbench.units import HARTREE_TO_KCAL_MOL


class Listener:
    def __init__(self):
        self.points, self.closed = [], 0

    def scalars(self, step, values):
        self.points.append((step, dict(values)))

    def close(self):
        self.closed += 1


class Vandal(Listener):
    """Changes all that networks are trained with, and clears what it was given."""

    def scalars(self, step, values):
        torch.manual_seed(step)
        np.random.seed(step)
        random.seed(step)
        torch.set_default_dtype(torch.float64)
        os.environ["VANDAL"] = "was here"
        warnings.simplefilter("error")
        values.clear()


class Failing(Listener):
    def __init__(self, at=0, error=None):
        super().__init__()
        self.at, self.asked = at, 0
        self.error = error or RuntimeError("the disk of the logger is full")

    def scalars(self, step, values):
        self.asked += 1
        if self.asked > self.at:
            raise self.error


def weights(golf):
    return [p.detach().clone() for p in golf.parts.learner.potential().network.parameters()]


def learned(bench, name, log=NO_LOG, budget=6):
    built = bench(name)
    golf = built.build(selection="random", updates_per_label=LOG_EVERY, budget=budget, log=log)
    golf.run()
    return weights(golf), built.ledger(), golf


def test_a_point_is_the_mean_of_the_batches_since_the_last_in_units_of_people(labelled, make_potential):
    listener = Listener()
    settings = TrainSettings(batch_size=4, energy_weight=0.0, force_weight=1.0)
    potential, silent = make_potential(labelled), make_potential(labelled)
    learner = Single(Task(potential, settings, 100, 0, "test", Log({"one": lambda: listener})))
    learner.fit(Pool(potential, labelled), 2 * LOG_EVERY + 3)
    one_by_one, pool = Single(Task(silent, settings, 100, 0, "test")), Pool(silent, labelled)
    losses = [one_by_one.fit(pool, 1) for _ in range(2 * LOG_EVERY)]
    assert [step for step, _ in listener.points] == [LOG_EVERY, 2 * LOG_EVERY]
    first, second = (values for _, values in listener.points)
    for values, batch_losses in ((first, losses[:LOG_EVERY]), (second, losses[LOG_EVERY : 2 * LOG_EVERY])):
        mean = math.fsum(batch_losses) / LOG_EVERY
        assert values["train/loss_of_scaled_targets"] == pytest.approx(mean, rel=1e-9)
        rmse = math.sqrt(mean) * potential.scale * HARTREE_TO_KCAL_MOL
        assert values["train/force_rmse_kcal_mol_per_angstrom"] == pytest.approx(rmse, rel=1e-9)
    assert second["train/learning_rate"] < first["train/learning_rate"] <= settings.learning_rate
    assert first["train/labels"] == len(labelled)
    assert 0 < first["train/wall_s"] < second["train/wall_s"]


def test_a_loop_tells_labels_and_oracle_calls_by_update(bench):
    listener = Listener()
    _, ledger, golf = learned(bench, "told", Log({"one": lambda: listener}))
    rounds = [(step, values) for step, values in listener.points if "golf/round" in values]
    assert [step for step, _ in rounds] == [2 * LOG_EVERY, 4 * LOG_EVERY, 6 * LOG_EVERY]
    lost = [values["golf/failed"] + values["golf/guarded"] for _, values in rounds]
    assert lost[-1] == 2
    learned_so_far = [values["golf/labels_learned"] for _, values in rounds]
    assert [a + b for a, b in zip(learned_so_far, lost, strict=True)] == [2, 4, 6]
    assert [values["golf/spent"] for _, values in rounds] == [2, 4, 6]
    assert rounds[-1][1]["golf/oracle_calls"] == len(ledger)
    assert rounds[-1][1]["golf/model_calls"] == golf.progress.model_calls
    steps = [step for step, _ in listener.points]
    assert steps == sorted(steps)


def test_whoever_listens_changes_nothing(bench):
    alone, ledger, _ = learned(bench, "alone", budget=2)
    for name, logger in {"listener": Listener(), "vandal": Vandal(), "failing": Failing(at=1)}.items():
        told = []
        log = Log({name: lambda logger=logger: logger}, lambda name, error, told=told: told.append((name, str(error))))
        found, other_ledger, _ = learned(bench, name, log, budget=2)
        assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True)), name
        assert other_ledger == ledger
        assert told == ([("failing", "the disk of the logger is full")] if name == "failing" else [])
    assert torch.get_default_dtype() == torch.float32
    assert "VANDAL" not in os.environ


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3), MemoryError()])
def test_a_logger_that_fails_is_told_no_more_and_the_others_are(error):
    failing, listener, told = Failing(error=error), Listener(), []
    log = Log({"bad": lambda: failing, "good": lambda: listener}, lambda name, e: told.append((name, e)))
    for step in range(3):
        log.scalars(step, {"x": 1.0})
    log.close()
    assert told == [("bad", error)]
    assert failing.asked == 1
    assert len(listener.points) == 3
    assert listener.closed == failing.closed == 1


def test_ctrl_c_is_no_failure_of_a_logger():
    log = Log({"bad": lambda: Failing(error=KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        log.scalars(0, {})


def test_nothing_is_opened_before_there_is_something_to_log():
    opened = []
    log = Log({"one": lambda: opened.append("one") or Listener()})
    log.close()
    assert opened == []
    log.scalars(1, {"x": 1.0})
    log.scalars(2, {"x": 1.0})
    assert opened == ["one"]
