"""The result of a check, and how checks are declared. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from golfbench.specs import Spec


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check measured; it passes when ``measured`` is not above ``tolerance``.

    Attributes:
        measured: The number.
        tolerance: The largest number that passes.
        unit: Unit of both.
        detail: What the number is of, or what is wrong.
    """

    measured: float
    tolerance: float
    unit: str
    detail: str = ""

    @classmethod
    def of_problems(cls, problems: Sequence[str], unit: str = "problems") -> Finding:
        """Return a finding that passes when there is no problem."""
        return cls(float(len(problems)), 0.0, unit, "; ".join(problems))


class CheckSkipped(Exception):  # noqa: N818 - it is no error
    """A check that does not apply here; the text says why."""


#: A check takes a bench (what its kind of component is examined with) and returns what it measured.
CheckFunction = Callable[[Any], Finding]
F = TypeVar("F", bound=CheckFunction)


def _always(spec: Spec) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Its name in reports, in kebab case.
        run: The check.
        needs: Checks that must pass before this one runs.
        when: Whether it applies to a component with that spec.
    """

    name: str
    run: CheckFunction
    needs: tuple[str, ...] = ()
    when: Callable[[Spec], bool] = _always

    @property
    def statement(self) -> str:
        """What passing it shows: the first line of its docstring."""
        return (self.run.__doc__ or self.name).strip().partition("\n")[0].rstrip(".")


def check(group: list[Check], *needs: str, when: Callable[[Spec], bool] = _always) -> Callable[[F], F]:
    """Add the decorated function to a group of checks; its name becomes the name of the check."""

    def declare(function: F) -> F:
        group.append(Check(function.__name__.replace("_", "-"), function, needs, when))
        return function

    return declare


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check of one component ended.

    Attributes:
        name: Name of the check.
        status: ``skipped`` when it could not be judged.
        measured: The number, ``None`` when there is none.
        tolerance: The largest number that passes, ``None`` when nothing was measured.
        unit: Unit of both.
        explanation: One line: what passing shows, and what is wrong.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    measured: float | None
    tolerance: float | None
    unit: str
    explanation: str

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.status == "passed"

    def __str__(self) -> str:
        numbers = "" if self.tolerance is None else f" {self.limit}"
        return f"{self.name}: {self.status}{numbers}: {self.explanation}"

    @property
    def limit(self) -> str:
        """The measured number beside its tolerance, for example ``3.1e-09 <= 1e-06 Hartree``."""
        if self.tolerance is None:
            return ""
        sign = "<=" if self.passed else ">"
        shown = "not finite" if self.measured is None else f"{self.measured:.2g}"
        return f"{shown} {sign} {self.tolerance:g} {self.unit}".rstrip()


def conclude(tested: Check, bench: Callable[[], Any]) -> CheckResult:
    """Run a check; any exception is a failure.

    Args:
        tested: The check.
        bench: Returns what it looks at; may raise too.
    """
    try:
        finding = tested.run(bench())
    except CheckSkipped as reason:
        return skipped(tested, str(reason))
    except Exception as error:  # noqa: BLE001 - a plugin's component may raise anything
        reason_line = " ".join(f"{type(error).__name__}: {error}".split())
        return CheckResult(tested.name, "failed", None, None, "", f"{tested.statement}: raised {reason_line}")
    passed = finding.measured <= finding.tolerance
    measured = finding.measured if math.isfinite(finding.measured) else None
    explanation = f"{tested.statement}: {finding.detail}" if finding.detail else tested.statement
    status: Literal["passed", "failed"] = "passed" if passed else "failed"
    return CheckResult(tested.name, status, measured, finding.tolerance, finding.unit, explanation)


def skipped(tested: Check, reason: str) -> CheckResult:
    """Return the result of a skipped check."""
    return CheckResult(tested.name, "skipped", None, None, "", reason)
