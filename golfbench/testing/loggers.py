"""Checks of loggers: that they keep what they are given, at any value, and never disturb the training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from golfbench.contracts import Logger
from golfbench.specs import LoggerSpec
from golfbench.testing.probe import changed, global_state
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
#: What a factory is called with beside the parameters.
RESERVED = frozenset({"folder", "run", "combination"})
#: Time that a point of a log may take, ms: a hundredth of the time of the updates between two points, at 25 ms each.
MOST_MS = 5.0
_POINTS = 100
_VALUES = {"train/loss_of_scaled_targets": 0.5, "train/learning_rate": 1e-3, "train/labels": 64.0}


class Bench:
    """Opens logs.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def open(self, folder: Path, combination: str = "net|walker|golf|oracle|seed=0") -> Logger:
        """Begin a log, or go on with it, as a run does."""
        spec = self.subject.spec
        assert isinstance(spec, LoggerSpec)
        folder.mkdir(parents=True, exist_ok=True)
        logger: Logger = spec.open(self.subject.ref.parameters, folder, "some-run-0123456789", combination)
        return logger


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def _size(content: dict[str, bytes]) -> int:
    return sum(map(len, content.values()))


@check(CHECKS)
def reserved(bench: Bench) -> Finding:
    """No parameter has a name that the suite calls the factory with itself (folder, run, combination)."""
    taken = [p.name for p in bench.subject.spec.parameters if p.name in RESERVED]
    return Finding.of_problems(taken, "parameters")


@check(CHECKS)
def writing(bench: Bench) -> Finding:
    """What it is given is in the log's folder, or beside it, when it is closed; the values are not changed."""
    values, problems = dict(_VALUES), []
    with _scratch() as scratch:
        with closing(bench.open(scratch / "one")) as logger:
            for step in (0, 20, 40):
                logger.scalars(step, values)
        if not _size(_content(scratch)):
            problems.append("nothing was written")
    if values != _VALUES:
        problems.append("the values are others afterwards")
    return Finding.of_problems(problems)


@check(CHECKS, "writing")
def odd_values(bench: Bench) -> Finding:
    """NaN, infinities, whole numbers, no number at all and a step of 10¹² are taken."""
    odd = {"nan": float("nan"), "up": float("inf"), "down": float("-inf"), "whole": 3, "small": 5e-324, "big": 1e300}
    refused = []
    with _scratch() as scratch, closing(bench.open(scratch / "one")) as logger:
        for step, values in enumerate([{}, *({name: value} for name, value in odd.items())]):
            try:
                logger.scalars(step, values)
            except Exception as error:  # noqa: BLE001 - a plugin's logger may raise anything
                refused.append(f"{values}: {type(error).__name__}: {error}")
        logger.scalars(10**12, _VALUES)
    return Finding.of_problems(refused, "values")


@check(CHECKS, "writing")
def closed_twice(bench: Bench) -> Finding:
    """It may be closed twice, and without having been given anything."""
    with _scratch() as scratch:
        told = bench.open(scratch / "one")
        told.scalars(1, _VALUES)
        told.close()
        told.close()
        silent = bench.open(scratch / "two")
        silent.close()
        silent.close()
    return Finding.of_problems([])


@check(CHECKS, "writing")
def resumed(bench: Bench) -> Finding:
    """Opened again it goes on from an earlier step, and loses nothing of what is there."""
    with _scratch() as scratch:
        for steps in ((0, 20, 40), (40, 60)):
            before = _content(scratch)
            with closing(bench.open(scratch / "one")) as logger:
                for step in steps:
                    logger.scalars(step, _VALUES)
        after = _content(scratch)
    problems = [] if after != before else ["the second part is not in it"]
    # A database may have room in its pages, and need not grow.
    return Finding.of_problems([*problems, *["the log has shrunk"] * (_size(after) < _size(before))])


@check(CHECKS, "writing")
def one_after_the_other(bench: Bench) -> Finding:
    """The logs of two combinations of one run, one opened after the other is closed, are both kept."""
    contents = []
    with _scratch() as scratch:
        for name in ("one", "two"):
            with closing(bench.open(scratch / name, name)) as logger:
                logger.scalars(1, _VALUES)
            contents.append(_content(scratch))
    return Finding.of_problems([] if contents[1] != contents[0] else ["the second log is not kept"])


@check(CHECKS, "writing")
def no_trace(bench: Bench) -> Finding:
    """Logging and closing changes nothing that other components share (seeds, environment, warnings, log handlers)."""
    with _scratch() as scratch:
        before = global_state()
        with closing(bench.open(scratch / "one")) as logger:
            logger.scalars(1, _VALUES)
        found = changed(before, global_state())
    return Finding.of_problems(found, "changes")


@check(CHECKS, "writing")
def quick(bench: Bench) -> Finding:
    """A point of a log takes so little time that training is not slowed down."""
    values = {f"train/value_{k}": float(k) for k in range(8)}
    with _scratch() as scratch, closing(bench.open(scratch / "one")) as logger:
        logger.scalars(0, values)  # the first one may open its files
        started = time.perf_counter()
        for step in range(1, _POINTS + 1):
            logger.scalars(step, values)
        each = 1000.0 * (time.perf_counter() - started) / _POINTS
    return Finding(each, MOST_MS, "ms", "for eight values")
