"""What the account of oracle calls costs: the ledger alone, and everything that a run does about a label.

python benchmarks/bookkeeping.py
python benchmarks/bookkeeping.py --lines 1000000 --labels 500
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.ledger import Ledger, OracleCall, read_calls
from golfbench.oracles.service import Account, OracleService
from golfbench.runs.status import failures_of, status_of
from golfbench.specs import ComponentRef

ATOMS = 30


def line(number: int) -> OracleCall:
    """Return a line like those of a run."""
    return OracleCall(
        call_id=number,
        combination="painn:preset=small|lbfgs|golf|gfn2-xtb|seed=0",
        stage="after",
        purpose="training",
        molecule=f"ibuprofen/{number % 100}",
        geometry_sha256=f"{number:064x}",
        oracle="gfn2-xtb",
        method="GFN2-xTB",
        options_sha256="0" * 64,
        engine="xtb 22.1",
        attempt=1,
        outcome="ok",
        error="",
        started_utc="2025-01-31T12:00:00.000+00:00",
        wall_s=0.5,
        cpu_s=0.5,
        worker="oracle_0",
    )


def ledger(folder: Path, lines: int) -> None:
    """Write a ledger, open it again, and summarize it."""
    path = folder / "oracle_calls.jsonl"
    written = Ledger(path)
    calls = [line(number) for number in range(lines)]
    append_s = timed(lambda: [written.append(call) for call in calls])
    written.close()
    open_s = timed(lambda: Ledger(path))
    status_s = timed(lambda: (status_of(read_calls(path)), failures_of(read_calls(path))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"ledger of {lines} lines ({path.stat().st_size / 1e6:.0f} MB):")
    print(f"  append {1e6 * append_s / lines:.1f} µs a line: {100 * append_s / lines / 0.5:.4f} % of a call of 0.5 s,")
    print(
        f"  {100 * append_s / lines / 0.02:.2f} % of one of 20 ms; opened in {open_s:.1f} s, status in {status_s:.1f} s"
    )
    print(f"  largest memory of this process so far: {peak:.0f} MB")


class Instant(Executor):
    """Answers at once."""

    def submit(self, fn: Any, /, oracle: str, molecule: dict[str, Any], *limits: Any) -> Future[Any]:
        """Return an answer without forces."""
        future: Future[Any] = Future()
        future.set_result(
            {
                "outcome": "ok",
                "engine": "none",
                "energy_hartree": 0.0,
                "forces_hartree_per_angstrom": np.zeros((len(molecule["numbers"]), 3)).tolist(),
                "started_utc": "2025-01-31T12:00:00.000+00:00",
                "wall_s": 0.0,
                "worker": "none",
            }
        )
        return future


def service(folder: Path, labels: int, cached: bool) -> None:
    """Ask for labels that cost nothing, so that what is left is the suite's own work."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4) * 2.0] * 3), -1).reshape(-1, 3)[:ATOMS]
    molecules = [Molecule(f"m/{k}", np.full(ATOMS, 6), grid + rng.normal(0, 0.1, grid.shape)) for k in range(labels)]
    cache = LabelCache(folder / "cache.sqlite") if cached else None
    with contextlib.closing(OracleService(folder, Instant(), cache=cache)) as opened:
        wall_s = timed(lambda: opened.label_all(ComponentRef("gfn2-xtb"), molecules, Account("", "before", "initial")))
        wall_s += timed(opened.close)
    print(f"a label of {ATOMS} atoms, {'with' if cached else 'without'} the cache: {1e3 * wall_s / labels:.2f} ms")


def timed(work: Any) -> float:
    """Return how long some work takes, s."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=300)
    options = parser.parse_args()
    for cached in (False, True):
        with TemporaryDirectory() as folder:
            service(Path(folder), options.labels, cached)
    with TemporaryDirectory() as folder:
        ledger(Path(folder), options.lines)


if __name__ == "__main__":
    main()
