"""Ten real conformers, a small PaiNN, and MMFF94 as the oracle: real parts that answer in microseconds."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golfbench.contracts import Label, LabelledMolecule
from golfbench.learning.loop import Golf, Parts
from golfbench.learning.opening import new_network
from golfbench.learning.pool import fit_references
from golfbench.learning.potential import Potential
from golfbench.learning.settings import GolfSettings, TrainSettings
from golfbench.loggers import NO_LOG, Log
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef, OptimizerSpec, SelectionSpec

PAINN = ComponentRef("painn", {"preset": "small", "features": 16, "interactions": 1, "radial": 8})
MMFF94 = ComponentRef("mmff94")


@pytest.fixture(scope="session")
def labelled() -> list[LabelledMolecule]:
    """Ten GFN2-xTB labels, two conformers each of the five smallest molecules of druglike-mini."""
    conformers: dict[str, list[LabelledMolecule]] = {}
    for item in sorted(open_dataset("druglike-mini").initial, key=lambda item: (len(item.molecule), item.molecule.id)):
        conformers.setdefault(item.molecule.id.rpartition("/")[0], []).append(item)
    return [item for name in list(conformers)[:5] for item in conformers[name][:2]]


@pytest.fixture(scope="session")
def mmff_labelled(labelled: list[LabelledMolecule]) -> list[LabelledMolecule]:
    """The same geometries under MMFF94."""
    oracle = open_oracle(MMFF94, registry())
    return [LabelledMolecule(i.molecule, Label(*oracle.label(i.molecule), "MMFF94")) for i in labelled]


def build(labels: list[LabelledMolecule], seed: int = 0) -> Potential:
    return Potential(new_network(PAINN, seed), *fit_references(labels, {}, None))


@pytest.fixture(scope="session")
def make_potential() -> Callable[..., Potential]:
    """Build a small PaiNN with the references and the scale of a training set."""
    return build


class Script(Executor):
    """Runs calls in this thread, in order; ``act`` may answer the k-th call (from 0) itself or raise."""

    def __init__(self, act: Callable[[int], dict[str, Any] | None] = lambda call: None) -> None:
        self.calls = 0
        self._act = act

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        number, self.calls = self.calls, self.calls + 1
        try:
            answer = self._act(number)
            future.set_result(function(*arguments) if answer is None else answer)
        except BaseException as error:  # noqa: BLE001 - as every executor does
            future.set_exception(error)
        return future


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script


class Bench:
    """One learning loop in a folder, that can be built again as after a crash."""

    def __init__(self, folder: Path, labels: list[LabelledMolecule]) -> None:
        self.folder, self.labels = folder, labels
        folder.mkdir(parents=True, exist_ok=True)

    def build(
        self,
        selection: Any = "golf",
        surrogate: Any = None,
        budget: int = 6,
        executor: Executor | None = None,
        restart: str = "initial",
        asks_oracle: bool = True,
        initial: list[LabelledMolecule] | None = None,
        log: Log = NO_LOG,
        **golf: Any,
    ) -> Golf:
        labels = self.labels if initial is None else initial
        self.service = OracleService(self.folder, executor or Script())
        if isinstance(selection, str):
            selection = registry().find(SelectionSpec, selection).create({})
        lbfgs = registry().find(OptimizerSpec, "lbfgs")
        settings = {
            "updates_per_label": 2,
            "parallel": 2,
            "steps": 4,
            "inner_steps": 2,
            "lag": 0,
            "restart": restart,
        } | golf
        parts = Parts(build(labels), lambda: lbfgs.create({}), selection, surrogate, MMFF94, self.service, asks_oracle)
        return Golf(
            parts,
            labels,
            GolfSettings(**settings),
            TrainSettings(batch_size=4),
            budget,
            force_max=0.02,
            seed=0,
            combination="probe",
            directory=self.folder / "checkpoints",
            log=log,
        )

    def ledger(self) -> list[dict[str, Any]]:
        """Return the lines of the ledger without what time and place decide."""
        self.service.close()
        lines = (self.folder / "oracle_calls.jsonl").read_text().splitlines()
        volatile = ("started_utc", "wall_s", "cpu_s", "awaited_s", "worker", "call_id")
        return [{k: v for k, v in json.loads(line).items() if k not in volatile} for line in lines]


@pytest.fixture
def bench(tmp_path: Path, mmff_labelled: list[LabelledMolecule]) -> Callable[[str], Bench]:
    return lambda name: Bench(tmp_path / name, mmff_labelled)


@pytest.fixture
def rough() -> Callable[..., float]:
    """A surrogate that rises with every second step or so, as an untrained network makes the real one do at once."""
    return lambda molecule: int(molecule.geometry_hash()[:8], 16) / 2**32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    np.random.seed(0)
    yield
    torch.set_num_threads(threads)
