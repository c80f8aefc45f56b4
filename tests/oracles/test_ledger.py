"""The ledger: what was written is read, a torn line is cut, a damaged one is named, a full disk tears nothing."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from golfbench.benchmark.metrics import CallsByPurpose
from golfbench.errors import ConfigurationError, WriteError
from golfbench.oracles.ledger import CACHE_HIT, PURPOSES, Ledger, OracleCall, read_calls

ACCOUNT = ("painn|lbfgs|golf|gfn2-xtb|seed=0", "after", "training")


def call(number: int, **changes: object) -> OracleCall:
    facts = {
        "call_id": number,
        "combination": ACCOUNT[0],
        "stage": ACCOUNT[1],
        "purpose": ACCOUNT[2],
        "molecule": f"ibuprofen/{number}",
        "geometry_sha256": f"{number:064x}",
        "oracle": "gfn2-xtb",
        "method": "GFN2-xTB",
        "engine": "xtb 22.1",
        "attempt": 1,
        "outcome": "ok",
        "error": "",
        "started_utc": "2025-01-31T12:00:00.000+00:00",
        "wall_s": 0.1 + 0.2,
        "worker": "oracle_0",
    }
    return OracleCall.model_validate(facts | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "oracle_calls.jsonl"


@pytest.fixture
def written(path: Path) -> Callable[..., Path]:
    """Write calls and close."""

    def write(*calls: OracleCall) -> Path:
        ledger = Ledger(path)
        for one in calls:
            ledger.append(one)
        ledger.close()
        return path

    return write


def test_what_was_appended_is_read(written: Callable[..., Path]) -> None:
    calls = [call(0), call(1, outcome="crashed", error="Å\n\r\u2028 'two' lines"), call(2, purpose="reference")]
    path = written(*calls[:2])
    written(calls[2])
    assert list(read_calls(path)) == calls
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == 4
    assert json.loads(lines[0])["wall_s"] == 0.30000000000000004
    assert json.loads(lines[0])["schema_version"] == 1


def test_each_line_is_on_its_way_to_the_disk_when_append_returns(path: Path) -> None:
    ledger = Ledger(path)
    for number in range(3):
        ledger.append(call(number))
        assert len(list(read_calls(path))) == number + 1
    ledger.close()
    ledger.close()


def test_a_missing_and_an_empty_ledger_have_no_calls(path: Path) -> None:
    assert list(read_calls(path)) == []
    path.touch()
    assert list(read_calls(path)) == []
    assert Ledger(path).next_id == 0


def test_what_it_knows_survives_reopening(written: Callable[..., Path]) -> None:
    failed = call(7, outcome="time_limit", error="600 s", oracle="psi4:method=hf")
    path = written(call(3), failed, call(5, outcome=CACHE_HIT, purpose="evaluation"))
    ledger = Ledger(path)
    assert ledger.next_id == 8
    assert [number in ledger for number in (3, 4, 5, 7)] == [True, False, True, True]
    assert ledger.is_settled(call(3).key, ACCOUNT)
    assert not ledger.is_settled(call(3).key, (*ACCOUNT[:2], "evaluation"))
    assert not ledger.is_settled(call(3, oracle="gfn1-xtb").key, ACCOUNT)
    assert ledger.failures(failed.key) == [("time_limit", "600 s")]
    assert ledger.failures(call(7).key) == ()
    assert ledger.failures(call(5).key) == ()  # a hit is no failure


def test_failures_add_up_but_lost_workers_are_forgotten_by_the_next_process(path: Path) -> None:
    ledger = Ledger(path)
    for number, kind in enumerate(("crashed", "lost", "crashed")):
        ledger.append(call(number, geometry_sha256="0" * 64, outcome=kind, error=f"{number}"))
    key = call(0, geometry_sha256="0" * 64).key
    assert ledger.failures(key) == [("crashed", "0"), ("lost", "1"), ("crashed", "2")]
    ledger.close()
    assert Ledger(path).failures(key) == [("crashed", "0"), ("crashed", "2")]


def test_the_key_is_of_oracle_method_options_and_geometry() -> None:
    assert call(1).key == call(1, combination="other", molecule="x", call_id=7).key
    assert call(1, oracle="psi4:threads=4").key == call(1, oracle="psi4").key  # its options have a hash of their own
    changed = ({"geometry_sha256": "1" * 64}, {"method": "x"}, {"options_sha256": "2" * 64}, {"oracle": "tblite"})
    assert len({call(1, **change).key for change in ({}, *changed)}) == 5


def test_a_ledger_written_before_there_were_options_is_read(path: Path) -> None:
    data = json.loads(call(0).model_dump_json())
    for name in ("options_sha256", "fallback", "cpu_s", "awaited_s"):
        del data[name]
    path.write_text(json.dumps(data) + "\n")
    assert list(read_calls(path)) == [call(0)]


@pytest.mark.parametrize("torn", [1, 20, 300])
def test_a_torn_last_line_is_cut(torn: int, written: Callable[..., Path]) -> None:
    path = written(call(0), call(1), call(2))
    path.write_bytes(path.read_bytes()[:-torn])
    assert list(read_calls(path)) == [call(0), call(1)]  # a report reads without cutting
    ledger = Ledger(path)
    assert ledger.next_id == 2
    ledger.append(call(2, outcome="crashed"))
    assert list(read_calls(path)) == [call(0), call(1), call(2, outcome="crashed")]


def test_a_file_of_one_torn_line_is_empty(path: Path) -> None:
    path.write_bytes(b'{"schema_version":1,"molecule":"\xc3')
    assert Ledger(path).next_id == 0
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"", "EOF while parsing a value"),
        (b'{"call_id": 1', "EOF while parsing an object"),
        (b"\x80\xff\x00", "expected value"),
        (b'{"schema_version": 2}', "schema_version: Input should be 1"),
        (call(1).model_dump_json().replace('"training"', '"fun"').encode(), "purpose: Input should be 'initial'"),
        (call(1).model_dump_json().replace('"worker"', '"wrecker"').encode(), "worker: Field required"),
    ],
)
def test_a_damaged_line_is_named_in_one_line(damage: bytes, message: str, written: Callable[..., Path]) -> None:
    path = written(call(0), call(1), call(2))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    before = path.read_bytes()
    for read in (Ledger, lambda p: list(read_calls(p))):
        with pytest.raises(ConfigurationError) as caught:
            read(path)
        assert str(caught.value).startswith("oracle_calls.jsonl, line 2: not an oracle call (")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_purposes_are_six_and_nothing_else() -> None:
    assert PURPOSES == ("initial", "training", "reference", "evaluation", "base", "selection")
    assert tuple(CallsByPurpose.model_fields) == PURPOSES
    for purpose in PURPOSES:
        assert call(0, purpose=purpose).account == (*ACCOUNT[:2], purpose)
    with pytest.raises(ValidationError, match="purpose"):
        call(0, purpose="test")
    with pytest.raises(ValidationError, match="surprise"):
        call(0, surprise=1)


def test_a_full_disk_tears_no_line_and_the_ledger_goes_on_when_there_is_room(written: Callable[..., Path]) -> None:
    path = written(call(0))
    ledger = Ledger(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        for _ in range(2):
            with pytest.raises(WriteError, match=r"oracle_calls\.jsonl cannot be written: File too large"):
                ledger.append(call(1))
        assert list(read_calls(path)) == [call(0)]
        assert path.read_bytes().endswith(b"\n")
        assert 1 not in ledger
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.append(call(2))
    ledger.close()
    assert list(read_calls(path)) == [call(0), call(2)]


def test_a_ledger_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"oracle_calls\.jsonl cannot be written: No such file or directory"):
        Ledger(tmp_path / "gone" / "oracle_calls.jsonl")
    with pytest.raises(WriteError, match="Is a directory"):
        Ledger(tmp_path)
