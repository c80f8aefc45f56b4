"""A model learns from the labels of a user's own molecules, so that later ones need fewer of them.

Molecules come in groups. Those of a group walk on the model, are finished on the oracle with their share of the budget,
and each label of those walks teaches the model before the next group begins. The model learns gently, as pretrained
weights do in a run, and never becomes worse than it was (see ``learning.kept.Ahead``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from golfbench.contracts import LabelledMolecule
from golfbench.errors import ConfigurationError
from golfbench.learning.headers import Header
from golfbench.learning.learner import Committee, Single, Task
from golfbench.learning.opening import potential_header, save_potential
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.references import FollowingReferences
from golfbench.learning.settings import FineTuning
from golfbench.learning.snapshots import Snapshots
from golfbench.learning.targets import remainders
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import Notes
from golfbench.molecule_files.library import Job, kept_of, parts
from golfbench.molecule_files.oracle_walks import OnLabel, oracle_folder, tell_nobody
from golfbench.molecule_files.output import Kept, Output
from golfbench.molecule_files.reading import Records
from golfbench.molecule_files.verifying import open_judge
from golfbench.specs import ComponentRef

#: Molecules of a group: few, so that the model learns early, and enough to keep several workers busy.
GROUP = 4
#: The file of the learned weights, in the folder of oracle calls.
LEARNED = "learned.safetensors"


class Teaching:
    """Fits a potential to labels as they come.

    Args:
        potential: Its networks are trained in place.
        labels: How many will come at most.
        folder: Where the state is kept between groups; a state that is there is gone on with.
    """

    def __init__(self, potential: Potential, labels: int, folder: Path) -> None:
        self._gentle = FineTuning()
        updates = labels * self._gentle.updates_per_label
        task = Task(potential, self._gentle, updates, 0, "minimize")
        self._learner = Single(task) if len(potential.networks) == 1 else Committee(task)
        self._potential, self._pool = potential, Pool(potential, [])
        self._references = FollowingReferences(potential)  # a copy of the start, before anything is restored
        self._snapshots = Snapshots(folder, "learned")
        self._trained = _copied(self._learner.state())
        self._restored = -1
        if found := self._snapshots.newest():
            self._trained, self._restored = found[0], int(found[1]["group"])
            self._learner.restore(self._trained, int(found[1]["update"]))

    @property
    def labels(self) -> int:
        """Labels that were learned from."""
        return len(self._pool)

    def learn(self, group: int, labels: Sequence[LabelledMolecule]) -> None:
        """Learn from the labels of a group; afterwards the best weights so far act.

        Args:
            group: Its number, from 0. Of those that were learned from before, the labels alone are taken in.
            labels: In an order that does not depend on when they came.

        Raises:
            TrainingError: If the training blows up.
        """
        before = len(self._pool)
        for row in remainders(labels, self._potential.bases):
            self._pool.add(row)
        self._references.fit(self._pool)
        if group < self._restored or not len(self._pool):
            return
        if group > self._restored:
            self._learner.restore(self._trained, self._learner.update)
            self._learner.fit(self._pool, (len(self._pool) - before) * self._gentle.updates_per_label)
            self._trained = _copied(self._learner.state())
            self._snapshots.save(group, self._trained, {"group": group, "update": self._learner.update})
        self._learner.finish(self._pool)

    def end(self) -> None:
        """Remove the state that was kept between groups."""
        self._snapshots.clear()


def _copied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def learn_library(
    inputs: Records,
    job: Job,
    driver: Driver,
    output: Output,
    ends: Notes,
    workers: int | None = None,
    tell: Callable[[int], None] = lambda count: None,
    on_label: OnLabel = tell_nobody,
) -> Iterator[Kept]:
    """Minimize all molecules on a model that learns meanwhile, and finish them on the oracle; yield what is kept.

    A molecule is yielded when its walk on the model has ended, and again when the oracle has done with it.

    Args:
        inputs: The molecules.
        job: What is done with them.
        driver: The model; its networks are trained in place.
        output: Where molecules are kept.
        ends: Told what a person should know of the ends.
        workers: Oracle calls at a time; ``None`` leaves it to the executor.
        tell: Told how many molecules were read, when the notes of reading have grown.
        on_label: Told of each label.

    Raises:
        ConfigurationError: If the model has nothing that learns.
        KeyboardInterrupt: After what was under way has been kept as it is.
        TrainingError: If the training blows up.
    """
    potential, header = learning_model(driver)
    assert job.verification is not None
    budget = job.verification.budget or 0
    each, left_records = job.reading.conformers, sum(1 for _ in inputs.again())
    opened = open_judge(job, driver, output, workers, on_label)
    with TemporaryDirectory(prefix="golfbench-") as temporary, opened as judge:
        folder = Path(temporary) if output.path is None else oracle_folder(output.path)
        teaching = Teaching(potential, budget, folder)
        purse = judge.purse(budget)
        try:
            numbered = zip(count(0, each), inputs.pending(), strict=False)
            for number, part in enumerate(parts(numbered, math.ceil(GROUP / each))):
                first, last = part[0][0], part[-1][0] + each - 1
                done = output.done(first, last)
                yield from kept_of(output, job.of_part(part, driver, done, ends, not number, tell))
                starts = list(job.starts([pending for _, pending in part], output, first))
                share = math.ceil(purse.left * len(part) / left_records)
                left_records -= len(part)
                yield from judge.kept(purse.group(starts, share))
                teaching.learn(number, purse.labels_of([start.place for start in starts]))
            yield from judge.kept(purse.rest())
        except KeyboardInterrupt:
            yield from judge.interrupted()
            raise
        if output.path is not None:
            _save(folder / LEARNED, potential, header, job, teaching.labels)
            teaching.end()


def learning_model(driver: Driver) -> tuple[Potential, Header]:
    """Return the potential that learns, and the header of its checkpoint.

    Raises:
        ConfigurationError: If the model has nothing that learns.
    """
    if not isinstance(driver.model, Potential) or driver.header is None:
        raise ConfigurationError(f"{driver.name} has nothing that learns: --learn needs a network, such as aimnet2")
    return driver.model, driver.header


def _save(path: Path, potential: Potential, header: Header, job: Job, labels: int) -> None:
    """Write what was learned as a checkpoint, for ``--checkpoint`` of another command."""
    assert job.verification is not None
    ref = ComponentRef(header["model"], header["parameters"])
    facts = potential_header(ref, potential, header["delta"], job.verification.method)
    facts["labels"] = labels
    if "imported" in header:
        facts["imported"] = header["imported"]
    save_potential(path, potential, facts)
