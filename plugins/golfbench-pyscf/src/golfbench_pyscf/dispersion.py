"""The dispersion of wB97X-D: Chai and Head-Gordon, Phys. Chem. Chem. Phys. 10, 6615 (2008), equations 14 and 15.

E = -sum over pairs of C6 / (r^6 (1 + 6 (r / R)^-12)), with the coefficients and radii of Grimme's D2 (J. Comput. Chem.
27, 1787 (2006), table 1): C6 is the geometric mean of both atoms', R the sum of their radii.
"""

from __future__ import annotations

import numpy as np
from ase import units

from golfbench.contracts import FloatArray

#: The damping ``a``, fitted with the functional. The scale ``s6`` is 1.
DAMPING = 6.0
_C6_UNIT = units.J * units.nm**6 / units.mol / (units.Hartree * units.Bohr**6)
#: Coefficients of H to Xe, J nm^6/mol, and radii, Å.
_C6 = """0.14 0.08
1.61 1.61 3.13 1.75 1.23 0.70 0.75 0.63
5.71 5.71 10.79 9.23 7.84 5.57 5.07 4.61
10.8 10.8 10.8 10.8 10.8 10.8 10.8 10.8 10.8 10.8 10.8 10.8 16.99 17.10 16.37 12.64 12.47 12.01
24.67 24.67 24.67 24.67 24.67 24.67 24.67 24.67 24.67 24.67 24.67 24.67 37.32 38.71 38.44 31.74 31.50 29.99"""
_RADII = """1.001 1.012
0.825 1.408 1.485 1.452 1.397 1.342 1.287 1.243
1.144 1.364 1.639 1.716 1.705 1.683 1.639 1.595
1.485 1.474 1.562 1.562 1.562 1.562 1.562 1.562 1.562 1.562 1.562 1.562 1.650 1.727 1.760 1.771 1.749 1.727
1.628 1.606 1.639 1.639 1.639 1.639 1.639 1.639 1.639 1.639 1.639 1.639 1.672 1.804 1.881 1.892 1.892 1.881"""


def _by_number(table: str) -> FloatArray:
    return np.array([np.nan, *map(float, table.split())])


#: By atomic number, 1 to 54: Hartree Bohr^6, and Å.
C6 = _by_number(_C6) * _C6_UNIT
RADII = _by_number(_RADII)


def dispersion(numbers: np.ndarray, positions: FloatArray) -> tuple[float, FloatArray]:
    """Return energy (Hartree) and gradient (n_atoms, 3) (Hartree/Bohr) of positions (n_atoms, 3) in Bohr.

    Args:
        numbers: Atomic numbers (n_atoms,), 1 to 54.
        positions: Bohr.
    """
    first, second = np.triu_indices(len(numbers), 1)
    apart = positions[first] - positions[second]
    distance = np.linalg.norm(apart, axis=1)
    strength = np.sqrt(C6[numbers[first]] * C6[numbers[second]]) / distance**6
    radius = (RADII[numbers[first]] + RADII[numbers[second]]) * (units.Ang / units.Bohr)
    damped = DAMPING * (distance / radius) ** -12
    energies = -strength / (1 + damped)
    slopes = energies / distance * (-6 + 12 * damped / (1 + damped))
    pushes = (slopes / distance)[:, None] * apart
    gradient = np.zeros_like(positions)
    np.add.at(gradient, first, pushes)
    np.add.at(gradient, second, -pushes)
    return float(energies.sum()), gradient
