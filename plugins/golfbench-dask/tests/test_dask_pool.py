"""Oracle calls on real workers of a Dask scheduler: numbers, engines, deaths, what is left behind."""

import contextlib
import io
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

import psutil
import pytest

from golfbench.chemistry import embed
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError, WorkerLostError
from golfbench.oracles.calls import forces_of, run_call
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, ExecutorSpec
from golfbench.testing import contract_tests
from golfbench.testing.executors import double, fail

Molecules = Callable[..., dict[str, Any]]
#: Dead workers come back within seconds; a loaded machine needs more of them.
PATIENCE_S = 40

test_contract = contract_tests("executor", "dask:workers=1")


def open_pool(**parameters: Any) -> Any:
    return registry().find(ExecutorSpec, "dask").create(parameters)


def children() -> set[psutil.Process]:
    """Return the processes below this one; Python's own tracker of resources lives as long as it does."""
    found = psutil.Process().children(recursive=True)
    return {p for p in found if command(p) and "resource_tracker" not in command(p)}


def command(process: psutil.Process) -> str:
    """Return the command line of a process; nothing is left of that once it is dead."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current and the temporary directory of this process; both are empty in the end."""
    path = tmp_path_factory.mktemp("dask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(path))
        patch.chdir(path)
        yield path
    assert list(path.iterdir()) == []


@pytest.fixture(scope="module")
def pool(folder: Path, engines: None) -> Iterator[Any]:
    before = children()
    opened = open_pool(workers=2)
    yield opened
    opened.shutdown(cancel_futures=True)
    assert children() - before == set()


def test_gfn2_xtb_gives_the_same_numbers_as_in_this_process(pool: Any) -> None:
    pytest.importorskip("golfbench_xtb")
    molecules = embed("CCO", "ethanol", 3, 7)
    answers = [f.result(PATIENCE_S) for f in [pool.submit(run_call, "gfn2-xtb", m.to_json()) for m in molecules]]
    with open_oracle(ComponentRef("gfn2-xtb"), registry()) as here:
        labels = [here.label(m) for m in molecules]
        assert [a["engine"] for a in answers] == [here.version] * 3
    for answer, (energy, forces) in zip(answers, labels, strict=True):
        assert answer["energy_hartree"] == pytest.approx(energy, abs=1e-10)
        assert forces_of(answer) == pytest.approx(forces, abs=1e-10)


def test_the_engine_of_a_worker_stays_warm(pool: Any, h2: Molecules) -> None:
    futures = [pool.submit(run_call, "misbehaving", h2(f"pid-{k}")) for k in range(12)]
    pids = [int(f.result(PATIENCE_S)["energy_hartree"]) for f in futures]
    assert 1 <= len(set(pids)) <= 2 == pool.slots
    assert os.getpid() not in pids


def test_the_same_call_twice_is_two_calls(pool: Any, h2: Molecules, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    futures = [pool.submit(run_call, f"misbehaving:log={log}", h2("same")) for _ in range(3)]
    assert [f.result(PATIENCE_S)["outcome"] for f in futures] == ["ok"] * 3
    assert len(log.read_text().splitlines()) == 3


def test_workers_have_one_thread_and_scratch_of_their_own(pool: Any, folder: Path) -> None:
    names = [f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")]
    assert [pool.submit(os.getenv, name).result(PATIENCE_S) for name in names] == ["1"] * 3
    scratch = Path(pool.submit(tempfile.gettempdir).result(PATIENCE_S))
    assert scratch.parent.parent == folder


def test_what_fails_is_typed_and_the_others_are_answered(pool: Any, h2: Molecules, tmp_path: Path) -> None:
    oracle = f"misbehaving:log={tmp_path / 'calls'}"
    bad = {"segfault": "crashed", "value_error": "engine", "hang": "time_limit", "not_converged": "not_converged"}
    calls = {id: pool.submit(run_call, oracle, h2(id)) for id in [*bad, "litter"]}
    calls |= {f"good-{k}": pool.submit(run_call, oracle, h2(f"good-{k}", x=k / 8)) for k in range(7)}
    outcomes = {id: future.result(PATIENCE_S)["outcome"] for id, future in calls.items()}
    assert outcomes == dict.fromkeys(calls, "ok") | bad
    assert [calls[f"good-{k}"].result()["energy_hartree"] for k in range(7)] == [k / 8 for k in range(7)]


def test_what_a_call_raises_comes_back_with_its_kind(pool: Any) -> None:
    error = pool.submit(fail, "no convergence").exception(PATIENCE_S)
    assert (type(error), error.kind, str(error)) == (OracleError, "not_converged", "no convergence")


def test_a_call_whose_worker_is_killed_runs_again(pool: Any, h2: Molecules, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    again = pool.submit(run_call, f"misbehaving:log={log}", h2("kill_worker_once", x=0.5))
    good = [pool.submit(run_call, "sleeping:seconds=0.05", h2(x=k / 8)) for k in range(8)]
    assert [f.result(PATIENCE_S)["energy_hartree"] for f in good] == [k / 8 for k in range(8)]
    assert again.result(PATIENCE_S)["energy_hartree"] == 0.5
    assert len(log.read_text().splitlines()) == 2


def test_calls_that_have_not_begun_can_be_cancelled(pool: Any) -> None:
    futures = [pool.submit(time.sleep, 0.3) for _ in range(6)]
    assert futures[-1].cancel()
    done, _ = wait_for(futures, PATIENCE_S)
    assert len(done) == 6
    assert [f.cancelled() for f in futures] == [False] * 5 + [True]


def test_a_callback_may_ask_for_the_next_call(pool: Any) -> None:
    answers: list[Any] = []

    def again(done: Any) -> None:
        answers.append((done.result(), pool.slots))
        if len(answers) < 3:
            pool.submit(double, {"value": float(len(answers))}).add_done_callback(again)

    pool.submit(double, {"value": 0.0}).add_done_callback(again)
    deadline = time.monotonic() + PATIENCE_S
    while len(answers) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert answers == [({"value": 2.0 * k}, 2) for k in range(3)]


def test_nothing_is_shared_with_the_rest_of_the_process(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, records = random.getstate(), io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(records)])
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    futures = [pool.submit(fail, "no") for _ in range(5)]
    assert all(isinstance(f.exception(PATIENCE_S), OracleError) for f in futures)
    assert random.getstate() == numbers
    assert [line for line in records.getvalue().splitlines() if "distributed" in line or "dask" in line] == []


def test_shut_down_in_a_hurry_it_ends_what_runs(pool: Any) -> None:
    futures = [pool.submit(time.sleep, 60) for _ in range(3)]
    wait_for(futures, 0.5)
    started = time.monotonic()
    pool.shutdown(wait=False, cancel_futures=True)
    assert [f.cancelled() for f in futures] == [True] * 3
    pool.shutdown()
    assert time.monotonic() - started < 20
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(time.sleep, 0)


@pytest.fixture
def scheduler(tmp_path: Path, engines: None) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Give file and process of a scheduler that forgives no worker, with two workers, by Dask's own command line."""
    file = tmp_path / "scheduler.json"
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    work = ["--nworkers", "2", "--nthreads", "1", "--local-directory", str(tmp_path / "work")]
    started = []
    for options in (["dask_scheduler", *common, "--port", "0"], ["dask_worker", *common, *work]):
        command = [sys.executable, "-m", f"distributed.cli.{options[0]}", *options[1:]]
        log = (tmp_path / f"{options[0]}.log").open("w")
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
    deadline = time.monotonic() + PATIENCE_S
    while not file.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield file, started[0]
    for process in [p for s in started for p in (*psutil.Process(s.pid).children(recursive=True), s)]:
        process.kill()
    for process in started:
        process.wait(PATIENCE_S)


def test_a_scheduler_that_runs(scheduler: tuple[Path, subprocess.Popen[bytes]], h2: Molecules) -> None:
    file, boss = scheduler
    mine = open_pool(scheduler=str(file), workers=7)
    answers = [mine.submit(run_call, "sleeping:seconds=0.01", h2(x=k / 8)) for k in range(6)]
    assert [f.result(PATIENCE_S)["energy_hartree"] for f in answers] == [k / 8 for k in range(6)]
    killer = mine.submit(run_call, "misbehaving", h2("kill_worker"))
    with pytest.raises(WorkerLostError, match=r"1 workers of Dask died with it, the last at tcp://127.0.0.1:\d+"):
        killer.result(PATIENCE_S)
    never = mine.submit(time.sleep, 60)
    boss.kill()
    with pytest.raises(ComponentMissingError, match="Dask's scheduler gave the call up"):
        never.result(PATIENCE_S)
    mine.shutdown()


def test_a_scheduler_that_does_not_answer(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ComponentMissingError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 "):
        open_pool(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ComponentMissingError, match=r"there is no scheduler file .*none.json"):
        open_pool(scheduler=str(tmp_path / "none.json"))
    for text in ('{"address": ', "{}", "[]"):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"broken.json is no scheduler file"):
            open_pool(scheduler=str(tmp_path / "broken.json"))
    with pytest.raises(ConfigurationError, match="scheduler=tcp://here: missing port"):
        open_pool(scheduler="tcp://here")
    with pytest.raises(ConfigurationError, match="workers=0 must be at least 1"):
        open_pool(workers=0)
    assert time.monotonic() - started < 30
