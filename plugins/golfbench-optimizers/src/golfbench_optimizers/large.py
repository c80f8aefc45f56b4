"""Molecules that are too large for dense matrices in internal coordinates."""

from __future__ import annotations

import logging

import numpy as np
import torch

from golfbench.contracts import FloatArray
from golfbench.molecules import Molecule
from golfbench_optimizers.lbfgs import LBFGS

log = logging.getLogger("golfbench.optimizers")

#: Atoms above which a step with dense matrices, whose time grows with the third power, costs more than it saves.
LARGEST = 300
#: Pairs kept of each large molecule.
MEMORY = 30


class CartesianWalk:
    """L-BFGS in Cartesian coordinates for one large molecule.

    Args:
        molecule: Its start.
        told: Whether it was said before that such molecules walk otherwise.
    """

    def __init__(self, molecule: Molecule, told: bool = False) -> None:
        if not told:
            log.warning(
                "%s: %d atoms are too many for internal coordinates: molecules of more than %d atoms are minimized by "
                "L-BFGS in Cartesian ones",
                molecule.id,
                len(molecule),
                LARGEST,
            )
        self._optimizer = LBFGS(memory=MEMORY)
        self._optimizer.allocate(1, len(molecule), torch.device("cpu"))
        self._optimizer.admit(0, molecule)

    def displacement(self, positions: FloatArray, energy: float, forces: FloatArray) -> FloatArray:
        """Return the displacement (n_atoms, 3), Å, from energy (Hartree) and forces (n_atoms, 3) (Hartree/Å)."""
        given = torch.from_numpy(np.ascontiguousarray(positions)), torch.from_numpy(np.ascontiguousarray(forces))
        moved = self._optimizer.step(
            torch.tensor([0]), given[0][None], torch.tensor([energy], dtype=torch.float64), given[1][None]
        )
        displacement: FloatArray = moved[0].numpy()
        return displacement
