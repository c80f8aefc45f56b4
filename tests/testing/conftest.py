import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from golfbench.registry import ENTRY_POINT_GROUP, Registry
from golfbench.testing import CheckResult, Examination
from golfbench.testing.common import CHECKS

HERE = Path(__file__).parent
#: What is left of an examination: name of each check -> result.
Results = dict[str, CheckResult]


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The deliberately wrong components beside this file; worker processes find them too."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))
    with np.errstate():  # one of them changes it
        yield Registry([EntryPoint("wrong", "wrong_plugin", ENTRY_POINT_GROUP)], strict=True)
    for name in ("wrong_plugin", "wrong_components", "wrong_networks"):
        sys.modules.pop(name, None)


@pytest.fixture
def examine() -> Callable[..., Results]:
    """Run every check of a component, or only those of its kind, which need no fresh process with torch in it."""

    def run(kind: str, reference: str, found: Registry | None = None, common: bool = True) -> Results:
        with Examination(kind, reference, found) as examination:
            if not common:
                examination.checks = {n: c for n, c in examination.checks.items() if c not in CHECKS}
            return {result.name: result for result in examination.results()}

    return run


@pytest.fixture
def failed() -> Callable[[Results], set[str]]:
    """Return the names of the checks that failed."""
    return lambda results: {name for name, result in results.items() if result.status == "failed"}
