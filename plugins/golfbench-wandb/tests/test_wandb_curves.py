"""The real client, offline."""

import json
import os
import socket
import struct

import pytest

from golfbench.testing import contract_tests

messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
WandbRun = pytest.importorskip("golfbench_wandb.curves").WandbRun

test_contract = contract_tests("logger", "wandb")

BLOCK, FULL, LAST = 32768, 1, 4


def chunks(data):
    """Yield what a file of the client holds: LevelDB's log format, after a header of seven bytes."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""


def records(folder):
    for file in sorted(folder.rglob("*.wandb")):
        for chunk in chunks(file.read_bytes()):
            yield messages.Record.FromString(chunk)


def test_the_file_has_the_names_and_the_curves(tmp_path):
    before = dict(os.environ)
    log = WandbRun("a-project", "", "offline", tmp_path, "a-run", "net|golf|seed=0")
    for step in (20, 40):
        log.scalars(step, {"train/learning_rate": 1e-3 / step, "train/labels": 64.0})
    log.close()
    assert dict(os.environ) == before
    found = list(records(tmp_path))
    (run,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (run.project, run.run_group, run.display_name) == ("a-project", "a-run", "net|golf|seed=0")
    assert run.host in ("", "offline") or socket.gethostname() not in run.host
    steps = []
    for record in found:
        if record.WhichOneof("record_type") == "history":
            names = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            steps.append((names["_step"], names["train/learning_rate"], names["train/labels"]))
    assert steps == [(20, 1e-3 / 20, 64.0), (40, 1e-3 / 40, 64.0)]


def test_a_resumed_run_has_the_same_id(tmp_path):
    for step in (20, 40):
        log = WandbRun("a-project", "", "offline", tmp_path, "a-run", "net|golf|seed=0")
        log.scalars(step, {"x": 1.0})
        log.close()
    ids = {record.run.run_id for record in records(tmp_path) if record.WhichOneof("record_type") == "run"}
    assert len(ids) == 1
