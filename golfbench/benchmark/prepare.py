"""Preparing a dataset for an oracle: labels and minima at the oracle's own level of theory, never mixed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from golfbench.benchmark.protocol import Protocol
from golfbench.contracts import Dataset, Label, LabelledMolecule, Optimizer, TestMolecule
from golfbench.errors import NothingToDoError, OracleError
from golfbench.minimize import Outcome, minimize
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.as_model import LabelAll, OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.specs import ComponentRef

log = logging.getLogger(__name__)

#: Walks to reference minima at a time; how many calls run at a time is the service's business.
MOST_WALKERS = 64


@dataclass(frozen=True, slots=True)
class Expected:
    """Oracle calls that a preparation costs, at most."""

    initial: int
    reference: int


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """Keep ``limit`` training molecules and the first ``limit`` test molecules.

    A molecule is one conformation. The training molecules are the first conformers of as many compounds as there are,
    then the second ones, and so on.

    Raises:
        NothingToDoError: If nothing is there to train on or to test with.
    """
    if limit is not None:
        dataset = replace(dataset, initial=_spread(dataset.initial, limit), test=dataset.test[:limit])
    if not dataset.initial or not dataset.test:
        raise NothingToDoError(f"dataset '{dataset.name}' is empty")
    return dataset


def _spread(initial: Sequence[LabelledMolecule], limit: int) -> list[LabelledMolecule]:
    """Return ``limit`` of them from as many groups as possible, in their order."""
    seen: Counter[str] = Counter()
    ranks = []
    for index, item in enumerate(initial):
        group = group_of(item.molecule.id)
        ranks.append((seen[group], index))
        seen[group] += 1
    return [initial[index] for index in sorted(index for _, index in sorted(ranks)[:limit])]


def expected_calls(dataset: Dataset, method: str, protocol: Protocol) -> Expected:
    """Return what ``prepare`` will ask the oracle for; the minima are an upper bound."""
    if method == dataset.method:
        return Expected(0, 0)
    # A walk that starts elsewhere than the molecule (see ``prepare``) needs the label of the molecule besides.
    walks = sum(protocol.reference_steps + (1 if item.minimum_positions is None else 2) for item in dataset.test)
    return Expected(len(dataset.initial), walks)


def prepare(
    dataset: Dataset,
    method: str,
    oracle: ComponentRef,
    service: OracleService,
    optimizer: Callable[[], Optimizer],
    protocol: Protocol,
) -> Dataset:
    """Return the dataset at the oracle's level of theory, asking for what it does not have.

    Where the dataset's method is the oracle's it is returned as it is. Otherwise its initial set is labelled anew
    (purpose ``initial``) and each test molecule is minimized under the oracle (purpose ``reference``): from the
    dataset's own minimum where it has one, which is nearer at any level of theory than the start is. A fresh
    ``optimizer`` is made for each.

    Raises:
        OracleError: If no initial label or no reference minimum at all could be had.
    """
    if method == dataset.method:
        return dataset
    initial = _relabel(dataset.initial, oracle, service)
    test = _minima(dataset.test, oracle, service, optimizer, protocol)
    if not initial or not any(item.minimum for item in test):
        raise OracleError(f"{oracle}: no label or no reference minimum could be had; see the ledger")
    return replace(dataset, method=method, initial=initial, test=test, atom_energies={}, checkpoints={})


def _relabel(
    initial: Sequence[LabelledMolecule], oracle: ComponentRef, service: OracleService
) -> list[LabelledMolecule]:
    molecules = [item.molecule for item in initial]
    labels = service.label_all(oracle, molecules, Account("", "before", "initial"))
    return [
        LabelledMolecule(m, answer) for m, answer in zip(molecules, labels, strict=True) if isinstance(answer, Label)
    ]


def _minima(
    test: Sequence[TestMolecule],
    oracle: ComponentRef,
    service: OracleService,
    optimizer: Callable[[], Optimizer],
    protocol: Protocol,
) -> list[TestMolecule]:
    """Walk each molecule in a thread of its own: none of them waits for the calls of another."""
    account = Account("", "reference", "reference")

    def label_all(molecules: Sequence[Molecule]) -> list[Label | OracleError]:
        return service.label_all(oracle, molecules, account)

    def walk(item: TestMolecule) -> TestMolecule:
        start = item.molecule
        nearest = start if item.minimum_positions is None else start.at(item.minimum_positions)
        (outcome,) = minimize(OracleModel(label_all), [nearest], optimizer(), protocol.reference_rule)
        return _with_minimum(start, outcome, label_all)

    walkers = ThreadPoolExecutor(min(len(test), MOST_WALKERS), thread_name_prefix="walker")
    try:
        return list(walkers.map(walk, test))
    except BaseException:
        walkers.shutdown(wait=False, cancel_futures=True)  # they end when the service does
        raise


def _with_minimum(start: Molecule, walk: Outcome, label_all: LabelAll) -> TestMolecule:
    """Attach the labels of start and minimum; the service knows the geometry of the minimum by now."""
    first, last = label_all([start, start.at(walk.point.positions)]) if walk.status == "converged" else (None, None)
    if not isinstance(first, Label) or not isinstance(last, Label):
        log.warning("%s: no reference minimum (%s after %d steps)", start.id, walk.status, walk.point.step)
        return TestMolecule(start)
    return TestMolecule(start, first, walk.point.positions, last)
