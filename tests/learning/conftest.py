"""Ten real conformers, a small PaiNN, and MMFF94 as the oracle: real parts that answer in microseconds."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golfbench.contracts import Label, LabelledMolecule, Model
from golfbench.learning.acquisition import Acquisition
from golfbench.learning.explorer import Walks
from golfbench.learning.learner import Learner, Single, Task
from golfbench.learning.loop import LearningLoop, Parts
from golfbench.learning.opening import new_potential
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.settings import GolfSettings, TrainSettings
from golfbench.learning.starts import Starts
from golfbench.learning.targets import InitialSet
from golfbench.loggers import NO_LOG, Log
from golfbench.minimization import StoppingRule
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


def build(labels: list[LabelledMolecule], seed: int = 0, members: int = 1, bases: Sequence[Model] = ()) -> Potential:
    initial = InitialSet.of(labels, bases, {})
    return new_potential(PAINN, seed, members, initial.references, initial.scale, bases)


@pytest.fixture(scope="session")
def make_potential() -> Callable[..., Potential]:
    """Build a small PaiNN, or a committee of them, with the references and the scale of a training set."""
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
        make_learner: Callable[[Task], Learner] = Single,
        members: int = 1,
        sees: frozenset[str] = frozenset(),
        **golf: Any,
    ) -> LearningLoop:
        labels = self.labels if initial is None else initial
        self.service = OracleService(self.folder, executor or Script())
        if isinstance(selection, str):
            selection = registry().find(SelectionSpec, selection).create({})
        lbfgs = registry().find(OptimizerSpec, "lbfgs")
        acquisition = Acquisition("probe", selection, sees)
        given = {
            "updates_per_label": 2,
            "parallel": 2,
            "steps": 4,
            "inner_steps": 2,
            "lag": 0,
            "restart": restart,
        } | golf
        settings = GolfSettings(**given)
        potential = build(labels, members=members)
        updates = budget * settings.updates_per_label
        pool = Pool(potential, labels, settings.initial_share, settings.force_norm_guard_hartree_per_angstrom)
        parts = Parts(
            make_learner(Task(potential, TrainSettings(batch_size=4), updates, 0, "golf/probe", log)),
            pool,
            Walks(
                acquisition,
                lambda: lbfgs.create({}),
                StoppingRule(0.02, settings.steps * settings.inner_steps),
                settings.inner_steps,
                surrogate,
            ),
            acquisition,
            MMFF94,
            self.service,
            asks_oracle,
            Starts(pool),
        )
        return LearningLoop(parts, settings, budget, 0, "probe", self.folder / "checkpoints", log)

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
