"""The store of labels: exact, readable by ASE, without a name of anybody, and never behind the ledger for long."""

import resource
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect

from golfbench.contracts import Label
from golfbench.errors import ConfigurationError, WriteError
from golfbench.molecules import Molecule
from golfbench.oracles.labels import LabelStore
from golfbench.oracles.ledger import Ledger, OracleCall, read_calls
from golfbench.oracles.question import label_key

ORACLE = "gfn2-xtb:accuracy=0.1"


def hydroxide(shift: float = 0.0, **changes: object) -> Molecule:
    positions = np.array([[0.1, -0.0, 1e-17], [0.0, 0.0, 0.97 + shift]])
    facts = {"id": "hydroxide/0", "charge": -1, "smiles": "[OH-]"} | changes
    return Molecule(numbers=np.array([8, 1]), positions=positions, **facts)


def label(energy: float = -4.1 - 1 / 3) -> Label:
    return Label(energy, np.array([[0.1, 0.2, 1 / 3], [-0.1, -0.2, -1 / 3]]), "GFN2-xTB")


def call(number: int, molecule: Molecule, **changes: object) -> OracleCall:
    facts = {
        "call_id": number,
        "combination": "",
        "stage": "before",
        "purpose": "initial",
        "molecule": molecule.id,
        "geometry_sha256": molecule.geometry_hash(),
        "oracle": ORACLE,
        "method": "GFN2-xTB",
        "engine": "xtb 22.1",
        "attempt": 1,
        "outcome": "ok",
        "error": "",
        "started_utc": "2025-01-31T12:00:00.000+00:00",
        "wall_s": 0.25,
        "worker": "oracle_0",
    }
    return OracleCall.model_validate(facts | changes)


def key_of(molecule: Molecule) -> str:
    return label_key("gfn2-xtb", "GFN2-xTB", "0" * 64, molecule.geometry_hash())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "oracle_calls.jsonl")


@pytest.fixture
def store(tmp_path: Path, ledger: Ledger) -> LabelStore:
    return LabelStore(tmp_path / "labels.db", ledger)


@pytest.mark.parametrize(
    "molecule",
    [
        hydroxide(),
        hydroxide(smiles=None),
        hydroxide(id="17"),  # ASE refuses values that read as numbers or truth values
        hydroxide(id="1e5"),
        hydroxide(id="True"),
        hydroxide(id="Å 'x'; --"),
        hydroxide(charge=0, multiplicity=2, smiles="[OH]"),
        hydroxide(charge=0, multiplicity=4, smiles="N"),
    ],
    ids=lambda m: f"{m.id},{m.smiles},{m.multiplicity}",
)
def test_round_trip_is_exact(molecule: Molecule, store: LabelStore, ledger: Ledger) -> None:
    key = key_of(molecule)
    assert key not in store
    store.put(key, molecule, label(), call(0, molecule))
    for opened in (store, LabelStore(store.path, ledger)):
        assert key in opened
        assert opened.get(key).energy == label().energy
        assert opened.get(key).forces.tobytes() == label().forces.tobytes()
        assert opened.get(key).method == "GFN2-xTB"
        kept = opened.labelled(key)
        assert kept.molecule.geometry_hash() == molecule.geometry_hash()
        assert kept.molecule.positions.tobytes() == molecule.positions.tobytes()
        assert (kept.molecule.id, kept.molecule.smiles) == (molecule.id, molecule.smiles)
        assert (kept.molecule.charge, kept.molecule.multiplicity) == (molecule.charge, molecule.multiplicity)
        assert kept.label.energy == label().energy


def test_ase_reads_it_and_finds_nobodys_name(store: LabelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "grace-hopper")  # what ASE would write
    monkeypatch.setenv("LOGNAME", "grace-hopper")
    store.put(key_of(hydroxide()), hydroxide(), label(), call(0, hydroxide()))
    with connect(str(store.path)) as db:
        assert db.count() == 1
        assert db.metadata["_distance_unit"] == "Ang"
        assert db.metadata["_property_unit_dict"] == {"energy": "Hartree", "forces": "Hartree/Ang"}
        row = db.get(purpose="initial", total_charge=-1)
        assert row.toatoms() == Atoms("OH", hydroxide().positions)
        assert row.data["energy"] == [label().energy]
        assert row.data["forces"].shape == (2, 3)
        assert (row.method, row.multiplicity, row.smiles) == ("GFN2-xTB", 1, "[OH-]")
        assert row.user is None
    assert b"grace-hopper" not in store.path.read_bytes()
    assert [p.name for p in store.path.parent.iterdir() if p.suffix in (".lock", ".db-journal")] == []


def test_a_label_whose_line_was_lost_in_a_crash_gets_it_back(store: LabelStore, ledger: Ledger) -> None:
    first, second = hydroxide(), hydroxide(0.1)
    store.put(key_of(first), first, label(), call(0, first))
    ledger.append(call(0, first))
    store.put(key_of(second), second, label(), call(4, second))  # here the process dies
    ledger.close()
    again = Ledger(ledger.path)
    LabelStore(store.path, again)
    assert list(read_calls(ledger.path)) == [call(0, first), call(4, second)]
    assert again.next_id == 5
    LabelStore(store.path, again)
    assert len(list(read_calls(ledger.path))) == 2


def test_a_lost_ledger_is_rebuilt_from_the_labels(store: LabelStore, ledger: Ledger) -> None:
    calls = [call(k, hydroxide(k / 10)) for k in range(3)]
    for k, one in enumerate(calls):
        store.put(one.geometry_sha256, hydroxide(k / 10), label(), one)
    ledger.path.unlink()
    LabelStore(store.path, Ledger(ledger.path))
    assert list(read_calls(ledger.path)) == calls


def test_a_refused_label_is_kept_and_never_given_out(store: LabelStore, ledger: Ledger) -> None:
    first, second = hydroxide(), hydroxide(0.1)
    store.put(key_of(first), first, label(), call(0, first, outcome="rejected", error="its net force is 1.5"))
    store.put(key_of(second), second, label(), call(1, second))
    for opened in (store, LabelStore(store.path, ledger)):
        assert key_of(first) not in opened
        assert key_of(second) in opened
    with connect(str(store.path)) as db:
        assert db.count() == 2
        (row,) = db.select("rejected")
    assert row.rejected == "its net force is 1.5"
    assert row.data["energy"] == [label().energy]
    assert next(read_calls(ledger.path)).outcome == "rejected"  # the ledger was behind


def test_what_is_no_store_is_said_to_be_none_and_left_alone(tmp_path: Path, ledger: Ledger) -> None:
    text, strange, damaged = (tmp_path / f"{name}.db" for name in ("text", "strange", "damaged"))
    text.write_text("not a database, but long enough to be looked at as if it were one\n" * 20)
    with connect(str(strange)) as db:
        db.write(Atoms("OH"), key_value_pairs={"source": "elsewhere"})
        db.metadata = {"theirs": 1}
    with connect(str(damaged)) as db:
        db.write(Atoms("OH"), key_value_pairs={"label_key": "k" * 64}, data={"call": '{"call_id": 1}'})
    for path, reason in (
        (text, "file is not a database"),
        (strange, "1 of its 1 rows have no label_key"),
        (damaged, "1 of its 1 rows have no call_id"),
    ):
        before = path.read_bytes()
        with pytest.raises(ConfigurationError) as caught:
            LabelStore(path, ledger)
        assert str(caught.value).startswith(f"{path.name} is not a store of labels (")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before


def test_a_store_in_a_folder_that_is_not_there(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(WriteError, match=r"labels\.db cannot be written: No such file or directory"):
        LabelStore(tmp_path / "gone" / "labels.db", ledger)


@pytest.mark.parametrize("room", [0, 4096, 8192, 20000, 28672])
def test_a_disk_that_is_full_at_the_start_leaves_no_half_of_a_store(room: int, tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "labels.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(WriteError, match=r"labels\.db cannot be opened: "):
            LabelStore(path, ledger)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["oracle_calls.jsonl"]
    store = LabelStore(path, ledger)
    store.put(key_of(hydroxide()), hydroxide(), label(), call(0, hydroxide()))
    assert store.get(key_of(hydroxide())).energy == label().energy


def test_a_full_disk_loses_no_label_that_is_there(store: LabelStore, ledger: Ledger) -> None:
    first, second = hydroxide(), hydroxide(0.1)
    store.put(key_of(first), first, label(), call(0, first))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(WriteError, match=r"labels\.db cannot be written: "):
            store.put(key_of(second), second, label(), call(1, second))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert key_of(second) not in store
    assert store.get(key_of(first)).energy == label().energy
    store.put(key_of(second), second, label(), call(1, second))
    assert sqlite3.connect(store.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert key_of(second) in LabelStore(store.path, ledger)
