"""Oracle calls in real workers of a HighThroughputExecutor: numbers, engines, deaths, what is left behind."""

import contextlib
import io
import logging
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
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
#: Environment variable by which everything that is started here is known.
MARK = "GOLFBENCH_TEST_PARSL"

test_contract = contract_tests("executor", "parsl:workers=1")


def open_pool(**parameters: Any) -> Any:
    return registry().find(ExecutorSpec, "parsl").create(parameters)


def processes(*words: str) -> list[psutil.Process]:
    """Return what was started below this process, or those of it with these words in their command lines."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if all(word in line for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE and is_ours(process):
            found.append(process)
    return found


def is_ours(process: psutil.Process) -> bool:
    """Tell whether it is the interchange of this process, whose title hides its environment, or has the mark."""
    with contextlib.suppress(psutil.Error):
        if "HTEX interchange" in " ".join(process.cmdline()):
            return process.ppid() == os.getpid()
        return process.pid != os.getpid() and process.environ().get(MARK) == str(os.getpid())
    return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current and the temporary directory of this process; both are empty in the end."""
    path = tmp_path_factory.mktemp("parsl")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(path))
        patch.setenv("TMPDIR", str(path))
        patch.setenv(MARK, str(os.getpid()))
        patch.chdir(path)
        yield path
    assert Path.cwd() == here
    assert list(path.iterdir()) == []


@pytest.fixture(scope="module")
def pool(folder: Path, engines: None) -> Iterator[Any]:
    before = processes()
    opened = open_pool(workers=2)
    yield opened
    opened.shutdown(cancel_futures=True)
    assert [p for p in processes() if p not in before] == []


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


def test_workers_have_one_thread_and_scratch_of_their_own(pool: Any, folder: Path) -> None:
    assert [pool.submit(os.getenv, f"{k}_NUM_THREADS").result(PATIENCE_S) for k in ("OMP", "MKL", "OPENBLAS")] == [
        "1"
    ] * 3
    scratch = Path(pool.submit(tempfile.gettempdir).result(PATIENCE_S))
    assert scratch.parent == folder
    assert scratch.name.startswith("golfbench-parsl-")


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


def test_a_worker_killed_in_a_call_loses_this_call_only(pool: Any, h2: Molecules) -> None:
    lost = pool.submit(run_call, "misbehaving", h2("kill_worker"))
    good = [pool.submit(run_call, "sleeping:seconds=0.05", h2(x=k / 8)) for k in range(8)]
    assert [f.result(PATIENCE_S)["energy_hartree"] for f in good] == [k / 8 for k in range(8)]
    with pytest.raises(WorkerLostError, match=r"Parsl lost the worker: .*loss of worker"):
        lost.result(PATIENCE_S)


def test_idle_workers_that_are_killed_are_replaced(pool: Any) -> None:
    """One of them holds the lock of the common queue."""
    for process in {f.result(PATIENCE_S) for f in [pool.submit(os.getpid) for _ in range(50)]}:
        os.kill(process, signal.SIGKILL)
    assert pool.submit(double, {"value": 1.0}).result(PATIENCE_S) == {"value": 2.0}


def test_calls_that_have_not_begun_can_be_cancelled(pool: Any) -> None:
    futures = [pool.submit(time.sleep, 0.3) for _ in range(6)]
    assert futures[-1].cancel()
    done, _ = wait_for(futures, PATIENCE_S)
    assert len(done) == 6
    assert [f.cancelled() for f in futures] == [False] * 5 + [True]


def test_nothing_is_shared_with_the_rest_of_the_process(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, records = random.getstate(), io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(records)])
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    futures: list[Future[Any]] = [pool.submit(fail, "no") for _ in range(5)]
    assert all(isinstance(f.exception(PATIENCE_S), OracleError) for f in futures)
    assert random.getstate() == numbers
    assert records.getvalue() == ""


def test_shut_down_in_a_hurry_it_ends_what_runs(pool: Any) -> None:
    futures = [pool.submit(time.sleep, 60) for _ in range(3)]
    wait_for(futures, 0.5)
    assert len(processes("HTEX interchange")) == 1
    assert len(processes()) >= 6  # shells, manager, its server, workers
    started = time.monotonic()
    pool.shutdown(wait=False, cancel_futures=True)
    assert [f.cancelled() for f in futures] == [True] * 3
    pool.shutdown()
    assert time.monotonic() - started < 20
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(time.sleep, 0)


CONFIG = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import {provider}

config = Config(
    executors=[
        HighThroughputExecutor(
            label="mine", address="127.0.0.1", max_workers_per_node=1, heartbeat_period=1, heartbeat_threshold=2,
            provider={provider}({arguments}),
        )
    ],
    retries=5,
    strategy_period=0.5,
)
"""


def test_a_block_that_dies_loses_its_calls_and_without_interchange_all_is_lost(folder: Path, tmp_path: Path) -> None:
    before = processes()
    file = tmp_path / "mine.py"
    file.write_text(CONFIG.format(provider="LocalProvider", arguments="init_blocks=1, max_blocks=3"))
    mine = open_pool(config=str(file), workers=7)
    assert mine.slots == 3
    lost = mine.submit(time.sleep, 60)
    (manager,) = [p for p in processes("golfbench_parsl.workers") if p not in before and p.name() != "bash"]
    manager.kill()
    with pytest.raises(WorkerLostError, match=r"Parsl lost the worker: .*loss of manager"):
        lost.result(PATIENCE_S)
    never = mine.submit(time.sleep, 60)
    for process in processes("HTEX interchange"):
        if process not in before:
            process.kill()
    with pytest.raises(ComponentMissingError, match=r"Parsl can run nothing more: .*interchange ended with code -9"):
        never.result(PATIENCE_S)
    with pytest.raises(ComponentMissingError, match="nothing more"):
        mine.submit(time.sleep, 60).result(PATIENCE_S)
    mine.shutdown()
    assert [p for p in processes() if p not in before] == []


def test_configurations_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    cases = {
        "raises.py": ("raise ValueError('boo')", "raises.py: ValueError: boo"),
        "syntax.py": ("config = (", r"syntax.py: SyntaxError: .*line 1"),
        "leaves.py": ("import sys; sys.exit(0)", "leaves.py: SystemExit: 0"),
        "three.py": ("config = 3", r"must define config = parsl.Config"),
    }
    for name, (text, complaint) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError, match=complaint):
            open_pool(config=str(tmp_path / name))
    with pytest.raises(ConfigurationError, match=r"no configuration file .*none.py"):
        open_pool(config=str(tmp_path / "none.py"))
    with pytest.raises(ConfigurationError, match="workers=0 must be at least 1"):
        open_pool(workers=0)


def test_a_batch_system_that_is_not_there(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before, file, started = processes(), tmp_path / "cluster.py", time.monotonic()
    file.write_text(CONFIG.format(provider="SlurmProvider", arguments="partition='short', init_blocks=1"))
    with pytest.raises(ComponentMissingError, match=r"Parsl's executor 'mine' does not start: .*sbatch"):
        open_pool(config=str(file))
    assert time.monotonic() - started < 30
    assert [p for p in processes() if p not in before] == []
    assert list((tmp_path / "cache" / "golfbench").iterdir()) == []
