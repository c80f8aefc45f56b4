"""Thread variables of OpenMP and the linear algebra libraries, to be set before anything that reads them is imported.

By default, every library starts one spinning thread for each core of the machine. Where a process may use only some
cores, or others are busy, the threads wait for each other: a GFN2-xTB call of 10 ms was measured at 243 ms then.

NumPy and SciPy factorize the matrices of one molecule, hundreds a second, too small to share: two threads of OpenBLAS
took 65 s for ten minimizations that one does in 4.5 s. They get one, and their results no longer depend on the number
of cores. Networks run in torch, which parallelizes well: it takes the variables of OpenMP and MKL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

#: Read by torch when it is imported, by OpenMP codes, and by a NumPy that was built with MKL.
TORCH_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Read by the other libraries that NumPy and SciPy come with: OpenBLAS, BLIS, and Accelerate (macOS).
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
THREAD_VARIABLES = (*TORCH_VARIABLES, *BLAS_VARIABLES)
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
    """Set the thread variables that the user has not set; child processes inherit them.

    torch takes the number of MKL before that of OpenMP, so a number that the user has set for one holds for both.
    """
    usable = str(min(usable_cpus(), MOST_THREADS))
    given = [number for variable in TORCH_VARIABLES if (number := environment.get(variable))]
    # a list is one number for each level of nesting
    number = given[0].split(",")[0].strip() if given else usable
    for variable in TORCH_VARIABLES:
        environment.setdefault(variable, number)
    for variable in BLAS_VARIABLES:
        environment.setdefault(variable, "1")
    environment.setdefault(WAIT_VARIABLE, "PASSIVE")


@contextmanager
def shared_threads(processes: int) -> Iterator[None]:
    """Let all child processes that start meanwhile have, together, no more threads than there are CPUs."""
    share = max(1, usable_cpus() // processes)
    before = {variable: os.environ.get(variable) for variable in TORCH_VARIABLES}
    for variable, number in before.items():
        known = number is not None and number.isdecimal()
        os.environ[variable] = str(min(share, int(number))) if number is not None and known else str(share)
    try:
        yield
    finally:
        for variable, number in before.items():
            if number is None:
                del os.environ[variable]
            else:
                os.environ[variable] = number
