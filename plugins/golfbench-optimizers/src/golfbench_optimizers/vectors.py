"""Arithmetic whose result for one molecule depends neither on its batch nor on the width of the padding."""

from __future__ import annotations

import torch

#: Elements that ``dot`` hands to one ``torch.sum``; 85 atoms fit into one block.
BLOCK = 256


def padded_width(length: int) -> int:
    """Return the smallest multiple of ``BLOCK`` that is at least ``length``."""
    return max(1, -(-length // BLOCK)) * BLOCK


def flat(values: torch.Tensor) -> torch.Tensor:
    """Return (m, atoms, 3) as (m, width), zero beyond the atoms; ``width`` is ``padded_width(3 * atoms)``."""
    rows = values.reshape(len(values), -1)
    return torch.nn.functional.pad(rows, (0, padded_width(rows.shape[1]) - rows.shape[1]))


def unflat(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return (m, width) in the shape (m, atoms, 3) of ``like``: what ``flat`` undoes."""
    return rows[:, : like[0].numel()].reshape(like.shape)


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the scalar products (m,) of the rows of two (m, width) tensors; ``width`` is a multiple of ``BLOCK``.

    ``torch.sum`` adds in an order that depends on the length, so it always gets rows of the same length; blocks are
    then added one after the other, and a block of padding adds an exact zero.
    """
    blocks = (a * b).view(len(a), a.shape[1] // BLOCK, BLOCK).sum(-1).unbind(1)
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total


def cap(displacements: torch.Tensor, max_step: float | torch.Tensor) -> torch.Tensor:
    """Scale each molecule's displacement (m, atoms, 3) so that no atom moves farther than ``max_step`` (Å).

    Args:
        displacements: (m, atoms, 3), Å.
        max_step: One for all molecules, or one each, (m,).
    """
    longest = longest_move(displacements)
    scale = torch.where(longest > max_step, max_step / longest, torch.ones_like(longest))
    return displacements * scale[:, None, None]


def longest_move(displacements: torch.Tensor) -> torch.Tensor:
    """Return how far the atom that moves most moves, (m,), for displacements (m, atoms, 3)."""
    x, y, z = displacements.unbind(-1)
    return (x * x + y * y + z * z).sqrt().amax(-1)


def strayed(positions: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return how far molecules (m, atoms, 3) are from their proposed positions, Å; zero where there are none (NaN).

    The driver takes another step where the model fails at the end of the proposed one. Everywhere else this is an
    exact zero: the driver adds what was proposed as its sender does.
    """
    return torch.nan_to_num(positions - expected, nan=0.0)


def finite_rows(values: torch.Tensor) -> torch.Tensor:
    """Return (m,) booleans: whether every element of that row of (m, ...) is finite."""
    return torch.isfinite(values).flatten(1).all(1)
