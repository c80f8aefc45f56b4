"""The pool: named sources of samples (the initial set, what was acquired, ...), each with its share of a batch.

Samples hold targets in the network's units. A large initial set stays in its file, and its samples are made when they
are drawn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import LabelledMolecule
from golfbench.learning.potential import Potential
from golfbench.learning.settings import FORCE_NORM_GUARD
from golfbench.learning.targets import MOST_IN_MEMORY, Remainder, remainders
from golfbench.molecules import Molecule, group_of
from golfbench.seeds import derived

log = logging.getLogger(__name__)

#: The two sources of every run.
INITIAL, ACQUIRED = "initial", "acquired"
#: Of a training set in a file, labels that are held out for validation at most.
MOST_HELD_OUT = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """A molecule with its targets.

    Attributes:
        molecule: The geometry.
        energy: () float64, in the network's units.
        forces: (n_atoms, 3) float64, in the network's units.
        energy_hartree: What is left of the label, references included.
    """

    molecule: Molecule
    energy: torch.Tensor
    forces: torch.Tensor
    energy_hartree: float


class Source(Protocol):
    """Samples, wherever they are."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return one of them."""
        ...

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of one of them."""
        ...


class InMemory(list[Sample]):
    """Samples that are made once."""

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of a sample."""
        return self[index].molecule


class InFile:
    """Samples of a training set that does not fit memory, made when they are asked for.

    Args:
        labels: Read one by one.
        make: Makes a sample, or returns ``None`` for a label that is not learned from: then the next one stands in.
    """

    def __init__(self, labels: Sequence[LabelledMolecule], make: Callable[[LabelledMolecule], Sample | None]) -> None:
        self._labels, self._make = labels, make

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Sample:
        for step in range(len(self)):
            if sample := self._make(self._labels[(index + step) % len(self)]):
                return sample
        raise IndexError("no label of the initial training set is learned from")

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of a label."""
        return self._labels[index].molecule


class Pool:
    """The samples that a learner learns from.

    Args:
        potential: Defines the targets: its references, scale and bases.
        initial: D_0: what is left of its labels, or the labels themselves.
        initial_share: Share of each batch from D_0; the rest is from what was added. With nothing added, all of it.
        guard: Labels with larger forces are left out, see ``settings.FORCE_NORM_GUARD``; ``None`` takes all.
    """

    def __init__(
        self,
        potential: Potential,
        initial: Sequence[Remainder] | Sequence[LabelledMolecule],
        initial_share: float = 1.0,
        guard: float | None = FORCE_NORM_GUARD,
    ) -> None:
        self._potential, self._guard, self._initial_share = potential, guard, initial_share
        self._groups_of: list[str] = []
        self._sources: dict[str, Source] = {INITIAL: InMemory(), ACQUIRED: InMemory()}
        labels = [item for item in initial[:1] if isinstance(item, LabelledMolecule)]
        if labels and len(initial) > MOST_IN_MEMORY:
            self._sources[INITIAL] = InFile(initial, self._make)  # type: ignore[arg-type]
        else:
            rows = remainders(initial, potential.bases) if labels else initial  # type: ignore[arg-type]
            for row in rows:
                self.add(row, INITIAL)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return sum(map(len, self._sources.values()))

    @property
    def initial_size(self) -> int:
        """Number of initial samples."""
        return len(self._sources[INITIAL])

    @property
    def in_memory(self) -> bool:
        """Whether all of it is in memory: going through it costs nothing."""
        return not isinstance(self._sources[INITIAL], InFile)

    def __getitem__(self, index: int) -> Sample:
        source, place = self._find(index)
        return source[place]

    def molecule(self, index: int) -> Molecule:
        """Return one of the molecules: those of D_0 first, then those of the other sources."""
        source, place = self._find(index)
        return source.molecule(place)

    def _find(self, index: int) -> tuple[Source, int]:
        for source in self._sources.values():
            if index < len(source):
                return source, index
            index -= len(source)
        raise IndexError(index)

    def add(self, row: Remainder, source: str = ACQUIRED) -> bool:
        """Add what is left of a label, and return whether it was; the guard keeps blow-ups out."""
        if not self._is_sound(row):
            return False
        kept = self._sources[source]
        assert isinstance(kept, InMemory)
        kept.append(self._sample(row))
        return True

    def _make(self, item: LabelledMolecule) -> Sample | None:
        (row,) = remainders([item], self._potential.bases)
        return self._sample(row) if self._is_sound(row) else None

    def _is_sound(self, row: Remainder) -> bool:
        if self._guard is None or row.norm <= self._guard:
            return True
        log.warning("%s: not learned from, the norm of its forces is %.3g Hartree/Å", row.molecule.id, row.norm)
        return False

    def _sample(self, row: Remainder) -> Sample:
        forces = torch.tensor(row.forces) / self._potential.scale
        return Sample(row.molecule, self._target(row.molecule, row.energy), forces, row.energy)

    def _target(self, molecule: Molecule, energy: float) -> torch.Tensor:
        references = self._potential.reference_energies(make_batch([molecule], 0.0, self._potential.device))
        return (energy - references[0].cpu()) / self._potential.scale

    def retarget(self) -> None:
        """Make the targets of energies anew, after the potential got other reference energies."""
        for source in self._sources.values():
            if isinstance(source, InMemory):
                source[:] = [replace(s, energy=self._target(s.molecule, s.energy_hartree)) for s in source]

    def draw(self, rng: np.random.Generator, size: int, held_out: Collection[int] = ()) -> list[int]:
        """Return indices of a batch: ``initial_share`` of it from D_0, the rest from the added labels.

        As in the published code the added part is rounded down; with nothing added all of it is from D_0, and without
        D_0 all of it is from what was added.

        Args:
            rng: Random numbers.
            size: Of the batch.
            held_out: Indices that are not drawn.
        """
        first = self.initial_size
        old, new = np.arange(first), np.arange(first, len(self))
        if held_out:
            kept = np.fromiter(held_out, dtype=np.int64)
            old, new = np.setdiff1d(old, kept), np.setdiff1d(new, kept)
        wanted = int(size * (1 - self._initial_share)) if len(old) else size
        added = min(wanted, len(new))
        picks = rng.choice(len(old), min(size - added, len(old)), replace=False)
        return [*old[picks].tolist(), *new[rng.choice(len(new), added, replace=False)].tolist()]

    def held_out(self, share: float, seed: int) -> list[int]:
        """Return the indices of a share of the molecules, with all their conformers; the same ones as the pool grows.

        Of a training set in a file, whose molecules are not read for that, the last labels.
        """
        if not len(self):
            return []
        initial = self._sources[INITIAL]
        if isinstance(initial, InFile):
            count = min(int(share * len(initial)), MOST_HELD_OUT)
            return list(range(len(initial) - count, len(initial)))
        groups = [group_of(self.molecule(index).id) for index in range(len(self))]
        drawn = {g: derived(seed, "validation", g).random() for g in dict.fromkeys(groups)}
        chosen = {g for g, number in drawn.items() if number < share} or {min(drawn, key=drawn.__getitem__)}
        return [index for index, group in enumerate(groups) if group in chosen]

    def with_conformer(self, index: int, rng: np.random.Generator) -> list[int]:
        """Return an index and that of another conformer of the same molecule, where there is one."""
        group = group_of(self.molecule(index).id)
        if len(self._groups_of) != len(self):
            self._groups_of = [group_of(self.molecule(k).id) for k in range(len(self))]
        others = [k for k, other in enumerate(self._groups_of) if other == group and k != index]
        return [index, int(rng.choice(others))] if others else [index]
