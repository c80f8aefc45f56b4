"""``golfbench plugins list|show``; ``check`` and ``new`` are in ``contract``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from golfbench import environments
from golfbench.cli import console, contract
from golfbench.cli.describe import SCHEMA_VERSION, as_json, as_lines
from golfbench.cli.options import JsonOption
from golfbench.environments import own_environment
from golfbench.errors import ConfigurationError, NothingToDoError, unknown_name
from golfbench.registry import KINDS, Plugin, Registry, registry
from golfbench.specs import ModelSpec, Spec

Described = tuple[str, Spec]


def register(app: typer.Typer) -> None:
    """Add the group ``plugins``."""
    group = typer.Typer(no_args_is_help=True, help="The plugins that are installed.")
    group.command("list")(list_plugins)
    group.command("show")(show)
    group.command("check")(contract.check)
    group.command("new")(contract.new)
    group.command("install")(install)
    app.add_typer(group, name="plugins")


def list_plugins(json: JsonOption = False) -> None:
    """List the plugins, what each offers, and why a broken one is broken; exit 2 when two claim the same name."""
    found = registry()
    clashes = list(found.clashes())
    if json:
        listed = [_plugin_json(plugin) for plugin in found.plugins]
        console.print_json({"schema_version": SCHEMA_VERSION, "plugins": listed, "clashes": clashes})
    else:
        rows = [(p.name, p.distribution, p.version, _offers(p), p.error) for p in found.plugins]
        console.print_table(("plugin", "distribution", "version", "components", "problem"), rows)
    for clash in clashes:
        console.fail(clash)
    if clashes:
        raise typer.Exit(ConfigurationError.exit_code)


def _plugin_json(plugin: Plugin) -> dict[str, object]:
    components = [{"kind": kind, "name": name} for kind, name in plugin.components]
    return {**asdict(plugin), "components": components}


def _offers(plugin: Plugin) -> str:
    return ", ".join(f"{kind} {name}" for kind, name in plugin.components)


def _names() -> list[str]:
    found = registry()
    components = {spec.name for kind in KINDS for spec in found.specs(kind)}
    return sorted(components | {plugin.name for plugin in found.plugins})


def _complete(incomplete: str) -> list[str]:
    return [name for name in _names() if name.startswith(incomplete)]


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A plugin, its distribution or a component.", autocompletion=_complete)
]


ForceOption = Annotated[bool, typer.Option("--force", help="Make it again even if it is up to date.")]


def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show a plugin or a component: capabilities, parameters with defaults, requirements, citation."""
    found = registry()
    plugins = [p for p in found.plugins if name in (p.name, p.distribution)]
    components = _offered_by(found, plugins) or _called(found, name)
    if not plugins and not components:
        raise ConfigurationError(unknown_name("plugin or component", name, _names()))
    if json:
        described = [as_json(kind, spec) for kind, spec in components]
        listed = [_plugin_json(plugin) for plugin in plugins]
        console.print_json({"schema_version": SCHEMA_VERSION, "plugins": listed, "components": described})
        return
    for plugin in plugins:
        print(f"plugin {plugin.name} ({plugin.distribution} {plugin.version}){': ' * bool(plugin.error)}{plugin.error}")
    for kind, spec in components:
        print("\n".join(as_lines(kind, spec)))


def _offered_by(found: Registry, plugins: list[Plugin]) -> list[Described]:
    offered = {(p.distribution, kind, name) for p in plugins for kind, name in p.components}
    return [(k, s) for k in KINDS for s in found.specs(k) if (s.distribution, k, s.name) in offered]


def _called(found: Registry, name: str) -> list[Described]:
    return [(k, s) for k in KINDS for s in found.specs(k) if name in (s.name, *s.aliases)]


def install(name: NameArgument, force: ForceOption = False) -> None:
    """Make the environment of a model that has one of its own; `run` and the other verbs then use it.

    Takes uv if it is there, and pip otherwise. The folder is GOLFBENCH_ENVIRONMENTS, by default one of the user's data.
    """
    found = registry()
    models = [spec for spec in found.specs("model") if name in (spec.name, spec.distribution, *spec.aliases)]
    if not models:
        raise ConfigurationError(unknown_name("model", name, [spec.name for spec in found.specs("model")]))
    for spec in models:
        environment = own_environment(spec) if isinstance(spec, ModelSpec) else None
        if environment is None:
            raise NothingToDoError(f"model '{spec.name}' needs no environment of its own: it runs in this one")
        if environment.is_current() and not force:
            console.note(f"the environment of model '{spec.name}' is up to date: {environment.path}")
            continue
        environments.install(environment, console.note)
        console.note(f"the environment of model '{spec.name}' is ready: {environment.path}")
