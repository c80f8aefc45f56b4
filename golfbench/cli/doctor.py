"""``golfbench doctor``: what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

import golfbench
from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.models import named_weights
from golfbench.cli.options import DEFAULTS, JsonOption
from golfbench.environments import missing
from golfbench.errors import ComponentMissingError
from golfbench.registry import KINDS, registry
from golfbench.specs import ModelSpec, NamedWeights, Spec
from golfbench.store import fetch_command, stored
from golfbench.threads import THREAD_VARIABLES, WAIT_VARIABLE, usable_cpus

#: Programs that plugins start, with the command that installs each.
PROGRAMS = {"psi4": "apt-get install psi4 libopenblas0, or conda install -c conda-forge psi4"}
#: ``(kind, name)`` of what the default run needs: its combination, the surrogate and the selection it is compared with.
NEEDED = (
    *((kind, ref.name) for kind, ref in DEFAULTS.items()),
    ("selection", "random"),
    ("oracle", "mmff94"),
)
#: A run keeps labels, checkpoints and trajectories: with less free space than this, bytes, it may not finish.
LOW_DISK_BYTES = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the report.

    Attributes:
        area: ``system``, ``plugin``, ``program``, or a kind of component.
        name: What was checked.
        status: ``ok``, ``missing`` or ``warning``.
        detail: Version or value; for what is missing, the command that installs it.
        needed: Whether the default run needs it.
    """

    area: str
    name: str
    status: Literal["ok", "missing", "warning"]
    detail: str = ""
    needed: bool = False


def register(app: typer.Typer) -> None:
    """Add the verb ``doctor``."""
    app.command()(doctor)


def doctor(json: JsonOption = False) -> None:
    """Show what is installed and what is missing; exit 3 when the default run lacks something."""
    findings = [*_system(), *_plugins(), *_components(), *_weights(), *_programs()]
    lacking = [f for f in findings if f.needed and f.status == "missing"]
    if json:
        listed = [asdict(finding) for finding in findings]
        console.print_json({"schema_version": SCHEMA_VERSION, "ready": not lacking, "findings": listed})
    else:
        rows = [(f.area, f.name, f.status, f.detail) for f in findings]
        console.print_table(("area", "name", "status", "detail"), rows)
    if lacking:
        names = ", ".join(f"{f.area} {f.name}" for f in lacking)
        raise ComponentMissingError(f"the default run needs what is not installed: {names}")


def _system() -> Iterator[Diagnosis]:
    yield Diagnosis("system", "python", "ok", platform.python_version())
    yield Diagnosis("system", "golfbench", "ok", golfbench.__version__)
    yield _torch()
    yield Diagnosis("system", "cpus", "ok", str(usable_cpus()))
    for variable in (*THREAD_VARIABLES, WAIT_VARIABLE):
        value = os.environ.get(variable)
        yield Diagnosis("system", variable, "ok" if value else "warning", value or "not set")
    free = shutil.disk_usage(Path.cwd()).free
    yield Diagnosis("system", "disk", "ok" if free > LOW_DISK_BYTES else "warning", f"{free / 1e9:.1f} GB free here")


def _torch() -> Diagnosis:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Diagnosis("system", "torch", "missing", "pip install torch", needed=True)
    return Diagnosis("system", "torch", "ok", f"{version} ({_torch_build(version)})")


def _torch_build(version: str) -> str:
    """Find the build from metadata: the version of a CPU wheel has a label, CUDA wheels require CUDA's libraries."""
    label = version.partition("+")[2]
    cuda = any(requirement.startswith("nvidia-") for requirement in metadata.requires("torch") or ())
    if label.startswith(("cu", "rocm")) or (cuda and not label):
        return f"GPU build {label}".rstrip()
    return "CPU build"


def _plugins() -> Iterator[Diagnosis]:
    found = registry()
    for plugin in found.plugins:
        status: Literal["ok", "warning"] = "warning" if plugin.error else "ok"
        yield Diagnosis("plugin", plugin.name, status, plugin.error or f"{plugin.distribution} {plugin.version}")
    for clash in found.clashes():
        yield Diagnosis("plugin", "clash", "warning", clash)


def _components() -> Iterator[Diagnosis]:
    found = registry()
    offered = {(kind, spec.name): spec for kind in KINDS for spec in found.specs(kind)}
    for (kind, name), spec in offered.items():
        yield _component(kind, spec, (kind, name) in NEEDED)
    for kind, name in NEEDED:
        if (kind, name) not in offered:
            yield Diagnosis(kind, name, "missing", "no plugin that is installed offers it", needed=True)


def _component(kind: str, spec: Spec, needed: bool) -> Diagnosis:
    absent = missing(spec)
    if not absent:
        return Diagnosis(kind, spec.name, "ok", spec.distribution, needed)
    cure = spec.install_hint or f"pip install {' '.join(absent)}"
    return Diagnosis(kind, spec.name, "missing", f"{', '.join(absent)} not found; {cure}", needed)


def _weights() -> Iterator[Diagnosis]:
    for spec, weights in named_weights():
        path = stored(spec, weights)
        name, needed = f"{spec.name}:weights={weights.name}", _by_default(spec, weights)
        yield Diagnosis(
            "weights", name, "ok" if path else "missing", str(path) if path else fetch_command(spec, weights), needed
        )


def _by_default(spec: ModelSpec, weights: NamedWeights) -> bool:
    """Return whether a run without options starts from these weights."""
    if not registry().has("model", DEFAULTS["model"]):
        return False
    model = registry().component(ModelSpec, DEFAULTS["model"])
    return spec.name == model.spec.name and weights.name == model.parameters.get("weights", spec.weights[0].name)


def _programs() -> Iterator[Diagnosis]:
    for program, cure in PROGRAMS.items():
        path = shutil.which(program)
        yield Diagnosis("program", program, "ok" if path else "missing", path or cure)
        if path and Path(path).parent == Path("/usr/bin") and has_reference_blas():
            slow = f"Debian's {program} runs on the reference BLAS, four times slower: apt-get install libopenblas0"
            yield Diagnosis("program", "blas", "warning", slow)


def has_reference_blas(libraries: Path = Path("/usr/lib")) -> bool:
    """Return whether Debian's programs load the BLAS of Netlib, which it puts where no other one is installed.

    A gradient of fluorouracil at the level of the GOLF paper took Psi4 1.3.2 102 s of processor time with it and 24 s
    with OpenBLAS.
    """
    return any(link.resolve().parent.name == "blas" for link in libraries.glob("*-linux-gnu/libblas.so.3"))
