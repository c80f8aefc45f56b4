import math
import socket

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from golfbench.testing import contract_tests
from golfbench_tensorboard.events import EventFile

test_contract = contract_tests("logger", "tensorboard")


@pytest.fixture
def begin(tmp_path):
    return lambda: EventFile(tmp_path, "a-run", "net|walker|golf|oracle|seed=0")


def read(folder):
    accumulator = EventAccumulator(str(folder), purge_orphaned_data=False)
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_written(begin, tmp_path):
    log = begin()
    log.scalars(20, {"train/learning_rate": 1e-3, "train/labels": 64.0})
    log.scalars(40, {"train/learning_rate": 5e-4, "train/bad": math.nan})
    curves = read(tmp_path)  # while it is open: nothing waits in memory
    log.close()
    assert curves["train/learning_rate"] == [(20, pytest.approx(1e-3)), (40, pytest.approx(5e-4))]
    assert curves["train/labels"] == [(20, 64.0)]
    assert math.isnan(curves["train/bad"][0][1])


def test_a_resumed_log_has_no_step_twice_and_no_gap(begin, tmp_path):
    first = begin()
    for step in (20, 40, 60):
        first.scalars(step, {"x": float(step)})
    first.close()
    second = begin()
    for step in (40, 60, 80):
        second.scalars(step, {"x": float(step), "y": 1.0})
    second.close()
    assert read(tmp_path) == {
        "x": [(20, 20.0), (40, 40.0), (60, 60.0), (80, 80.0)],
        "y": [(40, 1.0), (60, 1.0), (80, 1.0)],
    }


def test_a_file_that_a_crash_has_torn_is_gone_on_from(begin, tmp_path):
    log = begin()
    log.scalars(20, {"x": 1.0})
    log.scalars(40, {"x": 2.0})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    begin().scalars(40, {"x": 2.0})
    assert read(tmp_path) == {"x": [(20, 1.0), (40, 2.0)]}


def test_no_file_names_the_machine(begin, tmp_path):
    begin().close()
    begin().close()
    names = [file.name for file in tmp_path.iterdir()]
    assert len(names) == 2
    assert all(name.startswith("events.out.tfevents.") for name in names)
    assert not any(socket.gethostname() in name for name in names if len(socket.gethostname()) > 2)
