"""Keeping the memory of freed tensors: training on a CPU allocates and frees the same megabytes at each step."""

from __future__ import annotations

import ctypes
import os
from functools import cache

#: Numbers of glibc's options (malloc.h) and their values in bytes: blocks up to 32 MiB, the most that it takes, come
#: from the heap, which is not trimmed and grows by 64 MiB.
OPTIONS = {-3: 32 << 20, -1: (1 << 31) - 1, -2: 64 << 20}
#: Variables of the user for these options; they are kept.
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory instead of giving it back to the system; once, and only with glibc.

    By default, glibc gives large blocks back and gets them again, and the system fills them with zeros page by page:
    9000 page faults in a training step of eight molecules, a third of the time of a small PaiNN. The peak memory of
    the process stays nearly the same (``benchmarks/allocation.py``).

    Returns:
        Whether it was done.
    """
    if any(variable in os.environ for variable in VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return all(mallopt(option, value) for option, value in OPTIONS.items())
