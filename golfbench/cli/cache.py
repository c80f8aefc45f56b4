"""``golfbench cache info|verify|export|import|clear``: the labels that all runs on this machine share."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption, complete
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.registry import registry

if TYPE_CHECKING:
    from golfbench.oracles.cache import LabelCache, Source

RemoveOption = Annotated[bool, typer.Option("--remove", help="Remove damaged labels.")]
TargetArgument = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines to write.", show_default=False)]
SourceArgument = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines to read.", show_default=False)]
OracleOption = Annotated[
    str | None,
    typer.Option("--oracle", metavar="NAME", autocompletion=complete("oracle"), help="Only labels of this oracle."),
]
MethodOption = Annotated[
    str | None,
    typer.Option("--method", metavar="METHOD", help="Only labels of this level of theory."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
OlderOption = Annotated[
    float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Only labels made before that many days.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")]


def register(app: typer.Typer) -> None:
    """Add the group ``cache``."""
    group = typer.Typer(no_args_is_help=True, help="The labels that all runs on this machine share.")
    group.command()(info)
    group.command()(verify)
    group.command()(export)
    group.command("import")(import_labels)
    group.command()(clear)
    app.add_typer(group, name="cache")


def _cache() -> LabelCache:
    from golfbench.oracles.cache import LabelCache, default_path

    return LabelCache(default_path())


def info(json: JsonOption = False) -> None:
    """Show where the cache is, what is in it, and the seconds that the labels took, which a hit saves."""
    cache = _cache()
    sources = cache.sources()
    size = cache.path.stat().st_size if cache.path.exists() else 0
    if json:
        facts = {"schema_version": SCHEMA_VERSION, "path": str(cache.path), "bytes": size}
        console.print_json(facts | {"sources": [asdict(source) for source in sources]})
        return
    labels, wall_s = sum(source.labels for source in sources), sum(source.wall_s for source in sources)
    console.print_table(("path", "bytes", "labels", "wall_s"), [(cache.path, size, labels, f"{wall_s:.1f}")])
    if sources:
        columns = ("oracle", "method", "engine", "labels", "wall_s", "cpu_s")
        console.print_table(columns, [(s.oracle, s.method, s.engine, s.labels, *_seconds(s)) for s in sources])


def _seconds(source: Source) -> tuple[str, str]:
    """Return wall and CPU seconds; the CPU seconds are a lower bound where some are not known."""
    bound = ">=" if source.labels_without_cpu else ""
    return f"{source.wall_s:.1f}", "unknown" if source.cpu_s is None else f"{bound}{source.cpu_s:.1f}"


def verify(remove: RemoveOption = False, json: JsonOption = False) -> None:
    """Check that every label is as it was written, its geometry hash right and its numbers finite; exit 1 if not."""
    result = _cache().verify(remove)
    if json:
        console.print_json({"schema_version": SCHEMA_VERSION, **asdict(result)})
    else:
        counts = (result.labels, len(result.problems), result.removed)
        console.print_table(("labels", "problems", "removed"), [counts])
    for problem in result.problems:
        console.fail(problem)
    if result.problems:
        raise typer.Exit(1)


def export(
    file: TargetArgument, oracle: OracleOption = None, method: MethodOption = None, overwrite: OverwriteOption = False
) -> None:
    """Write labels as lines of JSON with exact numbers, for `import` on another machine; exit 4 when none matches."""
    if file.exists() and not overwrite:
        raise ConfigurationError(f"{file} exists already: choose another name, or give --overwrite")
    cache = _cache()
    if file.exists() and cache.path.exists() and file.samefile(cache.path):
        raise ConfigurationError(f"{file} is the cache itself")
    written, damaged = cache.export(file, _name_of(oracle), method)
    console.saved(f"{written} labels written to {file}")
    if damaged:
        console.fail(f"{damaged} damaged labels are left out: see `{console.PROGRAM} cache verify`")
        raise typer.Exit(1)


def import_labels(file: SourceArgument, json: JsonOption = False) -> None:
    """Add the labels of an exported file; labels that are here already stay. Exit 1 when lines are refused."""
    result = _cache().load(file)
    if json:
        console.print_json({"schema_version": SCHEMA_VERSION, **asdict(result)})
    else:
        counts = (result.added, result.known, len(result.refused))
        console.print_table(("added", "known", "refused"), [counts])
    for line in result.refused:
        console.fail(f"{file}, {line}")
    if result.refused:
        raise typer.Exit(1)


def clear(
    oracle: OracleOption = None, method: MethodOption = None, older_than: OlderOption = None, yes: YesOption = False
) -> None:
    """Remove labels: all, or those of an oracle, of a level of theory, or of a certain age."""
    from datetime import UTC, datetime, timedelta

    try:
        before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    except OverflowError:
        raise NothingToDoError(f"no label is {older_than:g} days old") from None
    cache, name = _cache(), _name_of(oracle)
    count = cache.count(name, method, before)
    if not count:
        raise NothingToDoError(f"{cache.path} has no label that matches")
    if not yes:
        _confirm(f"Remove {count} labels from {cache.path}?")
    console.note(f"{cache.clear(name, method, before)} labels removed")


def _confirm(question: str) -> None:
    """Ask the user at the terminal; refuse if there is no terminal."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask at: give --yes")
    typer.confirm(question, abort=True, err=True)


def _name_of(oracle: str | None) -> str | None:
    """Return the name behind an alias; labels may be of an oracle that is not installed here."""
    return next((spec.name for spec in registry().specs("oracle") if oracle in spec.aliases), oracle)
