import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from golfbench.contracts import Label
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.question import Question

ORACLE = """
from golfbench import hookimpl
from golfbench.specs import OracleSpec


@hookimpl
def golfbench_oracles():
    return [OracleSpec(name="dft", aliases=("my-dft",), factory="m:a", summary="DFT.", method="PBE")]
"""


def put(cache: LabelCache, oracle: str, method: str, distance: float, cpu_s: float | None = 2.0) -> None:
    molecule = Molecule("h2", np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))
    label = Label(-1 / 3, np.full((2, 3), distance), method)
    cache.put(Question(oracle, method, {}, molecule), label, f"{oracle} 1.0", 2.5, cpu_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cache with two labels of one oracle and one of another, whose CPU time is not known."""
    cache = LabelCache(tmp_path / "labels.sqlite")
    put(cache, "dft", "PBE", 0.7)
    put(cache, "dft", "PBE", 0.8, None)
    put(cache, "uff", "UFF", 0.7, None)
    return cache.path


@pytest.fixture
def run(golfbench, add_plugin, path):
    """Run a verb on that cache, or on another file."""
    add_plugin("oracle", ORACLE)

    def run(*arguments: object, cache: Path = path) -> subprocess.CompletedProcess[str]:
        return golfbench("cache", *map(str, arguments), plugins="oracle", GOLFBENCH_CACHE=str(cache))

    return run


def tamper(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE labels SET energy_hartree = 0 WHERE id = 2")
    db.commit()
    db.close()


def test_info_shows_what_labels_cost(run, path):
    done = run("info")
    assert done.stdout.splitlines() == [
        "path\tbytes\tlabels\twall_s",
        f"{path}\t{path.stat().st_size}\t3\t7.5",
        "oracle\tmethod\tengine\tlabels\twall_s\tcpu_s",
        "dft\tPBE\tdft 1.0\t2\t5.0\t>=2.0",
        "uff\tUFF\tuff 1.0\t1\t2.5\tunknown",
    ]
    listed = json.loads(run("info", "--json").stdout)
    assert (listed["schema_version"], listed["path"], listed["bytes"]) == (1, str(path), path.stat().st_size)
    assert listed["sources"][1] == {
        "oracle": "uff",
        "method": "UFF",
        "engine": "uff 1.0",
        "labels": 1,
        "wall_s": 2.5,
        "cpu_s": None,
        "labels_without_cpu": 1,
    }


def test_a_missing_file_is_an_empty_cache(run, tmp_path):
    missing = tmp_path / "none" / "labels.sqlite"
    done = run("info", cache=missing)
    assert (done.returncode, done.stdout) == (0, f"path\tbytes\tlabels\twall_s\n{missing}\t0\t0\t0.0\n")
    assert run("verify", cache=missing).stdout == "labels\tproblems\tremoved\n0\t0\t0\n"
    assert run("export", tmp_path / "a.jsonl", cache=missing).returncode == 4
    assert run("clear", "--yes", cache=missing).returncode == 4
    assert not missing.parent.exists()


@pytest.mark.parametrize("verb", [["info"], ["verify"], ["export", "new.jsonl"], ["import", __file__], ["clear", "-y"]])
def test_every_verb_refuses_a_file_that_is_no_cache(run, tmp_path, verb):
    notes = tmp_path / "notes.txt"
    notes.write_text("shopping list\n" * 50)
    done = run(*verb, cache=notes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"golfbench: error: {notes} is not a label cache (no SQLite file)\n"
    assert notes.read_text() == "shopping list\n" * 50


def test_a_truncated_file_is_reported_by_each_verb(run, path):
    path.write_bytes(path.read_bytes()[:5000])
    damaged = f"golfbench: error: the label cache {path} is damaged: database disk image is malformed\n"
    done = run("verify")
    assert (done.returncode, done.stdout) == (1, "labels\tproblems\tremoved\n0\t1\t0\n")
    assert done.stderr == damaged
    for verb in (["info"], ["export", path.with_name("a.jsonl")], ["clear", "--yes"]):
        done = run(*verb)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", damaged)
    assert [p.name for p in path.parent.glob("*.jsonl*")] == []


def test_verify_names_damaged_labels_and_removes_them_when_told_to(run, path):
    assert run("verify").returncode == 0
    tamper(path)
    done = run("verify", "--json")
    assert done.returncode == 1
    assert done.stderr == "golfbench: error: label 2: the checksum is wrong\n"
    assert json.loads(done.stdout) == {
        "schema_version": 1,
        "labels": 3,
        "problems": ["label 2: the checksum is wrong"],
        "removed": 0,
    }
    assert run("verify", "--remove").stdout.splitlines()[1] == "3\t1\t1"
    assert run("verify").stdout.splitlines()[1] == "2\t0\t0"


def test_labels_move_to_another_machine(run, tmp_path):
    file, there = tmp_path / "a.jsonl", tmp_path / "there.sqlite"
    done = run("export", file, "--oracle", "my-dft", "--method", "PBE")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"golfbench: 2 labels written to {file}\n"
    assert run("import", file, cache=there).stdout == "added\tknown\trefused\n2\t0\t0\n"
    assert json.loads(run("import", file, "--json").stdout) == {
        "schema_version": 1,
        "added": 0,
        "known": 2,
        "refused": [],
    }


def test_export_replaces_a_file_only_when_told_to_and_never_the_cache(run, path, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("mine")
    assert run("export", file).returncode == 2
    assert file.read_text() == "mine"
    assert run("export", file, "--overwrite").returncode == 0
    assert len(file.read_text().splitlines()) == 3
    assert run("export", path, "--overwrite").stderr == f"golfbench: error: {path} is the cache itself\n"
    tamper(path)
    done = run("export", file, "--overwrite")
    assert (done.returncode, len(file.read_text().splitlines())) == (1, 2)
    assert "1 damaged labels are left out" in done.stderr


def test_import_names_the_lines_that_it_refuses(run, tmp_path):
    file, there = tmp_path / "a.jsonl", tmp_path / "there.sqlite"
    run("export", file)
    first, second, third = file.read_text().splitlines()
    file.write_text("\n".join([first, "garbage", second.replace("0.8", "0.9", 1), third[:100]]))
    done = run("import", file, cache=there)
    assert (done.returncode, done.stdout) == (1, "added\tknown\trefused\n1\t0\t3\n")
    assert done.stderr.splitlines() == [
        f"golfbench: error: {file}, line 2: this is no label",
        f"golfbench: error: {file}, line 3: the checksum is wrong",
        f"golfbench: error: {file}, line 4: this is no label",
    ]
    missing = run("import", tmp_path / "none.jsonl")
    assert missing.returncode == 2
    assert missing.stderr == f"golfbench: error: {tmp_path / 'none.jsonl'}: No such file or directory\n"


def test_import_into_a_place_that_cannot_be_written(run, path, tmp_path):
    file = tmp_path / "a.jsonl"
    run("export", file)
    done = run("import", file, cache=path / "labels.sqlite")
    assert done.returncode == 1
    assert done.stderr == f"golfbench: error: {path / 'labels.sqlite'} cannot be created: File exists\n"


def test_clear_removes_what_it_is_told_to(run):
    assert run("clear", "--method", "PBE", "--older-than", "1", "--yes").returncode == 4
    assert run("clear", "--older-than", "1e12", "--yes").returncode == 4
    done = run("clear", "--oracle", "my-dft", "--yes")
    assert (done.returncode, done.stderr) == (0, "golfbench: 2 labels removed\n")
    assert json.loads(run("info", "--json").stdout)["sources"][0]["oracle"] == "uff"


def test_clear_refuses_where_there_is_nobody_to_ask(run, path):
    done = run("clear")
    assert done.returncode == 2
    assert done.stderr == f"golfbench: error: Remove 3 labels from {path}? There is no terminal to ask at: give --yes\n"
    assert LabelCache(path).count() == 3


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 3), (b"y\n", 0, 0)])
def test_clear_asks_a_person(path, answer, code, left):
    screen, terminal = pty.openpty()
    os.write(screen, answer)
    done = subprocess.run(
        [sys.executable, "-m", "golfbench", "--no-plugins", "cache", "clear"],
        stdin=terminal,
        capture_output=True,
        text=True,
        env={**os.environ, "GOLFBENCH_CACHE": str(path)},
        timeout=60,
    )
    os.close(screen)
    os.close(terminal)
    assert done.returncode == code
    assert done.stderr.startswith(f"Remove 3 labels from {path}? [y/N]:")
    assert LabelCache(path).count() == left


def test_help_loads_neither_numpy_nor_the_database():
    code = "import sys; from golfbench.cli.main import build_app; build_app(); "
    code += "print({'numpy', 'sqlite3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
