"""The real client on a database of its own."""

import logging

import pytest

from golfbench.testing import contract_tests

MlflowClient = pytest.importorskip("mlflow.tracking").MlflowClient
curves = pytest.importorskip("golfbench_mlflow.curves")

test_contract = contract_tests("logger", "mlflow")


def log_steps(folder, combination, steps):
    folder.mkdir(exist_ok=True)
    log = curves.MlflowRun("", "golfbench", folder, "a-run", combination)
    for step in steps:
        log.scalars(step, {"train/learning_rate": 1.0 / step, "train/labels": 64.0})
    log.close()


def test_the_database_has_a_run_for_each_combination_and_no_step_twice(tmp_path):
    log_steps(tmp_path / "one", "net|golf|seed=0", (20, 40, 60))
    log_steps(tmp_path / "one", "net|golf|seed=0", (40, 60, 80))
    log_steps(tmp_path / "two", "net|random|seed=0", (20,))
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("golfbench").experiment_id
    runs = {run.data.tags[curves.COMBINATION]: run for run in client.search_runs([experiment])}
    assert set(runs) == {"net|golf|seed=0", "net|random|seed=0"}
    golf = runs["net|golf|seed=0"]
    history = client.get_metric_history(golf.info.run_id, "train/learning_rate")
    assert [(metric.step, metric.value) for metric in history] == [(s, 1.0 / s) for s in (20, 40, 60, 80)]
    assert golf.info.status == "FINISHED"
    assert (tmp_path / "one" / "run.txt").read_text() == f"mlflow.db {golf.info.run_id}\n"


def test_the_loggers_of_the_suite_stay_on(tmp_path):
    log_steps(tmp_path / "one", "net", (1,))
    assert not logging.getLogger("golfbench").disabled
    assert not logging.getLogger("golfbench.learning.loop").disabled
