"""The defaults of a run: a dataset at the oracle's level of theory, and what is affordable with a slow oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from golfbench.environments import missing
from golfbench.learning.settings import GolfSettings
from golfbench.learning.weights import ModelChoice, usual_weights
from golfbench.registry import registry
from golfbench.runs.config import Baseline, RunConfig
from golfbench.runs.starts import trained_choices
from golfbench.sources import PARAMETER
from golfbench.specs import ComponentRef, DatasetSpec, ModelSpec, OracleSpec
from golfbench.store import stored

#: Labels that a slow oracle is asked for: about half an hour of density functional theory on two cores.
SLOW_BUDGET = 32
#: What a network without pretrained weights learns a correction to: a pretrained model whose weights are on this
#: machine, else an engine. On the training compounds of druglike-dft AIMNet2 leaves forces of 0.26 eV/Å and GFN2-xTB
#: 0.43; MACE that corrects them 0.13 and 0.24 (benchmarks/tuning_dft.py).
PRETRAINED_BASE, BASE = "aimnet2", "gfn2-xtb"
#: How such a network learns from a few dozen labels, each of which costs more than all of its training: measured on
#: the training compounds of druglike-dft (benchmarks/tuning_dft.py). There the usual baseline (80 passes, rate 1e-3)
#: leaves MACE 0.28 eV/Å of the base's 0.43.
FEW_LABELS: Mapping[str, Any] = {
    "baseline": Baseline(updates=3000, learning_rate=3.0e-3),
    "golf": GolfSettings(updates_per_label=50, initial_share=0.5),
}


@dataclass(slots=True)
class Suited:
    """A configuration that is filled in.

    Attributes:
        config: The run's.
        told: What was chosen and how to change it, one sentence each.
    """

    config: RunConfig
    told: list[str] = field(default_factory=list)

    def take(self, sentence: str, **values: Any) -> None:
        """Set what the user left open, and keep the sentence about it, if there is one."""
        unset = {key: value for key, value in values.items() if key not in self.config.model_fields_set}
        if unset:
            self.config = self.config.model_copy(update=unset)
            if sentence:
                self.told.append(sentence)


def suited(config: RunConfig) -> Suited:
    """Fill in what the user left open, by the oracles of the grid.

    The dataset is one at the oracles' level of theory. Where a call takes minutes, a few labels are asked for, picked
    by one selection, and networks that have no pretrained weights learn a correction to a cheap engine.

    Args:
        config: As it was written.
    """
    result = Suited(config)
    if config.points:
        result.told.append(
            f"models are judged on the way, with {', '.join(map(str, config.points))} labels: the learning rate is "
            "constant, since a falling one would need to know the end"
        )
    specs = [registry().component(OracleSpec, oracle) for oracle in config.oracles]
    methods = {oracle.spec.level_of_theory(oracle.parameters) for oracle in specs}
    if len(methods) == 1 and (name := _dataset_at(methods.pop(), config.dataset)):
        result.take(f"dataset {name}: its labels are at the oracle's level (--dataset for another)", dataset=name)
    if not config.models or not all(oracle.spec.slow for oracle in specs):
        return result
    oracle = str(config.oracles[0])
    result.take(f"{SLOW_BUDGET} labels, as a call of {oracle} takes long (--budget for another)", budget=SLOW_BUDGET)
    result.take("", selections=(ComponentRef("golf"),))
    if _has_engine():
        result.take("", references=(*config.references, ComponentRef(BASE)))
    choices, base = trained_choices(config), _base()
    if base and choices and not any(map(_is_pretrained, choices)):
        if "delta" not in config.model_fields_set:
            result.take("", **FEW_LABELS)
        names = ", ".join(dict.fromkeys(choice.ref.name for choice in choices))
        result.take(
            f"{names}: a fresh network that corrects {base} (--delta none, --checkpoint for another start)", delta=base
        )
    return result


def _base() -> str | None:
    """Return the best base that is on this machine; ``None`` where there is none."""
    if registry().has("model", PRETRAINED_BASE):
        spec = registry().find(ModelSpec, PRETRAINED_BASE)
        if not missing(spec) and (weights := usual_weights(spec)) and stored(spec, weights):
            return f"{PRETRAINED_BASE}:{PARAMETER}={weights.name}"
    return BASE if _has_engine() else None


def _has_engine() -> bool:
    return registry().has("oracle", BASE) and not missing(registry().find(OracleSpec, BASE))


def _dataset_at(method: str, usual: ComponentRef) -> ComponentRef | None:
    """Return the first dataset that ships with labels at a level of theory; ``None`` where the usual one has it."""
    specs = {spec.name: spec for spec in registry().specs("dataset") if isinstance(spec, DatasetSpec)}
    if specs[usual.name].method == method:
        return None
    return next((ComponentRef(s.name) for s in specs.values() if s.method == method and not s.files), None)


def _is_pretrained(choice: ModelChoice) -> bool:
    if choice.weights.kind == "auto":
        return usual_weights(registry().find(ModelSpec, choice.ref.name)) is not None
    return choice.weights.kind != "fresh"
