"""The ledger: the account of every oracle call, one JSON line each, append-only."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from golfbench.durable import append_whole, cut_torn_line, write_errors
from golfbench.errors import ConfigurationError
from golfbench.oracles.question import label_key
from golfbench.specs import ComponentRef

Purpose = Literal["initial", "training", "reference", "evaluation", "base", "selection"]
#: What an oracle call was for. Purposes are never mixed in one number. Calls of ``base`` and ``selection`` ask
#: other engines than the oracle: the one that the network's output is added to, and the one that a selection looks at.
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
#: Purposes of calls that ask another engine than the oracle; tables show them where there are any.
OF_OTHER_ENGINES: tuple[Purpose, ...] = ("base", "selection")


def shown_purposes(count: Callable[[Purpose], float]) -> list[Purpose]:
    """Return the purposes that a table has a column for: those of every run, and others where there were any.

    Args:
        count: Calls and cache hits that the table counts for a purpose.
    """
    return [purpose for purpose in PURPOSES if purpose not in OF_OTHER_ENGINES or count(purpose)]


class OracleCall(BaseModel):
    """One energy and force evaluation of one geometry that an engine was asked for; failed calls count.

    Attributes:
        call_id: Running number in this ledger, from 0.
        combination: For whom; empty when all combinations of the run share it.
        stage: ``before``, ``after`` or ``reference``.
        purpose: See ``PURPOSES``.
        molecule: Its id.
        geometry_sha256: Address of the geometry.
        oracle: The oracle as it was named, with parameters.
        method: Level of theory.
        options_sha256: Hash of the parameters that the label depends on.
        engine: Name and version of the engine, empty if it never started.
        attempt: 1 for the first.
        fallback: Parameters that were changed for this attempt, ``key=value``; empty if none.
        outcome: ``ok``, the kind of failure (``OracleError.KINDS``), or ``cache_hit``: the answer was known and no
            engine was asked (such lines are kept for the account but are not calls).
        error: Its text, empty if ok.
        started_utc: ISO 8601.
        wall_s: Seconds, waiting excluded; for a lost worker, until the loss was noticed.
        cpu_s: CPU seconds where the engine measures them.
        awaited_s: Seconds that the run waited for this answer and for no other.
        worker: Which worker served it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    call_id: int
    combination: str
    stage: str
    purpose: Purpose
    molecule: str
    geometry_sha256: str
    oracle: ComponentRef
    method: str
    options_sha256: str = ""
    engine: str
    attempt: int
    fallback: str = ""
    outcome: str
    error: str
    started_utc: str
    wall_s: float
    cpu_s: float | None = None
    awaited_s: float = 0.0
    worker: str

    @property
    def key(self) -> str:
        """Address of the label that was asked for."""
        return label_key(self.oracle.name, self.method, self.options_sha256, self.geometry_sha256)

    @property
    def account(self) -> tuple[str, str, str]:
        """Whom it is charged to: combination, stage and purpose."""
        return self.combination, self.stage, self.purpose


#: Outcome of a line that cost no engine call.
CACHE_HIT = "cache_hit"


class Failure(NamedTuple):
    """How one attempt failed: the kind (``OracleError.KINDS``) and the text."""

    kind: str
    text: str


class Ledger:
    """Appends calls to a file and knows what was asked.

    A last line torn by a crash is cut off when the file is opened.

    Args:
        path: ``oracle_calls.jsonl`` of a run.

    Raises:
        ConfigurationError: If a line before the last is damaged.
        WriteError: If the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._count = 0
        # Flags by call id, and hashes instead of texts: a million calls take 100 MB.
        self._known = bytearray()
        self._settled: set[bytes] = set()
        self._failures: dict[str, list[Failure]] = {}
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._hits: Counter[tuple[str, str, str]] = Counter()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        cut_torn_line(path)
        with write_errors(path):
            self._file: FileIO = path.open("ab", buffering=0)
        for call in read_calls(path):
            self._tally(call)
        # A run that is started again has other workers.
        for key, failures in list(self._failures.items()):
            self._failures[key] = [failure for failure in failures if failure.kind != "lost"]

    @property
    def next_id(self) -> int:
        """The number that the next call gets."""
        return self._count

    def append(self, call: OracleCall) -> None:
        """Write one call; it survives the death of this process.

        Raises:
            WriteError: If the line cannot be written; the ledger is what it was.
        """
        line = (call.model_dump_json() + "\n").encode()
        with self._lock:
            append_whole(self._file, line)
            self._tally(call)

    def _tally(self, call: OracleCall) -> None:
        self._count = max(self._count, call.call_id + 1)
        if call.call_id >= len(self._known):
            self._known.extend(bytes(call.call_id + 1 - len(self._known)))
        self._known[call.call_id] = 1
        self._settled.add(_digest(call.key, call.account))
        (self._hits if call.outcome == CACHE_HIT else self._calls)[call.account] += 1
        self._outcomes[call.method, call.outcome] += 1
        if call.outcome not in ("ok", CACHE_HIT):
            self._failures.setdefault(call.key, []).append(Failure(call.outcome, call.error))

    def __contains__(self, call_id: int) -> bool:
        return call_id < len(self._known) and bool(self._known[call_id])

    def is_settled(self, key: str, account: tuple[str, str, str]) -> bool:
        """Return whether this account already has a line for that label (a resumed run asks again)."""
        return _digest(key, account) in self._settled

    def charged(self, account: tuple[str, str, str]) -> tuple[int, int]:
        """Return the engine calls of an account, and its labels that cost none."""
        return self._calls[account], self._hits[account]

    def count(self, method: str, outcome: str) -> int:
        """Return how many lines of a level of theory have that outcome."""
        return self._outcomes[method, outcome]

    def failures(self, key: str) -> Sequence[Failure]:
        """Return how the attempts at that label failed, in order."""
        return self._failures.get(key, ())

    def close(self) -> None:
        """Flush to the disk and close."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def read_calls(path: Path) -> Iterator[OracleCall]:
    """Yield the calls of a ledger; a missing file has none, and a last line without its line end is left out.

    Raises:
        ConfigurationError: If a line is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                yield _parse(line, f"{path.name}, line {number}")


def _digest(key: str, account: tuple[str, str, str]) -> bytes:
    return hashlib.sha256("\n".join((key, *account)).encode()).digest()[:16]


def _parse(line: bytes, where: str) -> OracleCall:
    try:
        return OracleCall.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"{where}: not an oracle call ({field + ': ' if field else ''}{first['msg']})"
        ) from None
