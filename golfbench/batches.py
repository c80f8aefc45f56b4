"""Batches: molecules packed into tensors, with the pairs that a model's cutoff needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from golfbench.molecules import Molecule


@dataclass(frozen=True, slots=True)
class Batch:
    """Molecules packed one after the other.

    Attributes:
        numbers: (n_atoms,) int64.
        positions: (n_atoms, 3) float64, Å.
        molecule: (n_atoms,) int64, the molecule that each atom belongs to.
        offsets: (n_molecules + 1,) int64, where each molecule's atoms begin.
        charges: (n_molecules,) int64.
        multiplicities: (n_molecules,) int64.
        pairs: (2, n_pairs) int64, directed pairs (i, j), i < j and j < i both, sorted by i then j.
        molecules: The molecules, for models that need more than tensors; their own ``positions`` may be out of date:
            use the tensor (see ``current_molecules``).
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    molecule: torch.Tensor
    offsets: torch.Tensor
    charges: torch.Tensor
    multiplicities: torch.Tensor
    pairs: torch.Tensor
    molecules: tuple[Molecule, ...]

    def __len__(self) -> int:
        return len(self.molecules)

    @property
    def sizes(self) -> list[int]:
        """Number of atoms of each molecule."""
        return [len(m) for m in self.molecules]

    def current_molecules(self) -> list[Molecule]:
        """Return the molecules at the positions of the tensor."""
        blocks = self.positions.detach().cpu().numpy().astype(np.float64)
        edges = np.cumsum([0, *self.sizes])
        return [m.at(blocks[a:b]) for m, a, b in zip(self.molecules, edges[:-1], edges[1:], strict=True)]

    def within(self, cutoff: float | None) -> Batch:
        """Return the same batch with those of its pairs that are closer than ``cutoff`` (Å; ``None``: all of them)."""
        if cutoff is None:
            return self
        i, j = self.pairs
        near = (self.positions[i] - self.positions[j]).square().sum(dim=-1) < cutoff**2
        return replace(self, pairs=self.pairs[:, near])

    def replace_positions(self, positions: torch.Tensor) -> Batch:
        """Return the same batch with another positions tensor and the same pairs (for differentiation)."""
        return replace(self, positions=positions)


def make_batch(
    molecules: Sequence[Molecule],
    cutoff: float | None,
    device: torch.device | str = "cpu",
    padded_positions: torch.Tensor | None = None,
) -> Batch:
    """Pack molecules.

    Args:
        molecules: At least one.
        cutoff: Å; pairs at or beyond it are left out; ``None`` keeps all pairs.
        device: Where the tensors live.
        padded_positions: (n_molecules, max_atoms, 3) float64 to use instead of the molecules' own positions.
    """
    sizes = torch.tensor([len(m) for m in molecules])
    mask = torch.arange(int(sizes.max())) < sizes[:, None]
    padded = pad_positions(molecules) if padded_positions is None else padded_positions.to("cpu")
    padded = padded[:, : mask.shape[1]]
    index = torch.arange(len(molecules))
    return Batch(
        numbers=torch.from_numpy(np.concatenate([m.numbers for m in molecules])).to(device),
        positions=padded[mask].to(device),
        molecule=torch.repeat_interleave(index, sizes).to(device),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]).to(device),
        charges=torch.tensor([m.charge for m in molecules]).to(device),
        multiplicities=torch.tensor([m.multiplicity for m in molecules]).to(device),
        # Where the model lives: a thousand molecules have millions of distances.
        pairs=neighbour_pairs(padded.to(device), mask.to(device), cutoff),
        molecules=tuple(molecules),
    )


def pad_positions(molecules: Sequence[Molecule], atoms: int | None = None) -> torch.Tensor:
    """Return positions as (n_molecules, atoms, 3) float64, zero where there is no atom."""
    longest = max(len(m) for m in molecules)
    padded = np.zeros((len(molecules), atoms or longest, 3))
    for row, molecule in zip(padded, molecules, strict=True):
        row[: len(molecule)] = molecule.positions
    return torch.from_numpy(padded)


def neighbour_pairs(padded: torch.Tensor, mask: torch.Tensor, cutoff: float | None) -> torch.Tensor:
    """Return directed pairs (2, n_pairs) of packed atom indices closer than ``cutoff``, within each molecule.

    Brute force over the padded molecules: for molecules of tens of atoms this costs less than testing whether a
    buffered list is still valid, and every call is exact. Non-finite positions give no pairs.

    Args:
        padded: (n_molecules, atoms, 3), Å.
        mask: (n_molecules, atoms), True for atoms.
        cutoff: Å, or ``None`` for all pairs.
    """
    # Component by component: a sum over an axis of three takes longer than everything else.
    x, y, z = ((part[:, :, None] - part[:, None]).square() for part in padded.unbind(-1))
    squared = x + y + z
    near = squared < cutoff**2 if cutoff is not None else torch.isfinite(squared)
    near &= mask[:, :, None] & mask[:, None]
    near.diagonal(dim1=1, dim2=2).fill_(False)
    packed = (mask.reshape(-1).cumsum(0) - 1).reshape(mask.shape)
    which, i, j = near.nonzero(as_tuple=True)
    return torch.stack([packed[which, i], packed[which, j]])
