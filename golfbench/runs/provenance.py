"""Provenance: what ran, where and with which versions. No user name, no host name, no path of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

import golfbench
from golfbench.registry import registry
from golfbench.runs.manifest import Hardware, Provenance, Source

#: Distributions whose versions results depend on.
DECISIVE = (
    "torch",
    "numpy",
    "ase",
    "rdkit",
    "xtb",
    "schnetpack",
    "mace-torch",
    "nequip",
    "e3nn",
    "so3krates-torch",
    "tblite",
)


def provenance(arguments: Iterable[str]) -> Provenance:
    """Return the versions, the hardware and the command line of this process."""
    return Provenance(
        golfbench_version=golfbench.__version__,
        source=_source(),
        python_version=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions={name: found for name in DECISIVE if (found := _version(name))},
        plugins={name: found for name, found in registry().distributions().items() if name != "golfbench"},
        hardware=_hardware(),
        threads={name: os.environ[name] for name in sorted(os.environ) if name.endswith("_NUM_THREADS")},
        argv=(os.path.basename(sys.argv[0]), *(_without_folder(a) for a in arguments)),
    )


def code_of(facts: Provenance) -> dict[str, str]:
    """Return the versions of the suite and its plugins, by name: the meaning of a row depends on them."""
    commit = facts.source.commit if facts.source else ""
    return {"golfbench": facts.golfbench_version, "commit": commit, **facts.plugins}


def libraries_of(facts: Provenance) -> dict[str, str]:
    """Return libraries, processor and threads, by name: what may change the last digits of a number."""
    machine = {"platform": facts.platform, "processor": facts.hardware.cpu}
    return {"python": facts.python_version, **machine, **facts.versions, **facts.threads}


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return what differs in another process, a line each."""
    names = [name for name in {**one, **other} if one.get(name, "") != other.get(name, "")]
    return [f"{name} is {other.get(name) or 'missing'} there, {one.get(name) or 'missing'} elsewhere" for name in names]


def _source() -> Source | None:
    """Return the commit of the checkout that this package runs from and whether it was changed, if it is one."""
    folder = Path(golfbench.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Source(commit=commit.stdout.strip(), changed=bool(changes.stdout.strip()))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _hardware() -> Hardware:
    return Hardware(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
    )


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _without_folder(argument: str) -> str:
    """Shorten an absolute path: it would show the user's name, and nothing about the run."""
    return os.path.basename(argument) if os.path.isabs(argument) else argument
