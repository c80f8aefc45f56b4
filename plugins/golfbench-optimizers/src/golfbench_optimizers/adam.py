"""Adam as a geometry optimizer."""

from __future__ import annotations

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.vectors import cap, finite_rows

#: Decay of the mean gradient and of the mean square, and what keeps a coordinate without force still: the published
#: values, Kingma & Ba 2015 (arXiv 1412.6980). The last is in Hartree/Å here, below any force that is measured.
MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """d = rate · m̂ / (√v̂ + ε) with means m̂ of the force and v̂ of its square (``golfbench.contracts.Optimizer``).

    Each coordinate moves by about ``rate`` as long as its force keeps its sign, at any stiffness. Means are
    taken per Cartesian component, so the path of a molecule depends on its orientation.

    Args:
        rate: Displacement of a coordinate in the first step, Å.
        max_step: Largest displacement of an atom, Å.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, rate: float = 0.03, max_step: float = 0.2) -> None:
        if rate <= 0 or max_step <= 0:
            raise ConfigurationError("adam: rate and max_step must be above 0")
        self.rate = rate
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for the means, (slots, atoms, 3), and for how much of them is still missing, (slots,)."""
        self._mean = torch.zeros(slots, atoms, 3, dtype=torch.float64, device=device)
        self._square = torch.zeros_like(self._mean)
        self._mean_missing = torch.ones(slots, dtype=torch.float64, device=device)
        self._square_missing = torch.ones_like(self._mean_missing)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the molecule that was in ``slot``."""
        self._restart(torch.tensor([slot]))

    def _restart(self, slots: torch.Tensor) -> None:
        self._mean[slots] = 0.0
        self._square[slots] = 0.0
        self._mean_missing[slots] = 1.0
        self._square_missing[slots] = 1.0

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; a molecule with a force that is not finite stays, and starts again."""
        usable = finite_rows(forces)
        forces = torch.where(usable[:, None, None], forces, 0.0)
        self._mean[slots] = MEAN_DECAY * self._mean[slots] + (1 - MEAN_DECAY) * forces
        self._square[slots] = SQUARE_DECAY * self._square[slots] + (1 - SQUARE_DECAY) * forces * forces
        self._mean_missing[slots] *= MEAN_DECAY
        self._square_missing[slots] *= SQUARE_DECAY
        mean = self._mean[slots] / (1 - self._mean_missing[slots])[:, None, None]
        square = self._square[slots] / (1 - self._square_missing[slots])[:, None, None]
        self._restart(slots[~usable])
        moved = torch.where(usable[:, None, None], self.rate * mean / (square.sqrt() + EPSILON), 0.0)
        return cap(moved, self.max_step)
