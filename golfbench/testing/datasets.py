"""Checks of datasets: what a reader returns, read twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from golfbench.benchmark.soundness import label_faults
from golfbench.contracts import Dataset, DatasetChecks, Label
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule, check_molecule
from golfbench.specs import DatasetSpec
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
_HASH = re.compile(r"[0-9a-f]{64}")


class Bench:
    """A dataset, read once.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, DatasetSpec)
        self.spec = subject.spec
        self.reader: Any = subject.create()

    @cached_property
    def dataset(self) -> Dataset:
        """What the reader returns."""
        read: Dataset = self.reader.read()
        return read

    def molecules(self) -> Iterator[Molecule]:
        """Yield every molecule: the initial set, then the starts."""
        yield from (item.molecule for part in (self.dataset.initial, self.dataset.test) for item in part)

    def labels(self) -> Iterator[tuple[Molecule, Label]]:
        """Yield every label with the geometry that it belongs to."""
        yield from ((row.molecule, row.label) for row in self.dataset.initial)
        for item in self.dataset.test:
            if item.start is not None:
                yield item.molecule, item.start
            if item.minimum is not None and item.minimum_positions is not None:
                yield item.molecule.at(item.minimum_positions), item.minimum


@check(CHECKS)
def content(bench: Bench) -> Finding:
    """It has a name, a level of theory, a SHA-256 of its content, initial and test molecules."""
    dataset, problems = bench.dataset, []
    problems += [f"no {name}" for name in ("name", "method", "initial", "test") if not getattr(dataset, name)]
    if not _HASH.fullmatch(dataset.content_hash):
        problems.append(f"content_hash '{dataset.content_hash}' is no SHA-256")
    problems += [f"checkpoint {n}: no file {p}" for n, p in dataset.checkpoints.items() if not Path(p).is_file()]
    return Finding.of_problems(problems)


@check(CHECKS, "content")
def repeatable(bench: Bench) -> Finding:
    """Read again, it has the same content hash, molecules and energies."""
    again: Dataset = bench.reader.read()
    problems = [] if again.content_hash == bench.dataset.content_hash else ["another content hash"]
    first, second = ([(r.molecule.id, r.label.energy) for r in d.initial] for d in (bench.dataset, again))
    return Finding.of_problems(problems if first == second else [*problems, "another initial set"])


@check(CHECKS, "content")
def ids(bench: Bench) -> Finding:
    """Every molecule has an id of its own."""
    counts = Counter(m.id for m in bench.molecules())
    return Finding.of_problems([f"'{name}' occurs {n} times" for name, n in counts.items() if n > 1 or not name])


@check(CHECKS, "content")
def geometries(bench: Bench) -> Finding:
    """Every molecule is possible: finite, no overlap, electrons that fit its multiplicity."""
    problems = []
    for molecule in bench.molecules():
        try:
            check_molecule(molecule)
        except MoleculeError as error:
            problems.append(str(error))
    return Finding.of_problems(problems, "molecules")


@check(CHECKS, "content")
def methods(bench: Bench) -> Finding:
    """Every label is of the dataset's level of theory, and so is the spec."""
    stated = bench.dataset.method
    counts = Counter(label.method for _, label in bench.labels() if label.method != stated)
    problems = [f"{n} labels are {name}, not {stated}" for name, n in counts.items()]
    if not bench.spec.parameters and bench.spec.method != stated:
        problems.append(f"the spec says {bench.spec.method}, the dataset {stated}")
    return Finding.of_problems(problems)


@check(CHECKS, "content")
def labels(bench: Bench) -> Finding:
    """Every label has a finite energy and finite forces of shape (n_atoms, 3)."""
    problems = []
    for molecule, label in bench.labels():
        fits = np.shape(label.forces) == (len(molecule), 3)
        if not fits or not np.isfinite(label.energy) or not np.isfinite(label.forces).all():
            problems.append(f"{molecule.id}: energy {label.energy}, forces of shape {np.shape(label.forces)}")
    return Finding.of_problems(problems, "labels")


@check(CHECKS, "labels")
def minima(bench: Bench) -> Finding:
    """Every reference minimum has positions and a label, and lies below its start."""
    problems = []
    for item in bench.dataset.test:
        if (item.minimum is None) != (item.minimum_positions is None):
            problems.append(f"{item.molecule.id}: positions and label of the minimum go together")
        if item.minimum and item.start and not item.minimum.energy < item.start.energy:
            problems.append(f"{item.molecule.id}: the minimum is not below the start")
    return Finding.of_problems(problems, "molecules")


@check(CHECKS, "labels")
def plausible(bench: Bench) -> Finding:
    """Energies and forces fit each other, the molecules and the level of theory: units, signs, order of the atoms."""
    return Finding.of_problems(label_faults(bench.dataset))


@check(CHECKS, "content")
def own_check(bench: Bench) -> Finding:
    """Its own check, where it has one, finds nothing."""
    return Finding.of_problems(bench.reader.check() if isinstance(bench.reader, DatasetChecks) else [])
