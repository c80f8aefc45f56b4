"""Tangents: how the energy of a molecule changes with the weights of a network, folded to few numbers.

The inner product of two tangents is the neural tangent kernel (Jacot et al., NeurIPS 2018, arXiv:1806.07572): how far a
small step of training on one molecule moves the energy of the other. A tangent has as many numbers as the network has
weights, so it is folded: each weight is added to one of ``SIZE`` numbers with a random sign (count sketch: Charikar et
al., Theor. Comput. Sci. 312, 3, 2004; feature hashing: Weinberger et al., ICML 2009, arXiv:0902.2206). The mean over
random draws is the inner product itself, and the error of one draw falls with the root of ``SIZE``. To choose labels
by it is from Holzmüller et al. (JMLR 24, 164, 2023, arXiv:2203.09410) and, for potentials, from Zaverkin et al. (doi
10.1039/d2dd00034b), who project at random, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import FloatArray
from golfbench.learning.potential import Potential
from golfbench.molecules import Molecule
from golfbench.seeds import repeatable

#: Numbers that a tangent is folded to.
SIZE = 512
#: Seed of the random signs and places: the same in all rounds, runs and machines.
SEED = 20230523


def tangents_of(potential: Potential, molecules: Sequence[Molecule], size: int = SIZE) -> FloatArray:
    """Return the folded tangents of molecules, of the energy for an atom: (n_molecules, size).

    One backward pass for each molecule: as expensive as two to three force calls. Weights that are frozen are not in
    them.
    Of a committee they are those of the first network.

    Args:
        potential: Its network is left as it is.
        molecules: Any.
        size: Numbers to fold to.
    """
    network: Any = potential.network
    device = potential.device
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    places, signs = (array.to(device) for array in _drawing(sum(weight.numel() for weight in weights), size))
    rows = np.zeros((len(molecules), size))
    with repeatable(device):
        for row, molecule in zip(rows, molecules, strict=True):
            batch = make_batch([molecule], network.cutoff, device)
            found = torch.autograd.grad(network(batch).sum(), weights, allow_unused=True)
            parts = [
                (torch.zeros_like(weight) if part is None else part).flatten().double()
                for weight, part in zip(weights, found, strict=True)
            ]
            folded = torch.zeros(size, dtype=torch.float64, device=device)
            row[:] = folded.index_add(0, places, torch.cat(parts) * signs).cpu().numpy() / len(molecule)
    return rows


def _drawing(weights: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each weight the place that it is added to, and its sign."""
    generator = torch.Generator().manual_seed(SEED)
    places = torch.randint(size, (weights,), generator=generator)
    signs = torch.randint(2, (weights,), generator=generator).double() * 2 - 1
    return places, signs
