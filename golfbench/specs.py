"""What hooks return: frozen descriptions with lazy factories, cheap to make and safe to list.

Nothing here imports a component; ``factory`` is a ``"module:attribute"`` string that is resolved when the component
is used for the first time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from golfbench.errors import ComponentMissingError, ConfigurationError, unknown_name
from golfbench.notation import ComponentRef as ComponentRef
from golfbench.notation import parse_arguments as parse_arguments
from golfbench.sources import CheckpointFormat as CheckpointFormat
from golfbench.sources import DataFile as DataFile
from golfbench.sources import NamedWeights as NamedWeights
from golfbench.sources import WeightsSource as WeightsSource

Scalar = int | float | str | bool | None
#: Elements of drug-like molecules in the shipped data: H C N O F S Cl Br.
DRUGLIKE_ELEMENTS = frozenset({1, 6, 7, 8, 9, 16, 17, 35})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a component, set as ``name:key=value`` on the command line.

    Attributes:
        name: Its key.
        default: Its value when it is not given; its type is the type that values are converted to.
        help: One sentence, with the unit.
        choices: The allowed values, when only some are.
        kind: The type, needed only where the default is ``None``.
        technical: Whether results do not depend on it (threads, memory, where a program is): labels that were made
            with other values of it are the same labels.
    """

    name: str
    default: Scalar
    help: str
    choices: tuple[Scalar, ...] = ()
    kind: type | None = None
    technical: bool = False

    def convert(self, value: Any, owner: str) -> Scalar:
        """Convert a command-line or YAML value to this parameter's type.

        Raises:
            ConfigurationError: If the value has another type or is not one of the choices.
        """
        if value is None and self.default is None:
            return None
        kind = self.kind or type(self.default)
        try:
            converted = _converter(kind)(value)
        except (TypeError, ValueError, OverflowError):
            raise ConfigurationError(
                f"{owner}: parameter '{self.name}' must be {kind.__name__}, not {value!r}"
            ) from None
        if self.choices and converted not in self.choices:
            allowed = ", ".join(map(str, self.choices))
            raise ConfigurationError(f"{owner}: {self.name}={value} is not one of {allowed}")
        return converted


def _converter(kind: type) -> Callable[[Any], Scalar]:
    return {bool: _boolean, int: _integer}.get(kind, kind)


def _integer(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and value != number:  # int() would cut 1.5 to 1 in silence
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words[str(value).lower()] if str(value).lower() in words else _refuse(value)


def _refuse(value: Any) -> bool:
    raise ValueError(value)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A component that a plugin offers.

    Attributes:
        name: The field's name for it, in kebab case (``painn``, ``gfn2-xtb``).
        factory: ``"module:attribute"``, called with the parameters as keyword arguments.
        summary: One sentence for lists.
        parameters: What can be set, with defaults.
        aliases: Other names that find it.
        citation: Reference, as a DOI or arXiv number.
        license: SPDX identifier of the engine or weights behind it.
        requires: Modules that must be importable for it to run; looked for, never imported, by ``doctor``.
        install_hint: The command that installs what it requires.
        distribution: The distribution it came from; filled in by the registry.
    """

    name: str
    factory: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    citation: str = ""
    license: str = ""
    requires: tuple[str, ...] = ()
    install_hint: str = ""
    distribution: str = field(default="", compare=False)

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return every parameter with its value: the defaults overridden by ``given``.

        Raises:
            ConfigurationError: If a key is unknown (the nearest is named) or a value does not fit.
        """
        known = {p.name: p for p in self.parameters}
        for key in given:
            if key not in known:
                raise ConfigurationError(f"{self.name}: " + unknown_name("parameter", key, known))
        return {name: p.convert(given[name], self.name) if name in given else p.default for name, p in known.items()}

    def create(self, parameters: Mapping[str, Any]) -> Any:
        """Import the factory and call it with the resolved parameters.

        Raises:
            ComponentMissingError: If a package it needs is not installed.
        """
        return load_factory(self.factory, self.name, self.install_hint)(**self.resolve(parameters))


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A trainable network (see ``contracts.Network``) or a fixed potential (``contracts.Model``).

    Attributes:
        elements: Atomic numbers it can represent; ``None`` means any.
        trainable: Whether the factory returns a ``Network`` that GOLF can train.
        charged: Whether it tells charge states apart.
        uncertainty: Whether one network states an uncertainty (see ``contracts.HasUncertainty``).
        checkpoint_formats: Foreign files that it can start from.
        weights: Weights that it can start from by name.
        environment: Requirements (PEP 508) that conflict with those of other models: ``plugins install`` puts them
            into an environment of their own, whose interpreter runs the combinations of this model. Empty: none.
    """

    elements: frozenset[int] | None = None
    trainable: bool = True
    charged: bool = False
    uncertainty: bool = False
    checkpoint_formats: tuple[CheckpointFormat, ...] = ()
    weights: tuple[NamedWeights, ...] = ()
    environment: tuple[str, ...] = ()

    def supported_elements(self, parameters: Mapping[str, Any]) -> frozenset[int] | None:
        """Return the elements with these parameters: a model may have a parameter ``elements``, symbols with blanks."""
        from golfbench.molecules import parse_elements

        given = self.resolve(parameters).get("elements")
        return frozenset(parse_elements(str(given))) if given else self.elements


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Spec):
    """A batched geometry optimizer (see ``contracts.Optimizer``)."""


#: What a selection may look at besides positions, energy and forces of a state. Nothing else is computed for it.
SIGHTS = (
    "surrogate",
    "surrogate_forces",
    "twin",
    "committee",
    "features",
    "training_set",
    "tangents",
    "labels",
)


@dataclass(frozen=True, kw_only=True)
class SelectionSpec(Spec):
    """A selection picks the states to label (see ``contracts.Selection`` and ``contracts.RoundSelection``).

    Attributes:
        sees: What it looks at, of ``SIGHTS``: the energy of the surrogate at each state (with ``surrogate_forces`` its
            forces, too), that of a twin of the network, the spread of a committee, the network's features of a state,
            those of the training set, the gradients of a state's energy by the weights, the labels got on the way.
        asks_oracle: Whether it labels anything at all (``none`` does not).
        explorer: The only explorer that it makes sense with, in place of the run's; empty: the run's.
        combines: Its parameter that names other selections, separated by blanks: it sees what they see.
    """

    sees: frozenset[str] = frozenset()
    asks_oracle: bool = True
    explorer: str = ""
    combines: str = ""

    def __post_init__(self) -> None:
        """Refuse what no selection can see.

        Raises:
            ValueError: If a word of ``sees`` is not one of ``SIGHTS``.
        """
        if unknown := sorted(set(self.sees) - set(SIGHTS)):
            raise ValueError(f"selection '{self.name}' cannot see {', '.join(unknown)}; known: {', '.join(SIGHTS)}")

    @property
    def needs_surrogate(self) -> bool:
        """Whether it looks at values of the surrogate for each state."""
        return bool(self.sees & {"surrogate", "surrogate_forces"})

    def combining(self, parameters: Mapping[str, Any], find: Callable[[str], SelectionSpec]) -> SelectionSpec:
        """Return the spec with these parameters applied: a combination sees what its parts see.

        Args:
            parameters: What was given.
            find: Looks a part up.

        Raises:
            ConfigurationError: If a part is not known, or has candidates of its own.
        """
        if not self.combines:
            return self
        parts = [find(part) for part in str(self.resolve(parameters)[self.combines]).split()]
        for part in parts:
            if part.explorer:
                raise ConfigurationError(
                    f"{self.name}: '{part.name}' has candidates of its own, the explorer '{part.explorer}', and cannot "
                    "be combined"
                )
        asks = any(part.asks_oracle for part in parts) or not parts
        return replace(self, sees=self.sees.union(*(part.sees for part in parts)), asks_oracle=asks)


@dataclass(frozen=True, kw_only=True)
class OracleSpec(Spec):
    """An engine that labels one molecule with energy and forces (see ``contracts.Oracle``).

    Attributes:
        method: Level of theory carried by each label; ``{parameter}`` fields are filled in.
        elements: Atomic numbers it supports; ``None`` means any.
        charged: Whether it takes charges other than zero.
        open_shell: Whether it takes multiplicities other than one.
        isolated: Whether the engine must run in a process of its own (it may crash or leak).
        cheap: Whether a call costs so little that it is made in this process, uncounted: as surrogate, or as base.
        slow: Whether a call takes seconds to hours, so that a run asks for few labels by default.
        safe_in_headers: Whether the header of a checkpoint from elsewhere may name it as base: no parameter of it
            names a program or a function to run.
        time_limit_s: Wall-clock limit of one call of an isolated engine, after which it is ended.
        fallbacks: For a geometry whose calculation does not converge: parameters to change for the second attempt,
            for the third, and so on. They must change how the answer is found, never the answer.
        refused_engines: Regular expression; labels of an engine whose version it matches in full are refused.
        timings: Time of a call, as measured by the author of the plugin, by level of theory: the size of a molecule
            (basis functions, see ``oracles.sizes``) and seconds, some pairs.
        solvation: Name of the solvent model, where there is a parameter ``solvent``; the level of theory then names
            both.
    """

    method: str
    elements: frozenset[int] | None = None
    charged: bool = True
    open_shell: bool = True
    isolated: bool = True
    cheap: bool = False
    slow: bool = False
    safe_in_headers: bool = False
    time_limit_s: float = 600.0
    fallbacks: tuple[Mapping[str, Scalar], ...] = ()
    refused_engines: str = ""
    timings: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    solvation: str = ""

    def options(self, parameters: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return the resolved parameters that a label depends on."""
        technical = {p.name for p in self.parameters if p.technical}
        resolved = self.resolve(parameters)
        if self.solvation and resolved["solvent"] is None:  # labels that are older than this parameter have none
            del resolved["solvent"]
        return {name: value for name, value in resolved.items() if name not in technical}

    def level_of_theory(self, parameters: Mapping[str, Any]) -> str:
        """Return the method with its parameter fields filled in, for example ``wB97X-D/def2-SVP``, and the solvent."""
        resolved = self.resolve(parameters)
        solvent = resolved["solvent"] if self.solvation else None
        return self.method.format(**resolved) + (f"/{self.solvation}({solvent})" if solvent else "")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset (see ``contracts.DatasetReader``).

    Attributes:
        method: Level of theory of its labels and minima.
        files: What it is made of, where it does not ship.
        builder: ``"module:function"`` that makes such a dataset of the user's own molecules; called with a
            ``contracts.BuildOrder`` and with a function that prints a line, it returns the number of molecules that
            were left out for a failure. Empty: there is none.
    """

    method: str
    files: tuple[DataFile, ...] = ()
    builder: str = ""

    def wanted(self, parameters: Mapping[str, Any]) -> list[DataFile]:
        """Return the files that are read with these parameters: those whose split is the value of one."""
        values = set(self.resolve(parameters).values())
        values.update(split for file in self.files if file.split in values for split in file.together_with)
        return [file for file in self.files if file.split in values]


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(Spec):
    """Where oracle calls run; the factory returns a ``concurrent.futures.Executor``."""


@dataclass(frozen=True, kw_only=True)
class LoggerSpec(Spec):
    """Where the curves of a training are kept (see ``contracts.Logger``); no result depends on it."""

    def open(self, parameters: Mapping[str, Any], folder: Path, run: str, combination: str) -> Any:
        """Import the factory and begin, or go on with, the log of one combination.

        Args:
            parameters: What was given; a logger cannot have parameters called ``folder``, ``run``, ``combination``.
            folder: The log's own, inside the run directory; that of other logs of this logger and run is beside it.
            run: Id of the run.
            combination: Whose log it is.

        Raises:
            ComponentMissingError: If a package it needs is not installed.
        """
        begin = load_factory(self.factory, self.name, self.install_hint)
        return begin(**self.resolve(parameters), folder=folder, run=run, combination=combination)


@dataclass(frozen=True, kw_only=True)
class LearnerSpec(Spec):
    """What fits networks to labels (see ``learning.learner.Learner``).

    One with a parameter ``members`` gets a potential of so many networks: a committee.
    """

    def members(self, parameters: Mapping[str, Any]) -> int:
        """Return how many networks it trains."""
        return int(self.resolve(parameters).get("members") or 1)

    def open(self, parameters: Mapping[str, Any], task: Any) -> Any:
        """Import the factory and begin to learn.

        Args:
            parameters: What was given; a learner cannot have a parameter called ``task``.
            task: See ``learning.learner.Task``.

        Raises:
            ComponentMissingError: If a package it needs is not installed.
        """
        begin = load_factory(self.factory, self.name, self.install_hint)
        given = {name: value for name, value in self.resolve(parameters).items() if name != "members"}
        return begin(task, **given)


S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True)
class Component(Generic[S]):
    """A component that was looked up: what the user wrote, and what a plugin offers by that name.

    ``str()`` is what the user wrote.

    Attributes:
        kind: ``model``, ``oracle``, ...
        spec: What the plugin offers.
        ref: What was written.
    """

    kind: str
    spec: S
    ref: ComponentRef

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters that were written."""
        return self.ref.parameters

    def resolved(self) -> dict[str, Scalar]:
        """Return every parameter with its value; see ``Spec.resolve``."""
        return self.spec.resolve(self.parameters)

    def create(self) -> Any:
        """Import it and make one; see ``Spec.create``."""
        return self.spec.create(self.parameters)

    def __str__(self) -> str:
        return str(self.ref)


#: The forms in which a component may be named.
Named = Component[Any] | ComponentRef | str


def load_factory(reference: str, owner: str, install_hint: str = "") -> Any:
    """Resolve ``"module:attribute"``.

    Raises:
        ComponentMissingError: If the module or something that it imports is not installed.
        ConfigurationError: If the module has no such attribute.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        hint = f"; install it with: {install_hint}" if install_hint else ""
        raise ComponentMissingError(f"'{owner}' cannot be loaded ({error}){hint}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(f"'{owner}': module {module_name} has no '{attribute}'") from None
