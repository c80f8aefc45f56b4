import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from golfbench.benchmark.records import (
    Record,
    Status,
    append_records,
    combination_id,
    json_schema,
    latest_records,
    read_records,
)
from golfbench.errors import ConfigurationError, WriteError

Build = Callable[..., Record]


def test_status_has_the_nine_values() -> None:
    words = "converged step_limit time_limit diverged topology_changed oracle_failed error skipped interrupted"
    assert [str(status) for status in Status] == words.split()


def test_combination_id() -> None:
    assert combination_id("painn:preset=small", "lbfgs", "golf", "gfn2-xtb", 0) == (
        "painn:preset=small|lbfgs|golf|gfn2-xtb|seed=0"
    )
    assert combination_id("mmff94", "lbfgs", "none", "gfn2-xtb", None) == "mmff94|lbfgs|none|gfn2-xtb"


def test_round_trip_is_exact(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    written = [
        record(energies_at_step_hartree={1: -40.01, 100: -40.09}, energy_final_hartree=-40.0 - 0.1 / 3),
        record(molecule="aspirin-1", rmsd_to_references_angstrom={"aspirin-0": 0.3, "aspirin-1": 0.1}),
        record(molecule="Å", status="error", error_message="two\nlines", log="log.txt"),
    ]
    append_records(path, written[:1])
    append_records(path, written[1:])
    append_records(path, [])
    assert read_records(path) == written
    assert path.read_bytes().count(b"\n") == 3


def test_torn_last_line_is_dropped_and_removed_before_the_next_is_written(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    first, second, third = (record(molecule=name) for name in "abc")
    append_records(path, [first, second])
    path.write_bytes(path.read_bytes()[:-20])
    assert read_records(path) == [first]
    append_records(path, [third])
    assert read_records(path) == [first, third]


def test_whole_last_line_without_line_end_is_kept(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    first, second = record(molecule="a"), record(molecule="b")
    append_records(path, [first])
    path.write_bytes(path.read_bytes()[:-1])
    assert read_records(path) == [first]
    append_records(path, [second])
    assert read_records(path) == [first, second]


def test_file_of_one_torn_line(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"combination"')
    assert read_records(path) == []
    append_records(path, [record()])
    assert read_records(path) == [record()]


def test_corrupt_middle_line_is_named(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_records(path, [record(molecule=name) for name in "abc"])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:50] + "\n" + lines[2])
    with pytest.raises(ConfigurationError, match=r"records\.jsonl, line 2: "):
        read_records(path)


@pytest.mark.parametrize(
    ("field", "value"), [("schema_version", 2), ("status", "lost"), ("n_atoms", 0), ("surprise", 1), ("wall_s", -1.0)]
)
def test_invalid_field_is_named(record: Build, tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(record().model_dump(mode="json") | {field: value}) + "\n")
    with pytest.raises(ConfigurationError, match=rf"line 1: {field}: "):
        read_records(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_records(tmp_path / "records.jsonl")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_refused(record: Build, value: float) -> None:
    for change in (
        {"energy_initial_hartree": value},
        {"energies_at_step_hartree": {1: value}},
        {"rmsd_to_references_angstrom": {"aspirin-0": value}},
        {"wall_s": value},
    ):
        with pytest.raises(ValidationError, match=r"finite|greater"):
            record(**change)


def test_nan_that_slipped_in_is_not_written(record: Build, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_records(path, [record()])
    before = path.read_bytes()
    with pytest.raises(ValidationError):
        append_records(path, [record(molecule="b"), record().model_copy(update={"wall_s": math.nan})])
    assert path.read_bytes() == before


def test_full_disk_loses_nothing(record: Build, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "records.jsonl"
    append_records(path, [record(molecule="a")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        with pytest.raises(WriteError, match="File too large; what was in it before is safe"):
            append_records(path, [record(molecule="b")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes().endswith(b"\n")
    assert read_records(path) == [record(molecule="a")]


def test_directory_that_is_not_there(record: Build, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"):
        append_records(tmp_path / "gone" / "records.jsonl", [record()])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"energy_final_hartree": None}, "final energy is missing"),
        ({"energy_initial_hartree": None}, "initial or final energy is missing"),
        ({"energy_final_hartree": -39.99}, "above the initial"),
        ({"converged": False}, "was not met"),
        ({"status": "step_limit", "converged": True}, "was met"),
        (
            {"status": "topology_changed", "bond_graph_changed": None},
            "neither the bond graph nor the stereoisomer is said to have changed",
        ),
        ({"bond_graph_changed": True}, "the bond graph or the stereoisomer changed"),
        ({"stereo_changed": True}, "the bond graph or the stereoisomer changed"),
        ({"status": "oracle_failed", "energy_final_hartree": -40.0}, "has a final energy"),
        ({"status": "error", "error_type": None}, "no error type"),
        ({"rmsd_to_references_angstrom": {"aspirin-1": 0.2}}, "own reference minimum"),
    ],
)
def test_status_and_fields_agree(record: Build, changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        record(**changes)


def test_noise_at_a_minimum_is_not_divergence(record: Build) -> None:
    assert record(energy_final_hartree=-40.0 + 5e-7).status is Status.CONVERGED


def test_skipped_molecule_needs_no_energy(record: Build) -> None:
    skipped = record(status="skipped", energy_initial_hartree=None, energy_reference_hartree=None, n_steps=0)
    assert not skipped.status.finished
    assert skipped.status.failed


def test_latest_records(record: Build) -> None:
    stale, other, fresh = record(status="interrupted"), record(molecule="b"), record()
    assert latest_records([stale, other, fresh]) == [fresh, other]


def test_json_schema() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Status"]["enum"] == [str(status) for status in Status]
    assert schema["properties"]["schema_version"]["const"] == 1
    assert {"molecule", "status", "energy_final_hartree"} <= set(schema["required"])
