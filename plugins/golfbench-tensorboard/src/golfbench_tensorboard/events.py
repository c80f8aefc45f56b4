"""Scalars as records of TensorBoard's event files, each written and flushed at once.

``RecordWriter`` is used instead of ``EventFileWriter``, which has a thread of its own, keeps up to two minutes of
events in memory and writes the name of the machine into the name of the file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

PREFIX = "events.out.tfevents."


class EventFile:
    """See ``golfbench.contracts.Logger``. Each time that it is opened it begins another file.

    A step that an earlier file has is not written again: a resumed training repeats the steps after its checkpoint.

    Args:
        folder: Where the files are; a run of TensorBoard's list.
        run: Not needed: the parent folder has its name.
        combination: Not needed, likewise.
    """

    def __init__(self, folder: Path, run: str, combination: str) -> None:
        self._known = _last_steps(folder)
        # The number keeps files apart that are begun in the same second; TensorBoard reads them by their names.
        stem = f"{PREFIX}{int(time.time()):010d}"
        path = next(path for n in count() if not (path := folder / f"{stem}.{n}.golfbench").exists())
        self._file = path.open("xb")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one event."""
        new = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in values.items()
            if step > self._known.get(name, -1)
        ]
        if new:
            self._write(step=step, summary=Summary(value=new))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **content: Any) -> None:
        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._writer.flush()


def _last_steps(folder: Path) -> dict[str, int]:
    """Return the last step of each tag in the files of a folder."""
    return {value.tag: event.step for path in sorted(folder.glob(f"{PREFIX}*")) for event, value in _values(path)}


def _values(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the records of a file, up to an incomplete one after a crash."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader  # takes 0.4 s

    with suppress(Exception):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield event, value
