"""Minimizing a user's own molecules: each one on its own, whatever becomes of the others.

Energies are the model's: no oracle judges the end points, as it does in a run. Of the nine statuses these occur:
``skipped`` (never walked: not a molecule that the model takes), ``error`` (the model failed on it), ``diverged``,
``topology_changed``, ``converged``, ``step_limit`` and ``interrupted``.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from pydantic import NonNegativeFloat, NonNegativeInt

from golfbench.batches import Batch
from golfbench.benchmark.records import FrozenModel, Status
from golfbench.chemistry import bond_graph_changed, stereo_changes
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer, device_of
from golfbench.errors import (
    ConfigurationError,
    GolfbenchError,
    MoleculeError,
    OracleError,
)
from golfbench.minimize import Outcome, Point, StoppingRule, minimize
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.entries import EndPoint, Entry, Notes, Unusable
from golfbench.molecule_files.minima import Settled, minimize_to_minima, symmetric
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import OptimizerSpec
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

#: Exit codes of what was left undone: some molecules, all of them, and by an interruption.
SOME_FAILED, NONE_USABLE, INTERRUPTED = 1, 2, 130

#: Molecules of up to so many atoms walk together.
SMALL = 200
#: An entry with its place.
_Walker = tuple[int, Entry]
#: Above so many failures, those that say the same are one line.
MOST_LINES = 20
_VARIABLE = re.compile(r"'[^']*'|[-+]?\d+(\.\d+)?")


class OwnRow(FrozenModel):
    """What became of one molecule.

    Attributes:
        id: Title of the record, name in the SMILES file, or the file and the number of the record.
        input: The file and the number of the record or line, or the SMILES as it was typed.
        smiles: Its SMILES, where the bonds are known.
        n_atoms: Number of atoms; ``None`` when it could not be read.
        charge: Total charge, e.
        multiplicity: 2S + 1.
        status: What became of it.
        n_steps: Optimizer updates.
        model_calls: Force evaluations.
        energy_initial_hartree: The model's energy of the start.
        energy_final_hartree: The model's energy of the end point.
        energy_change_kcal_mol: Final minus initial.
        force_max_final_ev_per_angstrom: The model's largest force norm of an atom at the end point.
        bond_graph_changed: Whether the end point has other bonds than the SMILES; ``None`` where there is none.
        stereo_changed: Whether it has the same bonds and is another stereoisomer than the start.
        is_minimum: Whether the end point is a minimum; ``None`` where that was not tested.
        curvature_min_ev_per_angstrom2: The smallest second derivative of the energy there, rigid motions apart.
        wall_s: Wall time of the minimization.
        error_type: Type of the exception.
        error_message: Its first line.
    """

    id: str
    input: str
    smiles: str | None = None
    n_atoms: NonNegativeInt | None = None
    charge: int | None = None
    multiplicity: int | None = None
    status: Status
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
    error_type: str | None = None
    error_message: str | None = None


def open_optimizer(name: str) -> Optimizer:
    """Open an optimizer by the name (with parameters) that a person gives."""
    optimizer: Optimizer = registry().component(OptimizerSpec, name).create()
    return optimizer


def stopping_rule(force_max: float, max_steps: int) -> StoppingRule:
    """Return the rule of a threshold (eV/Å) and a number of steps.

    Raises:
        ConfigurationError: If the threshold is not a number above 0.
    """
    if not 0 < force_max < math.inf:
        raise ConfigurationError(f"the force threshold must be above 0 eV/Å, not {force_max}")
    return StoppingRule(force_max, max_steps)


class _Answering:
    """A model whose failure on a molecule alone is the answer for that molecule, whatever is raised."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def cutoff(self) -> float | None:
        return self._model.cutoff

    @property
    def device(self) -> torch.device | str:
        return device_of(self._model)

    def energy_forces(self, batch: Batch) -> Evaluation:
        try:
            return self._model.energy_forces(batch)
        except Exception as error:
            # A missing engine or a wrong parameter is no fault of a molecule; a batch is asked again by halves.
            if len(batch) > 1 or (isinstance(error, GolfbenchError) and not isinstance(error, MoleculeError)):
                raise
            lost = torch.full_like(batch.positions, torch.nan)
            return Evaluation(lost[:1, 0], lost, {0: error})


def minimize_own(
    entries: Sequence[Entry | Unusable],
    driver: Driver,
    optimizer: Optimizer,
    rule: StoppingRule,
    advance: Callable[[int, int], None],
    keep: Callable[[int, EndPoint], None] | None = None,
    check_minima: bool = False,
    notes: Notes | None = None,
) -> list[OwnRow]:
    """Walk every molecule that the model takes downhill.

    Args:
        entries: What was read.
        driver: The model.
        optimizer: A fresh one.
        rule: When a molecule has arrived.
        advance: Told how many molecules of how many have stopped.
        keep: Told each end point (of what neither failed nor diverged) and its place among the entries, at once.
        check_minima: Test the end points, and walk on from saddles.
        notes: Told of end points that may be saddles.

    Returns:
        A row for each entry, in their order. After an interruption the rows of what was still walking say so.
    """
    rows: list[OwnRow] = []
    walking: list[_Walker] = []
    for k, entry in enumerate(entries):
        refusal = entry.error if isinstance(entry, Unusable) else _refusal(driver, entry.molecule)
        rows.append(_row(entry, Status.SKIPPED if refusal else Status.INTERRUPTED, error=refusal))
        if isinstance(entry, Entry) and refusal is None:
            walking.append((k, entry))
    walk = _walk(driver, walking, optimizer, rule, check_minima)
    with contextlib.suppress(KeyboardInterrupt):  # what is done by then is kept
        for done, ((k, entry), settled, start) in enumerate(walk, start=1):
            row, end = _judge(entry, settled, start), settled.outcome.point.positions
            if keep is not None and row.status.finished:
                keep(k, EndPoint(entry, end, _facts(row, driver)))
            if notes is not None and row.status == Status.CONVERGED and not check_minima:
                _note_symmetry(entry, end, notes)
            rows[k] = row
            advance(done, len(walking))
    return rows


def _refusal(driver: Driver, molecule: Molecule) -> MoleculeError | None:
    try:
        driver.check(molecule)
    except MoleculeError as error:
        return error
    return None


def _walk(
    driver: Driver, walking: Sequence[_Walker], optimizer: Optimizer, rule: StoppingRule, check_minima: bool
) -> Iterator[tuple[_Walker, Settled, float]]:
    """Yield each end with the energy of its start."""
    model, groups = _Answering(driver.model), _by_size(walking)
    for group in groups:
        starts: dict[int, float] = {}

        def observe(point: Point, starts: dict[int, float] = starts) -> bool:
            starts.setdefault(point.index, point.energy)
            return False

        left = 0
        try:
            molecules = [entry.molecule for _, entry in group]
            ends = (
                minimize_to_minima(model, molecules, optimizer, rule, observe)
                if check_minima
                else map(Settled, minimize(model, molecules, optimizer, rule, observe))
            )
            for settled in ends:
                left += 1
                place = settled.outcome.point.index
                yield group[place], settled, starts[place]
        except Exception:
            if left < len(group) or len(groups) == 1:
                raise  # otherwise a defect that other molecules escape: the rows say it


def _by_size(walking: Sequence[_Walker]) -> list[list[_Walker]]:
    """Return small molecules before large ones, whose steps are long: those beside them would wait for each.

    Each group holds molecules of up to twice as many atoms as the one before.
    """
    groups: defaultdict[int, list[_Walker]] = defaultdict(list)
    for k, entry in walking:
        groups[((len(entry.molecule) - 1) // SMALL).bit_length()].append((k, entry))
    return [groups[size] for size in sorted(groups)]


def _note_symmetry(entry: Entry, end: FloatArray, notes: Notes) -> None:
    """Note that a walk has kept the symmetry of its start: no force says that a saddle is none."""
    numbers = entry.molecule.numbers
    if symmetric(numbers, entry.molecule.positions) and symmetric(numbers, end):
        notes.add("symmetric at the start and at the end, which may be a saddle (--check-minima tells)", entry.source)


def _judge(entry: Entry, settled: Settled, start: float) -> OwnRow:
    outcome = settled.outcome
    point, molecule = outcome.point, entry.molecule
    status, error = _status(outcome), outcome.error or settled.untested
    changed = stereo_changed = None
    if status.finished and molecule.smiles is not None:
        changed = bond_graph_changed(molecule, point.positions)
        turned = () if changed else stereo_changes(molecule, point.positions)
        stereo_changed = None if changed else bool(turned)
        status = Status.TOPOLOGY_CHANGED if changed or turned else status
        if turned:
            error = MoleculeError(f"it became another stereoisomer: {'; '.join(turned)}")
    if isinstance(error, OracleError) and isinstance(error.__cause__, MoleculeError) and molecule.smiles is None:
        error = MoleculeError(f"{error} (an XYZ file has no bonds: give an SDF or a SMILES, or another model)")
    energy = point.energy if status.finished else math.nan
    return _row(
        entry,
        status,
        error,
        n_steps=point.step,
        model_calls=outcome.model_calls,
        energy_initial_hartree=_finite(start),
        energy_final_hartree=_finite(energy),
        energy_change_kcal_mol=_finite((energy - start) * HARTREE_TO_KCAL_MOL),
        force_max_final_ev_per_angstrom=_finite(point.force_max * HARTREE_TO_EV)
        if math.isfinite(point.energy)
        else None,
        bond_graph_changed=changed,
        stereo_changed=stereo_changed,
        is_minimum=settled.is_minimum,
        curvature_min_ev_per_angstrom2=settled.curvature,
        wall_s=outcome.wall_s,
    )


def _status(outcome: Outcome) -> Status:
    """Return the driver's status; what the model refused is skipped at the start, and led astray later."""
    error = outcome.error
    if isinstance(error, MoleculeError) or (isinstance(error, OracleError) and error.kind == "input"):
        return Status.DIVERGED if outcome.point.step else Status.SKIPPED
    return Status(outcome.status)


def _row(entry: Entry | Unusable, status: Status, error: Exception | None = None, **numbers: object) -> OwnRow:
    facts = dict(numbers)
    id = entry.id if isinstance(entry, Unusable) else entry.molecule.id
    if isinstance(entry, Entry):
        molecule = entry.molecule
        facts |= {"smiles": molecule.smiles, "n_atoms": len(molecule)}
        facts |= {"charge": molecule.charge, "multiplicity": molecule.multiplicity}
    if error is not None:
        message = next(iter(str(error).splitlines()), "").removeprefix(f"{id}: ")
        facts |= {"error_type": type(error).__name__, "error_message": message}
    return OwnRow.model_validate({"id": id, "input": entry.source, "status": status, **facts})


def _facts(row: OwnRow, driver: Driver) -> dict[str, str | float]:
    """Return what is written beside the end point."""
    assert row.energy_final_hartree is not None
    assert row.force_max_final_ev_per_angstrom is not None
    return {
        "model": driver.name,
        "method": driver.method,
        "status": row.status.value,
        "energy_final_hartree": row.energy_final_hartree,
        "force_max_final_ev_per_angstrom": row.force_max_final_ev_per_angstrom,
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def summary(rows: Sequence[OwnRow]) -> str:
    """Return how many molecules converged, and how many came to which other end."""
    counts = Counter(row.status for row in rows)
    others = [f", {counts[status]} {status}" for status in Status if counts[status] and status != Status.CONVERGED]
    tested = [row.is_minimum for row in rows if row.is_minimum is not None]
    minima = f"; {sum(tested)} of {len(tested)} tested end points are minima" if tested else ""
    return f"{counts[Status.CONVERGED]} of {len(rows)} molecules converged{''.join(others)}{minima}"


def failures(rows: Sequence[OwnRow]) -> list[str]:
    """Return a line for each row with a reason; above ``MOST_LINES``, for each kind of reason and its first row."""
    failed = [row for row in rows if row.error_message is not None]
    if len(failed) <= MOST_LINES:
        return [_reason(row) for row in failed]
    kinds: defaultdict[tuple[object, ...], list[OwnRow]] = defaultdict(list)
    for row in failed:
        kinds[row.status, row.error_type, _VARIABLE.sub("*", row.error_message or "")].append(row)
    return [
        _reason(first) if not others else f"{len(others) + 1} molecules are {first.status} like {_reason(first)}"
        for first, *others in kinds.values()
    ]


def _reason(row: OwnRow) -> str:
    where = row.input if row.input.endswith(row.id) else f"{row.input}: {row.id}"
    return f"{where}: {row.error_message}"


def exit_code(rows: Sequence[OwnRow]) -> int:
    """Return 0 when all converged, 130 after an interruption, 2 when no molecule was usable, otherwise 1.

    Where minima were asked for, what is none or could not be tested counts as not converged.
    """
    statuses = {row.status for row in rows}
    if statuses == {Status.CONVERGED}:
        return SOME_FAILED if any(row.error_type for row in rows) else 0
    if Status.INTERRUPTED in statuses:
        return INTERRUPTED
    return NONE_USABLE if statuses == {Status.SKIPPED} else SOME_FAILED
