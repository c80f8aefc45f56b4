"""One oracle call as an executor runs it: plain data in, plain data out."""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import numpy as np

from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.local import THREAD_PREFIX
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry

#: Engines that a worker keeps warm: the one that is asked, and one of its fallbacks.
WARM_ENGINES = 2
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call of an isolated engine may take; ``None`` leaves it to the oracle and to the machine.

    Attributes:
        time_s: Wall-clock time, s.
        memory_bytes: Memory of the engine and of what it starts, bytes.
    """

    time_s: float | None = None
    memory_bytes: int | None = None


NO_LIMITS = Limits()


class Answer(TypedDict):
    """What a worker says of a call: plain data, which any executor can carry.

    Attributes:
        outcome: ``ok``, a kind of ``OracleError``, or ``lost`` with the worker.
        error: Empty or missing if there is none.
        engine: Its version; missing, like all that follows, where the worker was lost.
        started_utc: ISO 8601.
        wall_s: Of the call.
        cpu_s: ``None`` if it was not measured.
        worker: Its name.
        energy_hartree: Of ``ok``, as are the forces.
        forces_hartree_per_angstrom: (n_atoms, 3).
    """

    outcome: str
    error: NotRequired[str]
    engine: NotRequired[str]
    started_utc: NotRequired[str]
    wall_s: NotRequired[float]
    cpu_s: NotRequired[float | None]
    worker: NotRequired[str]
    energy_hartree: NotRequired[float]
    forces_hartree_per_angstrom: NotRequired[list[list[float]]]


def run_call(oracle: str, molecule: dict[str, Any], limits: Limits = NO_LIMITS) -> Answer:
    """Label one geometry with this thread's own engine.

    Args:
        oracle: The oracle as a person writes it.
        molecule: ``Molecule.to_json``.
        limits: What the call may take.
    """
    started, clock = utc_now(), time.perf_counter()
    answer: Answer = {"outcome": "ok", "error": "", "engine": "", "cpu_s": None}
    try:
        engine = _engine(oracle, limits)
        answer["engine"] = engine.version  # before the call, so that a failed one says who failed
        energy, forces = engine.label(Molecule.from_json(molecule))
        answer["energy_hartree"], answer["forces_hartree_per_angstrom"] = energy, forces.tolist()
        answer["cpu_s"] = engine.last_cpu_s
    except OracleError as error:
        answer["outcome"], answer["error"] = error.kind, str(error)
    answer["started_utc"], answer["wall_s"], answer["worker"] = started, time.perf_counter() - clock, _worker()
    return answer


def engine_version(oracle: str) -> str:
    """Return name and version of this thread's own engine.

    Raises:
        OracleError: If it does not start.
    """
    return _engine(oracle, NO_LIMITS).version


def utc_now(timespec: str = "milliseconds") -> str:
    """Return the time as ISO 8601 in UTC, to the unit that ``datetime.isoformat`` calls ``timespec``."""
    return datetime.now(UTC).isoformat(timespec=timespec)


def _engine(oracle: str, limits: Limits) -> CheckedOracle:
    engines: OrderedDict[tuple[str, Limits], CheckedOracle] = _local.__dict__.setdefault("engines", OrderedDict())
    key = oracle, limits
    if key not in engines:
        engines[key] = open_oracle(
            oracle,
            registry(),
            time_limit_s=limits.time_s,
            memory_limit_bytes=limits.memory_bytes,
        )
    engines.move_to_end(key)
    while len(engines) > WARM_ENGINES:
        engines.popitem(last=False)[1].close()
    return engines[key]


def _worker() -> str:
    """Return a name for this worker that says nothing about the machine."""
    name = threading.current_thread().name
    if name.startswith(THREAD_PREFIX):
        return name
    facts = f"{platform.node()}/{os.getpid()}/{threading.get_ident()}"
    return f"worker-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def forces_of(answer: Answer) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the forces of an answer as (n_atoms, 3), Hartree/Å."""
    return np.array(answer["forces_hartree_per_angstrom"], dtype=np.float64).reshape(-1, 3)
