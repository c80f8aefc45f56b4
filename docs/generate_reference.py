"""Write the pages of reference from docstrings, or with ``--check`` prove that they are up to date.

``configuration.md`` has the keys of a run's YAML file, ``files.md`` those of the files that a run leaves behind,
``hooks.md`` the hooks, the fields of specs and the contracts.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from golfbench import contracts, hookspecs, specs
from golfbench.benchmark import metrics, protocol, records
from golfbench.learning import settings
from golfbench.oracles import ledger, running
from golfbench.runs import config, costs, manifest

HERE = Path(__file__).parent
#: The parts of a configuration, by the key that they stand under.
PARTS: dict[str, type[BaseModel]] = {
    "": config.RunConfig,
    "protocol": protocol.Protocol,
    "golf": settings.GolfSettings,
    "training": settings.TrainSettings,
    "fine_tuning": settings.FineTuning,
    "baseline": config.Baseline,
    "limits": config.CallLimits,
    "end_points": config.EndPoints,
}
#: The documents of a run directory: file, what it is, and the models whose fields it has.
DOCUMENTS: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    ("manifest.json", "one object", (manifest.Manifest, manifest.RunData, manifest.Origin, manifest.Hardware)),
    ("records.jsonl", "one line for each molecule of each row", (records.Record,)),
    ("oracle_calls.jsonl", "the ledger: one line for each call", (ledger.OracleCall,)),
    ("costs.jsonl", "what training a network cost, a line each time that a stage worked", (costs.CostLine,)),
    ("running.json", "the calls that run now; for people only", (running.RunningCall,)),
    ("summary.json", "the rows of the table, also what `run --json` prints", (metrics.Row,)),
)
SPECS: tuple[type, ...] = (
    specs.Parameter,
    specs.Spec,
    *specs.Spec.__subclasses__(),
    specs.DataFile,
    specs.CheckpointFormat,
    specs.NamedWeights,
)
NOTE = "<!-- made by docs/generate_reference.py: edit the docstrings -->"
CONFIGURATION = f"""\
# Configuration

{NOTE}

`golfbench run FILE` reads a YAML file with these keys; an unknown one is refused with its path. What is given on the
command line counts more than the environment, the environment more than the file, the file more than the default. In
square brackets stand the values of the GOLF paper or of its published code."""
FILES = f"""\
# Files of a run

{NOTE}

A run writes everything to `runs/<run_id>/`. Beside the documents below there are `labels.db` (what was learned from, an
ASE database in the format of the GOLF paper), `checkpoints/` (weights, `.safetensors`), `trajectories/` (end points,
`.extxyz`), `logs/` (curves, where there is a logger), `log.txt` and `lock`. JSON has no NaN, times are ISO 8601 in UTC,
and a field that leaves the process has its unit in its name. A newer version may add fields; `schema_version`
rises when one goes or changes its meaning."""
HOOKS = f"""\
# Hooks, specs, contracts

{NOTE}

A plugin is a module that is named in the entry-point group `golfbench`. It implements any of these hooks. What they
return are specs; what the factory of a spec makes keeps a contract. [Writing plugins](plugins.md) says what each kind
must do."""


def attributes(kind: type) -> dict[str, str]:
    """Return what docstrings say of the attributes of a class, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if base.__module__.startswith("golfbench") else ""
        section = re.search(r"^Attributes:\n((?: {4}.*\n?)+)", text, re.MULTILINE)
        for entry in re.split(r"\n(?= {4}\w)", section[1]) if section else ():
            name, _, meaning = entry.partition(":")
            found[name.strip()] = markdown(meaning)
    return found


def markdown(text: str) -> str:
    """Return a docstring's text as one line of Markdown for a cell of a table."""
    plain = re.sub(r"``([^`]*)``", r"`\1`", " ".join(text.split()))
    return plain.replace("|", "\\|").replace("<", "&lt;")


def introduction(kind: Any) -> str:
    """Return what stands in a docstring before its first section, as Markdown."""
    text = re.split(r"\n\n?(?:Attributes|Args|Returns|Raises|Example):\n", inspect.getdoc(kind) or "")[0]
    return "\n\n".join(markdown(paragraph) for paragraph in text.split("\n\n"))


def shown(value: Any) -> str:
    """Return a default value as a person writes it."""
    if value is PydanticUndefined or value is dataclasses.MISSING:
        return "must be given"
    if isinstance(value, BaseModel):
        return "see below"
    if value in (None, "", (), {}, frozenset()):
        return "–"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown, or nothing where there is no row."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if len(lines) > 2 else ""


def said(kind: type, name: str) -> str:
    """Return what the docstrings say of a field.

    Raises:
        SystemExit: If they say nothing.
    """
    known = {"schema_version": "Version of this schema.", **attributes(kind)}
    if name not in known:
        sys.exit(f"{kind.__module__}.{kind.__name__}: its docstring says nothing of '{name}'")
    return known[name]


def keys(kind: type[BaseModel]) -> str:
    """Return the table of a part of the configuration."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in kind.model_fields.items()}
    rows = ((f"`{name}`", shown(default), said(kind, name)) for name, default in defaults.items())
    return table(("key", "default", "meaning"), rows)


def configuration() -> str:
    """Return the page of the configuration."""
    parts = [CONFIGURATION]
    for place, kind in PARTS.items():
        parts += [f"## `{place}`", introduction(kind)] if place else []
        parts += [keys(kind)]
    return "\n\n".join(parts) + "\n"


def fields_of(kind: type) -> str:
    """Return the table of a document's fields."""
    names = kind.model_fields if issubclass(kind, BaseModel) else [field.name for field in dataclasses.fields(kind)]
    return table(("field", "meaning"), ((f"`{name}`", said(kind, name)) for name in names))


def files() -> str:
    """Return the page of the files of a run."""
    parts = [FILES]
    for name, what, kinds in DOCUMENTS:
        parts += [f"## `{name}`", f"{what[0].upper()}{what[1:]}."]
        for kind in kinds:
            parts += [*([f"### {kind.__name__}", introduction(kind)] if kind is not kinds[0] else []), fields_of(kind)]
    return "\n\n".join(parts) + "\n"


def members(kind: type) -> Iterator[tuple[str, ...]]:
    """Yield the methods and properties of a contract, with the first paragraph of what they say."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__") and function.__doc__:
            signature = inspect.signature(function)
            arguments = ", ".join(word for word in signature.parameters if word != "self")
            call = name if isinstance(member, property) else f"{name}({arguments})"
            yield f"`{call}`", introduction(function).partition("\n\n")[0]


def spec_fields(kind: type) -> str:
    """Return the table of a spec's fields; those of every spec are in the table of ``Spec``."""
    common = dataclasses.fields(specs.Spec) if kind is not specs.Spec and issubclass(kind, specs.Spec) else ()
    own = [field for field in dataclasses.fields(kind) if field.name not in {shared.name for shared in common}]
    defaults = {f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory() for f in own}
    rows = ((f"`{name}`", shown(default), said(kind, name)) for name, default in defaults.items())
    return table(("field", "default", "meaning"), rows)


def hooks() -> str:
    """Return the page of hooks, specs and contracts."""
    parts = [HOOKS, "## Hooks"]
    for name, hook in vars(hookspecs).items():
        if name.startswith(f"{hookspecs.PROJECT}_"):
            example = "\n".join(re.findall(r"^\s*(?:>>>|\.\.\.) ?(.*)$", hook.__doc__, re.MULTILINE))
            parts += [f"### `{name}`", introduction(hook), f"```python\n{example}\n```"]
    parts.append("## Specs")
    for kind in SPECS:
        parts += [f"### `{kind.__name__}`", introduction(kind), spec_fields(kind)]
    parts.append("## Contracts")
    for name, kind in vars(contracts).items():
        if name != "Protocol" and getattr(kind, "_is_protocol", False):
            parts += [f"### `{name}`", introduction(kind), table(("member", "what it does"), members(kind))]
    return "\n\n".join(part for part in parts if part) + "\n"


PAGES = {"configuration.md": configuration, "files.md": files, "hooks.md": hooks}


def main() -> None:
    """Write or check the pages."""
    for name, page in PAGES.items():
        path = HERE / name
        if "--check" not in sys.argv[1:]:
            path.write_text(page(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page():
            sys.exit(f"docs/{name} is out of date: run `make docs`")


if __name__ == "__main__":
    main()
