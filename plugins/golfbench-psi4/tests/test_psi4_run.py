"""A whole run with Psi4 as the genuine oracle: every purpose in the ledger, and energies that Psi4 agrees with."""

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.data import chemical_symbols
from ase.db import connect

from golfbench_psi4.location import Installation

RUN = ["run", "--model", "mace", "--oracle", "psi4:method=hf,basis=sto-3g", "--dataset", "druglike-mini"]
RUN += ["--budget", "4", "--limit", "1", "--delta", "none", "--reference", "mmff94"]
RUN += ["--selection", "golf", "--selection", "random"]
#: After so long (s) something hangs; two idle cores need about three minutes.
LIMIT_S = 1800
#: A calculation of Psi4 that nothing of this project takes part in.
INPUT = """
molecule {{
{atoms}
units angstrom
no_com
no_reorient
symmetry c1
}}
set basis sto-3g
energy('hf')
"""


def golfbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_")}
    return subprocess.run(
        [sys.executable, "-m", "golfbench", *arguments],
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def energy_by_psi4(psi4: Installation, folder: Path, numbers: np.ndarray, positions: np.ndarray) -> float:
    lines = [
        f"{chemical_symbols[z]} {x:.12f} {y:.12f} {w:.12f}" for z, (x, y, w) in zip(numbers, positions, strict=True)
    ]
    folder.mkdir()
    (folder / "input.dat").write_text(INPUT.format(atoms="\n".join(lines)))
    command = ["psi4", "-n", "1", "input.dat", "output.dat"]
    subprocess.run(command, cwd=folder, check=True, timeout=200, env={**os.environ, "PSI_SCRATCH": str(folder)})
    return float(re.findall(r"Total Energy = +(-\d+\.\d+)", (folder / "output.dat").read_text())[-1])


def test_mace_learns_from_psi4_and_the_ledger_tells_all_of_it(psi4: Installation, tmp_path: Path) -> None:
    pytest.importorskip("golfbench_mace")
    pytest.importorskip("golfbench_datasets")
    plan = golfbench(tmp_path, *RUN, "--dry-run", "--json")
    expected = json.loads(plan.stdout)["oracle_calls_at_most"]
    assert expected == {"initial": 1, "training": 8, "reference": 502, "evaluation": 4}
    done = golfbench(tmp_path, *RUN, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["stage"], row["model"], row["selection"]) for row in rows] == [
        ("reference", "mmff94", ""),
        ("before", "mace", ""),
        ("after", "mace", "golf"),
        ("after", "mace", "random"),
    ]
    assert {row["method"] for row in rows} == {"hf/sto-3g"}
    (run,) = (tmp_path / "runs").iterdir()
    calls = [json.loads(line) for line in (run / "oracle_calls.jsonl").read_text().splitlines()]
    # Attempts at one label (an SCF that needs another way) are calls of their own, and both selections may want one.
    wanted = {(call["purpose"], call["combination"], call["geometry_sha256"]) for call in calls}
    counted = collections.Counter(purpose for purpose, *_ in wanted)
    assert counted["initial"] == expected["initial"]
    assert counted["training"] == expected["training"]
    assert counted["evaluation"] <= expected["evaluation"]
    assert 5 < counted["reference"] < 100
    delivered = [call["geometry_sha256"] for call in calls if call["outcome"] == "ok"]
    assert len(set(delivered)) == len(delivered)

    stored = list(connect(run / "labels.db").select())
    for number, row in enumerate([stored[0], stored[-1]]):
        ours = float(np.ravel(row.data["energy"])[0])
        theirs = energy_by_psi4(psi4, tmp_path / f"direct-{number}", row.numbers, row.positions)
        assert ours == pytest.approx(theirs, abs=1e-6)
