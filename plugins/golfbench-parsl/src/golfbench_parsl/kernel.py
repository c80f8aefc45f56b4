"""Parsl's kernel with its interchanges and blocks: started soon or not at all, ended without remains."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
from parsl import DataFlowKernel
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.base import ParslExecutor
from parsl.executors.errors import BadStateException
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState
from parsl.providers import LocalProvider

from golfbench.errors import ComponentMissingError
from golfbench_parsl.configuration import adapt, block_executors, local_config, read_config, slots_of

#: Whoever waits for Parsl to start waits no longer than this, s.
START_LIMIT_S = 25.0
_LOOK_EVERY_S = 0.05
#: How often somebody looks whether the interchanges are alive, s.
_WATCH_EVERY_S = 1.0
#: Processes of this machine get this long to end before they are killed, s.
_ENDING_S = 5.0
_FAILED = (JobState.FAILED, JobState.MISSING)

logging.getLogger("parsl").propagate = False  # its errors are ours to tell: they come with the calls


class Kernel:
    """Parsl, running.

    Args:
        config: Path of the user's configuration file, or empty for this machine.
        workers: Worker processes on this machine.

    Raises:
        ConfigurationError: If the configuration cannot be used.
        ComponentMissingError: If something that it needs cannot be started.
    """

    def __init__(self, config: str, workers: int) -> None:
        self.config: Config = read_config(Path(config).expanduser()) if config else local_config(workers)
        self._folder = adapt(self.config)
        self._groups: set[int] = set()
        self._closing = threading.Event()
        self._closed = threading.Lock()
        try:
            self._kernel = DataFlowKernel(self.config)
        except Exception as error:
            self._end_interchanges()
            self._remove_folder()
            raise ComponentMissingError(f"Parsl does not start: {type(error).__name__}: {error}") from error
        threading.Thread(target=self._watch, name="parsl-watch", daemon=True).start()
        try:
            self._wait_for_blocks()
        except BaseException:
            self.close()
            raise

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Hand a call to the executor with the least to do; one thread at a time.

        This goes past the kernel's own ``submit``, which has nothing to add (dependencies, retries, memoization) and
        draws from the random numbers of Python with each call.
        """
        executor = min(self.config.executors, key=_load)
        try:
            future: Future[Any] = executor.submit(call, {}, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 (a broken executor raises whatever broke it)
            future = Future()
            future.set_exception(BadStateException(executor, error) if _is_broken(executor) else error)
        return future

    def workers(self) -> int | None:
        """Return how many workers there are just now, where every executor can tell."""
        total = 0
        for executor in self.config.executors:
            if not isinstance(executor, HighThroughputExecutor) or executor.bad_state_is_set:
                return None
            total += sum(manager["worker_count"] for manager in executor.connected_managers())
        return total

    def close(self) -> None:
        """End everything that was started and remove the files; running processes are killed."""
        if not self._closed.acquire(blocking=False):
            return
        self._closing.set()
        self._groups |= self._local_groups()
        try:
            if all(process.poll() is None for _, process in self._interchanges()):
                self._kernel.cleanup()
            else:  # cleanup would wait for its answers for ever
                self._cancel_blocks()
        finally:
            self._end_interchanges()
            for group in self._groups:
                _end_group(group)
            self._remove_folder()

    def _wait_for_blocks(self) -> None:
        """Wait until each executor has its first block: queued at a batch system, running on this machine."""
        deadline = time.monotonic() + START_LIMIT_S
        for executor in block_executors(self.config):
            wanted = getattr(executor.provider, "init_blocks", 1)
            while wanted and not _has_begun(executor):
                if reason := _failure(executor):
                    raise ComponentMissingError(f"Parsl's executor '{executor.label}' does not start: {reason}")
                if time.monotonic() > deadline:
                    raise ComponentMissingError(
                        f"Parsl's executor '{executor.label}' did not start within {START_LIMIT_S:g} s"
                    )
                time.sleep(_LOOK_EVERY_S)

    def _watch(self) -> None:
        """Fail every call of an executor whose interchange has died: Parsl itself would wait for ever."""
        while not self._closing.wait(_WATCH_EVERY_S):
            self._groups |= self._local_groups()
            for executor, process in self._interchanges():
                code = process.poll()
                if code is not None and not executor.bad_state_is_set:
                    executor.set_bad_state_and_fail_all(RuntimeError(f"its interchange ended with code {code}"))

    def _interchanges(self) -> Iterator[tuple[HighThroughputExecutor, subprocess.Popen[Any]]]:
        for executor in self.config.executors:
            if isinstance(executor, HighThroughputExecutor) and executor.interchange_proc is not None:
                yield executor, executor.interchange_proc

    def _end_interchanges(self) -> None:
        for _, process in self._interchanges():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _cancel_blocks(self) -> None:
        for executor in block_executors(self.config):
            with contextlib.suppress(Exception):  # a batch system that refuses must not keep the rest from ending
                provider: Any = executor.provider
                provider.cancel(list(executor.job_ids_to_block))

    def _local_groups(self) -> set[int]:
        """Return the process groups of the blocks on this machine."""
        groups = set()
        for executor in block_executors(self.config):
            if isinstance(executor.provider, LocalProvider):
                for job in list(executor.provider.resources.values()):
                    with contextlib.suppress(ProcessLookupError):
                        groups.add(os.getpgid(job["remote_pid"]))
        return groups - {os.getpgrp()}

    def _remove_folder(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _is_broken(executor: ParslExecutor) -> bool:
    return isinstance(executor, BlockProviderExecutor) and executor.bad_state_is_set


def _load(executor: ParslExecutor) -> float:
    """Return calls for each slot; threads of this process are for those who have nothing else."""
    if not isinstance(executor, BlockProviderExecutor) or _is_broken(executor):
        return float("inf")
    return float(executor.outstanding()) / (slots_of(executor) or 1)


def _has_begun(executor: BlockProviderExecutor) -> bool:
    if isinstance(executor, HighThroughputExecutor) and isinstance(executor.provider, LocalProvider):
        return bool(executor.connected_managers())
    return any(status.state not in _FAILED for status in executor.status_facade.values())


def _failure(executor: BlockProviderExecutor) -> str:
    """Return why no block of an executor runs, or the empty string."""
    if executor.bad_state_is_set:
        return " ".join(str(executor.executor_exception).split())
    blocks = list(executor.status_facade.values())
    if not blocks or any(status.state not in _FAILED for status in blocks):
        return ""
    said = (blocks[0].message, blocks[0].stderr_summary)
    return " ".join(" ".join(filter(None, said)).split()) or "no reason given"


def _end_group(group: int) -> None:
    """Wait for the processes of a group, which were told to end and are tidying up; then end them."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _ENDING_S
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        while _is_alive(group) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    members = (process for process in psutil.process_iter(["status"]) if _group_of(process.pid) == group)
    return any(process.info["status"] != psutil.STATUS_ZOMBIE for process in members)


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None
