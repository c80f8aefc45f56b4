"""What an oracle makes of the ends of a model's walks: every one is judged, and within a budget they are finished.

First every end point gets a label, in the order of the input. What is left of the budget is shared by need: those that
are expected to arrive with the fewest labels come first, and what they leave over is shared again. So a molecule near
its minimum never waits for labels that another one eats, and the shares do not depend on how long calls take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice

from golfbench.benchmark.records import Status
from golfbench.contracts import LabelledMolecule
from golfbench.errors import OracleError
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import EndPoint
from golfbench.molecule_files.library import Job
from golfbench.molecule_files.minimizing import changes, facts_of, said_of, undisturbed
from golfbench.molecule_files.oracle_walks import (
    OnLabel,
    OracleWalks,
    Start,
    Walked,
    energy_of,
    open_walks,
    oracle_folder,
    tell_nobody,
)
from golfbench.molecule_files.output import Kept, Output
from golfbench.molecule_files.ranking import shape_of
from golfbench.molecule_files.reading import Records
from golfbench.molecule_files.rows import OwnRow, Verdict
from golfbench.molecule_files.writing import molecule_bytes
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

#: Labels to the threshold, by the logarithm of how far the largest force is above it.
LABELS_PER_LOG = 1.5


def verify_library(
    inputs: Records,
    job: Job,
    driver: Driver,
    output: Output,
    workers: int | None = None,
    on_label: OnLabel = tell_nobody,
) -> Iterator[Kept]:
    """Have an oracle judge, and within a budget finish, what ``minimize_library`` has kept; yield each when it is done.

    Args:
        inputs: The molecules, which are read once more.
        job: What is done with them; its ``verification`` says what is asked.
        driver: The model.
        output: Where they are kept.
        workers: Oracle calls at a time; ``None`` leaves it to the executor.
        on_label: Told of each label.

    Raises:
        KeyboardInterrupt: After what was under way has been kept as it is.
        WriteError: If something cannot be kept.
    """
    with open_judge(job, driver, output, workers, on_label) as judge:
        yield from judge.run(job.starts(inputs.again(), output))


@contextmanager
def open_judge(job: Job, driver: Driver, output: Output, workers: int | None, on_label: OnLabel) -> Iterator[Judge]:
    """Open the oracle that a job names; see ``verify_library``."""
    assert job.verification is not None
    folder = None if output.path is None else oracle_folder(output.path)
    with open_walks(job.verification, job.rules, driver, output, folder, workers) as walks:
        walks.on_label = on_label
        yield Judge(job, walks, driver, output)


class Judge:
    """Has the oracle look at molecules, and keeps what it says.

    Args:
        job: What is done; its ``verification`` says what is asked.
        walks: Who asks.
        driver: The model that came first.
        output: Where molecules are kept.
    """

    def __init__(self, job: Job, walks: OracleWalks, driver: Driver, output: Output) -> None:
        assert job.verification is not None
        self._verification, self._walks, self._rules = job.verification, walks, job.rules
        self._driver, self._output, self._gives_ends = driver, output, job.gives_ends
        self._done = output.judged()

    def run(self, starts: Iterable[Start]) -> Iterator[Kept]:
        """Yield molecules when the oracle has done with them, and they are kept.

        Raises:
            KeyboardInterrupt: After what was under way has been kept as it is.
        """
        budget = self._verification.budget
        if budget is None:
            found = self._walks.walks((start, 1) for start in starts if start.place not in self._done)
        else:
            purse = self.purse(budget)
            found = chain(purse.group(starts, budget), purse.rest())
        try:
            yield from self.kept(found)
        except KeyboardInterrupt:
            yield from self.interrupted()
            raise

    def kept(self, found: Iterable[Walked]) -> Iterator[Kept]:
        """Keep molecules as they come, unless they are kept already, and yield them."""
        for walked in found:
            with undisturbed():
                yield from self._keep(walked)

    def interrupted(self) -> Iterator[Kept]:
        """Keep what was under way when everything was ended, as it is."""
        return self.kept(self._walks.interrupted())

    def purse(self, labels: int) -> Purse:
        """Return a budget for these walks."""
        return Purse(self._walks, labels, self._rules.rule.force_max_hartree)

    def _keep(self, walked: Walked) -> Iterator[Kept]:
        if walked.start.place in self._done:
            return
        kept = self._kept(walked)
        self._output.add(kept, by_oracle=True)
        yield kept

    def _kept(self, walked: Walked) -> Kept:
        start, row = walked.start, self._row(walked)
        positions = start.positions if walked.end is None else walked.end.positions
        end = EndPoint(start.given, positions, {**facts_of(row, self._driver), **self._facts(row)})
        path = self._output.path
        data = None if path is None else molecule_bytes(path.suffix, end)
        return Kept(start.place, row, data, shape_of(row, end), end if self._gives_ends else None)

    def _row(self, walked: Walked) -> OwnRow:
        start, found, end = walked.start, walked.outcome, walked.end
        status, error = self._status(walked), None if found is None else found.error
        facts: dict[str, object] = {"oracle_labels": walked.labels, "oracle_calls": self._walks.calls(start)}
        if end is not None:
            held = self._rules.constraints.of(start.given)
            energy = energy_of(end, held)
            facts["oracle_energy_hartree"] = energy
            facts["oracle_force_max_ev_per_angstrom"] = end.force_max * HARTREE_TO_EV
            if walked.first is not None:
                change = energy - energy_of(walked.first, held)
                facts["oracle_energy_change_kcal_mol"] = change * HARTREE_TO_KCAL_MOL
            changed, stereo_changed, turned = changes(start.given.molecule, end.positions)
            facts |= {"bond_graph_changed": changed, "stereo_changed": stereo_changed}
            if status.finished and (changed or stereo_changed):
                status, error = Status.TOPOLOGY_CHANGED, turned
        if error is not None:
            facts |= said_of(start.row.id, error)
        return start.row.model_copy(update={**facts, "status": status})

    def _status(self, walked: Walked) -> Status | Verdict:
        outcome = walked.outcome
        if walked.interrupted:
            return Status.INTERRUPTED
        if outcome is None:
            return Verdict.ORACLE_BUDGET_SPENT
        if outcome.status == "converged":
            return Verdict.VERIFIED
        if outcome.status == "step_limit":
            if self._verification.budget is None:
                return walked.start.row.status
            return Verdict.ORACLE_BUDGET_SPENT if walked.is_open else Status.STEP_LIMIT
        return Status.ORACLE_FAILED if isinstance(outcome.error, OracleError) else Status(outcome.status)

    def _facts(self, row: OwnRow) -> dict[str, str | float]:
        """Return what is written of the oracle beside an end point."""
        numbers = {
            "oracle_energy_hartree": row.oracle_energy_hartree,
            "oracle_force_max_ev_per_angstrom": row.oracle_force_max_ev_per_angstrom,
            "oracle_labels": row.oracle_labels,
        }
        told = {name: number for name, number in numbers.items() if number is not None}
        return {"oracle": self._verification.oracle, "oracle_method": self._verification.method, **told}


class Purse:
    """A budget of labels, and what it is spent on.

    Args:
        walks: Who spends it.
        labels: How many there are.
        threshold: Largest force of a molecule that has arrived, Hartree/Å.

    Attributes:
        left: Labels that are left.
    """

    def __init__(self, walks: OracleWalks, labels: int, threshold: float) -> None:
        self._walks, self.left, self._threshold = walks, labels, threshold
        self._open: dict[int, Walked] = {}
        self._labelled: dict[int, Sequence[LabelledMolecule]] = {}

    def group(self, starts: Iterable[Start], share: int) -> Iterator[Walked]:
        """Judge molecules, and finish those that a share of the labels suffices for; yield what is done with."""
        waiting, share = iter(starts), min(share, self.left)
        first = [(start, 1) for start in islice(waiting, share)]
        yield from self._spend(first, {}, share)
        yield from map(Walked, waiting)

    def rest(self) -> Iterator[Walked]:
        """Spend what is left on what is open, and yield all of it."""
        asked = shares(list(self._open.values()), self.left, self._threshold)
        yield from self._spend(asked, self._open, self.left)
        yield from self._open.values()

    def labels_of(self, places: Sequence[int]) -> list[LabelledMolecule]:
        """Return the labels of molecules, one molecule after the other."""
        return [label for place in places for label in self._labelled.pop(place, ())]

    def _spend(self, asked: list[tuple[Start, int]], mine: dict[int, Walked], share: int) -> Iterator[Walked]:
        while asked:
            for walked in self._walks.walks(asked):
                before = mine.pop(walked.start.place, None)
                spent = walked.labels - (before.labels if before else 0)
                self.left, share = self.left - spent, share - spent
                self._labelled[walked.start.place] = walked.labelled
                if walked.is_open:
                    mine[walked.start.place] = walked
                else:
                    yield walked
            asked = shares(list(mine.values()), share, self._threshold)
        self._open |= mine


def shares(walked: Sequence[Walked], left: int, threshold: float) -> list[tuple[Start, int]]:
    """Return the molecules that go on, each with the labels that it may have in all: the nearest to the end first.

    Args:
        walked: Those that are open.
        left: Labels that may still be asked for.
        threshold: Largest force of a molecule that has arrived, Hartree/Å.
    """
    found = []
    # Molecules end in the order in which calls return; equal needs are told apart by the order of the input instead.
    needs = sorted((expected(one, threshold), one.start.place, k) for k, one in enumerate(walked))
    for need, _, k in needs:
        one, given = walked[k], min(need, left)
        left -= given
        if given:
            found.append((one.start, one.labels + given))
    return found


def expected(walked: Walked, threshold: float) -> int:
    """Return how many more labels a molecule will need, by its largest force where its energy is the lowest."""
    above = walked.end.force_max / threshold if walked.end else math.inf
    return math.ceil(1 + LABELS_PER_LOG * math.log(above)) if 1 < above < math.inf else 1
