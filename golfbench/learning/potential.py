"""Potentials: a sum of reference energies, a scaled network (or the mean of several), and bases. Any model composes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch

from golfbench.batches import Batch, make_batch
from golfbench.contracts import Evaluation, FloatArray, HasFeatures, HasUncertainty, Model, Spread
from golfbench.curvature import hessian
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule, check_elements
from golfbench.seeds import repeatable
from golfbench.specs import DRUGLIKE_ELEMENTS

_MAX_Z = 119


def energies_and_forces(
    network: torch.nn.Module, batch: Batch, create_graph: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a network's dimensionless energies (n_molecules,) and their negative gradients (n_atoms, 3).

    Args:
        network: A ``contracts.Network``.
        batch: With the pairs that it asks for.
        create_graph: Whether the forces can be differentiated again, as a loss on forces needs it.
    """
    positions = batch.positions.detach().requires_grad_(True)
    energies = network(batch.replace_positions(positions))
    (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=create_graph)
    return energies, -gradient


def _twice(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the second derivatives of a network's energy of one molecule, (3·n_atoms, 3·n_atoms)."""
    positions = batch.positions.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(batch.replace_positions(positions)).sum(), positions, create_graph=True)
    rows = [torch.autograd.grad(part, positions, retain_graph=True)[0].reshape(-1) for part in gradient.reshape(-1)]
    return torch.stack(rows)


class Potential:
    """Σ references + scale · mean of the networks + Σ bases, as a ``contracts.Model``.

    Args:
        networks: A ``contracts.Network`` (a ``torch.nn.Module``), or the members of a committee, whose disagreement is
            the spread of an evaluation.
        atom_energies: Reference energy (Hartree) by atomic number; molecules with other elements are refused.
        scale: Hartree (and Hartree/Å for forces) per unit of the networks' output.
        bases: Fixed models that are added: oracles (see ``OracleModel``), or other potentials.
    """

    def __init__(
        self,
        networks: torch.nn.Module | Sequence[torch.nn.Module],
        atom_energies: Mapping[int, float],
        scale: float = 1.0,
        bases: Sequence[Model] = (),
    ) -> None:
        self.networks = (networks,) if isinstance(networks, torch.nn.Module) else tuple(networks)
        self.atom_energies = atom_energies
        self.scale = float(scale)
        self.bases = tuple(bases)
        self._shown: frozenset[str] = frozenset()

    @property
    def atom_energies(self) -> Mapping[int, float]:
        """Reference energy (Hartree) by atomic number; another mapping may be set."""
        return self._atom_energies

    @atom_energies.setter
    def atom_energies(self, energies: Mapping[int, float]) -> None:
        self._atom_energies = dict(energies)
        self._references = torch.zeros(_MAX_Z, dtype=torch.float64)
        for z, energy in energies.items():
            self._references[z] = energy
        self._known = torch.zeros(_MAX_Z, dtype=torch.bool)
        self._known[sorted(self.elements)] = True

    def showing(self, sights: frozenset[str]) -> Self:
        """Return the same potential, whose evaluations also have what a selection sees (see ``specs.SIGHTS``).

        Raises:
            ConfigurationError: If it has no spread, or no features, to show.
        """
        if "committee" in sights and len(self.networks) == 1 and not isinstance(self.networks[0], HasUncertainty):
            raise ConfigurationError(
                "a spread is asked for, which one network does not have: give --learner committee, or another selection"
            )
        if "features" in sights and not isinstance(self.networks[0], HasFeatures):
            raise ConfigurationError("features are asked for, which this model does not show")
        view = copy(self)
        view._shown = sights & {"committee", "features"}
        return view

    @property
    def network(self) -> torch.nn.Module:
        """The network, or the first member of the committee."""
        return self.networks[0]

    def member(self, index: int) -> Potential:
        """Return a potential of one of the networks alone, sharing everything else."""
        return Potential(self.networks[index], self.atom_energies, self.scale, self.bases)

    @property
    def cutoff(self) -> float | None:
        """The largest cutoff of its terms, Å; ``None`` where one asks for all pairs."""
        cutoffs = [_cutoff_of(term) for term in (*self.networks, *self.bases)]
        return None if None in cutoffs else max(c for c in cutoffs if c is not None)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, of all members."""
        return sum(p.numel() for network in self.networks for p in network.parameters() if p.requires_grad)

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers it has seen."""
        return frozenset(self.atom_energies) or DRUGLIKE_ELEMENTS

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.network.parameters()).device

    def reference_energies(self, batch: Batch) -> torch.Tensor:
        """Return Σ e_Z of each molecule, (n_molecules,) float64, Hartree.

        Raises:
            MoleculeError: If an element has no reference energy.
        """
        if self._references.device != batch.numbers.device:
            self._references = self._references.to(batch.numbers.device)
            self._known = self._known.to(batch.numbers.device)
        if not self._known[batch.numbers].all():
            for molecule in batch.molecules:
                check_elements(molecule, self.elements, "what the model has learned")
        total = torch.zeros(len(batch), dtype=torch.float64, device=batch.numbers.device)
        return total.index_add(0, batch.molecule, self._references[batch.numbers])

    def energy_forces(self, batch: Batch) -> Evaluation:
        """Evaluate a batch; see ``contracts.Model``."""
        with repeatable(self.device):
            answers = [self._answer(network, batch) for network in self.networks]
        energies = torch.stack([energy for energy, _ in answers])
        forces = torch.stack([force for _, force in answers])
        total, total_forces = self.reference_energies(batch) + energies.mean(dim=0), forces.mean(dim=0)
        errors: dict[int, Exception] = {}
        for base in self.bases:
            extra = base.energy_forces(_for_term(batch, base, self.cutoff))
            total, total_forces = total + extra.energies, total_forces + extra.forces
            errors |= extra.errors
        return Evaluation(total, total_forces, errors, self._spread(batch, energies, forces), self._features(batch))

    def second_derivatives(self, molecule: Molecule) -> FloatArray:
        """Return the Hessian of one molecule; see ``contracts.HasHessian``.

        The networks' by differentiating twice, the bases' as ``curvature.hessian`` has them.
        """
        batch = make_batch([molecule], self.cutoff, self.device)
        with repeatable(self.device):
            parts = [_twice(network, _for_term(batch, network, self.cutoff)) for network in self.networks]
        total = self.scale * torch.stack(parts).mean(dim=0).double().cpu().numpy()
        for base in self.bases:
            total = total + hessian(base, molecule)
        return np.asarray(total, dtype=np.float64)

    def _answer(self, network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        energies, forces = energies_and_forces(network, _for_term(batch, network, self.cutoff))
        return self.scale * energies.detach().double(), self.scale * forces.detach().double()

    def _spread(self, batch: Batch, energies: torch.Tensor, forces: torch.Tensor) -> Spread | None:
        """Return the spread of members' energies (k, n_molecules) and forces (k, n_atoms, 3), or of what one states."""
        if len(self.networks) > 1:
            off = (forces - forces.mean(dim=0)).square().sum(dim=-1).mean(dim=0).sqrt()
            return Spread(energies.std(dim=0, correction=0), off)
        if "committee" not in self._shown:
            return None
        network: Any = self.network
        with torch.no_grad():
            stated = self.scale * network.uncertainty(_for_term(batch, network, self.cutoff)).detach().double()
        total = torch.zeros_like(energies[0]).index_add(0, batch.molecule, stated.square())
        return Spread(total.sqrt(), stated)

    def _features(self, batch: Batch) -> torch.Tensor | None:
        return self.features(batch) if "features" in self._shown else None

    def features(self, batch: Batch) -> torch.Tensor:
        """Return the first network's features, mean over the atoms: (n_molecules, n_features) float64."""
        network: Any = self.network
        with torch.no_grad(), repeatable(self.device):
            atoms = network.features(_for_term(batch, network, self.cutoff)).detach().double()
        total = atoms.new_zeros(len(batch), atoms.shape[1]).index_add(0, batch.molecule, atoms)
        mean: torch.Tensor = total / (batch.offsets[1:] - batch.offsets[:-1])[:, None]
        return mean


def _cutoff_of(term: Any) -> float | None:
    return None if term.cutoff is None else float(term.cutoff)


def _for_term(batch: Batch, term: Any, cutoff: float | None) -> Batch:
    """Return the batch with the pairs that a term asks for; it was made with those of the whole."""
    wanted = _cutoff_of(term)
    return batch if wanted == cutoff or wanted == 0.0 else batch.within(wanted)
