"""How components are written: ``name:key=value,...``, read once into a ``ComponentRef``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from golfbench.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_QUOTED = r'"(?:[^"\\]|\\.)*"'
#: A text in double quotes, or one character.
_PART = re.compile(f"{_QUOTED}|.", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class ComponentRef:
    """A component as the user writes it: a name and the parameters that differ from the defaults."""

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
    """Return a value as ``ComponentRef.parse`` reads it: in quotes only where needed."""
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
