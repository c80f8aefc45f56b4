"""L-BFGS on top of a model Hessian in internal coordinates, for many molecules at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from golfbench.constraints import Constraint
from golfbench.contracts import FloatArray
from golfbench.molecules import Molecule
from golfbench_optimizers.hessian_guess import contact_pairs, contacts, force_constants
from golfbench_optimizers.internals import kinds
from golfbench_optimizers.large import LARGEST, CartesianWalk
from golfbench_optimizers.lbfgs import FIRST_INVERSE_CURVATURE, LBFGS
from golfbench_optimizers.topology import Coordinates, IntArray, Topology, find_topology, join, outdated
from golfbench_optimizers.vectors import longest_move

#: Curvature (Hartree/Å²) of the model along every Cartesian coordinate: of a molecule in one piece, where 0.006 needs a
#: fifth more force calls to 0.01 eV/Å, and of one in fragments, whose motions against each other the internal
#: coordinates underrate.
CARTESIAN, FRAGMENTS = 0.002, 0.015
#: Energy rises (Hartree) after which the bound on displacements shrinks, and after which the walk goes on from the
#: point before. The first is above the rounding of float32 models.
SHRUNK, REJECTED = 2e-5, 5e-4
#: Factors of the bound when the energy rose and fell, and its smallest share of ``max_step``.
SHRINK, GROW, SMALLEST = 0.5, 1.5, 0.01
#: A model that is too soft by more than this factor along the newest displacement is scaled by it as a whole.
UNDERRATED = 5.0
#: Matrices are padded to whole multiples of this many atoms, and those of the same size are factorized together. The
#: size belongs to the molecule alone, because the order of the arithmetic inside a factorization depends on it.
ATOMS_PER_BLOCK = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """The internal coordinates that the model Hessian of one molecule is made of.

    Attributes:
        numbers: (n_atoms,).
        topology: The coordinates.
        contacts: (n, 2) pairs of atoms that may touch.
    """

    numbers: IntArray
    topology: Topology
    contacts: IntArray

    @property
    def cartesian(self) -> float:
        """Curvature along every Cartesian coordinate, Hartree/Å²."""
        return FRAGMENTS if self.topology.auxiliary.any() else CARTESIAN

    @classmethod
    def of(cls, numbers: IntArray, positions: FloatArray) -> Frame:
        """Choose coordinates for positions (n_atoms, 3), Å."""
        topology = find_topology(numbers, positions)
        return cls(numbers, topology, contact_pairs(topology))


class LBFGSInternal(LBFGS):
    """``LBFGS`` whose initial Hessian is BᵀKB + c·1 at the current geometry (``golfbench.contracts.Optimizer``).

    B are the derivatives of bonds, angles, torsions, impropers and linear bends, K their force constants and those of
    close contacts (``hessian_guess``): it describes soft torsions and stiff bonds, and the pairs only have to
    correct the model's errors. The pairs are Cartesian, so they stay valid when coordinates are chosen again
    because a bond broke or an angle straightened. But a pair corrects the model at its own geometry, and the older it
    is, the less it fits the present one: two pairs work better than five or a hundred. A model that cannot be
    factorized, for example because atoms coincide, is replaced by ``FIRST_INVERSE_CURVATURE``. Molecules of more than
    ``large.LARGEST`` atoms walk by ``LBFGS`` alone.

    Straight steps along soft motions stretch bonds, and a few pairs do not correct that: where the energy rises, the
    bound on displacements shrinks, and where it rises much, the walk goes on from the point before.

    Args:
        memory: Pairs kept.
        max_step: Largest displacement of an atom in Å, from the point that the walk goes on from; the molecule's whole
            displacement is scaled to it.

    Raises:
        ConfigurationError: If a parameter is out of range.
    """

    def __init__(self, memory: int = 2, max_step: float = 0.3) -> None:
        super().__init__(memory, max_step)
        self._told = False

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room as ``LBFGS`` does, and for one set of internal coordinates per slot."""
        super().allocate(slots, atoms, device)
        self._numbers: list[IntArray | None] = [None] * slots
        self._frames: list[Frame | None] = [None] * slots
        self._large: dict[int, CartesianWalk] = {}
        self._constraints: dict[int, Constraint] = {}
        self._atoms = atoms
        self._energy = torch.zeros(slots, dtype=torch.float64, device=device)
        self._radius = torch.zeros_like(self._energy)

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Forget the molecule that was in ``slot``; coordinates are chosen at the first positions."""
        super().admit(slot, molecule)
        self._numbers[slot], self._frames[slot] = molecule.numbers, None
        self._energy[slot], self._radius[slot] = torch.inf, self.max_step
        self._large.pop(slot, None)
        self._constraints.pop(slot, None)
        if len(molecule) > LARGEST:
            self._large[slot], self._told = CartesianWalk(molecule, self._told), True

    def constrain(self, slot: int, constraint: Constraint) -> None:
        """Take constraints into account; see ``golfbench.contracts.TakesConstraints``."""
        self._constraints[slot] = constraint

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å; see ``LBFGS.step``."""
        large = [row for row, slot in enumerate(slots.tolist()) if slot in self._large]
        small = [row for row in range(len(slots)) if row not in large]
        moved = torch.zeros_like(positions)
        if small:
            moved[small] = super().step(slots[small], positions[small], energies[small], forces[small])
        for row in large:
            x, f = positions[row].cpu().numpy(), forces[row].cpu().numpy()
            walk, numbers = self._large[int(slots[row])], self._numbers[int(slots[row])]
            assert numbers is not None
            size = len(numbers)
            found = walk.displacement(x[:size], float(energies[row]), f[:size])
            moved[row, :size] = torch.from_numpy(found).to(moved.device)
        return moved

    def _settle(
        self, slots: torch.Tensor, x: torch.Tensor, g: torch.Tensor, energies: torch.Tensor, usable: torch.Tensor
    ) -> torch.Tensor:
        """Go on from the point before where the energy rose too far; shrink or widen the bound on displacements."""
        before, radius, known = self._energy[slots], self._radius[slots], self._moved[slots] & usable
        rise = torch.where(known, energies.to(before) - before, 0.0)
        back = rise > REJECTED
        length = longest_move((x - self._positions[slots])[:, : 3 * self._atoms].view(len(x), -1, 3))
        radius = torch.where(back, torch.minimum(radius, length), radius)
        radius = torch.where(rise > SHRUNK, SHRINK * radius, torch.where(rise < 0, GROW * radius, radius))
        radius = radius.clamp(SMALLEST * self.max_step, self.max_step)
        super()._settle(
            slots,
            torch.where(back[:, None], self._positions[slots], x),
            torch.where(back[:, None], self._gradient[slots], g),
            energies,
            usable,
        )
        self._energy[slots] = torch.where(back, before, energies.to(before))
        self._radius[slots] = radius
        return radius

    def _initial(
        self, slots: torch.Tensor, x: torch.Tensor, usable: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what multiplies vectors (m, width) by the inverse model Hessians at positions (m, atoms, 3)."""
        positions = x.cpu().numpy()
        found = {row: self._frame(int(slots[row]), positions[row]) for row in usable.nonzero()[:, 0].tolist()}
        frames = {row: frame for row, frame in found.items() if frame is not None}
        without = torch.tensor([row for row, frame in found.items() if frame is None], dtype=torch.int64)
        newest, curvature = self._history.newest(slots)
        factors = []
        for rows, hessians in model_hessians(frames, positions):
            for row, hessian in zip(rows.tolist(), hessians, strict=True):
                if constraint := self._constraints.get(int(slots[row])):
                    _restrict(hessian, constraint, positions[row])
            rows, hessians = rows.to(x.device), hessians.to(x.device)
            scaled = hessians * underrating(hessians, newest[rows], curvature[rows])[:, None, None]
            factors.append((rows, torch.linalg.cholesky_ex(scaled)))

        def solve(q: torch.Tensor) -> torch.Tensor:
            solved = torch.zeros_like(q)
            solved[without] = FIRST_INVERSE_CURVATURE * q[without]
            for rows, (triangles, failed) in factors:
                width = triangles.shape[-1]
                right = fitted(q[rows], width)
                found = torch.cholesky_solve(right[:, :, None], triangles)[:, :, 0]
                found = torch.where((failed > 0)[:, None], FIRST_INVERSE_CURVATURE * right, found)
                solved[rows] = fitted(found, q.shape[1])
            return solved

        return solve

    def _frame(self, slot: int, padded: FloatArray) -> Frame | None:
        """Return the coordinates of the molecule in ``slot``, chosen again where they no longer fit its positions.

        ``None`` where coordinates are of no use.
        """
        numbers, frame = self._numbers[slot], self._frames[slot]
        assert numbers is not None
        positions = padded[: len(numbers)]
        if frame is None or outdated(frame.topology, numbers, positions):
            try:
                frame = Frame.of(numbers, positions)
            except np.linalg.LinAlgError:
                frame = None
            self._frames[slot] = frame
        return frame


def _restrict(hessian: torch.Tensor, constraint: Constraint, positions: FloatArray) -> None:
    """Uncouple what is constrained from what is free in a Hessian (n, n)."""
    size = len(constraint.start)
    free = torch.from_numpy(constraint.basis(positions[:size])).to(hessian.device)
    projector = free @ free.T
    block = hessian[: 3 * size, : 3 * size]
    block.copy_(projector @ block @ projector + torch.eye(3 * size, dtype=block.dtype) - projector)


def fitted(vectors: torch.Tensor, width: int) -> torch.Tensor:
    """Return vectors (m, n) as (m, width): more zeros at the end, or fewer."""
    return torch.nn.functional.pad(vectors, (0, width - vectors.shape[1]))


def underrating(hessians: torch.Tensor, s: torch.Tensor, curvature: torch.Tensor) -> torch.Tensor:
    """Return by how much too soft model Hessians are along the newest displacements, or 1 where they are good enough.

    Args:
        hessians: (m, n, n).
        s: (m, width) displacements, zero where there is none.
        curvature: (m,) what s·H·s should be.
    """
    along = fitted(s, hessians.shape[-1])
    expected = ((hessians * along[:, None]).sum(-1) * along).sum(-1)
    return torch.where(curvature > UNDERRATED * expected, curvature / expected, torch.ones_like(expected))


def model_hessians(frames: Mapping[int, Frame], positions: FloatArray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the model Hessians of molecules of about the same size.

    Args:
        frames: The coordinates of molecules, by their row in ``positions``.
        positions: (m, atoms, 3), Å.

    Yields:
        Their rows (k,), and their matrices (k, n, n), Hartree/Å², padded on the diagonal.
    """
    widths = {row: 3 * ATOMS_PER_BLOCK * -(-len(f.numbers) // ATOMS_PER_BLOCK) for row, f in frames.items()}
    for width in sorted(set(widths.values())):
        rows = [row for row in frames if widths[row] == width]
        places = np.concatenate([positions[row, : len(frames[row].numbers)] for row in rows])
        yield torch.tensor(rows), torch.from_numpy(_assembled([frames[row] for row in rows], places, width))


def _assembled(frames: Sequence[Frame], positions: FloatArray, width: int) -> FloatArray:
    """Return BᵀKB + c·1 of each molecule, (m, width, width); positions (n_atoms, 3) one molecule after the other.

    The blocks of all coordinates are added one by one, in an order that is each molecule's own.
    """
    sizes = [len(f.numbers) for f in frames]
    first = np.cumsum([0, *sizes])
    owner, local = np.repeat(np.arange(len(frames)), sizes), np.concatenate([np.arange(size) for size in sizes])
    where, what = [], []
    for atoms, constants, derivatives in _terms(frames, first, positions):
        scaled = (np.sqrt(constants)[:, None, None] * derivatives).reshape(len(atoms), 3 * atoms.shape[1])
        what.append((scaled[:, :, None] * scaled[:, None]).ravel())
        columns = (3 * local[atoms][:, :, None] + np.arange(3)).reshape(scaled.shape)
        matrix = owner[atoms[:, 0]][:, None, None] * width
        where.append(((matrix + columns[:, :, None]) * width + columns[:, None]).ravel())
    total = np.bincount(np.concatenate(where), np.concatenate(what), minlength=len(frames) * width * width)
    hessians = total.astype(np.float64, copy=False).reshape(len(frames), width, width)
    hessians[:, range(width), range(width)] += np.array([f.cartesian for f in frames])[:, None]
    return hessians


def _terms(
    frames: Sequence[Frame], first: IntArray, positions: FloatArray
) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
    """Yield atoms (n, k), force constants (n,) and derivatives (n, k, 3) of each kind of coordinate."""
    numbers = np.concatenate([f.numbers for f in frames])
    coordinates: Coordinates = join([f.topology for f in frames], first[:-1].tolist())
    constants = force_constants(coordinates, numbers, positions)
    for atoms, values, derivatives in kinds(coordinates, positions):
        yield atoms, constants[: len(values)], derivatives
        constants = constants[len(values) :]
    pairs = np.concatenate([f.contacts + start for f, start in zip(frames, first[:-1], strict=True)])
    close, unit, curvature = contacts(pairs, numbers, positions)
    yield close, curvature, np.stack([unit, -unit], axis=1)
