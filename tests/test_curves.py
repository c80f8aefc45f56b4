"""The logger ``csv``: what is in the table, also after a crash in the middle of a line."""

import csv
import math

from golfbench.curves import TABLE, Table
from golfbench.testing import contract_tests

test_contract = contract_tests("logger", "csv")


def begin(folder):
    return Table(folder, "a-run", "net|walker|golf|oracle|seed=0")


def read(folder):
    with (folder / TABLE).open(encoding="utf-8", newline="") as lines:
        return [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(lines)]


def test_each_number_has_a_line_while_the_log_is_open(tmp_path):
    log = begin(tmp_path)
    log.scalars(20, {"train/learning_rate": 1e-3, "odd, name": math.nan})
    rows = read(tmp_path)
    assert rows[0] == (20, "train/learning_rate", 1e-3)
    assert rows[1][:2] == (20, "odd, name")
    assert math.isnan(rows[1][2])
    log.close()


def test_a_resumed_table_has_no_step_twice_and_no_gap(tmp_path):
    for steps in ((20, 40, 60), (40, 60, 80)):
        log = begin(tmp_path)
        for step in steps:
            log.scalars(step, {"x": step / 7})
        log.close()
    assert [step for step, *_ in read(tmp_path)] == [20, 40, 60, 80]


def test_a_torn_line_is_written_anew(tmp_path):
    log = begin(tmp_path)
    log.scalars(20, {"x": 1.0})
    log.scalars(40, {"x": 2.0})
    log.close()
    table = tmp_path / TABLE
    table.write_bytes(table.read_bytes()[:-3])
    log = begin(tmp_path)
    log.scalars(40, {"x": 2.0})
    log.close()
    assert read(tmp_path) == [(20, "x", 1.0), (40, "x", 2.0)]
