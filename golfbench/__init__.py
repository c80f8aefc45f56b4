"""golfbench: gradual optimization learning for neural network potentials, and the benchmark that judges it.

The package is importable without torch: the Python interface, ``minimize``, ``run`` and the others, is imported on
first use (see ``docs/python.md``).
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from golfbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from golfbench.api.ensembles import Conformers, conformers
    from golfbench.api.leaderboards import Leaderboard
    from golfbench.api.minimizing import Minimization, Minimized, minimize
    from golfbench.api.running import Run, read_run, run
    from golfbench.molecules import Molecule
    from golfbench.runs.config import RunConfig

try:
    __version__ = version("golfbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

#: The Python interface: the module of each name.
_OFFERED = {
    "Conformers": "golfbench.api.ensembles",
    "Leaderboard": "golfbench.api.leaderboards",
    "Minimization": "golfbench.api.minimizing",
    "Minimized": "golfbench.api.minimizing",
    "Molecule": "golfbench.molecules",
    "Run": "golfbench.api.running",
    "RunConfig": "golfbench.runs.config",
    "conformers": "golfbench.api.ensembles",
    "minimize": "golfbench.api.minimizing",
    "read_run": "golfbench.api.running",
    "run": "golfbench.api.running",
}

__all__ = [
    "Conformers",
    "Leaderboard",
    "Minimization",
    "Minimized",
    "Molecule",
    "Run",
    "RunConfig",
    "__version__",
    "conformers",
    "hookimpl",
    "minimize",
    "read_run",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a name of the Python interface on first use."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'golfbench' has no attribute '{name}'")
    found = getattr(importlib.import_module(_OFFERED[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_OFFERED})
