"""``golfbench optimizers|selections|oracles|executors|loggers list``."""

from __future__ import annotations

from collections.abc import Callable

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION, as_json
from golfbench.cli.options import JsonOption
from golfbench.environments import missing
from golfbench.registry import plural, registry

LISTED_KINDS = ("optimizer", "selection", "oracle", "executor", "logger")


def register(app: typer.Typer) -> None:
    """Add one group with ``list`` for each kind of component."""
    for kind in LISTED_KINDS:
        group = typer.Typer(no_args_is_help=True, help=f"The {plural(kind)} that are installed.")
        group.command("list", help=f"List the {plural(kind)} that are installed.")(lister(kind))
        app.add_typer(group, name=plural(kind))


def lister(kind: str) -> Callable[[bool], None]:
    """Return the command that lists components of a kind."""

    def list_components(json: JsonOption = False) -> None:
        show_components(kind, json)

    return list_components


def show_components(kind: str, json: bool) -> None:
    """Print every component of a kind: name, summary, aliases, distribution, what is missing."""
    specs = registry().specs(kind)
    if json:
        listed = [as_json(kind, spec) for spec in specs]
        console.print_json({"schema_version": SCHEMA_VERSION, plural(kind): listed})
        return
    rows = [(s.name, s.summary, ", ".join(s.aliases), s.distribution, ", ".join(missing(s))) for s in specs]
    console.print_table(("name", "summary", "also", "distribution", "missing"), rows)
