"""Labels on their way: asked for in one round, learned from in a later one, so that neither training nor oracle waits.

In order, the labels of a round are learned from exactly ``lag`` rounds after they were asked for, whenever they come:
the same run again is the same run, on any number of workers. Otherwise labels are taken as they come, and the stream
waits only when more than ``lag`` rounds of them are on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from golfbench.contracts import Label
from golfbench.errors import OracleError
from golfbench.molecules import Molecule


@dataclass(frozen=True, slots=True)
class Asked:
    """A geometry whose label is on its way.

    Attributes:
        molecule: The geometry.
        round: When it was asked for.
        label: Gives the label, when it comes.
    """

    molecule: Molecule
    round: int
    label: Future[Label]


#: A geometry with its label or the failure in its place.
Answer = tuple[Asked, Label | OracleError]


class Stream:
    """The labels of one loop that are on their way.

    Args:
        ask: Asks for one label, in a round.
        wait_for: Waits for one and returns it, or its failure.
        lag: Rounds that may pass between asking and learning.
        in_order: Whether labels are given out in the order in which they were asked for.
    """

    def __init__(
        self,
        ask: Callable[[Molecule, int], Future[Label]],
        wait_for: Callable[[Future[Label]], Label | OracleError],
        lag: int,
        in_order: bool,
    ) -> None:
        self._ask, self._wait_for, self._lag, self._in_order = ask, wait_for, lag, in_order
        self._asked: deque[Asked] = deque()

    def __len__(self) -> int:
        return len(self._asked)

    def push(self, molecules: Sequence[Molecule], round: int) -> None:
        """Ask for labels."""
        self._asked.extend([Asked(molecule, round, self._ask(molecule, round)) for molecule in molecules])

    def pull(self, round: int) -> list[Answer]:
        """Return what is to be learned from in a round, waiting for it where it must."""
        last = round - self._lag
        return list(self._due(last) if self._in_order else self._arrived(last))

    def _due(self, last: int) -> Iterator[Answer]:
        while self._asked and self._asked[0].round <= last:
            first = self._asked.popleft()
            yield first, self._wait_for(first.label)

    def _arrived(self, last: int) -> Iterator[Answer]:
        """Give out what is there, and wait as long as something is older than it may be."""
        while True:
            done = [asked for asked in self._asked if asked.label.done()]
            self._asked = deque(asked for asked in self._asked if asked not in done)
            yield from ((asked, self._wait_for(asked.label)) for asked in done)
            overdue = [asked.label for asked in self._asked if asked.round <= last]
            if not overdue:
                return
            wait(overdue, return_when=FIRST_COMPLETED)

    def to_json(self) -> list[dict[str, Any]]:
        """Return what is on its way, for a checkpoint."""
        return [{"round": asked.round, "molecule": asked.molecule.to_json()} for asked in self._asked]

    def restore(self, data: Sequence[dict[str, Any]]) -> list[Molecule]:
        """Ask again for what ``to_json`` returned, and return it; what was delivered meanwhile comes at once."""
        for entry in data:
            self.push([Molecule.from_json(entry["molecule"])], entry["round"])
        return [asked.molecule for asked in self._asked]
