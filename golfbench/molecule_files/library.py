"""Libraries: molecules are read, walked and kept part by part, in this process or in several.

A part is a few hundred records. It is read, walked as one batch that refills, and kept before the next is begun, so
that memory does not grow with the library. Workers are processes that do a part each, reading included. What becomes of
a molecule does not depend on their number, as far as the model's own arithmetic does not depend on batch mates.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from golfbench.errors import ConfigurationError, MoleculeError, WorkerLostError
from golfbench.minimization import MOLECULES_IN_FLIGHT
from golfbench.molecule_files.constraints import FREE, Constraints
from golfbench.molecule_files.driver import Driver, open_driver
from golfbench.molecule_files.input_molecules import InputMolecule, Notes, Pending, Reading, Unusable
from golfbench.molecule_files.minimizing import minimize_own, open_optimizer
from golfbench.molecule_files.oracle_walks import Rules, Start, Verification
from golfbench.molecule_files.output import Kept, Output
from golfbench.molecule_files.ranking import shape_of
from golfbench.molecule_files.reading import Inputs, Records
from golfbench.molecule_files.state import State
from golfbench.molecule_files.writing import molecule_bytes
from golfbench.runs.baseline import Permission
from golfbench.stopping import StoppingRule
from golfbench.threads import shared_threads

#: Molecules of a part, in units of those that are evaluated together: at its end a batch is not full.
_BATCHES = 8
#: Parts for each worker, where there are fewer molecules than that.
_SHARES = 4
_Numbered = tuple[int, Pending]


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with every molecule; it can be sent to a worker.

    Attributes:
        model: Name of the model, or ``None``.
        checkpoint: A checkpoint instead, or ``None``.
        default: The model where neither is given.
        optimizer: Name of the optimizer.
        rule: When a molecule has arrived.
        checkpoint_format: Format of a checkpoint made elsewhere.
        unsafe: Whether a file may run code.
        device: Where networks live.
        check_minima: Whether end points are tested.
        constraints: What does not move.
        reading: How molecules are read. Its notes are those of this process.
        suffix: Ending of the output, which says how a molecule is written; ``None`` where there is none.
        verification: What an oracle is asked about the ends; ``None`` if it is not.
        gives_ends: Whether what is yielded has its end point, for a caller that keeps molecules in memory.
    """

    model: str | None
    checkpoint: Path | None
    default: str
    optimizer: str
    rule: StoppingRule
    checkpoint_format: str | None = None
    unsafe: bool = False
    device: str = "cpu"
    check_minima: bool = False
    constraints: Constraints = FREE
    reading: Reading = field(default_factory=Reading)
    suffix: str | None = None
    verification: Verification | None = None
    gives_ends: bool = False

    def __post_init__(self) -> None:
        if self.check_minima and self.constraints:
            raise ConfigurationError("--check-minima tests all directions, so that nothing may be constrained with it")

    def command(self, inputs: Inputs, driver: Driver) -> str:
        """Return what must be the same for an unfinished output to be gone on with, a line each."""
        reading = self.reading
        facts: dict[str, object] = {
            "model": f"{driver.name} ({driver.method})",
            "checkpoint": self.checkpoint,
            "optimizer": self.optimizer,
            "rule": self.rule,
            "check-minima": self.check_minima,
            "constraints": self.constraints,
            "conformers": (reading.conformers, reading.seed),
            "charge": reading.charge,
            "multiplicity": reading.multiplicity,
            "input": inputs.digests(),
        }
        if self.verification is not None:
            facts["oracle"] = self.verification
        return "".join(f"{name} {value!r}\n" for name, value in facts.items())

    @property
    def rules(self) -> Rules:
        """How molecules walk."""
        return Rules(self.optimizer, self.rule, self.constraints)

    def starts(self, records: Iterable[Pending], state: State, first: int = 0) -> Iterator[Start]:
        """Yield where the walks on the model ended, of the molecules that an oracle may look at; they are read anew.

        Args:
            records: Some, one after the other.
            state: Of the command.
            first: Place of the first molecule.
        """
        each, silent = self.reading.conformers, replace(self.reading, notes=Notes())
        for begin, pending in zip(itertools.count(first, each), records, strict=False):
            if found := state.walked(begin, begin + each - 1):
                for place, given in enumerate(pending(silent), start=begin):
                    if place in found and isinstance(given, InputMolecule):
                        yield Start(place, given, *found[place])

    def size(self) -> int:
        """Return how many records a part has."""
        flying = MOLECULES_IN_FLIGHT.get(self.device.partition(":")[0], MOLECULES_IN_FLIGHT["cuda"])
        return max(1, _BATCHES * flying // self.reading.conformers)

    def of_part(
        self,
        part: Sequence[_Numbered],
        driver: Driver,
        done: set[int],
        ends: Notes,
        first: bool,
        tell: Callable[[int], None] = lambda count: None,
    ) -> Iterator[Kept]:
        """Yield what becomes of the molecules of a part that are not done, each when it leaves.

        Args:
            part: Records with the places of their first molecules.
            driver: The model.
            done: Places that are done.
            ends: Told what a person should know of the ends.
            first: Whether it is the first part: what is wrong with all of its molecules is a defect, then.
            tell: Told how many molecules were read, before they walk.
        """
        inputs: list[InputMolecule | Unusable] = []
        places: list[int] = []
        for begin, pending in part:
            for place, given in enumerate(pending(self.reading), start=begin):
                if place not in done:
                    inputs.append(self._writable(given, first))
                    places.append(place)
        tell(len(inputs))
        walk = minimize_own(
            inputs,
            driver,
            open_optimizer(self.optimizer),
            self.rule,
            self.check_minima,
            ends,
            self.constraints,
            may_raise=first,
        )
        for finished in walk:
            place, end = places[finished.place], finished.end
            data = molecule_bytes(self.suffix, end) if end is not None and self.suffix is not None else None
            row = finished.row.model_copy(update={"record": place + 1})
            yield Kept(place, row, data, shape_of(row, end), end if self.gives_ends else None)

    def _writable(self, given: InputMolecule | Unusable, first: bool) -> InputMolecule | Unusable:
        """Refuse what cannot be written: at once among the first molecules, later one by one.

        Raises:
            ConfigurationError: If the output is an SDF and the bonds of a molecule are not known.
        """
        if isinstance(given, Unusable) or given.mol is not None or (self.suffix or "").lower() != ".sdf":
            return given
        text = f"an SDF needs bonds and {given.source} has none; write .extxyz instead"
        if first:
            raise ConfigurationError(text)
        return Unusable(given.molecule.id, given.source, MoleculeError(text))


def minimize_library(
    inputs: Records,
    job: Job,
    driver: Driver,
    output: Output,
    ends: Notes,
    workers: int = 1,
    tell: Callable[[int], None] = lambda count: None,
) -> Iterator[Kept]:
    """Minimize all molecules that are not done; yield each when it is kept.

    Args:
        inputs: The molecules.
        job: What is done with them.
        driver: The model, for this process.
        output: Where they are kept.
        ends: Told what a person should know of the ends.
        workers: Processes; with one, everything is done in this process.
        tell: Told how many molecules were read, when the notes of reading have grown.

    Raises:
        WorkerLostError: If a worker dies; what was done by then is kept.
    """
    size, numbered = job.size(), _undone(inputs, job, output)
    if workers == 1:
        for number, part in enumerate(parts(numbered, size)):
            yield from kept_of(output, job.of_part(part, driver, _done(output, job, part), ends, not number, tell))
        return
    head = list(itertools.islice(numbered, workers * size))
    if len(head) < workers * size:
        size = max(1, -(-len(head) // (workers * _SHARES)))
    with shared_threads(workers):
        yield from _by_workers(parts(itertools.chain(head, numbered), size), job, output, ends, workers, tell)


def parts(numbered: Iterator[_Numbered], size: int) -> Iterator[list[_Numbered]]:
    """Yield records in parts of a size."""
    while part := list(itertools.islice(numbered, size)):
        yield part


def _undone(inputs: Records, job: Job, output: Output) -> Iterator[_Numbered]:
    """Yield records that are not all done, with the places of their first molecules."""
    each = job.reading.conformers
    for place, pending in zip(itertools.count(0, each), inputs.pending(), strict=False):
        if len(output.done(place, place + each - 1)) < each:
            yield place, pending


def _done(output: Output, job: Job, part: Sequence[_Numbered]) -> set[int]:
    return output.done(part[0][0], part[-1][0] + job.reading.conformers - 1)


def kept_of(output: Output, found: Iterator[Kept]) -> Iterator[Kept]:
    """Keep molecules as they come, and yield them."""
    for kept in found:
        output.add(kept)
        yield kept


def _by_workers(
    parts: Iterator[list[_Numbered]],
    job: Job,
    output: Output,
    ends: Notes,
    workers: int,
    tell: Callable[[int], None],
) -> Iterator[Kept]:
    """Keep a few parts waiting for the workers, and no more: the next is read when one is done."""
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    sent = replace(job, reading=replace(job.reading, notes=Notes()))
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (sent,))
    running: set[Future[tuple[list[Kept], Notes, Notes]]] = set()
    try:
        for number in itertools.count():
            while len(running) < 2 * workers and (part := next(parts, None)) is not None:
                running.add(pool.submit(_do_part, part, _done(output, job, part), not number))
            if not running:
                return
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for found, read, told in (future.result() for future in ready):
                job.reading.notes.include(read)
                ends.include(told)
                tell(len(found))
                yield from kept_of(output, iter(found))
    except BrokenProcessPool as error:
        raise WorkerLostError("a worker died, perhaps because memory ran out: take fewer --workers") from error
    finally:
        for process in list((pool._processes or {}).values()):  # no other way before Python 3.14
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class _Worker:
    """What a worker process has opened."""

    job: Job
    driver: Driver
    holding: contextlib.ExitStack


_worker: _Worker


def _begin_worker(job: Job) -> None:
    """Open the model; end when the parent does, whatever ends it."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    holding = contextlib.ExitStack()
    permission = Permission(job.unsafe, lambda line: None)  # the parent has told it
    opened = open_driver(job.model, job.checkpoint, job.default, job.checkpoint_format, permission, job.device)
    _worker = _Worker(job, holding.enter_context(opened), holding)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do_part(part: list[_Numbered], done: set[int], first: bool) -> tuple[list[Kept], Notes, Notes]:
    """Return what becomes of the molecules of a part, and the notes of reading and of the ends."""
    job, ends = replace(_worker.job, reading=replace(_worker.job.reading, notes=Notes())), Notes()
    return list(job.of_part(part, _worker.driver, done, ends, first)), job.reading.notes, ends
