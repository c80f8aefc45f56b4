"""Build a dataset that ships from nothing: select, embed, label, minimize, write.

    golfbench datasets build druglike-mini --output druglike-mini

Labels are kept beside the output until the build is complete, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from golfbench.chemistry import bond_graph_changed
from golfbench.contracts import Label, LabelledMolecule, TestMolecule
from golfbench.errors import GolfbenchError, OracleError
from golfbench.minimize import Outcome, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.ledger import read_calls
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.runs.directory import locked
from golfbench.specs import ComponentRef, OptimizerSpec, OracleSpec
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
    INITIAL,
    TEST,
    Description,
    molecule_name,
    write_description,
    write_initial,
    write_test,
)
from golfbench_datasets.loading import data_folder, load

ORACLE = ComponentRef("gfn2-xtb")
#: Tighter than what ``check`` demands of a minimum (0.01 eV/Å).
REFERENCE_RULE = StoppingRule(force_max=0.005, max_steps=3000)


def build(name: str, output: Path, workers: int = 2) -> Path:
    """Build a dataset folder; what else lies in it (baselines) is left alone.

    Args:
        name: ``druglike-mini``, ``druglike-xtb`` or ``druglike-xtb-10k``.
        output: The folder to write.
        workers: Oracle calls at a time.

    Returns:
        ``output``.

    Raises:
        GolfbenchError: If another process builds there, the name is not known, a component is missing, files cannot be
            written, or the result does not pass ``check``.
    """
    plan = make_plan(name, data_folder("druglike-xtb") / "drugs.csv")
    _say(f"{name}: the molecules are picked")
    method = registry().find(OracleSpec, ORACLE.name).level_of_theory(ORACLE.parameters)
    work = output.with_name(f".{output.name}.build")
    work.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output, work / "lock"):
        return _build(name, plan, method, work, output, workers)


def _build(name: str, plan: Plan, method: str, work: Path, output: Path, workers: int) -> Path:
    service = OracleService(work, workers=workers)
    try:
        write_initial(output / INITIAL, method, _initial(service, plan))
        if plan.test:
            formulas = {drug.name: drug.formula for drug in plan.test}
            write_test(output / TEST, method, _test(service, plan.test), formulas)
    finally:
        service.close()
    _finish(name, output, method, next(read_calls(service.ledger.path)).engine)
    shutil.rmtree(work)
    return output


def _finish(name: str, output: Path, method: str, engine: str) -> None:
    """Describe what was written and prove it."""
    stated = Description(name=name, method=method, test_of=TEST_OF.get(name, ""))
    dataset = load(output, stated)
    description = describe(dataset, str(ORACLE))
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


def _initial(service: OracleService, plan: Plan) -> list[LabelledMolecule]:
    """Label the conformers of the training molecules; conformers that get no label are left out."""
    account = Account("", "before", "initial")
    # All are asked for at once: workers never wait for the last conformer of a molecule.
    asked = [[(m, service.submit(ORACLE, m, account)) for m in conformers] for conformers in plan.starts()]
    rows = []
    for done, pairs in enumerate(asked, 1):
        for molecule, future in pairs:
            label = service.answer(future)
            if isinstance(label, OracleError):
                _say(f"  {molecule.id} left out: {label}")
            else:
                rows.append(LabelledMolecule(molecule, label))
        _say(f"  labelled {done}/{len(asked)}: {molecule_name(pairs[0][0])}")
    return rows


def _test(service: OracleService, drugs: Sequence[Compound]) -> list[TestMolecule]:
    """Minimize the drugs under the oracle; a drug without a proper minimum is left out."""
    starts = [molecule for drug in drugs for molecule in drug.conformers(CONFORMERS_TEST)]
    found = {}
    for done, outcome in enumerate(_minimize(service, starts), 1):
        start = starts[outcome.point.index]
        result = _reference(service, start, outcome)
        note = f"{outcome.status} after {outcome.point.step} steps"
        if isinstance(result, str):
            _say(f"  {start.id} left out: {result}")
        else:
            found[start.id] = result
        _say(f"  minimized {done}/{len(starts)}: {start.id} {note}")
    return [found[start.id] for start in starts if start.id in found]


def _minimize(service: OracleService, starts: Sequence[Molecule]) -> Iterator[Outcome]:
    account = Account("", "reference", "reference")
    model = OracleModel(lambda molecules: service.label_all(ORACLE, molecules, account))
    optimizer = registry().find(OptimizerSpec, "lbfgs").create({})
    return minimize(model, starts, optimizer, REFERENCE_RULE)


def _reference(service: OracleService, start: Molecule, outcome: Outcome) -> TestMolecule | str:
    """Return the test molecule with its minimum, or why there is none."""
    if outcome.status != "converged":
        return f"the minimization ended as {outcome.status} ({outcome.error or 'no error'})"
    positions = outcome.point.positions
    if bond_graph_changed(start, positions):
        return "its bonds change on the way to the minimum"
    # Both were labelled on the way: the store answers.
    return TestMolecule(start, _label(service, start), positions, _label(service, start.at(positions)))


def _label(service: OracleService, molecule: Molecule) -> Label:
    return service.submit(ORACLE, molecule, Account("", "reference", "reference")).result()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
