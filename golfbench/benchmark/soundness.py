"""Whether a dataset's labels can be what it says: checked before anything is trained, and before an oracle call.

Nothing here asks an engine. Labels are compared with what holds at any level of theory, and with each other; what this
cannot see (two similar levels of theory, all energies shifted alike) ``golfbench datasets check --recompute`` can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

from golfbench.chemistry import bond_graph_changed, superposed
from golfbench.contracts import Dataset, FloatArray, Label
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecules import Molecule
from golfbench.oracles.gate import energy_objection, label_objection
from golfbench.training_sets import LABELS_PER_REFERENCE, among, sample

#: No level of theory gives less than this multiple of the atoms' energies in the statistical model of ``_atom``, which
#: is right to 2 % from carbon on; scalar relativistic atoms are 3 % lower at iodine, and 12 % at lead.
LOWEST = 1.15
#: Hartree per atom of a molecule under a method with "xTB" in its name, which has no core electrons: free atoms up to
#: iodine lie between -6.3 (neon, GFN1-xTB) and -0.16 (rubidium, GFN2-xTB).
XTB_PER_ATOM = (-7.0, -0.1)
#: Hartree per atom: when half of the test energies are this far from the references of the initial set, and farther
#: than so many times the spread of the initial set itself, they are of another level of theory. The test part of
#: druglike-xtb is 0.006 away at most; its initial set spreads by 0.002.
SHIFT_PER_ATOM, SHIFT_SPREADS = 0.05, 30.0
#: A minimum this far above its start (Hartree) is none.
ABOVE_START = 1e-4
#: Å: where no atom moves farther, half the sum of the forces along the way is the difference of the energies (57 pairs
#: of druglike-xtb: slope 0.9 to 1.0, correlation 0.98 or better).
NEAR = 0.6
#: Pairs from which a slope is believed, and what it may be; forces in Hartree/bohr have 1.9, gradients -1.
FEWEST_PAIRS, SLOPE = 5, (0.6, 1.65)
#: The same for descents from starts to their minima, which may be far apart: druglike-xtb has 0.2 to 1.1, and no
#: negative one. A minimum where the start is (Å) says nothing.
FEWEST_DESCENTS, FAR_SLOPE, STANDSTILL = 3, (0.1, 10.0), 0.01
#: Where there are more: so many conformations of a molecule, molecules, and geometries are looked at.
MOST_CONFORMATIONS, MOST_MOLECULES, MOST_GEOMETRIES = 6, 500, 1000
_T = TypeVar("_T")


class _Labelled(NamedTuple):
    part: str
    molecule: Molecule
    label: Label

    def __str__(self) -> str:
        return f"{self.part}, {self.molecule.id}"

    @property
    def closed(self) -> bool:
        return (self.molecule.charge, self.molecule.multiplicity) == (0, 1)


def check_labels(dataset: Dataset) -> None:
    """Refuse a dataset whose labels cannot be right.

    Raises:
        ConfigurationError: With the first thing that ``label_faults`` finds.
    """
    if faults := label_faults(dataset):
        more = f" ({len(faults) - 1} more: golfbench datasets check)" if len(faults) > 1 else ""
        raise ConfigurationError(f"dataset '{dataset.name}': {faults[0]}{more}")


def label_faults(dataset: Dataset) -> list[str]:
    """Return one line, with the numbers, for each kind of fault in the labels of a dataset; an empty list if none.

    Of a large initial set, a sample is looked at.
    """
    initial = [_Labelled("initial set", row.molecule, row.label) for row in sample(dataset.initial)]
    starts = [_Labelled("starts", t.molecule, t.start) for t in dataset.test if t.start is not None]
    minima = [
        _Labelled("minima", t.molecule.at(t.minimum_positions), _with_forces(t.minimum))
        for t in dataset.test
        if t.minimum is not None and t.minimum_positions is not None
    ]
    everything = [*initial, *starts, *minima]
    faults = [*_impossible(everything), *_implausible(dataset.method, everything)]
    faults = faults or [*_apart(dataset, initial, [*starts, *minima])]
    faults += _above_start(dataset)
    # Energies that are wrong would accuse the forces.
    faults = faults or [*_against_conformations(initial), *_against_minima(dataset)]
    return [*faults, *_other_bonds([*initial, *starts])]


def overlap(dataset: Dataset) -> str:
    """Return what to tell of test molecules that are in the initial set as well, or an empty text."""
    known = among(dataset.initial, [item.molecule for item in dataset.test])
    if not known:
        return ""
    return (
        f"{len(known)} of {len(dataset.test)} test molecules are in the initial set as well ({known[0].id} is the "
        "first): what a model does with them says little of new ones"
    )


def _with_forces(minimum: Label) -> Label:
    """Return the label of a minimum; where the data do not give its forces, they are nearly zero."""
    unknown = np.isnan(minimum.forces).all()
    return Label(minimum.energy, np.zeros_like(minimum.forces), minimum.method) if unknown else minimum


def _impossible(labels: Sequence[_Labelled]) -> Iterator[str]:
    """Look for labels that the gate would not let an oracle give."""
    found = [(x, text) for x in labels if (text := label_objection(x.molecule, x.label.energy, x.label.forces))]
    if found:
        first, text = found[0]
        yield f"{first}: {text} ({_share(found, labels)})"


def _share(found: Sequence[object], labels: Sequence[object]) -> str:
    return f"{len(found)} of {len(labels)} labels"


def _implausible(method: str, labels: Sequence[_Labelled]) -> Iterator[str]:
    """Look for energies that no unit Hartree can be meant by."""
    xtb = "xtb" in method.lower()
    found = []
    for x in labels:
        atoms = len(x.molecule)
        lowest = LOWEST * sum(map(_atom, x.molecule.numbers.tolist())) / atoms
        least, most = XTB_PER_ATOM if xtb else (lowest, np.inf)
        least = max(least, lowest)
        if x.label.energy / atoms < least or x.label.energy / atoms > most:
            found.append((x, least, most))
    if found:
        x, least, most = found[0]
        expected = f"between {least:.3g} and {most:.3g}" if xtb else f"above {least:.3g}"
        yield (
            f"{x}: the energy {x.label.energy:.6g} is {x.label.energy / len(x.molecule):.3g} Hartree per atom; under "
            f"{method} it is {expected}: is it in eV or kcal/mol? ({_share(found, labels)})"
        )


def _atom(number: int) -> float:
    """Return the energy of an atom, Hartree, in the statistical model of Thomas, Fermi, Scott and Schwinger.

    Source: Schwinger, Phys. Rev. A 24, 2353 (1981).
    """
    z = float(number)
    return float(-0.7687 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3))


def _apart(dataset: Dataset, initial: Sequence[_Labelled], test: Sequence[_Labelled]) -> Iterator[str]:
    """Look for energies that are not of the level of theory of the initial set, by its reference energies."""
    references = dict(dataset.atom_energies)
    elements = sorted({int(z) for x in initial for z in x.molecule.numbers})
    counts = np.array(
        [[np.count_nonzero(x.molecule.numbers == z) for z in elements] for x in initial], dtype=np.float64
    )
    energies = np.array([x.label.energy for x in initial])
    enough = len(initial) >= LABELS_PER_REFERENCE * len(elements)
    if enough:
        references = dict(zip(elements, np.linalg.lstsq(counts, energies, rcond=None)[0].tolist(), strict=True))
    labels = [*initial, *test]
    found = [(x, text) for x in labels if (text := energy_objection(x.molecule, x.label.energy, references))]
    if found:
        first, text = found[0]
        yield f"{first}: {text}, fitted to the initial set ({_share(found, labels)})"
    elif enough and np.linalg.matrix_rank(counts) == len(elements):
        yield from _shifted(initial, test, references)


def _shifted(initial: Sequence[_Labelled], test: Sequence[_Labelled], references: dict[int, float]) -> Iterator[str]:
    """Compare closed shells only: one electron less in a small molecule is a larger difference than another basis."""
    spread, shift = (_off([x for x in part if x.closed], references) for part in (initial, test))
    if not len(spread) or not len(shift):
        return
    limit, typical = max(SHIFT_PER_ATOM, SHIFT_SPREADS * float(spread.std())), float(np.median(shift))
    if abs(typical) > limit:
        yield (
            f"the energies of starts and minima are typically {typical:+.3g} Hartree per atom away from the reference "
            f"energies fitted to the initial set, which itself spreads by {spread.std():.2g}: another level of theory?"
        )


def _off(labels: Sequence[_Labelled], references: dict[int, float]) -> FloatArray:
    """Return distances from the sum of reference energies, Hartree per atom, where all elements have one."""
    known = [(x, x.molecule.numbers.tolist()) for x in labels]
    sums = [(x.label.energy, [references[z] for z in a]) for x, a in known if set(a) <= set(references)]
    return np.array([(energy - sum(parts)) / len(parts) for energy, parts in sums])


def _above_start(dataset: Dataset) -> Iterator[str]:
    pairs = [(t.molecule.id, t.start.energy, t.minimum.energy) for t in dataset.test if t.start and t.minimum]
    found = [(name, minimum - start) for name, start, minimum in pairs if minimum - start > ABOVE_START]
    if found:
        name, height = found[0]
        yield f"minima, {name}: {height:.3g} Hartree above the start ({len(found)} of {len(pairs)} minima)"


def _against_conformations(initial: Sequence[_Labelled]) -> Iterator[str]:
    """Compare forces with differences of energies between geometries of a molecule that are near each other."""
    groups: defaultdict[tuple[object, ...], list[_Labelled]] = defaultdict(list)
    for x in initial:
        m = x.molecule
        groups[m.smiles, m.numbers.tobytes(), m.charge, m.multiplicity].append(x)
    several = [group[:MOST_CONFORMATIONS] for group in groups.values() if len(group) > 1]
    pairs = [
        found
        for group in _spread(several, MOST_MOLECULES)
        for a, b in combinations(group, 2)
        if (found := _work(a, b))[2] <= NEAR
    ]
    works, drops = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
    if len(pairs) < FEWEST_PAIRS or not (works @ works > 0):
        return
    slope = float(works @ drops / (works @ works))
    if not SLOPE[0] <= slope <= SLOPE[1]:
        yield _disagreement(f"{len(pairs)} pairs of near geometries of the initial set", slope)


def _against_minima(dataset: Dataset) -> Iterator[str]:
    """Compare the forces of starts with the descent to their minima: the sign, and the unit if it is far off."""
    slopes = []
    for t in _spread(dataset.test, MOST_GEOMETRIES):
        if t.start is not None and t.minimum is not None and t.minimum_positions is not None:
            start = _Labelled("", t.molecule, t.start)
            end = _Labelled("", t.molecule.at(t.minimum_positions), _with_forces(t.minimum))
            work, drop, way = _work(start, end)
            if drop > ABOVE_START and work and way > STANDSTILL:
                slopes.append(drop / work)
    if len(slopes) < FEWEST_DESCENTS:
        return
    middle = float(np.median(slopes))
    if not FAR_SLOPE[0] <= middle <= FAR_SLOPE[1]:
        yield _disagreement(f"{len(slopes)} descents from a start to its minimum", middle)


def _disagreement(where: str, slope: float) -> str:
    reason = "are they gradients?" if slope < 0 else "are they in another unit than Hartree/Å?"
    return f"energies fall by {slope:.3g} times what the forces say ({where}): {reason}"


def _work(a: _Labelled, b: _Labelled) -> tuple[float, float, float]:
    """Return what the forces do on the way from a to b, how far the energy falls (Hartree), and the way itself, Å."""
    there = _way(a.molecule, b.molecule)
    back = _way(b.molecule, a.molecule)
    work = 0.5 * float((a.label.forces * there).sum() - (b.label.forces * back).sum())
    return work, a.label.energy - b.label.energy, float(np.linalg.norm(there, axis=1).max())


def _way(a: Molecule, b: Molecule) -> FloatArray:
    return superposed(b.positions, a.positions, np.ones(len(a), dtype=bool)) - a.positions


def _spread(items: Sequence[_T], most: int) -> list[_T]:
    """Return at most so many, evenly spread."""
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]


def _other_bonds(labels: Sequence[_Labelled]) -> Iterator[str]:
    """Look for atoms in another order than the SMILES has them: then most molecules have other bonds."""
    known = [x for x in _spread(labels, MOST_GEOMETRIES) if x.molecule.smiles is not None]
    try:
        found = [x for x in known if bond_graph_changed(x.molecule, x.molecule.positions)]
    except MoleculeError as error:
        yield str(error)
        return
    if 2 * len(found) > len(known):
        yield (
            f"{found[0]}: its bonds are not those of its SMILES '{found[0].molecule.smiles}' ({len(found)} of "
            f"{len(known)} molecules): are the atoms in the order of the SMILES, the hydrogens last?"
        )
