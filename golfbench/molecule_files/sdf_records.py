"""The records of an SDF as text: where each begins and ends, its mol block and its data fields.

RDKit's reader takes the records one after another, so that one without an end takes the next with it. Here a record
ends at ``$$$$``, or where the header and the counts line of another begin; each one's mol block is then read alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_SEPARATOR = "$$$$"
_COUNTS = re.compile(r"^\s*\d{1,3}\s*\d{1,3}\s.*V[23]000\s*$", re.IGNORECASE)
_BLOCK_END = re.compile(r"^M\s+END\b")
_ITEM = re.compile(r"^>.*?<(.*)>")
#: Lines of a mol block before its counts line: title, program, comment.
_HEADER = 3
#: Name of a data item that has none.
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class SdfRecord:
    """One record.

    Attributes:
        block: The mol block, with its last line; everything when that line is missing.
        fields: Data by name, in the order of the file.
    """

    block: str
    fields: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """The first line."""
        return self.block.partition("\n")[0].strip()

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return not self.block.strip() and not self.fields


def split_records(lines: Iterable[str]) -> Iterator[SdfRecord]:
    """Yield the records of a file, damaged and empty ones included; what follows the last separator only if it is any.

    Args:
        lines: Without their ends.
    """
    chunk: list[str] = []
    for line in lines:
        if line.startswith(_SEPARATOR):
            yield from map(_parsed, _parted(chunk))
            chunk = []
        else:
            chunk.append(line)
    if any(map(str.strip, chunk)):
        yield from map(_parsed, _parted(chunk))


def _parted(lines: list[str]) -> Iterator[list[str]]:
    """Yield the records between two separators: several where mol blocks follow one another."""
    counts = [k for k, line in enumerate(lines) if _COUNTS.match(line)]
    if counts and counts[0] == _HEADER + 1 and lines[0].strip() and not lines[1].strip():
        lines, counts = lines[:1] + lines[2:], [k - 1 for k in counts]  # a blank line too many behind the title
    starts = [k - _HEADER for k in counts[:1]]
    starts += [k - _HEADER for k in counts[1:] if k - 2 * _HEADER > starts[-1] and not _in_item(lines, k)]
    if not starts or any(map(str.strip, lines[: max(starts[0], 0)])):
        starts = [0, *starts]  # what is before the first header is no part of it
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield [""] * -start + lines[max(start, 0) : end]  # lines of a header may have been stripped


def _in_item(lines: Sequence[str], counts: int) -> bool:
    """Return whether a counts line stands in the value of a data item, as that of a mol block does."""
    return any(map(_ITEM.match, lines[counts - _HEADER - 1 : counts]))


def _parsed(lines: list[str]) -> SdfRecord:
    end = next((k for k, line in enumerate(lines) if _BLOCK_END.match(line)), None)
    if end is None:
        return SdfRecord("\n".join(lines) + "\n", ())
    return SdfRecord("\n".join(lines[: end + 1]) + "\n", tuple(_items(lines[end + 1 :])))


def _items(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the data items. A value ends at the next item or at the end of the record, wherever blank lines are."""
    name: str | None = None
    value: list[str] = []
    blank = True
    for line in lines:
        found = _ITEM.match(line)
        if found or (blank and line.startswith(">")):
            if name is not None:
                yield name, _value(value)
            name, value = (found[1] if found else "") or UNNAMED, []
        else:
            value.append(line)
        blank = not line.strip()
    if name is not None:
        yield name, _value(value)


def _value(lines: list[str]) -> str:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return "\n".join(lines)


def written(title: str, block: str, fields: Iterable[tuple[str, str]]) -> str:
    """Return the text of a record, such that it is read back as it was.

    What a line cannot hold is changed as little as possible: a line of a value that would begin an item or end the
    record gets a space before it, and a blank line within a value a space in it.

    Args:
        title: The first line; line ends in it become spaces.
        block: The mol block with any first line.
        fields: Data by name.
    """
    first = _guarded(" ".join(title.split("\n")))
    lines = [first, *block.rstrip("\n").split("\n")[1:]]
    for name, value in fields:
        lines.append(f">  <{' '.join(name.split())}>")
        lines += [_guarded(line) or " " for line in value.split("\n")]
        lines.append("")
    return "\n".join([*lines, _SEPARATOR, ""])


def _guarded(line: str) -> str:
    return f" {line}" if line.startswith((_SEPARATOR, ">")) else line
