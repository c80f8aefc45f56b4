"""Several training sets as one, without reading them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import overload

import numpy as np

from golfbench.contracts import LabelledMolecule
from golfbench.training_sets import Part
from golfbench_datasets.labels_in_file import LabelsInFile


class Joined(Sequence[LabelledMolecule]):
    """The labels of several files, one file after the other (see ``contracts.HasRows`` and ``HasContents``).

    Args:
        parts: The files.
    """

    def __init__(self, parts: Sequence[LabelsInFile]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> LabelledMolecule: ...
    @overload
    def __getitem__(self, index: slice) -> Part: ...
    def __getitem__(self, index: int | slice) -> LabelledMolecule | Part:
        if isinstance(index, slice):
            return Part(self, range(*index.indices(len(self))))
        part, within = self._where(index)
        return part[within]

    def _where(self, index: int) -> tuple[LabelsInFile, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[number]
        return part, index - (self._ends[number] - len(part))

    def ids(self) -> Sequence[str]:
        """Return the ids of all molecules, in order."""
        return [name for part in self._parts for name in part.ids()]

    def place(self, index: int) -> str:
        """Return the file and the row of a label."""
        part, within = self._where(index)
        return part.place(within)

    def examples(self, most: int) -> Sequence[int]:
        """Return indices of labels that have each element that occurs: ``most`` for each and file."""
        firsts = [end - len(part) for end, part in zip(self._ends, self._parts, strict=True)]
        return [first + index for first, part in zip(firsts, self._parts, strict=True) for index in part.examples(most)]

    def structures(self, smiles: Collection[str]) -> set[str]:
        """Return which of these SMILES occur."""
        return set().union(*(part.structures(smiles) for part in self._parts))
