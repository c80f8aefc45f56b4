"""Labels on their way: in order and a fixed number of rounds late, or as they come."""

import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from golfbench.contracts import Label
from golfbench.errors import OracleError
from golfbench.learning.stream import Stream
from golfbench.molecules import Molecule


def atom(name: str) -> Molecule:
    return Molecule(name, np.array([2]), np.array([[len(name) / 3, 0.0, float(sum(name.encode()))]]))


class Desk:
    """Takes questions and answers them when it is told to."""

    def __init__(self, lag: int, in_order: bool) -> None:
        self.futures: dict[str, Future[Label]] = {}
        self.stream = Stream(self.ask, self.wait_for, lag, in_order)

    def ask(self, molecule: Molecule, round: int) -> Future[Label]:
        return self.futures.setdefault(molecule.id, Future())

    def wait_for(self, future: Future[Label]) -> Label | OracleError:
        try:
            return future.result(20)
        except OracleError as error:
            return error

    def deliver(self, *names: str) -> None:
        for name in names:
            self.futures[name].set_result(Label(float(len(name)), np.zeros((1, 3)), "X"))

    def push(self, round: int, *names: str) -> None:
        self.stream.push([atom(name) for name in names], round)

    def pull(self, round: int) -> list[str]:
        return [asked.molecule.id for asked, _ in self.stream.pull(round)]


@pytest.fixture
def desk() -> Any:
    return Desk


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_in_order_a_label_is_learned_from_exactly_lag_rounds_later(desk: Any, lag: int) -> None:
    place = desk(lag, True)
    learned = []
    for round in range(8):
        if round < 5:
            place.push(round, f"{round}a", f"{round}b")
            place.deliver(f"{round}b", f"{round}a")  # they come at once, and the other way round
        learned.append(place.pull(round))
    expected = [[]] * lag + [[f"{round}a", f"{round}b"] for round in range(5)]
    assert learned == (expected + [[]] * 8)[:8]
    assert len(place.stream) == 0


def test_in_order_the_stream_waits_for_what_is_due_and_for_nothing_else(desk: Any) -> None:
    place = desk(1, True)
    place.push(0, "slow")
    assert place.pull(0) == []
    place.push(1, "later")
    timer = threading.Timer(0.1, place.deliver, ["slow"])
    timer.start()
    assert place.pull(1) == ["slow"]
    assert not place.futures["later"].done()


def test_out_of_order_labels_are_taken_as_they_come(desk: Any) -> None:
    place = desk(2, False)
    place.push(0, "a", "b", "c")
    place.deliver("c")
    assert place.pull(0) == ["c"]
    assert place.pull(1) == []
    place.push(1, "d")
    place.deliver("d", "a")
    assert place.pull(1) == ["a", "d"]
    threading.Timer(0.1, place.deliver, ["b"]).start()
    assert place.pull(2) == ["b"]  # older than it may be: the stream waits


def test_a_failure_stands_in_the_place_of_its_label(desk: Any) -> None:
    place = desk(0, True)
    place.push(0, "a", "b")
    place.deliver("b")
    place.futures["a"].set_exception(OracleError("no SCF", "not_converged"))
    (first, failure), (second, label) = place.stream.pull(0)
    assert (first.molecule.id, second.molecule.id) == ("a", "b")
    assert isinstance(failure, OracleError)
    assert failure.kind == "not_converged"
    assert label.energy == 1.0


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_on_its_way_is_asked_for_again_after_a_restart(desk: Any, in_order: bool) -> None:
    place = desk(1, in_order)
    place.push(0, "a", "b")
    place.push(1, "c")
    kept = place.stream.to_json()
    again = desk(1, in_order)
    again.stream.restore(kept)
    assert list(again.futures) == ["a", "b", "c"]
    assert again.stream.to_json() == kept
    again.deliver("a", "b", "c")
    taken = again.stream.pull(1)
    assert [asked.molecule.id for asked, _ in taken] == (["a", "b"] if in_order else ["a", "b", "c"])
    assert taken[0][0].molecule.positions.tobytes() == atom("a").positions.tobytes()
