"""The last stage of a conformer search: the lowest conformers of each molecule walk to the oracle's own minima.

They start from the second derivatives of the model that ranked them. Conformers that come to the same minimum are one,
and the oracle's energies rank; those that were not among the lowest are left out, since their energies are another
model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from golfbench.molecule_files.conformers import Conformer, Finish, Search, ranked_of, unfinished
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import EndPoint
from golfbench.molecule_files.library import Job
from golfbench.molecule_files.minimizing import stopping_rule
from golfbench.molecule_files.oracle_walks import OnLabel, OracleWalks, Start, Verification, open_walks
from golfbench.molecule_files.output import Kept, open_output
from golfbench.molecule_files.ranking import shape_of
from golfbench.molecule_files.state import State
from golfbench.molecule_files.verifying import Judge

#: Labels for each conformer: from a network's minimum a walk needs 5 to 15. Those of one molecule share them by need.
LABELS_EACH = 25


@contextmanager
def open_finish(
    search: Search,
    better: Driver,
    state: State,
    folder: Path | None = None,
    on_label: OnLabel | None = None,
) -> Iterator[Finish]:
    """Open the oracle of a search, if it has one.

    Args:
        search: How conformers are searched.
        better: The model that ranked them.
        state: Of the command: keeps second derivatives.
        folder: Where the ledger and the labels are; ``None`` for a temporary place.
        on_label: Told of each label.

    Raises:
        ConfigurationError: If the oracle is not known.
        ComponentMissingError: If its engine is not installed.
    """
    if search.oracle is None:
        yield unfinished
        return
    verification = Verification(search.oracle, search.verify * LABELS_EACH)
    rule = stopping_rule(search.force_max, search.max_steps)
    job = Job(better.name, None, better.name, search.optimizer, rule, verification=verification, gives_ends=True)
    with open_walks(verification, job.rules, better, state, folder, None) as walks:
        walks.on_label = on_label or walks.on_label
        yield _Finisher(search, job, walks, better)


class _Finisher:
    """A ``Finish``.

    Args:
        search: How conformers are searched.
        job: How the oracle finishes them.
        walks: The oracle.
        driver: The model that ranked them.
    """

    def __init__(self, search: Search, job: Job, walks: OracleWalks, driver: Driver) -> None:
        self._search, self._job, self._walks, self._driver = search, job, walks, driver

    def __call__(self, conformers: Sequence[Conformer], place: int) -> tuple[list[Conformer], list[Conformer]]:
        """Finish the lowest; see ``Finish``."""
        found: dict[int, EndPoint | None] = {}
        with open_output(None, False) as kept:
            starts = []
            for number, conformer in enumerate(conformers[: self._search.verify], start=place):
                row, end = conformer.row.model_copy(update={"record": number + 1}), conformer.end
                assert end is not None
                kept.add(Kept(number, row, None, shape_of(row, end)))
                starts.append(Start(number, end.given, row, end.positions))
            for one in Judge(self._job, self._walks, self._driver, kept).run(starts):
                found[one.place] = one.end if one.shape is not None else None
            return ranked_of(kept, found, self._search.rankings()[1])
