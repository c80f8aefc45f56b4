"""Minimizing a user's own molecules: each one on its own, whatever becomes of the others.

Energies are the model's: no oracle judges the end points, as it does in a run. Of the nine statuses these occur:
``skipped`` (never walked: not a molecule that the model takes), ``error`` (the model failed on it), ``diverged``,
``topology_changed``, ``converged``, ``step_limit`` and ``interrupted``.
"""

from __future__ import annotations

import math
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from golfbench.batches import Batch
from golfbench.benchmark.records import Status
from golfbench.chemistry import bond_graph_changed, stereo_changes
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer, device_of
from golfbench.errors import (
    ConfigurationError,
    GolfbenchError,
    MoleculeError,
    OracleError,
)
from golfbench.minimization import Outcome, Point, StoppingRule, minimize
from golfbench.molecule_files.constraints import FREE, Constraints
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Notes, Unusable
from golfbench.molecule_files.minima import Settled, minimize_to_minima, symmetric
from golfbench.molecule_files.rows import OwnRow
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import OptimizerSpec
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

#: Molecules of up to so many atoms walk together.
SMALL = 200
#: What asks a program to end.
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
#: A molecule with its place among the inputs.
_Walker = tuple[int, InputMolecule]


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


@dataclass(frozen=True, slots=True)
class Finished:
    """One molecule that has left.

    Attributes:
        place: Its place among the inputs.
        row: What became of it.
        end: Where it came to rest; ``None`` where it failed or diverged.
    """

    place: int
    row: OwnRow
    end: EndPoint | None = None


def minimize_own(
    inputs: Sequence[InputMolecule | Unusable],
    driver: Driver,
    optimizer: Optimizer,
    rule: StoppingRule,
    check_minima: bool = False,
    notes: Notes | None = None,
    constraints: Constraints = FREE,
    may_raise: bool = True,
) -> Iterator[Finished]:
    """Walk every molecule that the model takes downhill; yield each when it leaves.

    Args:
        inputs: What was read.
        driver: The model.
        optimizer: A fresh one.
        rule: When a molecule has arrived.
        check_minima: Test the end points, and walk on from saddles.
        notes: Told of end points that may be saddles.
        constraints: What does not move.
        may_raise: Whether what the model raises on every molecule comes out, as a defect, and not in rows.

    Yields:
        One for each input. After an interruption those that were still walking come with that status, and then the
        interruption itself is raised.
    """
    walking: dict[int, InputMolecule] = {}
    for k, given in enumerate(inputs):
        refusal = given.error if isinstance(given, Unusable) else _refusal(driver, given, constraints)
        if isinstance(given, InputMolecule) and refusal is None:
            walking[k] = given
        else:
            yield Finished(k, _row(given, Status.SKIPPED, error=refusal))
    try:
        walk = _walk(driver, list(walking.items()), optimizer, rule, check_minima, constraints, may_raise)
        for (k, given), settled, start in walk:
            row, end = _judge(given, settled, start, constraints), settled.outcome.point.positions
            if notes is not None and row.status == Status.CONVERGED and not check_minima:
                _note_symmetry(given, end, notes)
            del walking[k]
            with undisturbed():
                yield Finished(k, row, EndPoint(given, end, facts_of(row, driver)) if row.status.finished else None)
    except KeyboardInterrupt:  # what is done by then is kept
        yield from (Finished(k, _row(given, Status.INTERRUPTED)) for k, given in walking.items())
        raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back what interrupts while a molecule is kept: only the walk knows which ones are still under way."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _refusal(driver: Driver, given: InputMolecule, constraints: Constraints) -> MoleculeError | None:
    try:
        driver.check(given.molecule)
        constraints.of(given)
    except MoleculeError as error:
        return error
    return None


def _walk(
    driver: Driver,
    walking: Sequence[_Walker],
    optimizer: Optimizer,
    rule: StoppingRule,
    check_minima: bool,
    constraints: Constraints,
    may_raise: bool,
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
            molecules = [given.molecule for _, given in group]
            held = [constraints.of(given) for _, given in group] if constraints else None
            ends = (
                minimize_to_minima(model, molecules, optimizer, rule, observe)
                if check_minima
                else map(Settled, minimize(model, molecules, optimizer, rule, observe, constraints=held))
            )
            for settled in ends:
                left += 1
                place = settled.outcome.point.index
                yield group[place], settled, starts[place]
        except Exception:
            if left < len(group) or (may_raise and len(groups) == 1):
                raise  # otherwise a defect that other molecules escape: the rows say it


def _by_size(walking: Sequence[_Walker]) -> list[list[_Walker]]:
    """Return small molecules before large ones, whose steps are long: those beside them would wait for each.

    Each group holds molecules of up to twice as many atoms as the one before.
    """
    groups: defaultdict[int, list[_Walker]] = defaultdict(list)
    for k, given in walking:
        groups[((len(given.molecule) - 1) // SMALL).bit_length()].append((k, given))
    return [groups[size] for size in sorted(groups)]


def _note_symmetry(given: InputMolecule, end: FloatArray, notes: Notes) -> None:
    """Note that a walk has kept the symmetry of its start: forces do not tell a saddle from a minimum."""
    numbers = given.molecule.numbers
    if symmetric(numbers, given.molecule.positions) and symmetric(numbers, end):
        notes.add("symmetric at the start and at the end, which may be a saddle (--check-minima tells)", given.source)


def _judge(given: InputMolecule, settled: Settled, start: float, constraints: Constraints) -> OwnRow:
    outcome = settled.outcome
    point, molecule = outcome.point, given.molecule
    status, error = _status(outcome), outcome.error or settled.untested
    changed = stereo_changed = None
    if status.finished:
        changed, stereo_changed, turned = changes(molecule, point.positions)
        status = Status.TOPOLOGY_CHANGED if changed or stereo_changed else status
        error = turned or error
    if isinstance(error, OracleError) and isinstance(error.__cause__, MoleculeError) and molecule.smiles is None:
        error = MoleculeError(f"{error} (an XYZ file has no bonds: give an SDF or a SMILES, or another model)")
    springs = held.spring(point.positions)[0] if (held := constraints.of(given)) else 0.0
    energy = point.energy - springs if status.finished else math.nan
    return _row(
        given,
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


def changes(molecule: Molecule, positions: FloatArray) -> tuple[bool | None, bool | None, MoleculeError | None]:
    """Return whether a geometry has other bonds, or is another stereoisomer (and how); ``None`` where nobody knows."""
    if molecule.smiles is None:
        return None, None, None
    if bond_graph_changed(molecule, positions):
        return True, None, None
    turned = stereo_changes(molecule, positions)
    reason = MoleculeError(f"it became another stereoisomer: {'; '.join(turned)}") if turned else None
    return False, bool(turned), reason


def _status(outcome: Outcome) -> Status:
    """Return the driver's status; what the model refused is skipped at the start, and led astray later."""
    error = outcome.error
    if isinstance(error, MoleculeError) or (isinstance(error, OracleError) and error.kind == "input"):
        return Status.DIVERGED if outcome.point.step else Status.SKIPPED
    return Status(outcome.status)


def _row(given: InputMolecule | Unusable, status: Status, error: Exception | None = None, **numbers: object) -> OwnRow:
    facts = dict(numbers)
    id = given.id if isinstance(given, Unusable) else given.molecule.id
    if isinstance(given, InputMolecule):
        molecule = given.molecule
        facts |= {"smiles": molecule.smiles, "n_atoms": len(molecule)}
        facts |= {"charge": molecule.charge, "multiplicity": molecule.multiplicity}
    if error is not None:
        facts |= said_of(id, error)
    return OwnRow.model_validate({"id": id, "input": given.source, "status": status, **facts})


def said_of(id: str, error: Exception) -> dict[str, str]:
    """Return what a row says of an exception."""
    message = next(iter(str(error).splitlines()), "").removeprefix(f"{id}: ")
    return {"error_type": type(error).__name__, "error_message": message}


def facts_of(row: OwnRow, driver: Driver) -> dict[str, str | float]:
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
