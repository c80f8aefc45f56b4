"""The README against reality: its commands in what a fresh clone would be, its tables, its list of parts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Parts that bring many other packages: installed by name.
LEFT_OUT = {"golfbench-sella", "golfbench-geometric", "golfbench-wandb", "golfbench-mlflow"}
#: Commands that no test runs, by how they begin, and why not.
NOT_RUN = {
    "make run": "makes an environment, then runs for minutes",
    "apt-get install psi4 libopenblas0": "needs root and the network",
    "golfbench run --model mace --oracle psi4    #": "hours of Psi4",
}
#: What a command needs that not every machine has.
NEEDS = {"--oracle psi4": "psi4"}


def commands() -> list[str]:
    """Return the lines of the README's blocks that a person types."""
    lines = re.findall(r"^ {4}(?:\.venv/bin/)?(.*)$", README, flags=re.MULTILINE)
    return [line for line in lines if re.match(r"(golfbench|make|apt-get) ", line)]


def not_run(command: str) -> list[str]:
    return [start for start in NOT_RUN if command.startswith(start)]


RUN = [command for command in commands() if not not_run(command)]


def test_every_command_is_run_or_marked_with_its_time_or_need() -> None:
    assert len(RUN) == 2
    for command in set(commands()) - set(RUN):
        assert len(not_run(command)) == 1
        assert re.search(r"# .*(minutes|hours?\b|days|needs )", command), f"no time and no need: {command}"
    assert {start for command in commands() for start in not_run(command)} == set(NOT_RUN)


def test_every_block_of_the_readme_is_commands() -> None:
    """A command that begins otherwise would be seen by no test."""
    lines = [line.strip().removeprefix(".venv/bin/") for line in re.findall(r"^ {4}(.*)$", README, flags=re.MULTILINE)]
    assert lines == commands()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this folder, and nothing else: a fresh clone of what is about to be committed."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git repository: no clone to be made")
    folder = tmp_path_factory.mktemp("clone") / "golfbench"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def test_quick_commands_work_word_for_word_and_in_order(clone: Path, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_")}
    environment |= {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "GOLFBENCH_CACHE": str(tmp_path / "cache.db")}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for command in RUN:
        if any(word in command and shutil.which(program) is None for word, program in NEEDS.items()):
            continue
        done = subprocess.run(["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr
    assert (clone / "relaxed.sdf").stat().st_size > 500


def test_no_table_is_wider_than_eight_columns() -> None:
    rows = re.findall(r"^\|.*\|$", README, flags=re.MULTILINE)
    assert len(rows) > 10
    assert max(len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows) <= 8


@pytest.mark.parametrize("term", ["residual", "pct", "success", "div.", "n", "Train. calls", "stage", "selection"])
def test_each_term_of_the_tables_is_defined_once(term: str) -> None:
    assert README.count(f"**{term}**") == 1


def test_the_requirements_are_the_parts_of_the_repository() -> None:
    listed = (ROOT / "requirements.txt").read_text().split()
    plugins = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")} - LEFT_OUT
    assert sorted(listed) == sorted([".", "./datasets", *(f"./plugins/{name}" for name in plugins)])
    assert all((ROOT / part / "pyproject.toml").is_file() for part in listed)
    setup = (ROOT / "setup.sh").read_text()
    assert all(f"plugins/{name}/*" in setup for name in LEFT_OUT)
