"""The service: what is asked once, and what everybody who asked gets. Real engines throughout."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golfbench.contracts import Label
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.question import Question
from golfbench.oracles.service import Account
from golfbench.registry import registry
from golfbench.specs import ComponentRef

from .conftest import (
    EVALUATION,
    GATE,
    MMFF94,
    OTHER,
    TRAINING,
    WATER,
    XTB,
    Gate,
    calls,
    hydrogen,
    lines,
    raised,
    waters,
)

pytestmark = pytest.mark.usefixtures("plugins")


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
    assert (line.molecule, str(line.oracle)) == ("water", "gfn2-xtb")
    assert (line.method, line.engine) == ("GFN2-xTB", version)
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


def test_a_closed_service_says_so_and_keeps_nobody_waiting(open_service: Any) -> None:
    service = open_service()
    service.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shutdown"):
            service.submit(GATE, hydrogen("a"), TRAINING).result(timeout=5)
