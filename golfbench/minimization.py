"""The one minimization driver: batch, refill, stopping, counting.

Training trajectories, the benchmark and reference minima all pass through ``minimize``. The driver decides what must be
the same for every optimizer: where the force is measured, when a molecule stops, and what is counted.

The model may fail at a trial point: it raises, has no answer, or one that is no number. Then the molecule goes back to
the last good point and takes a shorter step, for every optimizer alike: a self-consistent field that does not converge
at one geometry costs some calls, but does not end the walk. A molecule ends with the status ``error`` or ``diverged``
and its reason if the model fails at its start or in every shorter step, or if the optimizer raises; the others go on as
if it had not been there. Two kinds of exceptions reach the caller. A missing engine or a wrong parameter is raised at
once. An unexpected exception is raised at the end if every molecule ended with one, because that is a defect of the
model or of the optimizer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.constraints import Constraint
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer, TakesConstraints, TakesHessian, device_of
from golfbench.errors import GolfbenchError, MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.stopping import StoppingRule as StoppingRule

#: Atoms and pairs evaluated together, by type of device. A CPU core is fastest on as many as its cache holds (four
#: drug-like molecules: 18 ms for a call of PaiNN and a molecule, 21 ms alone, 25 ms among sixteen); a GPU wants many.
LOAD = {"cpu": 8_000, "cuda": 400_000}
#: Molecules evaluated together, at most: memory of optimizers grows with them.
MOLECULES_IN_FLIGHT = {"cpu": 32, "cuda": 512}
#: What is tried after a failure of the model: shares of the step, and steps of these lengths along the force. A
#: self-consistent field fails in some regions only, so another direction or a length in between can succeed where even
#: shorter steps fail.
STEP, FORCE = "step", "force"
TRIES = tuple(
    (direction, share)
    for shares in ((1 / 2, 1 / 4), (1 / 8, 1 / 16), (0.35, 0.18))
    for direction in (STEP, FORCE)
    for share in shares
)
#: A walk on which the model fails more often than this, in all, is given up.
MOST_FAILURES = 60
#: Atoms per Å³ inside a molecule, to bound the number of neighbours within a cutoff.
_DENSITY = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluated state of one molecule.

    Attributes:
        index: Which of the molecules given to ``minimize``.
        step: Optimizer updates so far, each failed attempt included.
        positions: (n_atoms, 3), Å, where energy and force were measured.
        energy: Hartree, under the model.
        force_max: Largest force norm of an atom, Hartree/Å.
        last: The driver ends this molecule here.
        forces: (n_atoms, 3), Hartree/Å.
        energy_spread: Standard deviation of a committee's energies, Hartree; ``None`` where the model has none.
        force_spread: (n_atoms,), see ``contracts.Spread``; ``None`` where the model has none.
        features: (n_features,), mean over the atoms; ``None`` where the model does not show them.
    """

    index: int
    step: int
    positions: FloatArray
    energy: float
    force_max: float
    last: bool
    forces: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    energy_spread: float | None = None
    force_spread: FloatArray | None = None
    features: FloatArray | None = None


#: Looks at each evaluated state and returns True to end that molecule's walk.
Observer = Callable[[Point], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one molecule's minimization ended.

    Attributes:
        point: The last evaluated state; converged means converged *there*.
        status: ``converged``, ``step_limit``, ``diverged`` (energy, force or position no longer finite), ``stopped``
            (by the observer) or ``error`` (the model could not evaluate it, or the optimizer could not move it).
        model_calls: Force evaluations.
        wall_s: This molecule's share of the wall time.
        error: What the model or the optimizer raised, or ``None``.
    """

    point: Point
    status: str
    model_calls: int
    wall_s: float
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Measured:
    """Energies and forces of the molecules in some slots, a row each, on the CPU.

    Attributes:
        energies: (m,), Hartree; NaN where there is an error.
        forces: (m, atoms, 3), Hartree/Å, zero for padding.
        errors: What was raised, by row.
        shown: Spreads and features, a row each: fields of ``Point`` by name; empty where the model shows none.
    """

    energies: torch.Tensor
    forces: torch.Tensor
    errors: dict[int, Exception]
    shown: Sequence[Mapping[str, Any]] = ()

    def at(self, rows: list[int]) -> _Measured:
        """Return the energies and forces of some rows."""
        return _Measured(self.energies[rows], self.forces[rows], {})


@dataclass(slots=True)
class _Flight:
    """The molecules in flight: one slot each.

    Attributes:
        molecules: All of them.
        waiting: Indices of those that have not entered, the next one last.
        loads: What each molecule adds to a batch.
        most: Load of a full batch.
        positions: (slots, atoms, 3), Å.
        good: (slots, atoms, 3), Å, the last positions that the model could evaluate.
        forces: (slots, atoms, 3), Hartree/Å, the forces there.
        moves: (slots, atoms, 3), Å, the displacement that the optimizer proposed there.
        sizes: (slots,) atoms of each.
        index: Which molecule is in each slot.
        steps: Optimizer updates of each so far.
        tries: How many replacements of the present step were tried.
        failures: How often the model has failed on the walk.
        wall_s: Its share of the wall time.
        held: Constraints, by molecule.
        defects: Unexpected exceptions, by molecule.
        hessians: Second derivatives at the starts that are known, by molecule.
    """

    molecules: Sequence[Molecule]
    waiting: list[int]
    loads: list[int]
    most: int
    positions: torch.Tensor
    good: torch.Tensor
    forces: torch.Tensor
    moves: torch.Tensor
    sizes: torch.Tensor
    index: list[int | None]
    steps: list[int]
    tries: list[int]
    failures: list[int]
    wall_s: list[float]
    held: Mapping[int, Constraint]
    defects: dict[int, Exception] = field(default_factory=dict)
    hessians: Mapping[int, FloatArray | None] = field(default_factory=dict)

    def note(self, index: int | None, error: Exception) -> None:
        """Keep an exception that does not come from the molecule."""
        if index is not None and not isinstance(error, GolfbenchError):
            self.defects[index] = error

    def enter(self, slot: int, index: int) -> None:
        """Put a molecule into a slot, at its start."""
        molecule = self.molecules[index]
        self.positions[slot] = self.moves[slot] = 0.0
        self.positions[slot, : len(molecule)] = torch.tensor(molecule.positions)
        self.sizes[slot], self.index[slot], self.wall_s[slot] = len(molecule), index, 0.0
        self.steps[slot] = self.tries[slot] = self.failures[slot] = 0

    def move(self, slots: torch.Tensor, forces: torch.Tensor, displacements: torch.Tensor) -> None:
        """Move molecules from their last good positions."""
        self.good[slots], self.forces[slots], self.moves[slots] = self.positions[slots], forces, displacements
        self.positions[slots] += displacements
        for slot in slots.tolist():
            self._settle(slot)
            self.steps[slot] += 1
            self.tries[slot] = 0

    def retreat(self, slot: int, rule: StoppingRule) -> bool:
        """Take a shorter step with a molecule that the model failed on; return whether there was one left to try."""
        index, tried, move = self.index[slot], self.tries[slot], self.moves[slot]
        exhausted = tried == len(TRIES) or self.failures[slot] == MOST_FAILURES
        if exhausted or self.steps[slot] >= rule.max_steps or not move.any() or not torch.isfinite(move).all():
            return False
        assert index is not None
        self.steps[slot] += 1
        self.tries[slot] += 1
        self.failures[slot] += 1
        direction, share = TRIES[tried]
        along = move if direction == STEP else move.norm() / self.forces[slot].norm() * self.forces[slot]
        self.positions[slot] = self.good[slot] + share * along
        self._settle(slot)
        self.defects.pop(index, None)
        return True

    def _settle(self, slot: int) -> None:
        """Correct a molecule's positions so that its constraints hold."""
        if held := self.held.get(self._of(slot)):
            size = len(held.start)
            there = held.settled(self.good[slot, :size].numpy(), self.positions[slot, :size].numpy())
            self.positions[slot, :size] = torch.from_numpy(there)

    def constrain(self, slots: list[int], measured: _Measured) -> None:
        """Add the springs, and project the constraints out of the forces."""
        for row, slot in enumerate(slots):
            if held := self.held.get(self._of(slot)):
                size = len(held.start)
                positions, forces = self.positions[slot, :size].numpy(), measured.forces[row, :size].numpy()
                if np.isfinite(positions).all() and np.isfinite(forces).all():
                    energy, springs = held.spring(positions)
                    measured.energies[row] += energy
                    measured.forces[row, :size] = torch.from_numpy(held.projected(positions, forces + springs))

    def _of(self, slot: int) -> int:
        index = self.index[slot]
        assert index is not None
        return index

    def active(self) -> list[int]:
        return [slot for slot, index in enumerate(self.index) if index is not None]

    def entering(self) -> Iterator[tuple[int, int]]:
        """Yield free slots, each with the molecule that enters there, for as long as the batch has room."""
        load = sum(self.loads[index] for index in self.index if index is not None)
        for slot, occupant in enumerate(self.index):
            if not self.waiting:
                return
            if occupant is not None:
                continue
            if load and load + self.loads[self.waiting[-1]] > self.most:
                return
            load += self.loads[self.waiting[-1]]
            yield slot, self.waiting.pop()


def minimize(
    model: Model,
    molecules: Sequence[Molecule],
    optimizer: Optimizer,
    rule: StoppingRule,
    observer: Observer | None = None,
    in_flight: int | None = None,
    constraints: Sequence[Constraint | None] | None = None,
    hessians: Sequence[FloatArray | None] | None = None,
) -> Iterator[Outcome]:
    """Walk molecules downhill; yield each as it leaves.

    A molecule leaves at the evaluation that ends it, and the next enters at once. No result depends on the other
    molecules of the batch, except by the model's own arithmetic.

    Args:
        model: Gives energies and forces.
        molecules: The starts.
        optimizer: A fresh one; its slots are allocated here.
        rule: When a molecule leaves.
        observer: Called with every evaluated state; returning True ends the molecule as ``stopped``.
        in_flight: Molecules evaluated together; by default as many as suit the model's device.
        constraints: Constraints, by molecule. Energies and forces are then with springs, and the constraints are
            projected out of the forces.
        hessians: Second derivatives at the starts, by molecule, for an optimizer that takes them
            (``contracts.TakesHessian``).

    Yields:
        One ``Outcome`` per molecule, in the order of leaving.

    Raises:
        GolfbenchError: At once, if the error has nothing to do with a molecule.
        Exception: At the end, if the model or the optimizer raised something unexpected on every molecule.
    """
    if not molecules:
        return
    held = {k: constraint for k, constraint in enumerate(constraints or ()) if constraint is not None}
    flight = _prepare(model, molecules, optimizer, in_flight, held)
    flight.hessians = dict(enumerate(hessians or ()))
    while flight.waiting or flight.active():
        yield from _refill(flight, optimizer, observer)
        if slots := flight.active():
            yield from _round(model, flight, slots, optimizer, rule, observer)
    if len(flight.defects) == len(molecules):
        raise next(iter(flight.defects.values()))


def _prepare(
    model: Model,
    molecules: Sequence[Molecule],
    optimizer: Optimizer,
    in_flight: int | None,
    held: Mapping[int, Constraint],
) -> _Flight:
    """Make room for as many molecules as one batch can hold: the smallest ones."""
    device = torch.device(device_of(model)).type
    loads = [_load(len(m), model.cutoff) for m in molecules]
    most = sum(loads) if in_flight else LOAD.get(device, LOAD["cuda"])
    room = in_flight or MOLECULES_IN_FLIGHT.get(device, MOLECULES_IN_FLIGHT["cuda"])
    fitting = int((np.cumsum(sorted(loads)) <= most).sum())
    slots, atoms = max(1, min(room, fitting)), max(len(m) for m in molecules)
    optimizer.allocate(slots, atoms, torch.device("cpu"))
    positions = torch.zeros(slots, atoms, 3, dtype=torch.float64)
    return _Flight(
        molecules=molecules,
        waiting=list(reversed(range(len(molecules)))),
        loads=loads,
        most=most,
        positions=positions,
        good=positions.clone(),
        forces=positions.clone(),
        moves=positions.clone(),
        sizes=torch.zeros(slots, dtype=torch.int64),
        index=[None] * slots,
        steps=[0] * slots,
        tries=[0] * slots,
        failures=[0] * slots,
        wall_s=[0.0] * slots,
        held=held,
    )


def _load(atoms: int, cutoff: float | None) -> int:
    """Return what a molecule adds to a batch: its atoms, and the directed pairs that it can have within the cutoff."""
    others = atoms - 1
    if cutoff is None or not math.isfinite(cutoff):
        return atoms * (1 + others)
    return atoms * (1 + min(others, round(_DENSITY * 4 / 3 * math.pi * cutoff**3)))


def together(atoms: int, cutoff: float | None, device: str) -> int:
    """Return how many geometries of one molecule a batch holds on a type of device."""
    fitting = LOAD.get(device, LOAD["cuda"]) // _load(atoms, cutoff)
    return max(1, min(fitting, MOLECULES_IN_FLIGHT.get(device, MOLECULES_IN_FLIGHT["cuda"])))


def _refill(flight: _Flight, optimizer: Optimizer, observer: Observer | None) -> Iterator[Outcome]:
    """Let molecules enter; yield those that the optimizer refuses."""
    for slot, index in flight.entering():
        molecule = flight.molecules[index]
        try:
            optimizer.admit(slot, molecule)
            if (held := flight.held.get(index)) and isinstance(optimizer, TakesConstraints):
                optimizer.constrain(slot, held)
            if (hessian := flight.hessians.get(index)) is not None and isinstance(optimizer, TakesHessian):
                optimizer.start_from(slot, hessian)
        except Exception as error:  # noqa: BLE001 - the others go on
            _raise_if_nobodys(error)
            flight.note(index, error)
            point = Point(index, 0, molecule.positions.copy(), math.nan, math.nan, last=True)
            if observer is not None:
                observer(point)
            yield Outcome(point, "error", 0, 0.0, error)
            continue
        flight.enter(slot, index)


def _raise_if_nobodys(error: Exception) -> None:
    """Raise an error that does not depend on the molecule: a missing engine, a wrong parameter."""
    if isinstance(error, GolfbenchError) and not isinstance(error, MoleculeError | OracleError):
        raise error


def _round(
    model: Model,
    flight: _Flight,
    slots: list[int],
    optimizer: Optimizer,
    rule: StoppingRule,
    observer: Observer | None,
) -> Iterator[Outcome]:
    """Evaluate and move all in flight once; yield those that leave."""
    started = time.perf_counter()
    measured = _evaluate(model, flight, slots)
    flight.constrain(slots, measured)
    moving, leaving = _judge(flight, slots, measured, rule, observer)
    if moving:
        leaving += _advance(flight, slots, moving, optimizer, measured)
    share = (time.perf_counter() - started) / len(slots)
    for slot in slots:
        flight.wall_s[slot] += share
    for slot, outcome in leaving:
        yield replace(outcome, wall_s=flight.wall_s[slot])


def _evaluate(model: Model, flight: _Flight, slots: list[int]) -> _Measured:
    """Evaluate the molecules in slots; where that raises, by halves, until it is clear which molecule is the cause."""
    try:
        return _evaluate_together(model, flight, slots)
    except Exception as error:  # noqa: BLE001 - the others go on
        _raise_if_nobodys(error)
        if len(slots) == 1:
            flight.note(flight.index[slots[0]], error)
            nothing = torch.zeros_like(flight.positions[slots])
            return _Measured(torch.full((1,), torch.nan, dtype=torch.float64), nothing, {0: error})
    half = len(slots) // 2
    first, second = _evaluate(model, flight, slots[:half]), _evaluate(model, flight, slots[half:])
    errors = first.errors | {half + row: error for row, error in second.errors.items()}
    shown = [row for part, size in ((first, half), (second, len(slots) - half)) for row in part.shown or [{}] * size]
    energies, forces = torch.cat([first.energies, second.energies]), torch.cat([first.forces, second.forces])
    return _Measured(energies, forces, errors, shown)


def _evaluate_together(model: Model, flight: _Flight, slots: list[int]) -> _Measured:
    present = [flight.molecules[index] for slot in slots if (index := flight.index[slot]) is not None]
    positions = flight.positions[slots]
    # Coordinates and the optimizer's state stay on the CPU in float64, on any device of the model.
    batch = make_batch(present, model.cutoff, device_of(model), positions)
    evaluation = model.energy_forces(batch)
    forces = torch.zeros_like(positions)
    mask = torch.arange(positions.shape[1]) < flight.sizes[slots, None]
    forces[mask] = evaluation.forces.cpu()
    shown = _shown(evaluation, batch.offsets.tolist())
    return _Measured(evaluation.energies.cpu().clone(), forces, dict(evaluation.errors), shown)


def _shown(evaluation: Evaluation, offsets: Sequence[int]) -> list[dict[str, Any]]:
    """Return what a model shows besides energies and forces, by field of ``Point``, for each molecule."""
    rows: list[dict[str, Any]] = [{} for _ in offsets[1:]]
    if evaluation.spread is not None:
        energies, forces = evaluation.spread.energies.tolist(), evaluation.spread.forces.cpu().numpy()
        for row, energy, begin, end in zip(rows, energies, offsets, offsets[1:], strict=False):
            row |= {"energy_spread": energy, "force_spread": forces[begin:end]}
    if evaluation.features is not None:
        for row, features in zip(rows, evaluation.features.cpu().numpy(), strict=True):
            row["features"] = features
    return rows


def _judge(
    flight: _Flight, slots: list[int], measured: _Measured, rule: StoppingRule, observer: Observer | None
) -> tuple[list[int], list[tuple[int, Outcome]]]:
    """Return the rows that move on, and who leaves at this evaluation; free their slots, and shorten failed steps."""
    moving, leaving = [], []
    for row, (slot, point) in enumerate(zip(slots, _points(flight, slots, measured), strict=True)):
        error = measured.errors.get(row)
        status = "error" if error else _status(point, rule)
        if status in ("error", "diverged") and flight.retreat(slot, rule):
            continue
        point = replace(point, last=bool(status))
        if observer is not None and observer(point) and not status:
            status = "stopped"
        if status:
            flight.index[slot] = None
            leaving.append((slot, Outcome(point, status, point.step + 1, 0.0, error)))
        else:
            moving.append(row)
    return moving, leaving


def _points(flight: _Flight, slots: list[int], measured: _Measured) -> Iterator[Point]:
    norms = measured.forces.norm(dim=-1).amax(dim=-1).tolist()
    shown = measured.shown or [{}] * len(slots)
    for row, (slot, energy, norm) in enumerate(zip(slots, measured.energies.tolist(), norms, strict=True)):
        index = flight.index[slot]
        assert index is not None
        size = len(flight.molecules[index])
        positions = flight.positions[slot, :size].numpy().copy()
        # Atoms without finite coordinates have no pairs: a network would take them as isolated, without forces.
        found = energy if np.isfinite(positions).all() else math.nan
        forces = measured.forces[row, :size].numpy()
        yield Point(index, flight.steps[slot], positions, found, norm, last=False, forces=forces, **shown[row])


def _status(point: Point, rule: StoppingRule) -> str:
    if not math.isfinite(point.energy) or not math.isfinite(point.force_max):
        return "diverged"
    if point.force_max <= rule.force_max_hartree:
        return "converged"
    return "step_limit" if point.step >= rule.max_steps else ""


def _advance(
    flight: _Flight, slots: list[int], rows: list[int], optimizer: Optimizer, measured: _Measured
) -> list[tuple[int, Outcome]]:
    """Move the molecules of some rows; where that raises, one by one. Return those that could not be moved."""
    moving = torch.tensor([slots[row] for row in rows])
    try:
        with np.errstate(all="ignore"):  # with any setting of numpy in this process: steps are judged by their result
            step = optimizer.step(moving, flight.positions[moving], measured.energies[rows], measured.forces[rows])
    except Exception as error:  # noqa: BLE001 - the others go on
        _raise_if_nobodys(error)
        if len(rows) > 1:
            return [left for row in rows for left in _advance(flight, slots, [row], optimizer, measured)]
        (slot,) = moving.tolist()
        flight.note(flight.index[slot], error)
        (point,) = _points(flight, [slot], measured.at(rows))
        flight.index[slot] = None
        return [(slot, Outcome(point, "error", point.step + 1, 0.0, error))]
    flight.move(moving, measured.forces[rows], step)
    return []
