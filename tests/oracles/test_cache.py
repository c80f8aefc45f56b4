"""The label cache: exact, shared by processes, and harmless whatever happens to its file."""

import json
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from golfbench.contracts import Label
from golfbench.errors import ConfigurationError, NothingToDoError, WriteError
from golfbench.molecules import Molecule
from golfbench.oracles import cache as module
from golfbench.oracles import cache_rows
from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.question import Question, label_key

OPTIONS = {"accuracy": 0.1, "max_iterations": 250, "solvent": None, "loose": False}
ENGINE = "xtb 22.1"


def water(shift: float = 0.0, **changes: object) -> Molecule:
    positions = np.array([[-0.0, 1 / 3, 5e-324], [0.96, 0.0, 0.0], [-0.24, 0.93, 1e-17 + shift]])
    return Molecule(numbers=np.array([8, 1, 1]), positions=positions, **({"id": "water/0"} | changes))


def question(shift: float = 0.0, **changes: object) -> Question:
    return Question("gfn2-xtb", "GFN2-xTB", OPTIONS, water(shift, **changes))


def label(energy: float = -5.07 - 1 / 3) -> Label:
    forces = np.random.default_rng(7).normal(size=(3, 3)) * 10.0 ** np.arange(-9, 0).reshape(3, 3)
    forces[0] = -0.0, 5e-324, 1 / 3
    return Label(energy, forces, "GFN2-xTB")


def bits(array: np.ndarray) -> bytes:
    return array.astype("<f8").tobytes()


@pytest.fixture
def cache(tmp_path: Path) -> LabelCache:
    return LabelCache(tmp_path / "folder" / "labels.sqlite")


@pytest.fixture
def filled(cache: LabelCache) -> LabelCache:
    """Three labels: two versions of the engine for one geometry, and another geometry without CPU time."""
    cache.put(question(), label(-5.0), "xtb 22.1", 0.25, 0.2)
    cache.put(question(), label(-5.1), "xtb 23.0", 0.5, 0.4)
    cache.put(question(0.1), label(-5.2), "xtb 22.1", 0.75, None)
    return cache


def tamper(cache: LabelCache, statement: str) -> None:
    with closing(sqlite3.connect(cache.path)) as db, db:
        assert db.execute(statement).rowcount > 0


# --- what it keeps -------------------------------------------------------------------------------------------------


def test_nothing_is_created_before_the_first_label(cache):
    assert cache.get(question(), None) is None
    assert (cache.engines(question()), cache.sources(), cache.count()) == ([], [], 0)
    assert cache.verify().labels == 0
    assert not cache.path.parent.exists()


def test_a_label_comes_back_bit_for_bit(cache):
    cache.put(question(), label(), ENGINE, 0.1, 1 / 3)
    found = LabelCache(cache.path).get(question(), ENGINE)
    assert found.label.energy.hex() == label().energy.hex()
    assert bits(found.label.forces) == bits(label().forces)
    assert (found.label.method, found.engine, found.wall_s, found.cpu_s) == ("GFN2-xTB", ENGINE, 0.1, 1 / 3)
    assert datetime.now(UTC) - datetime.fromisoformat(found.created_utc) < timedelta(minutes=1)


def test_zero_has_no_sign_and_a_cpu_time_may_be_unknown(cache):
    cache.put(question(), Label(-0.0, label().forces, "GFN2-xTB"), ENGINE, 0, None)
    found = cache.get(question(), ENGINE)
    assert (found.label.energy.hex(), found.wall_s, found.cpu_s) == ("0x0.0p+0", 0.0, None)


@pytest.mark.parametrize(
    "other",
    [
        Question("tblite", "GFN2-xTB", OPTIONS, water()),
        Question("gfn2-xtb", "GFN1-xTB", OPTIONS, water()),
        Question("gfn2-xtb", "GFN2-xTB", OPTIONS | {"accuracy": 0.2}, water()),
        Question("gfn2-xtb", "GFN2-xTB", OPTIONS, water(1e-15)),
        Question("gfn2-xtb", "GFN2-xTB", OPTIONS, water(charge=1, multiplicity=2)),
        Question("gfn2-xtb", "GFN2-xTB", OPTIONS, water(multiplicity=3)),
    ],
)
def test_another_question_has_another_answer(filled, other):
    assert filled.get(other, None) is None
    assert filled.engines(other) == []


def test_the_same_question_under_another_name_has_the_same_answer(filled):
    assert filled.get(question(id="aqua/7", smiles="O"), None).label.energy == -5.1


def test_versions_of_the_engine_stand_beside_each_other(filled):
    assert filled.engines(question()) == ["xtb 23.0", "xtb 22.1"]
    assert filled.get(question(), "xtb 22.1").label.energy == -5.0
    assert filled.get(question(), None).label.energy == -5.1
    assert filled.get(question(), "xtb 6.4") is None


def test_the_first_answer_of_a_version_stays(filled):
    filled.put(question(), label(-6.0), "xtb 22.1", 9.0, 9.0)
    assert filled.get(question(), "xtb 22.1").label.energy == -5.0
    assert filled.count() == 3


def test_sources_add_up_what_labels_cost(filled):
    first, second = filled.sources()
    assert (first.oracle, first.method, first.engine) == ("gfn2-xtb", "GFN2-xTB", "xtb 22.1")
    assert (first.labels, first.wall_s, first.cpu_s, first.labels_without_cpu) == (2, 1.0, 0.2, 1)
    assert (second.engine, second.labels, second.cpu_s, second.labels_without_cpu) == ("xtb 23.0", 1, 0.4, 0)


def test_the_file_says_nothing_about_people_and_machines(filled, tmp_path):
    content = filled.path.read_bytes()
    names = [str(tmp_path), str(Path.home()), socket.gethostname(), "water/0", sys.prefix]
    assert not [name for name in names if name.encode() in content]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (Label(float("nan"), label().forces, "GFN2-xTB"), "a number is not finite"),
        (Label(-5.0, np.full((3, 3), np.inf), "GFN2-xTB"), "a number is not finite"),
        (Label(-5.0, label().forces[:2], "GFN2-xTB"), "the forces do not fit the atoms"),
        (Label(-5.0, label().forces, "GFN1-xTB"), "the method and the address do not belong together"),
    ],
)
def test_what_cannot_be_a_label_is_not_kept(cache, caplog, changed, reason):
    cache.put(question(), changed, ENGINE, 0.1, 0.1)
    assert reason in caplog.text
    assert not cache.path.exists()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/data/own.param", False),
        ("~/own.param", False),
        ("../own.param", False),
        ("(model=/data/a.model)", False),
        (r"C:\own.param", False),
        ("tcp://node7:8786", False),
        ("6-31g(d,p)", True),
        ("wB97X-D/def2-SVP", True),
        ("MP2/6-31G*//HF/6-31+G**", True),
    ],
)
def test_a_file_name_among_the_options_is_no_address(cache, value, kept):
    asked = Question("ase", "GFN2-xTB", {"arguments": value}, water())
    cache.put(asked, label(), ENGINE, 0.1, 0.1)
    assert (cache.get(asked, ENGINE) is not None) == kept


def test_the_default_is_in_the_users_cache_folder_unless_the_variable_names_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv("GOLFBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path().parts[-2:] == ("golfbench", "labels.sqlite")
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"


# --- damage --------------------------------------------------------------------------------------------------------

DAMAGES = [
    "energy_hartree = energy_hartree + 1e-12",
    "forces_hartree_per_angstrom = zeroblob(72)",
    "positions_angstrom = zeroblob(72)",
    "charge = 1",
    "oracle = 'psi4'",
    "options = '{}'",
    "wall_s = 0",
    "cpu_s = NULL",
    "created_utc = '2020-01-01T00:00:00.000+00:00'",
    "method = CAST(x'ff47464e' AS TEXT)",
    "numbers = 'three'",
    "sha256 = 'none'",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_label_is_as_if_it_were_not_there(cache, caplog, damage):
    cache.put(question(), label(), ENGINE, 0.25, 0.2)
    tamper(cache, f"UPDATE labels SET {damage}")
    assert cache.get(question(), ENGINE) is None
    assert cache.engines(question()) == []
    assert "label cache labels.sqlite: label 1 is damaged and left out" in caplog.text
    assert cache.verify().problems == ["label 1: the checksum is wrong"]
    cache.put(question(), label(-6.0), ENGINE, 0.25, 0.2)
    assert cache.get(question(), ENGINE).label.energy == -6.0
    assert (cache.count(), cache.verify().problems) == (1, [])


def test_verify_removes_the_damaged_labels_only(filled):
    tamper(filled, "UPDATE labels SET energy_hartree = 0 WHERE id = 2")
    checked = filled.verify(remove=True)
    assert (checked.labels, checked.problems, checked.removed) == (3, ["label 2: the checksum is wrong"], 1)
    assert (filled.verify().labels, filled.verify().problems) == (2, [])
    assert filled.get(question(), None).label.energy == -5.0


def test_verify_finds_what_a_checksum_of_wrong_content_hides(filled):
    with closing(sqlite3.connect(filled.path)) as db, db:
        _, *values = db.execute("SELECT * FROM labels WHERE id = 1").fetchone()
        row = cache_rows.LabelRow(*values)._replace(charge=1)
        db.execute("UPDATE labels SET charge = 1, sha256 = ? WHERE id = 1", (row.checksum(),))
    assert filled.verify().problems == ["label 1: the geometry hash is wrong"]


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["CREATE TABLE systems (id)"], "is not a label cache (another program's SQLite file)"),
        (["PRAGMA application_id = 7"], "is not a label cache (another program's SQLite file)"),
        (["PRAGMA application_id = 0x676C6662", "PRAGMA user_version = 2"], "has schema version 2, this golfbench"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_stays_what_it_is(tmp_path, statements, reason):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
    content = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        LabelCache(path)
    assert reason in str(caught.value)
    assert path.read_bytes() == content


def test_text_and_folders_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("shopping list\n" * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt is not a label cache \(no SQLite file\)"):
        LabelCache(tmp_path / "notes.txt")
    with pytest.raises(ConfigurationError, match="is a folder: GOLFBENCH_CACHE names a file"):
        LabelCache(tmp_path)


def test_an_empty_file_becomes_a_cache_with_the_first_label(tmp_path):
    path = tmp_path / "labels.sqlite"
    path.touch()
    cache = LabelCache(path)
    assert (cache.get(question(), None), path.stat().st_size) == (None, 0)
    cache.put(question(), label(), ENGINE, 0.1, 0.1)
    assert cache.get(question(), ENGINE).label.energy == label().energy


def test_a_truncated_file_stops_no_run_and_is_found(filled, caplog):
    for number in range(20):
        filled.put(question(1.0 + number), label(), ENGINE, 0.1, 0.1)
    content = filled.path.read_bytes()
    filled.path.write_bytes(content[: len(content) // 2])
    cache = LabelCache(filled.path)
    for _ in range(3):
        assert cache.get(question(), None) is None
        cache.put(question(50.0), label(), ENGINE, 0.1, 0.1)
    (warning,) = caplog.messages
    assert warning.startswith("label cache labels.sqlite: cannot be used, the run goes on without it: ")
    (problem,) = cache.verify().problems
    assert problem.endswith("is damaged: database disk image is malformed")
    with pytest.raises(ConfigurationError, match="is damaged: database disk image is malformed"):
        cache.sources()


# --- a file that cannot be used ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = LabelCache(tmp_path / "file" / "labels.sqlite")
    for number in range(3):
        cache.put(question(float(number)), label(), ENGINE, 0.1, 0.1)
        assert cache.get(question(float(number)), None) is None
    assert caplog.messages == [
        "label cache labels.sqlite: cannot be used, the run goes on without it: the file cannot be created: File exists"
    ]


def test_a_full_disk_loses_no_label_that_is_there(filled, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        for number in range(3):
            filled.put(question(1.0 + number), label(), ENGINE, 0.1, 0.1)
        assert filled.get(question(), "xtb 22.1").label.energy == -5.0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(caplog.messages) == 1
    assert (filled.verify().labels, filled.verify().problems) == (3, [])
    filled.put(question(1.0), label(), ENGINE, 0.1, 0.1)
    assert filled.count() == 4


def test_a_file_that_stays_locked_is_left_alone_for_a_while(filled, caplog, monkeypatch):
    monkeypatch.setattr(module, "LOCK_TIMEOUT_S", 0.02)
    clock = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: clock)
    with closing(sqlite3.connect(filled.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert filled.get(question(), None) is None
        with pytest.raises(WriteError, match="cannot be used: database is locked"):
            filled.sources()
    filled.put(question(1.0), label(), ENGINE, 0.1, 0.1)
    assert filled.get(question(), None) is None
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["database is locked"]
    clock += module.REST_S
    assert filled.get(question(), None).label.energy == -5.1
    assert filled.count() == 3


def test_a_file_that_is_removed_meanwhile_is_made_anew(filled):
    filled.path.unlink()
    assert filled.get(question(), None) is None
    filled.put(question(), label(), ENGINE, 0.1, 0.1)
    assert filled.count() == 1


# --- many at once --------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
import numpy as np
from golfbench.contracts import Label
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.question import Question

cache, first, count = LabelCache(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    molecule = Molecule("h2", np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5 + number]]))
    asked = Question("gfn2-xtb", "GFN2-xTB", {}, molecule)
    cache.put(asked, Label(-float(number), np.full((2, 3), number / 3), "GFN2-xTB"), "xtb 22.1", 0.1, 0.1)
    found = cache.get(asked, "xtb 22.1")
    assert found.label.energy == -number and (found.label.forces == number / 3).all(), number
    print(number, flush=True)
"""


def writer(cache: LabelCache, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(cache.path), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_that_write_overlapping_labels_lose_and_double_none(cache):
    processes = [writer(cache, first, 200) for first in (0, 10, 20, 30)]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [error for _, error in ends] == [""] * 4  # in particular no "database is locked"
    assert [len(output.split()) for output, _ in ends] == [200] * 4
    assert (cache.verify().labels, cache.verify().problems) == (230, [])


def test_a_writer_that_is_killed_leaves_a_sound_file(cache):
    process = writer(cache, 0, 100_000)
    for _ in range(15):
        process.stdout.readline()
    process.kill()
    output, _ = process.communicate()
    written = 15 + output.count("\n")
    checked = cache.verify()
    assert checked.problems == []
    assert written <= checked.labels <= written + 1


def test_threads_share_one_cache(cache):
    def write(first: int) -> None:
        for number in range(first, first + 20):
            cache.put(question(float(number)), label(-float(number)), ENGINE, 0.1, 0.1)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.count() == 40
    assert [cache.get(question(float(n)), None).label.energy for n in range(40)] == [-float(n) for n in range(40)]


# --- from machine to machine ---------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path: Path) -> LabelCache:
    return LabelCache(tmp_path / "other" / "labels.sqlite")


def test_export_and_import_keep_every_bit(filled, other, tmp_path):
    assert filled.export(tmp_path / "a.jsonl") == (3, 0)
    done = other.load(tmp_path / "a.jsonl")
    assert (done.added, done.known, done.refused) == (3, 0, [])
    again = other.load(tmp_path / "a.jsonl")
    assert (again.added, again.known, again.refused) == (0, 3, [])
    other.export(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    for asked, engine in ((question(), "xtb 22.1"), (question(), "xtb 23.0"), (question(0.1), "xtb 22.1")):
        there, here = filled.get(asked, engine), other.get(asked, engine)
        assert bits(here.label.forces) == bits(there.label.forces)
        assert (here.label.energy, here.cpu_s, here.created_utc) == (there.label.energy, there.cpu_s, there.created_utc)
    assert other.verify().problems == []


def test_a_line_is_plain_json_with_units_in_its_names(filled, tmp_path):
    filled.export(tmp_path / "a.jsonl")
    line = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert {name: line[name] for name in ("schema_version", "oracle", "method", "engine", "numbers", "charge")} == {
        "schema_version": 1,
        "oracle": "gfn2-xtb",
        "method": "GFN2-xTB",
        "engine": "xtb 22.1",
        "numbers": [8, 1, 1],
        "charge": 0,
    }
    assert (line["options"], line["energy_hartree"], line["wall_s"], line["cpu_s"]) == (OPTIONS, -5.0, 0.25, 0.2)
    assert line["positions_angstrom"] == water().positions.tolist()
    assert line["forces_hartree_per_angstrom"] == label().forces.tolist()
    assert line["geometry_sha256"] == water().geometry_hash()


def test_export_takes_an_oracle_or_a_method_and_leaves_damaged_labels_out(filled, tmp_path):
    filled.put(Question("psi4", "HF/sto-3g", {}, water()), Label(-75.0, label().forces, "HF/sto-3g"), "psi4", 3.0, 2.0)
    assert filled.export(tmp_path / "a.jsonl", oracle="psi4") == (1, 0)
    assert filled.export(tmp_path / "a.jsonl", method="GFN2-xTB") == (3, 0)
    tamper(filled, "UPDATE labels SET energy_hartree = 0 WHERE id = 1")
    assert filled.export(tmp_path / "a.jsonl", method="GFN2-xTB") == (2, 1)


def test_an_export_is_whole_or_not_at_all(filled, tmp_path):
    with pytest.raises(NothingToDoError, match="has no sound label that matches"):
        filled.export(tmp_path / "a.jsonl", oracle="psi4")
    with pytest.raises(WriteError, match=r"a\.jsonl cannot be written: No such file or directory"):
        filled.export(tmp_path / "missing" / "a.jsonl")
    for number in range(40):
        filled.put(question(1.0 + number), label(), ENGINE, 0.1, 0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(WriteError, match=r"a\.jsonl cannot be written: File too large"):
            filled.export(tmp_path / "a.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def sealed(facts: dict[str, object]) -> str:
    """A line whose checksum fits its content."""
    row = cache_rows.parse_line(json.dumps(facts).encode())
    if isinstance(row, str):  # the wrong content itself: compute what a forger would
        fields = {name: value for name, value in facts.items() if name != "schema_version"}
        fields["options"] = json.dumps(fields["options"], sort_keys=True)
        fields["numbers"] = np.array(fields["numbers"], dtype="<i2").tobytes()
        for name in ("positions_angstrom", "forces_hartree_per_angstrom"):
            fields[name] = bits(np.array(fields[name]))
        address = [fields[name] for name in ("oracle", "method", "options_sha256", "geometry_sha256")]
        row = cache_rows.LabelRow(key=label_key(*address), **fields)
    return json.dumps(facts | {"sha256": row.checksum()})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda facts: "garbage", "this is no label"),
        (lambda facts: "", "this is no label"),
        (lambda facts: "[" * 100_000, "this is no label"),
        (lambda facts: json.dumps([facts]), "this is no label"),
        (lambda facts: json.dumps(facts)[:-200], "this is no label"),
        (lambda facts: json.dumps(facts | {"comment": "mine"}), "comment: missing or unknown"),
        (lambda facts: json.dumps(facts | {"numbers": [10**30, 1, 1]}), "this is no label"),
        (lambda facts: json.dumps({k: v for k, v in facts.items() if k != "engine"}), "engine: missing or unknown"),
        (lambda facts: json.dumps(facts | {"schema_version": 2}), "the schema version is not 1"),
        (lambda facts: json.dumps(facts | {"energy_hartree": -5.0000001}), "the checksum is wrong"),
        (lambda facts: json.dumps(facts | {"wall_s": 0.1}), "the checksum is wrong"),
        (lambda facts: sealed(facts | {"charge": 1}), "the geometry hash is wrong"),
        (lambda facts: sealed(facts | {"options": {"accuracy": 1.0}}), "the options' hash is wrong"),
        (lambda facts: sealed(facts | {"energy_hartree": float("nan")}), "a number is not finite"),
        (lambda facts: sealed(facts | {"energy_hartree": "low"}), "energy_hartree: the type is wrong"),
        (lambda facts: sealed(facts | {"cpu_s": -1.0}), "a time is negative"),
        (lambda facts: sealed(facts | {"created_utc": "yesterday"}), "Invalid isoformat string: 'yesterday'"),
        (lambda facts: sealed(facts | {"created_utc": "2026-01-01"}), "the date is not ISO 8601 in UTC"),
        (lambda facts: sealed(facts | {"engine": "xtb\ud800"}), "a name has characters that do not print"),
        (lambda facts: sealed(facts | {"engine": "xtb of /home/somebody"}), "its options name a file"),
    ],
)
def test_a_line_that_is_not_right_is_named_and_skipped(filled, other, tmp_path, spoil, reason):
    source = tmp_path / "a.jsonl"
    filled.export(source)
    lines = source.read_text().splitlines()
    lines[1] = spoil(json.loads(lines[1]))
    source.write_text("\n".join(lines))
    done = other.load(source)
    assert (done.added, done.known, len(done.refused)) == (2, 0, 1)
    assert done.refused[0].startswith("line 2: ")
    assert reason in done.refused[0]
    assert other.get(question(), "xtb 23.0") is None


def test_an_import_replaces_damaged_labels(filled, tmp_path):
    filled.export(tmp_path / "a.jsonl")
    tamper(filled, "UPDATE labels SET energy_hartree = 0 WHERE id = 1")
    done = filled.load(tmp_path / "a.jsonl")
    assert (done.added, done.known) == (1, 2)
    assert filled.get(question(), "xtb 22.1").label.energy == -5.0


def test_files_that_hold_no_labels(other, tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: No such file or directory"):
        other.load(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(NothingToDoError, match=r"empty\.jsonl is empty"):
        other.load(tmp_path / "empty.jsonl")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 4)
    assert (other.load(tmp_path / "binary").added, other.path.exists()) == (0, False)


def test_clear_takes_what_count_counts(filled):
    filled.put(Question("psi4", "HF/sto-3g", {}, water()), Label(-75.0, label().forces, "HF/sto-3g"), "psi4", 3.0, 2.0)
    now = datetime.now(UTC)
    assert (filled.count(), filled.count(oracle="psi4"), filled.count(method="GFN2-xTB")) == (4, 1, 3)
    assert filled.count(before=now - timedelta(hours=1)) == 0
    assert filled.count(oracle="psi4", method="GFN2-xTB") == 0
    assert (filled.clear(oracle="psi4"), filled.count()) == (1, 3)
    size = filled.path.stat().st_size
    assert (filled.clear(before=now + timedelta(hours=1)), filled.count()) == (3, 0)
    assert filled.path.stat().st_size <= size
