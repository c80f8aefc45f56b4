"""L-BFGS as GOLF was published with: torch's, without line search and without a bound on displacements."""

from __future__ import annotations

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.history import History
from golfbench_optimizers.vectors import dot, finite_rows, flat, padded_width, strayed, unflat

#: What ``torch.optim.LBFGS`` compares with, in Hartree and Å: s·y above which a pair is kept, the largest gradient
#: component at which it stops, and the predicted energy change below which it no longer moves.
CURVATURE, GRADIENT, CHANGE = 1e-10, 1e-7, 1e-9


class GolfLBFGS:
    """The external optimizer of GOLF (Tsypin et al. 2024, arXiv 2311.06295): ``torch.optim.LBFGS`` at its defaults.

    The published driver keeps one such optimizer per trajectory and calls it once per environment step, for
    ``max_iter=5`` updates at learning rate 1, with a history of 100 that lasts over all environment steps and no line
    search. The first direction is the force times min(1, 1/|g|₁); from then on whole quasi-Newton steps are taken,
    of any length. torch evaluates the force once per update, and where an environment step ends early it evaluates
    the same point again, so the points are those of one run of updates: the state after environment step k is
    update 5k. A molecule that torch would not move any more stays where it is.

    Args:
        rate: torch's ``lr``.
        memory: torch's ``history_size``.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, rate: float = 1.0, memory: int = 100) -> None:
        if rate <= 0 or memory < 1:
            raise ConfigurationError("golf-lbfgs: rate must be above 0, memory at least 1")
        self.rate = rate
        self.memory = memory

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room: rings (slots, memory, width), where width is 3·atoms and padding."""
        width = padded_width(3 * atoms)
        self._history = History(slots, self.memory, width, device)
        self._displacement = torch.zeros(slots, width, dtype=torch.float64, device=device)
        self._gradient = torch.zeros_like(self._displacement)
        self._expected = torch.full((slots, atoms, 3), torch.nan, dtype=torch.float64, device=device)
        self._moved = torch.zeros(slots, dtype=torch.bool, device=device)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the molecule that was in ``slot``."""
        self._history.forget(slot)
        self._moved[slot] = False
        self._expected[slot] = torch.nan

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; a molecule with a force that is not finite stays, and starts again."""
        usable = finite_rows(forces)
        g = flat(torch.where(usable[:, None, None], -forces, 0.0))
        moved = self._moved[slots]
        self._history.forget(slots[~usable])
        self._displacement[slots] += flat(strayed(positions, self._expected[slots]))
        self._remember(slots, g, moved & usable)
        direction = -self._history.solve(slots, g, lambda q: q * self._history.scale(slots, 1.0)[:, None])
        length = torch.where(moved, 1.0, 1.0 / flat_norm(g).clamp(min=1.0)) * self.rate
        moving = (g.abs().amax(1) > GRADIENT) & (dot(direction, g) <= -CHANGE) & finite_rows(direction)
        displacement = torch.where(moving[:, None], length[:, None] * direction, 0.0)
        self._displacement[slots] = displacement
        self._gradient[slots] = g
        self._moved[slots] = usable
        proposed = unflat(displacement, forces)
        self._expected[slots] = positions + proposed
        return proposed

    def _remember(self, slots: torch.Tensor, g: torch.Tensor, moved: torch.Tensor) -> None:
        s = self._displacement[slots]
        y = g - self._gradient[slots]
        curvature = dot(s, y)
        keep = moved & (curvature > CURVATURE)
        self._history.add(slots[keep], s[keep], y[keep], curvature[keep])


def flat_norm(g: torch.Tensor) -> torch.Tensor:
    """Return Σ|g| (m,) of vectors (m, width)."""
    return dot(g.abs(), torch.ones_like(g))
