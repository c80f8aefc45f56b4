"""What is in a dataset, and what is wrong with it: what ``golfbench datasets check`` can say of any dataset.

What is wrong is a line each; what is good to know is a fact, or a note where something could not be checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from golfbench.benchmark.duplicates import duplicates
from golfbench.benchmark.outliers import spread_of
from golfbench.benchmark.recomputing import MINIMUM_FORCE, is_expensive, oracle_of, recompute
from golfbench.benchmark.soundness import label_faults
from golfbench.chemistry import bond_graph_changed, flat_smiles, scaffold
from golfbench.contracts import Dataset, FloatArray, Label
from golfbench.errors import ComponentMissingError, ConfigurationError, MoleculeError, OracleError
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.gate import label_objection
from golfbench.training_sets import ids_of, is_large, sample
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

#: Labels that are recomputed by default, where one costs little.
FEW = 3
#: Lines of one kind; the others are counted.
MOST_LINES = 20


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes:
        facts: By name with the unit; plain JSON types.
        notes: What could not be looked at, and why.
        problems: A line for each thing that is wrong.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def inspect(dataset: Dataset, labels_again: int | None = 0) -> Inspection:
    """Look at every molecule and label of a dataset; of a large initial set, a sample where all would take hours.

    Args:
        dataset: What its reader returned.
        labels_again: Labels that the oracle is asked for again; ``None``: ``FEW`` where one costs little.
    """
    found = Inspection()
    found.facts = {
        "elements": _elements(dataset),
        "atoms_min": min(len(molecule) for molecule in _molecules(dataset)),
        "atoms_max": max(len(molecule) for molecule in _molecules(dataset)),
        "initial_molecules": len(set(map(group_of, ids_of(dataset.initial)))),
        "test_molecules": len({group_of(item.molecule.id) for item in dataset.test}),
        "methods": dict(Counter(label.method for _, label in _labels(dataset))),
    }
    kinds = (_identity, _same_geometries, _topology, _methods, _every_label, _separation, _minima, _outliers)
    for kind in kinds:
        found.problems += _few(kind(dataset, found))
    found.problems += label_faults(dataset)
    _again(dataset, labels_again, found)
    return found


def largest_force(forces: FloatArray) -> float:
    """Return the largest force norm of an atom in eV/Å, from forces (n_atoms, 3) in Hartree/Å."""
    return float(np.linalg.norm(forces, axis=1).max()) * HARTREE_TO_EV


def _few(lines: Iterable[str]) -> Iterator[str]:
    rest = iter(lines)
    yield from islice(rest, MOST_LINES)
    if more := sum(1 for _ in rest):
        yield f"{more} more like the last"


def _molecules(dataset: Dataset) -> Iterator[Molecule]:
    """Yield every molecule; a large initial set is read from its file again each time."""
    yield from (item.molecule for part in (dataset.initial, dataset.test) for item in part)


def _labels(dataset: Dataset) -> Iterator[tuple[Molecule, Label]]:
    """Yield the labels of the initial set (of a large one, a sample), the starts and the minima."""
    yield from ((row.molecule, row.label) for row in sample(dataset.initial))
    for item in dataset.test:
        if item.start is not None:
            yield item.molecule, item.start
        if item.minimum is not None:
            at = item.minimum_positions
            yield item.molecule if at is None else item.molecule.at(at), item.minimum


def _elements(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the histogram of elements: atoms, and conformations with the element, in both parts."""
    found: dict[int, Counter[str]] = {}
    for part, items in (("initial", dataset.initial), ("test", dataset.test)):
        for item in items:
            for number, atoms in Counter(item.molecule.numbers.tolist()).items():
                counts = found.setdefault(number, Counter())
                counts.update({f"{part}_atoms": atoms, f"{part}_conformations": 1})
    names = [f"{part}_{what}" for part in ("initial", "test") for what in ("atoms", "conformations")]
    return {chemical_symbols[z]: {name: found[z][name] for name in names} for z in sorted(found)}


def _identity(dataset: Dataset, found: Inspection) -> Iterator[str]:
    for name, count in Counter([*ids_of(dataset.initial), *(item.molecule.id for item in dataset.test)]).items():
        if count > 1:
            yield f"{name}: this id occurs {count} times"


class _Geometries(Sequence[Molecule]):
    """The molecules of the initial set and the starts, in one sequence that reads each when it is asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._initial, self._test = dataset.initial, dataset.test

    def __len__(self) -> int:
        return len(self._initial) + len(self._test)

    def __getitem__(self, index: Any) -> Any:
        first = len(self._initial)
        return self._initial[index].molecule if index < first else self._test[index - first].molecule


def _same_geometries(dataset: Dataset, found: Inspection) -> Iterator[str]:
    geometries = _Geometries(dataset)
    found.facts["duplicates"] = 0
    for first, second in duplicates(geometries):
        found.facts["duplicates"] += 1
        one, other = geometries[first], geometries[second]
        same = np.array_equal(one.numbers, other.numbers) and np.array_equal(one.positions, other.positions)
        yield f"{other.id}: the same geometry as {one.id}{'' if same else ', moved, turned or in another order'}"


def _topology(dataset: Dataset, found: Inspection) -> Iterator[str]:
    """Compare atoms and bonds with the SMILES, where there is one."""
    unknown = 0
    for molecule in _molecules(dataset):
        unknown += molecule.smiles is None
        try:
            if molecule.smiles is not None and bond_graph_changed(molecule, molecule.positions):
                yield f"{molecule.id}: its bonds are not those of its SMILES{_why_other_bonds(molecule)}"
        except MoleculeError as error:
            yield str(error)
    if unknown:
        found.notes.append(f"{unknown} conformations have no SMILES: their bonds and scaffolds are not known")


def _why_other_bonds(molecule: Molecule) -> str:
    for unit, factor in (("bohr", BOHR_TO_ANGSTROM), ("nm", 10.0)):
        if not bond_graph_changed(molecule, factor * molecule.positions):
            return f": its coordinates are in {unit}"
    return ": are the atoms in the order of the SMILES, the hydrogens last?"


def _methods(dataset: Dataset, found: Inspection) -> Iterator[str]:
    for method, count in found.facts["methods"].items():
        if method != dataset.method:
            yield f"{count} labels are of {method}, but the dataset is of {dataset.method}"


def _every_label(dataset: Dataset, found: Inspection) -> Iterator[str]:
    """Look at the labels of a large initial set that ``label_faults`` does not look at."""
    for row in dataset.initial if is_large(dataset.initial) else ():
        if text := label_objection(row.molecule, row.label.energy, row.label.forces):
            yield f"{row.molecule.id}: {text}"


def _separation(dataset: Dataset, found: Inspection) -> Iterator[str]:
    """Look for test molecules, and Murcko scaffolds of them, in the initial set; no ring, no scaffold."""
    trained = {m.smiles: m.id for row in dataset.initial if (m := row.molecule).smiles}
    flat = {flat_smiles(smiles): (smiles, name) for smiles, name in trained.items()}
    scaffolds = {scaffold(smiles): smiles for smiles in trained}
    shared = set()
    for item in dataset.test:
        name, smiles = item.molecule.id, item.molecule.smiles
        if smiles is None:
            continue
        if (known := flat.get(flat_smiles(smiles))) is not None:
            shared.add(group_of(name))
            also = "" if known[0] == smiles else f", as {known[1]} (SMILES {known[0]})"
            yield f"{name}: is in the initial set as well{also}"
        elif (core := scaffold(smiles)) and core in scaffolds:
            yield f"{name}: shares the scaffold {core} with {scaffolds[core]} of the initial set"
    found.facts["shared_molecules"] = len(shared)


def _minima(dataset: Dataset, found: Inspection) -> Iterator[str]:
    """Check each minimum: force norm, energy below the start, the same bonds."""
    known = [item for item in dataset.test if item.minimum is not None]
    norms = [largest_force(item.minimum.forces) for item in known if item.minimum is not None]
    with_forces = [norm for norm in norms if np.isfinite(norm)]
    found.facts["minima"] = {
        "test": len(dataset.test),
        "known": len(known),
        "proven": sum(norm < MINIMUM_FORCE for norm in with_forces),
        "without_forces": len(known) - len(with_forces),
        "force_largest_ev_per_angstrom": max(with_forces, default=None),
    }
    if len(with_forces) < len(known):
        found.notes.append(
            f"{len(known) - len(with_forces)} of {len(known)} minima have no forces: that they are minima is not "
            "proven (--recompute N asks the oracle)"
        )
    if len(known) < len(dataset.test):
        found.notes.append(f"{len(dataset.test) - len(known)} of {len(dataset.test)} test molecules have no minimum")
    for item, force in zip(known, norms, strict=True):
        assert item.minimum is not None
        if np.isfinite(force) and not force < MINIMUM_FORCE:
            yield f"{item.molecule.id}: the minimum's force is {force:.4f} eV/Å, at least {MINIMUM_FORCE}"
        if item.start is not None and not item.minimum.energy < item.start.energy:
            yield f"{item.molecule.id}: the minimum's energy is not below the start's"
        positions = item.minimum_positions
        if positions is not None and item.molecule.smiles and bond_graph_changed(item.molecule, positions):
            yield f"{item.molecule.id}: the minimum has other bonds than the SMILES"


def _outliers(dataset: Dataset, found: Inspection) -> Iterator[str]:
    initial = [(row.molecule, row.label) for row in sample(dataset.initial)]
    starts = [(item.molecule, item.start) for item in dataset.test if item.start is not None]
    spread = spread_of([*initial, *starts])
    facts = asdict(spread)
    facts["outliers"] = len(spread.outliers)
    found.facts["labels"] = facts
    if spread.energy_spread_hartree_per_atom is None:
        found.notes.append("too few labels for a fit of atomic energies: energies are not compared")
    yield from spread.outliers


def _again(dataset: Dataset, count: int | None, found: Inspection) -> None:
    """Ask the oracle for some labels again; by default a failure is a note only."""
    asked = count
    try:
        if count is None:
            count = 0 if is_expensive(oracle_of(dataset)) else FEW
        if not count:
            found.notes.append("no label was recomputed: similar levels of theory look alike (--recompute N)")
            return
        result = recompute(dataset, count)
    except (ComponentMissingError, ConfigurationError, OracleError) as error:
        (found.problems if asked else found.notes).append(f"no label was recomputed: {error}")
        return
    found.facts["recomputed"] = {key: value for key, value in asdict(result).items() if key != "problems"}
    found.problems += result.problems
