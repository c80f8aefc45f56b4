"""golfbench: gradual optimization learning for neural network potentials, and the benchmark that judges it.

The package is importable without torch; modules that hold batches import it themselves.
"""

from importlib.metadata import PackageNotFoundError, version

from golfbench.hookspecs import hookimpl

try:
    __version__ = version("golfbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "hookimpl"]
