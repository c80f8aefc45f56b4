"""Processor time of a learning loop by what it is spent on: what a selection looks at is not free."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Adds up processor time of this process, all of its threads; engines in processes of their own are not in it.

    Attributes:
        spent_s: Processor time by what it was spent on, s. What is timed inside something else counts for itself only.
    """

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Charge the time until the end of the block."""
        self._charge()
        self._running.append(what)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def restore(self, spent_s: Mapping[str, float]) -> None:
        """Go on from what was spent before."""
        self.spent_s = dict(spent_s)

    def _charge(self) -> None:
        now = time.process_time()
        if self._running:
            what = self._running[-1]
            self.spent_s[what] = self.spent_s.get(what, 0.0) + now - self._since
        self._since = now
