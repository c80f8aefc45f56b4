"""Discovery of plugins: isolation of broken ones, clashes, look-up with suggestions.

Own loader rather than pluggy's ``load_setuptools_entrypoints``: one broken plugin is rolled back, its reason is kept,
and the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy

from golfbench import hookspecs
from golfbench.errors import ConfigurationError, unknown_name
from golfbench.specs import (
    Component,
    ComponentRef,
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    LoggerSpec,
    ModelSpec,
    Named,
    OptimizerSpec,
    OracleSpec,
    SelectionSpec,
    Spec,
)

ENTRY_POINT_GROUP = "golfbench"
#: Comma-separated entry-point names; when set, only these plugins are loaded.
ALLOW_LIST_VARIABLE = "GOLFBENCH_PLUGINS"
#: When ``1``, a broken plugin is an error instead of a row in the list (for CI).
STRICT_VARIABLE = "GOLFBENCH_STRICT_PLUGINS"

#: What each hook offers: kind -> type of spec.
KINDS: Mapping[str, type[Spec]] = {
    "model": ModelSpec,
    "optimizer": OptimizerSpec,
    "selection": SelectionSpec,
    "oracle": OracleSpec,
    "dataset": DatasetSpec,
    "executor": ExecutorSpec,
    "learner": LearnerSpec,
    "logger": LoggerSpec,
}
S = TypeVar("S", bound=Spec)


def plural(kind: str) -> str:
    """Return the plural of a kind, as hooks and commands spell it."""
    return f"{kind}s"


@dataclass(slots=True)
class Plugin:
    """One entry point and the result of loading it.

    Attributes:
        name: Name of the entry point.
        distribution: Name of its distribution.
        version: Version of its distribution.
        error: Why it is not loaded, or empty.
        components: ``(kind, name)`` of everything it offers.
    """

    name: str
    distribution: str
    version: str
    error: str = ""
    components: list[tuple[str, str]] = field(default_factory=list)


class Registry:
    """All components of all plugins.

    Args:
        sources: Entry points to load.
        strict: Raise on the first broken plugin instead of keeping its reason.
    """

    def __init__(self, sources: list[EntryPoint], strict: bool = False) -> None:
        self.plugins: list[Plugin] = []
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self._specs: dict[str, dict[str, list[Spec]]] = {kind: {} for kind in KINDS}
        for source in sorted(sources, key=lambda e: (e.name, e.value)):
            self._add(source, strict)

    def _add(self, source: EntryPoint, strict: bool) -> None:
        distribution = source.dist.name if source.dist else source.value
        plugin = Plugin(source.name, distribution, source.dist.version if source.dist else "")
        self.plugins.append(plugin)
        try:
            self.register(source.load(), plugin)
        except (Exception, SystemExit) as error:  # a plugin's module may raise anything
            if strict:
                raise
            plugin.error = " ".join(f"{type(error).__name__}: {error}".split())

    def register(self, module: Any, plugin: Plugin) -> None:
        """Register one plugin completely or not at all.

        Raises:
            Exception: What its import, its hooks or their validation raise; nothing of it stays registered.
        """
        try:
            self.manager.register(module, name=f"{plugin.distribution}/{plugin.name}")
            self.manager.check_pending()
            offered = [(kind, spec) for kind in KINDS for spec in self._collect(module, kind)]
        except BaseException:
            if self.manager.is_registered(module):  # pluggy refuses some plugins before it registers them
                self.manager.unregister(module)
            raise
        for kind, spec in offered:
            self._index(kind, replace(spec, distribution=plugin.distribution))
            plugin.components.append((kind, spec.name))

    def _collect(self, module: Any, kind: str) -> list[Spec]:
        hook = getattr(self.manager.hook, f"golfbench_{plural(kind)}")
        specs: list[Spec] = []
        for implementation in hook.get_hookimpls():
            if implementation.plugin is module:
                specs.extend(implementation.function())
        for spec in specs:
            if not isinstance(spec, KINDS[kind]):
                raise TypeError(f"golfbench_{plural(kind)} returned {spec!r}, not a {KINDS[kind].__name__}")
        return specs

    def _index(self, kind: str, spec: Spec) -> None:
        for name in (spec.name, *spec.aliases):
            self._specs[kind].setdefault(name, []).append(spec)

    def distributions(self) -> dict[str, str]:
        """Return the versions of the distributions whose plugins are loaded, by name, those of all authors."""
        return {p.distribution: p.version for p in sorted(self.plugins, key=lambda p: p.distribution) if not p.error}

    def specs(self, kind: str) -> list[Spec]:
        """Return every component of a kind, by name; clashing names appear once for each distribution."""
        listed = [s for name, found in self._specs[kind].items() for s in found if s.name == name]
        return sorted(listed, key=lambda s: (s.name, s.distribution))

    def clashes(self) -> Iterator[str]:
        """Yield one line for each name that two distributions claim."""
        for kind, names in self._specs.items():
            for name, found in names.items():
                if len(found) > 1:
                    yield _clash(kind, name, found)

    def has(self, kind: str, named: Named) -> bool:
        """Return whether some plugin offers a component of that kind and name (or alias)."""
        return _reference(named).name in self._specs[kind]

    def get(self, kind: str, named: Named) -> Spec:
        """Return what a plugin offers by that kind and name (or alias).

        Raises:
            ConfigurationError: If no plugin offers it (the nearest names are given, and broken plugins are mentioned)
                or more than one does (both distributions are named).
        """
        ref = _reference(named)
        name, found = ref.name, self._specs[kind].get(ref.name, [])
        if len(found) > 1:
            raise ConfigurationError(_clash(kind, name, found))
        if not found:
            broken = [p.name for p in self.plugins if p.error]
            note = f" (plugins that did not load: {', '.join(broken)})" if broken else ""
            raise ConfigurationError(unknown_name(kind, name, self._specs[kind]) + note)
        spec = found[0]
        if isinstance(spec, SelectionSpec):
            return spec.combining(ref.parameters, lambda part: self.find(SelectionSpec, part))
        return spec

    def find(self, kind: type[S], named: Named) -> S:
        """Return what a plugin offers by that name, typed by the class of its spec."""
        spec = self.get(next(k for k, t in KINDS.items() if t is kind), named)
        assert isinstance(spec, kind)
        return spec

    def component(self, kind: type[S], named: Named) -> Component[S]:
        """Look a component up; its parameters are checked when they are used.

        Raises:
            ConfigurationError: See ``get``.
        """
        if isinstance(named, Component) and isinstance(named.spec, kind):
            return named
        ref = _reference(named)
        return Component(next(k for k, t in KINDS.items() if t is kind), self.find(kind, ref), ref)


def _reference(named: Named) -> ComponentRef:
    """Return the reference as it was written; a text is parsed."""
    if isinstance(named, Component):
        return named.ref
    return ComponentRef.parse(named) if isinstance(named, str) else named


def _clash(kind: str, name: str, found: list[Spec]) -> str:
    owners = " and ".join(sorted({s.distribution for s in found}))
    return f"{kind} '{name}' is offered by {owners}: uninstall one, or set {ALLOW_LIST_VARIABLE}"


@lru_cache(maxsize=1)
def registry() -> Registry:
    """Return the registry of this process, loading the installed plugins on first use."""
    allowed = os.environ.get(ALLOW_LIST_VARIABLE)
    sources = list(entry_points(group=ENTRY_POINT_GROUP))
    if allowed is not None:
        names = {name.strip() for name in allowed.split(",")}
        sources = [s for s in sources if s.name in names]
    return Registry(sources, strict=os.environ.get(STRICT_VARIABLE) == "1")
