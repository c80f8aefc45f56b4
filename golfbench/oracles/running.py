"""Which calls are running: a small file beside the ledger, which knows a call only when it has ended."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from golfbench.durable import write_atomically
from golfbench.errors import WriteError
from golfbench.oracles.calls import utc_now

RUNNING = "running.json"


class RunningCall(BaseModel):
    """A call that has begun.

    Attributes:
        call_id: Number of its line in the ledger, when it has ended.
        oracle: As it was named.
        purpose: See ``ledger.PURPOSES``.
        molecule: Its id.
        started_utc: When it left for a worker, ISO 8601; a cluster may let it wait there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    call_id: int
    oracle: str
    purpose: str
    molecule: str
    started_utc: str


class RunningCalls:
    """Keeps the file; it is for people only, so what cannot be written is left out.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._calls: dict[int, RunningCall] = {}
        self._closed = False

    def begin(self, call_id: int, oracle: str, purpose: str, molecule: str) -> None:
        """Note that a call begins."""
        call = RunningCall(
            call_id=call_id, oracle=oracle, purpose=purpose, molecule=molecule, started_utc=utc_now("seconds")
        )
        with self._lock:
            self._calls[call_id] = call
            self._write()

    def end(self, call_id: int) -> None:
        """Note that a call has ended."""
        with self._lock:
            self._calls.pop(call_id, None)
            self._write()

    def close(self) -> None:
        """Remove the file."""
        with self._lock, contextlib.suppress(OSError):
            self._closed = True
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._closed:
            return
        text = json.dumps([call.model_dump() for call in self._calls.values()])
        with contextlib.suppress(WriteError):
            write_atomically(self._path, text, sync=False)


def read_running(path: Path) -> list[RunningCall]:
    """Return the calls that a file names; none if there is no file, or it is damaged."""
    try:
        return [RunningCall.model_validate(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, ValidationError):
        return []
