"""From a network's dimensionless output to a potential: references, scale, delta learning.

E(molecule) = Σ_atoms e_Z + s · network(molecule) [+ E_delta(molecule)], and forces by differentiation plus the delta
model's own. ``s`` is the root mean square force of the training set, so that a fresh network starts at the right order
of magnitude; e_Z removes the bulk of the total energy, which float32 could not resolve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from golfbench.batches import Batch
from golfbench.contracts import Evaluation, Model
from golfbench.molecules import check_elements
from golfbench.seeds import repeatable
from golfbench.specs import DRUGLIKE_ELEMENTS

_MAX_Z = 119


class Potential:
    """A trainable network turned into a ``contracts.Model``.

    Args:
        network: The ``contracts.Network`` (a ``torch.nn.Module``).
        atom_energies: Reference energy (Hartree) by atomic number; molecules with other elements are refused.
        scale: Hartree (and Hartree/Å for forces) per unit of the network's output.
        delta: A fixed model that is added and needs no pairs (see ``OracleModel``), or ``None``.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        atom_energies: Mapping[int, float],
        scale: float = 1.0,
        delta: Model | None = None,
    ) -> None:
        self.network = network
        self.atom_energies = dict(atom_energies)
        self.scale = float(scale)
        self.delta = delta
        self._references = torch.zeros(_MAX_Z, dtype=torch.float64)
        for z, energy in self.atom_energies.items():
            self._references[z] = energy

    @property
    def cutoff(self) -> float | None:
        """The network's cutoff, Å."""
        cutoff: Any = self.network.cutoff
        return None if cutoff is None else float(cutoff)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers it has seen."""
        return frozenset(self.atom_energies) or DRUGLIKE_ELEMENTS

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.network.parameters()).device

    def network_energy_forces(self, batch: Batch, create_graph: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the network's dimensionless energies (n_molecules,) and their negative gradients (n_atoms, 3)."""
        positions = batch.positions.detach().requires_grad_(True)
        energies = self.network(batch.replace_positions(positions))
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=create_graph)
        return energies, -gradient

    def reference_energies(self, batch: Batch) -> torch.Tensor:
        """Return Σ e_Z of each molecule, (n_molecules,) float64, Hartree.

        Raises:
            MoleculeError: If an element has no reference energy.
        """
        for molecule in batch.molecules:
            check_elements(molecule, self.elements, "what the model has learned")
        per_atom = self._references.to(batch.numbers.device)[batch.numbers]
        total = torch.zeros(len(batch), dtype=torch.float64, device=per_atom.device)
        return total.index_add(0, batch.molecule, per_atom)

    def energy_forces(self, batch: Batch) -> Evaluation:
        """Evaluate a batch; see ``contracts.Model``."""
        with repeatable(self.device):
            energies, forces = self.network_energy_forces(batch, create_graph=False)
        total = self.reference_energies(batch) + self.scale * energies.detach().double()
        total_forces = self.scale * forces.detach().double()
        if self.delta is None:
            return Evaluation(total, total_forces)
        extra = self.delta.energy_forces(batch)
        return Evaluation(total + extra.energies, total_forces + extra.forces, extra.errors)
