"""Preparing a dataset for an oracle: labels and minima at the oracle's own level of theory, never mixed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

from golfbench.benchmark.protocol import Protocol
from golfbench.contracts import Dataset, Label, LabelledMolecule, Optimizer, TestMolecule
from golfbench.errors import NothingToDoError, OracleError
from golfbench.minimization import Outcome, minimize
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.as_model import LabelAll, OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.specs import Named
from golfbench.training_sets import MOST_IN_MEMORY, Part, ids_of, is_large, sample

log = logging.getLogger(__name__)

#: Told the name of a task, the steps done and the steps in all.
Report = Callable[[str, int, int], None]

#: Walks to reference minima at a time; how many calls run at a time, the service decides.
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
        dataset = replace(dataset, initial=spread(dataset.initial, limit), test=dataset.test[:limit])
    if not dataset.initial or not dataset.test:
        raise NothingToDoError(f"dataset '{dataset.name}' is empty")
    return dataset


def spread(initial: Sequence[LabelledMolecule], count: int | None) -> Sequence[LabelledMolecule]:
    """Return so many from as many compounds as possible, in their order; all for ``None``."""
    if count is None or count >= len(initial):
        return initial
    seen: Counter[str] = Counter()
    ranks = []
    for index, name in enumerate(ids_of(initial)):
        group = group_of(name)
        ranks.append((seen[group], index))
        seen[group] += 1
    chosen = Part(initial, sorted(index for _, index in sorted(ranks)[:count]))
    return chosen if is_large(chosen) else list(chosen)


def expected_calls(dataset: Dataset, method: str, protocol: Protocol, labels: int | None = None) -> Expected:
    """Return what ``prepare`` will ask the oracle for; the minima are an upper bound."""
    # A walk that starts elsewhere than the molecule (see ``prepare``) needs the label of the molecule besides.
    walks = [protocol.reference_steps + (1 if item.minimum_positions is None else 2) for item in dataset.test]
    if method != dataset.method:
        return Expected(len(spread(dataset.initial, labels)), sum(walks))
    lacking = [
        walk if item.minimum is None else int(item.start is None)
        for item, walk in zip(dataset.test, walks, strict=True)
    ]
    return Expected(0, sum(lacking))


def prepare(
    dataset: Dataset,
    method: str,
    oracle: Named,
    service: OracleService,
    optimizer: Callable[[], Optimizer],
    protocol: Protocol,
    report: Report = lambda task, done, total: None,
    labels: int | None = None,
) -> Dataset:
    """Return the dataset at the oracle's level of theory, asking for what it does not have.

    Where the dataset's method is the oracle's, starts without a label are labelled and test molecules without a minimum
    are minimized. Otherwise the initial set is labelled again (purpose ``initial``), and so is each test molecule. All
    of this has the purpose ``reference``. A walk begins at the dataset's own minimum where it has one, which is nearer
    at any level of theory than the start is. A fresh ``optimizer`` is made for each.

    Args:
        dataset: As it was read.
        method: The oracle's level of theory.
        oracle: As a person writes it.
        service: Where labels come from.
        optimizer: Makes one for each walk.
        protocol: When a walk to a minimum ends.
        report: Shows how far it is: labels, calls of walks, walks.
        labels: Labels of the initial set that are learned from; ``None`` for all of them.

    Raises:
        OracleError: If no initial label or no reference minimum at all could be had.
    """
    bound = expected_calls(dataset, method, protocol, labels)
    if bound == Expected(0, 0):
        return dataset
    wanted = spread(dataset.initial, labels)
    initial = dataset.initial if method == dataset.method else _relabel(wanted, oracle, service, report)
    test = list(dataset.test) if method == dataset.method else [_unlabelled(item) for item in dataset.test]
    test = _complete(test, _Reference(oracle, service, optimizer, protocol, report, bound.reference), report)
    if wanted and not initial:
        raise OracleError(f"{oracle}: none of {len(wanted)} labels of the initial set could be had; see the ledger")
    if not any(item.minimum for item in test):
        raise OracleError(f"{oracle}: none of {len(test)} walks ended in a reference minimum; log.txt says why of each")
    if method == dataset.method:
        return replace(dataset, test=test)
    whole = Dataset(dataset.name, method, initial, test, dataset.content_hash)
    if labels is None:
        return whole
    return replace(whole, unlabelled=[item.molecule for item in sample(dataset.initial)])


def _unlabelled(item: TestMolecule) -> TestMolecule:
    """Forget labels of another level of theory, but not where its minimum is."""
    return TestMolecule(item.molecule, None, item.minimum_positions)


def _relabel(
    initial: Sequence[LabelledMolecule], oracle: Named, service: OracleService, report: Report
) -> list[LabelledMolecule]:
    if not initial:  # it is not learned from
        return []
    counter = _Counter("labelling the initial set", len(initial), report)
    account = Account("", "before", "initial")
    labelled: list[LabelledMolecule] = []
    for first in range(0, len(initial), MOST_IN_MEMORY):  # not more wait for their label at a time
        molecules = [initial[k].molecule for k in range(first, min(first + MOST_IN_MEMORY, len(initial)))]
        asked = [service.submit(oracle, molecule, account) for molecule in molecules]
        for future in asked:
            future.add_done_callback(counter.add_answered)
        answers = zip(molecules, [service.answer(future) for future in asked], strict=True)
        labelled += [LabelledMolecule(m, answer) for m, answer in answers if isinstance(answer, Label)]
    return labelled


class _Counter:
    """Counts what several threads do, and shows it."""

    def __init__(self, task: str, total: int, report: Report) -> None:
        self._task, self._total, self._report = task, total, report
        self._done, self._lock = 0, Lock()
        report(task, 0, total)

    def add_answered(self, future: Future[Label]) -> None:
        """Count an answer; a question that was dropped because the run ends has none."""
        if isinstance(future.exception(), OracleError | None):
            self.add()

    def add(self, count: int = 1) -> None:
        with self._lock:
            self._done += count
            self._report(self._task, self._done, self._total)


class _Reference:
    """Asks for what the test molecules lack, on the account ``reference``.

    Args:
        oracle: As a person writes it.
        service: Where labels come from.
        optimizer: Makes one for each walk.
        protocol: When a walk ends.
        report: Shows calls and walks.
        calls: How many there are at most.
    """

    def __init__(
        self,
        oracle: Named,
        service: OracleService,
        optimizer: Callable[[], Optimizer],
        protocol: Protocol,
        report: Report,
        calls: int,
    ) -> None:
        self._oracle, self._service, self._optimizer, self._protocol = oracle, service, optimizer, protocol
        self._calls = _Counter("oracle calls for them, at most", calls, report)

    def label_all(self, molecules: Sequence[Molecule]) -> list[Label | OracleError]:
        """Label molecules, in order."""
        labels = self._service.label_all(self._oracle, molecules, Account("", "reference", "reference"))
        self._calls.add(len(molecules))
        return labels

    def complete(self, item: TestMolecule) -> TestMolecule:
        """Return a test molecule with its labels, as far as they can be had."""
        if item.minimum is None:
            start = item.molecule
            nearest = start if item.minimum_positions is None else start.at(item.minimum_positions)
            (outcome,) = minimize(
                OracleModel(self.label_all), [nearest], self._optimizer(), self._protocol.reference_rule
            )
            return _with_minimum(item, outcome, self.label_all)
        if item.start is None:
            (label,) = self.label_all([item.molecule])
            if isinstance(label, Label):
                return replace(item, start=label)
            log.warning("%s: no energy of the start: %s", item.molecule.id, label)
        return item


def _complete(test: Sequence[TestMolecule], reference: _Reference, report: Report) -> list[TestMolecule]:
    """Complete each molecule in a thread of its own: none of them waits for the calls of another."""
    walkers = ThreadPoolExecutor(min(len(test), MOST_WALKERS), thread_name_prefix="walker")
    counter = _Counter("test molecules with reference energies and minimum", len(test), report)

    def complete(item: TestMolecule) -> TestMolecule:
        done = reference.complete(item)
        counter.add()
        return done

    try:
        return list(walkers.map(complete, test))
    except BaseException:
        walkers.shutdown(wait=False, cancel_futures=True)  # they end when the service does
        raise


def _with_minimum(item: TestMolecule, walk: Outcome, label_all: LabelAll) -> TestMolecule:
    """Attach the labels of start and minimum; the service knows the geometry of the minimum by now."""
    start = item.molecule
    if walk.status != "converged":
        log.warning("%s: no reference minimum (%s after %d steps)", start.id, walk.status, walk.point.step)
        return TestMolecule(start, item.start)
    (last,) = label_all([start.at(walk.point.positions)])
    first = item.start or label_all([start])[0]
    if not isinstance(first, Label) or not isinstance(last, Label):
        log.warning("%s: no reference minimum: %s", start.id, first if isinstance(first, OracleError) else last)
        return TestMolecule(start, item.start)
    return TestMolecule(start, first, walk.point.positions, last)
