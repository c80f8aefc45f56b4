"""The label gate: a label that no working engine would give is not used, neither to learn from nor to judge by.

A label that is refused stays in the run's labels with the reason, and in the ledger as ``rejected``. What is right but
too wild to learn from (see ``golf.settings.FORCE_NORM_GUARD``) is left to others.
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
#: Forces that turn a molecule: their torque, Hartree, and its share of what all atoms together could turn with. The
#: worst of 50 molecules of nabla2DFT has 0.023 and 0.0024; forces in the order of other atoms have 0.5 and 0.05.
TORQUE, TORQUE_SHARE = 0.05, 0.03


class Gate:
    """Checks labels before they are used."""

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
        references = self._references.get(method, {})
        return label_objection(molecule, energy, forces) or energy_objection(molecule, energy, references)


def label_objection(molecule: Molecule, energy: float, forces: FloatArray) -> str:
    """Return why this label cannot be right, or an empty text.

    The energy does not change when a molecule is moved or turned: the forces neither push nor turn it.

    Args:
        molecule: What was labelled.
        energy: Hartree.
        forces: (n_atoms, 3) Hartree/Å.
    """
    if forces.shape != (len(molecule), 3):
        return f"the forces have the shape {forces.shape}"
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return "the energy or the forces are not finite"
    net = float(np.abs(forces.sum(axis=0)).max())
    if net > NET_FORCE:
        return f"the forces add up to {net:.3g} Hartree/Å, not to zero"
    arms = molecule.positions - molecule.positions.mean(axis=0)
    torque = float(np.linalg.norm(np.cross(arms, forces).sum(axis=0)))
    most = float((np.linalg.norm(arms, axis=1) * np.linalg.norm(forces, axis=1)).sum())
    if torque > max(TORQUE, TORQUE_SHARE * most):
        return f"the forces turn the molecule (torque {torque:.3g} Hartree): are they in the order of other atoms?"
    return ""


def energy_objection(molecule: Molecule, energy: float, references: Mapping[int, float]) -> str:
    """Return why an energy (Hartree) cannot be of the level of theory of reference energies, or an empty text."""
    atoms = molecule.numbers.tolist()
    if not atoms or any(z not in references for z in atoms):
        return ""
    off = (energy - sum(references[z] for z in atoms)) / len(atoms)
    if abs(off) <= ENERGY_PER_ATOM:
        return ""
    return f"the energy is {off:+.3g} Hartree per atom away from the sum of its atoms' reference energies"
