"""Limited-memory BFGS for many molecules at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV
from golfbench_optimizers.vectors import cap, dot, finite_rows, padded_width

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
    direction that is not finite or does not go downhill makes the molecule forget its pairs and follow its forces.

    Args:
        memory: Pairs kept.
        max_step: Largest displacement of an atom in Å; the molecule's whole displacement is scaled to it.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, memory: int = 100, max_step: float = 0.2) -> None:
        if memory < 1 or max_step <= 0:
            raise ConfigurationError("lbfgs: memory must be at least 1, max_step above 0")
        self.memory = memory
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room: rings (slots, memory, width), where width is 3·atoms and padding."""
        self._width = padded_width(3 * atoms)

        def empty(*shape: int) -> torch.Tensor:
            return torch.zeros(slots, *shape, dtype=torch.float64, device=device)

        self._s = empty(self.memory, self._width)
        self._y = empty(self.memory, self._width)
        self._curvature = empty(self.memory)
        self._positions = empty(self._width)
        self._gradient = empty(self._width)
        self._stored = torch.zeros(slots, dtype=torch.int64, device=device)
        self._moved = torch.zeros(slots, dtype=torch.bool, device=device)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the molecule that was in ``slot``; what its ring holds is unreachable from now on."""
        self._stored[slot] = 0
        self._moved[slot] = False

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; zero for a molecule with a force or position that is not finite."""
        usable = finite_rows(forces) & finite_rows(positions)
        x = self._flat(torch.where(usable[:, None, None], positions, 0.0))
        g = self._flat(torch.where(usable[:, None, None], -forces, 0.0))
        self._remember(slots, x, g, usable)
        direction = self._direction(slots, g)
        lost = ~(finite_rows(direction) & (dot(direction, g) < 0)) | ~usable
        self._stored[slots[lost]] = 0
        direction = torch.where(lost[:, None], -FIRST_INVERSE_CURVATURE * g, direction)
        displacements = direction[:, : forces[0].numel()].reshape(forces.shape)
        return cap(displacements, self.max_step)

    def _flat(self, values: torch.Tensor) -> torch.Tensor:
        """Return (m, atoms, 3) as (m, width), zero beyond the atoms."""
        flat = values.reshape(len(values), -1)
        return torch.nn.functional.pad(flat, (0, self._width - flat.shape[1]))

    def _remember(self, slots: torch.Tensor, x: torch.Tensor, g: torch.Tensor, usable: torch.Tensor) -> None:
        """Store the newest pair of each molecule that has one with positive curvature."""
        s = x - self._positions[slots]
        y = g - self._gradient[slots]
        curvature = dot(s, y)
        curved = curvature > CURVATURE_COSINE * (dot(s, s) * dot(y, y)).sqrt()
        keep = curved & self._moved[slots] & usable
        owner = slots[keep]
        place = self._stored[owner] % self.memory
        self._s[owner, place] = s[keep]
        self._y[owner, place] = y[keep]
        self._curvature[owner, place] = curvature[keep]
        self._stored[owner] += 1
        self._positions[slots] = x
        self._gradient[slots] = g
        self._moved[slots] = usable

    def _direction(self, slots: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Return minus the inverse Hessian times the gradient, (m, width), Å."""
        inverse, pairs = self._pairs(slots)
        q = g
        weights = []
        for rho, (s, y) in zip(inverse, pairs, strict=True):
            weights.append(rho * dot(s, q))
            q = q - weights[-1][:, None] * y
        q = q * self._scale(inverse, pairs, g)[:, None]
        for rho, (s, y), weight in zip(reversed(inverse), reversed(pairs), reversed(weights), strict=True):
            q = q + (weight - rho * dot(y, q))[:, None] * s
        return -q

    def _pairs(self, slots: torch.Tensor) -> tuple[Sequence[torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
        """Return 1/(s·y) (m,) and the pair s, y (m, width) of each age, newest first.

        A molecule with fewer pairs than another gets 0 for 1/(s·y), which leaves its vectors as they are.
        """
        stored = self._stored[slots]
        held = stored.clamp(max=self.memory)
        age = torch.arange(int(held.max()), device=slots.device)[:, None]
        place = slots * self.memory + (stored - 1 - age) % self.memory
        inverse = torch.where(age < held, 1.0 / self._curvature.view(-1)[place], 0.0)
        s = self._s.view(-1, self._width)
        y = self._y.view(-1, self._width)
        return inverse.unbind(), [(s.index_select(0, row), y.index_select(0, row)) for row in place]

    @staticmethod
    def _scale(
        inverse: Sequence[torch.Tensor], pairs: list[tuple[torch.Tensor, torch.Tensor]], g: torch.Tensor
    ) -> torch.Tensor:
        """Return the initial inverse curvature (m,), Å²/Hartree."""
        first = torch.full_like(g[:, 0], FIRST_INVERSE_CURVATURE)
        if not pairs:
            return first
        y = pairs[0][1]
        return torch.where(inverse[0] > 0, 1.0 / (inverse[0] * dot(y, y)), first)
