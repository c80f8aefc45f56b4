"""Thread variables of OpenMP, MKL and OpenBLAS, to be set before anything that reads them is imported.

Left alone, every library starts one spinning thread for each core of the machine. Where a process may use only some
of them, or others are busy, the threads wait for each other: a GFN2-xTB call of 10 ms was measured at 243 ms so.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Waiting threads sleep instead of spinning.
WAIT_VARIABLE = "OMP_WAIT_POLICY"
#: Batches of drug-like molecules are too small to feed more threads than this.
MOST_THREADS = 8


def usable_cpus() -> int:
    """Return how many CPUs this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the thread variables that the user has not set; child processes inherit them."""
    for variable in THREAD_VARIABLES:
        environment.setdefault(variable, str(min(usable_cpus(), MOST_THREADS)))
    environment.setdefault(WAIT_VARIABLE, "PASSIVE")
