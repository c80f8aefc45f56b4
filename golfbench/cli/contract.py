"""``golfbench plugins check|new``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import JsonOption
from golfbench.cli.streams import session
from golfbench.environments import check_here, own_environment
from golfbench.errors import ConfigurationError, unknown_name
from golfbench.registry import KINDS, Registry, registry
from golfbench.specs import ModelSpec

if TYPE_CHECKING:
    from golfbench.testing import CheckResult

COLUMNS = ("component", "check", "result", "measured", "explanation")
#: ``(kind, reference)``.
Target = tuple[str, str]


def _complete(incomplete: str) -> list[str]:
    found = registry()
    names = {spec.name for kind in KINDS for spec in found.specs(kind)} | {plugin.name for plugin in found.plugins}
    return sorted(name for name in names if name.startswith(incomplete))


NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="A component, with parameters after a colon if wanted, or a plugin: then all of its components.",
        autocompletion=_complete,
        show_default=False,
    ),
]


def check(names: NamesArgument, json: JsonOption = False) -> None:
    """Check that components keep the contract: one line for each check; exit 1 when one failed."""
    from golfbench.testing import Examination

    targets = [target for name in names for target in _targets(registry(), name)]
    _check_here(targets)
    examinations = [(target, Examination(*target)) for target in targets]  # refuses a mistyped name before any work
    examined: list[tuple[Target, list[CheckResult]]] = []
    for target, examination in examinations:
        console.note(f"checking {' '.join(target)}")
        with examination:
            examined.append((target, list(examination.results())))
    failed = sum(result.status == "failed" for _, results in examined for result in results)
    if json:
        components = [_component_json(*entry) for entry in examined]
        console.print_json({"schema_version": SCHEMA_VERSION, "passed": not failed, "components": components})
    else:
        console.print_table(COLUMNS, [_row(target, result) for target, results in examined for result in results])
    if failed:
        console.fail(f"{failed} checks failed")
        raise typer.Exit(1)


def _check_here(targets: list[Target]) -> None:
    """Continue in the interpreter of a model's own environment, if nothing else is to be checked.

    Raises:
        ConfigurationError: If there is more to check.
    """
    for kind, reference in targets:
        spec = registry().get(kind, reference)
        if isinstance(spec, ModelSpec) and own_environment(spec):
            if len(targets) > 1:
                raise ConfigurationError(f"model '{spec.name}' has an environment of its own: check it alone")
            check_here(spec)


def _targets(found: Registry, name: str) -> list[Target]:
    """Return every component of the plugin of that name, or the components of that name.

    Raises:
        ConfigurationError: If there is none, or its plugin did not load.
    """
    plugins = [p for p in found.plugins if name in (p.name, p.distribution)]
    for plugin in plugins:
        if plugin.error:
            raise ConfigurationError(f"plugin '{plugin.name}' did not load: {plugin.error}")
    offered = [target for plugin in plugins for target in plugin.components]
    called = [(kind, name) for kind in KINDS if found.has(kind, name)]
    if not plugins and not called:
        raise ConfigurationError(unknown_name("plugin or component", name.partition(":")[0], _complete("")))
    return offered or called


def _component_json(target: Target, results: list[CheckResult]) -> dict[str, Any]:
    checks = [{"passed": result.passed, **asdict(result)} for result in results]
    return {"kind": target[0], "component": target[1], "checks": checks}


def _row(target: Target, result: CheckResult) -> tuple[str, ...]:
    return (" ".join(target), result.name, result.status, result.limit, result.explanation)


KindArgument = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help=f"What it offers: {', '.join(KINDS)}.",
        autocompletion=lambda incomplete: [kind for kind in KINDS if kind.startswith(incomplete)],
        show_default=False,
    ),
]
NewNameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name, in kebab case: my-net.", show_default=False)
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder to write; golfbench-NAME here if not given.", show_default=False),
]


def new(kind: KindArgument, name: NewNameArgument, output: DirectoryOption = None) -> None:
    """Write a package with a working plugin, as the start of your own."""
    from golfbench.templates import write_package

    if kind in KINDS and registry().has(kind, name):
        taken = registry().get(kind, name)
        raise ConfigurationError(f"{kind} '{name}' exists already, in {taken.distribution}: choose another name")
    folder = output or Path(f"golfbench-{name}")
    written = write_package(kind, name, folder)
    session.saved = True
    for path in written:
        print(path)
    console.note(f"next: pip install -e {folder} && golfbench plugins check {name}")
