"""Which calls of a ledger stand in which row of a run's table."""

import json
from pathlib import Path
from typing import Any

from golfbench.benchmark.records import Record, append_records
from golfbench.oracles.ledger import OracleCall
from golfbench.runs.directory import RunDirectory
from golfbench.runs.summary import rows_of

ROWS = [
    ("painn|lbfgs|golf|gfn2-xtb|seed=0", "painn", "golf", "gfn2-xtb", 0, "after"),
    ("painn|lbfgs||gfn2-xtb|seed=0", "painn", "", "gfn2-xtb", 0, "before"),
    ("painn|lbfgs|golf|psi4|seed=0", "painn", "golf", "psi4", 0, "after"),
    ("mmff94|lbfgs||gfn2-xtb|seed=", "mmff94", "", "gfn2-xtb", None, "reference"),
]
GOLF, BEFORE, PSI4, MMFF94 = (row[0] for row in ROWS)


def record(combination: str, model: str, selection: str, oracle: str, seed: int | None, stage: str) -> Record:
    return Record.model_validate(
        {
            "combination": combination,
            "model": model,
            "optimizer": "lbfgs",
            "selection": selection,
            "oracle": oracle,
            "seed": seed,
            "stage": stage,
            "method": oracle,
            "molecule": "water/0",
            "group": "water",
            "n_atoms": 3,
            "status": "skipped",
            "error_type": "Nothing",
            "n_steps": 0,
            "model_calls": 0,
            "energy_initial_hartree": None,
            "energy_final_hartree": None,
            "energy_reference_hartree": None,
            "converged": False,
            "bond_graph_changed": False,
            "wall_s": 0.0,
        }
    )


def call(number: int, combination: str, stage: str, purpose: str, oracle: str, outcome: str) -> OracleCall:
    return OracleCall.model_validate(
        {
            "call_id": number,
            "combination": combination,
            "stage": stage,
            "purpose": purpose,
            "molecule": "water/0",
            "geometry_sha256": f"{number:064x}",
            "oracle": oracle,
            "method": oracle,
            "engine": "",
            "attempt": 1,
            "outcome": outcome,
            "error": "",
            "started_utc": "2025-01-31T12:00:00.000+00:00",
            "wall_s": 1.0,
            "worker": "",
        }
    )


def counted(folder: Path, lines: list[tuple[str, str, str, str, str]]) -> dict[tuple[str, str], dict[str, int]]:
    """Calls and hits that are not zero, by purpose, of each combination."""
    directory = RunDirectory(folder)
    append_records(directory.records, [record(*row) for row in ROWS])
    texts = [call(number, *line).model_dump_json() + "\n" for number, line in enumerate(lines)]
    directory.calls.write_text("".join(texts))
    found = {}
    for row in rows_of(directory):
        for kind in ("oracle_calls", "cache_hits"):
            numbers: dict[str, Any] = getattr(row, kind).model_dump()
            found[row.combination, kind] = {purpose: count for purpose, count in numbers.items() if count}
    return found


def test_calls_of_a_base_stand_in_the_rows_that_rest_on_it_and_in_no_other_purpose(tmp_path: Path) -> None:
    lines = [
        ("", "before", "base", "gfn1-xtb", "ok"),  # of the training set: every trained row rests on it
        ("", "before", "initial", "gfn2-xtb", "ok"),
        ("", "reference", "reference", "psi4", "ok"),
        (GOLF, "after", "base", "gfn1-xtb", "ok"),
        (GOLF, "after", "base", "gfn1-xtb", "crashed"),  # a failed call counts
        (GOLF, "after", "base", "gfn1-xtb", "cache_hit"),
        (GOLF, "after", "training", "gfn2-xtb", "ok"),
        (GOLF, "after", "evaluation", "gfn2-xtb", "ok"),
        (PSI4, "after", "evaluation", "psi4", "ok"),
        (MMFF94, "reference", "evaluation", "gfn2-xtb", "ok"),
    ]
    found = counted(tmp_path, lines)
    assert found[GOLF, "oracle_calls"] == {"initial": 1, "training": 1, "evaluation": 1, "base": 3}
    assert found[GOLF, "cache_hits"] == {"base": 1}
    assert found[BEFORE, "oracle_calls"] == {"initial": 1, "base": 1}
    assert found[PSI4, "oracle_calls"] == {"reference": 1, "evaluation": 1, "base": 1}
    assert found[MMFF94, "oracle_calls"] == {"evaluation": 1}


def test_a_summary_from_before_there_were_bases_still_reads(tmp_path: Path) -> None:
    counted(tmp_path, [])
    (row, *_) = rows_of(RunDirectory(tmp_path))
    old = row.model_dump(mode="json")
    for kind in ("oracle_calls", "cache_hits"):
        del old[kind]["base"]
    assert type(row).model_validate(json.loads(json.dumps(old))) == row
