"""What hooks return: frozen descriptions with lazy factories, cheap to make and safe to list.

Nothing here imports a component; ``factory`` is a ``"module:attribute"`` string that is resolved when the component
is used for the first time.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from golfbench.errors import ComponentMissingError, ConfigurationError, unknown_name

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Scalar = int | float | str | bool | None
_QUOTED = r'"(?:[^"\\]|\\.)*"'
#: A text in double quotes, or one character.
_PART = re.compile(f"{_QUOTED}|.", re.DOTALL)

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


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """A file of weights made elsewhere that a model can start from: ``--checkpoint FILE --checkpoint-format NAME``.

    Attributes:
        name: What a person types.
        reader: ``"module:function"``, called with the path of the file; returns ``contracts.ImportedWeights``.
        summary: One sentence for lists.
        unsafe: Whether reading the file may run code in it: then it is read only with ``--unsafe``, in a process of
            its own, and what comes out of that process is plain tensors and numbers.
    """

    name: str
    reader: str
    summary: str
    unsafe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where ``golfbench models fetch`` gets a file of weights: out of a wheel, or from an address.

    Attributes:
        wheel: Requirement of a distribution on the package index, ``Auto3D==2.3.1``; nothing of it is installed or run.
        member: Path of the file in the wheel.
        url: Address of the file, ``http`` or ``https``.
        size_bytes: Of the file; zero where it is not known.
    """

    wheel: str = ""
    member: str = ""
    url: str = ""
    size_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse what is neither the one nor the other.

        Raises:
            ValueError: If not exactly one place is named.
        """
        if bool(self.wheel) == bool(self.url) or bool(self.wheel) != bool(self.member):
            raise ValueError("weights come from a wheel and a member of it, or from a url")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWeights:
    """Weights that a model's plugin knows by name: ``--model aimnet2:weights=wb97m-d3``.

    Attributes:
        name: What a person types.
        source: Where the file comes from.
        sha256: Of the file: another one is refused. Empty: that of the first file that could be read is remembered.
        format: One of the model's checkpoint formats.
        method: Level of theory that they were trained at.
        license: SPDX identifier.
        license_url: Where its text is; needed where it must be accepted.
        accept_licence: Whether a person must accept the licence before the file is fetched.
        citation: Whom to cite, as a DOI or arXiv number.
        summary: One sentence for lists: what they were trained on.
        elements: Atomic numbers that they know.
        charged: Whether they tell charge states apart.
    """

    name: str
    source: WeightsSource
    sha256: str = ""
    format: str
    method: str
    license: str
    license_url: str = ""
    accept_licence: bool = False
    citation: str = ""
    summary: str = ""
    elements: frozenset[int] = frozenset()
    charged: bool = False


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


#: What a selection may look at besides positions, energy and forces of a state. It pays for nothing else.
SIGHTS = ("surrogate", "committee", "features", "training_set")


@dataclass(frozen=True, kw_only=True)
class SelectionSpec(Spec):
    """A rule that picks the states to label (see ``contracts.Selection`` and ``contracts.RoundSelection``).

    Attributes:
        sees: What it looks at, of ``SIGHTS``: the energy of the surrogate at each state, the spread of a committee,
            the network's features of a state, those of the training set.
        asks_oracle: Whether it labels anything at all (``none`` does not).
    """

    sees: frozenset[str] = frozenset()
    asks_oracle: bool = True

    def __post_init__(self) -> None:
        """Refuse what no selection can see.

        Raises:
            ValueError: If a word of ``sees`` is not one of ``SIGHTS``.
        """
        if unknown := sorted(set(self.sees) - set(SIGHTS)):
            raise ValueError(f"selection '{self.name}' cannot see {', '.join(unknown)}; known: {', '.join(SIGHTS)}")

    @property
    def needs_surrogate(self) -> bool:
        """Whether it looks at the surrogate's energy of each state."""
        return "surrogate" in self.sees


@dataclass(frozen=True, kw_only=True)
class OracleSpec(Spec):
    """An engine that labels one molecule with energy and forces (see ``contracts.Oracle``).

    Attributes:
        method: Level of theory carried by each label; ``{parameter}`` fields are filled in.
        elements: Atomic numbers it supports; ``None`` means any.
        charged: Whether it takes charges other than zero.
        open_shell: Whether it takes multiplicities other than one.
        isolated: Whether the engine must run in a process of its own (it may crash or leak).
        cheap: Whether a call costs so little that it is asked in this process, uncounted: as surrogate, or as base.
        safe_in_headers: Whether a checkpoint's header, a stranger's text, may name it as base: no parameter of it
            names a program or a function to run.
        time_limit_s: Wall-clock limit of one call of an isolated engine, after which it is ended.
        fallbacks: For a geometry whose calculation does not converge: parameters to change for the second attempt,
            for the third, and so on. They must change how the answer is found, never what it is.
        refused_engines: Regular expression; labels of an engine whose version it matches in full are refused.
    """

    method: str
    elements: frozenset[int] | None = None
    charged: bool = True
    open_shell: bool = True
    isolated: bool = True
    cheap: bool = False
    safe_in_headers: bool = False
    time_limit_s: float = 600.0
    fallbacks: tuple[Mapping[str, Scalar], ...] = ()
    refused_engines: str = ""

    def options(self, parameters: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return the resolved parameters that a label depends on."""
        technical = {p.name for p in self.parameters if p.technical}
        return {name: value for name, value in self.resolve(parameters).items() if name not in technical}

    def level_of_theory(self, parameters: Mapping[str, Any]) -> str:
        """Return the method with its parameter fields filled in, for example ``wB97X-D/def2-SVP``."""
        return self.method.format(**self.resolve(parameters))


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset (see ``contracts.DatasetReader``).

    Attributes:
        method: Level of theory of its labels and minima.
    """

    method: str


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(Spec):
    """Where oracle calls run; the factory returns a ``concurrent.futures.Executor``."""


@dataclass(frozen=True, kw_only=True)
class LoggerSpec(Spec):
    """Where the curves of a training are kept (see ``contracts.Logger``); nothing that is computed depends on it."""

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


@dataclass(frozen=True, slots=True, eq=False)
class ComponentRef:
    """A component as a person writes it: a name and the parameters that differ from the defaults."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ComponentRef:
        """Parse ``psi4:method=hf,basis=sto-3g``.

        A comma in brackets or in double quotes belongs to its value: ``basis=6-31g(d,p)``. A value in double quotes is
        a JSON string: ``folder:path="first, second"``.

        Raises:
            ConfigurationError: If a parameter has no ``=``, or a value in quotes is no JSON string.
        """
        name, _, rest = text.partition(":")
        if not name.strip():
            raise ConfigurationError(f"'{text}' names no component (a model, an optimizer, ...)")
        return cls(name.strip(), {key: _unquoted(value) for key, value in _pairs(rest, text)})

    def __str__(self) -> str:
        listed = ",".join(f"{key}={_quoted(str(value))}" for key, value in self.parameters.items())
        return f"{self.name}:{listed}" if listed else self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComponentRef) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of a document be a component: text in the file, parsed once when the document is read."""
        from pydantic_core import core_schema

        return core_schema.no_info_wrap_validator_function(
            lambda value, text: value if isinstance(value, cls) else cls.parse(text(value)),
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True)
class Component(Generic[S]):
    """A component that was looked up: what a person wrote, and what a plugin offers by that name.

    ``str()`` is what the person wrote.

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


#: How a component may be named where it is looked up.
Named = Component[Any] | ComponentRef | str


def _pairs(listed: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the value, as it is written, of each parameter."""
    for item in filter(None, _split(listed)):
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"'{text}': parameters are written key=value, '{item}' is not")
        yield key.strip(), value.strip()


def _split(listed: str) -> list[str]:
    """Split at the commas outside round brackets and double quotes."""
    items, depth = [""], 0
    for part in _PART.findall(listed):
        depth = max(0, depth + (part == "(") - (part == ")"))
        if part == "," and not depth:
            items.append("")
        else:
            items[-1] += part
    return items


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        text = json.loads(value)
    except ValueError as error:
        raise ConfigurationError(f"the value {value} begins with a quote and is no JSON string: {error}") from None
    return str(text)


def _quoted(value: str) -> str:
    """Return a value as ``ComponentRef.parse`` reads it: in quotes only where it must be."""
    whole = _split(f"{value},") == [value, ""] and '"' not in re.sub(_QUOTED, "", value)
    plain = whole and value == value.strip() and not value.startswith('"')
    return value if plain else json.dumps(value, ensure_ascii=False)


def parse_arguments(text: str) -> dict[str, Any]:
    """Return keyword arguments that are the value of one parameter: ``(method=GFN1-xTB,accuracy=0.1)``.

    A value that is JSON (a number, ``true``, ``false``, ``null``, text in quotes) is read as JSON, anything else as
    text. Lists and mappings need the form of one JSON object: ``({"solvation": ["alpb", "water"]})``.

    Raises:
        ConfigurationError: If the text is neither form.
    """
    inside = text.strip()
    if inside.startswith("(") and inside.endswith(")"):
        inside = inside[1:-1].strip()
    if inside.startswith("{"):
        return _json_object(inside)
    return {name: _json_or_text(value) for name, value in _pairs(inside, f"arguments:{inside}")}


def _json_object(text: str) -> dict[str, Any]:
    try:
        arguments: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{text} is not a JSON object: {error}") from None
    return arguments


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


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
