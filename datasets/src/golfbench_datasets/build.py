"""Build a dataset that ships from nothing: select, embed, label, minimize, write.

    golfbench datasets build druglike-mini --output druglike-mini

Labels are kept beside the output until the build is complete, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from golfbench.chemistry import bond_graph_changed
from golfbench.contracts import Label, LabelledMolecule, TestMolecule
from golfbench.durable import write_atomically
from golfbench.errors import GolfbenchError, OracleError
from golfbench.minimize import Outcome, Point, StoppingRule, minimize
from golfbench.molecule_files.driver import open_driver
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.ledger import read_calls
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.runs.directory import locked
from golfbench.specs import ComponentRef, OptimizerSpec, OracleSpec
from golfbench.units import HARTREE_TO_EV
from golfbench_datasets.card import write_card
from golfbench_datasets.check import check, describe
from golfbench_datasets.druglike import (
    CONFORMERS_TEST,
    SCREENING_FILE,
    SEED,
    TEST_OF,
    Compound,
    Plan,
    make_plan,
)
from golfbench_datasets.files import (
    DRUGS,
    INITIAL,
    TEST,
    WALKS,
    Description,
    molecule_name,
    write_description,
    write_initial,
    write_test,
)
from golfbench_datasets.loading import data_folder, load


@dataclass(frozen=True, slots=True)
class Recipe:
    """How labels and minima are made.

    Attributes:
        oracle: Gives every label.
        optimizer: Walks the drugs to their minima under the oracle.
        rule: When a drug is there; ``check`` demands 0.01 eV/Å of a minimum.
        first: A model that walks them before the oracle does, which then has a few steps left; empty: none does.
        walks: Whether the oracle's walks are kept in the dataset.
    """

    oracle: ComponentRef
    optimizer: str
    rule: StoppingRule
    first: str = ""
    walks: bool = False


XTB = Recipe(ComponentRef("gfn2-xtb"), "lbfgs", StoppingRule(force_max=0.005, max_steps=3000))
DFT = Recipe(ComponentRef("psi4"), "rfo-internal", StoppingRule(force_max=0.01, max_steps=100), "aimnet2", walks=True)
#: When the first model's walk ends.
FIRST_RULE = StoppingRule(force_max=0.02, max_steps=1000)


def build(name: str, output: Path, workers: int = 2) -> Path:
    """Build a dataset folder; what else lies in it (baselines) is left alone.

    Args:
        name: One of ``druglike.RECIPES``.
        output: The folder to write.
        workers: Oracle calls at a time.

    Returns:
        ``output``.

    Raises:
        GolfbenchError: If another process builds there, the name is not known, a component is missing, files cannot be
            written, or the result does not pass ``check``.
    """
    recipe = DFT if name == "druglike-dft" else XTB
    plan = make_plan(name, data_folder("druglike-dft" if recipe is DFT else "druglike-xtb") / DRUGS)
    _say(f"{name}: the molecules are picked")
    work = output.with_name(f".{output.name}.build")
    work.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output, work / "lock"):
        _build(name, plan, recipe, work, output, workers)
    return output


def _build(name: str, plan: Plan, recipe: Recipe, work: Path, output: Path, workers: int) -> None:
    method = registry().find(OracleSpec, recipe.oracle.name).level_of_theory(recipe.oracle.parameters)
    service = OracleService(work, workers=workers)
    laboratory = _Laboratory(recipe, service, work)
    try:
        if plan.test:
            formulas = {drug.name: drug.formula for drug in plan.test}
            write_test(output / TEST, method, laboratory.test(plan.test), formulas)
        if recipe.walks:
            write_initial(output / WALKS, method, laboratory.walks)
        write_initial(output / INITIAL, method, laboratory.initial(plan))
    finally:
        service.close()
    _finish(name, output, method, str(recipe.oracle), next(read_calls(service.ledger.path)).engine)
    shutil.rmtree(work)


def _finish(name: str, output: Path, method: str, oracle: str, engine: str) -> None:
    """Describe what was written and prove it."""
    stated = Description(name=name, method=method, test_of=TEST_OF.get(name, ""))
    dataset = load(output, stated)
    description = describe(dataset, oracle)
    description.test_of = stated.test_of
    description.built_with = {
        "command": f"golfbench datasets build {name} --output {name}",
        "seed": SEED,
        "rdkit": version("rdkit"),
        "engine": engine,
        "screening_sha256": hashlib.sha256(SCREENING_FILE.read_bytes()).hexdigest(),
    }
    write_description(output, description)
    write_card(output, description, dataset)
    if problems := check(output):
        raise GolfbenchError(f"{output} is not right: " + "; ".join(problems))
    _say(f"{output}: content {dataset.content_hash}")


@dataclass(slots=True)
class _Laboratory:
    """Makes labels and minima as a recipe says.

    Attributes:
        recipe: See there.
        service: Asks the oracle; what it answered before the build was interrupted is not asked again.
        work: Where the build keeps what it has.
        walks: The oracle's walks of the drugs, the states of each in their order.
    """

    recipe: Recipe
    service: OracleService
    work: Path
    walks: list[LabelledMolecule] = field(default_factory=list)

    def initial(self, plan: Plan) -> list[LabelledMolecule]:
        """Label the conformers of the training molecules; conformers that get no label are left out."""
        account = Account("", "before", "initial")
        # All are asked for at once: workers never wait for the last conformer of a molecule.
        submit = partial(self.service.submit, self.recipe.oracle)
        asked = [[(m, submit(m, account)) for m in conformers] for conformers in plan.starts()]
        rows = []
        for done, pairs in enumerate(asked, 1):
            for molecule, future in pairs:
                label = self.service.answer(future)
                if isinstance(label, OracleError):
                    _say(f"  {molecule.id} left out: {label}")
                else:
                    rows.append(LabelledMolecule(molecule, label))
            _say(f"  labelled {done}/{len(asked)}: {molecule_name(pairs[0][0])}")
        return rows

    def test(self, drugs: Sequence[Compound]) -> list[TestMolecule]:
        """Minimize the drugs under the oracle; a drug without a proper minimum is left out."""
        starts = [molecule for drug in drugs for molecule in drug.conformers(CONFORMERS_TEST)]
        found = {}
        for done, outcome in enumerate(self._minimize(starts), 1):
            start = starts[outcome.point.index]
            result = self._reference(start, outcome)
            note = f"{outcome.status} after {outcome.point.step} steps"
            if isinstance(result, str):
                _say(f"  {start.id} left out: {result}")
            else:
                found[start.id] = result
            _say(f"  minimized {done}/{len(starts)}: {start.id} {note}")
        return [found[start.id] for start in starts if start.id in found]

    def _minimize(self, starts: Sequence[Molecule]) -> Iterator[Outcome]:
        account = Account("", "reference", "reference")
        model = OracleModel(lambda molecules: self.service.label_all(self.recipe.oracle, molecules, account))
        optimizer = registry().find(OptimizerSpec, self.recipe.optimizer).create({})
        entries = self._first_walks(starts) if self.recipe.first else starts
        seen: list[list[Point]] = [[] for _ in starts]

        def observe(point: Point) -> bool:
            seen[point.index].append(point)
            _say(f"  {starts[point.index].id} step {point.step}: {point.force_max * HARTREE_TO_EV:.4f} eV/Å")
            return False

        yield from minimize(model, entries, optimizer, self.recipe.rule, observe if self.recipe.walks else None)
        method = registry().find(OracleSpec, self.recipe.oracle.name).level_of_theory(self.recipe.oracle.parameters)
        for start, points in zip(starts, seen, strict=True):
            for number, point in enumerate(points):
                state = replace(start.at(point.positions), id=f"{molecule_name(start)}/{number}")
                self.walks.append(LabelledMolecule(state, Label(point.energy, point.forces, method)))

    def _first_walks(self, starts: Sequence[Molecule]) -> list[Molecule]:
        """Return where the first model's walks end; kept, because the oracle's labels hang on every digit of them."""
        path = self.work / "first-walks.json"
        if not path.exists():
            ends = {}
            with open_driver(self.recipe.first, None, "") as driver:
                optimizer = registry().find(OptimizerSpec, self.recipe.optimizer).create({})
                for outcome in minimize(driver.model, starts, optimizer, FIRST_RULE):
                    ends[starts[outcome.point.index].id] = outcome.point.positions.tolist()
                    _say(f"  {self.recipe.first}: {starts[outcome.point.index].id} {outcome.status}")
            write_atomically(path, json.dumps(ends))
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [start.at(np.array(kept[start.id])) for start in starts]

    def _reference(self, start: Molecule, outcome: Outcome) -> TestMolecule | str:
        """Return the test molecule with its minimum, or why there is none."""
        if outcome.status != "converged":
            return f"the minimization ended as {outcome.status} ({outcome.error or 'no error'})"
        positions = outcome.point.positions
        if bond_graph_changed(start, positions):
            return "its bonds change on the way to the minimum"
        # What was labelled on the way, the store answers.
        return TestMolecule(start, self._label(start), positions, self._label(start.at(positions)))

    def _label(self, molecule: Molecule) -> Label:
        return self.service.submit(self.recipe.oracle, molecule, Account("", "reference", "reference")).result()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
