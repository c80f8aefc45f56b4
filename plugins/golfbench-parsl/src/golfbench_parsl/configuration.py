"""What Parsl is started with: the configuration of a user's file, or one for the processes of this machine."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
from parsl.config import Config
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.executors.base import ParslExecutor
from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD, DEFAULT_LAUNCH_CMD
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.error_handlers import simple_error_handler, windowed_error_handler
from parsl.providers import LocalProvider

from golfbench.errors import ConfigurationError
from golfbench.threads import THREAD_VARIABLES

#: Parsl's own default, in the current directory.
_DEFAULT_RUN_DIR = "runinfo"
#: A lost worker is noticed after the first, a lost manager (all workers of a block) after the second, s.
HEARTBEAT_S, HEARTBEAT_LIMIT_S = 1, 10
#: What every block runs before its workers: the programs of this environment, one thread for each worker, and a
#: scratch directory that the shell removes however the workers end.
_WORKER_INIT = """\
export PATH={bin}:"$PATH"
export {threads}
golfbench_scratch=$(mktemp -d "${{TMPDIR:-/tmp}}/golfbench-parsl-XXXXXX")
export TMPDIR="$golfbench_scratch"
trap 'rm -rf "$golfbench_scratch"' EXIT
{users}"""


def local_config(workers: int) -> Config:
    """Return a configuration for worker processes on this machine, on the loopback address.

    Raises:
        ConfigurationError: If ``workers`` is not positive.
    """
    if workers < 1:
        raise ConfigurationError(f"parsl: workers={workers} must be at least 1")
    executor = HighThroughputExecutor(
        label="golfbench",
        address="127.0.0.1",
        max_workers_per_node=workers,
        cores_per_worker=1e-3,  # or Parsl would start no more workers than there are cores
        heartbeat_period=HEARTBEAT_S,
        heartbeat_threshold=HEARTBEAT_LIMIT_S,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    return Config(executors=[executor], strategy_period=0.5)


def read_config(path: Path) -> Config:
    """Run a Python file and return its ``config``.

    Raises:
        ConfigurationError: If there is no such file, it fails, or its ``config`` is no ``parsl.Config``.
    """
    if not path.is_file():
        raise ConfigurationError(f"parsl: no configuration file {path}")
    spec = importlib.util.spec_from_file_location(f"golfbench_parsl_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"parsl: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        raise ConfigurationError(f"parsl: {path}: {type(error).__name__}: {error}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, Config):
        raise ConfigurationError(f"parsl: {path} must define config = parsl.Config(...)")
    return config


def adapt(config: Config) -> str:
    """Make a configuration fit: no retries, no log of its own, files in a private folder, a clean place to work.

    Returns:
        The private folder, or the empty string where the configuration names a run directory.
    """
    config.retries, config.retry_handler = 0, None  # the suite retries, and counts
    folder = ""
    if config.run_dir == _DEFAULT_RUN_DIR:
        folder = _private_folder(config)
        config.run_dir = os.path.join(folder, "runinfo")
        config.initialize_logging = False
    for executor in block_executors(config):
        if executor.block_error_handler is simple_error_handler:  # gives up when all blocks so far failed: often one
            executor.block_error_handler = windowed_error_handler  # gives up when three in a row failed
        if isinstance(executor, HighThroughputExecutor):
            _launch_our_interchange(executor, folder)
            _launch_our_workers(executor)
        _prepare_workers(executor)
    return folder


def block_executors(config: Config) -> Iterator[BlockProviderExecutor]:
    """Yield the executors that start workers in blocks."""
    return (e for e in config.executors if isinstance(e, BlockProviderExecutor) and e.provider is not None)


def slots(config: Config) -> int | None:
    """Return the most calls that can run at once, or ``None`` where the configuration does not say."""
    counts = [slots_of(executor) for executor in config.executors]
    return None if None in counts else sum(count or 0 for count in counts)


def slots_of(executor: ParslExecutor) -> int | None:
    """Return the same for one executor."""
    if isinstance(executor, ThreadPoolExecutor):
        threads: int = executor.max_threads
        return threads
    if not isinstance(executor, HighThroughputExecutor) or executor.max_workers_per_node == float("inf"):
        return None
    provider: Any = executor.provider
    return int(executor.max_workers_per_node) * int(provider.max_blocks) * int(provider.nodes_per_block)


def _private_folder(config: Config) -> str:
    """Make a folder for certificates, scripts and logs; workers elsewhere need to read it, so it is in the home."""
    local = all(isinstance(e.provider, LocalProvider) for e in block_executors(config))
    parent = None if local else platformdirs.user_cache_path("golfbench", ensure_exists=True)
    return tempfile.mkdtemp(prefix="golfbench-parsl-", dir=parent)


def _launch_our_interchange(executor: HighThroughputExecutor, folder: str) -> None:
    """Start the interchange by its module, wherever PATH leads, and in a session of its own."""
    if list(executor.interchange_launch_cmd) == DEFAULT_INTERCHANGE_LAUNCH_CMD:
        command = [sys.executable, "-P", "-m", "golfbench_parsl.interchange", str(os.getpid())]
        executor.interchange_launch_cmd = [*command, folder] if folder else command


def _launch_our_workers(executor: HighThroughputExecutor) -> None:
    """Start the workers by our module, with the interpreter that PATH leads to where they run."""
    if executor.launch_cmd == DEFAULT_LAUNCH_CMD:
        program, _, options = DEFAULT_LAUNCH_CMD.partition(" ")
        assert program == "process_worker_pool.py"
        executor.launch_cmd = f"python -P -m golfbench_parsl.workers {options}"


def _prepare_workers(executor: BlockProviderExecutor) -> None:
    """Put our lines before those of the user, who may change any of it."""
    provider: Any = executor.provider
    if hasattr(provider, "worker_init"):
        threads = " ".join(f"{variable}=1" for variable in THREAD_VARIABLES)
        programs = shlex.quote(str(Path(sys.executable).parent))
        provider.worker_init = _WORKER_INIT.format(bin=programs, threads=threads, users=provider.worker_init)
