"""The model Hessian that a quasi-Newton minimization starts from: diagonal in internal coordinates, and contacts."""

from __future__ import annotations

import numpy as np
from ase.data import vdw_radii
from ase.units import Bohr

from golfbench.contracts import FloatArray
from golfbench_optimizers.topology import Coordinates, IntArray, Topology

#: Lindh et al. 1995 (doi 10.1016/0009-2614(95)00646-L), Table 1, by rows of the periodic table (1, 2, 3 and beyond):
#: exponents in 1/Bohr², distances in Bohr.
_EXPONENT = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]])
_DISTANCE = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]])
#: Ibid.: Hartree/Å² for bonds (0.45 Hartree/Bohr²), Hartree/rad² for angles.
BOND, ANGLE = 0.45 / Bohr**2, 0.15
#: Hartree/rad². Lindh's 0.005 for torsions sums to too much where nine of them share a bond.
TORSION = 0.003
#: Hartree/rad², of the improper torsion of a planar centre, and of the bend of a straight chain.
IMPROPER, LINEAR_BEND = 0.05, 0.05
#: Curvature (Hartree/Å²) between atoms at the distance of their van der Waals radii, its decay (1/Å), its ceiling,
#: and the floor below which a pair is left out.
CONTACT, CONTACT_DECAY, CONTACT_CEILING, CONTACT_FLOOR = 0.003, 3.0, 0.3, 1e-5
#: Bonds between atoms in contact, at least.
CONTACT_BONDS = 5
#: Å; for elements without a known van der Waals radius.
_DEFAULT_RADIUS = 1.9
#: Å; 1.2 (ASE) is what a hydrogen looks like end on, and overrates contacts.
_HYDROGEN_RADIUS = 1.1


def force_constants(topology: Coordinates, numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Return a force constant (n,) for each coordinate, in the order of ``values_and_derivatives``.

    Lindh's: products of exp(α(r₀² - r²)) over the bonds of the coordinate, so that stretched or partly broken ones
    are soft.

    Returns:
        Hartree/Å² or Hartree/rad².
    """
    row = np.where(numbers <= 2, 0, np.where(numbers <= 10, 1, 2))

    def strength(i: IntArray, j: IntArray) -> FloatArray:
        kinds, difference = (row[i], row[j]), (positions[i] - positions[j]) / Bohr
        x, y, z = difference.T
        decay: FloatArray = np.exp(_EXPONENT[kinds] * (_DISTANCE[kinds] ** 2 - (x * x + y * y + z * z)))
        return decay

    bonds, angles, torsions = topology.bonds.T, topology.angles.T, topology.torsions.T
    *_, impropers, linear = topology.counts
    return np.concatenate(
        [
            BOND * strength(*bonds),
            ANGLE * strength(*angles[:2]) * strength(*angles[1:]),
            TORSION * strength(*torsions[:2]) * strength(*torsions[1:3]) * strength(*torsions[2:]),
            np.full(impropers, IMPROPER),
            np.full(linear, LINEAR_BEND),
        ]
    )


def contact_pairs(topology: Topology) -> IntArray:
    """Return the pairs (n, 2) of atoms that are at least ``CONTACT_BONDS`` bonds apart."""
    step = (topology.bonded | np.eye(len(topology.bonded), dtype=bool)).astype(np.float32)
    near = step
    for _ in range(CONTACT_BONDS - 2):
        near = (near @ step > 0).astype(np.float32)
    return np.argwhere(np.triu(near == 0))


def contacts(pairs: IntArray, numbers: IntArray, positions: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the pairs that are close, the unit vectors along them, and their curvatures.

    Repulsion and hydrogen bonds resist approach long before an internal coordinate knows of it. A pair has the
    curvature along its line only, c·exp(-3(r - R)), where R is the sum of the van der Waals radii.

    Returns:
        Atoms (n, 2), unit vectors (n, 3) from the second to the first, and curvatures (n,), Hartree/Å².
    """
    radii = np.nan_to_num(vdw_radii[np.minimum(numbers, len(vdw_radii) - 1)], nan=_DEFAULT_RADIUS)
    radii = np.where(numbers == 1, _HYDROGEN_RADIUS, radii)
    i, j = pairs.T
    difference = positions[i] - positions[j]
    distance = np.maximum(np.sqrt((difference * difference).sum(-1)), 1e-8)
    curvature = CONTACT * np.exp(-CONTACT_DECAY * (distance - radii[i] - radii[j]))
    close = curvature > CONTACT_FLOOR
    return pairs[close], difference[close] / distance[close, None], np.minimum(curvature[close], CONTACT_CEILING)


def contact_curvature(pairs: IntArray, numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Return the Cartesian Hessian (3·n_atoms, 3·n_atoms) of ``contacts``, Hartree/Å²."""
    close, unit, curvature = contacts(pairs, numbers, positions)
    i, j = close.T
    along = np.zeros((len(close), len(numbers), 3))
    index = np.arange(len(close))
    along[index, i], along[index, j] = unit, -unit
    rows = along.reshape(len(close), 3 * len(numbers))  # also where no pair is close
    hessian: FloatArray = (rows.T * curvature) @ rows
    return hessian
