"""Specs in words and in JSON, without importing components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from golfbench.environments import missing, own_environment
from golfbench.specs import CheckpointFormat, DataFile, ModelSpec, NamedWeights, Parameter, Spec
from golfbench.store import fetch_command, stored

SCHEMA_VERSION = 1
#: Fields of every spec, which have lines of their own; the others are capabilities.
COMMON_FIELDS = frozenset(field.name for field in fields(Spec))
#: Of the elements from 1 on; ASE has them, too, but takes half a second to import.
_SYMBOLS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb
Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db
Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""


def as_json(kind: str, spec: Spec) -> dict[str, Any]:
    """Return every field of the spec as JSON values, with ``kind`` and what is ``missing``."""
    described = {field.name: _plain(getattr(spec, field.name)) for field in fields(spec)}
    if isinstance(spec, ModelSpec):
        described["weights"] = [_weights_as_json(spec, weights) for weights in spec.weights]
    return {"kind": kind, **described, "missing": missing(spec)}


def _weights_as_json(spec: ModelSpec, weights: NamedWeights) -> dict[str, Any]:
    path = stored(spec, weights)
    facts = {**asdict(weights), "elements": sorted(weights.elements)}
    return {**facts, "path": str(path) if path else None, "fetch": fetch_command(spec, weights)}


def _plain(value: Any) -> Any:
    if isinstance(value, Parameter):
        return {
            "name": value.name,
            "type": (value.kind or type(value.default)).__name__,
            "default": value.default,
            "choices": list(value.choices),
            "help": value.help,
        }
    if isinstance(value, CheckpointFormat | DataFile):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value


def as_lines(kind: str, spec: Spec) -> Iterator[str]:
    """Yield what ``plugins show`` prints of a component."""
    also = f" (also {', '.join(spec.aliases)})" if spec.aliases else ""
    yield f"{kind} {spec.name}{also}: {spec.summary}"
    yield f"  distribution  {spec.distribution}"
    yield f"  factory       {spec.factory}"
    for field in fields(spec):
        if field.name not in COMMON_FIELDS:
            yield f"  {field.name.replace('_', ' '):<13} {_in_words(field.name, getattr(spec, field.name))}"
    absent = missing(spec)
    here = not (isinstance(spec, ModelSpec) and own_environment(spec))
    for module in spec.requires if here else absent:
        yield f"  requires      {module} ({'missing' if module in absent else 'found'})"
    if absent and spec.install_hint:
        yield f"  install with  {spec.install_hint}"
    for name in ("license", "citation"):
        if getattr(spec, name):
            yield f"  {name:<13} {getattr(spec, name)}"
    for parameter in spec.parameters:
        choices = f" (one of {', '.join(map(str, parameter.choices))})" if parameter.choices else ""
        yield f"  parameter     {parameter.name}={_in_words('', parameter.default)}{choices}  {parameter.help}"


def _in_words(field: str, value: Any) -> str:
    if field == "elements":
        return symbols(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(map(_item, value)) or "none"
    return "none" if value is None else str(value)


def _item(value: Any) -> str:
    if isinstance(value, NamedWeights):
        return f"{value.name} ({value.method}; {value.license})"
    if not isinstance(value, CheckpointFormat):
        return str(value)
    return f"{value.name} ({value.summary.rstrip('.')}{'; needs --unsafe' if value.unsafe else ''})"


def symbols(elements: frozenset[int] | None) -> str:
    """Return the symbols of elements, a long row of neighbours as ``H to Rn``; ``None`` is any."""
    if elements is None:
        return "any"
    numbers, names = sorted(elements), _SYMBOLS.split()
    if len(numbers) > 10 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{names[numbers[0] - 1]} to {names[numbers[-1] - 1]}"
    return " ".join(names[number - 1] for number in numbers)
