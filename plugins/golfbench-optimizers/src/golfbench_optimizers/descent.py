"""Gradient descent with momentum."""

from __future__ import annotations

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.vectors import cap, finite_rows, strayed


class GradientDescent:
    """d_t = rate · F_t + momentum · d_{t-1}, capped per atom (``golfbench.contracts.Optimizer``).

    The stiffest motion of a drug molecule, a C=O or S=O stretch, has a curvature of up to 6.7 Hartree/Å² (MMFF94):
    without momentum a rate above 2/6.7 = 0.30 Å²/Hartree oscillates. Momentum uses the displacement after
    the cap, and as far as the molecule really went, so that it does not grow while steps are being shortened.

    Args:
        rate: Displacement per force, Å²/Hartree.
        momentum: Share of the last displacement that is added.
        max_step: Largest displacement of an atom, Å.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, rate: float = 0.2, momentum: float = 0.0, max_step: float = 0.2) -> None:
        if rate <= 0 or max_step <= 0 or not 0 <= momentum < 1:
            raise ConfigurationError("gradient-descent: rate and max_step must be above 0, momentum in [0, 1)")
        self.rate = rate
        self.momentum = momentum
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for the last displacements, and where they led, (slots, atoms, 3)."""
        self._last = torch.zeros(slots, atoms, 3, dtype=torch.float64, device=device)
        self._expected = torch.full_like(self._last, torch.nan)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the displacement of the molecule that was in ``slot``."""
        self._last[slot], self._expected[slot] = 0.0, torch.nan

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; zero for a molecule with a force that is not finite."""
        last = self._last[slots] + strayed(positions, self._expected[slots])
        displacements = cap(self.rate * forces + self.momentum * last, self.max_step)
        displacements[~finite_rows(forces)] = 0.0
        self._last[slots], self._expected[slots] = displacements, positions + displacements
        return displacements
