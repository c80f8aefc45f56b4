"""Twelve calls of which three go wrong, on every executor; lost workers; a scheduler that is not there."""

import json
import time
from collections import Counter
from importlib.util import find_spec
from typing import Any

import pytest

GOOD = [f"good-{k}/0" for k in range(9)]
BAD = {"segfault-9/0": "crashed", "value_error-10/0": "engine", "hang-11/0": "time_limit"}
SEGFAULT, VALUE_ERROR, HANG = BAD
NAMES = [*GOOD[:3], SEGFAULT, *GOOD[3:6], VALUE_ERROR, *GOOD[6:8], HANG, GOOD[8]]

EXECUTORS = [
    "local",
    pytest.param("parsl", marks=pytest.mark.skipif(find_spec("parsl") is None, reason="parsl is not installed")),
    pytest.param("dask", marks=pytest.mark.skipif(find_spec("distributed") is None, reason="dask is not installed")),
]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_nine_of_twelve_are_delivered_and_three_are_named(make_run: Any, executor: str) -> None:
    run = make_run(NAMES, "misbehaving")
    done = run.start("--executor", executor, "--workers", "2")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    records = {record["molecule"]: record for record in run.lines("records.jsonl")}
    assert len(run.lines("records.jsonl")) == len(records) == 12
    assert {name: records[name]["status"] for name in GOOD} == dict.fromkeys(GOOD, "converged")
    assert [records[name]["energy_final_hartree"] for name in NAMES[:3]] == pytest.approx([0.01, 0.02, 0.03])
    assert {name: (records[name]["status"], records[name]["error_type"]) for name in BAD} == dict.fromkeys(
        BAD, ("oracle_failed", "OracleError")
    )
    ledger = Counter((call["molecule"], call["outcome"]) for call in run.lines("oracle_calls.jsonl"))
    assert ledger == {(name, "ok"): 1 for name in GOOD} | dict.fromkeys(BAD.items(), 1) | {
        (SEGFAULT, "crashed"): 3  # it may have been the machine's fault
    }
    failures = json.loads(run.golfbench("status", str(run.directory), "--failures", "--json").stdout)["failures"]
    assert {(g["outcome"], g["molecules"], g["given_up"], *g["examples"]) for g in failures} == {
        (kind, 1, 1, name) for name, kind in BAD.items()
    }
    table = run.golfbench("status", str(run.directory), "--failures").stdout
    found = [tuple(line.split("\t")[:2]) for line in table.splitlines()[1:]]
    assert found[:3] == [("call", "crashed"), ("call", "engine"), ("call", "time_limit")]
    assert set(found[3:]) == {("walk", "oracle_failed")}
    deadline = time.monotonic() + 5
    while (left := run.survivors()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert list(run.scratch.iterdir()) == []
    assert sorted(p.name for p in run.folder.iterdir() if p.suffix not in (".db", ".yaml")) == [
        "calls.log",
        "out",
    ]


@pytest.mark.parametrize("executor", EXECUTORS[1:])
def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(make_run: Any, executor: str) -> None:
    names = [*GOOD[:4], "kill_worker_once-0/0", *GOOD[4:]]
    run = make_run(names, "misbehaving")
    done = run.start("--executor", executor, "--workers", "2")
    assert done.returncode == 0, done.stderr
    records = run.lines("records.jsonl")
    assert [record["molecule"] for record in records] == names
    assert {record["status"] for record in records} == {"converged"}
    calls = run.lines("oracle_calls.jsonl")
    assert Counter(call["molecule"] for call in calls if call["outcome"] == "ok") == dict.fromkeys(names, 1)
    # Whoever shared the worker may have been lost with it, which is an attempt; dask asks again by itself.
    assert {call["outcome"] for call in calls} <= {"ok", "lost"}
    assert run.asked().count("kill_worker_once-0/0") == 2
    assert list(run.scratch.iterdir()) == []


@pytest.mark.skipif(find_spec("distributed") is None, reason="dask is not installed")
def test_a_scheduler_that_is_not_there_is_named_soon(make_run: Any) -> None:
    run = make_run(GOOD, "misbehaving")
    started = time.monotonic()
    done = run.start("--executor", "dask", "--executor-arg", "scheduler=tcp://127.0.0.1:9")
    assert time.monotonic() - started < 30
    assert done.returncode == 3
    assert "tcp://127.0.0.1:9" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not run.log.exists()


def test_an_unknown_executor_is_refused_with_the_nearest(make_run: Any) -> None:
    done = make_run(GOOD, "misbehaving").start("--executor", "locale")
    assert done.returncode == 2
    assert "unknown executor 'locale': did you mean 'local'?" in done.stderr
