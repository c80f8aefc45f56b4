"""FIRE 2.0: a damped walk whose time step adapts."""

from __future__ import annotations

import torch

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.vectors import cap, dot, finite_rows, flat, longest_move, padded_width, strayed, unflat

#: As published, Guénolé et al. 2020 (doi 10.1016/j.commatsci.2020.109584): mixing at the start and its decay, growth
#: and shrinkage of the time step, its bounds as multiples of the first one, and the steps downhill before it grows.
ALPHA, ALPHA_DECAY = 0.25, 0.99
GROW, SHRINK = 1.1, 0.5
LONGEST, SHORTEST = 10.0, 0.02
DELAY = 20
#: Å; a molecule farther than this from its proposed position was stopped by the driver.
STOPPED = 1e-9


class FIRE:
    """FIRE 2.0 with semi-implicit Euler integration (``golfbench.contracts.Optimizer``).

    Velocities follow v ← (1 - α)(v + Δt F) + α |v + Δt F| F/|F|, positions x ← x + Δt v. As long as F·v > 0 the time
    step grows and α falls, after ``DELAY`` steps. Otherwise it shrinks, α is reset, and the molecule goes back by half
    a step and stops. As published, nothing shrinks in the first ``DELAY`` steps. The way back is a displacement of
    its own, so that the next force is measured where it is used. Where the driver took another step, because the model
    failed at the end of this one, the molecule stops, too.

    All atoms have mass 1, in units where Hartree = mass·Å²/time²: only the curvature of the potential then sets how
    fast a motion is, and hydrogen needs no shorter time step than carbon. Δt² is a displacement per force, and the
    integration of a motion of curvature k is stable for Δt² < 4/k.

    Args:
        time_step: The first time step, Å/√Hartree.
        max_step: Largest displacement of an atom, Å; the velocity stays as it is.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, time_step: float = 0.5, max_step: float = 0.2) -> None:
        if time_step <= 0 or max_step <= 0:
            raise ConfigurationError("fire: time_step and max_step must be above 0")
        self.time_step = time_step
        self.max_step = max_step

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for velocities (slots, width), where width is 3·atoms and padding, time steps and counts."""
        self._velocity = torch.zeros(slots, padded_width(3 * atoms), dtype=torch.float64, device=device)
        self._time_step = torch.zeros(slots, dtype=torch.float64, device=device)
        self._alpha = torch.zeros_like(self._time_step)
        self._downhill = torch.zeros(slots, dtype=torch.int64, device=device)
        self._steps = torch.zeros_like(self._downhill)
        self._expected = torch.full((slots, atoms, 3), torch.nan, dtype=torch.float64, device=device)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Start at rest in ``slot``."""
        self._restart(torch.tensor([slot]))

    def _restart(self, slots: torch.Tensor) -> None:
        self._velocity[slots] = 0.0
        self._time_step[slots] = self.time_step
        self._alpha[slots] = ALPHA
        self._downhill[slots] = 0
        self._steps[slots] = 0
        self._expected[slots] = torch.nan

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; a molecule with a force that is not finite stays, and starts again."""
        usable = finite_rows(forces)
        f = flat(torch.where(usable[:, None, None], forces, 0.0))
        stopped = slots[longest_move(strayed(positions, self._expected[slots])) > STOPPED]
        self._velocity[stopped], self._downhill[stopped] = 0.0, 0
        velocity = self._velocity[slots]
        power, at_rest = dot(f, velocity), ~velocity.any(1)
        turned = (power <= 0) & ~at_rest
        self._adapt(slots, power > 0, turned)
        time_step = self._time_step[slots][:, None]
        faster = mixed(velocity + time_step * f, f, self._alpha[slots])
        self._velocity[slots] = torch.where(turned[:, None], 0.0, faster)
        moved = torch.where(turned[:, None], -0.5 * time_step * velocity, time_step * faster)
        proposed = cap(unflat(torch.where(usable[:, None], moved, 0.0), forces), self.max_step)
        self._expected[slots] = positions + proposed
        self._restart(slots[~usable])
        return proposed

    def _adapt(self, slots: torch.Tensor, downhill: torch.Tensor, turned: torch.Tensor) -> None:
        """Change the time steps and the mixing of molecules (m,) that went downhill or turned around."""
        count = torch.where(turned, 0, self._downhill[slots] + downhill)
        self._steps[slots] += ~turned
        time_step, alpha = self._time_step[slots], self._alpha[slots]
        grows = downhill & (count > DELAY)
        late = turned & (self._steps[slots] > DELAY)
        shrinks = late & (SHRINK * time_step >= SHORTEST * self.time_step)
        longer = (GROW * time_step).clamp(max=LONGEST * self.time_step)
        self._time_step[slots] = torch.where(grows, longer, torch.where(shrinks, SHRINK * time_step, time_step))
        self._alpha[slots] = torch.where(late, ALPHA, torch.where(grows, ALPHA_DECAY * alpha, alpha))
        self._downhill[slots] = count


def mixed(velocity: torch.Tensor, f: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Turn velocities (m, width) towards the forces by shares (m,), at the same speed."""
    speed = (dot(velocity, velocity) / dot(f, f).clamp(min=torch.finfo(f.dtype).tiny)).sqrt()
    return (1.0 - alpha)[:, None] * velocity + (alpha * speed)[:, None] * f
