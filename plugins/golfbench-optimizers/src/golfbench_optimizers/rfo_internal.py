"""Restricted-step quasi-Newton minimization in redundant internal coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from golfbench.constraints import Constraint
from golfbench.contracts import FloatArray
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench_optimizers.hessian_guess import contact_curvature, contact_pairs, force_constants
from golfbench_optimizers.internals import values_and_derivatives, wrap
from golfbench_optimizers.large import LARGEST, CartesianWalk
from golfbench_optimizers.lbfgs import FIRST_INVERSE_CURVATURE
from golfbench_optimizers.line_minimum import cubic_minimum
from golfbench_optimizers.projection import projected
from golfbench_optimizers.restricted_step import Metric, factor, restricted_step
from golfbench_optimizers.secant import Secants
from golfbench_optimizers.topology import IntArray, Topology, find_topology, outdated

#: Curvature (Hartree/Å²) of the model along Cartesian coordinates: makes it positive definite, and no more. At 0.02
#: half again as many force calls are needed.
CARTESIAN = 3e-4
#: The trust radius shrinks when the energy changes by less than the first share of what was predicted, and grows when
#: it changes by more than the second in a step that used most of the radius.
POOR, GOOD, USED = 0.25, 0.75, 0.8
SMALLEST_RADIUS = 0.02
#: The first radius for each Hartree/Å of the largest force on an atom, and the smallest. Walks that begin above 1.2
#: eV/Å, as those from embedded conformers do, begin with the largest radius.
RADIUS_PER_FORCE, SMALLEST_FIRST = 13.6, 0.05
#: Energy rise (Hartree) after which the walk goes on from the point before.
RISE = 0.003
#: Energy (Hartree) that a step must gain to be followed as it is. After smaller gains, and after rises, the walk goes
#: on from the minimum that a cubic has between the two points, if it has one well inside; two force calls of eighteen
#: are saved by that and by the cycles that it ends.
GAIN = 3e-4
INSIDE = 0.1
#: Predicted energy changes (Hartree) smaller than this are below the rounding of float32 models: the change is then
#: taken from the gradients.
ENERGY_NOISE = 2e-5
#: Weight of Cartesian displacements (1/Å²) in the metric of the trust radius: only what nothing else restrains.
LOOSE = 1e-3
#: Weight of improper torsions there: they change together with the torsions around them.
IMPROPER_WEIGHT = 0.5
#: Iterations of the curvilinear step, and the error (Å, rad) of a coordinate at which it is done.
MAX_ITERATIONS, SETTLED = 3, 1e-3
#: Å; positions closer than this are the same.
ROUNDING = 1e-10
#: Points of the walk that are expressed in new coordinates, divided by how often they were chosen: each point costs
#: as much as a step, and a walk that chooses again and again learns little from early points.
CARRIED = 40
#: Å; displacement of an atom where internal coordinates fail.
CARTESIAN_CAP = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """One geometry and its gradient in all coordinates: internal, then Cartesian, (n,) together.

    Attributes:
        positions: (3·n_atoms,), Å.
        energy: Hartree.
        gradient: (3·n_atoms,), Hartree/Å.
        values: Internal coordinates.
        matrix: Their derivatives, B.
        constants: Their force constants in the model, K: (n_internal,), or a matrix where a Hessian was given.
        cartesian: The model's Hessian in Cartesians, X: ``CARTESIAN`` and, unless a Hessian was given, contacts.
        model: All of the model's Hessian, BᵀKB + X, (3·n_atoms, 3·n_atoms), Hartree/Å².
        generalized: The gradient in all coordinates, (n,).
    """

    positions: FloatArray
    energy: float
    gradient: FloatArray
    values: FloatArray
    matrix: FloatArray
    constants: FloatArray
    cartesian: FloatArray
    model: FloatArray
    generalized: FloatArray

    def initial(self, rows: FloatArray) -> FloatArray:
        """Multiply rows (m, n) by the model Hessian in all coordinates, diag(K, X)."""
        internal = len(self.constants)
        return np.hstack([weighted(self.constants, rows[:, :internal].T).T, rows[:, internal:] @ self.cartesian])

    def project(self, rows: FloatArray) -> FloatArray:
        """Take gradients (m, n) in all coordinates to Cartesians, (m, 3·n_atoms)."""
        return to_cartesian(rows, self.matrix)


def to_cartesian(gradients: FloatArray, matrix: FloatArray) -> FloatArray:
    """Take gradients (..., n) in all coordinates to Cartesians, (..., 3·n_atoms), with the derivatives ``matrix``."""
    internal = len(matrix)
    cartesian: FloatArray = gradients[..., :internal] @ matrix + gradients[..., internal:]
    return cartesian


def weighted(constants: FloatArray, columns: FloatArray) -> FloatArray:
    """Return K times columns (n,) or (n, m); K is diagonal (n,) or a matrix (n, n)."""
    return (constants * columns.T).T if constants.ndim == 1 else constants @ columns


def model_hessian(matrix: FloatArray, constants: FloatArray, cartesian: FloatArray) -> FloatArray:
    """Return BᵀKB + X, (3·n_atoms, 3·n_atoms), Hartree/Å²."""
    if constants.ndim == 2:
        return matrix.T @ (constants @ matrix) + cartesian
    scaled = np.sqrt(constants)[:, None] * matrix  # one factor and its transpose: half the work of two factors
    hessian: FloatArray = scaled.T @ scaled + cartesian
    return hessian


class Walk:
    """The minimization of one molecule.

    Args:
        numbers: (n_atoms,).
        memory: Pairs kept.
        radius: First and largest trust radius.

    Attributes:
        constraint: The constraints; the given gradients are without their components.
        hessian: Second derivatives where the walk starts, if they are known, (3·n_atoms, 3·n_atoms), Hartree/Å².
    """

    def __init__(self, numbers: IntArray, memory: int, radius: float) -> None:
        self._numbers = numbers
        self._memory = memory
        self._largest = self._radius = radius
        self._visited: list[tuple[FloatArray, float, FloatArray]] = []
        self._base: Point | None = None  # where the next step starts: evaluated, or between two that were
        self._evaluated: Point | None = None  # the best one to compare the next with
        self._latest: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None
        self._predicted = self._length = 0.0
        self._choices = 0
        self.constraint: Constraint | None = None
        self.hessian: FloatArray | None = None
        self._start: FloatArray | None = None
        self._given: FloatArray | None = None  # that Hessian in the present coordinates

    def displacement(self, positions: FloatArray, energy: float, forces: FloatArray) -> FloatArray:
        """Return the displacement (n_atoms, 3), Å, to the next point; zero where something given is not finite."""
        if not (np.isfinite(positions).all() and np.isfinite(forces).all() and np.isfinite(energy)):
            self.forget()
            return np.zeros_like(positions)
        try:
            moved = self.next(positions, energy, -forces) - positions
        except np.linalg.LinAlgError:
            moved = np.full_like(positions, np.nan)
        if np.isfinite(moved).all():
            return moved
        self.forget()
        along = FIRST_INVERSE_CURVATURE * forces
        longest = float(np.sqrt((along * along).sum(-1)).max())
        return along * min(1.0, CARTESIAN_CAP / max(longest, CARTESIAN_CAP))

    def next(self, positions: FloatArray, energy: float, gradient: FloatArray) -> FloatArray:
        """Return the positions (n_atoms, 3) to evaluate after these, Å.

        Raises:
            numpy.linalg.LinAlgError: If the coordinates, or the Hessian in them, are of no use here.
        """
        if self._start is None:
            self._start = positions
            self._radius = min(self._largest, first_radius(gradient))
        self._visited = [*self._visited[-self._memory :], (positions, energy, gradient)]
        if self._base is None or outdated(self._topology, self._numbers, positions):
            self._choose_coordinates(positions)
        else:
            self._learn(self._point(positions, energy, gradient))
        assert self._base is not None
        self._proposed = self._move(self._base)
        if self.constraint is not None:
            self._proposed = self.constraint.settled(positions, self._proposed)
        return self._proposed

    def forget(self) -> None:
        """Start again, with coordinates chosen at the next positions."""
        self._visited, self._base, self._evaluated, self._radius = [], None, None, self._largest

    def _choose_coordinates(self, positions: FloatArray) -> None:
        """Choose coordinates and express all that was learned in them."""
        self._topology, self._latest = find_topology(self._numbers, positions), None
        self._contacts = contact_pairs(self._topology)
        self._given = None
        if self.hessian is not None and self._start is not None:
            _, matrix = self._coordinates(self._start.reshape(-1))
            constants = force_constants(self._topology, self._numbers, self._start)
            self._given = projected(self.hessian, matrix, constants)
        self._secants = Secants.empty(self._memory, sum(self._topology.counts) + positions.size)
        self._weights = np.sqrt(trust_weights(self._topology))
        self._choices += 1
        self._visited = self._visited[-max(2, CARRIED // self._choices) :]
        points = [self._point(*visited) for visited in self._visited]
        for before, after in pairwise(points):
            self._secants.add(*self._pair(before, after))
        self._base = self._evaluated = points[-1]

    def _point(self, positions: FloatArray, energy: float, gradient: FloatArray) -> Point:
        """Express a geometry and its gradient in all coordinates.

        Redundant coordinates leave the gradient open; this one is what the model itself would have at a displacement
        with that Cartesian gradient. Pairs of an energy surface like the model's are then right.
        """
        values, matrix = self._coordinates(positions.reshape(-1))
        cartesian = CARTESIAN * np.eye(positions.size)
        if (constants := self._given) is None:
            constants = force_constants(self._topology, self._numbers, positions)
            cartesian = contact_curvature(self._contacts, self._numbers, positions) + cartesian
        model = model_hessian(matrix, constants, cartesian)
        gradient = gradient.reshape(-1)
        newton = factor(model)(gradient)
        generalized = np.concatenate([weighted(constants, matrix @ newton), cartesian @ newton])
        return Point(positions.reshape(-1), energy, gradient, values, matrix, constants, cartesian, model, generalized)

    def _coordinates(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values and derivatives at positions (3·n_atoms,); those of the last ones, to rounding, are at hand."""
        if self._latest is None or np.abs(self._latest[0] - positions).max() > ROUNDING:
            self._latest = positions, values_and_derivatives(self._topology, positions.reshape(-1, 3))
        return self._latest[1]

    def _pair(self, before: Point, after: Point) -> tuple[FloatArray, FloatArray]:
        internal = wrap(self._topology, after.values - before.values)
        step = np.concatenate([internal, after.positions - before.positions])
        return step, after.generalized - before.generalized

    def _learn(self, point: Point) -> None:
        """Evaluate the last step: update Hessian and trust radius, and choose the point to go on from."""
        assert self._base is not None
        assert self._evaluated is not None
        before = self._evaluated
        step, change = self._pair(before, point)
        self._secants.add(step, change)
        if (share := share_taken(self._visited[-2][0], self._visited[-1][0], self._proposed)) < 1:
            self._radius = max(share * min(self._radius, self._length), SMALLEST_RADIUS)
        else:
            self._adapt_radius(self._base, point)
        if between := self._between(before, point, step):
            self._base, self._evaluated = between, min(before, point, key=lambda p: p.energy)
        else:
            self._base = self._evaluated = point if point.energy - before.energy <= RISE else before

    def _adapt_radius(self, base: Point, point: Point) -> None:
        """Compare the energy change with what was predicted."""
        actual = point.energy - base.energy
        if abs(self._predicted) < ENERGY_NOISE:
            actual = float((base.generalized + point.generalized) @ self._pair(base, point)[0]) / 2
        share = actual / self._predicted if self._predicted < 0 else 1.0
        if share < POOR:
            self._radius = max(min(self._radius, self._length) / 2, SMALLEST_RADIUS)
        elif share > GOOD and self._length > USED * self._radius:
            self._radius = min(2 * self._radius, self._largest)

    def _between(self, before: Point, after: Point, step: FloatArray) -> Point | None:
        """Return the minimum on the line, in all coordinates, between two points, with its gradient as interpolated."""
        gained = before.energy - after.energy
        if gained >= GAIN:
            return None
        slopes = float(before.generalized @ step), float(after.generalized @ step)
        if abs(gained) < ENERGY_NOISE:
            gained = -sum(slopes) / 2
        share, energy = cubic_minimum((before.energy, before.energy - gained), slopes)
        if not INSIDE < share < 1 - INSIDE:
            return None
        near, far, away = (before, after, share) if share < 0.5 else (after, before, 1 - share)
        straight = near.positions + away * (far.positions - near.positions)
        target = near.values + away * wrap(self._topology, far.values - near.values)
        positions = self._reach(near, straight, target)
        _, matrix = self._coordinates(positions)
        generalized = (1 - share) * before.generalized + share * after.generalized
        return self._point(positions.reshape(-1, 3), energy, to_cartesian(generalized, matrix))

    def _move(self, base: Point) -> FloatArray:
        hessian = base.model + self._secants.correction(base.initial, base.project)
        metric, gradient, constraint = metric_at(base, self._weights), base.gradient, self.constraint
        if constraint is None:
            step = restricted_step(hessian, metric, gradient, self._radius)
        else:
            free = constraint.basis(base.positions.reshape(-1, 3))
            metric, gradient = Metric(metric.rows @ free, metric.floor), free.T @ gradient
            step = restricted_step(free.T @ hessian @ free, metric, gradient, self._radius)
            step = replace(step, displacement=free @ step.displacement)
        self._predicted, self._length = step.predicted, step.length
        return self._curved(base, step.displacement).reshape(-1, 3)

    def _curved(self, base: Point, displacement: FloatArray) -> FloatArray:
        """Return the positions whose internal coordinates change as the displacement says, to first order."""
        return self._reach(base, base.positions + displacement, base.values + base.matrix @ displacement)

    def _reach(self, base: Point, straight: FloatArray, target: FloatArray) -> FloatArray:
        """Return the positions whose internal coordinates come closest to a target, and that are close to ``straight``.

        Gauss-Newton iterations in the metric of the model, from ``straight``, for as long as they get closer.
        """
        best, trial, smallest = straight, straight, np.inf
        for iteration in range(MAX_ITERATIONS):
            values, matrix = self._coordinates(trial)
            missing = wrap(self._topology, target - values)
            away = base.cartesian @ (straight - trial)
            pull = weighted(base.constants, missing)
            error = float(missing @ pull + (straight - trial) @ away)
            if not error < smallest:
                break
            best, smallest = trial, error
            if iteration == MAX_ITERATIONS - 1 or np.abs(missing).max(initial=0.0) < SETTLED:
                break
            solve = factor(model_hessian(matrix, base.constants, base.cartesian))
            trial = trial + solve(matrix.T @ pull + away)
        return best


def share_taken(before: FloatArray, after: FloatArray, proposed: FloatArray) -> float:
    """Return the length of a step as a share of what was proposed, below 1 where the driver cut it."""
    if np.abs(after - proposed).max() < ROUNDING:
        return 1.0
    return float(np.linalg.norm(after - before) / np.linalg.norm(proposed - before))


def metric_at(base: Point, weights: FloatArray) -> Metric:
    """Return the metric of the trust radius: Å and rad alike, one for all torsions around an axis."""
    external = external_motions(base.positions.reshape(-1, 3))
    return Metric(np.vstack([base.matrix * weights[:, None], external]), LOOSE)


def first_radius(gradient: FloatArray) -> float:
    """Return a trust radius for the first step, by how far from a minimum a gradient (n_atoms, 3) can be.

    Along a soft torsion even a small gradient asks for a long step, and nothing is known yet of how the energy curves
    there.
    """
    largest = float(np.sqrt((gradient * gradient).sum(-1)).max())
    return max(RADIUS_PER_FORCE * largest, SMALLEST_FIRST)


def trust_weights(topology: Topology) -> FloatArray:
    """Return the weights (n,) of squared changes in the trust radius: 1, and 1 in all for torsions around an axis."""
    bonds, angles, _, impropers, linear = topology.counts
    return np.concatenate(
        [np.ones(bonds + angles), topology.torsion_share, np.full(impropers, IMPROPER_WEIGHT), np.ones(linear)]
    )


def external_motions(positions: FloatArray) -> FloatArray:
    """Return the translations and rotations of positions (n_atoms, 3), each of length 1 or zero, (6, 3·n_atoms)."""
    atoms = len(positions)
    motions = np.zeros((6, atoms, 3))
    motions[range(3), :, range(3)] = 1.0
    x, y, z = (positions - positions.mean(axis=0)).T
    motions[3, :, 1], motions[3, :, 2] = -z, y
    motions[4, :, 0], motions[4, :, 2] = z, -x
    motions[5, :, 0], motions[5, :, 1] = -y, x
    rows = motions.reshape(6, -1)
    unit: FloatArray = rows / np.maximum(np.sqrt((rows * rows).sum(-1, keepdims=True)), 1e-6)
    return unit


class RFOInternal:
    """Restricted-step RFO with BFGS updates in redundant internal coordinates (``golfbench.contracts.Optimizer``).

    One force call per step. The Hessian is a model (``hessian_guess``), renewed at every geometry, and the BFGS
    update from up to ``memory`` pairs in internal and Cartesian coordinates together; the step is restricted in the
    metric of internal coordinates, and follows them (``Walk._curved``). Each molecule is treated by itself, so its path
    is bit for bit the same in any batch. Where the internal coordinates fail, for example because atoms coincide,
    the molecule follows its forces for one step and starts again. Molecules of more than ``large.LARGEST``
    atoms walk by L-BFGS in Cartesian coordinates.

    Args:
        memory: Pairs kept.
        radius: First and largest trust radius: root of the sum of squared changes of bonds (Å), angles and torsions
            (rad), all torsions around an axis counting as one.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, memory: int = 100, radius: float = 0.6) -> None:
        if memory < 1 or radius <= 0:
            raise ConfigurationError("rfo-internal: memory must be at least 1, radius above 0")
        self.memory = memory
        self.radius = radius
        self._told = False

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for one walk per slot."""
        self._walks: list[Walk | CartesianWalk | None] = [None] * slots
        self._sizes = [0] * slots

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Start a walk in ``slot``; its coordinates are chosen at the first positions."""
        small = len(molecule) <= LARGEST
        if small:
            self._walks[slot] = Walk(molecule.numbers, self.memory, self.radius)
        else:
            self._walks[slot], self._told = CartesianWalk(molecule, self._told), True
        self._sizes[slot] = len(molecule)

    def constrain(self, slot: int, constraint: Constraint) -> None:
        """Take constraints into account; see ``golfbench.contracts.TakesConstraints``."""
        if isinstance(walk := self._walks[slot], Walk):
            walk.constraint = constraint

    def start_from(self, slot: int, hessian: FloatArray) -> None:
        """Walk on this Hessian instead of the model's; see ``golfbench.contracts.TakesHessian``."""
        if isinstance(walk := self._walks[slot], Walk):
            walk.hessian = hessian

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; zero for a molecule with a force or position that is not finite."""
        x, f, moved = positions.cpu().numpy(), forces.cpu().numpy(), np.zeros(positions.shape)
        for row, (slot, energy) in enumerate(zip(slots.tolist(), energies.tolist(), strict=True)):
            walk, size = self._walks[slot], self._sizes[slot]
            assert walk is not None
            given = x[row, :size].copy(), energy, f[row, :size]
            moved[row, :size] = walk.displacement(*given)
        return torch.from_numpy(moved).to(positions.device)
