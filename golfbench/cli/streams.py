"""stdout and stderr that never raise: no result is lost by a closed pipe, a full disk or a closed descriptor.

A character that the terminal's encoding does not have is replaced there, and only there.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Replacements for the characters of our own headings where the terminal lacks them; others become escapes, so that two
#: names never look the same.
REPLACEMENTS = {"Å": "A", "–": "-", "−": "-", "×": "x", "±": "+-", "…": "..."}
ERRORS = "golfbench-replace"


class Sink(io.FileIO):
    """A descriptor that is written to as long as that is possible; later output is dropped.

    Attributes:
        lost: Why something was dropped, or ``None``.
    """

    def __init__(self, descriptor: int, closed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._gone = OSError(errno.EBADF, "it is closed") if closed else None
        self.lost: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        """Write what the descriptor takes at once; return the number of bytes."""
        self.lost = self._gone
        while not self._gone:
            try:
                if (count := super().write(data)) is not None:  # a non-blocking pipe is full
                    return count
                select.select([], [self], [])
            except OSError as error:
                self.lost = self._gone = error
        return memoryview(data).nbytes


@dataclass
class Session:
    """What decides how this process ends.

    Attributes:
        resumes: The same command goes on where it was stopped.
        saved: Results are in files, so that stdout is not their only place.
        sink: Where stdout goes, if it is ours.
    """

    resumes: bool = False
    saved: bool = False
    sink: Sink | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Reset what an earlier command of this process has set."""
        self.resumes = self.saved = False

    def exit_code(self, code: int) -> int:
        """Report a stdout that did not take everything; return the exit code.

        Args:
            code: Exit code of the work. It stays, except that 0 becomes 1 where stdout was the only place of the
                results. A reader that closed the pipe (``| head``) is no failure.
        """
        sys.stdout.flush()
        lost = self.sink.lost if self.sink else None
        if lost is None or lost.errno == errno.EPIPE:
            return code
        print(f"golfbench: warning: stdout could not be written: {lost.strerror}", file=sys.stderr, flush=True)
        return code if self.saved else code or 1


session = Session()


def open_streams() -> None:
    """Put streams that do not raise in the place of ``sys.stdout`` and ``sys.stderr``.

    A closed descriptor is opened on the null device, so that no file that is opened later gets its number.
    """
    codecs.register_error(ERRORS, _replace)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number: this one
    session.sink = Sink(1, closed=sys.stdout is None)
    sys.stdout = _text(session.sink, sys.stdout)
    sys.stderr = _text(Sink(2, closed=sys.stderr is None), sys.stderr)


def _text(sink: Sink, old: TextIO | None) -> TextIO:
    encoding = "utf-8" if old is None else old.encoding
    line_buffering = sink.isatty() or sink.fileno() == 2
    buffer = io.BufferedWriter(sink)
    return io.TextIOWrapper(buffer, encoding=encoding, errors=ERRORS, line_buffering=line_buffering)


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    unknown = error.object[error.start : error.end]
    known: Any = [REPLACEMENTS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in unknown]
    return "".join(known), error.end
