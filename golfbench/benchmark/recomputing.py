"""Labels asked for again: units, signs, orders and levels of theory that no comparison among themselves shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from golfbench.chemistry import superposed
from golfbench.contracts import Dataset, FloatArray, Label
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import Component, OracleSpec
from golfbench.training_sets import sample
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

#: A label of the same level of theory agrees within this, Hartree and Hartree/Å: versions and machines differ by less.
ENERGY_TOLERANCE, FORCE_TOLERANCE = 1e-5, 1e-4
#: A reference minimum has no force norm above this, eV/Å.
MINIMUM_FORCE = 0.01
#: What a Hartree is in units that are often mistaken for it.
UNITS = {"eV": HARTREE_TO_EV, "kcal/mol": HARTREE_TO_KCAL_MOL, "kJ/mol": 4.184 * HARTREE_TO_KCAL_MOL}
#: Share of the largest force within which two sets of forces are the same.
_ALIKE = 1e-2


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Labels that were asked for again.

    Attributes:
        oracle: Which was asked.
        labels: How many.
        energy_difference_hartree: The largest.
        force_difference_hartree_per_angstrom: The largest.
        problems: A line for each label that is another one.
    """

    oracle: str
    labels: int
    energy_difference_hartree: float
    force_difference_hartree_per_angstrom: float
    problems: tuple[str, ...]


def is_expensive(oracle: Component[OracleSpec]) -> bool:
    """Return whether a label may cost so much that none is recomputed by default: neither a force field nor xTB.

    More than what is ``slow``: what a call of QCEngine or of an ASE calculator costs, their specs do not know.
    """
    return not oracle.spec.cheap and "xtb" not in oracle.spec.level_of_theory(oracle.parameters).lower()


def oracle_of(dataset: Dataset) -> Component[OracleSpec]:
    """Return the oracle that gives a dataset's labels.

    Raises:
        ConfigurationError: If it does not say which, and none that is installed gives its level of theory without
            parameters.
    """
    if dataset.oracle:
        return registry().component(OracleSpec, dataset.oracle)
    for spec in registry().specs("oracle"):
        if isinstance(spec, OracleSpec) and spec.level_of_theory({}) == dataset.method:
            return registry().component(OracleSpec, spec.name)
    raise ConfigurationError(
        f"the dataset names no oracle, and no oracle that is installed gives {dataset.method} without parameters (a "
        "folder says it in dataset.yaml: 'oracle: NAME:KEY=VALUE')"
    )


def recompute(dataset: Dataset, count: int) -> Recomputed:
    """Ask the oracle again for labels spread evenly over the initial set, the starts and the minima.

    Raises:
        ConfigurationError: If it is not known which oracle gives them.
        OracleError: If it fails.
    """
    component, labelled = oracle_of(dataset), _labelled(dataset)
    if not labelled:
        raise ConfigurationError("the dataset has no label to compare with")
    chosen = np.unique(np.linspace(0, len(labelled) - 1, min(count, len(labelled))).round().astype(int)).tolist()
    off: list[tuple[float, float]] = []
    problems: list[str] = []
    with open_oracle(component, registry()) as oracle:
        for molecule, label, is_minimum in (labelled[k] for k in chosen):
            right, forces = oracle.label(molecule)
            known = bool(np.isfinite(label.forces).all())
            off.append((abs(right - label.energy), float(np.abs(forces - label.forces).max()) if known else 0.0))
            problems += _differences(molecule, label, Label(right, forces, dataset.method), off[-1])
            norm = float(np.linalg.norm(forces, axis=1).max()) * HARTREE_TO_EV
            if is_minimum and not known and norm >= MINIMUM_FORCE:
                problems.append(f"{molecule.id}: is no minimum: {component}'s force there is {norm:.3f} eV/Å")
    energy, force = (max(part) for part in zip(*off, strict=True))
    return Recomputed(str(component), len(off), energy, force, tuple(problems))


def _labelled(dataset: Dataset) -> list[tuple[Molecule, Label, bool]]:
    """Return labels with their geometries and whether they are of a minimum."""
    pairs = [(row.molecule, row.label, False) for row in sample(dataset.initial)]
    pairs += [(item.molecule, item.start, False) for item in dataset.test if item.start is not None]
    for item in dataset.test:
        if item.minimum is not None and item.minimum_positions is not None:
            pairs.append((item.molecule.at(item.minimum_positions), item.minimum, True))
    return pairs


def _differences(molecule: Molecule, stated: Label, right: Label, off: tuple[float, float]) -> Iterator[str]:
    if off[0] <= ENERGY_TOLERANCE and off[1] <= FORCE_TOLERANCE:
        return
    reasons = [_scaled(stated.energy, right.energy) if off[0] > ENERGY_TOLERANCE else ""]
    if off[1] > FORCE_TOLERANCE:
        reasons.append(_changed(molecule, stated.forces, right.forces))
    elif not reasons[0] and np.isfinite(stated.forces).all():
        reasons.append("the forces agree: has the energy another zero, as formation energies have?")
    why = "".join(f"; {reason}" for reason in reasons if reason)
    yield f"{molecule.id}: the recomputed label differs by {off[0]:.1e} Hartree and {off[1]:.1e} Hartree/Å{why}"


def _scaled(stated: float, right: float) -> str:
    for unit, factor in UNITS.items():
        if abs(stated - factor * right) <= 1e-3 * abs(factor * right):
            return f"the energy is in {unit}"
    return ""


def _changed(molecule: Molecule, stated: FloatArray, right: FloatArray) -> str:
    """Return the simple mistake that turns the right forces into the stated ones, if there is one."""
    size = float(np.abs(right).max())
    units = {"Hartree/Å": 1.0, "Hartree/bohr": BOHR_TO_ANGSTROM}
    units |= {f"{unit}/Å": factor for unit, factor in UNITS.items()}
    units |= {f"{unit}/bohr": factor * BOHR_TO_ANGSTROM for unit, factor in UNITS.items()}
    for sign, name in ((1, ""), (-1, "gradients ")):
        for unit, factor in units.items():
            turned = sign * factor * right
            if (sign, factor) != (1, 1.0) and np.abs(stated - turned).max() <= _ALIKE * factor * size:
                return f"the forces are {name}in {unit}"
    for sign, name in ((1, "the forces are"), (-1, "the forces are gradients, and")):
        if _in_other_order(sign * stated, right, _ALIKE * size):
            return f"{name} those of the same atoms in another order"
        every = np.ones(len(right), dtype=bool)
        if np.abs(superposed(sign * stated, right, every) - right).max() <= _ALIKE * size:
            return f"{name} those of a molecule that is turned"
    return ""


def _in_other_order(stated: FloatArray, right: FloatArray, most: float) -> bool:
    """Tell whether each right force is among the stated ones, whatever the atom."""
    distances = np.abs(stated[:, None] - right[None]).max(axis=-1)
    nearest = distances.argmin(axis=0)
    return bool(distances.min(axis=0).max() <= most) and len(set(nearest.tolist())) == len(right)
