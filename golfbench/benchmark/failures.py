"""What failed, in groups: walks that have no result, with the reason in words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from golfbench.benchmark.records import FrozenModel, Record, Status

#: Molecules that a group names.
EXAMPLES = 3
_NUMBER = re.compile(r"0x[0-9a-f]+|[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")


class FailedWalks(FrozenModel):
    """Walks of one row that failed alike: same status, same exception, same text but for names and numbers.

    Attributes:
        status: What became of them.
        count: How many molecules.
        error_type: Type of the exception; ``None`` where there was none.
        message: The reason that the first of them gives.
        examples: Ids of some of them.
    """

    status: Status
    count: PositiveInt
    error_type: str | None
    message: str
    examples: tuple[str, ...]

    @property
    def line(self) -> str:
        """The group in one line."""
        named = ", ".join(self.examples) + (", ..." if self.count > len(self.examples) else "")
        reason = ": ".join(filter(None, (self.error_type, self.message)))
        return f"{self.count} {self.status}: {reason} ({named})"


def pattern(message: str, molecule: str) -> str:
    """Return a message without what differs from one molecule to the next: its name and numbers."""
    return _NUMBER.sub("#", message.replace(molecule, "*"))


def failed_walks(records: Iterable[Record]) -> tuple[FailedWalks, ...]:
    """Return the failed walks of one row in groups, the largest first; diverged walks did not fail."""
    groups: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status.failed:
            groups[record.status, record.error_type or "", pattern(_reason(record), record.molecule)].append(record)
    found = [_group(sorted(members, key=lambda record: record.molecule)) for members in groups.values()]
    return tuple(sorted(found, key=lambda group: (-group.count, group.status, group.message)))


def _group(records: Sequence[Record]) -> FailedWalks:
    first = records[0]
    return FailedWalks(
        status=first.status,
        count=len(records),
        error_type=first.error_type,
        message=_reason(first).removeprefix(f"{first.molecule}: "),
        examples=tuple(record.molecule for record in records[:EXAMPLES]),
    )


def _reason(record: Record) -> str:
    if record.error_message:
        return record.error_message
    if record.energy_initial_hartree is None:
        return f"its start has no energy under {record.method}"
    return "stopped before its walk ended" if record.status is Status.INTERRUPTED else "no reason was recorded"
