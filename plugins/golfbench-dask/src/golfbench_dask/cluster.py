"""A client of a running scheduler, or of a small cluster on this machine; everything is ended with it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny, Security, Worker, WorkerPlugin
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.utils import silence_logging_cmgr

from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.threads import THREAD_VARIABLES

#: Whoever waits for a scheduler's answer waits no longer than this, s.
CONNECT_LIMIT_S = 10.0
_CLOSE_LIMIT_S = 10.0


class IgnoreInterrupt(WorkerPlugin):  # type: ignore[misc]  # Dask is not typed throughout
    """Only the process that asks for labels reacts to a Ctrl-C at the terminal; running calls end."""

    def setup(self, worker: Worker) -> None:
        """Run in each worker as it starts."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Client(Client):  # type: ignore[misc]
    """A client that ``Cluster`` closes: left to its own, one that never connected waits 20 s for itself."""

    def __del__(self) -> None:
        pass


class _Nanny(Nanny):  # type: ignore[misc]
    """A guardian of one worker that sets the worker's environment variables in the worker only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pre_spawn_env: dict[str, str] = {}  # Dask would set these in this process, each time a worker starts


class Cluster:
    """A connection, and what was started for it.

    Args:
        scheduler: Address or file of a scheduler; empty: worker processes on this machine.
        workers: How many of those.

    Raises:
        ConfigurationError: If the address or the file makes no sense.
        ComponentMissingError: If no scheduler answers.
    """

    def __init__(self, scheduler: str, workers: int) -> None:
        self._stack = contextlib.ExitStack()
        self._closed = threading.Lock()
        self._stack.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what happens is told with the calls
        try:
            self.client = self._connect(scheduler) if scheduler else self._start(workers)
        except BaseException:
            self.close()
            raise

    def threads(self) -> int | None:
        """Return how many calls can run at once just now; ``None`` while there is no worker."""
        return sum(self.client.nthreads().values()) or None

    def close(self) -> None:
        """Disconnect and end what was started; processes running here are killed."""
        if self._closed.acquire(blocking=False):
            self._stack.close()

    def _connect(self, scheduler: str) -> Client:
        address = scheduler_address(scheduler)
        try:
            host, port = parse_host_port(parse_address(address)[1])
        except ValueError as error:
            raise ConfigurationError(f"dask: scheduler={scheduler}: {error}") from error
        try:
            socket.create_connection((host, port), CONNECT_LIMIT_S).close()  # Dask would try a closed port for 10 s
            client = _Client(address, timeout=CONNECT_LIMIT_S, set_as_default=False, name="golfbench")
        except Exception as error:  # who answers may be no scheduler: then Dask raises anything
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ComponentMissingError(f"no Dask scheduler answers at {address} ({said})") from error
        self._stack.callback(client.close, timeout=_CLOSE_LIMIT_S)
        return client

    def _start(self, workers: int) -> Client:
        if workers < 1:
            raise ConfigurationError(f"dask: workers={workers} must be at least 1")
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="golfbench-dask-", ignore_cleanup_errors=True)
        )
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        settings = {
            "temporary-directory": folder,
            "distributed.scheduler.worker-saturation": 1.0,  # no call waits behind another that may kill the worker
        }
        self._stack.enter_context(dask.config.set(settings))
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            worker_class=_Nanny,
            host="127.0.0.1",
            dashboard_address=None,
            security=Security.temporary(),  # others on this machine could send it pickles
            silence_logs=logging.CRITICAL,  # also in the workers
            local_directory=folder,
            memory_limit=0,  # engines are processes of their own: Dask would measure, and pause, the wrong ones
            env={**dict.fromkeys(THREAD_VARIABLES, "1"), "TMPDIR": str(scratch)},
        )
        self._stack.callback(cluster.close, timeout=_CLOSE_LIMIT_S)
        client = _Client(cluster, set_as_default=False, name="golfbench")
        self._stack.callback(client.close, timeout=_CLOSE_LIMIT_S)
        client.register_plugin(IgnoreInterrupt())
        os.environ.pop("__DASK_PARENT_PID", None)  # of the worker's process titles
        return client


def scheduler_address(scheduler: str) -> str:
    """Return the address in a scheduler file, or what is an address already.

    Raises:
        ConfigurationError: If it is neither, or the file has no address.
        ComponentMissingError: If it is the path of a file that does not exist.
    """
    if "://" in scheduler:
        return scheduler
    path = Path(scheduler).expanduser()
    if path.is_file():
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"dask: {path} is no scheduler file ({type(error).__name__}: {error})") from error
    with contextlib.suppress(ValueError):
        host, port = parse_host_port(scheduler)
        return f"tcp://{host}:{port}"
    raise ComponentMissingError(f"no Dask scheduler: there is no scheduler file {path}")
