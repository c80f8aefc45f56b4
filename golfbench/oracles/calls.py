"""One oracle call as an executor runs it: plain data in, plain data out."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from golfbench.contracts import Oracle
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef

_local = threading.local()


def run_call(oracle: str, molecule: dict[str, Any]) -> dict[str, Any]:
    """Label one geometry with this thread's own engine.

    Args:
        oracle: The oracle as a person writes it.
        molecule: ``Molecule.to_json``.

    Returns:
        ``energy_hartree`` and ``forces_hartree_per_angstrom`` when ``outcome`` is ``ok``, else ``error``; always
        ``engine``, ``started_utc``, ``wall_s`` and ``worker``.
    """
    started, clock = utc_now(), time.perf_counter()
    answer: dict[str, Any] = {"outcome": "ok", "error": "", "engine": ""}
    try:
        engine = _engine(oracle)
        answer["engine"] = engine.version  # before the call, so that a failed one says who failed
        energy, forces = engine.label(Molecule.from_json(molecule))
        answer |= {"energy_hartree": energy, "forces_hartree_per_angstrom": forces.tolist()}
    except OracleError as error:
        answer |= {"outcome": error.kind, "error": str(error)}
    worker = threading.current_thread().name
    return answer | {"started_utc": started, "wall_s": time.perf_counter() - clock, "worker": worker}


def utc_now(timespec: str = "milliseconds") -> str:
    """Return the time as ISO 8601 in UTC, to the unit that ``datetime.isoformat`` calls ``timespec``."""
    return datetime.now(UTC).isoformat(timespec=timespec)


def _engine(oracle: str) -> Oracle:
    engines: dict[str, Oracle] = _local.__dict__.setdefault("engines", {})
    if oracle not in engines:
        engines[oracle] = open_oracle(ComponentRef.parse(oracle), registry())
    return engines[oracle]


def forces_of(answer: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the forces of an answer as (n_atoms, 3), Hartree/Å."""
    return np.array(answer["forces_hartree_per_angstrom"], dtype=np.float64).reshape(-1, 3)
