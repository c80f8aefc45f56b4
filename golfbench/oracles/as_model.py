"""Any oracle as a fixed model: for reference rows, for delta learning, and for minima under the oracle itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from golfbench.batches import Batch
from golfbench.contracts import Evaluation, Label, Oracle
from golfbench.errors import OracleError
from golfbench.molecules import Molecule

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
