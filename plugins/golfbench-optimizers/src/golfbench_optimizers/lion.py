"""Lion as a geometry optimizer."""

from __future__ import annotations

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.vectors import cap, finite_rows

#: Weight of the mean in the direction, and decay of the mean: those of Chen et al. 2023 (arXiv 2302.06675).
WEIGHT, MEAN_DECAY = 0.9, 0.99


class Lion:
    """d = rate · sign(0.9 m + 0.1 F) with the mean force m (``golfbench.contracts.Optimizer``).

    Every coordinate moves by the whole rate in every step, towards the minimum or past it, so that a walk at a constant
    rate ends about that far from it. As usual with Lion, the rate therefore falls with time: by ``decay`` per
    step, and no coordinate can move farther than rate / (1 - decay) in all.

    Args:
        rate: Displacement of a coordinate in the first step, Å.
        decay: Factor between the rates of two steps; 1 keeps the rate.
        max_step: Largest displacement of an atom, Å.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, rate: float = 0.05, decay: float = 0.97, max_step: float = 0.2) -> None:
        if rate <= 0 or max_step <= 0 or not 0 < decay <= 1:
            raise ConfigurationError("lion: rate and max_step must be above 0, decay in (0, 1]")
        self.rate = rate
        self.decay = decay
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for the means, (slots, atoms, 3), and the rates, (slots,)."""
        self._mean = torch.zeros(slots, atoms, 3, dtype=torch.float64, device=device)
        self._rate = torch.zeros(slots, dtype=torch.float64, device=device)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Reset ``slot`` for a new molecule."""
        self._restart(torch.tensor([slot]))

    def _restart(self, slots: torch.Tensor) -> None:
        self._mean[slots] = 0.0
        self._rate[slots] = self.rate

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; a molecule with a force that is not finite stays, and starts again."""
        usable = finite_rows(forces)
        forces = torch.where(usable[:, None, None], forces, 0.0)
        mean, rate = self._mean[slots], self._rate[slots]
        direction = (WEIGHT * mean + (1 - WEIGHT) * forces).sign()
        self._mean[slots] = MEAN_DECAY * mean + (1 - MEAN_DECAY) * forces
        self._rate[slots] = self.decay * rate
        self._restart(slots[~usable])
        return cap(torch.where(usable, rate, 0.0)[:, None, None] * direction, self.max_step)
