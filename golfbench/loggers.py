"""Logs of a run: scalars by step, given to the loggers that plugins offer.

A log never decides anything. An exception of a logger becomes one warning, what it changes in the process is restored,
and nothing is opened before there is something to log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from golfbench.contracts import Logger
from golfbench.imports import contained

#: Opens the log of one logger.
Opener = Callable[[], Logger]


class Log:
    """The log of one combination, in all loggers of a run; without any it costs nothing.

    Args:
        openers: By the name of the logger.
        failed: Called with the name of a logger and what it raised.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener] | None = None,
        failed: Callable[[str, BaseException], None] = lambda name, error: None,
    ) -> None:
        self._openers, self._failed = dict(openers or {}), failed
        self._open: dict[str, Logger] = {}

    def __bool__(self) -> bool:
        return bool(self._openers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Give numbers to every logger; one that raises gets no more of this log."""
        for name in list(self._openers):
            self._attempt(name, lambda name=name: self._logger(name).scalars(step, dict(values)))  # type: ignore[misc]

    def close(self) -> None:
        """Close every logger that was opened."""
        while self._open:
            name, logger = self._open.popitem()
            self._attempt(name, logger.close)

    def _logger(self, name: str) -> Logger:
        if name not in self._open:
            self._open[name] = self._openers[name]()
        return self._open[name]

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        try:
            with contained():
                act()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's logger may raise anything
            self._openers.pop(name, None)
            self._failed(name, error)


#: A log without loggers.
NO_LOG = Log()
