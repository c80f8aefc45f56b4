"""The objective: what the weights of a network are fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from golfbench.batches import Batch
from golfbench.contracts import HasLoss, Targets
from golfbench.learning.loader import Chunk, chunks
from golfbench.learning.pool import Sample
from golfbench.learning.potential import energies_and_forces
from golfbench.learning.settings import TrainSettings
from golfbench.molecules import group_of
from golfbench.seeds import repeatable


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of a network (see ``TrainSettings``), or the network's own (see ``contracts.HasLoss``).

    Attributes:
        network: A ``contracts.Network``.
        settings: Weights of the parts.
        device: Where the network lives.
    """

    network: torch.nn.Module
    settings: TrainSettings
    device: torch.device

    @property
    def cutoff(self) -> float | None:
        """The network's, Å."""
        cutoff: Any = self.network.cutoff
        return None if cutoff is None else float(cutoff)

    def loss(self, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss of a chunk, and its mean squared errors of energies and forces, in the network's units."""
        energies, forces = energies_and_forces(self.network, chunk.batch, create_graph=True)
        predicted = Targets(energies.double(), forces.double())
        energy, force = mean_squared_errors(chunk.batch, predicted, chunk.wanted)
        if isinstance(self.network, HasLoss):
            return self.network.loss(chunk.batch, predicted, chunk.wanted).double().mean(), energy, force
        loss = self.settings.energy_weight * energy + self.settings.force_weight * force
        if self.settings.difference_weight:
            errors = predicted.energies - chunk.wanted.energies
            loss = loss + self.settings.difference_weight * differences_within(chunk.batch, errors)
        return loss, energy, force

    def of(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the loss of samples as the network acts, without a gradient: () float64, on the CPU."""
        self.network.eval()
        parts = chunks(samples, self.cutoff, self.device)
        with repeatable(self.device):
            losses = [self.loss(chunk)[0].detach().double().cpu() * chunk.share for chunk in parts]
        return torch.stack(losses).sum()


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
