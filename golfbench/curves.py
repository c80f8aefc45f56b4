"""The logger ``csv``, registered like that of any plugin: curves as a table, without another package."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from golfbench.hookspecs import hookimpl
from golfbench.specs import LoggerSpec

TABLE = "curves.csv"
_COLUMNS = ("step", "name", "value")


@hookimpl
def golfbench_loggers() -> list[LoggerSpec]:
    """Offer ``csv``."""
    return [
        LoggerSpec(
            name="csv",
            factory="golfbench.curves:Table",
            summary=f"A table in the run directory: logs/csv/COMBINATION/{TABLE} with {', '.join(_COLUMNS)}.",
            license="MIT",
        )
    ]


class Table:
    """One line a number; see ``golfbench.contracts.Logger``.

    A step that the table has is not written again: a resumed training repeats the steps after its snapshot.

    Args:
        folder: Where the table is.
        run: Not needed: a parent folder has its name.
        combination: Not needed, likewise.
    """

    def __init__(self, folder: Path, run: str, combination: str) -> None:
        path = folder / TABLE
        self._known = _last_steps(path)
        self._file = path.open("a", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        if not self._file.tell():
            self._writer.writerow(_COLUMNS)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line for each number, at once."""
        self._writer.writerows(
            (step, name, f"{value:.6g}") for name, value in values.items() if step > self._known.get(name, -1)
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _last_steps(path: Path) -> dict[str, int]:
    """Return the last step of each name; an incomplete last line is cut off."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return {row["name"]: int(row["step"]) for row in csv.DictReader(whole.splitlines())}
