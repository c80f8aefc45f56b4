"""geomeTRIC's optimizer with geomeTRIC's own defaults; only its test of convergence is switched off."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from golfbench.contracts import FloatArray
from golfbench.imports import importable
from golfbench.molecules import Molecule
from golfbench_ase.inverted import InvertedOptimizer, Measure

with importable():
    import geometric.internal as coordinates
    from geometric.engine import Engine
    from geometric.molecule import Molecule as GeometricMolecule
    from geometric.nifty import bohr2ang
    from geometric.optimize import Optimize
    from geometric.params import OptParams

# It logs every step, on a logger that it sets to INFO.
logging.getLogger("geometric").setLevel(logging.CRITICAL)
logging.getLogger("geometric.nifty").setLevel(logging.CRITICAL)

#: As geomeTRIC's own command line has them: class, whether fragments are connected, whether Cartesians are added.
SYSTEMS = {
    "tric": (coordinates.DelocalizedInternalCoordinates, False, False),
    "tric-p": (coordinates.PrimitiveInternalCoordinates, False, False),
    "dlc": (coordinates.DelocalizedInternalCoordinates, True, False),
    "hdlc": (coordinates.DelocalizedInternalCoordinates, False, True),
    "prim": (coordinates.PrimitiveInternalCoordinates, True, False),
    "cart": (coordinates.CartesianCoordinates, False, False),
}
#: All criteria must be met at the same time, and no gradient is below 0. The others keep their defaults, because the
#: rejection of steps depends on them, too.
NEVER_CONVERGED = {"convergence_grms": 0.0, "convergence_gmax": 0.0, "maxiter": 10**9}


class _Measured(Engine):  # type: ignore[misc]
    """An engine that asks ``Measure`` and writes no files."""

    def __init__(self, molecule: GeometricMolecule, measure: Measure) -> None:
        super().__init__(molecule)
        self._measure = measure

    def calc(self, coords: FloatArray, dirname: Any, read_data: bool = False, copydir: Any = None) -> dict[str, Any]:
        """Return energy (Hartree) and gradient (3·n_atoms,) (Hartree/Bohr) at ``coords`` (3·n_atoms,), Bohr."""
        energy, forces = self._measure(coords.reshape(-1, 3) * bohr2ang)
        return {"energy": energy, "gradient": -forces.ravel() * bohr2ang}


def geometric(coordinates: str) -> InvertedOptimizer:
    """Make geomeTRIC's optimizer in one of its ``SYSTEMS`` of coordinates."""
    make, connect, cartesians = SYSTEMS[coordinates]

    def run(molecule: Molecule, measure: Measure) -> None:
        known = GeometricMolecule()
        known.elem = [chemical_symbols[z] for z in molecule.numbers]
        known.xyzs = [molecule.positions.copy()]
        known.charge, known.mult = molecule.charge, molecule.multiplicity
        known.build_topology()
        system = make(known, build=True, connect=connect, addcart=cartesians)
        start = np.ravel(molecule.positions) / bohr2ang
        Optimize(start, known, system, _Measured(known, measure), None, OptParams(**NEVER_CONVERGED), print_info=False)

    return InvertedOptimizer(run)
