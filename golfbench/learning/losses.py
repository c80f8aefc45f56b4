"""Errors that a learner's loss is made of."""

from __future__ import annotations

import torch

from golfbench.batches import Batch
from golfbench.contracts import Targets
from golfbench.molecules import group_of


def mean_squared_errors(batch: Batch, predicted: Targets, wanted: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean squared error of energies, and that of force components: over the atoms, then the molecules."""
    energy = (predicted.energies - wanted.energies).square().mean()
    per_atom = (predicted.forces - wanted.forces).square().mean(dim=-1)
    sizes = (batch.offsets[1:] - batch.offsets[:-1]).double()
    per_molecule = torch.zeros_like(sizes).index_add(0, batch.molecule, per_atom) / sizes
    return energy, per_molecule.mean()


def differences_within(batch: Batch, errors: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the energies' differences between conformers of one molecule.

    Each error is taken from the mean error of the conformers in the batch: reference energies do not matter (ConfRank,
    ChemRxiv 683d7c33). A molecule with one conformer adds nothing.

    Args:
        batch: Conformers are told by their ids (see ``molecules.group_of``).
        errors: (n_molecules,).
    """
    groups = [group_of(molecule.id) for molecule in batch.molecules]
    number = {group: k for k, group in enumerate(dict.fromkeys(groups))}
    which = torch.tensor([number[group] for group in groups], device=errors.device)
    zeros = errors.new_zeros(len(number))
    means = zeros.index_add(0, which, errors) / zeros.index_add(0, which, torch.ones_like(errors))
    return (errors - means[which]).square().mean()
