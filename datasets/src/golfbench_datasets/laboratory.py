"""Making labels and minima: what every build does, of a shipped dataset and of the user's own molecules."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from golfbench.chemistry import bond_graph_changed
from golfbench.contracts import Label, LabelledMolecule, TestMolecule
from golfbench.durable import write_atomically
from golfbench.errors import GolfbenchError, MoleculeError, OracleError
from golfbench.minimization import Outcome, Point, StoppingRule, minimize
from golfbench.molecule_files.driver import open_driver
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec, OracleSpec
from golfbench.units import HARTREE_TO_EV
from golfbench_datasets.files import INITIAL, TEST, WALKS, molecule_name, write_initial, write_test

#: When the first model's walk ends.
FIRST_RULE = StoppingRule(force_max=0.02, max_steps=1000)
_REFERENCE = Account("", "reference", "reference")
#: Seconds between two lines of steps: of a cheap oracle not every step is printed.
_LINE_INTERVAL_S = 10.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How labels and minima are made.

    Attributes:
        oracle: Gives every label.
        optimizer: Walks the test molecules to their minima under the oracle.
        rule: When a molecule is there; ``check`` demands 0.01 eV/Å of a minimum.
        first: A model that walks them before the oracle does, which then has a few steps left; empty: none does.
        walks: Whether the oracle's walks are kept in the dataset.
    """

    oracle: ComponentRef
    optimizer: str
    rule: StoppingRule
    first: str = ""
    walks: bool = False

    @property
    def method(self) -> str:
        """Level of theory of the labels."""
        return registry().find(OracleSpec, self.oracle.name).level_of_theory(self.oracle.parameters)


@dataclass(slots=True)
class Laboratory:
    """Makes labels and minima as a recipe says.

    Attributes:
        recipe: See there.
        service: Asks the oracle; what it answered before the build was interrupted is not asked again.
        work: Where the build keeps what it has.
        walks: The oracle's walks of the test molecules, the states of each in their order.
        lost: Conformers and test molecules that got no label or no minimum.
    """

    recipe: Recipe
    service: OracleService
    work: Path
    walks: list[LabelledMolecule] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def fill(
        self,
        output: Path,
        training: Iterable[Sequence[Molecule]],
        test: Sequence[Molecule],
        formulas: Mapping[str, str],
    ) -> None:
        """Write the files of a dataset.

        Args:
            output: The folder.
            training: The conformers of each training molecule.
            test: The starts of the test molecules; none where the test part is that of another dataset.
            formulas: Known molecular formulas of test molecules, by name.

        Raises:
            GolfbenchError: If nothing is left to write, or it cannot be written.
        """
        method = self.recipe.method
        write_initial(output / INITIAL, method, self._some(self.initial(training), "conformer got a label"))
        if test:
            minima = self._some(self.test(test), "test molecule has a minimum")
            write_test(output / TEST, method, minima, formulas)
            if self.recipe.walks:
                write_initial(output / WALKS, method, self.walks)

    def _some(self, made: list[_T], what: str) -> list[_T]:
        if not made:
            raise GolfbenchError(f"no {what}: {self.lost[0]}")
        return made

    def initial(self, training: Iterable[Sequence[Molecule]]) -> list[LabelledMolecule]:
        """Label the conformers of the training molecules; conformers that get no label are left out."""
        account = Account("", "before", "initial")
        # All are asked for at once: workers never wait for the last conformer of a molecule.
        submit = partial(self.service.submit, self.recipe.oracle)
        asked = [[(m, submit(m, account)) for m in conformers] for conformers in training]
        rows = []
        for done, pairs in enumerate(asked, 1):
            for molecule, future in pairs:
                label = self.service.answer(future)
                if isinstance(label, OracleError):
                    self._lose(molecule, str(label))
                else:
                    rows.append(LabelledMolecule(molecule, label))
            say(f"  labelled {done}/{len(asked)}: {molecule_name(pairs[0][0])}")
        return rows

    def test(self, starts: Sequence[Molecule]) -> list[TestMolecule]:
        """Minimize test molecules under the oracle; one without a proper minimum is left out."""
        found = {}
        for done, outcome in enumerate(self._minimize(starts), 1):
            start = starts[outcome.point.index]
            result = self._reference(start, outcome)
            note = f"{outcome.status} after {outcome.point.step} steps"
            if isinstance(result, str):
                self._lose(start, result)
            else:
                found[start.id] = result
            say(f"  minimized {done}/{len(starts)}: {start.id} {note}")
        return [found[start.id] for start in starts if start.id in found]

    def _lose(self, molecule: Molecule, reason: str) -> None:
        self.lost.append(f"{molecule.id} left out: {reason.removeprefix(f'{molecule.id}: ')}")
        say(f"  {self.lost[-1]}")

    def _minimize(self, starts: Sequence[Molecule]) -> Iterator[Outcome]:
        model = OracleModel(lambda molecules: self.service.label_all(self.recipe.oracle, molecules, _REFERENCE))
        optimizer = registry().find(OptimizerSpec, self.recipe.optimizer).create({})
        entries = self._first_walks(starts) if self.recipe.first else starts
        seen: list[list[Point]] = [[] for _ in starts]
        told = time.monotonic()

        def observe(point: Point) -> bool:
            nonlocal told
            seen[point.index].append(point)
            if time.monotonic() > told + _LINE_INTERVAL_S:
                told = time.monotonic()
                say(f"  {starts[point.index].id} step {point.step}: {point.force_max * HARTREE_TO_EV:.4f} eV/Å")
            return False

        yield from minimize(model, entries, optimizer, self.recipe.rule, observe if self.recipe.walks else None)
        for start, points in zip(starts, seen, strict=True):
            self.walks += _states(start, points, self.recipe.method)

    def _first_walks(self, starts: Sequence[Molecule]) -> list[Molecule]:
        """Return where the first model's walks end; kept, because the oracle's labels depend on every digit of them.

        A molecule that the model does not take, or whose bonds it changes, begins at its start.
        """
        path = self.work / "first-walks.json"
        if not path.exists():
            write_atomically(path, json.dumps(self._ends_of_first_walks(starts)))
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [start.at(np.array(kept[start.id])) if start.id in kept else start for start in starts]

    def _ends_of_first_walks(self, starts: Sequence[Molecule]) -> dict[str, list[list[float]]]:
        ends = {}
        with open_driver(self.recipe.first, None, "") as driver:
            taken = []
            for start in starts:
                try:
                    driver.check(start)
                    taken.append(start)
                except MoleculeError as error:
                    say(f"  {self.recipe.first}: {error}; the oracle walks it from its start")
            optimizer = registry().find(OptimizerSpec, self.recipe.optimizer).create({})
            for outcome in minimize(driver.model, taken, optimizer, FIRST_RULE):
                start, positions = taken[outcome.point.index], outcome.point.positions
                say(f"  {self.recipe.first}: {start.id} {outcome.status}")
                if not bond_graph_changed(start, positions):
                    ends[start.id] = positions.tolist()
        return ends

    def _reference(self, start: Molecule, outcome: Outcome) -> TestMolecule | str:
        """Return the test molecule with its minimum, or why there is none."""
        if outcome.status != "converged":
            return f"the minimization ended as {outcome.status} ({outcome.error or 'no error'})"
        positions = outcome.point.positions
        if bond_graph_changed(start, positions):
            return "its bonds change on the way to the minimum"
        # What was labelled on the way, the store answers.
        labels = self.service.label_all(self.recipe.oracle, [start, start.at(positions)], _REFERENCE)
        first, last = labels
        if isinstance(first, OracleError) or isinstance(last, OracleError):
            return f"its start or its minimum gets no label ({first if isinstance(first, OracleError) else last})"
        return TestMolecule(start, first, positions, last)


def _states(start: Molecule, points: Sequence[Point], method: str) -> list[LabelledMolecule]:
    """Return the states of a walk that have a label, as rows of a dataset."""
    states = []
    for number, point in enumerate(points):
        if np.isfinite(point.energy) and np.isfinite(point.forces).all():
            state = replace(start.at(point.positions), id=f"{molecule_name(start)}/{number}")
            states.append(LabelledMolecule(state, Label(point.energy, point.forces, method)))
    return states


@contextmanager
def closing(service: OracleService) -> Iterator[OracleService]:
    """Close a service at the end; after an interruption at once, because a call may take hours."""
    try:
        yield service
    except KeyboardInterrupt:
        service.close(wait=False)
        raise
    finally:
        service.close()


def say(line: str) -> None:
    """Print on stderr how far a build is, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
