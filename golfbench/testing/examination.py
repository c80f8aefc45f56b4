"""Examining one component: its checks in order, each once; a check is skipped if one that it needs has failed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

from golfbench.errors import ConfigurationError, unknown_name
from golfbench.registry import KINDS, Registry, registry
from golfbench.specs import ModelSpec, Spec
from golfbench.testing import common
from golfbench.testing.results import Check, CheckResult, conclude, skipped
from golfbench.testing.subject import Subject

#: Where the checks of each kind are; those of models depend on whether the model can be trained.
_MODULES = {
    "model": "golfbench.testing.networks",
    "fixed model": "golfbench.testing.fixed_models",
    "oracle": "golfbench.testing.oracles",
    "optimizer": "golfbench.testing.optimizers",
    "selection": "golfbench.testing.selections",
    "dataset": "golfbench.testing.datasets",
    "executor": "golfbench.testing.executors",
    "learner": "golfbench.testing.learners",
    "logger": "golfbench.testing.loggers",
}


class Examination:
    """The checks of one component.

    A check runs when its result is asked for, after those that it needs; no check runs twice.

    Args:
        kind: ``model``, ``optimizer``, ``selection``, ``oracle``, ``dataset``, ``executor``, ``learner`` or ``logger``.
        reference: Name, with parameters if wanted: ``psi4:method=hf,basis=sto-3g``.
        found: Where to look; the installed plugins if not given.

    Raises:
        ConfigurationError: If there is no such component or parameter.
    """

    def __init__(self, kind: str, reference: str, found: Registry | None = None) -> None:
        if kind not in KINDS:
            raise ConfigurationError(unknown_name("kind", kind, KINDS))
        source = found or registry()
        component = source.component(KINDS[kind], reference)
        component.resolved()
        self.subject = Subject(kind, component.spec, component.ref, source)
        self._results: dict[str, CheckResult] = {}
        self._bench: Any = None

    @property
    def spec(self) -> Spec:
        """The spec of the component."""
        return self.subject.spec

    @cached_property
    def _module(self) -> Any:
        fixed = isinstance(self.spec, ModelSpec) and not self.spec.trainable
        return importlib.import_module(_MODULES["fixed model" if fixed else self.subject.kind])

    @cached_property
    def checks(self) -> dict[str, Check]:
        """Every check that applies to this component, by name, in order."""
        listed: list[Check] = [*common.CHECKS, *self._module.CHECKS]
        return {c.name: c for c in listed if c.when(self.spec)}

    def result(self, name: str) -> CheckResult:
        """Return the result of one check."""
        if name not in self._results:
            self._results[name] = self._run(self.checks[name])
        return self._results[name]

    def _run(self, tested: Check) -> CheckResult:
        of_its_kind = tested not in common.CHECKS
        needs = (*tested.needs, "factory") if of_its_kind else tested.needs
        for need in needs:
            if need in self.checks and not self.result(need).passed:
                return skipped(tested, f"not judged, because '{need}' did not pass")
        return conclude(tested, self._ready if of_its_kind else lambda: self.subject)

    def _ready(self) -> Any:
        """Return what the checks of this kind look at, made with the first of them."""
        if self._bench is None:
            self._bench = self._module.Bench(self.subject)
        return self._bench

    def results(self) -> Iterator[CheckResult]:
        """Yield the result of every check, in order."""
        for name in self.checks:
            yield self.result(name)

    def close(self) -> None:
        """End what the examination has started."""
        if hasattr(self._bench, "close"):
            self._bench.close()
        self._bench = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()
