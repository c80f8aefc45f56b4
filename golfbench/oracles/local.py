"""The executor ``local``: calls run on this machine, one thread and one warm engine each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from golfbench.hookspecs import hookimpl
from golfbench.specs import ExecutorSpec, Parameter

#: Oracle calls at a time when nobody says how many.
DEFAULT_WORKERS = 2
THREAD_PREFIX = "oracle"


class LocalExecutor(ThreadPoolExecutor):
    """Threads that wait for the processes of their engines.

    Args:
        workers: Calls at a time.

    Attributes:
        slots: The same.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix=THREAD_PREFIX)
        self.slots = workers


@hookimpl
def golfbench_executors() -> list[ExecutorSpec]:
    """Offer the executor of this machine."""
    return [
        ExecutorSpec(
            name="local",
            factory="golfbench.oracles.local:LocalExecutor",
            summary="This machine: engines in processes of their own, kept warm.",
            parameters=(Parameter("workers", DEFAULT_WORKERS, "Calls at a time."),),
        )
    ]
