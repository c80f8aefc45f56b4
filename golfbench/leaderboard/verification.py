"""Asking the oracle again: do the energies of an entry belong to its geometries?

Only data of the entry are used, and the oracle is the track's: no program or component that a submitter names is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golfbench.benchmark.records import Record
from golfbench.contracts import Dataset
from golfbench.errors import NothingToDoError, OracleError
from golfbench.leaderboard.entries import Entry
from golfbench.leaderboard.geometries import unpack
from golfbench.leaderboard.tracks import Track
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.seeds import derived


@dataclass(frozen=True, slots=True)
class Answer:
    """One energy that was computed again.

    Attributes:
        molecule: Its id.
        seed: Seed of the walk; ``None`` for a reference minimum or a fixed model.
        what: ``end point`` or ``reference minimum``.
        published_hartree: What the entry (or the dataset) says.
        answer_hartree: What the oracle says; ``None`` if it gave no energy.
        error: Why not.
        agrees: Whether the two are within the track's tolerance.
    """

    molecule: str
    seed: int | None
    what: str
    published_hartree: float
    answer_hartree: float | None
    error: str
    agrees: bool

    @property
    def difference_hartree(self) -> float | None:
        """The oracle's energy less the published one."""
        return None if self.answer_hartree is None else self.answer_hartree - self.published_hartree


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """What the oracle said of one entry.

    Attributes:
        answers: What was asked.
        engine: Which engine answered.
        engines: Which ones the entry names.
    """

    answers: tuple[Answer, ...]
    engine: str
    engines: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every answer is the published one."""
        return all(answer.agrees for answer in self.answers)


def verify(
    entry: Entry,
    track: Track,
    dataset: Dataset,
    sample: int,
    seed: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> VerifiedEntry:
    """Ask the oracle for random end points of an entry, and for the reference minima of the same molecules.

    Args:
        entry: One that ``checks.problems`` finds nothing wrong with.
        track: Names the oracle and the tolerance.
        dataset: The track's.
        sample: End points, at most; all that have an energy if there are fewer.
        seed: Which ones: the same seed chooses the same.
        advance: Called with the number of answers so far and in all.

    Raises:
        NothingToDoError: If no end point has an energy.
        ComponentMissingError: If the oracle is not installed.
    """
    questions = _questions(entry, dataset, sample, seed)
    answers = []
    with open_oracle(track.oracle.name, registry()) as oracle:
        for what, walk, molecule, energy in questions:
            found, error = None, ""
            try:
                found = oracle.label(molecule)[0]
            except OracleError as failure:
                error = str(failure)
            agrees = found is not None and abs(found - energy) <= track.oracle.tolerance_hartree
            answers.append(Answer(molecule.id, walk, what, energy, found, error, agrees))
            advance(len(answers), len(questions))
        engine = oracle.version
    engines = tuple(sorted({engine for run in entry.runs for engine in run.engines}))
    return VerifiedEntry(tuple(answers), engine, engines)


#: What is asked: name of the kind, seed of the walk, geometry, published energy.
_Question = tuple[str, int | None, Molecule, float]


def _questions(entry: Entry, dataset: Dataset, sample: int, seed: int) -> list[_Question]:
    test = {item.molecule.id: item for item in dataset.test}
    candidates: list[tuple[int, Record]] = [
        (number, record)
        for number, run in enumerate(entry.runs)
        for record in run.records
        if record.energy_final_hartree is not None
    ]
    if not candidates:
        raise NothingToDoError(f"{entry.entry_id} has no end point with an energy")
    rng = derived(seed, "verify", entry.entry_id)
    chosen = np.sort(rng.permutation(len(candidates))[:sample])
    positions = [unpack(run.end_points) for run in entry.runs]
    ends: list[_Question] = []
    for number, record in (candidates[k] for k in chosen):
        assert record.energy_final_hartree is not None
        molecule = test[record.molecule].molecule.at(positions[number][record.molecule])
        ends.append(("end point", entry.runs[number].seed, molecule, record.energy_final_hartree))
    minima: list[_Question] = []
    for id in dict.fromkeys(molecule.id for _, _, molecule, _ in ends):
        item = test[id]
        if item.minimum is not None and item.minimum_positions is not None:
            at_minimum = item.molecule.at(item.minimum_positions)
            minima.append(("reference minimum", None, at_minimum, item.minimum.energy))
    return ends + minima
