"""Costs of a run that was killed while it wrote them."""

from pathlib import Path

from golfbench.benchmark.metrics import NetworkCost
from golfbench.runs.costs import CostLine, append_cost, read_costs


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
