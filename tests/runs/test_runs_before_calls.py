"""What a run finds out before it spends oracle calls: faults of datasets, what they lack, what the surrogate cannot."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

from golfbench.chemistry import embed, formula
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.runs.directory import RunDirectory
from golfbench.runs.status import running_of
from golfbench.specs import ComponentRef

#: MMFF94 has no boron, UFF has.
BORON = {"trimethyl": "CB(C)C", "dimethyl": "CBC"}


def change_rows(path: Path, change) -> None:
    """Give each row's data to a function that changes them."""
    with connect(path, type="db", use_lock_file=False) as database:
        rows = [(row.id, row.toatoms(), dict(row.key_value_pairs), dict(row.data)) for row in database.select()]
        for number, (id, atoms, facts, data) in enumerate(rows):
            change(number, data)
            database.write(atoms, id=id, key_value_pairs=facts, data=data)


def without(*names: str, rows: int = 99):
    def change(number: int, data: dict) -> None:
        for name in names if number < rows else ():
            del data[name]

    return change


def times(energy: float, forces: float):
    def change(number: int, data: dict) -> None:
        data["energy"], data["forces"] = np.array(data["energy"]) * energy, np.array(data["forces"]) * forces

    return change


def calls_of(output: Path) -> list[dict]:
    return [json.loads(line) for path in output.glob("*/oracle_calls.jsonl") for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("initial", times(27.2114, 27.2114), "is it in eV or kcal/mol? (9 of 15 labels)"),
        ("initial", times(627.51, 627.51), "is it in eV or kcal/mol? (9 of 15 labels)"),
        ("test", times(1.0, -1.0), "descents from a start to its minimum): are they gradients?"),
        ("test", times(0.9, 1.0), "Hartree above the start (3 of 3 minima)"),
        ("initial", lambda k, data: data.update(forces=np.roll(data["forces"], 1, axis=0)), "turn the molecule"),
    ],
)
def test_wrong_labels_cost_no_call(golfbench, write_config, tmp_path, copy_of_tiny, part, change, message):
    if part == "test" and "above" in message:
        change_rows(copy_of_tiny / "test.db", lambda k, data: data.update(optimal_energy=data["energy"][0] + 0.01))
    else:
        change_rows(copy_of_tiny / f"{part}.db", change)
    for arguments in (("run", write_config(dataset="folder:path=spoiled"), "--output", "out"), ("datasets", "check")):
        done = golfbench(*arguments, *(["folder:path=spoiled"] if arguments[0] == "datasets" else []))
        assert done.returncode == (2 if arguments[0] == "run" else 1), done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert calls_of(tmp_path / "out") == []


def test_a_faulty_row_is_named_with_its_file(golfbench, write_config, copy_of_tiny):
    change_rows(copy_of_tiny / "initial.db", lambda k, data: data.update(energy=[float("nan")]) if k == 4 else None)
    done = golfbench("run", write_config(dataset="folder:path=spoiled"), "--output", "out")
    assert done.returncode == 2
    assert "spoiled/initial.db, row 5: ethylamine/1: energy or forces are not finite" in done.stderr


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (without("optimal_energy", "optimal_positions", "optimal_forces"), 9, 3 * 501),
        (without("energy", "forces"), 3, 3),
        (without("energy", "forces", rows=1), 1, 1),
        (without("energy", "forces", "optimal_energy", "optimal_positions", "optimal_forces", rows=1), 3, 501),
    ],
    ids=["no-minima", "no-starts", "one-start", "one-of-both"],
)
def test_what_the_test_part_lacks_is_asked_for(golfbench, write_config, tmp_path, copy_of_tiny, change, least, most):
    change_rows(copy_of_tiny / "test.db", change)
    facts = {"dataset": "folder:path=spoiled", "selections": ["none"], "baseline": {"updates": 0}, "budget": 0}
    command = ("run", write_config(**facts, models=["mmff94"], references=[]))
    planned = json.loads(golfbench(*command, "--dry-run", "--json").stdout)
    assert planned["oracle_calls_at_most"] == {"initial": 0, "training": 0, "reference": most, "evaluation": 9}
    done = golfbench(*command, "--output", "out", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["n"], row["n_without_reference"]) == (3, 0)
    asked = [call for call in calls_of(tmp_path / "out") if call["purpose"] == "reference"]
    assert least <= len(asked) <= most
    assert f"oracle calls for them, at most: 0/{most}" in done.stderr


def uff_dataset(initial: dict[str, str], test: str, per_atom: float = 0.0) -> Dataset:
    """Labels of UFF, shifted by so many Hartree an atom; the minimum is the start, slightly lower."""
    oracle = open_oracle(ComponentRef("uff"), registry())

    def label(molecule) -> Label:
        energy, forces = oracle.label(molecule)
        return Label(energy + per_atom * len(molecule), forces, "UFF")

    rows = [m for name, smiles in initial.items() for m in embed(smiles, name, 3, seed=5)]
    (start,) = embed(test, "test", 1, seed=6)
    minimum = replace(label(start), energy=label(start).energy - 0.001)
    test_part = [TestMolecule(start, label(start), start.positions + 0.01, minimum)]
    return Dataset("uff", "UFF", [LabelledMolecule(m, label(m)) for m in rows], test_part, "")


@pytest.fixture
def write_uff(tmp_path):
    def write(*arguments, **keywords) -> str:
        from golfbench_datasets.files import write_initial, write_test

        dataset = uff_dataset(*arguments, **keywords)
        folder = tmp_path / "uff"
        folder.mkdir()
        write_initial(folder / "initial.db", "UFF", dataset.initial)
        write_test(folder / "test.db", "UFF", dataset.test, {"test": formula(dataset.test[0].molecule)})
        (folder / "dataset.yaml").write_text("name: uff\nmethod: UFF\n")
        return "folder:path=uff"

    return write


def test_a_run_stops_when_its_first_labels_are_all_refused(golfbench, write_config, write_uff, tmp_path):
    """All energies are shifted alike, by 2 Hartree an atom: only a call can tell."""
    data = write_uff({"ethanol": "CCO", "ethane": "CC", "water": "O", "peroxide": "OO"}, "CO", per_atom=2.0)
    config = write_config(dataset=data, oracles=["uff"], delta=None, references=[], budget=30)
    done = golfbench("run", config, "--output", "out")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, done.stderr
    assert "labels of uff were refused, so nothing more is asked" in errors[0]
    assert "-2 Hartree per atom away" in errors[0]
    assert 5 <= len(calls_of(tmp_path / "out")) <= 8
    checked = golfbench("datasets", "check", data, "--recompute", "2")
    assert checked.returncode == 1
    assert "the recomputed label differs by" in checked.stderr


def test_a_surrogate_that_can_judge_nothing_is_refused(golfbench, write_config, write_uff, tmp_path):
    data = write_uff(BORON, "CCB(C)C")
    config = write_config(dataset=data, oracles=["uff"], delta=None, references=[])
    for extra in ((), ("--dry-run",)):
        done = golfbench("run", config, "--output", "out", *extra)
        assert done.returncode == 2
        assert (
            "selection golf: the surrogate mmff94 can judge none of the 6 training molecules (trimethyl/0: element B"
            in (done.stderr)
        )
        assert "give another --surrogate, or another --selection" in done.stderr
    assert calls_of(tmp_path / "out") == []
    assert golfbench("run", config, "--surrogate", "uff", "--dry-run").returncode == 0
    assert golfbench("run", config, "--selection", "random", "--dry-run").returncode == 0


def test_what_the_surrogate_cannot_judge_is_named_and_golf_starts_elsewhere(
    golfbench, write_config, write_uff, tmp_path
):
    data = write_uff({"ethanol": "CCO", "fluoride": "CF", "ethane": "CC"} | BORON, "CO")
    config = write_config(dataset=data, oracles=["uff"], delta=None, references=[], selections=["golf", "random"])
    done = golfbench("run", config, "--output", "out")
    assert "Traceback" not in done.stderr, done.stderr
    assert "mmff94 cannot judge 6 of 15 training molecules (trimethyl/0, trimethyl/1, trimethyl/2, ...; " in done.stderr
    (path,) = (tmp_path / "out").iterdir()
    assert sorted(RunDirectory(path).read_manifest().unjudged) == [
        f"{n}/{k}" for n in ("dimethyl", "trimethyl") for k in range(3)
    ]
    labelled = {
        (c["combination"].split("|")[2], c["molecule"].split("/")[0])
        for c in calls_of(tmp_path / "out")
        if c["purpose"] == "training"
    }
    assert not {molecule for selection, molecule in labelled if selection == "golf"} & set(BORON)
    rows = json.loads((path / "summary.json").read_text())["rows"]
    notes = {row["selection"]: row["note"] for row in rows if row["stage"] == "after"}
    assert notes["golf"].startswith("no trajectory started from 6 training molecules that the surrogate cannot judge")
    assert "cannot judge" not in notes["random"]
    assert notes["golf"] in " ".join(golfbench("report", str(path), "-f", "md").stdout.split())


def test_a_loop_that_finds_nothing_new_says_so(golfbench, write_config, write_uff, tmp_path):
    """A threshold that every start meets: no walk leaves it."""
    data = write_uff({"ethanol": "CCO", "methanol": "CO"}, "CCCO")
    protocol = {"steps": 4, "inner_steps": 2, "evaluation_steps": [1], "force_max_ev_per_angstrom": 1e6}
    facts = {"oracles": ["uff"], "delta": None, "references": [], "selections": ["last"], "protocol": protocol}
    done = golfbench("run", write_config(dataset=data, **facts), "--output", "out")
    text = "0 of 4 labels were asked for: 20 rounds in a row brought no new geometry"
    text += "; nothing was learned after the baseline"
    assert text in done.stderr
    (path,) = (tmp_path / "out").iterdir()
    (after,) = (r for r in json.loads((path / "summary.json").read_text())["rows"] if r["stage"] == "after")
    assert after["note"] == text


def test_a_dry_run_refuses_what_the_run_would(golfbench, write_config):
    config = write_config()
    for arguments, code, message in (
        (("--checkpoint", "none.safetensors"), 2, "checkpoint none.safetensors does not exist"),
        (("--device", "warp"), 2, "device 'warp' cannot be used"),
        (("--oracle", "psi4:python=/nowhere"), 3, "Psi4 was not found at '/nowhere'"),
    ):
        done = golfbench("run", config, "--dry-run", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert message in done.stderr


def test_an_oracle_that_is_not_there_is_told_where_labels_of_any_version_count(golfbench, write_config, tmp_path):
    arguments = (write_config(models=["mmff94"], references=[]), "--oracle", "psi4:python=/nowhere", "--output", "out")
    refused = golfbench("run", *arguments, "--cache", "same-version")
    assert (refused.returncode, "known labels" in refused.stderr) == (3, False)
    planned = golfbench("run", *arguments, "--cache", "any-version", "--dry-run")
    assert planned.returncode == 0
    assert "warning: Psi4 was not found at '/nowhere'" in planned.stderr
    assert "the run ends where one is not known" in planned.stderr
    ended = golfbench("run", *arguments, "--cache", "any-version")
    assert ended.returncode == 3
    assert "error: Psi4 was not found at '/nowhere'" in ended.stderr
    assert not list((tmp_path / "out").glob("*/summary.json"))


def test_a_dry_run_gives_hours_where_earlier_calls_are_known(golfbench, write_config, tmp_path):
    cache = {"GOLFBENCH_CACHE": str(tmp_path / "labels.db"), "GOLFBENCH_CACHE_POLICY": "same-version"}
    config = write_config(models=["mmff94"], selections=["none"], references=[])
    plan = golfbench("run", config, "--dry-run", **cache)
    assert "how long they take is not known: no earlier call of gfn2-xtb is in the label cache" in plan.stderr
    assert golfbench("run", config, "--output", "out", **cache).returncode == 0
    spent = [call["wall_s"] for call in calls_of(tmp_path / "out")]
    (hours,) = json.loads(golfbench("run", config, "--dry-run", "--json", **cache).stdout)["oracle_hours_at_most"]
    assert hours["known_calls"] == len(spent)
    assert min(spent) <= hours["seconds_per_call"] <= max(spent)
    assert hours["hours"] == pytest.approx(9 * hours["seconds_per_call"] / 3600)


def test_status_says_what_is_running(golfbench, tmp_path):
    from datetime import UTC, datetime

    from filelock import FileLock

    from golfbench.oracles.running import RunningCall, RunningCalls

    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    calls = RunningCalls(directory.running)
    calls.begin(0, "psi4", "initial", "aspirin/0")
    with FileLock(directory.lock):
        done = golfbench("status", "run")
        assert done.returncode == 0, done.stderr
        assert "running: 1 call for 0:00:" in done.stderr
        assert "(initial, aspirin/0, psi4)" in done.stderr
        assert [c["molecule"] for c in json.loads(golfbench("status", "run", "--json").stdout)["running"]] == [
            "aspirin/0"
        ]
        calls.end(0)
        done = golfbench("status", "run")
        assert (done.returncode, "it is at work on something else" in done.stderr) == (4, True)
    calls.begin(1, "psi4", "training", "aspirin/0@3")  # and then it was killed
    assert golfbench("status", "run").returncode == 4
    times = ("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00")
    both = [
        RunningCall(call_id=k, oracle="x", purpose="initial", molecule="m", started_utc=t) for k, t in enumerate(times)
    ]
    now = datetime(2026, 1, 1, 0, 3, tzinfo=UTC)
    assert running_of(reversed(both), now) == "running: 2 calls, the longest for 0:03:00 (initial, m, x)"
    assert running_of([], now) == ""


def test_labelling_shows_how_far_it_is(golfbench, write_config, tmp_path, tiny_folder):
    shutil.copytree(tiny_folder, tmp_path / "here")
    learned = {"models": ["painn:preset=small"], "checkpoint": "fresh", "baseline": {"updates": 1}, "budget": 0}
    config = write_config(selections=["none"], references=[], oracles=["uff"], **learned)
    lines = golfbench("run", config, "--output", "out").stderr.splitlines()
    assert "labelling the initial set: 0/9" in lines
    assert any(line.startswith("labelling the initial set: 9/9") for line in lines)
    config = write_config(models=["mmff94"], selections=["none"], references=[], oracles=["uff"])
    lines = golfbench("run", config, "--output", "out").stderr.splitlines()
    assert not [line for line in lines if "initial set" in line]  # nothing learns from it
    assert any(line.startswith("test molecules with reference energies and minimum: 3/3") for line in lines)
