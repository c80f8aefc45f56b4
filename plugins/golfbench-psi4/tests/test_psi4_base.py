"""GFN2-xTB as base under Psi4: its calls have a column of their own, from the ledger to the leaderboard."""

import collections
import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from golfbench.benchmark.prepare import prepare
from golfbench.benchmark.protocol import Protocol
from golfbench.chemistry import embed, formula
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench_psi4.location import Installation

ORACLE = ComponentRef("psi4", {"method": "hf", "basis": "sto-3g"})
MODEL = "painn:preset=small,features=8,interactions=1,radial=6"
PROTOCOL = {"steps": 2, "inner_steps": 1, "evaluation_steps": []}
BUDGET = 2


@pytest.fixture(scope="module")
def dataset(psi4: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conformations of water and of ammonia with labels of HF/STO-3G, and a minimum of each."""
    files = pytest.importorskip("golfbench_datasets.files")
    smiles = {"water": "O", "ammonia": "N"}
    first = {name: embed(text, name, 1, seed=1)[0] for name, text in smiles.items()}
    initial = [
        LabelledMolecule(replace(m, id=f"{name}/{k}", positions=stretch * m.positions), Label(0.0, m.positions, "none"))
        for name, m in first.items()
        for k, stretch in enumerate((0.97, 1.03))
    ]
    test = [TestMolecule(molecule) for molecule in first.values()]
    service = OracleService(tmp_path_factory.mktemp("labels"), workers=1)
    try:
        blank = Dataset("two", "none", initial, test, "")
        spec = registry().find(OptimizerSpec, "rfo-internal")
        rule = Protocol(reference_force_max_ev_per_angstrom=0.05)
        made = prepare(blank, "hf/sto-3g", ORACLE, service, lambda: spec.create({}), rule)
    finally:
        service.close()
    folder = tmp_path_factory.mktemp("two")
    files.write_initial(folder / "initial.db", made.method, made.initial)
    files.write_test(folder / "test.db", made.method, made.test, {m.id[:-2]: formula(m) for m in first.values()})
    (folder / "dataset.yaml").write_text(f"name: two\nmethod: {made.method}\n")
    return folder


def golfbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "golfbench", *arguments],
        cwd=folder,
        env={**inherited, "GOLFBENCH_CACHE": str(folder / "cache.db")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


def charged(calls: list[dict[str, Any]], purpose: str, **facts: str) -> int:
    """Return how many calls for a purpose were asked of an engine."""
    wanted = {"purpose": purpose, **facts}
    return sum(c["outcome"] != "cache_hit" and all(c[k] == v for k, v in wanted.items()) for c in calls)


def test_calls_of_a_base_under_psi4_stand_beside_those_of_the_oracle(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("golfbench_xtb")
    pytest.importorskip("golfbench_schnetpack")
    config = {
        "checkpoint": "fresh",
        "budget": BUDGET,
        "references": [],
        "baseline": {"updates": 10},
        "golf": {"parallel": 2, "steps": 2, "inner_steps": 1, "updates_per_label": 2},
        "protocol": PROTOCOL,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    command = ["run", "run.yaml", "--model", MODEL, "--selection", "last", "--optimizer", "lbfgs"]
    command += ["--dataset", f"folder:path={dataset}", "--delta", "gfn2-xtb", "--oracle", str(ORACLE)]
    plan = json.loads(golfbench(tmp_path, *command, "--dry-run", "--json").stdout)["oracle_calls_at_most"]
    rows = json.loads(golfbench(tmp_path, *command, "--json").stdout)["rows"]
    (run,) = (tmp_path / "runs").iterdir()
    calls = [json.loads(line) for line in (run / "oracle_calls.jsonl").read_text().splitlines()]

    engines = collections.defaultdict(set)
    for call in calls:
        engines[call["purpose"]].add((call["oracle"].partition(":")[0], call["method"]))
    base, oracle = {("gfn2-xtb", "GFN2-xTB")}, {("psi4", "hf/sto-3g")}
    assert engines == {"base": base, "training": oracle, "evaluation": oracle}
    # Of the training set once for all rows, then at each step of each walk on the network.
    assert charged(calls, "base", combination="", stage="before") == 4
    assert [row["stage"] for row in rows] == ["before", "after"]
    for row in rows:
        asked = {
            purpose: charged(calls, purpose, stage=row["stage"], combination=row["combination"]) for purpose in engines
        }
        assert asked["base"] >= 2 * 3  # two test molecules, the start and two steps
        counted = row["oracle_calls"]
        assert counted["base"] == asked["base"] + 4
        assert counted["training"] == asked["training"] == (BUDGET if row["stage"] == "after" else 0)
        assert counted["evaluation"] == asked["evaluation"] > 0
        assert counted["initial"] == counted["reference"] == 0
    assert 4 < charged(calls, "base") <= plan["base"]

    told = list(csv.DictReader(golfbench(tmp_path, "report", str(run), "--format", "csv").stdout.splitlines()))
    assert [int(row["oracle_calls_base"]) for row in told] == [row["oracle_calls"]["base"] for row in rows]
    assert [int(row["oracle_calls_training"]) for row in told] == [row["oracle_calls"]["training"] for row in rows]

    table = golfbench(tmp_path, "report", str(run), "--wide").stdout
    assert re.search(r"\bbase\b", table), table

    track = {
        "name": "two",
        "title": "Two",
        "dataset": {"name": f"folder:path={dataset}", "sha256": open_dataset(f"folder:path={dataset}").content_hash},
        "method": "hf/sto-3g",
        "oracle": {"name": str(ORACLE)},
        "protocol": {"steps": 2, "inner_steps": 1},
        "budgets": [BUDGET],
    }
    (tmp_path / "boards" / "two").mkdir(parents=True)
    (tmp_path / "boards" / "two" / "track.yaml").write_text(yaml.safe_dump(track))
    golfbench(tmp_path, "leaderboard", "add", str(run), "--leaderboards", "boards")
    golfbench(tmp_path, "leaderboard", "build", "--leaderboards", "boards")
    listed = {row["stage"]: row for row in csv.DictReader((tmp_path / "boards/two/leaderboard.csv").open())}
    assert {stage: float(row["oracle_calls_base"]) for stage, row in listed.items()} == {
        row["stage"]: row["oracle_calls"]["base"] for row in rows
    }
    assert "| Calls, base |" in (tmp_path / "boards/two/README.md").read_text()
