"""What became of a user's own molecules, one row each, and what a person is told of all of them."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum

from pydantic import NonNegativeFloat, NonNegativeInt

from golfbench.benchmark.records import FrozenModel, Status

#: Exit codes of what was left undone: some molecules, all of them, and by an interruption.
SOME_FAILED, NONE_USABLE, INTERRUPTED = 1, 2, 130
#: Above so many failures, those that say the same are one line.
MOST_LINES = 20
_VARIABLE = re.compile(r"'[^']*'|[-+]?\d+(\.\d+)?")


class Verdict(StrEnum):
    """What an oracle made of a molecule whose walk on the model has ended; else it has a ``Status``."""

    VERIFIED = "verified"
    ORACLE_BUDGET_SPENT = "oracle_budget_spent"

    @property
    def finished(self) -> bool:
        """Whether there is an end point that did not diverge; see ``Status.finished``."""
        return True


class OwnRow(FrozenModel):
    """What became of one molecule.

    What begins with ``oracle_`` is ``None`` where no oracle was asked, or gave no answer.

    Attributes:
        id: Title of the record, name in the SMILES file, or the file and the number of the record.
        input: The file and the number of the record or line, or the SMILES as it was typed.
        smiles: Its SMILES, where the bonds are known.
        n_atoms: Number of atoms; ``None`` when it could not be read.
        charge: Total charge, e.
        multiplicity: 2S + 1.
        status: What became of it. ``verified``: no force of the oracle's is above the threshold.
        n_steps: Optimizer updates.
        model_calls: Force evaluations.
        energy_initial_hartree: The model's energy of the start.
        energy_final_hartree: The model's energy where the walk on the model ended.
        energy_change_kcal_mol: Final minus initial.
        force_max_final_ev_per_angstrom: The model's largest force norm of an atom there.
        bond_graph_changed: Whether the end point has other bonds than the SMILES; ``None`` where there is none.
        stereo_changed: Whether it has the same bonds and is another stereoisomer than the start.
        is_minimum: Whether the end point is a minimum; ``None`` where that was not tested.
        curvature_min_ev_per_angstrom2: The smallest second derivative of the energy there, rigid motions apart.
        wall_s: Wall time of the minimization.
        oracle_energy_hartree: The oracle's energy of the end point.
        oracle_energy_change_kcal_mol: That, minus its energy where the walk on the model ended.
        oracle_force_max_ev_per_angstrom: The oracle's largest force norm of an atom at the end point.
        oracle_labels: Labels that were asked for.
        oracle_calls: Calls that an engine was asked for them; labels that were known already cost none.
        record: Place of the record among all that were given, from 1.
        unique_id: The id, or for each of several molecules with the same one, the id with a number of its own.
        energy_relative_kcal_mol: Final energy above the lowest of the same molecule; ``None`` where nothing converged
            or the bonds changed.
        boltzmann_weight: Its share among the conformers of its molecule, 0 to 1; ``None`` where nobody asked.
        left_out: Why it is not in the output although it has an end point: above the window, or the same as another.
        error_type: Type of the exception.
        error_message: Its first line.
    """

    id: str
    input: str
    smiles: str | None = None
    n_atoms: NonNegativeInt | None = None
    charge: int | None = None
    multiplicity: int | None = None
    status: Status | Verdict
    n_steps: NonNegativeInt = 0
    model_calls: NonNegativeInt = 0
    energy_initial_hartree: float | None = None
    energy_final_hartree: float | None = None
    energy_change_kcal_mol: float | None = None
    force_max_final_ev_per_angstrom: NonNegativeFloat | None = None
    bond_graph_changed: bool | None = None
    stereo_changed: bool | None = None
    is_minimum: bool | None = None
    curvature_min_ev_per_angstrom2: float | None = None
    wall_s: NonNegativeFloat = 0.0
    oracle_energy_hartree: float | None = None
    oracle_energy_change_kcal_mol: float | None = None
    oracle_force_max_ev_per_angstrom: NonNegativeFloat | None = None
    oracle_labels: NonNegativeInt | None = None
    oracle_calls: NonNegativeInt | None = None
    record: NonNegativeInt = 0
    unique_id: str = ""
    energy_relative_kcal_mol: NonNegativeFloat | None = None
    boltzmann_weight: NonNegativeFloat | None = None
    left_out: str | None = None
    error_type: str | None = None
    error_message: str | None = None


class Tally:
    """Counts rows as they pass; what it keeps does not grow with their number."""

    def __init__(self) -> None:
        self._statuses: Counter[Status | Verdict] = Counter()
        self._labels: Counter[str] = Counter()
        self._minima: Counter[bool] = Counter()
        self._left_out: Counter[str] = Counter()
        self._first: list[OwnRow] = []  # the first rows with a reason
        self._kinds: dict[tuple[object, ...], tuple[OwnRow, int]] = {}  # one of each kind, and how many
        self.charged = 0

    def add(self, row: OwnRow) -> None:
        """Count a row."""
        self._statuses[row.status] += 1
        self._labels.update({"labels": row.oracle_labels or 0, "calls": row.oracle_calls or 0})
        self.charged += bool(row.charge) or row.multiplicity not in (None, 1)
        if row.is_minimum is not None:
            self._minima[row.is_minimum] += 1
        if row.left_out is not None:
            self._left_out["the same as another" if row.left_out.startswith("same") else row.left_out] += 1
        if row.error_message is not None:
            if len(self._first) <= MOST_LINES:
                self._first.append(row)
            kind = row.status, row.error_type, _VARIABLE.sub("*", row.error_message)
            first, count = self._kinds.get(kind, (row, 0))
            self._kinds[kind] = first, count + 1

    def __len__(self) -> int:
        return self._statuses.total()

    def summary(self) -> str:
        """Return how many molecules converged, and how many came to which other end."""
        counts = self._statuses
        asked = counts[Verdict.ORACLE_BUDGET_SPENT] or self._labels["labels"]
        first: Status | Verdict = Verdict.VERIFIED if asked else Status.CONVERGED
        others = [
            f", {counts[status]} {status}" for status in (*Status, *Verdict) if counts[status] and status != first
        ]
        text = f"{counts[first]} of {len(self)} molecules {first}{''.join(others)}"
        if self._labels["labels"]:
            text += f"; {self._labels['labels']} oracle labels by {self._labels['calls']} calls"
        if self._minima:
            text += f"; {self._minima[True]} of {self._minima.total()} tested end points are minima"
        return text + "".join(f"; {count} left out: {reason}" for reason, count in self._left_out.items())

    def failures(self) -> list[str]:
        """Return a line for each row with a reason; above ``MOST_LINES``, for each kind of reason and its first row."""
        if len(self._first) <= MOST_LINES:
            return list(map(_reason, self._first))
        return [
            _reason(first) if count == 1 else f"{count} molecules are {first.status} like {_reason(first)}"
            for first, count in self._kinds.values()
        ]

    def exit_code(self) -> int:
        """Return 0 when all converged or are verified, 130 after an interruption, 2 when none was usable, otherwise 1.

        Where minima were asked for, what is none or could not be tested counts as not converged.
        """
        statuses = set(self._statuses)
        if statuses and statuses <= {Status.CONVERGED, Verdict.VERIFIED}:
            return SOME_FAILED if self._first else 0
        if Status.INTERRUPTED in statuses:
            return INTERRUPTED
        return NONE_USABLE if statuses <= {Status.SKIPPED} else SOME_FAILED


def _reason(row: OwnRow) -> str:
    where = row.input if row.input.endswith(row.id) else f"{row.input}: {row.id}"
    return f"{where}: {row.error_message}"
