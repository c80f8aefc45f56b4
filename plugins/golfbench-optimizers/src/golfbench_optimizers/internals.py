"""Values and analytic derivatives of internal coordinates (Wilson's B matrix)."""

from __future__ import annotations

import numpy as np

from golfbench.contracts import FloatArray
from golfbench_optimizers.topology import Coordinates, IntArray, cross

#: Sines and lengths are kept above this, so that a degenerate geometry gives large numbers and not infinite ones.
_TINY = 1e-8


def kinds(topology: Coordinates, positions: FloatArray) -> list[tuple[IntArray, FloatArray, FloatArray]]:
    """Return the coordinates kind by kind: bonds, angles, torsions and impropers, then both components of linear bends.

    Args:
        topology: Which coordinates.
        positions: (n_atoms, 3), Å.

    Returns:
        For each kind atoms (n, k), values (n,), Å or rad, and derivatives with respect to those atoms (n, k, 3).
    """
    axes, turning = topology.axes, np.concatenate([topology.torsions, topology.impropers])
    found = [
        (topology.bonds, *bond(positions, topology.bonds)),
        (topology.angles, *angle(positions, topology.angles)),
        (turning, *torsion(positions, turning)),
    ]
    if len(axes):
        found += [(topology.linear, *linear_bend(positions, topology.linear, axes[:, i])) for i in range(2)]
    return found


def values_and_derivatives(topology: Coordinates, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the coordinates and their derivatives.

    Args:
        topology: Which coordinates.
        positions: (n_atoms, 3), Å.

    Returns:
        Values (n,), Å and rad, in the order of ``kinds``; and the B matrix (n, 3·n_atoms).
    """
    found = kinds(topology, positions)
    matrix = np.zeros((sum(topology.counts), len(positions), 3))
    first = 0
    for atoms, _, derivatives in found:
        rows = np.arange(first, first + len(atoms))
        matrix[rows[:, None], atoms] = derivatives
        first += len(atoms)
    return np.concatenate([values for _, values, _ in found]), matrix.reshape(len(matrix), positions.size)


def wrap(topology: Coordinates, difference: FloatArray) -> FloatArray:
    """Bring differences of torsions and impropers, within (n,) differences of coordinates, to ±π."""
    bonds, angles, torsions, impropers, _ = topology.counts
    wrapped = difference.copy()
    turning = slice(bonds + angles, bonds + angles + torsions + impropers)
    wrapped[turning] -= 2 * np.pi * np.round(wrapped[turning] / (2 * np.pi))
    return wrapped


def bond(positions: FloatArray, atoms: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return lengths (n,) of pairs (n, 2), Å, and their derivatives (n, 2, 3)."""
    unit, length = _unit(positions[atoms[:, 0]] - positions[atoms[:, 1]])
    derivatives = np.empty((*atoms.shape, 3))
    derivatives[:, 0], derivatives[:, 1] = unit, -unit
    return length[:, 0], derivatives


def angle(positions: FloatArray, atoms: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return angles (n,) at the middle atoms of triples (n, 3), rad, and their derivatives (n, 3, 3), rad/Å."""
    unit, length = _unit(positions[atoms[:, ::2]] - positions[atoms[:, 1:2]])
    u, v = unit[:, 0], unit[:, 1]
    cosine, sine = _dot(u, v), np.maximum(_norm(cross(u, v)), _TINY)
    ends = (cosine[:, None] * unit - unit[:, ::-1]) / (length * sine[:, None])
    derivatives = np.empty((*atoms.shape, 3))
    derivatives[:, ::2], derivatives[:, 1] = ends, -ends[:, 0] - ends[:, 1]
    return np.arctan2(sine, cosine)[:, 0], derivatives


def torsion(positions: FloatArray, atoms: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return torsions (n,) of quadruples (n, 4), rad in ±π, and their derivatives (n, 4, 3), rad/Å.

    Blondel & Karplus 1996, doi 10.1002/(SICI)1096-987X(19960715)17:9<1132::AID-JCC5>3.0.CO;2-T, Eq. 27: no sine of
    the torsion in a denominator.
    """
    points = positions[atoms]
    f, g, h = points[:, 0] - points[:, 1], points[:, 1] - points[:, 2], points[:, 3] - points[:, 2]
    a, b = cross(f, g), cross(h, g)
    length = np.maximum(_norm(g), _TINY)
    a_scaled = a / np.maximum(_dot(a, a), _TINY)
    b_scaled = b / np.maximum(_dot(b, b), _TINY)
    first, last = -length * a_scaled, length * b_scaled
    middle = _dot(f, g) / length * a_scaled - _dot(h, g) / length * b_scaled
    value = np.arctan2(_dot(cross(b, a), g) / length, _dot(a, b))
    derivatives = np.empty((*atoms.shape, 3))
    derivatives[:, 0], derivatives[:, 1] = first, middle - first
    derivatives[:, 2], derivatives[:, 3] = -middle - last, last
    return value[:, 0], derivatives


def linear_bend(positions: FloatArray, atoms: IntArray, axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how far near-linear triples (n, 3) bend towards fixed axes (n, 3): values (n,), derivatives (n, 3, 3).

    The value is the component along the axis of the sum of the two unit vectors from the middle atom: zero for a
    straight angle, and with derivatives that stay finite there. For small bends it is π minus the angle, in rad.
    """
    u, length_u = _unit(positions[atoms[:, 0]] - positions[atoms[:, 1]])
    v, length_v = _unit(positions[atoms[:, 2]] - positions[atoms[:, 1]])
    first = (axis - u * _dot(u, axis)) / length_u
    last = (axis - v * _dot(v, axis)) / length_v
    return _dot(u + v, axis)[:, 0], np.stack([first, -first - last, last], axis=1)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    product: FloatArray = np.einsum("...j,...j->...", a, b)[..., None]
    return product


def _norm(a: FloatArray) -> FloatArray:
    return np.sqrt(_dot(a, a))


def _unit(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    length = np.maximum(_norm(vectors), _TINY)
    return vectors / length, length
