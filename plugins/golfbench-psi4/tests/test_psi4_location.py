"""Where Psi4 is looked for, in which order, and what is said when it is nowhere."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from golfbench.errors import ComponentMissingError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef
from golfbench_psi4 import engine, location

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write the tree of an installation; nothing else can be found."""
    for variable in ("CONDA_PREFIX", location.LOCATION_VARIABLE, "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(location, "_DEBIAN_PYTHON", tmp_path / "debian" / "bin" / "python3")
    monkeypatch.setattr(location, "_CONDA_ENVIRONMENTS", tmp_path / "environments.txt")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here")])
    monkeypatch.setattr(engine, "_found", {})

    def write(prefix: str, modules: str, shebang: str = "#!/usr/bin/env python\n") -> Path:
        root = tmp_path / prefix
        (root / "bin").mkdir(parents=True)
        (root / modules / "psi4").mkdir(parents=True)
        (root / modules / "psi4" / "__init__.py").touch()
        (root / "bin" / "python3").touch()
        (root / "bin" / "psi4").write_text(shebang)
        (root / "bin" / "psi4").chmod(0o755)
        return root

    return write


def expected(root: Path, modules: str, interpreter: str = "bin/python3") -> location.Installation:
    return location.Installation((str(root / interpreter), "-I"), (str(root / modules),))


def test_nothing_anywhere(install: Install) -> None:
    assert list(location.candidates("")) == []
    with pytest.raises(
        ComponentMissingError, match="Psi4 was not found; install it with: apt-get install psi4 libopenblas0, or conda"
    ):
        engine.start_driver("", 1, 10**9)


def test_the_order_of_the_search(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conda = install("conda", "lib/python3.12/site-packages")
    (tmp_path / "environments.txt").write_text(f"{tmp_path / 'gone'}\n{conda}\n")
    found = [expected(conda, "lib/python3.12/site-packages")]
    assert list(location.candidates("")) == found
    debian = install("debian", "lib/x86_64-linux-gnu")
    found = [expected(debian, "lib/x86_64-linux-gnu"), *found]
    assert list(location.candidates("")) == found
    built = install("built", "lib")
    monkeypatch.setenv("PATH", str(built / "bin"))
    found = [expected(built, "lib"), *found]
    assert list(location.candidates("")) == found
    install("here", ".")
    importlib.invalidate_caches()
    assert list(location.candidates("")) == [location.Installation((sys.executable,)), *found]


@pytest.mark.parametrize("named", ["", "bin/psi4", "bin/python3"])
def test_a_named_place_is_the_only_one(named: str, install: Install) -> None:
    install("debian", "lib/x86_64-linux-gnu")
    mine = install("mine", "lib/python3.11/site-packages")
    assert list(location.candidates(str(mine / named))) == [expected(mine, "lib/python3.11/site-packages")]
    assert list(location.candidates(str(mine / "bin" / "psi5"))) == []


def test_the_program_names_its_interpreter(install: Install, tmp_path: Path) -> None:
    other = tmp_path / "python3.9"
    other.touch()
    root = install("mine", "lib", f"#!{other}\n")
    link = tmp_path / "psi4"
    link.symlink_to(root / "bin" / "psi4")
    assert list(location.candidates(str(link))) == [expected(root, "lib", str(other))]


def test_what_was_tried_is_told(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = install("mine", "lib")
    python = root / "bin" / "python3"
    python.unlink()
    python.symlink_to(sys.executable)
    (root / "lib" / "psi4" / "__init__.py").write_text("import module_that_is_not_there")
    with pytest.raises(ComponentMissingError, match=r"at '.*mine' \(.*No module named 'module_that_is_not_there'"):
        engine.start_driver(str(root), 1, 10**9)


def test_a_missing_psi4_is_told_through_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(location.LOCATION_VARIABLE, "/nowhere/bin/psi4")
    molecule = Molecule("H2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))
    complaint = "Psi4 was not found at '/nowhere/bin/psi4'; install it with: apt-get install psi4 libopenblas0"
    with open_oracle(ComponentRef.parse("psi4"), registry()) as oracle:
        for _ in range(2):
            with pytest.raises(ComponentMissingError, match=complaint):
                oracle.label(molecule)


def test_what_was_found_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = location.Installation(("/nowhere/python3",))
    monkeypatch.setitem(engine._found, "somewhere", known)
    monkeypatch.setattr(engine, "candidates", pytest.fail)
    with pytest.raises(engine.OracleError, match="cannot be started"):
        engine.start_driver("somewhere", 1, 10**9)
