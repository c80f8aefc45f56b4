"""Limited-memory BFGS for many molecules at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV
from golfbench_optimizers.history import History
from golfbench_optimizers.vectors import cap, dot, finite_rows, flat, padded_width, unflat

#: Inverse curvature (Å²/Hartree) assumed before anything is known. 70 eV/Å² (2.6 Hartree/Å²) is the initial guess of
#: ASE's quasi-Newton optimizers: near the stiffest bond stretches, so that the first step falls short of the
#: minimum along most directions and passes it along none by much.
FIRST_INVERSE_CURVATURE = HARTREE_TO_EV / 70.0
#: A pair is kept when cos(s, y) is above this: below, rounding decides the sign of the curvature.
CURVATURE_COSINE = 1e-10


class LBFGS:
    """L-BFGS by the two-loop recursion (Nocedal & Wright, Algorithm 7.4), without line search.

    Every step costs one force call. Stored per slot, in float64: up to ``memory`` pairs of displacement s and gradient
    change y in a ring, the number of pairs ever stored, and the last positions and gradient. The inverse Hessian
    starts from s·y / y·y of the newest pair (ibid., Eq. 7.20), or from ``FIRST_INVERSE_CURVATURE`` without one. A
    direction that is not finite or does not go downhill drops the pairs of the molecule, and the step is that of
    the initial inverse Hessian alone.

    Args:
        memory: Pairs kept.
        max_step: Largest displacement of an atom in Å; the molecule's whole displacement is scaled to it.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, memory: int = 100, max_step: float = 0.2) -> None:
        if memory < 1 or max_step <= 0:
            raise ConfigurationError("L-BFGS: memory must be at least 1, max_step above 0")
        self.memory = memory
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room: rings (slots, memory, width), where width is 3·atoms and padding."""
        width = padded_width(3 * atoms)
        self._history = History(slots, self.memory, width, device)
        self._positions = torch.zeros(slots, width, dtype=torch.float64, device=device)
        self._gradient = torch.zeros_like(self._positions)
        self._moved = torch.zeros(slots, dtype=torch.bool, device=device)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the molecule that was in ``slot``."""
        self._history.forget(slot)
        self._moved[slot] = False

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; zero for a molecule with a force or position that is not finite."""
        usable = finite_rows(forces) & finite_rows(positions)
        here = flat(torch.where(usable[:, None, None], positions, 0.0))
        g = flat(torch.where(usable[:, None, None], -forces, 0.0))
        self._learn(slots, here, g, usable)
        bound = self._settle(slots, here, g, energies, usable)
        x, g = self._positions[slots], self._gradient[slots]
        initial = self._initial(slots, unflat(x, forces), usable)
        direction = -self._history.solve(slots, g, initial)
        lost = ~(finite_rows(direction) & (dot(direction, g) < 0)) | ~usable
        if lost.any():
            self._history.forget(slots[lost])
            direction = torch.where(lost[:, None], -initial(g), direction)
        return cap(unflat(direction, forces), bound) + unflat(x - here, forces)

    def _initial(
        self, slots: torch.Tensor, x: torch.Tensor, usable: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what multiplies vectors (m, width) by the initial inverse Hessians at positions (m, atoms, 3)."""
        return lambda q: q * self._history.scale(slots, FIRST_INVERSE_CURVATURE)[:, None]

    def _learn(self, slots: torch.Tensor, x: torch.Tensor, g: torch.Tensor, usable: torch.Tensor) -> None:
        """Store the newest pair of each molecule that has one with positive curvature."""
        s = x - self._positions[slots]
        y = g - self._gradient[slots]
        curvature = dot(s, y)
        curved = curvature > CURVATURE_COSINE * (dot(s, s) * dot(y, y)).sqrt()
        keep = curved & self._moved[slots] & usable
        self._history.add(slots[keep], s[keep], y[keep], curvature[keep])

    def _settle(
        self, slots: torch.Tensor, x: torch.Tensor, g: torch.Tensor, energies: torch.Tensor, usable: torch.Tensor
    ) -> torch.Tensor:
        """Set the positions and gradients to go on from; return how far an atom may move from there, (m,), Å."""
        self._positions[slots] = x
        self._gradient[slots] = g
        self._moved[slots] = usable
        return torch.full_like(energies, self.max_step, dtype=torch.float64)
