"""The pool: named sources of samples (the initial set, what was acquired, ...), each with its share of a batch.

Samples hold targets in the network's units. A large initial set stays in its file, and its samples are made when they
are drawn.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from golfbench.batches import make_batch
from golfbench.contracts import LabelledMolecule
from golfbench.errors import ConfigurationError
from golfbench.learning.potential import Potential
from golfbench.learning.settings import FORCE_NORM_GUARD
from golfbench.learning.targets import Remainder, fit_references, remainders
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.gate import energy_objection, label_objection
from golfbench.seeds import derived
from golfbench.training_sets import LABELS_PER_REFERENCE, ids_of, is_large, place_of, sample, sampled

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

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """Return some of them."""
        ...

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of one of them."""
        ...

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules."""
        ...


class InMemory(list[Sample]):
    """Samples that are made once."""

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """Return some of them."""
        return [self[index] for index in indices]

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of a sample."""
        return self[index].molecule

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules."""
        return [sample.molecule.id for sample in self]


class InFile:
    """Samples of a training set that does not fit memory, made when they are asked for.

    Args:
        labels: Read one by one.
        make: Makes samples of the labels at some indices; ``None`` for one that is not learned from: then the next one
            is taken.
    """

    def __init__(
        self, labels: Sequence[LabelledMolecule], make: Callable[[Sequence[int]], Sequence[Sample | None]]
    ) -> None:
        self._labels, self._make = labels, make

    def __len__(self) -> int:
        return len(self._labels)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """Return some of them."""
        made = self._make(indices)
        return [sample or self._next(index + 1) for index, sample in zip(indices, made, strict=True)]

    def _next(self, first: int) -> Sample:
        for step in range(len(self)):
            (sample,) = self._make([(first + step) % len(self)])
            if sample:
                return sample
        raise IndexError("no label of the initial training set is learned from")

    def molecule(self, index: int) -> Molecule:
        """Return the molecule of a label."""
        return self._labels[index].molecule

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules."""
        return ids_of(self._labels)


class Conformers:
    """Which samples are of one molecule.

    Attributes:
        groups: The molecule of each sample, see ``molecules.group_of``.
        members: The indices of a molecule's samples, in order.
    """

    def __init__(self) -> None:
        self.groups: list[str] = []
        self.members: dict[str, list[int]] = {}

    def extend(self, ids: Iterable[str]) -> None:
        """Add samples."""
        for name in ids:
            group = sys.intern(group_of(name))
            self.members.setdefault(group, []).append(len(self.groups))
            self.groups.append(group)


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
        self._conformers = Conformers()
        self._held_out: dict[tuple[float, int], frozenset[str]] = {}
        self._labels: Sequence[LabelledMolecule] = ()
        self._references: Mapping[int, float] | None = None
        self._sources: dict[str, Source] = {INITIAL: InMemory(), ACQUIRED: InMemory()}
        labels = [item for item in initial[:1] if isinstance(item, LabelledMolecule)]
        if labels and is_large(initial):  # type: ignore[arg-type]
            self._labels = initial  # type: ignore[assignment]
            self._sources[INITIAL] = InFile(self._labels, self._make)
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
        return self.samples([index])[0]

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """Return some samples, in order; those that are made now are made together."""
        places = [self._find(index) for index in indices]
        made = {
            id(source): iter(source.samples([place for other, place in places if other is source]))
            for source in self._sources.values()
        }
        return [next(made[id(source)]) for source, _ in places]

    def sampled(self) -> list[int]:
        """Return the indices of all samples, but of a large D_0 of those that stand for all."""
        first = sampled(self._labels) if self._labels else range(self.initial_size)
        return [*first, *range(self.initial_size, len(self))]

    def ids(self) -> list[str]:
        """Return the ids of all molecules, in order; nothing else of a D_0 in a file is read for that."""
        return [name for source in self._sources.values() for name in source.ids()]

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

    def _make(self, indices: Sequence[int]) -> list[Sample | None]:
        """Make samples of labels in a file, whose labels nobody has looked at before.

        Raises:
            ConfigurationError: If one of them cannot be right; it is named.
        """
        items = [self._labels[index] for index in indices]
        rows = list(remainders(items, self._potential.bases))
        for index, item, row in zip(indices, items, rows, strict=True):
            objection = label_objection(item.molecule, item.label.energy, item.label.forces)
            objection = objection or energy_objection(item.molecule, item.label.energy, self._expected())
            if objection:
                raise ConfigurationError(f"{place_of(self._labels, index)}: {row.molecule.id}: {objection}")
        return [self._sample(row) if self._is_sound(row) else None for row in rows]

    def _expected(self) -> Mapping[int, float]:
        """Return reference energies near the labels in a file, at their level of theory."""
        if self._references is None:
            rows = list(remainders(sample(self._labels), []))
            elements = {int(z) for row in rows for z in row.molecule.numbers}
            self._references = fit_references(rows, {})[0] if len(rows) >= LABELS_PER_REFERENCE * len(elements) else {}
        return self._references

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
        """Compute the targets of energies again, after the potential got other reference energies."""
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
        old, new = _Free(0, first, held_out), _Free(first, len(self), held_out)
        wanted = int(size * (1 - self._initial_share)) if len(old) else size
        added = min(wanted, len(new))
        picks = rng.choice(len(old), min(size - added, len(old)), replace=False)
        return [*old.at(picks), *new.at(rng.choice(len(new), added, replace=False))]

    def held_out(self, share: float, seed: int) -> list[int]:
        """Return the indices of a share of the molecules, with all their conformers; the same ones as the pool grows.

        Of a training set in a file as many molecules as make up the share, or ``MOST_HELD_OUT`` labels.
        """
        if not len(self):
            return []
        conformers = self._grouped()
        if (share, seed) not in self._held_out or self.in_memory:
            self._held_out[share, seed] = self._choose(conformers.members, share, seed)
        chosen = self._held_out[share, seed]
        return sorted(index for group in chosen for index in conformers.members[group])

    def _choose(self, members: Mapping[str, Sequence[int]], share: float, seed: int) -> frozenset[str]:
        if self.in_memory:
            drawn = {g: derived(seed, "validation", g).random() for g in members}
            if len(drawn) == 1:  # with one molecule alone nothing would be left to learn from
                return frozenset()
            first, last = (pick(drawn, key=drawn.__getitem__) for pick in (min, max))
            return frozenset({g for g, x in drawn.items() if x < share} - {last} | {first})
        left = min(int(share * self.initial_size), MOST_HELD_OUT)
        known = {group: bisect_left(indices, self.initial_size) for group, indices in members.items()}
        groups = [group for group, count in known.items() if count]
        chosen: list[str] = []
        for k in derived(seed, "validation").permutation(len(groups)).tolist():
            if known[groups[k]] <= left or not chosen:
                chosen.append(groups[k])
                left -= known[groups[k]]
            if left <= 0:
                break
        return frozenset(chosen)

    def with_conformer(self, index: int, rng: np.random.Generator) -> list[int]:
        """Return an index and that of another conformer of the same molecule, where there is one."""
        conformers = self._grouped()
        others = [k for k in conformers.members[conformers.groups[index]] if k != index]
        return [index, int(rng.choice(others))] if others else [index]

    def _grouped(self) -> Conformers:
        known = len(self._conformers.groups)
        if known < len(self):
            self._conformers.extend(self.ids()[known:])
        return self._conformers


class _Free:
    """The indices of a range that are not held out, by their number.

    Args:
        first: Of the range.
        end: Behind the last.
        held_out: Indices, in the range or not.
    """

    def __init__(self, first: int, end: int, held_out: Collection[int]) -> None:
        held = np.unique([k for k in held_out if first <= k < end]).astype(np.int64)
        self._first, self._count = first, end - first - len(held)
        self._before = held - first - np.arange(len(held))  # how many free ones lie below each that is held out

    def __len__(self) -> int:
        return self._count

    def at(self, numbers: npt.NDArray[np.int64]) -> list[int]:
        """Return the free indices with these numbers."""
        found: list[int] = (self._first + numbers + np.searchsorted(self._before, numbers, side="right")).tolist()
        return found
