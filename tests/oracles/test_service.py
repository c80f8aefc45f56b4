"""The service: what is asked, what is charged to whom, what a crash or a full disk leaves. Real engines throughout."""

import contextlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ase.db import connect

from golfbench.contracts import FloatArray, Label
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError, WriteError
from golfbench.hookspecs import hookimpl
from golfbench.molecules import Molecule
from golfbench.oracles.calls import run_call
from golfbench.oracles.labels import label_key
from golfbench.oracles.ledger import OracleCall, read_calls
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import Plugin, registry
from golfbench.specs import ComponentRef, OracleSpec, Parameter

HERE = Path(__file__).parent
XTB, MMFF94, GATE, BAD = (ComponentRef(name) for name in ("gfn2-xtb", "mmff94", "gate", "bad"))
TRAINING = Account("painn|lbfgs|golf|gfn2-xtb|seed=0", "after", "training")
EVALUATION = Account("painn|lbfgs|golf|gfn2-xtb|seed=0", "after", "evaluation")
OTHER = Account("painn|lbfgs|random|gfn2-xtb|seed=0", "after", "training")
WATER = Molecule(
    "water", np.array([8, 1, 1]), np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]), smiles="O"
)


def waters(count: int) -> list[Molecule]:
    return [WATER.at(WATER.positions * (1 + 0.002 * k)) for k in range(count)]


def hydrogen(name: str) -> Molecule:
    """What ``misbehaving_engines`` does depends on the id."""
    x = sum(name.encode()) / 1000
    return Molecule(name, np.array([1, 1]), np.array([[x, 0, 0], [x, 0, 0.74]]))


def raised(name: str, height: float) -> Molecule:
    return hydrogen(name).at(hydrogen(name).positions + np.array([0, 0, height]))


class Gate:
    """Answers once the gate is open; the energy is the height of atom 0, and a height above 1 is a failure."""

    version = "gate 1.0"
    opened = threading.Event()
    asked: list[str] = []  # noqa: RUF012 (shared on purpose: each thread has an engine of its own)

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        self.asked.append(molecule.id)
        assert self.opened.wait(20)
        if molecule.positions[0, 2] > 1:
            raise OracleError(f"{molecule.id}: too high", "not_converged")
        return float(molecule.positions[0, 2]), np.zeros((len(molecule), 3))


def gate() -> Gate:
    return Gate()


class Plugins:
    """Engines for these tests, offered as a plugin offers them."""

    @hookimpl
    def golfbench_oracles(self) -> list[OracleSpec]:
        common = {"summary": "For tests.", "method": "none"}
        basis = Parameter("factor", 1.0, "Factor of the energy.")
        engine = "misbehaving_engines:Engine"
        return [
            OracleSpec(name="gate", factory=f"{__name__}:gate", isolated=False, elements=frozenset({1, 8}), **common),
            OracleSpec(name="bad", factory=engine, parameters=(basis,), **common),
            OracleSpec(name="absent", factory="no_such_engine:make", isolated=False, install_hint="pip x", **common),
        ]


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setattr(Gate, "asked", [])
    monkeypatch.setattr(Gate, "opened", threading.Event())
    registry.cache_clear()
    registry().register(Plugins(), Plugin("tests", "tests", "1"))
    yield
    Gate.opened.set()
    registry.cache_clear()


@pytest.fixture
def open_service(tmp_path: Path) -> Iterator[Any]:
    opened: list[OracleService] = []

    def open_one(workers: int = 1, executor: Executor | None = None) -> OracleService:
        opened.append(OracleService(tmp_path, executor, workers))
        return opened[-1]

    yield open_one
    Gate.opened.set()
    for service in opened:
        service.close()


def calls(directory: Path) -> list[OracleCall]:
    return list(read_calls(directory / "oracle_calls.jsonl"))


def lines(directory: Path) -> list[tuple[str, str, str]]:
    """Selection, purpose and outcome of each line."""
    return [(c.combination.split("|")[2], c.purpose, c.outcome) for c in calls(directory)]


def test_gfn2_xtb_on_water(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    label = service.submit(XTB, WATER, TRAINING).result()
    with open_oracle(XTB, registry()) as oracle:
        energy, forces = oracle.label(WATER)
        version = oracle.version
    assert label.energy == energy
    assert label.forces.tobytes() == forces.tobytes()
    assert label.method == "GFN2-xTB"
    assert energy == pytest.approx(-5.07, abs=0.01)
    (line,) = calls(tmp_path)
    assert (line.call_id, line.outcome, line.error, line.attempt) == (0, "ok", "", 1)
    assert (line.combination, line.stage, line.purpose) == (TRAINING.combination, "after", "training")
    assert (line.molecule, line.oracle, line.method, line.engine) == ("water", "gfn2-xtb", "GFN2-xTB", version)
    assert line.geometry_sha256 == WATER.geometry_hash()
    assert line.worker == "oracle_0"
    assert 0 < line.wall_s < 60
    kept = service.labels.labelled(label_key("gfn2-xtb", WATER.geometry_hash()))
    assert kept.molecule.positions.tobytes() == WATER.positions.tobytes()
    assert kept.label.energy == energy


def test_answers_come_in_the_order_of_the_questions(open_service: Any, tmp_path: Path) -> None:
    service, oracle = open_service(workers=3), open_oracle(MMFF94, registry())
    molecules = waters(12)
    answers = service.label_all(MMFF94, molecules, TRAINING)
    assert [a.energy for a in answers] == [oracle.label(m)[0] for m in molecules]
    assert sorted(c.call_id for c in calls(tmp_path)) == list(range(12))
    assert {c.worker for c in calls(tmp_path)} <= {"oracle_0", "oracle_1", "oracle_2"}


def test_a_resumed_run_asks_again_without_a_line_and_without_a_call(open_service: Any, tmp_path: Path) -> None:
    first = open_service()
    labels = first.label_all(MMFF94, waters(3), TRAINING)
    assert [a.energy for a in first.label_all(MMFF94, waters(3), TRAINING)] == [a.energy for a in labels]
    first.close()
    before = (tmp_path / "oracle_calls.jsonl").read_bytes()
    again = open_service()
    repeated = again.label_all(MMFF94, waters(3), TRAINING)
    for old, new in zip(labels, repeated, strict=True):
        assert (new.energy, new.forces.tobytes(), new.method) == (old.energy, old.forces.tobytes(), old.method)
    assert (tmp_path / "oracle_calls.jsonl").read_bytes() == before
    assert lines(tmp_path) == [("golf", "training", "ok")] * 3


def test_another_account_gets_a_line_that_is_no_call(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    service = open_service()
    for account in (TRAINING, EVALUATION, OTHER, EVALUATION, TRAINING, OTHER):
        assert service.submit(GATE, hydrogen("a"), account).result().energy == 0.0
    assert Gate.asked == ["a"]
    assert lines(tmp_path) == [
        ("golf", "training", "ok"),
        ("golf", "evaluation", "cache_hit"),
        ("random", "training", "cache_hit"),
    ]
    hit = calls(tmp_path)[1]
    assert (hit.call_id, hit.attempt, hit.engine, hit.wall_s, hit.worker) == (1, 0, "", 0.0, "")


def test_the_name_of_a_molecule_does_not_matter_its_geometry_does(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    service = open_service()
    other_name = Molecule("b", hydrogen("a").numbers, hydrogen("a").positions)
    elsewhere = raised("a", 1e-15)
    for molecule in (hydrogen("a"), other_name, elsewhere):
        service.submit(GATE, molecule, TRAINING).result()
    assert Gate.asked == ["a", "a"]
    assert len(calls(tmp_path)) == 2


def test_another_oracle_or_other_options_are_asked_anew(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    refs = [BAD, ComponentRef.parse("bad:factor=2.0"), BAD, ComponentRef.parse("bad:factor=2.0")]
    energies = [service.submit(ref, hydrogen("fine"), TRAINING).result().energy for ref in refs]
    x = hydrogen("fine").positions[0, 0]
    assert energies == [x, 2 * x, x, 2 * x]
    assert [c.oracle for c in calls(tmp_path)] == ["bad", "bad:factor=2.0"]


def test_a_failure_is_a_call_and_is_remembered(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    high = raised("a", 2.0)
    service = open_service()
    caught = [service.submit(GATE, high, account).exception() for account in (TRAINING, TRAINING, OTHER)]
    service.close()
    caught.append(open_service().submit(GATE, high, TRAINING).exception())
    assert all(isinstance(error, OracleError) for error in caught)
    assert [(error.kind, str(error)) for error in caught] == [("not_converged", "a: too high")] * 4
    assert Gate.asked == ["a"]
    assert lines(tmp_path) == [("golf", "training", "not_converged"), ("random", "training", "cache_hit")]
    failed = calls(tmp_path)[0]
    assert (failed.error, failed.engine, failed.attempt) == ("a: too high", "gate 1.0", 1)


def test_label_all_puts_a_failure_in_its_place(open_service: Any) -> None:
    Gate.opened.set()
    high = raised("b", 2.0)
    answers = open_service().label_all(GATE, [hydrogen("a"), high, hydrogen("c")], TRAINING)
    assert [type(a) for a in answers] == [Label, OracleError, Label]


def test_an_impossible_geometry_is_no_call(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    overlapping = WATER.at(WATER.positions * 0.3)
    charged = Molecule("ion", WATER.numbers, WATER.positions, charge=1)
    sulfide = Molecule("sulfide", np.array([16, 1, 1]), WATER.positions)
    lost = WATER.at(np.full((3, 3), np.nan))
    for molecule, reason in (
        (overlapping, "water: atoms 0 and 1 overlap"),
        (charged, "ion: 9 electrons"),
        (sulfide, "sulfide: element S is outside gate"),
        (lost, "water: coordinates are not finite"),
    ):
        for _ in range(2):
            with pytest.raises(OracleError, match=reason) as caught:
                service.submit(GATE, molecule, TRAINING).result()
            assert caught.value.kind == "input"
    assert Gate.asked == []
    assert calls(tmp_path) == []


@pytest.mark.parametrize("kind", ["segfault", "leave", "not_converged", "bad_input", "value_error", "not_a_number"])
def test_an_engine_that_fails_is_charged_and_the_next_molecule_is_served(
    kind: str, open_service: Any, tmp_path: Path
) -> None:
    service = open_service()
    failed, fine = service.label_all(BAD, [hydrogen(kind), hydrogen("fine")], TRAINING)
    outcome = {"segfault": "crashed", "leave": "crashed", "not_converged": "not_converged", "bad_input": "input"}
    assert isinstance(failed, OracleError)
    assert failed.kind == outcome.get(kind, "engine")
    assert fine.energy == hydrogen("fine").positions[0, 0]
    first, second = calls(tmp_path)
    assert (first.outcome, first.error, first.engine) == (failed.kind, str(failed), "misbehaving 1.0")
    assert (second.outcome, second.molecule) == ("ok", "fine")


def test_an_xtb_that_is_killed_in_the_middle_is_a_crash(open_service: Any, tmp_path: Path) -> None:
    chain = np.array([[1.3 * k, 0.5 * (k % 2), 0.0] for k in range(60)])  # takes seconds
    carbon = Molecule("chain", np.full(60, 6), chain)
    service = open_service()
    service.submit(XTB, WATER, TRAINING).result()  # now its process is up
    future = service.submit(XTB, carbon, TRAINING)
    (child,) = [p for p in psutil.Process().children() if "golfbench.oracles.worker" in " ".join(p.cmdline())]
    busy = child.cpu_times().user
    while child.cpu_times().user < busy + 0.05:
        assert not future.done()
        time.sleep(0.005)
    child.kill()
    with pytest.raises(OracleError, match="SIGKILL") as caught:
        future.result()
    assert caught.value.kind == "crashed"
    assert [(c.molecule, c.outcome) for c in calls(tmp_path)] == [("water", "ok"), ("chain", "crashed")]
    assert service.submit(XTB, waters(2)[1], TRAINING).result().energy < -5


def test_a_missing_engine_or_a_wrong_name_is_no_call(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    with pytest.raises(ComponentMissingError, match="install it with: pip x"):
        service.submit(ComponentRef("absent"), WATER, TRAINING).result()
    with pytest.raises(ConfigurationError, match="did you mean 'gfn2-xtb'"):
        service.submit(ComponentRef("gfn3-xtb"), WATER, TRAINING)
    with pytest.raises(ConfigurationError, match="unknown parameter 'facter'"):
        service.submit(ComponentRef("bad", {"facter": 2}), WATER, TRAINING)
    assert calls(tmp_path) == []


def test_a_question_in_flight_is_asked_once_and_charged_to_each_account(open_service: Any, tmp_path: Path) -> None:
    service = open_service(workers=2)
    accounts = [TRAINING, TRAINING, OTHER, EVALUATION, OTHER]
    futures = [service.submit(GATE, hydrogen("a"), account) for account in accounts]
    assert not any(f.done() for f in futures)
    Gate.opened.set()
    assert [f.result().energy for f in futures] == [0.0] * 5
    assert Gate.asked == ["a"]
    assert lines(tmp_path) == [
        ("golf", "training", "ok"),
        ("random", "training", "cache_hit"),
        ("golf", "evaluation", "cache_hit"),
    ]


def test_a_failure_in_flight_reaches_everybody_who_waits(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    high = raised("a", 2.0)
    futures = [service.submit(GATE, high, account) for account in (TRAINING, OTHER, TRAINING)]
    Gate.opened.set()
    assert [str(f.exception()) for f in futures] == ["a: too high"] * 3
    assert [outcome for *_, outcome in lines(tmp_path)] == ["not_converged", "cache_hit"]


@pytest.mark.parametrize("attempt", range(3))
def test_four_threads_ask_at_once(attempt: int, open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    service = open_service(workers=4)
    molecules = [raised("a", 0.01 * k) for k in range(15)]
    start = threading.Barrier(4)

    def ask(account: Account) -> list[float]:
        start.wait()
        return [answer.energy for answer in service.label_all(GATE, molecules, account)]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, [TRAINING, TRAINING, OTHER, EVALUATION]))
    assert found == [[m.positions[0, 2] for m in molecules]] * 4
    assert len(Gate.asked) == 15
    listed = calls(tmp_path)
    assert len({c.call_id for c in listed}) == len(listed) == 45
    assert Counter(c.outcome for c in listed) == {"ok": 15, "cache_hit": 30}
    assert len({(c.geometry_sha256, c.account) for c in listed}) == 45


def test_numbers_of_calls_go_on_after_a_restart(open_service: Any, tmp_path: Path) -> None:
    for k in range(3):
        service = open_service()
        service.label_all(MMFF94, waters(k + 2), TRAINING)
        service.close()
    assert [c.call_id for c in calls(tmp_path)] == [0, 1, 2, 3]


def test_a_crash_between_label_and_ledger_loses_neither(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    service = open_service()
    service.label_all(GATE, [hydrogen("a"), hydrogen("b")], TRAINING)
    service.close()
    whole = calls(tmp_path)
    path = tmp_path / "oracle_calls.jsonl"
    path.write_bytes(path.read_bytes()[:-30])  # the second line is torn
    again = open_service()
    assert calls(tmp_path) == whole
    again.label_all(GATE, [hydrogen("a"), hydrogen("b"), hydrogen("c")], TRAINING)
    assert Gate.asked == ["a", "b", "c"]
    assert [c.call_id for c in calls(tmp_path)] == [0, 1, 2]


KILLED = """
import json
import sys
from pathlib import Path
from golfbench.molecules import Molecule
from golfbench.oracles.service import Account, OracleService
from golfbench.specs import ComponentRef

molecules = [Molecule.from_json(data) for data in json.load(sys.stdin)]
service = OracleService(Path(sys.argv[1]), workers=2)
service.label_all(ComponentRef("gfn2-xtb"), molecules, Account("", "before", "initial"))
"""


def test_kill_minus_nine_loses_no_label_and_none_is_asked_for_twice(open_service: Any, tmp_path: Path) -> None:
    molecules = waters(100)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps([m.to_json() for m in molecules]))
        process.stdin.close()
        deadline = time.monotonic() + 60
        while len(calls(tmp_path)) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    service = open_service(workers=2)
    delivered = calls(tmp_path)
    with connect(str(service.labels.path)) as db:
        assert db.count() == len(delivered)
    assert all(label_key("gfn2-xtb", c.geometry_sha256) in service.labels for c in delivered)
    labels = service.label_all(XTB, molecules, Account("", "before", "initial"))
    assert all(isinstance(a, Label) for a in labels)
    assert calls(tmp_path)[: len(delivered)] == delivered
    assert len({c.geometry_sha256 for c in calls(tmp_path)}) == len(calls(tmp_path)) == 100


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a tiny disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(path: Path) -> None:
    """Write until the disk has no byte left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


def test_a_full_disk_is_a_write_error_and_the_run_goes_on_when_there_is_room(tiny_disk: Path) -> None:
    Gate.opened.set()
    molecules = [raised("a", 0.01 * k) for k in range(6)]
    with contextlib.closing(OracleService(tiny_disk, workers=1)) as service:
        service.label_all(GATE, molecules[:2], TRAINING)
        _fill(tiny_disk / "filler")
        with pytest.raises(WriteError, match="cannot be written"):
            service.label_all(GATE, molecules, TRAINING)
    with pytest.raises(WriteError), contextlib.closing(OracleService(tiny_disk, workers=1)) as service:
        service.label_all(GATE, molecules, TRAINING)
    (tiny_disk / "filler").unlink()
    with contextlib.closing(OracleService(tiny_disk, workers=1)) as service:
        answers = service.label_all(GATE, molecules, TRAINING)
    assert [a.energy for a in answers] == [m.positions[0, 2] for m in molecules]
    listed = calls(tiny_disk)
    assert len({c.geometry_sha256 for c in listed}) == len({c.call_id for c in listed}) == len(listed) == 6
    assert {c.outcome for c in listed} == {"ok"}


def test_a_limit_of_the_file_size_is_a_write_error_too(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    service = open_service()
    service.submit(GATE, hydrogen("a"), TRAINING).result()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WriteError):
            service.submit(GATE, hydrogen("b"), TRAINING).result()
        with pytest.raises(WriteError, match="ledger"):
            service.submit(GATE, hydrogen("a"), OTHER).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for account in (TRAINING, OTHER):
        service.submit(GATE, hydrogen("b"), account).result()
    assert [(c.molecule, c.outcome) for c in calls(tmp_path)] == [("a", "ok"), ("b", "ok"), ("b", "cache_hit")]


def test_a_closed_service_says_so_and_keeps_nobody_waiting(open_service: Any) -> None:
    service = open_service()
    service.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shutdown"):
            service.submit(GATE, hydrogen("a"), TRAINING).result(timeout=5)


def test_an_executor_of_ones_own(open_service: Any, tmp_path: Path) -> None:
    class Here(Executor):
        """Runs a call at once, in the thread that asks."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    service = open_service(executor=Here())
    answers = service.label_all(MMFF94, waters(2), TRAINING)
    assert all(isinstance(a, Label) for a in answers)
    assert {c.worker for c in calls(tmp_path)} == {threading.current_thread().name}


def test_a_call_is_plain_data_in_and_out() -> None:
    answer = run_call("mmff94", json.loads(json.dumps(WATER.to_json())))
    energy, forces = open_oracle(MMFF94, registry()).label(WATER)
    plain = json.loads(json.dumps(answer))
    assert plain == answer
    assert plain["energy_hartree"] == energy
    assert plain["forces_hartree_per_angstrom"] == forces.tolist()
    measured = {"engine", "started_utc", "wall_s", "worker"}
    assert set(plain) == measured | {"outcome", "error", "energy_hartree", "forces_hartree_per_angstrom"}
    refused = run_call("mmff94", WATER.at(WATER.positions * 0.1).to_json())
    assert (refused["outcome"], refused["engine"][:6]) == ("input", "rdkit ")
