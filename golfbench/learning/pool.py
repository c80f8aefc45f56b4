"""The training set: the initial labels and those that the loop adds, with targets in the network's units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols

from golfbench.batches import Batch, make_batch
from golfbench.contracts import Evaluation, LabelledMolecule, Model
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.learning.potential import Potential
from golfbench.learning.settings import FORCE_NORM_GUARD
from golfbench.molecules import Molecule

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sample:
    molecule: Molecule
    energy: torch.Tensor
    forces: torch.Tensor


class TrainingSet:
    """Labelled molecules with targets (label − references − delta) / scale.

    Args:
        potential: Defines the targets.
        initial: D_0.
        guard: Labels with larger forces are left out, see ``settings.FORCE_NORM_GUARD``; ``None`` takes all.
    """

    def __init__(
        self, potential: Potential, initial: Sequence[LabelledMolecule], guard: float | None = FORCE_NORM_GUARD
    ) -> None:
        self._potential, self._guard = potential, guard
        self._samples: list[_Sample] = []
        for item in initial:
            self.add(item)
        self.initial_size = len(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def molecule(self, index: int) -> Molecule:
        """Return one of the molecules."""
        return self._samples[index].molecule

    def add(self, item: LabelledMolecule) -> bool:
        """Add a label, and return whether it was; the guard keeps blow-ups out."""
        sample = _target(self._potential, item)
        norm = float(sample.forces.norm()) * self._potential.scale
        if self._guard is not None and norm > self._guard:
            log.warning("%s: not learned from, the norm of its forces is %.3g Hartree/Å", item.molecule.id, norm)
            return False
        self._samples.append(sample)
        return True

    def draw(self, rng: np.random.Generator, size: int, initial_share: float) -> list[int]:
        """Return indices of a batch: ``initial_share`` of it from D_0, the rest from the added labels.

        As in the published code the added part is rounded down; with nothing added all of it is from D_0.
        """
        added = len(self) - self.initial_size
        new = min(int(size * (1 - initial_share)), added) if added else 0
        old = min(size - new, self.initial_size)
        picks = rng.choice(self.initial_size, old, replace=False).tolist()
        return [int(i) for i in picks] + [int(i) + self.initial_size for i in rng.choice(added, new, replace=False)]

    def batch(self, indices: Sequence[int]) -> tuple[Batch, torch.Tensor, torch.Tensor]:
        """Return a batch, its energies (n_molecules,) and its forces (n_atoms, 3), in the network's units."""
        chosen = [self._samples[i] for i in indices]
        device = self._potential.device
        batch = make_batch([s.molecule for s in chosen], self._potential.cutoff, device)
        energies = torch.stack([s.energy for s in chosen]).to(device)
        return batch, energies, torch.cat([s.forces for s in chosen]).to(device)


def _target(potential: Potential, item: LabelledMolecule) -> _Sample:
    batch = make_batch([item.molecule], 0.0)
    energy = item.label.energy - potential.reference_energies(batch)[0]
    forces = torch.tensor(item.label.forces)
    if potential.delta is not None:
        extra = _evaluate_delta(potential.delta, item.molecule)
        energy, forces = energy - extra.energies[0], forces - extra.forces
    return _Sample(item.molecule, energy / potential.scale, forces / potential.scale)


def fit_references(
    initial: Sequence[LabelledMolecule],
    given: dict[int, float],
    delta: Model | None,
    guard: float = FORCE_NORM_GUARD,
) -> tuple[dict[int, float], float]:
    """Return reference energies (Hartree) by atomic number and the output scale (Hartree/Å) of a training set.

    References come from the dataset where it has them (for every element that occurs), else from least squares of the
    (delta-corrected) energies on the composition. The scale is the root mean square component of the (delta-corrected)
    forces. Labels beyond the guard (see ``settings.FORCE_NORM_GUARD``) take part in neither.

    Raises:
        NothingToDoError: If the training set is empty.
        ConfigurationError: If an element has no reference, or the delta model cannot evaluate a molecule.
    """
    if not initial:
        raise NothingToDoError("the initial training set is empty")
    energies, forces = _subtract(initial, delta)
    # MMFF94 forces have no bound where three bonded atoms are nearly in line: one such row would set the scale.
    sound = [row for row, f in enumerate(forces) if np.linalg.norm(f) <= guard]
    if not sound:
        raise NothingToDoError(f"no label of the initial training set has forces within {guard} Hartree/Å")
    initial, energies, forces = [initial[row] for row in sound], energies[sound], [forces[row] for row in sound]
    elements = sorted({int(z) for item in initial for z in item.molecule.numbers})
    counts = np.array([[np.count_nonzero(item.molecule.numbers == z) for z in elements] for item in initial])
    scale = float(np.sqrt(np.mean(np.square(np.concatenate(forces)))))
    if given and delta is None:
        if missing := sorted(set(elements) - set(given)):
            raise ConfigurationError(f"no reference energy for {', '.join(chemical_symbols[z] for z in missing)}")
        return {z: float(e) for z, e in given.items()}, scale
    solution = np.linalg.lstsq(counts.astype(np.float64), energies, rcond=None)[0]
    return dict(zip(elements, solution.tolist(), strict=True)), scale


def _subtract(initial: Sequence[LabelledMolecule], delta: Model | None) -> tuple[np.ndarray, list[np.ndarray]]:
    energies = np.array([item.label.energy for item in initial])
    forces = [item.label.forces for item in initial]
    if delta is None:
        return energies, forces
    for row, item in enumerate(initial):
        extra = _evaluate_delta(delta, item.molecule)
        energies[row] -= float(extra.energies[0])
        forces[row] = forces[row] - extra.forces.numpy()
    return energies, forces


def _evaluate_delta(delta: Model, molecule: Molecule) -> Evaluation:
    evaluation = delta.energy_forces(make_batch([molecule], 0.0))
    for error in evaluation.errors.values():
        raise ConfigurationError(f"{molecule.id}: the delta model cannot evaluate it: {error}")
    return evaluation
