"""Prove a dataset folder: what its files claim is derived again, and labels are recomputed by the oracle on request.

golfbench datasets check folder:path=FOLDER --recompute 10
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from golfbench.benchmark.soundness import label_faults
from golfbench.chemistry import bond_graph_changed, formula, scaffold
from golfbench.contracts import Dataset, FloatArray, Label
from golfbench.errors import ConfigurationError, GolfbenchError, MoleculeError
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.gate import label_objection
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import Component, OracleSpec
from golfbench.training_sets import ids_of, is_large, sample
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_KCAL_MOL
from golfbench_datasets.files import (
    DESCRIPTION,
    Description,
    PartFacts,
    molecule_name,
    read_description,
    read_known_formulas,
)
from golfbench_datasets.loading import load, test_file

#: A reference minimum has no force norm above this, eV/Å.
MINIMUM_FORCE = 0.01
#: A recomputed label agrees within this, Hartree and Hartree/Å.
LABEL_TOLERANCE = 1e-9
#: What a Hartree is in units that energies are found in by mistake.
UNITS = {"eV": HARTREE_TO_EV, "kcal/mol": HARTREE_TO_KCAL_MOL}


def is_dear(oracle: Component[OracleSpec]) -> bool:
    """Return whether a label costs so much that none is asked for without need: neither a force field nor xTB."""
    return not oracle.spec.cheap and "xtb" not in oracle.spec.level_of_theory(oracle.parameters).lower()


def check(folder: Path, recompute: int = 0) -> list[str]:
    """Return one line for each thing that is wrong with a dataset folder; an empty list if nothing is.

    Args:
        folder: The dataset.
        recompute: How many labels the oracle named in ``dataset.yaml`` gives again.
    """
    problems: list[str] = []
    try:
        description = read_description(folder)
        dataset = load(folder, description)
        problems += [*_statements(description, dataset), *_identity(dataset), *_topology(dataset)]
        problems += _every_label(dataset)
        problems += [
            *_formulas(test_file(folder, description), dataset),
            *_separation(dataset),
            *_minima(dataset),
            *label_faults(dataset),
        ]
        if recompute:
            problems += _recompute(description, dataset, recompute)
    except GolfbenchError as error:
        problems.append(str(error))
    return problems


def describe(dataset: Dataset, oracle: str) -> Description:
    """Return the description that the content of a dataset calls for."""
    elements: set[int] = set()
    sizes: set[int] = set()
    for molecule in _molecules(dataset):
        elements.update(molecule.numbers.tolist())
        sizes.add(len(molecule))
    return Description(
        name=dataset.name,
        method=dataset.method,
        oracle=oracle,
        elements=[chemical_symbols[z] for z in sorted(elements)],
        atoms_min=min(sizes),
        atoms_max=max(sizes),
        initial=_counts(ids_of(dataset.initial)),
        test=_counts([item.molecule.id for item in dataset.test]),
        content_sha256=dataset.content_hash,
    )


def _counts(ids: Sequence[str]) -> PartFacts:
    return PartFacts(molecules=len(set(map(group_of, ids))), conformations=len(ids))


def _molecules(dataset: Dataset) -> Iterator[Molecule]:
    """Yield every molecule; a large initial set is read from its file once more each time."""
    yield from (item.molecule for part in (dataset.initial, dataset.test) for item in part)


def _statements(stated: Description, dataset: Dataset) -> Iterator[str]:
    """Compare ``dataset.yaml`` with the content; what it does not state is not compared."""
    found = describe(dataset, stated.oracle)
    for key in ("content_sha256", "elements", "atoms_min", "atoms_max", "initial", "test"):
        says, has = getattr(stated, key), getattr(found, key)
        if says not in (None, "", []) and says != has:
            yield f"dataset.yaml says {key} = {says}, the content has {has}"


def _identity(dataset: Dataset) -> Iterator[str]:
    """Look for ids and geometries that occur twice."""
    for name, count in Counter([*ids_of(dataset.initial), *(item.molecule.id for item in dataset.test)]).items():
        if count > 1:
            yield f"{name}: this id occurs {count} times"
    first: dict[str, str] = {}
    for molecule in _molecules(dataset):
        other = first.setdefault(molecule.geometry_hash(), molecule.id)
        if other != molecule.id:
            yield f"{molecule.id}: the same geometry as {other}"


def _topology(dataset: Dataset) -> Iterator[str]:
    """Compare atoms and bonds with the SMILES, where there is one."""
    for molecule in _molecules(dataset):
        try:
            if molecule.smiles is not None and bond_graph_changed(molecule, molecule.positions):
                yield f"{molecule.id}: its bonds are not those of its SMILES"
        except MoleculeError as error:
            yield str(error)


def _every_label(dataset: Dataset) -> Iterator[str]:
    """Look at the labels of a large initial set that ``label_faults`` does not look at."""
    for row in dataset.initial if is_large(dataset.initial) else ():
        if text := label_objection(row.molecule, row.label.energy, row.label.forces):
            yield f"{row.molecule.id}: {text}"


def _formulas(file: Path, dataset: Dataset) -> Iterator[str]:
    known = read_known_formulas(file)
    for item in dataset.test:
        name = molecule_name(item.molecule)
        if known.get(name, found := formula(item.molecule)) != found:
            yield f"{item.molecule.id}: its formula is {known[name]}, its atoms are {found}"


def _separation(dataset: Dataset) -> Iterator[str]:
    """Look for test molecules, and Murcko scaffolds of them, in the initial set; no ring, no scaffold."""
    trained = {m.smiles for row in dataset.initial if (m := row.molecule).smiles}
    scaffolds = {scaffold(smiles): smiles for smiles in trained}
    for item in dataset.test:
        smiles = item.molecule.smiles
        if smiles is None:
            continue
        if smiles in trained:
            yield f"{item.molecule.id}: is in the initial set as well"
        elif (core := scaffold(smiles)) and core in scaffolds:
            yield f"{item.molecule.id}: shares the scaffold {core} with {scaffolds[core]} of the initial set"


def _minima(dataset: Dataset) -> Iterator[str]:
    """Prove each minimum: force norm, energy below the start, the same bonds."""
    for item in dataset.test:
        if item.minimum is None:
            continue
        force = largest_force(item.minimum.forces)
        if not force < MINIMUM_FORCE and np.isfinite(force):
            yield f"{item.molecule.id}: the minimum's force is {force:.4f} eV/Å, at least {MINIMUM_FORCE}"
        if item.start is not None and not item.minimum.energy < item.start.energy:
            yield f"{item.molecule.id}: the minimum's energy is not below the start's"
        positions = item.minimum_positions
        if positions is not None and item.molecule.smiles and bond_graph_changed(item.molecule, positions):
            yield f"{item.molecule.id}: the minimum has other bonds than the SMILES"


def largest_force(forces: FloatArray) -> float:
    """Return the largest force norm of an atom in eV/Å, from forces (n_atoms, 3) in Hartree/Å."""
    return float(np.linalg.norm(forces, axis=1).max()) * HARTREE_TO_EV


def _recompute(description: Description, dataset: Dataset, count: int) -> Iterator[str]:
    """Ask the oracle again for labels spread evenly over the initial set, the starts and the minima."""
    labelled = _labelled(dataset)
    chosen = np.unique(np.linspace(0, len(labelled) - 1, min(count, len(labelled))).round().astype(int))
    with open_oracle(description.oracle or _oracle_of(description.method), registry()) as oracle:
        for molecule, label in (labelled[i] for i in chosen):
            energy, forces = oracle.label(molecule)
            known = np.isnan(label.forces).sum() == 0
            off_forces = float(np.abs(forces - label.forces).max()) if known else 0.0
            difference = max(abs(energy - label.energy), off_forces)
            if not difference <= LABEL_TOLERANCE:
                reasons = [_scaled(label.energy, energy, "energy"), _changed(label.forces, forces) if known else ""]
                why = "".join(f"; {reason}" for reason in reasons if reason)
                yield f"{molecule.id}: the recomputed label differs by {difference:.1e} Hartree or Hartree/Å{why}"


def _oracle_of(method: str) -> str:
    """Return the oracle whose level of theory is the dataset's, without parameters."""
    for spec in registry().specs("oracle"):
        if isinstance(spec, OracleSpec) and spec.level_of_theory({}) == method:
            return spec.name
    raise ConfigurationError(
        f"{DESCRIPTION} names no oracle, and no oracle that is installed gives {method} without parameters: "
        "write 'oracle: NAME:KEY=VALUE' there"
    )


def _scaled(stated: float, right: float, what: str) -> str:
    for unit, factor in UNITS.items():
        if abs(stated - factor * right) <= 1e-3 * abs(factor * right):
            return f"the {what} is in {unit}"
    return ""


def _changed(stated: FloatArray, right: FloatArray) -> str:
    """Return what turns the right forces into the stated ones, if it is something simple."""
    size = float(np.abs(right).max())
    if not size:
        return ""
    for sign, name in ((1, ""), (-1, "gradients ")):
        for unit, factor in {"Hartree/Å": 1.0, "Hartree/bohr": BOHR_TO_ANGSTROM, **UNITS}.items():
            turned = sign * factor * right
            if np.abs(stated - turned).max() <= 1e-3 * factor * size and (sign, factor) != (1, 1.0):
                return f"the forces are {name}in {unit if unit not in UNITS else unit + '/Å'}"
    lengths = (np.sort(np.linalg.norm(values, axis=1)) for values in (stated, right))
    if np.abs(np.subtract(*lengths)).max() <= 1e-3 * size < np.abs(stated - right).max():
        return "the forces are those of other atoms, or of a molecule that is turned"
    return ""


def _labelled(dataset: Dataset) -> list[tuple[Molecule, Label]]:
    pairs = [(row.molecule, row.label) for row in sample(dataset.initial)]
    pairs += [(item.molecule, item.start) for item in dataset.test if item.start is not None]
    for item in dataset.test:
        if item.minimum is not None and item.minimum_positions is not None:
            pairs.append((item.molecule.at(item.minimum_positions), item.minimum))
    return pairs
