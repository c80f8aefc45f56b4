"""Files of datasets come into the store whole and proven, or not at all, whatever the server does."""

import hashlib
import json
import sqlite3
import threading

import pytest

from golfbench import data_files, fetching, store
from golfbench.data_files import Wish
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError
from golfbench.specs import DataFile, DatasetSpec

CHECK = "golfbench_datasets.published:check_whole"


def database(folder, rows=3000):
    """The bytes of a small SQLite database."""
    path = folder / "made.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE systems (id INTEGER PRIMARY KEY, data TEXT)")
        connection.executemany("INSERT INTO systems (data) VALUES (?)", [("x" * 100,)] * rows)
    connection.close()
    return path.read_bytes()


@pytest.fixture
def content(tmp_path):
    return database(tmp_path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLFBENCH_DATA", str(tmp_path / "store"))
    return tmp_path / "store" / "thing"


@pytest.fixture
def file(file_server, folder, content):
    file_server.way.content = content
    return DataFile(split="d0", name="D-0.db", url=file_server.url, check=CHECK)


def spec(*files):
    return DatasetSpec(name="thing", factory="a:b", summary="", method="X", files=files)


def stored(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_and_what_was_seen_first_is_kept_beside_it(file, folder, content):
    shown, told = [], []
    wish = Wish(tell=told.append, report=lambda done, total: shown.append((done, total)))
    path = data_files.fetch(spec(file), file, wish)
    assert path == folder / "D-0.db" == store.data_place("thing", file)
    assert path.read_bytes() == content
    known = json.loads((folder / "D-0.db.json").read_text())
    assert known == {"schema_version": 1, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    assert shown[-1] == (len(content), len(content))
    assert told == [f"getting {file.url}"]
    assert stored(folder) == ["D-0.db", "D-0.db.json"]


def test_a_second_fetch_asks_no_server(file, file_server):
    data_files.fetch(spec(file), file, Wish())
    asked = len(file_server.asked)
    data_files.fetch(spec(file), file, Wish())
    assert len(file_server.asked) == asked


def test_a_slow_server_that_cuts_off_is_gone_on_with(file, file_server, content):
    file_server.way.pause, file_server.way.cuts = 0.01, [100_000, 150_000]
    assert data_files.fetch(spec(file), file, Wish()).read_bytes() == content
    assert file_server.asked == [None, "bytes=100000-", "bytes=250000-"]


def test_a_server_that_gives_up_leaves_nothing_that_is_taken_for_the_file(file, file_server, folder, content):
    file_server.way.cuts = [100_000, 0, 0, 0, 0]
    command = "golfbench datasets fetch thing --split d0"
    with pytest.raises(ComponentMissingError, match=rf"cut off .*{command} --mirror URL.*{command} --file FILE"):
        data_files.fetch(spec(file), file, Wish())
    assert stored(folder) == ["incoming"]
    with pytest.raises(ComponentMissingError, match=rf"not on this machine: D-0\.db; {command}$"):
        store.required_data("thing", [file])
    assert data_files.fetch(spec(file), file, Wish()).read_bytes() == content
    assert file_server.asked[-1] == "bytes=100000-"


def test_a_server_that_says_the_file_is_shorter_than_it_is(file, file_server, folder, content):
    file_server.way.length = len(content) // 2
    with pytest.raises(ConfigurationError, match=f"is cut off: it has {len(content) // 2} of {len(content)} bytes"):
        data_files.fetch(spec(file), file, Wish())
    assert not list(folder.rglob("*.db"))
    assert not list(folder.rglob("*.json"))
    file_server.way.length = None
    assert data_files.fetch(spec(file), file, Wish()).read_bytes() == content


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>moved</html>", b""])
def test_a_page_in_place_of_the_file_is_refused_and_not_remembered(file, file_server, folder, content, page):
    file_server.way.content = page or b" "
    with pytest.raises(ConfigurationError, match="is no SQLite database: it begins with"):
        data_files.fetch(spec(file), file, Wish())
    file_server.way.content = content
    assert data_files.fetch(spec(file), file, Wish()).read_bytes() == content


def test_another_file_than_the_first_is_refused_even_when_the_first_is_gone(file, file_server, folder, tmp_path):
    path = data_files.fetch(spec(file), file, Wish())
    path.unlink()
    file_server.way.content = database(tmp_path, rows=2999)
    with pytest.raises(
        CheckpointError, match=r"dataset 'thing', d0: .* is another file than the one known by that name"
    ):
        data_files.fetch(spec(file), file, Wish())
    assert stored(folder) == ["D-0.db.json", "incoming"]


def test_what_was_damaged_in_the_store_is_fetched_again(file, content):
    path = data_files.fetch(spec(file), file, Wish())
    damaged = bytearray(content)
    damaged[50_000] ^= 1
    for wrong in (bytes(damaged), content[:-1], b""):
        path.write_bytes(wrong)
        told = []
        assert data_files.fetch(spec(file), file, Wish(tell=told.append)).read_bytes() == content
        assert "is not the file that was fetched" in told[0]


def test_a_known_size_and_a_known_hash_are_enforced(file, tmp_path):
    given = tmp_path / "given.db"
    given.write_bytes(database(tmp_path, rows=10))
    for known in ({"size_bytes": 5}, {"sha256": "0" * 64}):
        stated = DataFile(split="d0", name="D-0.db", url=file.url, check=CHECK, **known)
        for wish in (Wish(), Wish(file=given)):
            with pytest.raises(CheckpointError, match="another file"):
                data_files.fetch(spec(stated), stated, wish)


def test_a_mirror_and_a_file_at_hand(file, file_server, folder, tmp_path, content):
    nowhere = DataFile(split="d0", name="D-0.db", url="http://127.0.0.1:9/D-0.db", check=CHECK)
    mirror = file_server.url.rpartition("/")[0]
    for wish in (Wish(mirror=f"{mirror}/D-0.db"), Wish(mirror=f"{mirror}/"), Wish(file=tmp_path / "made.db")):
        assert data_files.fetch(spec(nowhere), nowhere, wish).read_bytes() == content
        (folder / "D-0.db").unlink()
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "D-0.db").write_bytes(content)
    assert data_files.fetch(spec(nowhere), nowhere, Wish(file=tmp_path / "many")).read_bytes() == content
    (folder / "D-0.db").unlink()
    with pytest.raises(CheckpointError, match="none does not exist"):
        data_files.fetch(spec(nowhere), nowhere, Wish(file=tmp_path / "none"))


def test_who_comes_second_waits_and_downloads_nothing(file, file_server):
    file_server.way.pause, told = 0.2, []
    first = threading.Thread(target=data_files.fetch, args=(spec(file), file, Wish()))
    first.start()
    while not file_server.asked:
        pass
    data_files.fetch(spec(file), file, Wish(tell=told.append))
    first.join()
    assert told == ["another process fetches D-0.db: waiting for it"]
    assert len(file_server.asked) == 1


def test_files_that_are_read_with_a_parameter():
    files = [
        DataFile(split="d0", name="a", url="http://a", together_with=("test",)),
        DataFile(split="traj", name="b", url="http://b", together_with=("d0", "test")),
        DataFile(split="test", name="c", url="http://c"),
    ]
    from golfbench.specs import Parameter

    made = DatasetSpec(
        name="thing",
        factory="a:b",
        summary="",
        method="X",
        files=tuple(files),
        parameters=(Parameter("train", "d0", ""),),
    )
    assert [f.split for f in made.wanted({})] == ["d0", "test"]
    assert [f.split for f in made.wanted({"train": "traj"})] == ["d0", "traj", "test"]


def test_what_is_known_of_a_file_and_damaged_is_one_line(file, folder):
    folder.mkdir(parents=True)
    (folder / "D-0.db.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"D-0\.db\.json is damaged: remove it") as caught:
        data_files.fetch(spec(file), file, Wish())
    assert "\n" not in str(caught.value)


def test_nobody_there(folder, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    file = DataFile(split="d0", name="D-0.db", url="http://127.0.0.1:9/D-0.db")
    with pytest.raises(ComponentMissingError, match="refused; give another address"):
        data_files.fetch(spec(file), file, Wish())
