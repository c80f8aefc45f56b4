"""Sella's minimizer with Sella's own defaults; only its test of convergence is switched off."""

from __future__ import annotations

from golfbench.imports import importable
from golfbench.molecules import Molecule
from golfbench_ase.inverted import InvertedOptimizer, Measure, measured_atoms

with importable():
    from sella import Sella


def sella(internal: bool) -> InvertedOptimizer:
    """Make Sella's minimizer (order 0), in internal or Cartesian coordinates."""

    def run(molecule: Molecule, measure: Measure) -> None:
        atoms = measured_atoms(molecule, measure)
        Sella(atoms, order=0, internal=internal, logfile=None).run(fmax=0.0)  # no force is below 0

    return InvertedOptimizer(run)
