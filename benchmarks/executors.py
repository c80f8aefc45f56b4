"""Throughput and busy workers of executors, against the number of workers.

    python benchmarks/executors.py
    python benchmarks/executors.py --executor parsl --workers 16 --calls 20

Every call is one call of an oracle that sleeps for 0.5 s, through ``golfbench.oracles.calls.run_call`` and a process of
its own as any isolated engine, so that what is measured is what stands around an oracle: dispatch, transport, waiting.
Every worker's engine is started before. Busy is the sum of the wall times of the calls over the workers' time between
the start of the first call and the end of the last.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import Executor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from golfbench.molecules import Molecule
from golfbench.oracles.calls import run_call
from golfbench.oracles.local import LocalExecutor
from golfbench.registry import registry
from golfbench.specs import ExecutorSpec

#: The plugin with the oracle ``sleeping``.
ENGINES = Path(__file__).parents[1] / "tests" / "engines"
SECONDS = 0.5
ORACLE = f"sleeping:seconds={SECONDS}"


def open_executor(name: str, workers: int) -> Executor:
    """Return an executor on this machine."""
    if name == "local":
        return LocalExecutor(workers)
    executor: Executor = registry().find(ExecutorSpec, name).create({"workers": workers})
    return executor


def ask(executor: Executor, calls: int) -> list[dict[str, Any]]:
    """Ask for ``calls`` labels and return the answers."""
    molecule = Molecule("H2", np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]])).to_json()
    answers = [f.result() for f in [executor.submit(run_call, ORACLE, molecule) for _ in range(calls)]]
    assert all(answer["outcome"] == "ok" for answer in answers)
    return answers


def measure(name: str, workers: int, calls: int) -> tuple[float, float]:
    """Return calls per second and the busy fraction of the workers."""
    executor = open_executor(name, workers)
    try:
        started: set[str] = set()
        while len(started) < workers:  # until every worker has started its engine
            started |= {answer["worker"] for answer in ask(executor, 2 * workers)}
        answers = ask(executor, calls * workers)
    finally:
        executor.shutdown()
    starts = [datetime.fromisoformat(answer["started_utc"]).timestamp() for answer in answers]
    ends = [start + answer["wall_s"] for start, answer in zip(starts, answers, strict=True)]
    span = max(ends) - min(starts)
    return len(answers) / span, sum(answer["wall_s"] for answer in answers) / (workers * span)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--executor", action="append", default=[], help="local, parsl or dask; may be given several times"
    )
    parser.add_argument("--workers", action="append", type=int, default=[], help="may be given several times")
    parser.add_argument("--calls", type=int, default=12, help="calls for each worker")
    options = parser.parse_args()
    sys.path.insert(0, str(ENGINES))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")]))
    print(f"calls of {SECONDS} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    print(f"{'':8s} {'workers':>8s} {'calls/s':>8s} {'of ideal':>9s} {'busy':>7s}")
    for name in options.executor or ["local", "parsl", "dask"]:
        for workers in options.workers or [1, 2, 4, 8, 16]:
            rate, busy = measure(name, workers, options.calls)
            ideal = workers / SECONDS
            print(f"{name:8s} {workers:8d} {rate:8.2f} {100 * rate / ideal:8.1f}% {100 * busy:6.1f}%", flush=True)


if __name__ == "__main__":
    main()
