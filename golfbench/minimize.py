"""The one minimization driver: batch, refill, stopping, counting.

Training trajectories, the benchmark and reference minima all pass through ``minimize``. The driver owns what must be
the same for every optimizer: where the force is measured, when a molecule stops, and what is counted.

A molecule that the model or the optimizer raises on ends with the status ``error`` and its reason; those beside it go
on as if it had not been there. What comes out is a missing engine or a wrong parameter, at once, and an exception
that no molecule escapes, at the end: that is a defect of the model or of the optimizer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import FloatArray, Model, Optimizer
from golfbench.errors import GolfbenchError, MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.stopping import StoppingRule as StoppingRule

#: Atoms and pairs evaluated together, by type of device. A CPU core is fastest on as many as its cache holds (four
#: drug-like molecules: 18 ms for a call of PaiNN and a molecule, 21 ms alone, 25 ms among sixteen); a GPU wants many.
LOAD = {"cpu": 8_000, "cuda": 400_000}
#: Molecules evaluated together, at most: memory of optimizers grows with them.
MOLECULES_IN_FLIGHT = {"cpu": 32, "cuda": 512}
#: Atoms per Å³ of a molecule's interior: bounds the neighbours within a cutoff.
_DENSITY = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluated state of one molecule.

    Attributes:
        index: Which of the molecules given to ``minimize``.
        step: Optimizer updates so far.
        positions: (n_atoms, 3), Å, where energy and force were measured.
        energy: Hartree, under the model.
        force_max: Largest force norm of an atom, Hartree/Å.
        last: The driver ends this molecule here.
    """

    index: int
    step: int
    positions: FloatArray
    energy: float
    force_max: float
    last: bool


#: Looks at each evaluated state and returns True to end that molecule's walk.
Observer = Callable[[Point], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one molecule's minimization ended.

    Attributes:
        point: The last evaluated state; converged means converged *there*.
        status: ``converged``, ``step_limit``, ``diverged`` (energy, force or position no longer finite), ``stopped``
            (by the observer) or ``error`` (the model could not evaluate it, or the optimizer not move it).
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
    """

    energies: torch.Tensor
    forces: torch.Tensor
    errors: dict[int, Exception]

    def at(self, rows: list[int]) -> _Measured:
        """Return the energies and forces of some rows."""
        return _Measured(self.energies[rows], self.forces[rows], {})


@dataclass(slots=True)
class _Flight:
    """The molecules in flight: one slot each.

    Attributes:
        molecules: All of them.
        waiting: Indices of those that have not entered, the next one last.
        loads: What each adds to a batch.
        most: Load of a full batch.
        positions: (slots, atoms, 3), Å.
        sizes: (slots,) atoms of each.
        index: Which molecule is in each slot.
        steps: Optimizer updates of each so far.
        wall_s: Its share of the wall time.
        defects: Unexpected exceptions, at most one per molecule.
    """

    molecules: Sequence[Molecule]
    waiting: list[int]
    loads: list[int]
    most: int
    positions: torch.Tensor
    sizes: torch.Tensor
    index: list[int | None]
    steps: list[int] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    defects: list[Exception] = field(default_factory=list)

    def note(self, error: Exception) -> None:
        """Keep an exception that is no statement about the molecule."""
        if not isinstance(error, GolfbenchError):
            self.defects.append(error)

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
) -> Iterator[Outcome]:
    """Walk molecules downhill; yield each as it leaves.

    A molecule leaves at the evaluation that ends it and the next enters at once. No result depends on batch mates,
    as far as the model's own arithmetic does not.

    Args:
        model: Gives energies and forces.
        molecules: The starts.
        optimizer: A fresh one; its slots are allocated here.
        rule: When a molecule leaves.
        observer: Called with every evaluated state; returning True ends the molecule as ``stopped``.
        in_flight: Molecules evaluated together; left out, as many as suit the model's device.

    Yields:
        One ``Outcome`` per molecule, in the order of leaving.

    Raises:
        GolfbenchError: At once, if what was raised has nothing to do with a molecule.
        Exception: At the end, if the model or the optimizer raised something unexpected on every molecule.
    """
    if not molecules:
        return
    flight = _prepare(model, molecules, optimizer, in_flight)
    while flight.waiting or flight.active():
        yield from _refill(flight, optimizer, observer)
        if slots := flight.active():
            yield from _round(model, flight, slots, optimizer, rule, observer)
    if len(flight.defects) == len(molecules):
        raise flight.defects[0]


def _prepare(model: Model, molecules: Sequence[Molecule], optimizer: Optimizer, in_flight: int | None) -> _Flight:
    """Make room for as many molecules as one batch can hold: the smallest ones."""
    device = torch.device(getattr(model, "device", "cpu")).type
    loads = [_load(len(m), model.cutoff) for m in molecules]
    most = sum(loads) if in_flight else LOAD.get(device, LOAD["cuda"])
    room = in_flight or MOLECULES_IN_FLIGHT.get(device, MOLECULES_IN_FLIGHT["cuda"])
    fitting = int((np.cumsum(sorted(loads)) <= most).sum())
    slots, atoms = max(1, min(room, fitting)), max(len(m) for m in molecules)
    optimizer.allocate(slots, atoms, torch.device("cpu"))
    return _Flight(
        molecules=molecules,
        waiting=list(reversed(range(len(molecules)))),
        loads=loads,
        most=most,
        positions=torch.zeros(slots, atoms, 3, dtype=torch.float64),
        sizes=torch.zeros(slots, dtype=torch.int64),
        index=[None] * slots,
        steps=[0] * slots,
        wall_s=[0.0] * slots,
    )


def _load(atoms: int, cutoff: float | None) -> int:
    """Return what a molecule adds to a batch: its atoms, and the directed pairs that it can have within the cutoff."""
    others = atoms - 1
    if cutoff is None or not math.isfinite(cutoff):
        return atoms * (1 + others)
    return atoms * (1 + min(others, round(_DENSITY * 4 / 3 * math.pi * cutoff**3)))


def _refill(flight: _Flight, optimizer: Optimizer, observer: Observer | None) -> Iterator[Outcome]:
    """Let molecules enter; yield those that the optimizer refuses."""
    for slot, index in flight.entering():
        molecule = flight.molecules[index]
        try:
            optimizer.admit(slot, molecule)
        except Exception as error:  # noqa: BLE001 - the others go on
            _raise_if_nobodys(error)
            flight.note(error)
            point = Point(index, 0, molecule.positions.copy(), math.nan, math.nan, last=True)
            if observer is not None:
                observer(point)
            yield Outcome(point, "error", 0, 0.0, error)
            continue
        flight.positions[slot] = 0.0
        flight.positions[slot, : len(molecule)] = torch.tensor(molecule.positions)
        flight.sizes[slot] = len(molecule)
        flight.index[slot], flight.steps[slot], flight.wall_s[slot] = index, 0, 0.0


def _raise_if_nobodys(error: Exception) -> None:
    """Raise what is no molecule's fault: an engine that is missing, a parameter that is wrong."""
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
    leaving = _judge(flight, slots, measured, rule, observer)
    staying = [row for row, slot in enumerate(slots) if flight.index[slot] is not None]
    if staying:
        leaving += _advance(flight, slots, staying, optimizer, measured)
    share = (time.perf_counter() - started) / len(slots)
    for slot in slots:
        flight.wall_s[slot] += share
    for slot, outcome in leaving:
        yield replace(outcome, wall_s=flight.wall_s[slot])


def _evaluate(model: Model, flight: _Flight, slots: list[int]) -> _Measured:
    """Evaluate the molecules in slots; where that raises, by halves, until it is clear whose fault it is."""
    try:
        return _evaluate_together(model, flight, slots)
    except Exception as error:  # noqa: BLE001 - the others go on
        _raise_if_nobodys(error)
        if len(slots) == 1:
            flight.note(error)
            nothing = torch.zeros_like(flight.positions[slots])
            return _Measured(torch.full((1,), torch.nan, dtype=torch.float64), nothing, {0: error})
    half = len(slots) // 2
    first, second = _evaluate(model, flight, slots[:half]), _evaluate(model, flight, slots[half:])
    errors = first.errors | {half + row: error for row, error in second.errors.items()}
    return _Measured(torch.cat([first.energies, second.energies]), torch.cat([first.forces, second.forces]), errors)


def _evaluate_together(model: Model, flight: _Flight, slots: list[int]) -> _Measured:
    present = [flight.molecules[index] for slot in slots if (index := flight.index[slot]) is not None]
    positions = flight.positions[slots]
    # Coordinates and the optimizer's state stay on the CPU in float64, wherever the model lives.
    batch = make_batch(present, model.cutoff, getattr(model, "device", "cpu"), positions)
    evaluation = model.energy_forces(batch)
    forces = torch.zeros_like(positions)
    mask = torch.arange(positions.shape[1]) < flight.sizes[slots, None]
    forces[mask] = evaluation.forces.cpu()
    return _Measured(evaluation.energies.cpu(), forces, dict(evaluation.errors))


def _judge(
    flight: _Flight, slots: list[int], measured: _Measured, rule: StoppingRule, observer: Observer | None
) -> list[tuple[int, Outcome]]:
    """Decide who leaves at this evaluation, and free their slots."""
    leaving = []
    for row, (slot, point) in enumerate(zip(slots, _points(flight, slots, measured), strict=True)):
        error = measured.errors.get(row)
        status = "error" if error else _status(point, rule)
        point = replace(point, last=bool(status))
        if observer is not None and observer(point) and not status:
            status = "stopped"
        if status:
            flight.index[slot] = None
            leaving.append((slot, Outcome(point, status, point.step + 1, 0.0, error)))
    return leaving


def _points(flight: _Flight, slots: list[int], measured: _Measured) -> Iterator[Point]:
    norms = measured.forces.norm(dim=-1).amax(dim=-1).tolist()
    for slot, energy, norm in zip(slots, measured.energies.tolist(), norms, strict=True):
        index = flight.index[slot]
        assert index is not None
        positions = flight.positions[slot, : len(flight.molecules[index])].numpy().copy()
        # Atoms without a place have no pairs: a network would call them isolated, and free of force.
        found = energy if np.isfinite(positions).all() else math.nan
        yield Point(index, flight.steps[slot], positions, found, norm, last=False)


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
        with np.errstate(all="ignore"):  # whatever numpy was told in this process: steps are judged by what comes out
            step = optimizer.step(moving, flight.positions[moving], measured.energies[rows], measured.forces[rows])
    except Exception as error:  # noqa: BLE001 - the others go on
        _raise_if_nobodys(error)
        if len(rows) > 1:
            return [left for row in rows for left in _advance(flight, slots, [row], optimizer, measured)]
        flight.note(error)
        (slot,) = moving.tolist()
        (point,) = _points(flight, [slot], measured.at(rows))
        flight.index[slot] = None
        return [(slot, Outcome(point, "error", point.step + 1, 0.0, error))]
    flight.positions[moving] += step
    for slot in moving.tolist():
        flight.steps[slot] += 1
    return []
