"""Any oracle as a fixed model: for reference rows, for delta learning, and for minima under the oracle itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from golfbench.batches import Batch
from golfbench.contracts import Evaluation, Label, Oracle
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import Named

#: Labels molecules in order, with a failure in the place of a label.
LabelAll = Callable[[Sequence[Molecule]], Sequence[Label | OracleError]]


class OracleModel:
    """A ``contracts.Model`` whose energies and forces are an oracle's.

    Args:
        label_all: Labels the molecules of a batch.
    """

    cutoff: float | None = 0.0  # it looks at molecules, not at pairs

    def __init__(self, label_all: LabelAll) -> None:
        self._label_all = label_all

    @classmethod
    def of(cls, oracle: Oracle, method: str) -> OracleModel:
        """Wrap an oracle that is called directly: a surrogate or a fixed reference, never the genuine one."""

        def label_all(molecules: Sequence[Molecule]) -> list[Label | OracleError]:
            return [_label(oracle, molecule, method) for molecule in molecules]

        return cls(label_all)

    @classmethod
    def of_workers(cls, oracle: Named, method: str, workers: int) -> OracleModel:
        """Wrap an engine that runs in several processes, which stay warm: the molecules of a batch are asked at once.

        Calls are not counted: for fixed references, and for bases outside a run.

        Args:
            oracle: Its name and parameters.
            method: Its level of theory.
            workers: Processes.
        """
        engines = threading.local()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="engine")

        def ask(molecule: Molecule) -> Label | OracleError:
            if not hasattr(engines, "oracle"):
                engines.oracle = open_oracle(oracle, registry())
            return _label(engines.oracle, molecule, method)

        return cls(lambda molecules: list(pool.map(ask, molecules)))

    def energy_forces(self, batch: Batch) -> Evaluation:
        """Evaluate a batch; see ``contracts.Model``."""
        energies = torch.full((len(batch),), torch.nan, dtype=torch.float64)
        forces = [torch.full((size, 3), torch.nan, dtype=torch.float64) for size in batch.sizes]
        errors: dict[int, Exception] = {}
        for row, answer in enumerate(self._label_all(batch.current_molecules())):
            if isinstance(answer, OracleError):
                errors[row] = answer
                continue
            energies[row] = answer.energy
            forces[row] = torch.tensor(answer.forces)
        device = batch.positions.device
        return Evaluation(energies.to(device), torch.cat(forces).to(device), errors)


def _label(oracle: Oracle, molecule: Molecule, method: str) -> Label | OracleError:
    try:
        energy, forces = oracle.label(molecule)
    except OracleError as error:
        return error
    return Label(energy, forces, method)
