"""The pairs that limited-memory quasi-Newton methods learn from, for many molecules at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from golfbench_optimizers.vectors import dot


class History:
    """Up to ``memory`` pairs of displacement s and gradient change y per slot, in rings, in float64.

    Args:
        slots: Molecules in flight.
        memory: Pairs kept.
        width: Of the vectors; a multiple of ``vectors.BLOCK``.
        device: Where the pairs live.
    """

    def __init__(self, slots: int, memory: int, width: int, device: torch.device) -> None:
        def empty(*shape: int) -> torch.Tensor:
            return torch.zeros(slots, *shape, dtype=torch.float64, device=device)

        self._memory, self._width = memory, width
        self._s = empty(memory, width)
        self._y = empty(memory, width)
        self._curvature = empty(memory)
        self._scale = empty()
        self._stored = torch.zeros(slots, dtype=torch.int64, device=device)

    def forget(self, slots: torch.Tensor | int) -> None:
        """Drop all pairs of these slots."""
        self._stored[slots] = 0

    def add(self, slots: torch.Tensor, s: torch.Tensor, y: torch.Tensor, curvature: torch.Tensor) -> None:
        """Keep a pair s, y (m, width) of positive curvature s·y (m,) in each of these slots."""
        place = self._stored[slots] % self._memory
        self._s[slots, place] = s
        self._y[slots, place] = y
        self._curvature[slots, place] = curvature
        self._scale[slots] = curvature / dot(y, y)
        self._stored[slots] += 1

    def scale(self, slots: torch.Tensor, otherwise: float) -> torch.Tensor:
        """Return s·y / y·y (m,) of the newest pair (Nocedal & Wright, Eq. 7.20), ``otherwise`` where there is none."""
        known = self._scale[slots]
        return torch.where(self._stored[slots] > 0, known, torch.full_like(known, otherwise))

    def newest(self, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return s (m, width) and s·y (m,) of the newest pairs, zero where there is none."""
        stored = self._stored[slots]
        place, known = (stored - 1) % self._memory, stored > 0
        s, curvature = self._s[slots, place], self._curvature[slots, place]
        return torch.where(known[:, None], s, 0.0), torch.where(known, curvature, 0.0)

    def solve(
        self, slots: torch.Tensor, g: torch.Tensor, initial: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Multiply vectors (m, width) by the inverse Hessian: the two-loop recursion (ibid., Algorithm 7.4).

        A molecule with fewer pairs than another gets 0 for 1/(s·y), which leaves its vectors as they are.

        Args:
            slots: (m,).
            g: (m, width).
            initial: Multiplies vectors (m, width) by the initial inverse Hessians.
        """
        stored = self._stored[slots]
        held = stored.clamp(max=self._memory)
        age = torch.arange(int(held.max()), device=slots.device)[:, None]
        place = slots * self._memory + (stored - 1 - age) % self._memory
        inverse = torch.where(age < held, 1.0 / self._curvature.view(-1)[place], 0.0).unbind()
        s, y = self._s.view(-1, self._width), self._y.view(-1, self._width)
        pairs = [(s.index_select(0, row), y.index_select(0, row)) for row in place]
        q, weights = g, []
        for rho, (step, change) in zip(inverse, pairs, strict=True):
            weights.append(rho * dot(step, q))
            q = q - weights[-1][:, None] * change
        q = initial(q)
        for rho, (step, change), weight in zip(reversed(inverse), reversed(pairs), reversed(weights), strict=True):
            q = q + (weight - rho * dot(change, q))[:, None] * step
        return q
