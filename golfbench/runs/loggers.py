"""The loggers of a run: which were asked for, where each of their logs is, and the warning when one fails."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from golfbench.contracts import Logger
from golfbench.errors import ComponentMissingError
from golfbench.loggers import Log, Opener
from golfbench.registry import Registry, registry
from golfbench.runs.directory import slug
from golfbench.specs import Component, LoggerSpec, Named

log = logging.getLogger(__name__)

#: Folder of the logs in a run directory.
FOLDER = "logs"


class Loggers:
    """The loggers of a run.

    Args:
        names: Their names with parameters: ``wandb:project=x``.
        directory: The run directory.
        run: Id of the run.
        tell: Shows a sentence to the user; once for each logger that fails, however often it fails.
        found: Where to look; the installed plugins if not given.
    """

    def __init__(
        self,
        names: Sequence[Named],
        directory: Path,
        run: str,
        tell: Callable[[str], None] = log.info,
        found: Registry | None = None,
    ) -> None:
        self._directory, self._run, self._tell = directory, run, tell
        self._told: set[str] = set()
        self._chosen = [chosen for name in names if (chosen := self._choose(name, found or registry()))]

    def _choose(self, named: Named, found: Registry) -> Component[LoggerSpec] | None:
        """Return a logger, or warn: a run does not stop for one that is installed in another interpreter only."""
        try:
            return found.component(LoggerSpec, named)
        except Exception as error:  # noqa: BLE001 - names were checked where the run began
            self._warn(str(named), error)
            return None

    @contextmanager
    def log(self, combination: str) -> Iterator[Log]:
        """Yield the log of a combination, and close it afterwards."""
        opened = Log({str(c): self._opener(c, combination) for c in self._chosen}, self._warn)
        try:
            yield opened
        finally:
            opened.close()

    def _opener(self, chosen: Component[LoggerSpec], combination: str) -> Opener:
        folder = self._directory / FOLDER / chosen.spec.name / slug(combination)

        def begin() -> Logger:
            folder.mkdir(parents=True, exist_ok=True)
            logger: Logger = chosen.spec.open(chosen.parameters, folder, self._run, combination)
            return logger

        return begin

    def _warn(self, name: str, error: BaseException) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning("logger %s: %s", name, reason)
        if name not in self._told:
            self._told.add(name)
            self._tell(f"warning: logger '{name}' failed and the run goes on without it ({reason})")


def check_loggers(names: Sequence[Named]) -> None:
    """Look loggers up and resolve their parameters, before anything runs.

    Raises:
        ConfigurationError: For an unknown name or parameter.
        ComponentMissingError: If a package that one of them needs is not installed.
    """
    for component in (registry().component(LoggerSpec, named) for named in names):
        component.resolved()
        spec = component.spec
        absent = [module for module in spec.requires if importlib.util.find_spec(module.partition(".")[0]) is None]
        if absent:
            raise ComponentMissingError(f"logger '{spec.name}' needs {', '.join(absent)}: {spec.install_hint}")
