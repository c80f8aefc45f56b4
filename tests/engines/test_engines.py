"""The oracles beside this file: any process that has the folder on PYTHONPATH knows them, and they do what they say."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef

HERE = Path(__file__).parent


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes temporary directories."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])))
    registry.cache_clear()
    yield
    registry.cache_clear()


def opened(text: str) -> CheckedOracle:
    return open_oracle(ComponentRef.parse(text), registry())


def h2(id: str = "good", x: float = 0.25) -> Molecule:
    return Molecule(id, np.array([1, 1]), np.array([[x, 0, 0], [x, 0, 0.74]]))


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_another_process_knows_them_by_the_variable_alone(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "golfbench", "oracles", "list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "GOLFBENCH_PLUGINS": "test-engines"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"sleeping", "misbehaving"} <= {row["name"] for row in json.loads(listed.stdout)["oracles"]}


def test_sleeping_answers_late(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with opened(f"sleeping:seconds=0.2,log={log}") as oracle:
        assert oracle.version == "sleeping 1.0"
        started = time.monotonic()
        energy, forces = oracle.label(h2(x=0.125))
        assert 0.2 <= time.monotonic() - started < 2
    assert energy == 0.125
    assert forces.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["good"]


@pytest.mark.parametrize(
    ("deed", "kind", "text"),
    [
        ("segfault", "crashed", "SIGSEGV"),
        ("value_error", "engine", "ValueError: something in the engine"),
        ("not_converged-2", "not_converged", "250 iterations"),
    ],
)
def test_what_fails_is_typed_and_the_next_call_is_answered(deed: str, kind: str, text: str) -> None:
    with opened("misbehaving") as oracle:
        with pytest.raises(OracleError, match=text) as caught:
            oracle.label(h2(deed))
        assert caught.value.kind == kind
        assert oracle.label(h2(x=0.5))[0] == 0.5


def test_a_hang_ends_with_everything_it_started(scratch: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with opened(f"misbehaving:log={log}") as oracle:
        with pytest.raises(OracleError, match="took longer than 3 s") as caught:
            oracle.label(h2("hang"))
        assert caught.value.kind == "time_limit"
    pids = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert len(pids) == 3
    wait_until(lambda: all(is_gone(pid) for pid in pids))
    assert list(scratch.iterdir()) == []


def test_litter_pid_and_threads(scratch: Path) -> None:
    with opened("misbehaving") as oracle:
        first, second = (oracle.label(h2(f"pid-{k}"))[0] for k in range(2))
        assert first == second == psutil.Process(int(first)).pid != os.getpid()
        assert oracle.label(h2("threads"))[0] == 1
        assert oracle.label(h2("litter"))[0] == 0.25
        assert len(list(scratch.rglob("litter-*"))) == len(list(scratch.rglob("in_working_directory.tmp"))) == 1
    assert list(scratch.iterdir()) == []


def test_the_worker_that_asks_is_killed(tmp_path: Path) -> None:
    program = (
        "from golfbench.oracles.calls import run_call; import sys, json;"
        "print(run_call(sys.argv[1], json.loads(sys.argv[2]))['outcome'])"
    )
    molecule = json.dumps(h2("kill_worker_once").to_json())
    command = [sys.executable, "-c", program, f"misbehaving:log={tmp_path / 'calls'}", molecule]
    asked = [subprocess.run(command, capture_output=True, text=True) for _ in range(2)]
    assert [a.returncode for a in asked] == [-9, 0]
    assert asked[1].stdout.strip() == "ok"
