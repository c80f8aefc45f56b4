"""The books: what is remembered, charged to whom, believed, and left by a crash or a full disk."""

import contextlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.db import connect

from golfbench.contracts import Label
from golfbench.errors import OracleError, WriteError
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.question import Question
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef

from .conftest import (
    BAD,
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
    assert [str(c.oracle) for c in calls(tmp_path)] == ["bad", "bad:factor=2.0"]


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
        with pytest.raises(WriteError, match=r"oracle_calls\.jsonl cannot be written"):
            service.submit(GATE, hydrogen("a"), OTHER).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for account in (TRAINING, OTHER):
        service.submit(GATE, hydrogen("b"), account).result()
    assert [(c.molecule, c.outcome) for c in calls(tmp_path)] == [("a", "ok"), ("b", "ok"), ("b", "cache_hit")]
