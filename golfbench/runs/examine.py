"""What a run refuses before anything is computed; ``--dry-run`` refuses the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from golfbench.benchmark.soundness import overlap
from golfbench.chemistry import check_topology
from golfbench.contracts import Dataset
from golfbench.environments import missing
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.learning.opening import is_oracle, is_potential
from golfbench.molecules import Molecule, check_elements, check_molecule, group_of
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.runs.baseline import check_weights
from golfbench.runs.config import RunConfig
from golfbench.runs.starts import is_trainable, trained_choices
from golfbench.specs import ComponentRef, ModelSpec, Named, OracleSpec, SelectionSpec, Spec
from golfbench.training_sets import is_large, sample, sampled

#: Molecules that a warning names.
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Examined:
    """What the user is told before a run begins.

    Attributes:
        unjudged: Why the surrogate cannot judge a training molecule, by its id; empty if no selection looks at it.
        warnings: One sentence each.
    """

    unjudged: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def examine(config: RunConfig, dataset: Dataset, oracles: Sequence[ComponentRef], unsafe: bool) -> Examined:
    """Refuse what cannot be run.

    Args:
        config: The grid, or the part of it that this interpreter runs.
        dataset: What it is trained on and judged with.
        oracles: Oracles of the grid that are used.
        unsafe: Whether files may be read that can run code.

    Raises:
        ComponentMissingError: If something that is named is not installed.
        ConfigurationError: If the surrogate can judge no training molecule.
        MoleculeError: If an oracle or a model cannot take a molecule.
        CheckpointError: If a checkpoint cannot be used.
    """
    warnings = list(_check_installed(config, oracles))
    for ref in oracles:
        spec = registry().find(OracleSpec, ref)
        _check_molecules(config, dataset, spec)
        warnings += check_weights(config, dataset, spec.level_of_theory(ref.parameters), unsafe)
    selections = [registry().find(SelectionSpec, selection) for selection in config.selections]
    if any((spec.explorer or config.golf.explorer) == "given" for spec in selections):
        check_trajectories(dataset)
    watched = [s for s in config.selections if registry().find(SelectionSpec, s).needs_surrogate]
    walks = any(map(is_trainable, config.models)) and config.budget
    unjudged = _unjudged(config.surrogate, dataset) if watched and walks else {}
    if unjudged:
        warnings.append(_warning(config.surrogate, watched, unjudged, len(sampled(dataset.initial))))
    if text := overlap(dataset):
        warnings.append(text)
    if is_large(dataset.initial):
        looked_at = len(sampled(dataset.initial))
        warnings.append(
            f"{looked_at} of the {len(dataset.initial)} labels of the initial set stand for all in its hash, in checks "
            "and reference energies; each label is checked again when it is learned from"
        )
    return Examined(unjudged, warnings)


def check_trajectories(dataset: Dataset) -> None:
    """Refuse trajectories that nothing can be learned from.

    Raises:
        ConfigurationError: If the dataset has none, or none of a training molecule, or one of other atoms.
    """
    atoms = {group_of(item.molecule.id): item.molecule.numbers for item in sample(dataset.initial)}
    known = {name: states for name, states in dataset.trajectories.items() if name in atoms}
    if not known:
        of_training = " of its training molecules" if dataset.trajectories else ""
        raise ConfigurationError(
            f"the explorer 'given' offers trajectories of the dataset, and '{dataset.name}' has none{of_training}: "
            "give --explorer walks, or another --dataset"
        )
    for name, states in known.items():
        for state in states:
            if not np.array_equal(state.numbers, atoms[name]):
                raise ConfigurationError(f"dataset '{dataset.name}': the trajectory of {name} has other atoms than it")


def _check_installed(config: RunConfig, oracles: Sequence[ComponentRef]) -> Iterator[str]:
    """Look for what each component requires; a distant executor's workers look for their engines themselves.

    Where labels of any version are used, a run may need no call at all: a missing oracle is then only a warning.

    Raises:
        ComponentMissingError: If something is not installed.
    """
    local = config.executor.name == "local"
    for kind, named in _named(config, oracles if local else ()):
        try:
            _check_component(kind, registry().get(kind, named), named)
        except ComponentMissingError as error:
            if config.cache != "any-version" or kind != "oracle" or named not in oracles:
                raise
            yield f"{error}; known labels are used, and the run ends where one is not known"


def _check_component(kind: str, spec: Spec, named: Named) -> None:
    if absent := missing(spec):
        cure = spec.install_hint or f"pip install {' '.join(absent)}"
        raise ComponentMissingError(f"{kind} '{spec.name}' needs {', '.join(absent)}, not installed: {cure}")
    if isinstance(spec, OracleSpec) and spec.isolated and not spec.requires:  # only opening it tells
        with open_oracle(named, registry()) as oracle:
            _ = oracle.version


def _named(config: RunConfig, oracles: Sequence[ComponentRef]) -> Iterator[tuple[str, Named]]:
    yield from (("optimizer", ref) for ref in (*config.optimizers, config.protocol.reference_optimizer))
    yield from (("selection", ref) for ref in config.selections)
    yield from (("oracle", ref) for ref in (*oracles, *config.references))
    if config.delta and not is_potential(config.delta):
        yield "oracle", config.delta
    yield from (("oracle" if is_oracle(ref) else "model", ref) for ref in config.models)
    yield "dataset", config.dataset
    yield "executor", config.executor


def _check_molecules(config: RunConfig, dataset: Dataset, oracle: OracleSpec) -> None:
    """Refuse a molecule that an oracle or a model cannot take."""
    owners: dict[str, frozenset[int] | None] = {oracle.name: oracle.elements}
    for choice in trained_choices(config):
        if choice.weights.kind in ("auto", "fresh"):
            model = registry().find(ModelSpec, choice.ref.name)
            owners[model.name] = model.supported_elements(choice.ref.parameters)
    if config.delta and not is_potential(config.delta):
        delta = registry().find(OracleSpec, config.delta)
        owners[delta.name] = delta.elements
    initial = sample(dataset.initial)
    trained = frozenset(int(z) for item in initial for z in item.molecule.numbers)
    owners[f"the initial set of '{dataset.name}'"] = trained
    molecules = [item.molecule for item in initial] + [item.molecule for item in dataset.test]
    for molecule in molecules:
        check_molecule(molecule)
        for name, elements in owners.items():
            check_elements(molecule, elements, name)
        if molecule.smiles is not None:
            check_topology(molecule)


def _unjudged(surrogate: ComponentRef, dataset: Dataset) -> dict[str, str]:
    """Return why the surrogate has no energy for a training molecule, by its id."""
    with open_oracle(surrogate, registry()) as oracle:

        def problem(molecule: Molecule) -> str:
            try:
                oracle.energy(molecule)
            except OracleError as error:
                return str(error)
            return ""

        problems = {item.molecule.id: problem(item.molecule) for item in sample(dataset.initial)}
    return {name: text for name, text in problems.items() if text}


def _warning(
    surrogate: ComponentRef, selections: Sequence[ComponentRef], unjudged: Mapping[str, str], count: int
) -> str:
    """Report what the surrogate cannot judge.

    Raises:
        ConfigurationError: If it can judge nothing.
    """
    first = next(iter(unjudged.values()))
    who = f"selection {', '.join(map(str, selections))}: the surrogate {surrogate}"
    if len(unjudged) == count:
        raise ConfigurationError(
            f"{who} can judge none of the {count} training molecules ({first}): give another --surrogate, or another "
            "--selection"
        )
    names = ", ".join([*list(unjudged)[:EXAMPLES], *(["..."] if len(unjudged) > EXAMPLES else [])])
    return (
        f"{who} cannot judge {len(unjudged)} of {count} training molecules ({names}; {first}): no trajectory starts "
        "from them, only their own labels are learned from"
    )
