"""Build a dataset of the user's own molecules, like the D_0 and the test set of the GOLF paper.

    golfbench datasets build mine.smi --oracle psi4 --output mine

The geometries to label are written before the first oracle call (``plan.json`` beside the output), so that the same
command goes on with the same geometries after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from golfbench.benchmark.recomputing import is_expensive
from golfbench.contracts import BuildOrder, Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.durable import write_atomically
from golfbench.errors import ConfigurationError, MoleculeError, NothingToDoError
from golfbench.fetching import sha256_of
from golfbench.minimization import StoppingRule
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.opening import precheck
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.runs.hours import hours_of
from golfbench.runs.service import open_service
from golfbench.specs import Component, ExecutorSpec, OracleSpec
from golfbench_datasets.build import engine_of, workplace
from golfbench_datasets.card import write_own_card
from golfbench_datasets.check import check, describe
from golfbench_datasets.files import DESCRIPTION, Description, read_description, write_description
from golfbench_datasets.laboratory import Laboratory, Recipe, closing, say
from golfbench_datasets.loading import load
from golfbench_datasets.structures import Structure, all_centroids, apart, read_structures, renamed, split

#: Prints a line for the user.
Tell = Callable[[str], None]
OPTIMIZER = "rfo-internal"
#: The first walk of an expensive oracle, and the word for none.
FIRST, NONE, AUTO = "aimnet2", "none", "auto"
#: eV/Å and steps; a smaller force would be below the noise of a DFT grid.
RULE, RULE_EXPENSIVE = StoppingRule(force_max=0.005, max_steps=1000), StoppingRule(force_max=0.01, max_steps=300)
#: Steps of the oracle to a minimum, for the estimate: from a conformer of a drug, and from a minimum of AIMNet2 (5 to 8
#: with Psi4).
STEPS, STEPS_AFTER_FIRST = 40, 10
#: Molecules between two lines of progress while conformers are made, and left-out molecules that are named.
_EVERY, _NAMED = 100, 20
_PLAN = "plan.json"


@dataclass(slots=True)
class Plan:
    """The geometries of a dataset that is to be.

    Attributes:
        training: The conformers of each training molecule.
        test: One conformer of each test molecule.
        left_out: What was given and is not in it, with the reason.
    """

    training: list[list[Molecule]] = field(default_factory=list)
    test: list[Molecule] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; floats survive exactly."""
        training = [[molecule.to_json() for molecule in conformers] for conformers in self.training]
        return {"training": training, "test": [m.to_json() for m in self.test], "left_out": self.left_out}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Rebuild what ``to_json`` wrote."""
        training = [[Molecule.from_json(m) for m in conformers] for conformers in data["training"]]
        return cls(training, [Molecule.from_json(m) for m in data["test"]], data["left_out"])


def build(order: BuildOrder, tell: Tell) -> int:
    """Build the dataset, or go on with it.

    Args:
        order: What of, and how.
        tell: Prints what the user should know before it begins, and what is wrong in the end.

    Returns:
        The number of molecules and conformers that were left out, and of things that are wrong with the labels.

    Raises:
        NothingToDoError: If just this dataset is there already.
        GolfbenchError: If the order cannot be carried out.
    """
    oracle = registry().component(OracleSpec, order.oracle)
    recipe = _recipe(order, oracle)
    config = _config(order, oracle)
    order_facts = _facts(order, recipe)
    _refuse_other_content(order, order_facts)
    with workplace(order.output) as work:
        try:
            plan = _read_plan(work, order_facts) or _make_plan(order, oracle, tell)
            _tell_of(plan, order, recipe, config, tell)
            if order.dry_run:
                return len(plan.left_out)
            if not (work / _PLAN).exists():
                write_atomically(work / _PLAN, json.dumps({"order": order_facts, **plan.to_json()}))
        finally:
            if not (work / _PLAN).exists():
                _remove_traces(order.output, work)
        with closing(open_service(config, work)) as service:
            laboratory = Laboratory(recipe, service, work)
            laboratory.fill(order.output, plan.training, plan.test, {})
        problems = _finish(order, recipe, plan, engine_of(work), order_facts)
        shutil.rmtree(work)
    for problem in problems:
        tell(f"error: {problem}")
    tell(f"next: golfbench run --dataset folder:path={order.output} --oracle {order.oracle}")
    return len(plan.left_out) + len(laboratory.lost) + len(problems)


def _recipe(order: BuildOrder, oracle: Component[OracleSpec]) -> Recipe:
    expensive = is_expensive(oracle)
    first = order.first_walk if order.first_walk != AUTO else FIRST if expensive else NONE
    known = registry().has("model", first) or registry().has("oracle", first)
    if first != NONE and not known:
        raise ConfigurationError(
            f"first walk '{first}': no such model or oracle is installed; choose another with --first-walk, or none"
        )
    if not order.first_walk or order.first_walk == order.oracle:
        raise ConfigurationError("the first walk is on something cheaper than the oracle: --first-walk NAME, or none")
    rule = RULE_EXPENSIVE if expensive else RULE
    return Recipe(oracle.ref, OPTIMIZER, rule, "" if first == NONE else first, walks=True)


def _config(order: BuildOrder, oracle: Component[OracleSpec]) -> RunConfig:
    executor = registry().component(ExecutorSpec, order.executor)
    return RunConfig(executor=executor.ref, workers=order.workers, oracles=(oracle.ref,))


def _facts(order: BuildOrder, recipe: Recipe) -> dict[str, Any]:
    """Return what the content of the dataset depends on."""
    return {
        "inputs": _digest(order.inputs),
        "test": _digest(order.test),
        "oracle": order.oracle,
        "test_share": order.test_share,
        "conformers": order.conformers,
        "first_walk": recipe.first or NONE,
        "seed": order.seed,
    }


def _digest(inputs: Sequence[str]) -> str:
    parts = [sha256_of(Path(text)) if Path(text).is_file() else text for text in inputs if len(text) < 4096]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _refuse_other_content(order: BuildOrder, facts: Mapping[str, Any]) -> None:
    """Refuse a folder that holds a dataset.

    Raises:
        NothingToDoError: If it is the one that is asked for.
        ConfigurationError: If it is another one.
    """
    if not (order.output / DESCRIPTION).exists():
        return
    stated = read_description(order.output).built_with.get("order_sha256")
    if stated == _order_sha256(facts):
        raise NothingToDoError(f"{order.output} is built already")
    raise ConfigurationError(f"{order.output} holds another dataset: choose another --output")


def _order_sha256(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read_plan(work: Path, facts: Mapping[str, Any]) -> Plan | None:
    """Return the plan of a build that was interrupted.

    Raises:
        ConfigurationError: If that was another one.
    """
    if not (work / _PLAN).exists():
        return None
    kept = json.loads((work / _PLAN).read_text(encoding="utf-8"))
    if other := [key for key, value in facts.items() if kept["order"].get(key) != value]:
        raise ConfigurationError(
            f"a build with other {', '.join(other)} has begun there: give the same, choose another --output, or remove "
            f"{work}"
        )
    return Plan.from_json(kept)


def _remove_traces(output: Path, work: Path) -> None:
    """Remove the folders of a build that has not begun, unless they hold other files."""
    shutil.rmtree(work)
    if not any(output.iterdir()):
        output.rmdir()


def _make_plan(order: BuildOrder, oracle: Component[OracleSpec], tell: Tell) -> Plan:
    left_out: list[str] = []
    notes: list[str] = []
    given = read_structures(order.inputs, left_out, notes)
    if not given:
        raise ConfigurationError(f"no molecule is left: {left_out[0]}")
    if order.test:
        test = read_structures(order.test, left_out, notes)
        training = apart(given, test, left_out)
        test = renamed(training, test)
    else:
        training, test = split(given, order.test_share, order.seed)
    for note in notes:
        tell(note)
    plan = Plan(left_out=left_out)
    plan.training = _geometries(training, order.conformers, order.seed, oracle, left_out)
    plan.test = [made[0] for made in _geometries(test, 1, order.seed, oracle, left_out)]
    for part, what in ((plan.training, "training"), (plan.test, "test")):
        if not part:
            reason = f" (the first of {len(left_out)} that are left out: {left_out[0]})" if left_out else ""
            raise ConfigurationError(f"no {what} molecule is left{reason}")
    return plan


def _geometries(
    structures: Sequence[Structure], most: int, seed: int, oracle: Component[OracleSpec], left_out: list[str]
) -> list[list[Molecule]]:
    """Return conformers of the molecules that embed and that the oracle takes."""
    made = []
    for done, (structure, found) in enumerate(zip(structures, all_centroids(structures, most, seed), strict=True), 1):
        try:
            if isinstance(found, MoleculeError):
                raise found
            for molecule in found:
                precheck(oracle.spec, molecule)
            made.append(found)
        except MoleculeError as error:
            left_out.append(f"{structure.name}: {str(error).partition(': ')[2] or error}")
        if done % _EVERY == 0:
            say(f"  conformers of {done}/{len(structures)} molecules")
    return made


def _tell_of(plan: Plan, order: BuildOrder, recipe: Recipe, config: RunConfig, tell: Tell) -> None:
    """Say what there is to do, before it begins."""
    for line in plan.left_out[:_NAMED]:
        tell(f"left out: {line}")
    if len(plan.left_out) > _NAMED:
        tell(f"left out: {len(plan.left_out) - _NAMED} more")
    initial = sum(map(len, plan.training))
    steps = STEPS_AFTER_FIRST if recipe.first else STEPS
    calls = {"initial": initial, "reference": steps * len(plan.test)}
    tell(
        f"{len(plan.training)} training molecules with {initial} conformers, {len(plan.test)} test molecules; no "
        "scaffold is in both"
    )
    walk = f"a first walk on {recipe.first}, then {recipe.oracle}" if recipe.first else f"{recipe.oracle}"
    tell(
        f"oracle calls: {initial} initial, about {calls['reference']} reference ({len(plan.test)} walks of some "
        f"{steps} steps: {walk})"
    )
    planned = Dataset(
        name=order.output.name,
        method=recipe.method,
        initial=[LabelledMolecule(m, Label(np.nan, np.zeros((len(m), 3)), "")) for made in plan.training for m in made],
        test=[TestMolecule(m) for m in plan.test],
        content_hash="",
    )
    for one in hours_of(config, planned, {order.oracle: calls}, LabelCache(default_path())):
        tell(one.sentence)


def _finish(order: BuildOrder, recipe: Recipe, plan: Plan, engine: str, facts: Mapping[str, Any]) -> list[str]:
    """Describe what was written; return what is wrong with it."""
    dataset = load(order.output, Description(name=order.output.name, method=recipe.method))
    description = describe(dataset, order.oracle)
    description.built_with = {
        "command": command_of(order),
        "seed": order.seed,
        "conformers": order.conformers,
        "first_walk": recipe.first or NONE,
        "optimizer": recipe.optimizer,
        "rdkit": version("rdkit"),
        "engine": engine,
        "inputs_sha256": facts["inputs"],
        "order_sha256": _order_sha256(facts),
    }
    write_own_card(order.output, description, dataset, plan.left_out)
    write_description(order.output, description)
    return check(order.output)


def command_of(order: BuildOrder) -> str:
    """Return the command that makes the same dataset, with the names of files but not their folders."""
    default = asdict(BuildOrder((), Path(), ""))
    words = [_word(text) for text in order.inputs]
    for text in order.test:
        words += ["--test", _word(text)]
    words += ["--oracle", order.oracle]
    for key in ("test_share", "conformers", "first_walk", "seed"):
        if (value := getattr(order, key)) != default[key]:
            words += [f"--{key.replace('_', '-')}", str(value)]
    return " ".join(["golfbench datasets build", *words, "--output", order.output.name])


def _word(text: str) -> str:
    name = Path(text).name if Path(text).is_file() else text
    return name if name.replace(".", "").replace("-", "").replace("_", "").isalnum() else f"'{name}'"
