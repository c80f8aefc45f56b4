"""The status of a run: sums and groups of its ledger, and the verb that prints them."""

import json
from pathlib import Path
from typing import Any

import pytest

from golfbench.oracles.ledger import OracleCall
from golfbench.runs.status import failures_of, status_of


def call(number: int, **changes: Any) -> OracleCall:
    facts = {
        "call_id": number,
        "combination": "",
        "stage": "after",
        "purpose": "training",
        "molecule": f"m{number}/0",
        "geometry_sha256": f"{number:064x}",
        "oracle": "psi4",
        "method": "wB97X-D/def2-SVP",
        "engine": "psi4 1.3.2",
        "attempt": 1,
        "outcome": "ok",
        "error": "",
        "started_utc": f"2025-01-31T12:00:{number:02d}.000+00:00",
        "wall_s": 2.0,
        "cpu_s": 1.5,
        "worker": f"oracle_{number % 2}",
    }
    return OracleCall.model_validate(facts | changes)


CALLS = [
    call(0),
    call(1, awaited_s=0.5),
    call(2, outcome="crashed", error="m2/0: psi4 crashed: SIGKILL after 12.5 s at 0x7f00"),
    call(3, molecule="m2/0", geometry_sha256=f"{2:064x}", attempt=2, awaited_s=1.0),
    call(4, outcome="crashed", error="m4/0: psi4 crashed: SIGKILL after 7 s at 0x80ff"),
    call(5, outcome="rejected", error="m5/0: the label of psi4 is refused"),
    call(6, outcome="cache_hit", attempt=0, wall_s=0.0, cpu_s=None, worker="", started_utc="2025-02-01T00:00:00+00:00"),
    call(7, purpose="evaluation", cpu_s=None, wall_s=4.0),
]


def test_the_sums_of_each_purpose() -> None:
    training, evaluation = status_of(CALLS)
    assert (training.purpose, training.labels, training.failed, training.cache_hits) == ("training", 3, 3, 1)
    assert (training.wall_s, training.cpu_s, training.awaited_s) == (12.0, 9.0, 1.5)
    assert (training.span_s, training.workers) == (7.0, 2)  # from 0 s to 5 s + 2 s; the hit is no call
    assert training.busy_pct == pytest.approx(100 * 12 / 14)
    assert training.last_utc == CALLS[5].started_utc
    assert (evaluation.purpose, evaluation.labels, evaluation.cpu_s, evaluation.busy_pct) == ("evaluation", 1, 0.0, 100)


def test_calls_of_a_base_are_a_line_of_their_own() -> None:
    base = [call(number, purpose="base", oracle="gfn1-xtb", method="GFN1-xTB", wall_s=0.5) for number in (8, 9)]
    assert [(p.purpose, p.labels, p.wall_s) for p in status_of([*CALLS, *base])] == [
        ("training", 3, 12.0),
        ("evaluation", 1, 4.0),
        ("base", 2, 1.0),
    ]


def test_failures_that_differ_in_names_and_numbers_are_one_group() -> None:
    crashed, rejected = failures_of(CALLS)
    assert (crashed.outcome, crashed.calls, crashed.molecules, crashed.given_up) == ("crashed", 2, 2, 1)
    assert crashed.message == "psi4 crashed: SIGKILL after 12.5 s at 0x7f00"
    assert crashed.examples == ["m2/0", "m4/0"]
    assert (rejected.outcome, rejected.calls, rejected.given_up) == ("rejected", 1, 1)


def test_a_ledger_without_failures_has_no_groups() -> None:
    assert failures_of(CALLS[:2]) == []
    assert status_of([]) == []


def test_the_verb(golfbench: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "oracle_calls.jsonl").write_text("".join(c.model_dump_json() + "\n" for c in CALLS))
    lines = golfbench("status", str(tmp_path / "run")).stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["purpose", "labels", "failed", "cache hits"]
    assert lines[1].split("\t")[:9] == ["training", "3", "3", "1", "2", "0.0025", "2", "85.7", "1.5"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["training", "evaluation"]
    failures = golfbench("status", str(tmp_path / "run"), "--failures").stdout.splitlines()
    assert failures[1].split("\t")[:5] == ["crashed", "psi4", "2", "2", "1"]
    found = json.loads(golfbench("status", str(tmp_path / "run"), "--json").stdout)
    assert found["schema_version"] == 1
    assert [p["labels"] for p in found["purposes"]] == [3, 1]
    assert [g["outcome"] for g in found["failures"]] == ["crashed", "rejected"]


def test_a_folder_without_a_ledger_has_nothing_to_show(golfbench: Any, tmp_path: Path) -> None:
    done = golfbench("status", str(tmp_path))
    assert done.returncode == 4
    assert "has no oracle call yet" in done.stderr
