"""Training sets that may be too large for memory: which labels are the sample of them, and their names in messages.

A reader may give any sequence of labels as the initial set, also one that reads labels on demand. No part of the suite
reads all labels of a large one: checks of the whole set use ``sample``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from golfbench.contracts import HasContents, HasRows, LabelledMolecule
from golfbench.molecules import Molecule

#: Labels for each element that reference energies need to be good enough to check other labels.
LABELS_PER_REFERENCE = 3
#: A training set with more labels than this is large: it stays where it is.
MOST_IN_MEMORY = 20_000
#: Labels of a large one that are read: evenly spaced ones, and so many of each element if the set knows its elements.
SAMPLED, SAMPLED_OF_ELEMENT = 2000, 20


def is_large(labels: Sequence[LabelledMolecule]) -> bool:
    """Return whether a training set is too large to be kept in memory."""
    return len(labels) > MOST_IN_MEMORY


def sampled(labels: Sequence[LabelledMolecule]) -> list[int]:
    """Return the indices of the sample of the labels, in order; of a set that is not large, all."""
    if not is_large(labels):
        return list(range(len(labels)))
    chosen = set(np.linspace(0, len(labels) - 1, SAMPLED).round().astype(int).tolist())
    if isinstance(labels, HasContents):
        chosen.update(labels.examples(SAMPLED_OF_ELEMENT))
    return sorted(chosen)


def sample(labels: Sequence[LabelledMolecule]) -> Sequence[LabelledMolecule]:
    """Return the sample of the labels, see ``sampled``."""
    return [labels[index] for index in sampled(labels)] if is_large(labels) else labels


def ids_of(labels: Sequence[LabelledMolecule]) -> Sequence[str]:
    """Return the ids of the molecules; if the set cannot name them, each label is read once."""
    return labels.ids() if isinstance(labels, HasRows) else [item.molecule.id for item in labels]


def place_of(labels: Sequence[LabelledMolecule], index: int) -> str:
    """Return where a label is, for a message."""
    return labels.place(index) if isinstance(labels, HasRows) else f"label {index + 1} of the initial set"


def among(labels: Sequence[LabelledMolecule], molecules: Sequence[Molecule]) -> list[Molecule]:
    """Return the molecules that are in a training set as well, by SMILES or by geometry.

    Of a large set, the geometries of ``sample`` are compared, and the SMILES of all labels if the set knows them.
    """
    looked_at = sample(labels)
    geometries = {item.molecule.geometry_hash() for item in looked_at}
    structures = {smiles for item in looked_at if (smiles := item.molecule.smiles) is not None}
    if is_large(labels) and isinstance(labels, HasContents):
        structures |= labels.structures({m.smiles for m in molecules if m.smiles is not None})
    return [m for m in molecules if m.smiles in structures or m.geometry_hash() in geometries]


class Part(Sequence[LabelledMolecule]):
    """Some labels of a training set, read on demand.

    Args:
        labels: The set.
        indices: Which of them, in this order.
    """

    def __init__(self, labels: Sequence[LabelledMolecule], indices: Sequence[int]) -> None:
        self._labels = labels
        self._indices: npt.NDArray[np.int64] = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> LabelledMolecule: ...
    @overload
    def __getitem__(self, index: slice) -> Part: ...
    def __getitem__(self, index: int | slice) -> LabelledMolecule | Part:
        if isinstance(index, slice):
            return Part(self._labels, self._indices[index].tolist())
        return self._labels[int(self._indices[index])]

    def ids(self) -> Sequence[str]:
        """Return the ids of the molecules."""
        every = ids_of(self._labels)
        return [every[index] for index in self._indices.tolist()]

    def place(self, index: int) -> str:
        """Return where a label is."""
        return place_of(self._labels, int(self._indices[index]))
