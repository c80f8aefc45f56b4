"""Walks on an oracle's own forces, from where those on a model ended: one label judges, more of them finish.

A walk is begun anew whenever it may have more labels, and comes to where it was for nothing: labels that are known
are not asked for again. So there is no state of a walk beside its labels, and one that was killed goes on like any
other. The first label is asked for before anything else is done; from the second one on the optimizer starts from the
model's second derivatives.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from golfbench.constraints import Constraint
from golfbench.contracts import FloatArray, Label, LabelledMolecule, TakesHessian
from golfbench.curvature import WHOLE, hessian
from golfbench.errors import ConfigurationError, GolfbenchError, MoleculeError, OracleError
from golfbench.minimization import Outcome, Point, StoppingRule, minimize
from golfbench.molecule_files.constraints import Constraints
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import InputMolecule
from golfbench.molecule_files.minimizing import open_optimizer
from golfbench.molecule_files.rows import OwnRow
from golfbench.molecule_files.state import State
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.local import DEFAULT_WORKERS
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import Component, OracleSpec
from golfbench.units import HARTREE_TO_EV

log = logging.getLogger(__name__)

#: Files that the oracle service leaves in its folder.
_FILES = ("oracle_calls.jsonl", "labels.db", "running.json", "learned*.safetensors")


@dataclass(frozen=True, slots=True)
class Verification:
    """What the oracle is asked.

    Attributes:
        oracle: Its name and parameters.
        budget: Labels that it may be asked for in all; ``None`` asks for one at each end point, which judges it.
        learn: Whether the model learns from the labels.
    """

    oracle: str
    budget: int | None = None
    learn: bool = False

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise ConfigurationError(f"the oracle's budget must be at least 1 label, not {self.budget}")
        if self.learn and self.budget is None:
            raise ConfigurationError("--learn learns from the labels of a walk: give --oracle-budget, too")

    def component(self) -> Component[OracleSpec]:
        """Look the oracle up.

        Raises:
            ConfigurationError: If it is not known.
        """
        return registry().component(OracleSpec, self.oracle)

    @property
    def method(self) -> str:
        """Its level of theory."""
        found = self.component()
        return found.spec.level_of_theory(found.parameters)

    def check(self) -> None:
        """Start the engine once, before anything else is done.

        Raises:
            ConfigurationError: If the oracle is not known.
            ComponentMissingError: If its engine is not installed.
        """
        with open_oracle(self.component(), registry()) as oracle:
            log.info("the oracle is %s", oracle.version)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a molecule's walk on the model ended.

    Attributes:
        place: Its place in the input.
        given: The molecule as it was read.
        row: What became of it on the model.
        positions: (n_atoms, 3), Å.
    """

    place: int
    given: InputMolecule
    row: OwnRow
    positions: FloatArray


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a molecule came on the oracle.

    Attributes:
        start: Where it began.
        labels: Labels that were asked for.
        outcome: How the walk ended; ``None`` where no label was asked for, or the walk was interrupted.
        first: Where it began, as the oracle has it; ``None`` where it had no answer there.
        end: Where it ended or, if it has not converged, where the oracle's energy was the lowest.
        is_open: Whether more labels would take it further.
        labelled: The labels, in order; failures left out.
        interrupted: Whether it was stopped from outside.
    """

    start: Start
    labels: int = 0
    outcome: Outcome | None = None
    first: Point | None = None
    end: Point | None = None
    is_open: bool = False
    labelled: tuple[LabelledMolecule, ...] = ()
    interrupted: bool = False


#: How long is waited for a walk before signals are looked at again.
_LOOK_AGAIN_S = 0.5
#: Told of each new label: the molecule's id, how many labels it has, and its largest force, eV/Å (NaN for a failure).
OnLabel = Callable[[str, int, float], None]


def tell_nobody(id: str, labels: int, force: float) -> None:
    """Be an ``OnLabel`` that does nothing."""


class Ended(BaseException):
    """The walks were ended from outside: no failure of a molecule."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How molecules walk, on a model and on the oracle alike.

    Attributes:
        optimizer: Name of the optimizer.
        rule: When a molecule has arrived.
        constraints: What does not move.
    """

    optimizer: str
    rule: StoppingRule
    constraints: Constraints


class OracleWalks:
    """Walks on the oracle's forces, several at a time; made by ``open_walks``.

    Args:
        verification: Who is asked.
        service: Where labels come from.
        rules: How molecules walk.
        driver: The model, whose second derivatives walks start from.
        state: Keeps these.
        at_once: Walks at a time.

    Attributes:
        on_label: See ``OnLabel``; called in any thread, one at a time.
    """

    def __init__(
        self,
        verification: Verification,
        service: OracleService,
        rules: Rules,
        driver: Driver,
        state: State,
        at_once: int,
    ) -> None:
        self._oracle, self._service, self._rules = verification.component(), service, rules
        self._driver, self._state, self._at_once = driver, state, at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="walk")
        self._ended, self._lock, self._model_lock = threading.Event(), threading.Lock(), threading.Lock()
        self._under_way: dict[int, tuple[Start, list[Point]]] = {}
        self._latest: dict[int, Walked] = {}
        self._remembers = verification.budget is not None
        self._told: dict[int, int] = {}
        self.on_label: OnLabel = tell_nobody

    def walks(self, asked: Iterable[tuple[Start, int]]) -> Iterator[Walked]:
        """Walk molecules, each with so many labels in all; yield each when it stops.

        An exception, an interruption among them, ends all walks; what they came to is then in ``interrupted``.
        """
        waiting, running = iter(asked), set[Future[Walked]]()
        try:
            while True:
                while len(running) < 2 * self._at_once and (one := next(waiting, None)) is not None:
                    running.add(self._pool.submit(self._walk, *one))
                if not running:
                    return
                # Not for ever: an interruption that comes just before the waiting begins is seen at its end.
                done, running = wait(running, _LOOK_AGAIN_S, FIRST_COMPLETED)
                for future in done:
                    walked = future.result()
                    if not (walked.is_open and self._remembers):
                        del self._latest[walked.start.place]
                    yield walked
        except BaseException:
            self.end()
            raise

    def interrupted(self) -> Iterator[Walked]:
        """Yield the molecules that were not done with when everything was ended: how far they have come."""
        for place, (start, points) in self._under_way.items():
            there = Walked(start, len(points), None, *_ends(points), is_open=True)
            before = self._latest.get(place)
            if before is None or _energy(there) < _energy(before):  # a walk that is begun anew may not be there yet
                self._latest[place] = there
        for walked in self._latest.values():
            yield replace(walked, interrupted=walked.is_open)

    def end(self) -> None:
        """End walks and calls, and wait for that."""
        self._ended.set()
        self._service.close(wait=False)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Close the service after the last walk."""
        self._pool.shutdown()
        self._service.close()

    def calls(self, start: Start) -> int:
        """Return the engine calls that a molecule has cost."""
        return self._service.ledger.charged(_account(start).key)[0]

    def _walk(self, start: Start, labels: int) -> Walked:
        points: list[Point] = []
        labelled: list[LabelledMolecule] = []
        self._under_way[start.place] = start, points
        asked = 0

        def observe(point: Point) -> bool:
            if math.isfinite(point.energy):
                points.append(point)
            self._tell(start, point)
            return False

        def label_all(molecules: Sequence[Molecule]) -> list[Label | OracleError]:
            nonlocal asked
            asked += len(molecules)
            answers = [self._label(start, molecule) for molecule in molecules]
            for molecule, answer in zip(molecules, answers, strict=True):
                labelled.extend([LabelledMolecule(molecule, answer)] if isinstance(answer, Label) else [])
            return answers

        rule = StoppingRule(self._rules.rule.force_max, min(labels - 1, self._rules.rule.max_steps))
        optimizer = open_optimizer(self._rules.optimizer)
        known = self._hessian(start) if labels > 1 and isinstance(optimizer, TakesHessian) else None
        molecule, held = start.given.molecule.at(start.positions), self._rules.constraints.of(start.given)
        walk = minimize(
            OracleModel(label_all), [molecule], optimizer, rule, observe, constraints=[held], hessians=[known]
        )
        outcome = next(walk)  # and no further: a defect that one molecule meets is that molecule's end alone
        is_open = outcome.status == "step_limit" and rule.max_steps < self._rules.rule.max_steps
        first, best = _ends(points)
        end = outcome.point if outcome.status == "converged" else best
        walked = Walked(start, asked, outcome, first, end, is_open, tuple(labelled))
        self._latest[start.place] = walked
        del self._under_way[start.place]
        return walked

    def _label(self, start: Start, molecule: Molecule) -> Label | OracleError:
        if self._ended.is_set():
            raise Ended
        try:
            answer = self._service.answer(self._service.submit(self._oracle, molecule, _account(start)))
        except CancelledError:
            raise Ended from None
        if self._ended.is_set():  # then a failure is none of the oracle's
            raise Ended
        return answer

    def _hessian(self, start: Start) -> FloatArray | None:
        """Return the model's second derivatives, computed once; ``None`` where they are not to be had."""
        molecule = start.given.molecule.at(start.positions)
        if len(molecule) > WHOLE:
            return None
        if (kept := self._state.hessian(start.place)) is not None:
            return kept
        try:
            with self._model_lock:
                found = hessian(self._driver.model, molecule)
        except Exception as error:
            if isinstance(error, GolfbenchError) and not isinstance(error, MoleculeError | OracleError):
                raise
            log.warning("%s: the model has no second derivatives there: %s", molecule.id, error)
            return None
        self._state.keep_hessian(start.place, found)
        return found

    def _tell(self, start: Start, point: Point) -> None:
        with self._lock:
            labels = point.step + 1
            if labels > self._told.get(start.place, 0):
                self._told[start.place] = labels
                self.on_label(start.given.molecule.id, labels, point.force_max * HARTREE_TO_EV)


def energy_of(point: Point, held: Constraint | None) -> float:
    """Return the energy of a point, Hartree, without springs."""
    return point.energy - (held.spring(point.positions)[0] if held is not None else 0.0)


def _ends(points: Sequence[Point]) -> tuple[Point | None, Point | None]:
    """Return the start of a walk and its point of the lowest energy."""
    first = points[0] if points and not points[0].step else None
    return first, min(points, key=lambda point: point.energy, default=None)


def _energy(walked: Walked) -> float:
    return math.inf if walked.end is None else walked.end.energy


def _account(start: Start) -> Account:
    return Account(f"record {start.place + 1}", "after", "evaluation")


@contextmanager
def open_walks(
    verification: Verification, rules: Rules, driver: Driver, state: State, folder: Path | None, workers: int | None
) -> Iterator[OracleWalks]:
    """Open what asks the oracle, and close it at the end.

    Args:
        verification: Who is asked.
        rules: How molecules walk.
        driver: The model.
        state: Of the command.
        folder: Where the ledger and the labels are; ``None`` for a temporary place.
        workers: Calls at a time; ``None`` leaves it to the executor.
    """
    with TemporaryDirectory(prefix="golfbench-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(exist_ok=True)
        service = OracleService(place, workers=workers, cache=LabelCache(default_path()))
        walks = OracleWalks(verification, service, rules, driver, state, workers or DEFAULT_WORKERS)
        try:
            yield walks
        except BaseException:
            walks.end()
            raise
        else:
            walks.close()


def oracle_folder(output: Path) -> Path:
    """Return the folder beside an output with the ledger and the labels."""
    return output.with_suffix(".oracle")


def make_room(folder: Path, overwrite: bool) -> None:
    """See to it that a folder has nothing of an earlier command.

    Raises:
        ConfigurationError: If it has and that is to stay, or there is a file in its place.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is in the place of the folder of oracle calls: name another output")
    if not overwrite:
        raise ConfigurationError(f"{folder} exists already: choose another name for the output, or give --overwrite")
    for pattern in _FILES:
        for path in folder.glob(pattern):
            path.unlink()
