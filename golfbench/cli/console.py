"""What the command line prints: data on stdout, everything else on stderr.

Tables and progress bars are drawn only on a terminal. In a pipe a table is tab-separated lines and progress is plain
lines, so that both can be cut, searched and logged.

No verb fails because something could not be printed (see ``streams``).
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from golfbench.cli import streams

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PROGRAM = "golfbench"
#: Seconds between two plain lines of one task.
LINE_INTERVAL_S = 10.0
#: Characters of an error or a warning.
LONGEST_LINE = 500

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def note(text: str) -> None:
    """Print a line for the person at the screen, on stderr; characters that steer a terminal are shown as escapes."""
    print(f"{PROGRAM}: {_CONTROL.sub(lambda found: repr(found[0])[1:-1], text)}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning line on stderr."""
    note(f"warning: {_shortened(text)}")


def fail(text: str) -> None:
    """Print an error line on stderr."""
    note(f"error: {_shortened(text)}")


def _shortened(text: str) -> str:
    """Return a line of a sane length: a person's own text in its middle may have any."""
    keep = (LONGEST_LINE - 5) // 2
    return text if len(text) <= LONGEST_LINE else f"{text[:keep]} ... {text[-keep:]}"


def saved(text: str) -> None:
    """Tell where results are written: what was lost on stdout is no failure after that."""
    streams.session.saved = True
    note(text)


def print_json(data: Any) -> None:
    """Print one JSON document on stdout, in the order of its keys.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    ascii_only = not encoding.lower().startswith("utf")  # escapes of JSON instead of those of the stream
    print(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=ascii_only))


def print_utf8(text: str) -> None:
    """Print a document that says of itself that it is UTF-8, whatever the terminal has."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated with a header line in a pipe.

    Args:
        columns: Headings.
        rows: One sequence of cells a row, each as long as ``columns``.
        title: Shown above the drawn table only.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(columns, cells, title)
    else:
        for line in (columns, *cells):
            print("\t".join(line))


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if sum(max(map(len, column.split()), default=0) + 3 for column in columns) >= console.width:
        _print_lists(columns, rows)  # rich would break words, and then leave whole columns empty
        return
    table = Table(title=title or None, header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text: brackets in names and messages are not markup.
        table.add_row(*map(Text, row))
    console.print(table)


def _print_lists(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a line for each cell, for a terminal in which the headings have no room beside each other."""
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            print(f"{column}: {cell}")
        print()


class Progress:
    """Shows how far each task of a run is, on stderr: one bar a task on a terminal, else a line now and then.

    Example:
        >>> with Progress() as progress:
        ...     progress("baseline training", 10, 200)
    """

    def __init__(self) -> None:
        draws = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._bars: Bars | None = _new_bars() if draws else None
        self._tasks: dict[str, TaskID] = {}
        self._next_line: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, task: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done; a new name starts a new task."""
        if self._bars:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=total)
            self._bars.update(self._tasks[task], completed=done, total=total)
        elif done == total or time.monotonic() >= self._next_line.get(task, 0.0):
            self._next_line[task] = time.monotonic() + LINE_INTERVAL_S
            print(f"{task}: {done}/{total}{self._rate(task, done)}", file=sys.stderr, flush=True)

    def _rate(self, task: str, done: int) -> str:
        """Return how fast a task goes, once it has gone on for a while."""
        began, first = self._began.setdefault(task, (time.monotonic(), done))
        passed = time.monotonic() - began
        return f", {60 * (done - first) / passed:.3g} a minute" if passed >= 1.0 and done > first else ""


def _new_bars() -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    times = (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(30), MofNCompleteColumn(), *times)
    return Progress(*columns, console=Console(stderr=True))
