"""Where Psi4 may be: the interpreters that could import it, most likely first. Looks at files, starts nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Names the psi4 program, its interpreter or its environment, where the search would find another one or none.
LOCATION_VARIABLE = "GOLFBENCH_PSI4"
_DEBIAN_PYTHON = Path("/usr/bin/python3")
#: Every environment that conda or mamba made, one prefix a line.
_CONDA_ENVIRONMENTS = Path("~/.conda/environments.txt")
#: Below the prefix of an installation: Debian, a build from source, conda.
_MODULE_FOLDERS = ("lib", "lib64", "lib/*-linux-gnu", "lib/python3*/site-packages")


@dataclass(frozen=True, slots=True)
class Installation:
    """An interpreter that should have Psi4.

    Attributes:
        command: The interpreter and its options.
        folders: What its module search path lacks.
    """

    command: tuple[str, ...]
    folders: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.command[0], *self.folders))


def candidates(location: str) -> Iterator[Installation]:
    """Yield where Psi4 may be.

    Args:
        location: The psi4 program, its Python interpreter or the folder of its environment: then only that
            place is tried. Empty: in the current interpreter, on PATH, in Debian's packages, in a conda environment.
    """
    if location:
        yield from _at(Path(location).expanduser())
        return
    yield from _in_current_interpreter()
    program = shutil.which("psi4")
    if program is not None:
        yield from _at(Path(program))
    yield from (found for found in _at(_DEBIAN_PYTHON) if found.folders)
    for prefix in _conda_prefixes():
        if (prefix / "bin" / "psi4").is_file():
            yield from _at(prefix)


def _in_current_interpreter() -> Iterator[Installation]:
    if importlib.util.find_spec("psi4") is not None:
        yield Installation((sys.executable,))


def _conda_prefixes() -> Iterator[Path]:
    active = os.environ.get("CONDA_PREFIX")
    if active:
        yield Path(active)
    listed = _CONDA_ENVIRONMENTS.expanduser()
    if listed.is_file():
        yield from map(Path, listed.read_text().split("\n"))


def _at(path: Path) -> Iterator[Installation]:
    """Yield what a program, an interpreter or an environment stands for; nothing when it is none of them."""
    if path.is_dir():
        path = next((p for p in (path / "bin" / "psi4", path / "bin" / "python3") if p.is_file()), path)
    if not path.is_file():
        return
    is_python = path.name.startswith("python")
    interpreter = path if is_python else _interpreter_of(path.resolve())
    # an interpreter that is a link belongs to the environment of the link, a psi4 program to the target's
    prefix = (path if is_python else path.resolve()).absolute().parent.parent
    # -I: modules of this environment, which PYTHONPATH may name, are not for another interpreter
    yield Installation((str(interpreter), "-I"), tuple(map(str, _module_folders(prefix))))


def _interpreter_of(program: Path) -> Path:
    """Return the interpreter in the first line of the psi4 program, or the one beside it."""
    with program.open("rb") as script:
        words = script.readline(1000).decode(errors="replace").removeprefix("#!").split()
    named = Path(words[0]) if words else Path()
    if named.name.startswith("python") and named.is_file():
        return named
    return next((p for p in (program.parent / "python3", program.parent / "python") if p.is_file()), _DEBIAN_PYTHON)


def _module_folders(prefix: Path) -> list[Path]:
    found = [folder for pattern in _MODULE_FOLDERS for folder in sorted(prefix.glob(pattern))]
    return [folder for folder in found if (folder / "psi4" / "__init__.py").is_file()]
