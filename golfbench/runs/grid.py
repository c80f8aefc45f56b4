"""The grid of a run, and what it will cost before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from golfbench.benchmark.prepare import expected_calls, limited, spread
from golfbench.benchmark.records import Identity, Stage, combination_id
from golfbench.contracts import Dataset
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.fetching import sha256_of
from golfbench.learning.opening import is_oracle
from golfbench.learning.weights import ModelChoice, choices, without_weights
from golfbench.oracles.ledger import PURPOSES, shown_purposes
from golfbench.registry import registry
from golfbench.runs.bases import check_base, is_engine
from golfbench.runs.config import RunConfig
from golfbench.runs.loggers import check_loggers
from golfbench.runs.starts import is_trainable, most_initial_labels
from golfbench.sources import PARAMETER
from golfbench.specs import ComponentRef, LearnerSpec, ModelSpec, OracleSpec, SelectionSpec

#: Digits of the SHA-256 that a row names a file of weights by.
DIGITS = 8


@dataclass(frozen=True, slots=True)
class Combination:
    """Model × optimizer × selection × oracle, and a seed.

    ``selection`` is ``None`` for a model that was trained with none (before training, or fixed), ``seed`` where nothing
    is random, ``optimizer`` for end points that were made elsewhere: ``model`` is then their name. ``budget`` is set
    for a model that is judged on the way: the labels asked for until then.
    """

    model: ComponentRef
    optimizer: ComponentRef | None
    selection: ComponentRef | None
    oracle: ComponentRef
    seed: int | None
    budget: int | None = None

    @property
    def names(self) -> dict[str, str]:
        """Its components as the user writes them, which is how records have them."""
        return {
            "model": str(self.model),
            "optimizer": str(self.optimizer or ""),
            "selection": str(self.selection or ""),
            "oracle": str(self.oracle),
        }

    @property
    def id(self) -> str:
        """Its id in records, ledger and random streams."""
        return combination_id(**self.names, seed=self.seed, budget=self.budget)

    def before(self, seed: int | None) -> Combination:
        """Return the row of the baseline that it starts from; without a seed, all seeds share that baseline."""
        return Combination(self.model, self.optimizer, None, self.oracle, seed)

    def identity(self, stage: Stage, method: str) -> Identity:
        """Return what its records have in common."""
        return Identity(
            combination=self.id,
            **self.names,
            seed=self.seed,
            stage=stage,
            method=method,
            budget=self.budget,
        )


def combinations(config: RunConfig) -> list[Combination]:
    """Return the trained combinations of a grid; fixed models take no selection and no seed."""
    listed = []
    for oracle in config.oracles:
        for optimizer in config.optimizers:
            for model in filter(is_trainable, config.models):
                listed += [
                    Combination(shown(model), optimizer, selection, oracle, seed)
                    for seed in config.seeds
                    for selection in config.selections
                ]
    return listed


def after_rows(config: RunConfig, trained: Combination) -> list[Combination]:
    """Return the rows of a combination's models that have learned from labels, in order: on the way, and at the end.

    Without a budget there is none: only what it starts from is judged.
    """
    on_the_way = [replace(trained, budget=budget) for budget in config.points]
    return [*on_the_way, trained] if config.budget else []


def fixed_rows(config: RunConfig) -> list[Combination]:
    """Return the rows of end points and of fixed models: references, and models of the grid that are not trainable."""
    fixed = dict.fromkeys([*config.references, *(m for m in config.models if not is_trainable(m))])
    rows = []
    for oracle in config.oracles:
        rows += [Combination(ComponentRef(ends.name), None, None, oracle, None) for ends in config.end_points]
        for optimizer in config.optimizers:
            rows += [Combination(model, optimizer, None, oracle, None) for model in fixed]
    return rows


def shown(model: ComponentRef) -> ComponentRef:
    """Return a model of the grid as rows name it: a file of weights by its name and hash, not by its path.

    Raises:
        CheckpointError: If the file does not exist.
    """
    path = ModelChoice.parse(model).weights.path if PARAMETER in model.parameters else None
    if path is None:
        return model
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    name = f"{path.name}@{sha256_of(path)[:DIGITS]}"
    return replace(model, parameters={**model.parameters, PARAMETER: name})


def written(config: RunConfig, row: Combination) -> ComponentRef:
    """Return the model of a trained row as the configuration has it."""
    return next(model for model in filter(is_trainable, config.models) if shown(model) == row.model)


def check_names(config: RunConfig) -> None:
    """Look every component up and resolve its parameters, before anything expensive.

    Raises:
        ConfigurationError: For an unknown name (with a suggestion) or parameter, or a
            device that is not there.
        ComponentMissingError: If a package that a logger needs is not installed.
    """
    check_device(config.device)
    check_loggers(config.loggers)
    oracles = (*config.oracles, *config.references, config.surrogate)
    named = {
        "optimizer": (*config.optimizers, config.protocol.reference_optimizer),
        "selection": config.selections,
        "oracle": (*oracles, *filter(is_oracle, config.models)),
        "model": tuple(m for m in config.models if not is_oracle(m)),
        "dataset": (config.dataset,),
        "executor": (config.executor,),
        "learner": (config.learner,),
    }
    for kind, refs in named.items():
        for ref in refs:
            registry().get(kind, ref).resolve(without_weights(ref).parameters)
    choices(filter(is_trainable, config.models), config.checkpoint, config.checkpoint_format)
    _check_committee(config)
    _check_explorer(config)
    methods = [registry().find(OracleSpec, ref).level_of_theory(ref.parameters) for ref in config.oracles]
    if config.delta:
        check_base(config.delta, methods)


def _check_committee(config: RunConfig) -> None:
    """Refuse a selection that looks at a spread where a model is one network without an uncertainty.

    Raises:
        ConfigurationError: Naming the selection, and the learner that gives it what it looks at.
    """
    if registry().find(LearnerSpec, config.learner).members(config.learner.parameters) > 1:
        return
    without = [m for m in filter(is_trainable, config.models) if not registry().find(ModelSpec, m).uncertainty]
    for selection in config.selections:
        spec = registry().find(SelectionSpec, selection)
        if without and "committee" in spec.sees:
            raise ConfigurationError(
                f"selection '{selection}' looks at the spread of a committee, and learner '{config.learner}' trains "
                f"one network of {without[0]}: give --learner committee:members=4, or another --selection"
            )


def _check_explorer(config: RunConfig) -> None:
    """Refuse a selection that watches walks where there are no walks.

    Raises:
        ConfigurationError: Naming the selection.
    """
    for selection in config.selections:
        spec = registry().find(SelectionSpec, selection)
        if config.golf.explorer == "relaxed" and (spec.needs_surrogate or "twin" in spec.sees):
            raise ConfigurationError(
                f"selection '{selection}' watches the surrogate along a walk, and the explorer 'relaxed' offers minima "
                "of the surrogate only: give --selection last, or another --explorer"
            )


def check_device(name: str) -> None:
    """Refuse a device that torch cannot use.

    Raises:
        ConfigurationError: With torch's reason.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    Attributes:
        rows: Trained combinations and fixed models.
        calls_by_oracle: Oracle calls by oracle and purpose, at most, over the whole run.
    """

    rows: list[Combination]
    calls_by_oracle: dict[str, dict[str, int]]

    @property
    def calls(self) -> dict[str, int]:
        """Oracle calls by purpose, at most, over the whole run."""
        counts = {p: sum(calls.get(p, 0) for calls in self.calls_by_oracle.values()) for p in PURPOSES}
        return {purpose: counts[purpose] for purpose in shown_purposes(counts.__getitem__)}


#: Whether a row is one of those in question.
Owns = Callable[[Combination, Stage], bool]


def plan(config: RunConfig, dataset: Dataset, owns: Owns = lambda row, stage: True) -> Plan:
    """Return the grid and an upper bound of the oracle calls that it will cost, by purpose.

    Args:
        config: The whole grid.
        dataset: What it is trained on and judged with.
        owns: Leaves rows out, those of other shards for example; calls that all rows need are counted in full.
    """
    dataset = limited(dataset, config.limit)
    trained = [row for row in combinations(config) if owns(row, "after")] if config.budget else []
    fixed = [row for row in fixed_rows(config) if owns(row, "reference")]
    # Baselines are judged once per seed at most, the trained and the fixed once each.
    before = dict.fromkeys(row for c in combinations(config) if owns(row := c.before(c.seed), "before"))
    asking = [c for c in trained if _rule_of(c).asks_oracle]
    calls: dict[str, dict[str, int]] = {}
    for oracle in config.oracles:
        method = registry().find(OracleSpec, oracle).level_of_theory(oracle.parameters)
        labels = most_initial_labels(config, dataset, method)
        expected = expected_calls(dataset, method, config.protocol, labels)
        after = [row for combination in trained for row in after_rows(config, combination)]
        judged = sum(row.oracle == oracle for row in (*after, *fixed, *before))
        calls[str(oracle)] = {
            "initial": expected.initial,
            "training": sum(c.oracle == oracle for c in asking) * config.budget,
            "reference": expected.reference,
            "evaluation": judged * len(dataset.test) * (1 + len(config.protocol.evaluation_steps)),
        }
    if config.delta and is_engine(config.delta):
        # A call at each step of each walk on a network, and one for each label that is learned from.
        learned = len(spread(dataset.initial, labels)) + len(asking) * config.budget
        explored = len(asking) * config.budget * (config.golf.steps * config.golf.inner_steps + 1)
        judged = (
            (len(trained) * (1 + len(config.points)) + len(before))
            * len(dataset.test)
            * (config.protocol.rule.max_steps + 1)
        )
        calls.setdefault(config.delta, {})["base"] = learned + explored + judged
    if states := _judged_by_surrogate(config, dataset, asking):
        calls.setdefault(str(config.surrogate), {})["selection"] = states
    return Plan([*fixed, *(trained if config.budget else before)], calls)


def _judged_by_surrogate(config: RunConfig, dataset: Dataset, asking: Sequence[Combination]) -> int:
    """Return how many states a surrogate that is an engine is asked for, at most."""
    if not is_engine(str(config.surrogate)):
        return 0
    golf = config.golf
    if golf.explorer == "relaxed":
        return len(asking) * config.budget * (golf.steps * golf.inner_steps + 1)
    longest = max(map(len, dataset.trajectories.values()), default=0)
    states = longest if golf.explorer == "given" else golf.steps + 1
    return sum(_rule_of(c).needs_surrogate for c in asking) * config.budget * states


def _rule_of(trained: Combination) -> SelectionSpec:
    assert trained.selection is not None
    return registry().find(SelectionSpec, trained.selection)
