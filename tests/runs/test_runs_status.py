"""The status of a run: sums and groups of its ledger, and the verb that prints them."""

import contextlib
import json
import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from golfbench.benchmark.records import Record
from golfbench.oracles.ledger import PURPOSES, OracleCall
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
    names, training, evaluation = zip(*(line.split("\t") for line in lines), strict=True)
    assert names[:4] == ("purpose", "labels", "failed", "cache hits")
    assert training[:9] == ("training", "3", "3", "1", "2", "0.0025", "2", "85.7", "1.5")
    assert training[9] == CALLS[5].started_utc[:19].replace("T", " ")
    assert evaluation[:4] == ("evaluation", "1", "0", "0")
    failures = golfbench("status", str(tmp_path / "run"), "--failures").stdout.splitlines()
    assert failures[1].split("\t")[:6] == ["call", "crashed", "psi4", "2", "2", "1"]
    found = json.loads(golfbench("status", str(tmp_path / "run"), "--json").stdout)
    assert found["schema_version"] == 1
    assert [p["labels"] for p in found["purposes"]] == [3, 1]
    assert [g["outcome"] for g in found["failures"]] == ["crashed", "rejected"]


def test_a_folder_without_a_ledger_has_nothing_to_show(golfbench: Any, tmp_path: Path) -> None:
    done = golfbench("status", str(tmp_path))
    assert done.returncode == 4
    assert "has no oracle call yet" in done.stderr


def failed_record(**changes: Any) -> str:
    facts = {
        "combination": "uff|lbfgs||psi4",
        "model": "uff",
        "optimizer": "lbfgs",
        "selection": "",
        "oracle": "psi4",
        "seed": None,
        "stage": "reference",
        "method": "wB97X-D/def2-SVP",
        "group": "xef2",
        "n_atoms": 3,
        "status": "error",
        "converged": False,
        "n_steps": 0,
        "model_calls": 0,
        "energy_initial_hartree": -40.0,
        "energy_final_hartree": None,
        "energy_reference_hartree": -40.1,
        "wall_s": 0.0,
        "error_type": "OracleError",
    }
    return Record.model_validate(facts | changes).model_dump_json() + "\n"


def test_walks_that_failed_are_grouped_as_calls_are(golfbench: Any, tmp_path: Path) -> None:
    """A fixed model that asks for no call and fails everywhere: the ledger has nothing to say of it."""
    lines = [
        failed_record(molecule=f"xef2/{k}", error_message=f"xef2/{k}: no parameters for atom {k} (Xe)")
        for k in range(4)
    ]
    lines.append(failed_record(molecule="hcl/0", status="oracle_failed", error_message="no SCF", n_steps=3))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").write_text("".join(lines))
    shown = golfbench("status", str(tmp_path / "run"))
    assert "5 walks failed, 0 oracle labels were given up: see --failures" in shown.stderr
    table = golfbench("status", str(tmp_path / "run"), "--failures").stdout.splitlines()
    first, second = (line.split("\t") for line in table[1:])
    assert first[:4] == ["walk", "error", "uff|lbfgs||psi4 reference", "4"]
    assert first[6:] == ["OracleError: no parameters for atom 0 (Xe)", "xef2/0, xef2/1, xef2/2"]
    assert (second[1], second[3], second[7]) == ("oracle_failed", "1", "hcl/0")
    found = json.loads(golfbench("status", str(tmp_path / "run"), "--json").stdout)
    assert [(g["status"], g["count"], g["n"]) for g in found["failed_walks"]] == [
        ("error", 4, 5),
        ("oracle_failed", 1, 5),
    ]
    assert found["failures"] == []


@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_breaks_no_word(tmp_path: Path, width: int) -> None:
    shown = PURPOSES
    calls = [call(k, purpose=purpose) for k, purpose in enumerate(shown)]
    failed = call(
        9, outcome="not_converged", error="m9/0: the self-consistent field did not converge in 100 iterations"
    )
    (tmp_path / "oracle_calls.jsonl").write_text("".join(c.model_dump_json() + "\n" for c in [*calls, failed]))
    (tmp_path / "records.jsonl").write_text(failed_record(molecule="xef2/0", error_message="no parameters for xenon"))
    words = {*shown, "labels", "failed", "workers", "12:00:00"} if width == 80 else set()
    assert words <= set(re.findall(r"[\w:]+", on_a_terminal(width, "status", str(tmp_path))))
    text = on_a_terminal(width, "status", str(tmp_path), "--failures")
    assert {"not_converged", "self-consistent", "iterations", "OracleError", "parameters"} <= set(
        re.findall(r"[\w-]+", text)
    )
    assert max(map(len, text.splitlines())) <= width


def on_a_terminal(width: int, *arguments: str) -> str:
    """Run the command line with a terminal of so many columns as stdout, and return what it shows."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ["COLUMNS"] = str(width)
        os.execv(sys.executable, [sys.executable, "-m", "golfbench", *arguments])
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that the program has ended
        while block := os.read(terminal, 65536):
            shown += block
    os.waitpid(pid, 0)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r", "")
