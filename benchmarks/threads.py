"""What the threads of linear algebra cost: ``golfbench minimize`` as it is against one thread of OpenBLAS.

    python benchmarks/threads.py
    python benchmarks/threads.py --rounds 3 --conformers 4

Ten conformers of imatinib (68 atoms) are minimized with ``mmff94``: the force field is cheap, so that what is measured
is the optimizer, which factorizes hundreds of small matrices. Each round runs the command once with no thread variable
set, and once with ``OPENBLAS_NUM_THREADS=1``, by turns, first alone and then beside a process that keeps every usable
core busy. Compared are the medians; the command fails if one ratio is above 1.2.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from golfbench.threads import THREAD_VARIABLES, usable_cpus

IMATINIB = "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"
MOST = 1.2
#: What is set beside nothing else.
SETTINGS: dict[str, dict[str, str]] = {"default": {}, "one thread": {"OPENBLAS_NUM_THREADS": "1"}}


def spin() -> None:
    """Keep a core busy."""
    while True:
        pass


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.terminate()
            process.join()


def wall_s(conformers: int, setting: dict[str, str]) -> float:
    """Return the wall time of the command, s."""
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES} | setting
    command = [sys.executable, "-m", "golfbench", "minimize", IMATINIB, "-n", str(conformers), "--model", "mmff94"]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - started


def ratio(rounds: int, conformers: int, where: str) -> float:
    """Return the median wall time by default over that with one thread."""
    times: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            times[name].append(wall_s(conformers, setting))
    middle = {name: median(found) for name, found in times.items()}
    found = middle["default"] / middle["one thread"]
    details = "; ".join(f"{name} {' '.join(f'{s:.1f}' for s in times[name])} s" for name in SETTINGS)
    print(f"{where}: {found:.2f} ({details})", flush=True)
    return found


def main() -> int:
    """Compare, and return 1 if threads cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conformers", type=int, default=10)
    arguments = parser.parse_args()
    found = [ratio(arguments.rounds, arguments.conformers, "alone")]
    with neighbours(usable_cpus()):
        found.append(ratio(arguments.rounds, arguments.conformers, "beside busy neighbours"))
    return 1 if max(found) > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
