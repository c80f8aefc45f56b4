"""Walks that end at minima: where a walk has converged the curvature is tested, and what is at a saddle goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from golfbench.batches import Batch
from golfbench.chemistry import IntArray
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer, device_of
from golfbench.curvature import Curvature, pushed, smallest_curvature
from golfbench.errors import GolfbenchError, MoleculeError, OracleError
from golfbench.minimization import Observer, Outcome, Point, StoppingRule, minimize
from golfbench.molecules import Molecule

#: eV/Å²; a curvature below is that of a saddle. Noise of GFN2-xTB's forces and the error of the differences come to
#: 0.001; forces of 0.02 eV/Å that are left at the end, to 0.012 (ten drug-like molecules), those of a tenth of that to
#: 0.001. The flattest saddle that was tried, planar cyclobutane, 0.01 kcal/mol above its minimum, has -0.02.
SADDLE = -0.01
#: Pushes of one molecule.
PUSHES = 3
#: After a push the walk goes on to this share of the threshold, for so many steps at most: where forces are left,
#: straight displacements along a curved path see a curvature that is none of the energy's.
SHARPER, SHARPER_STEPS = 0.1, 20
#: Å; distances that differ by less are those of a symmetric molecule. Pushes of this size do not always break symmetry.
SAME_DISTANCE = 0.02


@dataclass(frozen=True, slots=True)
class Settled:
    """How one molecule's walk ended.

    Attributes:
        outcome: Its end, with the steps, calls and time of all that was done.
        curvature: The smallest at the end, eV/Å²; ``None`` if it was not tested, or nothing but rigid motions is left.
        is_minimum: Whether the end is a minimum; ``None`` if that was not tested.
        untested: Why it could not be tested, or what the test found that a person should know.
    """

    outcome: Outcome
    curvature: float | None = None
    is_minimum: bool | None = None
    untested: Exception | None = None


def minimize_to_minima(
    model: Model, molecules: Sequence[Molecule], optimizer: Optimizer, rule: StoppingRule, observer: Observer
) -> Iterator[Settled]:
    """Walk molecules downhill, and on from where they converged if that is a saddle.

    Args:
        model: Gives energies and forces.
        molecules: The starts.
        optimizer: A fresh one.
        rule: When a molecule leaves; its steps are those of all its walks together.
        observer: Called with the evaluated states of each first walk.

    Yields:
        One end per molecule; those that are pushed come after all others.
    """
    saddles: list[tuple[Outcome, Molecule]] = []
    for outcome in minimize(model, molecules, optimizer, rule, observer):
        tested, start = _test(model, molecules[outcome.point.index], outcome, rule, push=True)
        if start is None:
            yield tested
        else:
            saddles.append((tested.outcome, start))
    for outcome, start in saddles:
        yield _go_on(model, outcome, start, optimizer, rule)


def _go_on(model: Model, before: Outcome, start: Molecule, optimizer: Optimizer, rule: StoppingRule) -> Settled:
    """Walk on from a pushed start, until the end is a minimum or nothing is left to do."""
    for pushes in range(1, PUSHES + 1):
        after = _walk_sharper(model, start, optimizer, rule, rule.max_steps - before.point.step)
        before = _together(before, after)
        settled, next_start = _test(model, start, before, rule, push=pushes < PUSHES)
        if next_start is None:
            break
        before, start = settled.outcome, next_start
    return settled


def _walk_sharper(model: Model, start: Molecule, optimizer: Optimizer, rule: StoppingRule, most: int) -> Outcome:
    """Walk below the threshold, as far as that is cheap."""
    below = 0

    def enough(point: Point) -> bool:
        nonlocal below
        below += point.force_max <= rule.force_max_hartree
        return below > SHARPER_STEPS and point.force_max <= rule.force_max_hartree

    sharper = StoppingRule(rule.force_max * SHARPER, most)
    (outcome,) = minimize(model, [start], optimizer, sharper, enough)
    if outcome.status in ("stopped", "step_limit") and outcome.point.force_max <= rule.force_max_hartree:
        outcome = replace(outcome, status="converged")
    return outcome


def _together(before: Outcome, after: Outcome) -> Outcome:
    point = replace(after.point, index=before.point.index, step=before.point.step + after.point.step)
    calls, wall_s = before.model_calls + after.model_calls, before.wall_s + after.wall_s
    return replace(after, point=point, model_calls=calls, wall_s=wall_s)


def _test(
    model: Model, molecule: Molecule, outcome: Outcome, rule: StoppingRule, push: bool
) -> tuple[Settled, Molecule | None]:
    """Test the end of a walk; return it, and where the molecule goes on if it is at a saddle and may be pushed."""
    if outcome.status != "converged":
        return Settled(outcome), None
    began, counted = time.perf_counter(), _Counted(model)
    there, start = molecule.at(outcome.point.positions), None
    found: Curvature | None = None
    error: Exception | None = None
    try:
        found = smallest_curvature(counted, there)
        if found.ev_per_angstrom2 < SADDLE and push and outcome.point.step < rule.max_steps:
            start = pushed(counted, there, found.mode)
    except Exception as caught:
        if isinstance(caught, GolfbenchError) and not isinstance(caught, MoleculeError | OracleError):
            raise
        error = MoleculeError(f"its end could not be tested: {caught}")
    wall_s = outcome.wall_s + time.perf_counter() - began
    outcome = replace(outcome, model_calls=outcome.model_calls + counted.calls, wall_s=wall_s)
    return _verdict(outcome, found, error), start


def _verdict(outcome: Outcome, found: Curvature | None, error: Exception | None) -> Settled:
    if found is None:
        return Settled(outcome, untested=error)
    value = found.ev_per_angstrom2
    if np.isinf(value):  # an atom
        return Settled(outcome, is_minimum=True)
    if value < SADDLE:
        reason = MoleculeError(f"it is at a saddle: the smallest curvature is {value:.3f} eV/Å²")
        return Settled(outcome, value, False, error or reason)
    if value - found.error_ev_per_angstrom2 < SADDLE:
        reason = MoleculeError("its end could not be tested: the smallest curvature was not found")
        return Settled(outcome, value, None, reason)
    return Settled(outcome, value, True)


class _Counted:
    """A model that counts the geometries that it is asked for."""

    def __init__(self, model: Model) -> None:
        self._model, self.calls = model, 0
        self.cutoff, self.device = model.cutoff, device_of(model)

    def energy_forces(self, batch: Batch) -> Evaluation:
        self.calls += len(batch)
        return self._model.energy_forces(batch)


def symmetric(numbers: IntArray, positions: FloatArray) -> bool:
    """Return whether a geometry is planar, or two of its atoms see the same elements at the same distances.

    Every molecule that a rotation or reflection takes to itself is one or the other. Forces keep such a symmetry, so
    a walk from there finds no minimum that lacks it. Of three atoms, which are always planar, only a line counts.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3), Å.
    """
    if len(numbers) < 3:  # there is no other shape
        return False
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    across = axes[1:] if len(numbers) == 3 else axes[2:]
    if np.abs(centred @ across.T).max(initial=0.0) < SAME_DISTANCE:
        return True
    if len(numbers) == 3:
        return False
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    elements = np.unique(numbers)
    seen = np.hstack([np.sort(distances[:, numbers == element], axis=1) for element in elements])
    return any(_two_alike(seen[numbers == element]) for element in elements)


def _two_alike(rows: FloatArray) -> bool:
    return any((np.abs(rows[k + 1 :] - row) < SAME_DISTANCE).all(axis=1).any() for k, row in enumerate(rows))
