"""The service: what is asked, what is charged to whom, what a crash or a full disk leaves. Real engines throughout."""

import contextlib
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ase.db import connect

from golfbench.contracts import FloatArray, Label
from golfbench.errors import (
    ComponentMissingError,
    ConfigurationError,
    GolfbenchError,
    OracleError,
    WorkerLostError,
    WriteError,
)
from golfbench.hookspecs import hookimpl
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.calls import Limits, run_call
from golfbench.oracles.ledger import OracleCall, read_calls
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.question import Question
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import Plugin, registry
from golfbench.specs import ComponentRef, OracleSpec, Parameter

HERE = Path(__file__).parent
XTB, MMFF94, GATE, LADDER, BAD = (ComponentRef(name) for name in ("gfn2-xtb", "mmff94", "gate", "ladder", "bad"))
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
    """Answers once the gate is open; the energy is the height of atom 0, and one above the ceiling is a failure."""

    version = "gate 1.0"
    opened = threading.Event()
    asked: list[str] = []  # noqa: RUF012 (shared on purpose: each thread has an engine of its own)

    def __init__(self, ceiling: float = 1.0) -> None:
        self.ceiling = ceiling

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        self.asked.append(molecule.id)
        assert self.opened.wait(20)
        if molecule.positions[0, 2] > self.ceiling:
            raise OracleError(f"{molecule.id}: too high", "not_converged")
        return float(molecule.positions[0, 2]), np.zeros((len(molecule), 3))


def gate(ceiling: float = 1.0) -> Gate:
    return Gate(ceiling)


class Plugins:
    """Engines for these tests, offered as a plugin offers them."""

    @hookimpl
    def golfbench_oracles(self) -> list[OracleSpec]:
        common = {"summary": "For tests.", "method": "none"}
        basis = Parameter("factor", 1.0, "Factor of the energy.")
        engine = "misbehaving_engines:Engine"
        return [
            OracleSpec(name="gate", factory=f"{__name__}:gate", isolated=False, elements=frozenset({1, 8}), **common),
            OracleSpec(
                name="ladder",
                factory=f"{__name__}:gate",
                isolated=False,
                parameters=(Parameter("ceiling", 1.0, "Highest height.", technical=True),),
                fallbacks=({"ceiling": 2.0}, {"ceiling": 3.0}),
                **common,
            ),
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
    kept = service.labels.labelled(Question.of(XTB, WATER).key)
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
    *lost, served = sorted(calls(tmp_path), key=lambda c: c.outcome == "ok")
    assert len(lost) == (3 if failed.kind == "crashed" else 1)  # a crash may be the machine's fault
    assert {(c.outcome, c.error, c.engine) for c in lost} == {(failed.kind, str(failed), "misbehaving 1.0")}
    assert [c.attempt for c in lost] == list(range(1, len(lost) + 1))
    assert (served.outcome, served.molecule) == ("ok", "fine")


def test_an_xtb_that_is_killed_in_the_middle_is_asked_again(open_service: Any, tmp_path: Path) -> None:
    chain = np.array([[1.3 * k, 0.5 * (k % 2), 0.0] for k in range(60)])  # takes seconds
    carbon = Molecule("chain", np.full(60, 6), chain)
    service = open_service()
    service.submit(XTB, WATER, TRAINING).result()  # now its process is up
    future = service.submit(XTB, carbon, TRAINING)
    workers = [p for p in psutil.Process().children(recursive=True) if "golfbench.oracles.worker" in p.cmdline()]
    child = workers[-1]  # behind its guard
    busy = child.cpu_times().user
    while child.cpu_times().user < busy + 0.05:
        assert not future.done()
        time.sleep(0.005)
    child.kill()
    assert isinstance(future.result(), Label)
    assert [(c.molecule, c.outcome, c.attempt) for c in calls(tmp_path)] == [
        ("water", "ok", 1),
        ("chain", "crashed", 1),
        ("chain", "ok", 2),
    ]
    assert "SIGKILL" in calls(tmp_path)[1].error
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
    assert all(c.key in service.labels for c in delivered)
    labels = service.label_all(XTB, molecules, Account("", "before", "initial"))
    assert all(isinstance(a, Label) for a in labels)
    assert calls(tmp_path)[: len(delivered)] == delivered
    assert len({c.geometry_sha256 for c in calls(tmp_path)}) == len(calls(tmp_path)) == 100


def test_what_does_not_converge_is_asked_with_the_fallbacks_and_then_never_again(
    open_service: Any, tmp_path: Path
) -> None:
    Gate.opened.set()
    service = open_service()
    rescued, hopeless = raised("rescued", 2.0), raised("hopeless", 4.0)
    answers = service.label_all(LADDER, [rescued, hopeless], TRAINING)
    assert answers[0].energy == 2.0
    assert answers[1].kind == "not_converged"
    tried = [(c.molecule, c.attempt, c.fallback, c.outcome) for c in calls(tmp_path)]
    assert sorted(tried) == [
        ("hopeless", 1, "", "not_converged"),
        ("hopeless", 2, "ceiling=2.0", "not_converged"),
        ("hopeless", 3, "ceiling=3.0", "not_converged"),
        ("rescued", 1, "", "not_converged"),
        ("rescued", 2, "ceiling=2.0", "ok"),
    ]
    assert {c.oracle for c in calls(tmp_path)} == {"ladder"}
    again = service.label_all(LADDER, [rescued, hopeless], TRAINING)
    assert (again[0].energy, again[1].kind) == (2.0, "not_converged")
    assert len(calls(tmp_path)) == 5


def test_a_restart_goes_on_with_the_next_attempt(open_service: Any, tmp_path: Path) -> None:
    Gate.opened.set()
    hopeless = raised("hopeless", 4.0)
    service = open_service()
    service.label_all(LADDER, [hopeless], TRAINING)
    service.close()
    path = tmp_path / "oracle_calls.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))  # killed after the first attempt
    Gate.asked.clear()
    assert open_service().label_all(LADDER, [hopeless], TRAINING)[0].kind == "not_converged"
    assert [(c.attempt, c.fallback) for c in calls(tmp_path)] == [(1, ""), (2, "ceiling=2.0"), (3, "ceiling=3.0")]
    assert Gate.asked == ["hopeless"] * 2


def test_a_label_that_cannot_be_right_is_kept_counted_and_not_given_out(open_service: Any, tmp_path: Path) -> None:
    service = open_service()
    for _ in range(2):
        (refused,) = service.label_all(BAD, [hydrogen("adrift")], TRAINING)
        assert refused.kind == "rejected"
        assert "the forces add up to 2 Hartree/Å" in str(refused)
    (line,) = calls(tmp_path)
    assert (line.outcome, line.attempt) == ("rejected", 1)
    with connect(str(tmp_path / "labels.db")) as db:
        (row,) = db.select()
        assert row.rejected == line.error
        assert row.data["forces"].sum() == pytest.approx(6.0)
    service.close()
    assert open_service().label_all(BAD, [hydrogen("adrift")], TRAINING)[0].kind == "rejected"
    assert len(calls(tmp_path)) == 1


def test_reference_energies_judge_the_labels_of_their_method_only(open_service: Any) -> None:
    service = open_service()
    service.gate.expect("GFN2-xTB", {8: -100.0, 1: 0.0})
    service.gate.expect("MMFF94", {8: 0.0, 1: 0.0})
    assert service.label_all(XTB, [WATER], TRAINING)[0].kind == "rejected"
    assert isinstance(service.label_all(MMFF94, [WATER], TRAINING)[0], Label)


def test_the_largest_molecules_are_asked_for_first(open_service: Any) -> None:
    service = open_service(workers=1)
    first = service.submit(GATE, hydrogen("first"), TRAINING)
    big = Molecule("big", np.array([8, 1, 1]), WATER.positions + 0.5)
    late = Molecule("late", np.array([8, 1, 1]), WATER.positions + 0.7)
    rest = [service.submit(GATE, late, TRAINING, turn=1)]
    rest += [service.submit(GATE, m, TRAINING) for m in (hydrogen("b"), big, hydrogen("c"))]
    Gate.opened.set()
    for future in (first, *rest):
        future.result(20)
    assert Gate.asked == ["first", "big", "b", "c", "late"]  # what a later round asks for overtakes nobody


def test_the_ledger_says_how_long_the_run_stood_still(open_service: Any, tmp_path: Path) -> None:
    service = open_service(workers=1)
    futures = [service.submit(GATE, hydrogen(name), TRAINING) for name in "abc"]
    threading.Timer(0.5, Gate.opened.set).start()
    service.answer(futures[0])
    assert wait(futures, 20).not_done == set()
    service.answer(futures[2])
    awaited = [c.awaited_s for c in calls(tmp_path)]
    assert awaited[0] == pytest.approx(0.5, abs=0.3)
    assert awaited[1:] == [0.0, 0.0]


def test_an_interrupted_service_ends_its_calls_and_blames_nobody(open_service: Any, tmp_path: Path) -> None:
    chain = np.array([[1.3 * k, 0.5 * (k % 2), 0.0] for k in range(150)])
    service = open_service()
    service.submit(XTB, WATER, TRAINING).result()
    future = service.submit(XTB, Molecule("chain", np.full(150, 6), chain), TRAINING)
    waiting = service.submit(XTB, waters(2)[1], TRAINING)
    time.sleep(0.3)  # now the engine is at it
    started = time.monotonic()
    service.close(wait=False)
    assert isinstance(future.exception(10), OracleError)
    assert isinstance(waiting.exception(10), CancelledError)  # whoever waits is told
    assert time.monotonic() - started < 5
    assert [c.molecule for c in calls(tmp_path)] == ["water"]


def test_limits_of_a_call(tmp_path: Path) -> None:
    limits = Limits(time_s=0.5, memory_bytes=2 * 10**9)
    chain = np.array([[1.3 * k, 0.5 * (k % 2), 0.0] for k in range(150)])  # takes longer
    with contextlib.closing(OracleService(tmp_path, limits=limits)) as service:
        slow, quick = service.label_all(XTB, [Molecule("chain", np.full(150, 6), chain), WATER], TRAINING)
    assert slow.kind == "time_limit"
    assert "took longer than 0.5 s" in str(slow)
    assert isinstance(quick, Label)


class Dying(Executor):
    """Loses the first workers that are asked about a geometry, as many as it is told; then answers at once."""

    def __init__(self, lost: Callable[[int], int]) -> None:
        self.lost, self.asked = lost, Counter[str]()

    def submit(self, fn: Any, /, oracle: str, molecule: dict[str, Any], *limits: Any) -> Future[Any]:
        future: Future[Any] = Future()
        geometry = json.dumps(molecule["positions_angstrom"])
        self.asked[geometry] += 1
        if self.asked[geometry] <= self.lost(list(self.asked).index(geometry)):
            future.set_exception(WorkerLostError("SIGKILL"))
        else:
            future.set_result(fn(oracle, molecule, *limits))
        return future


def test_a_lost_worker_costs_an_attempt_and_no_label(open_service: Any, tmp_path: Path) -> None:
    service = open_service(executor=Dying(lambda number: 1))
    answers = service.label_all(MMFF94, waters(4), TRAINING)
    assert all(isinstance(a, Label) for a in answers)
    assert Counter((c.outcome, c.attempt) for c in calls(tmp_path)) == {("lost", 1): 4, ("ok", 2): 4}
    assert "the worker was lost: SIGKILL" in calls(tmp_path)[0].error


def test_a_molecule_that_kills_its_workers_is_given_up(open_service: Any, tmp_path: Path) -> None:
    service = open_service(executor=Dying(lambda number: 3 if number == 0 else 0))
    answers = service.label_all(MMFF94, waters(2), TRAINING)
    assert answers[0].kind == "lost"
    assert isinstance(answers[1], Label)
    service.close()
    # Workers are lost for reasons of their own: the next process has others.
    assert isinstance(open_service().label_all(MMFF94, waters(1), TRAINING)[0], Label)


def test_when_no_worker_stays_alive_the_run_ends_and_gives_nothing_up(open_service: Any, tmp_path: Path) -> None:
    service = open_service(executor=Dying(lambda number: 1000))
    with pytest.raises(GolfbenchError, match=r"\d\d workers in a row were lost, the last one so: .*SIGKILL"):
        service.label_all(MMFF94, waters(20), TRAINING)
    service.close()
    assert all(isinstance(a, Label) for a in open_service().label_all(MMFF94, waters(20), TRAINING))


@pytest.mark.parametrize("any_version", [False, True])
def test_labels_of_another_run_are_hits_and_never_charged(any_version: bool, tmp_path: Path) -> None:
    cache = LabelCache(tmp_path / "labels.sqlite")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with contextlib.closing(OracleService(first, cache=cache)) as service:
        bought = service.label_all(XTB, waters(3), TRAINING)
    with contextlib.closing(OracleService(second, cache=cache, any_version=any_version)) as service:
        found = service.label_all(XTB, waters(5), OTHER)
        assert [c.outcome for c in calls(second)].count("cache_hit") == 3
    for old, new in zip(bought, found, strict=False):
        assert (new.energy, new.forces.tobytes(), new.method) == (old.energy, old.forces.tobytes(), old.method)
    hits = [c for c in calls(second) if c.outcome == "cache_hit"]
    assert {(c.attempt, c.wall_s, c.engine) for c in hits} == {(0, 0.0, calls(first)[0].engine)}
    (tmp_path / "labels.sqlite").unlink()
    with contextlib.closing(OracleService(second)) as service:  # what was found is the run's own from then on
        assert isinstance(service.label_all(XTB, waters(3), OTHER)[0], Label)
    assert len(calls(second)) == 5


@pytest.mark.parametrize(("any_version", "energy", "asked"), [(False, 0.0, ["a"]), (True, 7.0, [])])
def test_a_label_of_another_version_is_believed_only_on_request(
    any_version: bool, energy: float, asked: list[str], tmp_path: Path
) -> None:
    Gate.opened.set()
    cache = LabelCache(tmp_path / "labels.sqlite")
    question = Question.of(GATE, hydrogen("a"))
    cache.put(question, Label(7.0, np.zeros((2, 3)), "none"), "gate 0.9", 1.0, None)
    with contextlib.closing(OracleService(tmp_path, cache=cache, any_version=any_version)) as service:
        assert service.label_all(GATE, [hydrogen("a")], TRAINING)[0].energy == energy
    assert Gate.asked == asked
    assert set(cache.engines(question)) == {"gate 0.9"} | {"gate 1.0" for _ in asked}


def test_a_cheap_oracle_is_asked_sooner_than_looked_up(tmp_path: Path) -> None:
    cache = LabelCache(tmp_path / "labels.sqlite")
    with contextlib.closing(OracleService(tmp_path, cache=cache)) as service:
        service.label_all(MMFF94, [WATER], TRAINING)
    assert not cache.path.exists()


def test_a_damaged_label_of_the_cache_is_not_believed(tmp_path: Path) -> None:
    cache = LabelCache(tmp_path / "labels.sqlite")
    adrift = Label(1.0, np.ones((3, 3)), "GFN2-xTB")
    with open_oracle(XTB, registry()) as oracle:
        version = oracle.version
    cache.put(Question.of(XTB, WATER), adrift, version, 1.0, None)
    with contextlib.closing(OracleService(tmp_path, cache=cache)) as service:
        assert service.label_all(XTB, [WATER], TRAINING)[0].energy < -5
    assert [c.outcome for c in calls(tmp_path)] == ["ok"]


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
    (worker,) = {c.worker for c in calls(tmp_path)}
    assert re.fullmatch("worker-[0-9a-f]{8}", worker)


def test_a_call_is_plain_data_in_and_out() -> None:
    answer = run_call("mmff94", json.loads(json.dumps(WATER.to_json())))
    energy, forces = open_oracle(MMFF94, registry()).label(WATER)
    plain = json.loads(json.dumps(answer))
    assert plain == answer
    assert plain["energy_hartree"] == energy
    assert plain["forces_hartree_per_angstrom"] == forces.tolist()
    measured = {"engine", "started_utc", "wall_s", "cpu_s", "worker"}
    assert set(plain) == measured | {"outcome", "error", "energy_hartree", "forces_hartree_per_angstrom"}
    refused = run_call("mmff94", WATER.at(WATER.positions * 0.1).to_json())
    assert (refused["outcome"], refused["engine"][:6]) == ("input", "rdkit ")
