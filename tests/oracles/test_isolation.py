"""Engines in worker processes: crashes, hangs, chatter, litter. Every process here is real."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from golfbench.errors import ComponentMissingError, ConfigurationError, MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles import isolation
from golfbench.oracles.isolation import WorkerOracle
from golfbench.oracles.opening import CheckedOracle, precheck
from golfbench.specs import OracleSpec

HERE = Path(__file__).parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs what only Linux's kernel has")


def h2(id: str = "fine", x: float = 0.25) -> Molecule:
    return Molecule(id, np.array([1, 1]), np.array([[x, 0, 0], [x, 0, 0.74]]))


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "golfbench.oracles.worker" in " ".join(p.cmdline())]


def wait_until(condition: Any, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def wait_for_pids(file: Path, count: int) -> list[int]:
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) == count)
    return [int(line) for line in file.read_text().splitlines()]


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes temporary directories."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def open_engine(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Open engines of the module beside this one, and see to it that they leave nothing behind."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    opened: list[WorkerOracle] = []

    def open_one(attribute: str = "Engine", parameters: dict[str, Any] | None = None, **options: Any) -> WorkerOracle:
        opened.append(WorkerOracle(f"misbehaving_engines:{attribute}", parameters or {}, name="bad", **options))
        return opened[-1]

    yield open_one
    for oracle in opened:
        oracle.close()
    assert workers() == []
    assert list(scratch.iterdir()) == []


def test_labels_pass_through_exactly(open_engine: Any) -> None:
    oracle = open_engine(parameters={"factor": 1 / 3})
    assert workers() == []  # nothing starts before it is needed
    molecule = h2(x=0.1 + 0.2)
    energy, forces = oracle.label(molecule)
    assert energy == (0.1 + 0.2) * (1 / 3)
    assert (forces == molecule.positions.mean(axis=0) - molecule.positions).all()
    assert forces.dtype == np.float64
    assert oracle.version == "misbehaving 1.0"


@pytest.mark.parametrize("relative", [".", f"nowhere{os.pathsep}."])
def test_a_module_in_the_folder_of_the_person_is_found(open_engine: Any, monkeypatch: Any, relative: str) -> None:
    """``PYTHONPATH=.`` means the folder that the command was typed in, not the child's own."""
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("PYTHONPATH", relative)
    assert open_engine().version == "misbehaving 1.0"


def test_one_warm_child_pinned_threads_no_torch_and_its_cpu_time(open_engine: Any) -> None:
    oracle = open_engine(threads=3)
    pids = {oracle.label(h2("pid"))[0] for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids
    assert oracle.label(h2("threads"))[0] == 3.03
    assert oracle.label(h2("imports_torch"))[0] == 0.0
    oracle.label(h2("burn"))
    assert 0.1 <= oracle.last_cpu_s < 0.5


def test_segfault_is_a_crash_and_the_next_call_works(open_engine: Any) -> None:
    oracle = open_engine()
    with pytest.raises(OracleError, match=r"segfault: bad crashed: SIGSEGV .*about to read address zero") as caught:
        oracle.label(h2("segfault"))
    assert caught.value.kind == "crashed"
    assert oracle.label(h2())[0] == 0.25


def test_exit_is_a_crash(open_engine: Any) -> None:
    with pytest.raises(OracleError, match="leave: bad crashed: exit code 7") as caught:
        open_engine().label(h2("leave"))
    assert caught.value.kind == "crashed"


def test_kill_in_the_middle_of_a_call(open_engine: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    oracle = open_engine(parameters={"pid_file": str(pid_file)})

    def kill_when_it_hangs() -> None:
        os.kill(wait_for_pids(pid_file, 3)[2], signal.SIGKILL)

    killer = threading.Thread(target=kill_when_it_hangs)
    killer.start()
    with pytest.raises(OracleError, match="hang: bad crashed: SIGKILL") as caught:
        oracle.label(h2("hang"))
    killer.join()
    assert caught.value.kind == "crashed"
    in_group, left_group = map(int, pid_file.read_text().splitlines()[:2])
    assert is_gone(in_group)
    if sys.platform == "linux":  # elsewhere an orphan in a session of its own cannot be traced
        assert is_gone(left_group)
    assert oracle.label(h2())[0] == 0.25


def test_hang_ends_at_the_limit_with_all_descendants(open_engine: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    oracle = open_engine(parameters={"pid_file": str(pid_file)}, time_limit_s=1.0)
    started = time.monotonic()
    with pytest.raises(OracleError, match="hang: bad took longer than 1 s and was killed") as caught:
        oracle.label(h2("hang"))
    assert time.monotonic() - started < 10
    assert caught.value.kind == "time_limit"
    pids = [int(line) for line in pid_file.read_text().splitlines()]
    assert len(pids) == 3
    assert all(is_gone(pid) for pid in pids)
    assert oracle.label(h2())[0] == 0.25


@linux
@pytest.mark.parametrize(("id", "kind"), [("hang_with_a_daemon", "time_limit"), ("crash_beside_a_daemon", "crashed")])
def test_a_daemon_of_the_engine_ends_with_it(open_engine: Any, tmp_path: Path, id: str, kind: str) -> None:
    oracle = open_engine(parameters={"pid_file": str(tmp_path / "pid")}, time_limit_s=1.0)
    with pytest.raises(OracleError) as caught:
        oracle.label(h2(id))
    assert caught.value.kind == kind
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_interrupt_in_the_middle_of_a_call(open_engine: Any, tmp_path: Path) -> None:
    oracle = open_engine(parameters={"pid_file": str(tmp_path / "pids")})
    oracle.label(h2())

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            oracle.label(h2("hang"))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert workers() == []
    assert oracle.label(h2())[0] == 0.25  # not the late answer to the interrupted call


def test_chatter_on_stdout_and_an_empty_stdin_are_harmless(open_engine: Any) -> None:
    oracle = open_engine()
    first = oracle.label(h2("pid"))[0]
    assert oracle.label(h2("chatter"))[0] == 0.25
    assert oracle.label(h2("pid"))[0] == first


def test_garbage_on_the_protocol_replaces_the_child(open_engine: Any) -> None:
    oracle = open_engine()
    first = oracle.label(h2("pid"))[0]
    with pytest.raises(OracleError, match="not JSON") as caught:
        oracle.label(h2("speak_out_of_turn"))
    assert caught.value.kind == "engine"
    assert oracle.label(h2("pid"))[0] != first


@pytest.mark.parametrize(
    ("id", "kind", "message"),
    [
        ("not_a_number", "engine", "not_a_number: energy or forces are not finite"),
        ("not_converged", "not_converged", "not_converged: 250 iterations were not enough"),
        ("bad_input", "input", "bad_input: no such element"),
        ("value_error", "engine", "value_error: ValueError: something in the engine"),
    ],
)
def test_errors_keep_their_kind_and_the_child(open_engine: Any, id: str, kind: str, message: str) -> None:
    oracle = open_engine()
    first = oracle.label(h2("pid"))[0]
    with pytest.raises(OracleError) as caught:
        oracle.label(h2(id))
    assert (caught.value.kind, str(caught.value)) == (kind, message)
    assert oracle.label(h2("pid"))[0] == first


def test_wrong_shape_and_infinite_coordinates(open_engine: Any) -> None:
    with pytest.raises(OracleError, match="no usable answer") as caught:
        open_engine("WrongShape").label(h2())
    assert caught.value.kind == "engine"
    with pytest.raises(OracleError, match="not finite") as caught:
        open_engine().label(h2(x=np.inf))
    assert caught.value.kind == "input"


def test_scratch_belongs_to_the_child(open_engine: Any, scratch: Path) -> None:
    oracle = open_engine()
    oracle.label(h2("litter"))
    (own,) = scratch.iterdir()
    assert len(list(own.iterdir())) == 2
    oracle.close()
    assert list(scratch.iterdir()) == []


def test_an_oracle_that_is_dropped_leaves_nothing(open_engine: Any, scratch: Path) -> None:
    oracle = WorkerOracle("misbehaving_engines:Engine", {})
    oracle.label(h2())
    del oracle
    assert workers() == []
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=str)
@pytest.mark.parametrize("victim", ["engine", "guard"])
def test_child_that_died_between_calls_costs_no_call(open_engine: Any, victim: str, number: signal.Signals) -> None:
    oracle = open_engine()
    engine = int(oracle.label(h2("pid"))[0])
    guard = workers()[0].pid
    assert (psutil.Process(engine).ppid(), os.getpgid(engine), os.getsid(engine)) == (guard, engine, guard)
    os.kill(engine if victim == "engine" else guard, number)
    wait_until(lambda: is_gone(engine))
    assert oracle.label(h2())[0] == 0.25


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "crashed: SIGKILL"), (signal.SIGTERM, "crashed: SIGTERM")], ids=str
)
def test_a_guard_that_is_killed_leaves_nothing(
    open_engine: Any, tmp_path: Path, number: signal.Signals, said: str
) -> None:
    pid_file = tmp_path / "pids"
    oracle = open_engine(parameters={"pid_file": str(pid_file)}, time_limit_s=30.0)
    killer = threading.Thread(target=lambda: (wait_for_pids(pid_file, 3), os.kill(workers()[0].pid, number)))
    killer.start()
    with pytest.raises(OracleError, match=said):
        oracle.label(h2("hang"))
    killer.join()
    in_group, left_group, engine = map(int, pid_file.read_text().splitlines())
    wait_until(lambda: is_gone(in_group) and is_gone(engine))
    if number == signal.SIGKILL:
        os.kill(left_group, signal.SIGKILL)  # nobody is left who knows whose it was
    wait_until(lambda: is_gone(left_group))


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        ("misbehaving_engines:refuse", ConfigurationError, "bad: basis 'none' is not known"),
        ("no_such_engine:Engine", ComponentMissingError, "install it with: pip install it"),
        ("misbehaving_engines:explode", OracleError, "libfoo.so.3 not found"),
    ],
)
def test_start_errors(open_engine: Any, factory: str, error: type[Exception], message: str) -> None:
    with WorkerOracle(factory, {}, name="bad", install_hint="pip install it") as oracle:
        with pytest.raises(error, match=message):
            oracle.label(h2())
        assert workers() == []


def test_a_start_that_hangs(open_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golfbench.oracles.isolation._START_LIMIT_S", 1.0)
    with pytest.raises(OracleError, match="bad took longer than 1 s") as caught:
        _ = open_engine("never").version
    assert caught.value.kind == "time_limit"


@pytest.mark.parametrize("id", ["hang", "rest", "fork"])
def test_nothing_remains_of_a_parent_that_is_killed(open_engine: Any, tmp_path: Path, id: str) -> None:
    script = (
        "import numpy as np, os, sys, time\n"
        "from golfbench.molecules import Molecule\n"
        "from golfbench.oracles.isolation import WorkerOracle\n"
        "oracle = WorkerOracle('misbehaving_engines:Engine', {'pid_file': sys.argv[1]})\n"
        "pid, _ = oracle.label(Molecule('pid', np.array([1]), np.zeros((1, 3))))\n"
        "oracle.label(Molecule('litter', np.array([1]), np.zeros((1, 3))))\n"
        "if sys.argv[2] == 'hang':\n"
        "    oracle.label(Molecule('hang', np.array([1]), np.zeros((1, 3))))\n"
        "if sys.argv[2] != 'fork' or os.fork():\n"  # the fork holds every pipe that its parent has
        "    open(sys.argv[1], 'w').write(f'{pid:.0f}\\n' * 3)\n"
        "time.sleep(8)\n"
    )
    pid_file, folder = tmp_path / "pids", tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen([sys.executable, "-c", script, str(pid_file), id], env=environment) as parent:
        pids = wait_for_pids(pid_file, 3)  # with "hang": in the group, out of it, the engine itself
        pids += [p.pid for p in psutil.Process(parent.pid).children() if "golfbench.oracles.worker" in p.cmdline()]
        assert not any(is_gone(pid) for pid in pids)
        (scratch,) = folder.iterdir()
        assert len(list(scratch.iterdir())) == 2
        parent.kill()
    wait_until(lambda: all(is_gone(pid) for pid in pids) and not scratch.exists(), 2.0)


MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("id", "complaint"),
    [
        pytest.param("eat", "MemoryError: .*all of its processes: 400 MiB", marks=linux),
        pytest.param("eat_and_hide_it", "RuntimeError: allocation of the integrals failed .*400 MiB", marks=linux),
        ("eat_what_is_shared", "bad had more memory than 400 MiB and was killed"),
        ("eat_in_grandchildren", "bad had more memory than 400 MiB and was killed"),
        ("abort_without_memory", r"bad crashed: out of memory \(400 MiB\), SIGABRT .*bad_alloc"),
    ],
)
def test_too_little_memory_has_its_kind(open_engine: Any, tmp_path: Path, id: str, complaint: str) -> None:
    pid_file = tmp_path / "pids"
    oracle = open_engine(parameters={"pid_file": str(pid_file)}, memory_limit_bytes=400 * MEBIBYTE)
    started = time.monotonic()
    with pytest.raises(OracleError, match=f"{id}: {complaint}") as caught:
        oracle.label(h2(id))
    assert time.monotonic() - started < 10
    assert caught.value.kind == "memory"
    assert workers() == []
    assert all(is_gone(int(pid)) for pid in (pid_file.read_text().split() if pid_file.exists() else []))
    assert oracle.label(h2())[0] == 0.25


@pytest.fixture
def pids_of(open_engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make calls by id and number of hydrogens, and say by which child each was answered: 0, 1 and so on."""
    monkeypatch.setattr(isolation, "_GROWTH_BYTES", 50 * 10**6)
    monkeypatch.setattr(isolation, "_LOOKS_PER_CORE", 0)
    oracle = open_engine()

    def ask(*calls: tuple[str, int]) -> list[int]:
        answered: list[int] = []
        for id, atoms in calls:
            positions = np.arange(3.0 * atoms).reshape(-1, 3)
            with contextlib.suppress(OracleError):
                oracle.label(Molecule(id, np.ones(atoms, dtype=np.int64), positions))
            answered += [worker.pid for worker in workers()] or [0]
        seen = list(dict.fromkeys(pid for pid in answered if pid))
        return [seen.index(pid) if pid else -1 for pid in answered]

    return ask


#: The child is gone after the call that was one too many.
GONE = -1


@pytest.mark.parametrize("id", ["grow", "grow_in_a_grandchild", "grow_and_fail"])
def test_child_that_leaks_is_replaced(pids_of: Any, id: str) -> None:
    """By 20 MB with each call: 60 MB more than after the first one."""
    assert pids_of(*[(id, 2)] * 9) == [0, 0, 0, GONE, 1, 1, 1, GONE, 2]


def test_what_a_calculation_needs_is_no_leak(pids_of: Any) -> None:
    """A process that holds 100 MB after its first call would hold as much after every restart."""
    assert pids_of(*[("need", 2)] * 6) == [0] * 6


def test_a_larger_molecule_needs_more(pids_of: Any) -> None:
    assert pids_of(("fine", 2), *[("need", 3), ("fine", 2)] * 4) == [0] * 9
    assert pids_of(("need", 4), ("fine", 2), ("need", 3), ("need", 4)) == [0] * 4


def test_larger_and_larger_molecules_do_not_hide_what_leaked_before(pids_of: Any) -> None:
    """Growth of 40 MB by twos stays counted when the threes come, whose first call is their need."""
    calls = [("grow", 2)] * 3 + [("grow", 3)] * 3
    assert pids_of(*calls) == [0, 0, 0, 0, GONE, 1]


def test_a_molecule_whose_every_call_leaks_more_than_allowed_has_a_fresh_child_each_second_call(pids_of: Any) -> None:
    assert pids_of(*[("grow_a_lot", 2)] * 6) == [0, GONE, 1, GONE, 2, GONE]


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/job/step\n", {"job/memory.max": "3000\n", "job/step/memory.max": "max\n"}, 3000),
        ("0::/job/step\n", {"memory.max": "9000\n", "job/step/memory.max": "5000\n"}, 5000),
        ("5:cpu:/\n4:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "7000\n"}, 7000),
        ("4:cpu,memory:/elsewhere\n", {"memory/memory.limit_in_bytes": "8000\n"}, 8000),
        ("0::/job\n", {"job/memory.max": "max\n", "memory/memory.limit_in_bytes": "1\n"}, None),
    ],
    ids=["parent", "own", "version 1", "container", "none"],
)
def test_memory_of_the_machine_or_its_control_group(
    own: str, files: dict[str, str], limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(isolation, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(isolation, "_OWN_CGROUPS", tmp_path / "own")
    assert isolation.memory_of_machine() == (limit or psutil.virtual_memory().total)


SPEC = OracleSpec(
    name="bad",
    factory="misbehaving_engines:Engine",
    summary="",
    method="none",
    elements=frozenset({1, 6}),
    charged=False,
    open_shell=False,
)


@pytest.mark.parametrize(
    ("molecule", "message"),
    [
        (Molecule("m", np.array([92, 92]), np.eye(3)[:2]), "element U is outside bad"),
        (Molecule("m", np.array([1, 1]), np.zeros((2, 3))), "overlap"),
        (Molecule("m", np.array([1, 1]), np.eye(3)[:2], charge=-2), "neutral molecules only, charge is -2"),
        (Molecule("m", np.array([1, 1]), np.eye(3)[:2], multiplicity=3), "closed shells only, multiplicity is 3"),
        (Molecule("m", np.array([1, 6]), np.eye(3)[:2]), "7 electrons"),
    ],
)
def test_what_an_engine_cannot_take_never_reaches_it(open_engine: Any, molecule: Molecule, message: str) -> None:
    with pytest.raises(MoleculeError, match=message):
        precheck(SPEC, molecule)
    with CheckedOracle(SPEC, open_engine()) as oracle, pytest.raises(OracleError, match=message) as caught:
        oracle.label(molecule)
    assert caught.value.kind == "input"
    assert workers() == []


class InProcess:
    """An engine of this process that gives what it was told to."""

    version = "in process 1.0"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def label(self, molecule: Molecule) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((np.nan, np.zeros((2, 3))), "not finite"),
        ((0.0, np.full((2, 3), np.inf)), "not finite"),
        ((0.0, np.zeros((3, 3))), r"shape \(3, 3\)"),
        (ZeroDivisionError("by nothing"), "fine: bad: ZeroDivisionError: by nothing"),
        (MemoryError("8 TiB"), r"fine: bad ran out of memory \(8 TiB\)"),
    ],
)
def test_results_of_engines_in_this_process_are_checked_too(answer: Any, message: str) -> None:
    with pytest.raises(OracleError, match=message) as caught:
        CheckedOracle(SPEC, InProcess(answer)).label(h2())
    assert caught.value.kind == ("memory" if isinstance(answer, MemoryError) else "engine")


def test_energy_alone_falls_back_on_the_label() -> None:
    assert CheckedOracle(SPEC, InProcess((1.5, np.zeros((2, 3))))).energy(h2()) == 1.5
