"""The label gate: what no engine in order says is not believed, learned from or judged by.

A label that is refused stays in the run's labels with the reason, and in the ledger as ``rejected``. What is right but
too wild to learn from (see ``golf.settings.FORCE_NORM_GUARD``) is not the gate's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from golfbench.contracts import FloatArray
from golfbench.molecules import Molecule
from golfbench.specs import OracleSpec

#: Hartree/Å; largest component of the sum of all forces, which is zero but for the error of the quadrature grid. The
#: worst of 50 molecules of nabla2DFT (wB97X-D/def2-SVP, Psi4, grid 75 x 302) has 0.0055.
NET_FORCE = 0.02
#: Hartree per atom; distance of an energy from the sum of reference energies of its atoms. Bonds are a tenth of this;
#: the wrong range-separated energies of Psi4 1.4.0 were off by 2 (psi4 issue 2279).
ENERGY_PER_ATOM = 1.0


class Gate:
    """Checks labels before anybody sees them."""

    def __init__(self) -> None:
        self._references: dict[str, Mapping[int, float]] = {}

    def expect(self, method: str, references: Mapping[int, float]) -> None:
        """Say what energies to expect.

        Args:
            method: Level of theory.
            references: Energy (Hartree) by atomic number whose sums are near total energies; empty: no expectation.
        """
        self._references[method] = references

    def objection(
        self, spec: OracleSpec, method: str, molecule: Molecule, energy: float, forces: FloatArray, engine: str
    ) -> str:
        """Return why a label is refused, or an empty text.

        Args:
            spec: The oracle.
            method: Level of theory.
            molecule: What was labelled.
            energy: Hartree.
            forces: (n_atoms, 3) Hartree/Å.
            engine: Name and version of the engine.
        """
        if spec.refused_engines and re.fullmatch(spec.refused_engines, engine):
            return f"{engine} is known to give wrong labels"
        if forces.shape != (len(molecule), 3):
            return f"the forces have the shape {forces.shape}"
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            return "the energy or the forces are not finite"
        net = float(np.abs(forces.sum(axis=0)).max())
        if net > NET_FORCE:
            return f"the forces add up to {net:.3g} Hartree/Å, not to zero"
        return self._energy_objection(method, molecule, energy)

    def _energy_objection(self, method: str, molecule: Molecule, energy: float) -> str:
        references = self._references.get(method, {})
        atoms = molecule.numbers.tolist()
        if not atoms or any(z not in references for z in atoms):
            return ""
        off = (energy - sum(references[z] for z in atoms)) / len(atoms)
        if abs(off) <= ENERGY_PER_ATOM:
            return ""
        return f"the energy is {off:+.3g} Hartree per atom away from the sum of its atoms' reference energies"
