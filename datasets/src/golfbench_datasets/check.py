"""Check a dataset folder: the statements of ``dataset.yaml`` are derived again, and what holds for any dataset.

golfbench datasets check folder:path=FOLDER --recompute 10
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ase.data import chemical_symbols

from golfbench.benchmark.inspection import inspect
from golfbench.chemistry import formula
from golfbench.contracts import Dataset
from golfbench.errors import GolfbenchError
from golfbench.molecules import group_of
from golfbench.training_sets import ids_of
from golfbench_datasets.files import Description, PartFacts, molecule_name, read_description, read_known_formulas
from golfbench_datasets.loading import load, test_file


def check(folder: Path, recompute: int = 0) -> list[str]:
    """Return one line for each thing that is wrong with a dataset folder; an empty list if nothing is.

    Args:
        folder: The dataset.
        recompute: How many labels the oracle named in ``dataset.yaml`` gives again.
    """
    problems = check_statements(folder)
    try:
        return problems + inspect(load(folder, read_description(folder)), recompute).problems
    except GolfbenchError as error:
        return list(dict.fromkeys([*problems, str(error)]))


def check_statements(folder: Path) -> list[str]:
    """Return one line for each statement of a folder that its content contradicts."""
    try:
        description = read_description(folder)
        dataset = load(folder, description)
        return [*_statements(description, dataset), *_formulas(test_file(folder, description), dataset)]
    except GolfbenchError as error:
        return [str(error)]


def describe(dataset: Dataset, oracle: str) -> Description:
    """Return the description that follows from the content of a dataset."""
    elements: set[int] = set()
    sizes: set[int] = set()
    for part in (dataset.initial, dataset.test):
        for item in part:  # a large initial set is read from its file
            elements.update(item.molecule.numbers.tolist())
            sizes.add(len(item.molecule))
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


def _statements(stated: Description, dataset: Dataset) -> Iterator[str]:
    """Compare ``dataset.yaml`` with the content; what it does not state is not compared."""
    found = describe(dataset, stated.oracle)
    for key in ("content_sha256", "elements", "atoms_min", "atoms_max", "initial", "test"):
        says, has = getattr(stated, key), getattr(found, key)
        if says not in (None, "", []) and says != has:
            yield f"dataset.yaml says {key} = {says}, the content has {has}"


def _formulas(file: Path, dataset: Dataset) -> Iterator[str]:
    known = read_known_formulas(file)
    for item in dataset.test:
        name = molecule_name(item.molecule)
        if known.get(name, found := formula(item.molecule)) != found:
            yield f"{item.molecule.id}: its formula is {known[name]}, its atoms are {found}"
