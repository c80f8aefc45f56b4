"""A twin of the network that follows it slowly, in the place of a surrogate: no other engine is asked."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch

from golfbench.batches import make_batch
from golfbench.learning.checkpoint import prefixed, unprefixed
from golfbench.learning.kept import assign
from golfbench.learning.potential import Potential
from golfbench.molecules import Molecule


class Twin:
    """The exponential moving average of a network over rounds.

    What the network has learned lately the twin does not know yet: where their energies disagree on whether a walk goes
    down, the network was changed by few labels. The idea is that of the EMA surrogate in the code published with GOLF.

    Args:
        potential: Whose networks it follows.
        decay: Share of itself that it keeps in a round.
    """

    def __init__(self, potential: Potential, decay: float) -> None:
        self._followed, self._decay = potential, decay
        networks = [deepcopy(network).eval() for network in potential.networks]
        self._potential = Potential(networks, potential.atom_energies, potential.scale, potential.bases)

    def follow(self) -> None:
        """Go one round towards the network as it acts now."""
        self._potential.atom_energies = self._followed.atom_energies
        with torch.no_grad():
            for mine, new in zip(_weights(self._potential), _weights(self._followed), strict=True):
                mine.lerp_(new, 1 - self._decay)

    def energy(self, molecule: Molecule) -> float:
        """Return the twin's energy, Hartree."""
        batch = make_batch([molecule], self._potential.cutoff, self._potential.device)
        return float(self._potential.energy_forces(batch).energies[0])

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that ``restore`` needs."""
        return prefixed("twin", {str(k): tensor.detach() for k, tensor in enumerate(_weights(self._potential))})

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state``."""
        found = unprefixed("twin", tensors)
        assign(_weights(self._potential), [found[str(k)] for k in range(len(found))])
        self._potential.atom_energies = self._followed.atom_energies


def _weights(potential: Potential) -> list[torch.nn.Parameter]:
    return [parameter for network in potential.networks for parameter in network.parameters()]
