"""``golfbench datasets fetch`` as a person uses it."""

import os
import signal
import subprocess
import sys
import time

import pytest

PLUGIN = """
from golfbench import hookimpl
from golfbench.specs import DataFile, DatasetSpec, Parameter
from golfbench.errors import ConfigurationError


def check(path):
    if not path.read_bytes().startswith(b"DATA"):
        raise ConfigurationError(f"{path.name} holds no data")


@hookimpl
def golfbench_datasets():
    files = tuple(
        DataFile(split=split, name=f"{split}.bin", url="URL", check="far_plugin:check", together_with=("test",))
        for split in ("small", "large", "test")
    )
    return [
        DatasetSpec(
            name="far", factory="far_plugin:Reader", summary="Far away.", method="X", files=files,
            parameters=(Parameter("train", "small", "Which.", ("small", "large")),),
        ),
        DatasetSpec(name="near", factory="far_plugin:Reader", summary="Ships.", method="X"),
    ]
"""
CONTENT = b"DATA" + bytes(range(256)) * 6000


@pytest.fixture
def fetch(golfbench, add_plugin, file_server, tmp_path):
    file_server.way.content = CONTENT
    add_plugin("far", PLUGIN.replace("URL", file_server.url))

    def run(*arguments):
        return golfbench("datasets", "fetch", *arguments, plugins="far", GOLFBENCH_DATA=str(tmp_path / "data"))

    return run


def test_what_a_dataset_reads_is_fetched_by_default(fetch, tmp_path, file_server):
    done = fetch("far")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "small.bin, kB: 1536/1536" in done.stderr
    assert f"golfbench: far, test is in {tmp_path / 'data' / 'far' / 'test.bin'}" in done.stderr
    assert sorted(path.name for path in (tmp_path / "data" / "far").glob("*.bin")) == ["small.bin", "test.bin"]
    assert fetch("far:train=large", "--split", "large").returncode == 0
    assert (tmp_path / "data" / "far" / "large.bin").read_bytes() == CONTENT
    assert len(file_server.asked) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["far", "--split", "smal"], 2, "dataset 'far': unknown split 'smal': did you mean 'small'?"),
        (["near"], 4, "dataset 'near' has no files to fetch"),
        (
            ["far", "--mirror", "http://127.0.0.1:9/a.bin"],
            2,
            "one file for 2 parts (small, test): choose one by --split",
        ),
        (
            ["far", "--split", "test", "--file", "a", "--mirror", "http://b"],
            2,
            "--file and --mirror exclude each other",
        ),
        (["far", "--split", "test", "--file", "nowhere.bin"], 2, "nowhere.bin does not exist"),
        (["far", "--split", "test", "--mirror", "ftp://a/b"], 2, "an address begins with https:// or http://"),
        (["far:train=none"], 2, "far: train=none is not one of small, large"),
    ],
)
def test_what_a_person_can_cure_is_one_line(fetch, arguments, code, said):
    done = fetch(*arguments)
    assert done.returncode == code
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_fetch_that_is_killed_leaves_no_half_file_and_goes_on(fetch, tmp_path, file_server, site):
    file_server.way.pause = 0.2
    environment = {"GOLFBENCH_DATA": str(tmp_path / "data"), "GOLFBENCH_PLUGINS": "far", "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", "from golfbench.cli.main import main; main()", "datasets", "fetch", "far"]
    process = subprocess.Popen(
        [*command, "--split", "small"], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    partial = tmp_path / "data" / "far" / "incoming" / "small.bin.partial"
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "data" / "far" / "small.bin").exists()
    file_server.way.pause = 0.0
    assert fetch("far", "--split", "small").returncode == 0
    assert (tmp_path / "data" / "far" / "small.bin").read_bytes() == CONTENT
    assert str(file_server.asked[-1]).startswith("bytes=")
