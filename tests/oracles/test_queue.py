"""The queue: who is served first, what is asked again, and workers that die. Real engines throughout."""

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from golfbench.contracts import Label
from golfbench.errors import GolfbenchError, OracleError, WorkerLostError
from golfbench.molecules import Molecule
from golfbench.oracles.calls import Limits, run_call
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef

from .conftest import BAD, GATE, LADDER, MMFF94, TRAINING, WATER, XTB, Gate, calls, hydrogen, raised, waters

pytestmark = pytest.mark.usefixtures("plugins")


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


def test_each_call_of_a_slow_oracle_is_told_and_no_other(open_service: Any) -> None:
    Gate.opened.set()
    told: list[tuple[str, int, int]] = []
    service = open_service(workers=1)
    service.watch(lambda oracle, ended, asked: told.append((oracle, ended, asked)))
    service.label_all(ComponentRef("slow"), [hydrogen("a"), raised("b", 0.5), raised("c", 0.75)], TRAINING)
    service.label_all(GATE, waters(2), TRAINING)
    assert [(oracle, ended) for oracle, ended, _ in told] == [("slow", 1), ("slow", 2), ("slow", 3)]
    assert told[-1] == ("slow", 3, 3)


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
    assert {str(c.oracle) for c in calls(tmp_path)} == {"ladder"}
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


def test_the_largest_molecules_are_asked_for_first(open_service: Any) -> None:
    service = open_service(workers=1)
    first = service.submit(GATE, hydrogen("first"), TRAINING)
    big = Molecule("big", np.array([8, 1, 1]), WATER.positions + 0.5)
    late = Molecule("late", np.array([8, 1, 1]), WATER.positions + 0.7)
    rest = [service.submit(GATE, late, TRAINING, turn=1)]
    heavy = Molecule("heavy", np.array([8, 8]), np.array([[0, 0, 0], [0, 0, 1.2]]))  # one atom less than big
    rest += [service.submit(GATE, m, TRAINING) for m in (hydrogen("b"), big, heavy, hydrogen("c"))]
    Gate.opened.set()
    for future in (first, *rest):
        future.result(20)
    assert Gate.asked == ["first", "heavy", "big", "b", "c", "late"]  # a later round overtakes nobody


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
