"""What a run keeps of its costs: also where it was killed while it wrote them, and what engines took."""

from pathlib import Path
from typing import Any

from golfbench.benchmark.metrics import CpuSeconds, NetworkCost
from golfbench.oracles.ledger import OracleCall
from golfbench.runs.costs import CostLine, append_cost, loop_cpu_s, read_costs
from golfbench.specs import ComponentRef


def test_a_line_that_a_kill_has_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    line = CostLine(
        combination="a", stage="after", parameters=7, updates=5, wall_s=2.0, device="cpu", dtype="torch.float32"
    )
    append_cost(path, line)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:20])
    append_cost(path, line)
    assert read_costs(path) == {("a", "after"): NetworkCost(7, 10, 4.0)}
    assert path.read_bytes().count(b"\n") == len(path.read_bytes().splitlines()) == 2


def line_of(**changes: Any) -> CostLine:
    given = {"combination": "a", "stage": "after", "parameters": 7, "device": "cpu", "dtype": "float32"}
    return CostLine(**{**given, **changes})


def test_processor_time_is_that_of_the_last_line_that_says_it_and_is_not_added_up(tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    append_cost(path, line_of(updates=5, wall_s=2.0))  # of a run before such times were kept
    assert read_costs(path)["a", "after"].cpu_s is None
    append_cost(path, line_of(updates=5, wall_s=2.0, cpu_s=CpuSeconds(training=3.0)))
    append_cost(path, line_of(updates=1, wall_s=1.0, cpu_s=CpuSeconds(training=4.0, oracle=2.0)))
    append_cost(path, line_of(labels=16))  # judged
    assert read_costs(path)["a", "after"] == NetworkCost(7, 11, 5.0, 16, CpuSeconds(training=4.0, oracle=2.0))


def test_engines_are_paid_for_by_the_loop_that_asked_them(tmp_path: Path) -> None:
    """By hand: 1 + 2.5 of the oracle (one measured, one failed and timed), 4 of the base, 8 of the surrogate."""
    path = tmp_path / "oracle_calls.jsonl"
    calls = [
        ("a", "after", "training", "ok", 9.0, 1.0),
        ("a", "after", "training", "not_converged", 2.5, None),
        ("a", "after", "training", "cache_hit", 0.0, None),
        ("a", "after", "base", "ok", 9.0, 4.0),
        ("a", "after", "selection", "ok", 9.0, 8.0),
        ("a", "after", "evaluation", "ok", 9.0, 100.0),
        ("a|budget=4", "after", "base", "ok", 9.0, 100.0),  # of judging on the way
        ("b", "after", "training", "ok", 9.0, 100.0),
        ("", "before", "initial", "ok", 9.0, 100.0),
    ]
    with path.open("w") as file:
        for number, (combination, stage, purpose, outcome, wall_s, cpu_s) in enumerate(calls):
            call = OracleCall(
                call_id=number,
                combination=combination,
                stage=stage,
                purpose=purpose,
                molecule="water/0",
                geometry_sha256="0",
                oracle=ComponentRef("gfn2-xtb"),
                method="GFN2-xTB",
                engine="xtb",
                attempt=1,
                outcome=outcome,
                error="",
                started_utc="2024-01-01T00:00:00Z",
                wall_s=wall_s,
                cpu_s=cpu_s,
                worker="w",
            )
            file.write(call.model_dump_json() + "\n")
    spent = loop_cpu_s({"exploration": 0.5, "training": 0.25}, path, "a")
    assert spent == CpuSeconds(exploration=0.5, training=0.25, oracle=3.5, base=4.0, surrogate=8.0)
    assert spent.total == 16.25
