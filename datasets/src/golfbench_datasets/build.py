"""Build a shipped dataset from scratch: select, embed, label, minimize, write.

    golfbench datasets build druglike-mini --output druglike-mini

Labels are kept beside the output until the build is complete, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from golfbench.errors import ConfigurationError, GolfbenchError
from golfbench.minimization import StoppingRule
from golfbench.oracles.ledger import read_calls
from golfbench.oracles.service import OracleService
from golfbench.runs.directory import locked
from golfbench.specs import ComponentRef
from golfbench_datasets.card import write_card
from golfbench_datasets.check import check, describe
from golfbench_datasets.druglike import CONFORMERS_TEST, SCREENING_FILE, SEED, TEST_OF, Plan, make_plan
from golfbench_datasets.files import DRUGS, Description, write_description
from golfbench_datasets.laboratory import Laboratory, Recipe, closing, say
from golfbench_datasets.loading import data_folder, load
from golfbench_datasets.relaxing import open_relaxer

XTB = Recipe(ComponentRef("gfn2-xtb"), "lbfgs", StoppingRule(force_max=0.005, max_steps=3000))
DFT = Recipe(ComponentRef("psi4"), "rfo-internal", StoppingRule(force_max=0.01, max_steps=100), "aimnet2", walks=True)


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
    say(f"{name}: the molecules are picked")
    with workplace(output) as work:
        with closing(OracleService(work, workers=workers)) as service:
            _fill(plan, Laboratory(recipe, service, work), output)
        _finish(name, output, recipe, work)
        shutil.rmtree(work)
    return output


@contextmanager
def workplace(output: Path) -> Iterator[Path]:
    """Give the folder beside the output where a build keeps what it has, held for this process.

    Raises:
        GolfbenchError: If another process has it, or it cannot be written.
    """
    output = output.absolute()
    work = output.with_name(f".{output.name}.build")
    try:
        work.mkdir(parents=True, exist_ok=True)
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from error
    with locked(output, work / "lock"):
        yield work


def _fill(plan: Plan, laboratory: Laboratory, output: Path) -> None:
    starts = [molecule for drug in plan.test for molecule in drug.conformers(CONFORMERS_TEST)]
    formulas = {drug.name: drug.formula for drug in plan.test}
    if not plan.relaxed:
        laboratory.fill(output, plan.starts(), starts, formulas)
        return
    with open_relaxer(SEED) as relaxer:
        laboratory.fill(output, relaxer.spread(plan.starts()), starts, formulas)


def _finish(name: str, output: Path, recipe: Recipe, work: Path) -> None:
    """Describe what was written and check it."""
    stated = Description(name=name, method=recipe.method, test_of=TEST_OF.get(name, ""))
    dataset = load(output, stated)
    description = describe(dataset, str(recipe.oracle))
    description.test_of = stated.test_of
    description.built_with = {
        "command": f"golfbench datasets build {name} --output {name}",
        "seed": SEED,
        "rdkit": version("rdkit"),
        "engine": engine_of(work),
        "screening_sha256": hashlib.sha256(SCREENING_FILE.read_bytes()).hexdigest(),
    }
    write_description(output, description)
    write_card(output, description, dataset)
    if problems := check(output):
        raise GolfbenchError(f"{output} is not right: " + "; ".join(problems))
    say(f"{output}: content {dataset.content_hash}")


def engine_of(work: Path) -> str:
    """Return the name and version of the engine that gave a build its labels."""
    return next(read_calls(work / "oracle_calls.jsonl")).engine
