"""Files are what they were or all that is new: after a kill, with a full disk, whatever the disk takes at a time."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest

from golfbench.durable import append_whole, cut_torn_line, replacing, write_atomically
from golfbench.errors import WriteError


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond that many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed(act: Callable[[], object]) -> None:
    """Do something in a process that kills itself where the act calls ``os.kill``."""
    child = os.fork()
    if not child:
        act()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- whole files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "bytes_"),
    [("", b""), (b"\x00\xff", b"\x00\xff"), ("Å\r\n\u2028", "Å\r\n\u2028".encode()), (b"x" * 300_000, b"x" * 300_000)],
)
def test_a_file_has_the_bytes_it_was_given_and_nothing_lies_beside_it(
    content: str | bytes, bytes_: bytes, tmp_path: Path
) -> None:
    for _ in range(2):  # the second time it is replaced
        write_atomically(tmp_path / "a.json", content)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": bytes_}


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_leaves_the_old_file_and_the_next_write_cleans_up(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    write_atomically(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, moment, die)
        killed(lambda: write_atomically(path, "new"))
    assert path.read_text() == "old"
    write_atomically(path, "newer")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"manifest.json": "newer"}


def test_the_disk_has_it_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    write_atomically(tmp_path / "a", "new")
    assert order == ["fsync", "replace"]


def test_what_need_not_survive_the_machine_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: pytest.fail("it waited"))
    write_atomically(tmp_path / "a", "old", sync=False)
    write_atomically(tmp_path / "a", "new", sync=False)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a": "new"}


def test_a_full_disk_leaves_the_old_file_and_says_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, "old")
    with largest_file(1000), pytest.raises(WriteError) as caught:
        write_atomically(path, b"x" * 1001)
    assert str(caught.value) == f"{path} cannot be written: File too large"
    assert isinstance(caught.value.__cause__, OSError)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"summary.json": "old"}


def test_missing_folders_are_made_on_request_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with pytest.raises(WriteError, match=r"c\.txt cannot be written: No such file or directory"):
        write_atomically(path, "text")
    write_atomically(path, "text", parents=True)
    assert path.read_text() == "text"
    with pytest.raises(WriteError, match=r"d\.txt cannot be written: File exists"):
        write_atomically(path / "d.txt", "text", parents=True)
    with pytest.raises(WriteError, match="Is a directory"):
        write_atomically(tmp_path / "a", "text")
    assert [file.name for file in tmp_path.rglob("*")] == ["a", "b", "c.txt"]


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    def fill(folder: Path, count: int, error: type[Exception] | None = None) -> None:
        (folder / "deep").mkdir(parents=True)
        for number in range(count):
            (folder / "deep" / f"{number}.txt").write_text("text")
        if error:
            raise error

    with pytest.raises(KeyError), replacing(tmp_path / "ready") as unfinished:
        fill(unfinished, 2, KeyError)
    assert list(tmp_path.iterdir()) == []
    fill(tmp_path / "ready.partial", 5)  # left by a process that was killed
    with replacing(tmp_path / "ready") as unfinished:
        fill(unfinished, 3)
    assert sorted(file.name for file in tmp_path.rglob("*.txt")) == ["0.txt", "1.txt", "2.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["ready"]


# --- what grows ----------------------------------------------------------------------------------------------------


class Sluggish(FileIO):
    """Takes at most three bytes at a time, and none after so many."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path, "ab")
        self.left = most

    def write(self, data: object) -> int:
        part = bytes(data)[: min(3, self.left)]  # type: ignore[call-overload]
        if not part:
            raise OSError(28, "No space left on device")
        self.left -= len(part)
        return super().write(part)


@pytest.mark.parametrize("sync", [False, True])
def test_a_disk_that_takes_little_at_a_time_gets_all_of_it(sync: bool, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with Sluggish(path, 100) as file:
        append_whole(file, b"first line\n", sync=sync)
        append_whole(file, b"", sync=sync)
        append_whole(file, b"second line\n", sync=sync)
    append_whole(path, b"third\n", sync=sync)
    assert path.read_bytes() == b"first line\nsecond line\nthird\n"


@pytest.mark.parametrize("room", range(0, 12, 2))
def test_a_block_that_does_not_fit_leaves_nothing_of_itself(room: int, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_whole(path, b"first\n")
    with Sluggish(path, room) as file:
        for _ in range(2):
            with pytest.raises(WriteError) as caught:
                append_whole(file, b"second line\n")
        assert str(caught.value) == (
            f"{path} cannot be written: No space left on device; what was in it before is safe"
        )
        file.left = 100
        append_whole(file, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_a_limit_of_the_file_size_and_a_path_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ends.extxyz"
    append_whole(path, b"first\n")
    with largest_file(10), pytest.raises(WriteError, match=r"ends\.extxyz cannot be written: File too large"):
        append_whole(path, b"second\n")
    assert path.read_bytes() == b"first\n"
    with pytest.raises(WriteError, match="Is a directory"):
        append_whole(tmp_path, b"x")
    with pytest.raises(WriteError, match="No such file"):
        append_whole(tmp_path / "gone" / "a", b"x")


def test_a_process_that_met_a_full_disk_ends_in_silence(tmp_path: Path) -> None:
    # bytes left in a buffer would be refused once more when the file is closed, at the latest by the interpreter
    script = (
        "import resource, sys\n"
        "from golfbench.durable import append_whole\n"
        "from golfbench.errors import WriteError\n"
        "file = open(sys.argv[1], 'ab', buffering=0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n"
        "    append_whole(file, b'more than ten bytes')\n"
        "except WriteError as error:\n"
        "    print(error)\n"
        "file.close()\n"
    )
    path = tmp_path / "calls.jsonl"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path} cannot be written: File too large; what was in it before is safe\n"
    assert path.read_bytes() == b""


@pytest.mark.parametrize("before", [b"", b"\n", b"one\n", b"one\n\n", b"x" * 70_000 + b"\n", b"y\n" * 70_000])
@pytest.mark.parametrize("torn", [b"", b"t", b"\xff\x00", b"z" * 65_535, b"z" * 65_536, b"z" * 200_000])
def test_a_torn_last_line_is_cut_off_and_no_other(before: bytes, torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(before + torn)
    cut_torn_line(path)
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_has_no_torn_line(tmp_path: Path) -> None:
    cut_torn_line(tmp_path / "calls.jsonl")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match="Is a directory"):
        cut_torn_line(tmp_path)
