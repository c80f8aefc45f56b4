"""Checks that oracles and fixed models share: both answer in Hartree and Hartree/Å, one molecule at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from golfbench.contracts import FloatArray
from golfbench.errors import GolfbenchError
from golfbench.molecules import Molecule
from golfbench.testing import physics
from golfbench.testing.results import Check, CheckSkipped, Finding, check
from golfbench.testing.samples import SMALLEST, molecules_by_element, samples

CHECKS: list[Check] = []
#: Tolerance of the same call twice, Hartree and Hartree/Å. A self-consistent field that started from the orbitals of
#: the last one would differ by more.
REPEAT_TOLERANCE = 1e-8
#: Forces against differences of energies, Hartree/Å: 0.3 kcal/mol/Å, the noise of a DFT integration grid.
FORCE_TOLERANCE = 5e-4
#: Energies (Hartree) and forces (Hartree/Å) that are the same by symmetry; again what a DFT grid allows.
SYMMETRY_TOLERANCE = 1e-4
#: Å.
DIFFERENCE_STEP = 0.005
#: The O-H stretch of water may cost this many times what it does in nature, or this many times less.
STRETCH_FACTOR = 4.0
_BOTH = "Hartree, Hartree/Å"


class PotentialBench(Protocol):
    """The component that these checks examine."""

    elements: frozenset[int] | None

    def evaluate(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy and forces."""
        ...


def _worst(bench: PotentialBench, error: Callable[[physics.Evaluate, Molecule], float]) -> Finding:
    """Return the largest error of the smallest molecules."""
    found = {m.id: error(bench.evaluate, m) for m in samples(SMALLEST, bench.elements)}
    worst = max(found, key=lambda name: (np.isnan(found[name]), found[name]))
    return Finding(found[worst], SYMMETRY_TOLERANCE, _BOTH, f"largest for {worst}")


@check(CHECKS)
def labels(bench: PotentialBench) -> Finding:
    """Energies are single finite numbers, forces finite and of shape (n_atoms, 3)."""
    problems = []
    for molecule in samples(SMALLEST, bench.elements):
        energy, forces = bench.evaluate(molecule)
        if not np.isscalar(energy) or not np.isfinite(energy):
            problems.append(f"{molecule.id}: energy {energy!r}")
        if np.shape(forces) != (len(molecule), 3) or not np.isfinite(forces).all():
            problems.append(f"{molecule.id}: forces of shape {np.shape(forces)}, or not finite")
    return Finding.of_problems(problems)


@check(CHECKS, "labels")
def input_untouched(bench: PotentialBench) -> Finding:
    """The molecule that was given is as it was."""
    problems = []
    for molecule in samples(SMALLEST, bench.elements):
        given = Molecule.from_json(molecule.to_json())
        bench.evaluate(given)
        if given.to_json() != molecule.to_json():
            moved = float(np.abs(given.positions - molecule.positions).max())
            problems.append(f"{molecule.id}: changed (an atom by {moved:.2g} Å)")
    return Finding.of_problems(problems, "changed molecules")


@check(CHECKS, "input-untouched")
def repeatable(bench: PotentialBench) -> Finding:
    """The same molecule gives the same answer again, with another one in between: nothing is kept between calls."""
    chosen = samples(SMALLEST, bench.elements)
    first = bench.evaluate(chosen[0])
    between = chosen[-1] if len(chosen) > 1 else chosen[0].at(chosen[0].positions * 1.01)
    bench.evaluate(between)
    again, once_more = bench.evaluate(chosen[0]), bench.evaluate(chosen[0])
    worst = max(physics.difference(first, again), physics.difference(first, once_more))
    return Finding(worst, REPEAT_TOLERANCE, _BOTH)


@check(CHECKS, "repeatable")
def forces(bench: PotentialBench) -> Finding:
    """Forces are minus the gradient of the energy (finite differences of the energy along random directions)."""
    found = [physics.gradient_error(bench.evaluate, m, DIFFERENCE_STEP) for m in samples(SMALLEST, bench.elements)]
    error, factor = max(found, key=lambda pair: (np.isnan(pair[0]), pair[0]))
    detail = physics.explain_factor(factor) if not error <= FORCE_TOLERANCE else ""
    return Finding(error, FORCE_TOLERANCE, "Hartree/Å", detail)


@check(CHECKS, "repeatable")
def energy_unit(bench: PotentialBench) -> Finding:
    """An O-H bond of water is as stiff as in nature: energies are Hartree and positions Å, not eV, kcal/mol or Bohr."""
    if bench.elements is not None and not {1, 8} <= bench.elements:
        raise CheckSkipped("water is outside the declared elements")
    cost = physics.stretch_cost(bench.evaluate)
    detail = (
        f"stretching it by {physics.STRETCH_ANGSTROM} Å costs {cost:.3g} kcal/mol, {physics.STRETCH_KCAL_MOL} in nature"
    )
    ratio = cost / physics.STRETCH_KCAL_MOL
    factor = max(ratio, 1 / ratio) if ratio > 0 else float("inf")
    return Finding(factor, STRETCH_FACTOR, "times", detail)


@check(CHECKS, "repeatable")
def translation(bench: PotentialBench) -> Finding:
    """Moving the molecule changes nothing."""
    return _worst(bench, physics.translation_error)


@check(CHECKS, "repeatable")
def rotation(bench: PotentialBench) -> Finding:
    """Rotating the molecule keeps its energy and rotates its forces with it."""
    return _worst(bench, physics.rotation_error)


@check(CHECKS, "repeatable")
def permutation(bench: PotentialBench) -> Finding:
    """Another order of the atoms keeps the energy and puts the forces in that order."""
    return _worst(bench, physics.permutation_error)


@check(CHECKS, "repeatable")
def net_force(bench: PotentialBench) -> Finding:
    """The forces of a molecule add up to zero."""
    nets = [np.abs(bench.evaluate(m)[1].sum(axis=0)).max() for m in samples(SMALLEST, bench.elements)]
    return Finding(float(max(nets)), FORCE_TOLERANCE, "Hartree/Å")


@check(CHECKS, "labels")
def elements(bench: PotentialBench) -> Finding:
    """Every declared element of drug-like molecules (H C N O F P S Cl Br I) gets a finite answer."""
    problems = []
    for symbol, molecule in molecules_by_element(bench.elements).items():
        try:
            energy, forces = bench.evaluate(molecule)
        except GolfbenchError as error:
            problems.append(f"{symbol}: {error}")
            continue
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            problems.append(f"{symbol}: not finite")
    return Finding.of_problems(problems, "elements")
