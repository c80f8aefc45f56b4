"""The one minimization driver: batch, refill, stopping, counting.

Training trajectories, the benchmark and reference minima all pass through ``minimize``. The driver owns what must be
the same for every optimizer: where the force is measured, when a molecule stops, and what is counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from golfbench.batches import Batch, make_batch
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV

#: Molecules evaluated together. On a CPU core a batch is no faster than its molecules one by one, and larger ones are
#: slower because they no longer fit the cache; a few amortise the overhead of the driver and the optimizer.
MOLECULES_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When a molecule leaves; the same rule for every optimizer, applied per molecule.

    Attributes:
        force_max: Converged when no atom's force norm is above this, eV/Å (the unit the field quotes it in).
        max_steps: Optimizer updates allowed.
    """

    force_max: float
    max_steps: int

    @property
    def force_max_hartree(self) -> float:
        """The threshold in Hartree/Å."""
        return self.force_max / HARTREE_TO_EV


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
            (by the observer) or ``error`` (the model could not evaluate it).
        model_calls: Force evaluations.
        wall_s: This molecule's share of the wall time.
        error: What the model raised, or ``None``.
    """

    point: Point
    status: str
    model_calls: int
    wall_s: float
    error: Exception | None = None


@dataclass(slots=True)
class _Flight:
    """The molecules in flight: one slot each."""

    positions: torch.Tensor
    sizes: torch.Tensor
    index: list[int | None]
    steps: list[int] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def active(self) -> list[int]:
        return [slot for slot, index in enumerate(self.index) if index is not None]


def minimize(
    model: Model,
    molecules: Sequence[Molecule],
    optimizer: Optimizer,
    rule: StoppingRule,
    observer: Observer | None = None,
    in_flight: int = MOLECULES_IN_FLIGHT,
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
        in_flight: Molecules evaluated together.

    Yields:
        One ``Outcome`` per molecule, in the order of leaving.
    """
    if not molecules:
        return
    flight = _prepare(molecules, optimizer, min(in_flight, len(molecules)))
    waiting = iter(range(len(molecules)))
    _refill(flight, waiting, molecules, optimizer)
    while slots := flight.active():
        started = time.perf_counter()
        batch, evaluation, forces = _evaluate(model, flight, slots, molecules)
        outcomes = _judge(flight, slots, batch, evaluation, forces, rule, observer)
        _advance(flight, slots, optimizer, evaluation, forces)
        share = (time.perf_counter() - started) / len(slots)
        for slot in slots:
            flight.wall_s[slot] += share
        for slot, outcome in outcomes:
            yield _with_wall(outcome, flight.wall_s[slot])
        _refill(flight, waiting, molecules, optimizer)


def _prepare(molecules: Sequence[Molecule], optimizer: Optimizer, slots: int) -> _Flight:
    atoms = max(len(m) for m in molecules)
    optimizer.allocate(slots, atoms, torch.device("cpu"))
    empty: list[int | None] = [None] * slots
    return _Flight(
        torch.zeros(slots, atoms, 3, dtype=torch.float64),
        torch.zeros(slots, dtype=torch.int64),
        empty,
        [0] * slots,
        [0.0] * slots,
    )


def _refill(flight: _Flight, waiting: Iterator[int], molecules: Sequence[Molecule], optimizer: Optimizer) -> None:
    for slot, occupant in enumerate(flight.index):
        if occupant is not None or (index := next(waiting, None)) is None:
            continue
        molecule = molecules[index]
        flight.positions[slot] = 0.0
        flight.positions[slot, : len(molecule)] = torch.tensor(molecule.positions)
        flight.sizes[slot] = len(molecule)
        flight.index[slot], flight.steps[slot], flight.wall_s[slot] = index, 0, 0.0
        optimizer.admit(slot, molecule)


def _evaluate(
    model: Model, flight: _Flight, slots: list[int], molecules: Sequence[Molecule]
) -> tuple[Batch, Evaluation, torch.Tensor]:
    present = [molecules[index] for slot in slots if (index := flight.index[slot]) is not None]
    positions = flight.positions[slots]
    # Coordinates and the optimizer's state stay on the CPU in float64, wherever the model lives.
    batch = make_batch(present, model.cutoff, getattr(model, "device", "cpu"), positions)
    evaluation = model.energy_forces(batch)
    forces = torch.zeros_like(positions)
    mask = torch.arange(positions.shape[1]) < flight.sizes[slots, None]
    forces[mask] = evaluation.forces.cpu()
    return batch, evaluation, forces


def _judge(
    flight: _Flight,
    slots: list[int],
    batch: Batch,
    evaluation: Evaluation,
    forces: torch.Tensor,
    rule: StoppingRule,
    observer: Observer | None,
) -> list[tuple[int, Outcome]]:
    """Decide who leaves at this evaluation, and free their slots."""
    energies = evaluation.energies.cpu().tolist()
    norms = forces.norm(dim=-1).amax(dim=-1).tolist()
    leaving = []
    for row, slot in enumerate(slots):
        index, step = flight.index[slot], flight.steps[slot]
        assert index is not None
        error = evaluation.errors.get(row)
        positions = flight.positions[slot, : batch.sizes[row]].numpy().copy()
        # Atoms without a place have no pairs: a network would call them isolated, and free of force.
        energy = energies[row] if np.isfinite(positions).all() else math.nan
        status = "error" if error else _status(energy, norms[row], step, rule)
        point = Point(index, step, positions, energy, norms[row], last=bool(status))
        if observer is not None and observer(point) and not status:
            status = "stopped"
        if status:
            flight.index[slot] = None
            leaving.append((slot, Outcome(point, status, step + 1, 0.0, error)))
    return leaving


def _status(energy: float, force_max: float, step: int, rule: StoppingRule) -> str:
    if not np.isfinite(energy) or not np.isfinite(force_max):
        return "diverged"
    if force_max <= rule.force_max_hartree:
        return "converged"
    return "step_limit" if step >= rule.max_steps else ""


def _advance(
    flight: _Flight, slots: list[int], optimizer: Optimizer, evaluation: Evaluation, forces: torch.Tensor
) -> None:
    """Move the molecules that stay."""
    rows = [row for row, slot in enumerate(slots) if flight.index[slot] is not None]
    if not rows:
        return
    staying = torch.tensor([slots[row] for row in rows])
    energies = evaluation.energies.cpu()[rows]
    flight.positions[staying] += optimizer.step(staying, flight.positions[staying], energies, forces[rows])
    for slot in staying.tolist():
        flight.steps[slot] += 1


def _with_wall(outcome: Outcome, wall_s: float) -> Outcome:
    return Outcome(outcome.point, outcome.status, outcome.model_calls, wall_s, outcome.error)
