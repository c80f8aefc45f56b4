"""Which atoms are bonded, from distances alone, and which internal coordinates follow from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii

from golfbench.contracts import FloatArray

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Atoms closer than this multiple of the sum of their covalent radii are bonded (Bakken & Helgaker 2002 use 1.3).
BONDED = 1.3
#: A bond is removed beyond this multiple, and one is added below ``FORMED``: between the two nothing changes, so that a
#: distance near ``BONDED`` does not change the coordinates again and again.
BROKEN = 1.6
FORMED = 1.15
#: An angle above this has no usable derivative of its own or of the torsions at its ends: two linear bends instead.
LINEAR = np.deg2rad(165.0)
#: Coordinates are chosen again when an angle opens beyond the first, or a linear bend closes below the second.
OPENED, CLOSED = np.deg2rad(175.0), np.deg2rad(155.0)
#: A centre of three bonds is planar enough for an improper torsion when its unit bond vectors span less than this.
PLANAR_VOLUME = 0.5
#: Angles and torsions for each atom, at most: drug-like molecules have about 6, ferrocene 20, and a metal cluster of
#: thirteen 80. Atoms that lie on top of each other have hundreds.
MOST_PER_ATOM = 100


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Redundant internal coordinates, as atom indices.

    Attributes:
        bonds: (n, 2).
        angles: (n, 3), the middle atom is the apex.
        torsions: (n, 4), along a bond or across a chain of linear atoms.
        torsion_share: (n,) one over the number of torsions around the same axis.
        torsion_bonds: (n, 2, 2), first and last bond of that axis: the same but for a chain of linear atoms.
        impropers: (n, 4), the first atom is the centre of the three others.
        linear: (n, 3), near-linear angles.
        axes: (n, 2, 3), two unit vectors per linear angle, normal to it and to each other.
    """

    bonds: IntArray
    angles: IntArray
    torsions: IntArray
    torsion_share: FloatArray
    torsion_bonds: IntArray
    impropers: IntArray
    linear: IntArray
    axes: FloatArray

    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        """Numbers of bonds, angles, torsions, impropers and linear-bend components, in the order of the coordinates."""
        return len(self.bonds), len(self.angles), len(self.torsions), len(self.impropers), 2 * len(self.linear)


@dataclass(frozen=True, slots=True)
class Topology(Coordinates):
    """The coordinates of one molecule, and the bonds that they follow from.

    Attributes:
        bonded: (n_atoms, n_atoms) symmetric; includes what connects fragments.
        auxiliary: (n_atoms, n_atoms), the connections of fragments alone.
    """

    bonded: BoolArray
    auxiliary: BoolArray


def join(several: Sequence[Coordinates], first_atoms: Sequence[int]) -> Coordinates:
    """Return the coordinates of several molecules whose atoms are numbered through.

    Args:
        several: One or more.
        first_atoms: The number that the first atom of each gets.
    """
    shifted = list(zip(several, first_atoms, strict=True))
    return Coordinates(
        bonds=np.concatenate([c.bonds + first for c, first in shifted]),
        angles=np.concatenate([c.angles + first for c, first in shifted]),
        torsions=np.concatenate([c.torsions + first for c, first in shifted]),
        torsion_share=np.concatenate([c.torsion_share for c in several]),
        torsion_bonds=np.concatenate([c.torsion_bonds + first for c, first in shifted]),
        impropers=np.concatenate([c.impropers + first for c, first in shifted]),
        linear=np.concatenate([c.linear + first for c, first in shifted]),
        axes=np.concatenate([c.axes for c in several]),
    )


def find_topology(numbers: IntArray, positions: FloatArray) -> Topology:
    """Choose bonds, angles, torsions, impropers and linear bends (Bakken & Helgaker 2002, doi 10.1063/1.1515483).

    Fragments are connected through their closest atoms by auxiliary bonds, which then carry angles and torsions like
    any other, so that the coordinates always span all relative motions. Close contacts, hydrogen bonds among them,
    are left to ``hessian_guess.contact_curvature``.

    Args:
        numbers: (n_atoms,).
        positions: (n_atoms, 3), Å.

    Raises:
        numpy.linalg.LinAlgError: If so many atoms are close to each other that coordinates are of no use.
    """
    covalent = relative_distances(numbers, positions) < BONDED
    bonded = _connect_fragments(covalent, positions)
    _refuse_crowds(bonded)
    neighbours = [np.flatnonzero(row).tolist() for row in bonded]
    angles, linear = _angles(neighbours, positions)
    passing = {(i, j): k for i, j, k in linear} | {(k, j): i for i, j, k in linear}
    groups = _torsion_groups(neighbours, passing)
    counts = [len(torsions) for _, torsions in groups]
    impropers = _impropers(neighbours, positions, passing)
    return Topology(
        bonded=bonded,
        auxiliary=bonded & ~covalent,
        bonds=np.argwhere(np.triu(bonded)),
        angles=_indices(angles, 3),
        torsions=_indices([torsion for _, torsions in groups for torsion in torsions], 4),
        torsion_share=np.repeat(1.0 / np.array(counts, dtype=float), counts),
        torsion_bonds=np.repeat(_indices([ends for ends, _ in groups], 4), counts, axis=0).reshape(-1, 2, 2),
        impropers=_indices(impropers, 4),
        linear=_indices(linear, 3),
        axes=np.array([_normals(positions[k] - positions[i]) for i, _, k in linear]).reshape(-1, 2, 3),
    )


def outdated(topology: Topology, numbers: IntArray, positions: FloatArray) -> bool:
    """Return whether the coordinates no longer suit the positions: bonds, or near-linear angles, have changed."""
    relative = relative_distances(numbers, positions)
    broken = topology.bonded & ~topology.auxiliary & (relative > BROKEN)
    formed = (~topology.bonded | topology.auxiliary) & (relative < FORMED)
    if broken.any() or formed.any():
        return True
    opened = angle_values(topology.angles, positions) > OPENED
    closed = angle_values(topology.linear, positions) < CLOSED
    return bool(opened.any() or closed.any())


def relative_distances(numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Return distances as multiples of the sum of covalent radii, (n_atoms, n_atoms); infinity on the diagonal."""
    radii = covalent_radii[numbers]
    difference = positions[:, None] - positions[None]
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    relative: FloatArray = np.sqrt(squared) / (radii[:, None] + radii[None])
    np.fill_diagonal(relative, np.inf)
    return relative


def angle_values(triples: IntArray, positions: FloatArray) -> FloatArray:
    """Return the angles (n,) at the middle atoms of (n, 3) triples, rad."""
    first = positions[triples[:, 0]] - positions[triples[:, 1]]
    second = positions[triples[:, 2]] - positions[triples[:, 1]]
    normal = cross(first, second)
    sines = np.sqrt(np.einsum("ij,ij->i", normal, normal))
    angles: FloatArray = np.arctan2(sines, np.einsum("ij,ij->i", first, second))
    return angles


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return vector products of (n, 3) rows; ``numpy.cross`` takes several times as long for as few rows as these."""
    (x, y, z), (u, v, w) = a.T, b.T
    product = np.empty(a.shape)
    product[:, 0], product[:, 1], product[:, 2] = y * w - z * v, z * u - x * w, x * v - y * u
    return product


def _indices(rows: list[tuple[int, ...]], width: int) -> IntArray:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _connect_fragments(covalent: BoolArray, positions: FloatArray) -> BoolArray:
    """Add bonds between the closest atoms of different fragments until all is one."""
    bonded = covalent.copy()
    difference = positions[:, None] - positions[None]
    squared = (difference * difference).sum(-1)
    while not (together := _reachable(bonded)).all():
        apart = np.where(together, np.inf, squared)
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        bonded[i, j] = bonded[j, i] = True
    return bonded


def _refuse_crowds(bonded: BoolArray) -> None:
    """Count angles and torsions before they are made."""
    degree = bonded.sum(axis=1)
    angles = int((degree * (degree - 1)).sum()) // 2
    torsions = int(((degree - 1)[:, None] * (degree - 1) * bonded).sum()) // 2
    if angles + torsions > MOST_PER_ATOM * len(bonded):
        raise np.linalg.LinAlgError(f"{angles} angles and {torsions} torsions of {len(bonded)} atoms")


def _reachable(bonded: BoolArray) -> BoolArray:
    """Return which atoms are in the same fragment, (n_atoms, n_atoms)."""
    together = bonded | np.eye(len(bonded), dtype=bool)
    while True:
        wider = together.astype(np.float32) @ together.astype(np.float32) > 0
        if (wider == together).all():
            return together
        together = wider


def _angles(neighbours: list[list[int]], positions: FloatArray) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return bent and near-linear angles."""
    triples = [(i, j, k) for j, around in enumerate(neighbours) for i, k in combinations(around, 2)]
    if not triples:
        return [], []
    is_linear = angle_values(_indices(list(triples), 3), positions) > LINEAR
    bent: list[tuple[int, ...]] = [t for t, flat in zip(triples, is_linear, strict=True) if not flat]
    linear: list[tuple[int, ...]] = [t for t, flat in zip(triples, is_linear, strict=True) if flat]
    return bent, linear


def _torsion_groups(
    neighbours: list[list[int]], passing: dict[tuple[int, int], int]
) -> list[tuple[tuple[int, int, int, int], list[tuple[int, int, int, int]]]]:
    """Return each axis, a bond or a chain that runs straight through linear atoms: two and two end atoms, and torsions.

    Args:
        neighbours: Bonded atoms of each atom.
        passing: Where a walk that comes to an atom from another leaves it straight on: (from, at) -> to.
    """
    groups = []
    for start, around in enumerate(neighbours):
        for second in around:
            if (second, start) in passing:
                continue  # not an end of the axis
            before, end = start, second
            while (before, end) in passing:
                before, end = end, passing[before, end]
            if start < end:
                outer = product(set(around) - {second, end}, set(neighbours[end]) - {before, start})
                torsions = sorted((i, start, end, k) for i, k in outer if i != k)
                groups.append(((start, second, before, end), torsions))
    return [group for group in groups if group[1]]


def _impropers(
    neighbours: list[list[int]], positions: FloatArray, passing: dict[tuple[int, int], int]
) -> list[tuple[int, ...]]:
    """Return an improper torsion for each near-planar centre of three bonds."""
    found: list[tuple[int, ...]] = []
    for centre, around in enumerate(neighbours):
        if len(around) != 3 or any((i, centre) in passing for i in around):
            continue
        unit = positions[around] - positions[centre]
        unit /= np.sqrt((unit * unit).sum(-1, keepdims=True))
        if abs(np.dot(unit[0], np.cross(unit[1], unit[2]))) < PLANAR_VOLUME:
            found.append((centre, *around))
    return found


def _normals(direction: FloatArray) -> FloatArray:
    """Return two unit vectors (2, 3) normal to a direction (3,) and to each other."""
    unit = direction / np.sqrt(direction @ direction)
    first = np.cross(unit, np.eye(3)[np.abs(unit).argmin()])
    first /= np.sqrt(first @ first)
    return np.stack([first, np.cross(unit, first)])
