"""Molecules, a temporary directory that must be empty at the end, and Psi4, where it is installed."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from golfbench.errors import ComponentMissingError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef
from golfbench_psi4 import engine
from golfbench_psi4.location import LOCATION_VARIABLE, Installation

LEAST_MEMORY = 300 * 10**6


@pytest.fixture(scope="session")
def psi4() -> Installation:
    """Where Psi4 is; skips without it."""
    location = os.environ.get(LOCATION_VARIABLE, "")
    try:
        engine.start_driver(location, 1, LEAST_MEMORY).stop()
    except ComponentMissingError as error:
        pytest.skip(f"needs Psi4: {error}")
    return engine._found[location]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes temporary directories."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def open_psi4(psi4: Installation, scratch: Path) -> Iterator[Callable[..., CheckedOracle]]:
    """Open oracles, and see to it that they leave neither a process nor a file behind."""
    opened: list[CheckedOracle] = []

    def open_one(text: str = "psi4:method=hf,basis=sto-3g", **limits: Any) -> CheckedOracle:
        opened.append(open_oracle(ComponentRef.parse(text), registry(), **limits))
        return opened[-1]

    yield open_one
    for oracle in opened:
        oracle.close()
    assert drivers() == []
    assert list(scratch.iterdir()) == []


def drivers() -> list[psutil.Process]:
    """Return the processes below this one that run the driver, dead ones aside."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(part.endswith("golfbench_psi4/driver.py") for part in process.cmdline()):
                found.append(process)
    return found


def wait_until(condition: Callable[[], Any], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def water() -> Molecule:
    return Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, -0.06], [0, 0.79, 0.5], [0.05, -0.79, 0.51]]))


@pytest.fixture(scope="session")
def ring() -> Molecule:
    """Benzene, which keeps Psi4 busy for many seconds at wB97X-D/def2-SVP."""
    angles = np.arange(6) * np.pi / 3
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    return Molecule("ring", np.array([6] * 6 + [1] * 6), np.concatenate([1.39 * circle, 2.48 * circle]))
