"""The oracle service of a run: its executor, its cache, its files."""

from __future__ import annotations

from pathlib import Path

from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.calls import Limits
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.specs import ExecutorSpec


def open_service(config: RunConfig, directory: Path) -> OracleService:
    """Open the oracle service that a configuration asks for.

    Args:
        config: Executor, workers and cache.
        directory: Where the ledger and the labels are.

    Raises:
        ComponentMissingError: If the executor is not installed or cannot be reached.
        ConfigurationError: If it refuses its parameters.
    """
    spec, parameters = registry().find(ExecutorSpec, config.executor), dict(config.executor.parameters)
    if config.workers is not None and any(p.name == "workers" for p in spec.parameters):
        parameters.setdefault("workers", config.workers)
    cache = None if config.cache == "off" else LabelCache(default_path())
    memory_gb = config.limits.memory_gb
    limits = Limits(config.limits.time_s, None if memory_gb is None else int(memory_gb * 1e9))
    any_version = config.cache == "any-version"
    return OracleService(directory, spec.create(parameters), config.workers, cache, any_version, limits)
