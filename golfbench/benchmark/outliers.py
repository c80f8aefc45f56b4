"""Labels that are far from all others of their dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.contracts import Label
from golfbench.molecules import Molecule
from golfbench.training_sets import LABELS_PER_REFERENCE
from golfbench.units import HARTREE_TO_KCAL_MOL

#: An energy is an outlier this many robust standard deviations from the fit, and this far, Hartree per atom. Of the
#: 10 042 labels of druglike-xtb-10k two are beyond, and both are strained: atoms of their conformers nearly collide.
ENERGY_SPREADS, ENERGY_PER_ATOM = 15.0, 0.01
#: A force is one beyond this multiple of the median of all molecules, and this far, Hartree/Å (there: 17, and 2.7).
FORCE_MEDIANS, FORCE = 25.0, 1.0
#: With a force beyond this multiple of the median a high energy is that of a strained geometry.
STRAINED = 3.0
#: The standard deviation of a normal distribution by its median absolute deviation.
_MAD = 1.4826
_FITS = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the labels of a dataset are from a sum of energies of their atoms, fitted by least squares.

    Attributes:
        labels: How many are fitted.
        energy_spread_hartree_per_atom: Robust standard deviation; ``None`` where there are too few labels for a fit.
        energy_farthest_hartree_per_atom: Of the label that is farthest.
        force_median_hartree_per_angstrom: Median of the largest force norms of an atom.
        force_largest_hartree_per_angstrom: The largest of all.
        outliers: A line for each outlier.
    """

    labels: int
    energy_spread_hartree_per_atom: float | None
    energy_farthest_hartree_per_atom: float | None
    force_median_hartree_per_angstrom: float
    force_largest_hartree_per_angstrom: float
    outliers: tuple[str, ...]


def spread_of(labels: Sequence[tuple[Molecule, Label]]) -> Spread:
    """Return the spread of labels, and which of them are outliers.

    Args:
        labels: At least one; forces may be NaN where they are not known.
    """
    norms = [np.linalg.norm(label.forces, axis=1) for _, label in labels]
    forces = np.array([float(norm.max()) if np.isfinite(norm).all() else np.nan for norm in norms])
    known = forces[np.isfinite(forces)]
    median = float(np.median(known)) if len(known) else 0.0
    away = _away(labels)
    farthest = None if away is None else float(away[0][np.abs(away[0]).argmax()])
    return Spread(
        len(labels),
        None if away is None else away[1],
        farthest,
        median,
        float(known.max()) if len(known) else 0.0,
        (*_energies(labels, away, forces / median if median else forces), *_forces(labels, forces, median)),
    )


def _away(labels: Sequence[tuple[Molecule, Label]]) -> tuple[np.ndarray, float] | None:
    """Return each energy's distance from the fit and their robust spread, Hartree per atom; nothing for few labels."""
    elements = sorted({z for molecule, _ in labels for z in molecule.numbers.tolist()})
    if not labels or len(labels) < LABELS_PER_REFERENCE * len(elements):
        return None
    rows = [[*(np.count_nonzero(m.numbers == z) for z in elements), m.charge, m.multiplicity - 1] for m, _ in labels]
    counts, energies = np.array(rows, dtype=np.float64), np.array([label.energy for _, label in labels])
    atoms = np.array([len(molecule) for molecule, _ in labels], dtype=np.float64)
    kept = np.ones(len(labels), dtype=bool)
    for _ in range(_FITS):  # values that are far away do not change the fit
        fitted = np.linalg.lstsq(counts[kept], energies[kept], rcond=None)[0]
        away = (energies - counts @ fitted) / atoms
        away -= np.median(away)
        spread = _MAD * float(np.median(np.abs(away)))
        now = np.abs(away) <= max(ENERGY_SPREADS * spread, ENERGY_PER_ATOM)
        if (now == kept).all() or np.count_nonzero(now) < LABELS_PER_REFERENCE * len(elements):
            break
        kept = now
    return away, spread


def _energies(
    labels: Sequence[tuple[Molecule, Label]], away: tuple[np.ndarray, float] | None, forces: np.ndarray
) -> Iterator[str]:
    if away is None:
        return
    limit = max(ENERGY_SPREADS * away[1], ENERGY_PER_ATOM)
    for (molecule, _), distance, force in zip(labels, away[0].tolist(), forces.tolist(), strict=True):
        if abs(distance) > limit and not (distance > 0 and force > STRAINED):
            total = distance * len(molecule) * HARTREE_TO_KCAL_MOL
            yield (
                f"{molecule.id}: the energy is {total:+.0f} kcal/mol away from the fit of atomic energies "
                f"({distance:+.3g} Hartree per atom; the others spread by {away[1]:.2g})"
            )


def _forces(labels: Sequence[tuple[Molecule, Label]], forces: np.ndarray, median: float) -> Iterator[str]:
    for (molecule, _), force in zip(labels, forces.tolist(), strict=True):
        if force > max(FORCE_MEDIANS * median, FORCE):
            times = f"{force / median:.0f} times the median of {median:.2g}"
            yield f"{molecule.id}: a force of {force:.3g} Hartree/Å, {times}"
