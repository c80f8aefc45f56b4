"""For the tests of the oracle service: engines that wait, climb ladders and fail; molecules; accounts."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golfbench.contracts import FloatArray
from golfbench.errors import OracleError
from golfbench.hookspecs import hookimpl
from golfbench.molecules import Molecule
from golfbench.oracles.ledger import OracleCall, read_calls
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import Plugin, registry
from golfbench.specs import ComponentRef, OracleSpec, Parameter

HERE = Path(__file__).parent
XTB, MMFF94, GATE, LADDER, BAD = (ComponentRef(name) for name in ("gfn2-xtb", "mmff94", "gate", "ladder", "bad"))
TRAINING = Account("painn|lbfgs|golf|gfn2-xtb|seed=0", "after", "training")
EVALUATION = Account("painn|lbfgs|golf|gfn2-xtb|seed=0", "after", "evaluation")
OTHER = Account("painn|lbfgs|random|gfn2-xtb|seed=0", "after", "training")
WATER = Molecule(
    "water", np.array([8, 1, 1]), np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]), smiles="O"
)


def waters(count: int) -> list[Molecule]:
    return [WATER.at(WATER.positions * (1 + 0.002 * k)) for k in range(count)]


def hydrogen(name: str) -> Molecule:
    """What ``misbehaving_engines`` does depends on the id."""
    x = sum(name.encode()) / 1000
    return Molecule(name, np.array([1, 1]), np.array([[x, 0, 0], [x, 0, 0.74]]))


def raised(name: str, height: float) -> Molecule:
    return hydrogen(name).at(hydrogen(name).positions + np.array([0, 0, height]))


class Gate:
    """Answers once the gate is open; the energy is the height of atom 0, and one above the ceiling is a failure."""

    version = "gate 1.0"
    opened = threading.Event()
    asked: list[str] = []  # noqa: RUF012 (shared on purpose: each thread has an engine of its own)

    def __init__(self, ceiling: float = 1.0) -> None:
        self.ceiling = ceiling

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        self.asked.append(molecule.id)
        assert self.opened.wait(20)
        if molecule.positions[0, 2] > self.ceiling:
            raise OracleError(f"{molecule.id}: too high", "not_converged")
        return float(molecule.positions[0, 2]), np.zeros((len(molecule), 3))


def gate(ceiling: float = 1.0) -> Gate:
    return Gate(ceiling)


class Plugins:
    """Engines for these tests, offered as a plugin offers them."""

    @hookimpl
    def golfbench_oracles(self) -> list[OracleSpec]:
        common = {"summary": "For tests.", "method": "none"}
        basis = Parameter("factor", 1.0, "Factor of the energy.")
        engine = "misbehaving_engines:Engine"
        return [
            OracleSpec(name="gate", factory=f"{__name__}:gate", isolated=False, elements=frozenset({1, 8}), **common),
            OracleSpec(
                name="ladder",
                factory=f"{__name__}:gate",
                isolated=False,
                parameters=(Parameter("ceiling", 1.0, "Highest height.", technical=True),),
                fallbacks=({"ceiling": 2.0}, {"ceiling": 3.0}),
                **common,
            ),
            OracleSpec(name="slow", factory=f"{__name__}:gate", isolated=False, slow=True, **common),
            OracleSpec(name="bad", factory=engine, parameters=(basis,), **common),
            OracleSpec(name="absent", factory="no_such_engine:make", isolated=False, install_hint="pip x", **common),
        ]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setattr(Gate, "asked", [])
    monkeypatch.setattr(Gate, "opened", threading.Event())
    registry.cache_clear()
    registry().register(Plugins(), Plugin("tests", "tests", "1"))
    yield
    Gate.opened.set()
    registry.cache_clear()


@pytest.fixture
def open_service(plugins: None, tmp_path: Path) -> Iterator[Any]:
    opened: list[OracleService] = []

    def open_one(workers: int = 1, executor: Executor | None = None) -> OracleService:
        opened.append(OracleService(tmp_path, executor, workers))
        return opened[-1]

    yield open_one
    Gate.opened.set()
    for service in opened:
        service.close()


def calls(directory: Path) -> list[OracleCall]:
    return list(read_calls(directory / "oracle_calls.jsonl"))


def lines(directory: Path) -> list[tuple[str, str, str]]:
    """Selection, purpose and outcome of each line."""
    return [(c.combination.split("|")[2], c.purpose, c.outcome) for c in calls(directory)]
