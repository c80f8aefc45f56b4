"""ASE's optimizers with ASE's own defaults; only their test of convergence is switched off, the driver has its own."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import ase.optimize
import numpy as np

from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.molecules import Molecule
from golfbench_ase.inverted import InvertedOptimizer, Measure, measured_atoms


def _optimizer(algorithm: str, **options: Any) -> InvertedOptimizer:
    """Return the optimizer that ASE calls ``algorithm``, with keyword arguments of its class.

    Raises:
        ComponentMissingError: If this ASE does not have it.
    """
    made = getattr(ase.optimize, algorithm, None)
    if made is None:
        raise ComponentMissingError(f"ase {version('ase')} has no {algorithm}; install it with: pip install -U ase")

    def run(molecule: Molecule, measure: Measure) -> None:
        optimizer = made(measured_atoms(molecule, measure), logfile=None, **options)
        if algorithm == "RFO":  # it leaves the start of an iterative eigensolver to chance
            optimizer.v0 = np.ones(3 * len(molecule) + 1)
        optimizer.run(fmax=0.0)  # no force is below 0

    return InvertedOptimizer(run)


def _capped(algorithm: str, max_step: float, **options: Any) -> InvertedOptimizer:
    if not 0 < max_step <= 1:
        raise ConfigurationError("ase: max_step must be above 0 and at most 1 Å")
    return _optimizer(algorithm, maxstep=max_step, **options)


def lbfgs(memory: int, max_step: float) -> InvertedOptimizer:
    """Make ASE's ``LBFGS``.

    Raises:
        ConfigurationError: If a parameter is out of range (so do all the others with parameters).
    """
    if memory < 1:
        raise ConfigurationError("ase-lbfgs: memory must be at least 1")
    return _capped("LBFGS", max_step, memory=memory)


def bfgs(max_step: float) -> InvertedOptimizer:
    """Make ASE's ``BFGS``."""
    return _capped("BFGS", max_step)


def bfgs_line_search(max_step: float) -> InvertedOptimizer:
    """Make ASE's ``BFGSLineSearch``, also known as ``QuasiNewton``."""
    return _capped("BFGSLineSearch", max_step)


def rfo(max_step: float) -> InvertedOptimizer:
    """Make ASE's ``RFO``."""
    return _capped("RFO", max_step)


def fire(max_step: float) -> InvertedOptimizer:
    """Make ASE's ``FIRE``."""
    return _capped("FIRE", max_step)


def fire2(max_step: float) -> InvertedOptimizer:
    """Make ASE's ``FIRE2``."""
    return _capped("FIRE2", max_step)


def good_old_quasi_newton() -> InvertedOptimizer:
    """Make ASE's ``GoodOldQuasiNewton``."""
    return _optimizer("GoodOldQuasiNewton")
