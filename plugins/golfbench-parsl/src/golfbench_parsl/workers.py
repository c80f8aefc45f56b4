"""Parsl's worker pool, its options and all, with queues whose readers may be killed: ``-m golfbench_parsl.workers``."""

from __future__ import annotations

import runpy
from functools import partial

from parsl.multiprocessing import SpawnContext

from golfbench_parsl.queues import Queue


def main() -> None:
    """Serve until the interchange is gone."""
    SpawnContext.Queue = partial(Queue, ctx=SpawnContext)
    runpy.run_module("parsl.executors.high_throughput.process_worker_pool", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
