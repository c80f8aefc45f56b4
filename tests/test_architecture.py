"""What may import what in ``golfbench/``: a room knows those on floors below its own, and nothing else.

The floors are drawn in ``docs/architecture.md``. A room is a package or module right below ``golfbench``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "golfbench"

#: From the ground up. Rooms of one floor do not know each other, so that there is no circle.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "units", "allocator", "threads", "seeds", "imports"),
    ("molecules", "notation", "sources", "stopping", "durable", "states", "spins", "stereo"),
    ("specs", "datasets", "batches", "chemistry", "valence", "fetching", "constraints"),
    ("hookspecs", "contracts"),
    # ``golfbench`` is what the package itself offers: its version
    ("golfbench", "registry", "minimization", "loggers", "curves", "rigid", "training_sets"),
    ("environments", "templates", "oracles", "curvature", "store"),
    ("learning", "benchmark", "data_files"),
    ("runs",),
    ("leaderboard", "molecule_files", "ase", "testing"),
    ("site", "compare", "api"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: Who may import a room although everybody above its floor could.
ONLY_FOR = {"testing": {"golfbench.cli.contract"}, "cli": {"golfbench.__main__"}}
#: What the package offers from above its floor, imported when it is asked for.
OFFERED = {"api", "runs"}
#: What the command line imports before it knows which verb is wanted: `--help` must stay fast.
CLI_AT_ONCE = {"golfbench", "errors", "registry", "specs", "threads", "environments", "store"}
CLI_PACKAGES = {"typer"}
#: The distributions that golfbench depends on, by the name that is imported; ``pytest`` is what contract tests run in.
PACKAGES = {"ase", "filelock", "numpy", "platformdirs", "plotly", "pluggy", "psutil", "pydantic", "rdkit", "rich"}
PACKAGES |= {"safetensors", "torch", "typer", "typing_extensions", "yaml"}
PACKAGES |= {"pydantic_core"}  # pydantic's own other half: where a field of our type says how it is read
PACKAGES |= {"_typeshed"}  # names that type checkers alone see


@dataclass(frozen=True)
class Import:
    """One import of a module.

    Attributes:
        module: Who imports.
        line: Where.
        target: What is imported, dotted.
        at_once: Whether the import of the module imports it: neither in a function nor for type checkers only.
    """

    module: str
    line: int
    target: str
    at_once: bool

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: {self.target}"

    @property
    def inside(self) -> bool:
        return self.target.split(".")[0] == "golfbench"


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "golfbench"


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package, by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> Iterator[Import]:
    known = modules(package)
    for module, path in known.items():
        for node, at_once in _imports_in(ast.parse(path.read_text(encoding="utf-8")), True):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                assert node.level == 0, f"{path}, line {node.lineno}: imports are absolute"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [name if name in known else str(node.module) for name in whole]
            yield from (Import(module, node.lineno, target, at_once) for target in dict.fromkeys(targets))


def _imports_in(tree: ast.AST, at_once: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        )
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, at_once
        else:
            yield from _imports_in(node, at_once and not later)


def wrong_imports(package: Path) -> list[str]:
    """One line for each import that the rules forbid."""
    problems = []
    for found in imports(package):
        room, target = room_of(found.module), room_of(found.target)
        if not found.inside:
            name = found.target.split(".")[0]
            allowed = PACKAGES | ({"pytest"} if room == "testing" else set())
            if name not in sys.stdlib_module_names and name not in allowed:
                problems.append(f"{found}: golfbench does not depend on it")
            if room == "cli" and found.at_once and name not in sys.stdlib_module_names | CLI_PACKAGES:
                problems.append(f"{found}: the command line imports it before it is needed")
            continue
        if room == target or (found.module == "golfbench" and target in OFFERED and not found.at_once):
            continue
        if FLOOR_OF[target] >= FLOOR_OF[room]:
            problems.append(f"{found}: '{target}' is not below '{room}'")
        if target in ONLY_FOR and found.module not in ONLY_FOR[target]:
            problems.append(f"{found}: only {', '.join(ONLY_FOR[target])} may")
        if room == "cli" and found.at_once and target not in CLI_AT_ONCE:
            problems.append(f"{found}: the command line imports it before it is needed")
    return problems


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module) for module in modules(PACKAGE)}
    assert sorted(rooms - FLOOR_OF.keys()) == [], "put it on a floor, here and in docs/architecture.md"


def test_no_room_imports_what_it_must_not_know() -> None:
    assert wrong_imports(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "text", "problem"),
    [
        ("oracles/books.py", "import golfbench.runs.directory", "'runs' is not below 'oracles'"),
        ("oracles/books.py", "def f():\n    from golfbench.cli import console", "'cli' is not below 'oracles'"),
        ("runs/service.py", "from golfbench import testing", "'testing' is not below 'runs'"),
        (
            "benchmark/metrics.py",
            "from golfbench.learning import loop",
            "'learning' is not below 'benchmark'",
        ),
        ("leaderboard/build.py", "from golfbench.site.page import page", "'site' is not below 'leaderboard'"),
        ("site/page.py", "from golfbench.testing import contract_tests", "only golfbench.cli.contract may"),
        ("cli/run.py", "import torch", "before it is needed"),
        ("cli/run.py", "from golfbench.runs.runner import run", "before it is needed"),
        ("oracles/local.py", "import golfbench_xtb.engine", "golfbench does not depend on it"),
        ("minimization.py", "if True:\n    import pytest", "golfbench does not depend on it"),
        ("cli/run.py", "def f():\n    from golfbench.runs.runner import run", ""),
        ("cli/run.py", "if TYPE_CHECKING:\n    from golfbench.runs.runner import Run", ""),
        ("site/page.py", "import json, golfbench.leaderboard.content", ""),
        ("testing/common.py", "import pytest", ""),
    ],
)
def test_the_rules_see_what_they_are_there_for(module: str, text: str, problem: str, tmp_path: Path) -> None:
    package = tmp_path / "golfbench"
    for name in modules(PACKAGE):  # so that ``from golfbench import room`` is told from a name
        folder = package.joinpath(*name.split(".")[1:])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    path = package / module
    path.with_suffix("").joinpath("__init__.py").write_text(text)
    found = wrong_imports(package)
    assert problem in "".join(found)
    assert bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("from golfbench.api.running import run", False),
        ("if TYPE_CHECKING:\n    from golfbench.api.running import run", True),
        ("if TYPE_CHECKING:\n    from golfbench.cli.main import main", False),
    ],
)
def test_the_package_itself_names_what_it_offers_for_type_checkers_alone(
    text: str, allowed: bool, tmp_path: Path
) -> None:
    package = tmp_path / "golfbench"
    for place, content in (("__init__", text), ("api/running", ""), ("cli/main", "")):
        (package / place).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{place}.py").write_text(content)
    assert (wrong_imports(package) == []) == allowed


@pytest.mark.parametrize(
    "module",
    ["benchmark.protocol", "benchmark.metrics", "runs.config", "oracles.service", "leaderboard.tables", "site.page"],
)
def test_what_needs_no_network_imports_no_torch(module: str) -> None:
    script = f"import sys, golfbench.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_page_of_the_house_draws_the_same_floors() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = text.partition("```text\n")[2].partition("```")[0].split()
    rooms = {room for rooms in FLOORS for room in rooms}
    missing = rooms - {word.rstrip("/,") for word in drawn}
    assert missing == set()
