"""Oracles that sleep or misbehave, known to this process and to the workers that it starts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golfbench.molecules import Molecule
from golfbench.registry import registry

ENGINES = Path(__file__).parents[1] / "tests" / "engines"


@pytest.fixture(scope="module")
def engines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ENGINES)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ENGINES), os.environ.get("PYTHONPATH")])))
        registry.cache_clear()
        yield
    registry.cache_clear()


@pytest.fixture(scope="session")
def h2() -> Callable[..., dict[str, Any]]:
    """Return a molecule as calls take it."""

    def make(id: str = "good", x: float = 0.25) -> dict[str, Any]:
        return Molecule(id, np.array([1, 1]), np.array([[x, 0, 0], [x, 0, 0.74]])).to_json()

    return make
