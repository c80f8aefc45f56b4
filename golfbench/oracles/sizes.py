"""How large a calculation is: what its time and its memory grow with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: The last element of each row of the periodic table, and the basis functions that def2-SVP has for the main-group
#: elements of that row (Weigend and Ahlrichs 2005, 10.1039/b508541a): exact for H, B to F, Mg to Cl, Ge to Br, Sn to I.
_LAST, _FUNCTIONS = np.array([2, 10, 18, 36]), np.array([5, 14, 18, 32, 26])


def basis_functions(numbers: npt.ArrayLike) -> int:
    """Return how many basis functions of def2-SVP a molecule has.

    It stands for the size of a calculation with any engine: it tells a bromine from a hydrogen, as atoms do not, and
    knows nothing of shells that a pseudopotential replaces, as electrons do.

    Args:
        numbers: Atomic numbers, (n_atoms,).
    """
    return int(_FUNCTIONS[np.searchsorted(_LAST, np.asarray(numbers))].sum())
