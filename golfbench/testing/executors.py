"""Checks of executors: that they do what ``concurrent.futures.Executor`` documents."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from threading import Event

from golfbench.errors import OracleError
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
#: How long an answer that takes no time may take, s: a cluster may have to start a worker.
PATIENCE_S = 120.0
_TASKS = 20


class Bench:
    """Makes fresh executors.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """Give a fresh executor and shut it down."""
        executor: Executor = self.subject.create()
        try:
            yield executor
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def double(value: dict[str, float]) -> dict[str, float]:
    """Double a number: plain data in, plain data out, as in an oracle call."""
    return {"value": 2 * value["value"]}


def fail(text: str) -> None:
    """Fail as an oracle call does.

    Raises:
        OracleError: Always.
    """
    raise OracleError(text, "not_converged")


@check(CHECKS)
def results(bench: Bench) -> Finding:
    """Every call submitted comes back with its own result."""
    with bench.open() as executor:
        futures = [executor.submit(double, {"value": float(k)}) for k in range(_TASKS)]
        wait(futures, timeout=PATIENCE_S)
        wrong = [f"call {k}" for k, f in enumerate(futures) if not f.done() or f.result() != {"value": 2.0 * k}]
    return Finding.of_problems(wrong, "calls")


@check(CHECKS, "results")
def exceptions(bench: Bench) -> Finding:
    """The exception of a call comes back with its own type, and the next call is answered."""
    problems = []
    with bench.open() as executor:
        error = executor.submit(fail, "no convergence").exception(PATIENCE_S)
        if not isinstance(error, OracleError) or str(error) != "no convergence":
            problems.append(f"raised {error!r}")
        if executor.submit(double, {"value": 1.0}).result(PATIENCE_S) != {"value": 2.0}:
            problems.append("the next call is not answered")
    return Finding.of_problems(problems)


@check(CHECKS, "results")
def callbacks(bench: Bench) -> Finding:
    """A callback is called when the call is done, and at once if it is added afterwards."""
    told = Event()
    with bench.open() as executor:
        future: Future[dict[str, float]] = executor.submit(double, {"value": 1.0})
        future.add_done_callback(lambda _: told.set())
        in_time = told.wait(PATIENCE_S)
        late = []
        future.add_done_callback(lambda done: late.append(done.result()))
    problems = [] if in_time else ["it was never told"]
    return Finding.of_problems(problems if late else [*problems, "it was not told afterwards"])


@check(CHECKS, "results")
def shutdown(bench: Bench) -> Finding:
    """Shut down, it first ends what was submitted, then refuses calls, and may be shut down again."""
    executor: Executor = bench.subject.create()
    futures = [executor.submit(double, {"value": float(k)}) for k in range(_TASKS)]
    executor.shutdown(wait=True)
    problems = [f"call {k} is not done" for k, future in enumerate(futures) if not future.done()]
    try:
        executor.submit(double, {"value": 1.0})
        problems.append("it still takes calls")
    except RuntimeError:
        pass
    executor.shutdown(wait=True)
    return Finding.of_problems(problems)
