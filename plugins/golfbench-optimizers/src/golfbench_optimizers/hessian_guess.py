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
# The constants below have Lindh's form. Their sizes are rounded from a fit to Hessians of GFN2-xTB and of a network
# trained on wB97X-D/def2-SVP (``benchmarks/model_hessian.py``).
#: Hartree/Å² of bonds, and of those with an atom beyond the second row; Hartree/rad² of angles by the number of bonds
#: at the apex (2, 3, 4 and more) and of ends other than hydrogen (0, 1, 2), and of those at an atom beyond that row.
BOND, HEAVY_BOND = 0.30 / Bohr**2, 0.225 / Bohr**2
ANGLE = np.array([[0.08, 0.08, 0.105], [0.075, 0.105, 0.13], [0.11, 0.15, 0.21]])
HEAVY_ANGLE = 0.15
#: Hartree/rad² of all torsions around an axis together, which grows with the third power of the bond's strength: 0.014
#: for C-C, 0.07 for C=C. Lindh's product over the three bonds, 0.005 for each torsion, knows neither.
TORSION = 0.015
#: Hartree/rad², of the improper torsion of a planar centre, and of the bend of a straight chain.
IMPROPER, LINEAR_BEND = 0.08, 0.09
#: Curvature (Hartree/Å²) between atoms at the distance of their van der Waals radii, its decay (1/Å), its ceiling,
#: and the floor below which a pair is left out.
CONTACT, CONTACT_DECAY, CONTACT_CEILING, CONTACT_FLOOR = 0.003, 3.0, 0.3, 1e-5
#: Bonds between atoms in contact, at least.
CONTACT_BONDS = 5
#: Å; for elements without a known van der Waals radius.
_DEFAULT_RADIUS = 1.9
#: Å; 1.2 (ASE) is what a hydrogen looks like end on, and overrates contacts.
_HYDROGEN_RADIUS = 1.1
#: Van der Waals radii by atomic number, Å.
_RADII = np.nan_to_num(vdw_radii, nan=_DEFAULT_RADIUS)
_RADII[1] = _HYDROGEN_RADIUS


def force_constants(topology: Coordinates, numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Return a force constant (n,) for each coordinate, in the order of ``values_and_derivatives``.

    A bond has the strength exp(α(r₀² - r²)), so that stretched or partly broken ones are soft; an angle has the product
    of its two bonds', a torsion that of its axis, or of the weaker end of one that passes linear atoms: allene is
    stiff, butyne is not.

    Returns:
        Hartree/Å² or Hartree/rad².
    """
    row = np.where(numbers <= 2, 0, np.where(numbers <= 10, 1, 2))
    heavy = row == 2

    def strength(i: IntArray, j: IntArray) -> FloatArray:
        kinds, difference = (row[i], row[j]), (positions[i] - positions[j]) / Bohr
        x, y, z = difference.T
        decay: FloatArray = np.exp(_EXPONENT[kinds] * (_DISTANCE[kinds] ** 2 - (x * x + y * y + z * z)))
        return decay

    (a, b), (i, apex, k), (first, last) = topology.bonds.T, topology.angles.T, topology.torsion_bonds.transpose(1, 2, 0)
    axis = strength(*first)
    if len(topology.linear):
        axis = np.minimum(axis, strength(*last))
    degree = np.bincount(topology.bonds.reshape(-1), minlength=len(numbers))
    ends = (numbers[i] != 1).astype(int) + (numbers[k] != 1)
    bending = np.where(heavy[apex], HEAVY_ANGLE, ANGLE[np.minimum(degree[apex], 4) - 2, ends])
    *_, impropers, linear = topology.counts
    return np.concatenate(
        [
            np.where(heavy[a] | heavy[b], HEAVY_BOND, BOND) * strength(a, b),
            bending * strength(i, apex) * strength(apex, k),
            TORSION * topology.torsion_share * axis**3,
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

    Repulsion and hydrogen bonds act at distances at which no internal coordinate describes them. A pair has the
    curvature along its line only, c·exp(-3(r - R)), where R is the sum of the van der Waals radii.

    Returns:
        Atoms (n, 2), unit vectors (n, 3) from the second to the first, and curvatures (n,), Hartree/Å².
    """
    radii = _RADII[np.minimum(numbers, len(_RADII) - 1)]
    i, j = pairs.T
    difference = positions[i] - positions[j]
    distance = np.maximum(np.sqrt(np.einsum("ij,ij->i", difference, difference)), 1e-8)
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
