"""Geometries that occur twice, however they are moved, turned or listed: the same label would be learned twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from golfbench.chemistry import superposed
from golfbench.contracts import FloatArray
from golfbench.molecules import Molecule

#: Å: after superposition no atom of a duplicate is farther away; coordinates are often rounded to 0.001.
SAME = 0.01
#: Fits of one frame on another that are tried for atoms in another order.
_MOST_FRAMES = 2000


class _Signature(NamedTuple):
    """What does not change when a geometry is moved, turned or listed in another order.

    Attributes:
        size: Sum of the distances of the atoms from their centre, Å.
        profile: These distances, by element and then by length.
        place: Which geometry.
    """

    size: float
    profile: npt.NDArray[np.float32]
    place: int


def duplicates(molecules: Sequence[Molecule]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) of geometries that are the same after superposition, by their places in the sequence.

    A mirror image is another geometry. Molecules are read one by one, and once more where two may be the same.
    """
    groups: defaultdict[tuple[bytes, int, int], list[_Signature]] = defaultdict(list)
    for index in range(len(molecules)):
        molecule = molecules[index]
        key = np.sort(molecule.numbers).tobytes(), molecule.charge, molecule.multiplicity
        groups[key].append(_signature(molecule, index))
    for group in groups.values():
        group.sort(key=lambda signature: signature.size)
        yield from _in_group(group, molecules)


def _signature(molecule: Molecule, index: int) -> _Signature:
    lengths = np.linalg.norm(molecule.positions - molecule.positions.mean(axis=0), axis=1)
    order = np.lexsort((lengths, molecule.numbers))
    return _Signature(float(lengths.sum()), lengths[order].astype(np.float32), index)


def _in_group(group: Sequence[_Signature], molecules: Sequence[Molecule]) -> Iterator[tuple[int, int]]:
    """Yield duplicates among geometries of the same atoms, sorted by size; each pair once."""
    named: set[int] = set()
    for k, one in enumerate(group):
        for other in group[k + 1 :]:
            if other.size - one.size > SAME * len(one.profile):
                break
            if other.place in named or np.abs(one.profile - other.profile).max() > SAME:
                continue
            first, second = sorted((one.place, other.place))
            if second not in named and same_geometry(molecules[first], molecules[second]):
                named.add(second)
                yield first, second


def same_geometry(a: Molecule, b: Molecule) -> bool:
    """Tell whether two geometries of the same elements can be superposed, their atoms in any order."""
    if np.array_equal(a.numbers, b.numbers) and _fits(a.positions, b.positions):
        return True
    origin, target = (m.positions - m.positions.mean(axis=0) for m in (b, a))
    corners = _corners(target)
    for frame in _frames(a, b, target, origin, corners):
        turned = _turned(origin, origin[frame], target[corners])
        order = _matched(a, b, target, turned)
        if order is not None and _fits(target, origin[order]):
            return True
    return False


def _fits(positions: FloatArray, others: FloatArray) -> bool:
    every = np.ones(len(positions), dtype=bool)
    return bool(np.linalg.norm(superposed(others, positions, every) - positions, axis=1).max() <= SAME)


def _corners(centred: FloatArray) -> list[int]:
    """Return the atoms that, with the centre, fix how a molecule lies: the farthest, and the farthest from its axis."""
    lengths = np.linalg.norm(centred, axis=1)
    first = int(lengths.argmax())
    away = np.linalg.norm(np.cross(centred, centred[first]), axis=1)
    second = int(away.argmax())
    return [first] if away[second] <= SAME * lengths[first] else [first, second]


def _frames(
    a: Molecule, b: Molecule, target: FloatArray, origin: FloatArray, corners: Sequence[int]
) -> Iterator[list[int]]:
    """Yield the atoms of ``b`` that can be the corners of ``a``."""
    wanted, lengths = np.linalg.norm(target, axis=1), np.linalg.norm(origin, axis=1)
    like = [
        np.flatnonzero((b.numbers == a.numbers[k]) & (np.abs(lengths - wanted[k]) <= 2 * SAME)).tolist()
        for k in corners
    ]
    if len(corners) == 1:
        yield from ([k] for k in like[0])
        return
    apart = np.linalg.norm(target[corners[0]] - target[corners[1]])
    tried = 0
    for j in like[0]:
        for k in like[1]:
            if j != k and abs(np.linalg.norm(origin[j] - origin[k]) - apart) <= 2 * SAME and tried < _MOST_FRAMES:
                tried += 1
                yield [j, k]


def _turned(centred: FloatArray, corners: FloatArray, onto: FloatArray) -> FloatArray:
    """Return centred positions turned so that their corners (1 or 2) lie on others."""
    here, there = (_axes(points) for points in (corners, onto))
    return np.asarray(centred @ here.T @ there, dtype=np.float64)


def _axes(points: FloatArray) -> FloatArray:
    """Return a right-handed set of axes, as rows: the first through the first point, the second towards the second."""
    first = points[0] / np.linalg.norm(points[0])
    towards = points[1] if len(points) > 1 else np.roll(first, 1) + np.array([0.3, 0.5, 0.7])
    second = towards - (towards @ first) * first
    second /= np.linalg.norm(second)
    return np.array([first, second, np.cross(first, second)])


def _matched(a: Molecule, b: Molecule, target: FloatArray, turned: FloatArray) -> npt.NDArray[np.int64] | None:
    """Return for each atom of ``a`` the atom of ``b`` at the same place, or ``None`` where one has no partner."""
    distances = np.linalg.norm(target[:, None] - turned[None], axis=-1)
    distances[a.numbers[:, None] != b.numbers[None]] = np.inf
    order = distances.argmin(axis=1)
    near = distances[np.arange(len(order)), order].max() <= 10 * SAME
    return order if near and len(set(order.tolist())) == len(order) else None
