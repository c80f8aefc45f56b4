"""Environments of their own, for models whose requirements conflict with those of other models.

An environment has golfbench, the installed plugins without conflicts (those without a trainable model), the model's own
plugin and what it requires. Its interpreter runs the model's part of a grid, or a whole command that is
about that model alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlparse

from golfbench.durable import write_atomically
from golfbench.errors import ComponentMissingError, GolfbenchError
from golfbench.registry import Registry, registry
from golfbench.specs import ModelSpec, Named, Spec

#: Name of the model whose environment this process runs in.
INSIDE_VARIABLE = "GOLFBENCH_ENVIRONMENT"
#: Folder of all environments; by default one of the user's data folder.
FOLDER_VARIABLE = "GOLFBENCH_ENVIRONMENTS"
#: Kept at this process's versions, so that the numbers of both kinds of rows come from the same engines.
SHARED = ("torch", "numpy", "scipy", "ase", "rdkit", "xtb", "tblite")
SCHEMA_VERSION = 1
_MARKER = "golfbench-environment.json"


class ElsewhereError(ComponentMissingError):
    """A model that cannot run in this interpreter, only in that of its own environment.

    Attributes:
        environment: The environment.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(f"model '{environment.name}' runs in an environment of its own: {environment.python}")
        self.environment = environment


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of one model.

    Attributes:
        name: The model.
        path: Its folder.
        requirements: What pip is asked for.
        constraints: Versions shared with this process.
    """

    name: str
    path: Path
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def content(self) -> dict[str, Any]:
        """What it is made from; if that changes, it has to be made again."""
        return {
            "schema_version": SCHEMA_VERSION,
            "python": sys.version.split()[0],
            "requirements": list(self.requirements),
            "constraints": list(self.constraints),
        }

    def is_current(self) -> bool:
        """Return whether it is there and up to date."""
        try:
            made: Any = json.loads((self.path / _MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(made == self.content) and self.python.exists()

    def variables(self) -> dict[str, str]:
        """Return the variables of a process that runs in it."""
        return {**os.environ, INSIDE_VARIABLE: self.name}


def own_environment(spec: ModelSpec, found: Registry | None = None) -> Environment | None:
    """Return the environment that a model runs in, or ``None`` where that is this process."""
    if not spec.environment or os.environ.get(INSIDE_VARIABLE) == spec.name:
        return None
    projects = [*_neutral_distributions(found or registry()), spec.distribution]
    requirements = [word for name in projects for word in _requirement(name)]
    pins = [f"{name}=={_public(version)}" for name in SHARED if (version := _version(name))]
    return Environment(spec.name, _home() / spec.name, (*requirements, *spec.environment), tuple(pins))


def is_installed(module: str) -> bool:
    """Return whether a module can be found, without importing it or a parent package."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except ValueError:  # a module that is imported already and hides its spec
        return True


def missing(spec: Spec) -> list[str]:
    """Return the required modules of a component that are not installed, or its environment."""
    if isinstance(spec, ModelSpec) and (environment := own_environment(spec)):
        return [] if environment.is_current() else [f"environment {environment.name}"]
    return [module for module in spec.requires if not is_installed(module)]


def environment_of(model: Named) -> Environment | None:
    """Return the environment of a model of the grid, or ``None`` for this process."""
    return own_environment(registry().find(ModelSpec, model)) if registry().has("model", model) else None


def require(environment: Environment) -> None:
    """Refuse an environment that is missing or out of date.

    Raises:
        ComponentMissingError: With the command that makes it.
    """
    if not environment.is_current():
        state = "was made from other versions" if environment.path.exists() else "is not installed"
        raise ComponentMissingError(
            f"the environment of model '{environment.name}' {state}: golfbench plugins install {environment.name}"
        )


def check_here(spec: ModelSpec) -> None:
    """Refuse a model that this process cannot run.

    Raises:
        ElsewhereError: If its environment is there.
        ComponentMissingError: If its environment has to be made first.
    """
    if environment := own_environment(spec):
        require(environment)
        raise ElsewhereError(environment)


def run_instead(environment: Environment, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the same command in the environment."""
    command = [str(environment.python), "-m", "golfbench", *arguments]
    os.execve(environment.python, command, environment.variables())  # noqa: S606 - an argument list, no shell


def install(environment: Environment, tell: Callable[[str], None]) -> None:
    """Make an environment, by uv if it is there, otherwise by venv and pip.

    Raises:
        GolfbenchError: If that fails; an incomplete environment is removed.
    """
    shutil.rmtree(environment.path, ignore_errors=True)
    environment.path.parent.mkdir(parents=True, exist_ok=True)
    constraints = environment.path.with_suffix(".constraints.txt")
    constraints.write_text("\n".join(environment.constraints) + "\n", encoding="utf-8")
    uv = shutil.which("uv")
    commands = _with_uv(uv, environment, constraints) if uv else _with_pip(environment, constraints)
    try:
        for command in commands:
            tell(" ".join(command[:4]) + " ...")
            _run(command, environment)
        write_atomically(environment.path / _MARKER, json.dumps(environment.content, indent=2))
    except BaseException:
        shutil.rmtree(environment.path, ignore_errors=True)
        raise
    finally:
        constraints.unlink(missing_ok=True)


def _run(command: Sequence[str], environment: Environment) -> None:
    variables = dict(os.environ)
    if "UV_FIND_LINKS" not in variables and (folders := _find_links()):
        variables["UV_FIND_LINKS"] = ",".join(folders.split())  # uv reads none of pip's configuration
    done = subprocess.run(command, env=variables, stdout=sys.stderr, check=False)
    if done.returncode:
        raise GolfbenchError(
            f"the environment of model '{environment.name}' could not be made: {command[0]} ended with "
            f"{done.returncode}; its reason stands above"
        )


def _with_pip(environment: Environment, constraints: Path) -> list[list[str]]:
    python = str(environment.python)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
    return [[sys.executable, "-m", "venv", str(environment.path)], [*install, *environment.requirements]]


def _with_uv(uv: str, environment: Environment, constraints: Path) -> list[list[str]]:
    install = [uv, "pip", "install", "--quiet", "--python", str(environment.python), "-c", str(constraints)]
    make = [uv, "venv", "--quiet", "--python", sys.executable, str(environment.path)]
    return [make, [*install, *environment.requirements]]


def _find_links() -> str:
    """Return the folders in which pip looks for wheels, from its variable or its configuration."""
    if given := os.environ.get("PIP_FIND_LINKS"):
        return given
    command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _home() -> Path:
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).absolute()
    from platformdirs import user_data_path

    return user_data_path("golfbench") / "environments"


def _neutral_distributions(found: Registry) -> list[str]:
    """Return golfbench and the distributions of plugins that have no trainable model."""
    trainable = {spec.distribution for spec in found.specs("model") if isinstance(spec, ModelSpec) and spec.trainable}
    plugins = {plugin.distribution for plugin in found.plugins if not plugin.error}
    return ["golfbench", *sorted(plugins - trainable)]


def _requirement(name: str) -> list[str]:
    """Return pip's requirement for the same distribution as here: its folder, if it has one, or its version."""
    try:
        found = distribution(name)
    except PackageNotFoundError:  # an entry point that came without a distribution
        return []
    origin = _origin(found)
    url = urlparse(str(origin.get("url", "")))
    if url.scheme != "file":
        return [f"{found.name}=={found.version}"]
    path = unquote(url.path)
    editable: Any = origin.get("dir_info", {})
    return ["-e", path] if editable.get("editable") else [path]


def _origin(found: Distribution) -> Mapping[str, Any]:
    """Return where pip got a distribution from (PEP 610)."""
    text = found.read_text("direct_url.json")
    origin: Mapping[str, Any] = json.loads(text) if text else {}
    return origin


def _version(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return ""


def _public(version: str) -> str:
    """Return a version without its local label: ``2.13.0`` of ``2.13.0+cpu``."""
    return version.partition("+")[0]
