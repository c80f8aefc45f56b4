"""Packages to start from: what ``golfbench plugins new`` writes.

Each folder here is a kind of component; its files go to the package, those of ``common`` around it. ``$name`` fields
are filled in by ``string.Template``.
"""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from golfbench.durable import write_atomically
from golfbench.errors import ConfigurationError, unknown_name
from golfbench.registry import KINDS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".in"
#: What the code of each kind imports besides the suite.
_DEPENDENCIES = {
    "model": ("torch>=2.4",),
    "optimizer": ("torch>=2.4",),
    "learner": (),
    "selection": ("numpy>=1.26",),
    "oracle": ("ase>=3.23", "numpy>=1.26"),
    "dataset": ("ase>=3.23", "numpy>=1.26"),
}


def render(kind: str, name: str) -> dict[str, str]:
    """Return the files of a package with a working plugin, by their paths in it.

    Args:
        kind: What it offers.
        name: Name of the component, in kebab case.

    Raises:
        ConfigurationError: If there is no such kind, or the name is not in kebab case.
    """
    if kind not in KINDS:
        raise ConfigurationError(unknown_name("kind", kind, KINDS))
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"'{name}' is not in kebab case: lower-case words joined by hyphens, as in my-net")
    package = f"golfbench_{name.replace('-', '_')}"
    templates = files("golfbench") / "templates"
    code = {f"src/{package}/{_plain(file)}": file.read_text("utf-8") for file in (templates / kind).iterdir()}
    around = {_around(package, _plain(file)): file.read_text("utf-8") for file in (templates / "common").iterdir()}
    module = next(Path(path).stem for path in code if path.endswith(".py") and not path.endswith("__init__.py"))
    values = _values(kind, name, package, module)
    filled = {path: Template(text).substitute(values) for path, text in (around | code).items()}
    return dict(sorted((filled | {f"src/{package}/py.typed": ""}).items()))


def _plain(file: Traversable) -> str:
    return file.name.removesuffix(_SUFFIX)


def _around(package: str, name: str) -> str:
    return f"tests/test_{package}_contract.py" if name.startswith("test_") else name


def _values(kind: str, name: str, package: str, module: str) -> dict[str, str]:
    needed = ("golfbench", *_DEPENDENCIES.get(kind, ()))
    return {
        "kind": kind,
        "name": name,
        "package": package,
        "module": module,
        "distribution": f"golfbench-{name}",
        "class_name": "".join(word.capitalize() for word in (*name.split("-"), kind)),
        "dependencies": ", ".join(f'"{requirement}"' for requirement in needed),
        "usage": "" if kind == "executor" else f"    golfbench run --{kind} {name}\n",
    }


def write_package(kind: str, name: str, folder: Path) -> list[Path]:
    """Write a package with a working plugin and return the files.

    Args:
        kind: What it offers.
        name: Name of the component, in kebab case.
        folder: Must not exist, or be empty.

    Raises:
        ConfigurationError: As for ``render``, and if something is in the folder already.
        WriteError: If it cannot be written.
    """
    rendered = render(kind, name)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigurationError(f"{folder} exists already: choose another folder with --output")
    for path, text in rendered.items():
        write_atomically(folder / path, text, parents=True)
    return [folder / path for path in rendered]
