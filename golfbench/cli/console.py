"""What the command line prints: data on stdout, everything else on stderr.

Tables and progress bars are drawn only on a terminal. In a pipe a table is tab-separated lines and progress is plain
lines, so that other programs can read both.

No verb fails because something could not be printed (see ``streams``).
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from golfbench.cli import streams

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PROGRAM = "golfbench"
#: Seconds between two plain lines of one task.
LINE_INTERVAL_S = 10.0
#: Characters of an error or a warning.
LONGEST_LINE = 500
#: Most rows of a drawn table: its columns are as wide as the widest cell, so that all rows must be in memory.
MOST_DRAWN = 1000
#: Characters between two columns, and the least width of a column of text: the usual one, and the one for very narrow
#: terminals.
GAP, LEAST_TEXT = 2, (16, 10)

_NUMBER = re.compile(r"[≥<]?[-−+]?\d+(\.\d+)?(e[-+]?\d+)?|[-–]?")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def note(text: str) -> None:
    """Print a line for the user on stderr; control characters of a terminal are shown as escapes."""
    print(f"{PROGRAM}: {_CONTROL.sub(lambda found: repr(found[0])[1:-1], text)}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning line on stderr."""
    note(f"warning: {_shortened(text)}")


def fail(text: str) -> None:
    """Print an error line on stderr."""
    note(f"error: {_shortened(text)}")


def _shortened(text: str) -> str:
    """Return a line of limited length: text of the user within it may be very long."""
    keep = (LONGEST_LINE - 5) // 2
    return text if len(text) <= LONGEST_LINE else f"{text[:keep]} ... {text[-keep:]}"


def saved(text: str) -> None:
    """Print where results are written; from then on, lost stdout is no failure."""
    streams.session.saved = True
    note(text)


def print_json(data: Any) -> None:
    """Print one JSON document on stdout, in the order of its keys.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    print(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=_ascii_only()))


def _ascii_only() -> bool:
    """Return whether escapes of JSON are printed instead of those of the stream."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return not encoding.lower().startswith("utf")


def print_utf8(text: str) -> None:
    """Print a document that declares itself as UTF-8, in UTF-8 on any terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="")


def print_json_rows(head: Mapping[str, Any], rows: Iterable[Any]) -> None:
    """Print one JSON document on stdout: the keys of ``head``, and a list ``rows``, which may be too long for memory.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    print("{")
    for key, value in head.items():
        print(f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False, ensure_ascii=_ascii_only())},")
    print('  "rows": [', end="")
    comma = ""
    for row in rows:
        text = json.dumps(row, indent=2, allow_nan=False, ensure_ascii=_ascii_only())
        print(f"{comma}\n{textwrap.indent(text, '    ')}", end="")
        comma = ","
    print("\n  ]\n}" if comma else "]\n}")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    spare: Sequence[str] = (),
    wide: bool = False,
) -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated with a header line in a pipe.

    Args:
        columns: Headings.
        rows: One sequence of cells a row, each as long as ``columns``. More than ``MOST_DRAWN`` are not drawn.
        title: Shown above the drawn table only.
        spare: Columns that are left out on a terminal too narrow for all, the first one first; a line on stderr names
            them.
        wide: Draw all columns, at any width.
    """
    cells: Iterator[list[str]] = ([str(cell) for cell in row] for row in rows)
    first = list(islice(cells, MOST_DRAWN + 1)) if sys.stdout.isatty() else []
    if first and len(first) <= MOST_DRAWN:
        _draw_table(columns, first, title, spare, wide)
    else:
        for line in chain([columns], first, cells):
            print("\t".join(line))


def _draw_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, spare: Sequence[str] = (), wide: bool = False
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console().width
    shown = [_Column(name, [row[k] for row in rows]) for k, name in enumerate(columns)]
    needed = _needed(shown)
    left_out = () if wide else _left_out(shown, spare, screen)
    shown = [column for column in shown if column.name not in left_out]
    if not (wide or _needed(shown, cut=True) <= screen):
        _print_lists(columns, rows)  # rich would break words, and then leave whole columns empty
        return
    widths = _widths(shown, max(screen, needed) if wide else screen)
    table = Table(title=title or None, header_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    table.padding, table.pad_edge, table.show_edge = (0, GAP - 1, 0, 0), False, False
    for column, width in zip(shown, widths, strict=True):
        side: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(Text(column.name), justify=side, overflow="fold", min_width=width, max_width=width)
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, row))  # Text: brackets in names and messages are not markup
    Console(width=max(screen, sum(widths) + GAP * len(widths))).print(table)
    if left_out:
        note(f"no room for the columns {', '.join(left_out)}: --wide shows all")


class _Column:
    """A column of a table that is drawn.

    Args:
        name: Its heading, broken between words.
        cells: What is in it.

    Attributes:
        is_number: Whether its cells are numbers, which are never broken.
        whole: Characters that leave every cell and every word of the heading whole.
        least: Least characters if long words of cells are broken, and if not.
    """

    def __init__(self, name: str, cells: Sequence[str]) -> None:
        self.name, self.cells = name, cells
        self.is_number = all(map(_NUMBER.fullmatch, cells))
        heading = _longest(name.split())
        self.whole = max(heading, _longest(cells))
        words = _longest(word for cell in cells for word in cell.split())
        usual, cut = (self.whole if self.is_number else max(heading, min(words, most)) for most in LEAST_TEXT)
        self.least = {False: usual, True: cut}


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _needed(columns: Sequence[_Column], cut: bool = False) -> int:
    """Return the least characters of a line, where only long words are broken."""
    return sum(column.least[cut] + GAP for column in columns) - GAP


def _left_out(columns: Sequence[_Column], spare: Sequence[str], screen: int) -> list[str]:
    """Return the columns to leave out so that the others have room."""
    left_out: list[str] = []
    for name in (name for name in spare if any(column.name == name for column in columns)):
        if _needed([column for column in columns if column.name not in left_out]) <= screen:
            break
        left_out.append(name)
    return left_out


def _widths(columns: Sequence[_Column], screen: int) -> list[int]:
    """Divide the width of a line among columns: each has what it needs, and wider ones have the rest."""
    cut = _needed(columns) > screen
    widths = [column.least[cut] for column in columns]
    rest = screen - _needed(columns, cut)
    by_need = sorted(range(len(columns)), key=lambda k: columns[k].whole - widths[k])
    for place, k in enumerate(by_need):
        more = min(columns[k].whole - widths[k], max(0, rest) // (len(by_need) - place))
        widths[k] += more
        rest -= more
    return widths


def _print_lists(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a line for each cell, for a terminal too narrow for the headings side by side."""
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            print(f"{column}: {cell}")
        print()


def _duration(seconds: float) -> str:
    """Return a time in a readable unit."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


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
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, task: str, done: int, total: int, about: bool = False) -> None:
        """Show that ``done`` of ``total`` steps are done; a new name starts a new task, and so does a smaller number.

        Args:
            task: Its name.
            done: Steps.
            total: Steps in all.
            about: Whether that is an estimate.
        """
        if done < self._done.get(task, 0):  # another one with the same name
            self._tasks.pop(task, None)
            self._began.pop(task, None)
        self._done[task] = done
        if self._bars:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=total)
            self._bars.update(self._tasks[task], completed=done, total=total)
        elif done == total or time.monotonic() >= self._next_line.get(task, 0.0):
            self._next_line[task] = time.monotonic() + LINE_INTERVAL_S
            rate = self._rate(task, done, total)
            print(f"{task}: {done}/{'about ' if about else ''}{total}{rate}", file=sys.stderr, flush=True)

    def _rate(self, task: str, done: int, total: int) -> str:
        """Return how fast a task goes and how long it will take, once it has run for a while."""
        began, first = self._began.setdefault(task, (time.monotonic(), done))
        passed = time.monotonic() - began
        if passed < 1.0 or done <= first:
            return ""
        rate = (done - first) / passed
        left = f", {_duration((total - done) / rate)} left" if total > done else ""
        return f", {60 * rate:.3g} a minute{left}"


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
