"""An oracle judges where the walks on a model end, and its own forces finish them within a budget."""

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.minimization import Outcome, Point
from golfbench.molecule_files.constraints import Constraints
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.input_molecules import Notes, Reading
from golfbench.molecule_files.library import Job, minimize_library
from golfbench.molecule_files.oracle_walks import (
    OracleWalks,
    Start,
    Verification,
    Walked,
    make_room,
    oracle_folder,
    tell_nobody,
)
from golfbench.molecule_files.output import open_output
from golfbench.molecule_files.ranking import Ranking, rank
from golfbench.molecule_files.reading import Inputs
from golfbench.molecule_files.verifying import expected, shares, verify_library
from golfbench.stopping import StoppingRule
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

FORCE = 0.02


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "cache.sqlite"))


def run(path: Path, inputs, oracle="mmff94", budget=None, model="uff", stop_after=None, on_label=tell_nobody, **how):
    """Minimize and verify like the verb; with ``stop_after`` leave as a process that is killed does."""
    reading = how.pop("reading", Reading())
    verification = Verification(oracle, budget)
    rule = StoppingRule(FORCE, how.pop("max_steps", 300))
    job = Job(
        model, None, model, "rfo-internal", rule, reading=reading, suffix=path.suffix, verification=verification, **how
    )
    with open_driver(model, None, model) as driver:
        given = Inputs(inputs, reading)
        with open_output(path, False, job.command(given, driver)) as kept:
            list(minimize_library(given, job, driver, kept, Notes()))
            walk = verify_library(given, job, driver, kept, 2, on_label)
            for count, _ in enumerate(walk, start=1):
                if count == stop_after:
                    walk.close()
                    return []
            rank(kept, Ranking())
            kept.finish()
            return list(kept.rows())


def ledger(path: Path) -> list[dict]:
    return [json.loads(line) for line in (oracle_folder(path) / "oracle_calls.jsonl").read_text().splitlines()]


def mmff94(mol: Chem.Mol) -> tuple[float, float]:
    """Energy (kcal/mol) and largest force norm (eV/Å) by RDKit itself."""
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol))
    gradient = np.array(field.CalcGrad()).reshape(-1, 3)
    return field.CalcEnergy(), np.linalg.norm(gradient, axis=1).max() / HARTREE_TO_KCAL_MOL * HARTREE_TO_EV


def written(path: Path) -> list[Chem.Mol]:
    return list(Chem.SDMolSupplier(str(path), removeHs=False))


def test_without_a_budget_end_points_are_judged_and_stay_where_they_are(tmp_path):
    path = tmp_path / "out.sdf"
    rows = run(path, ["CO", "CCO"])
    assert [row.status for row in rows] == ["converged", "converged"]
    for row, mol in zip(rows, written(path), strict=True):
        energy, force = mmff94(mol)
        assert row.oracle_energy_hartree * HARTREE_TO_KCAL_MOL == pytest.approx(energy, abs=0.01)
        assert row.oracle_force_max_ev_per_angstrom == pytest.approx(force, abs=0.01)  # four decimals in the file
        assert row.oracle_force_max_ev_per_angstrom > FORCE
        assert (row.oracle_labels, row.oracle_calls, row.oracle_energy_change_kcal_mol) == (1, 1, 0.0)
        assert float(mol.GetProp("golfbench_oracle_energy_hartree")) == row.oracle_energy_hartree
        assert mol.GetProp("golfbench_oracle_method") == "MMFF94"
    assert Counter(call["outcome"] for call in ledger(path)) == {"ok": 2}


def test_a_model_that_is_right_is_verified_by_one_label_each(tmp_path):
    rows = run(tmp_path / "out.sdf", ["CO", "CCN"], model="mmff94")
    assert [(row.status, row.oracle_labels) for row in rows] == [("verified", 1), ("verified", 1)]


def test_a_budget_finishes_the_walks_at_minima_of_the_oracle(tmp_path):
    path = tmp_path / "out.sdf"
    rows = run(path, ["CC(=O)NC", "CCO", "OC(=O)c1ccccc1"], budget=100)
    assert [row.status for row in rows] == ["verified"] * 3
    for row, mol in zip(rows, written(path), strict=True):
        energy, force = mmff94(mol)
        assert row.oracle_energy_hartree * HARTREE_TO_KCAL_MOL == pytest.approx(energy, abs=0.01)
        assert row.oracle_force_max_ev_per_angstrom <= FORCE
        assert force < FORCE + 0.01
        assert row.oracle_energy_change_kcal_mol < 0
        assert row.bond_graph_changed is False
    calls = ledger(path)
    assert sum(row.oracle_labels for row in rows) == len(calls) == sum(row.oracle_calls for row in rows) < 40


@pytest.mark.parametrize("budget", [2, 3, 7])
def test_a_budget_is_spent_to_the_last_label_and_never_beyond(tmp_path, budget):
    rows = run(tmp_path / "out.sdf", ["CC(=O)NC", "CCCCO", "OC(=O)c1ccccc1"], budget=budget)
    assert sum(row.oracle_labels for row in rows) == budget
    assert {row.status for row in rows} <= {"verified", "oracle_budget_spent"}
    unasked = [row for row in rows if not row.oracle_labels]
    assert len(unasked) == max(0, 3 - budget)
    assert all(row.oracle_energy_hartree is None and row.energy_relative_kcal_mol is None for row in unasked)
    for row in rows:
        if row.oracle_labels:
            assert row.oracle_energy_change_kcal_mol <= 0  # of what was walked, the lowest point is kept


def test_what_was_stopped_goes_on_and_no_label_is_asked_for_twice(tmp_path):
    inputs, whole, parts = ["CC(=O)NC", "CCO", "CCCO", "OC(=O)c1ccccc1"], tmp_path / "whole.sdf", tmp_path / "parts.sdf"
    rows = run(whole, inputs, budget=26)
    for stop in (1, 2):
        assert run(parts, inputs, budget=26, stop_after=stop) == []
    again = run(parts, inputs, budget=26)
    told = [{**row.model_dump(), "wall_s": 0, "oracle_calls": 0} for row in rows]
    assert [{**row.model_dump(), "wall_s": 0, "oracle_calls": 0} for row in again] == told
    paid = [call["geometry_sha256"] for call in ledger(parts) if call["outcome"] == "ok"]
    assert len(paid) == len(set(paid)) == sum(row.oracle_labels for row in rows)
    assert [Chem.MolToMolBlock(mol) for mol in written(parts)] == [Chem.MolToMolBlock(mol) for mol in written(whole)]


def test_an_interruption_keeps_where_molecules_were(tmp_path, monkeypatch):
    path, seen, ended, original = tmp_path / "out.sdf", Counter(), threading.Event(), OracleWalks.end

    def interrupt(id: str, labels: int, force: float) -> None:
        seen[id] += 1
        if labels == 3:
            os.kill(os.getpid(), signal.SIGINT)
            assert ended.wait(120)

    def end(walks: OracleWalks) -> None:
        walks._ended.set()
        ended.set()
        original(walks)

    monkeypatch.setattr(OracleWalks, "end", end)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(path, ["OC(=O)c1ccccc1"], budget=50, on_label=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    (model_end, last) = written(tmp_path / "out.partial.sdf")
    assert last.GetProp("golfbench_status") == "interrupted"
    assert mmff94(last)[0] < mmff94(model_end)[0]
    monkeypatch.undo()
    (row,) = run(path, ["OC(=O)c1ccccc1"], budget=50)
    assert row.status == "verified"
    assert mmff94(written(path)[0])[1] < FORCE + 0.01


def test_an_oracle_that_does_not_take_a_molecule_stops_no_other(tmp_path):
    path = tmp_path / "out.sdf"
    rows = run(path, ["B", "CO"], budget=20)  # MMFF94 has no boron
    assert [row.status for row in rows] == ["oracle_failed", "verified"]
    assert "boron" in rows[0].error_message.lower() or "B" in rows[0].error_message
    assert rows[0].oracle_energy_hartree is None
    assert len(written(path)) == 2  # where the model left it


def test_labels_of_other_commands_cost_nothing(tmp_path):
    first = run(tmp_path / "a.sdf", ["CO"], oracle="gfn2-xtb", model="mmff94", budget=20)
    again = run(tmp_path / "b.sdf", ["CO"], oracle="gfn2-xtb", model="mmff94", budget=20)
    assert first[0].oracle_calls == first[0].oracle_labels == again[0].oracle_labels > 1
    assert again[0].oracle_calls == 0
    # ASE's BFGS on xtb-python to 0.001 eV/Å
    assert again[0].oracle_energy_hartree == pytest.approx(-8.226118, abs=1e-5)


def test_what_is_fixed_does_not_move_on_the_oracle_either(tmp_path):
    path, start = tmp_path / "out.extxyz", tmp_path / "in.sdf"
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    Chem.rdDistGeom.EmbedMolecule(mol, randomSeed=2)
    start.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    (row,) = run(path, [str(start)], budget=60, constraints=Constraints.parse(None, True, None, None))
    assert row.status == "verified"
    lines = path.read_text().splitlines()[2:5]
    fixed = np.array([line.split()[1:4] for line in lines], dtype=float)
    block = Chem.MolFromMolBlock(Chem.MolToMolBlock(mol), removeHs=False).GetConformer().GetPositions()
    np.testing.assert_array_equal(fixed, block[:3])


def test_conformers_are_ranked_by_the_oracle(tmp_path):
    rows = run(tmp_path / "out.sdf", ["OCCO"], budget=200, reading=Reading(4, 1))
    energies = np.array([row.oracle_energy_hartree for row in rows])
    relative = (energies - energies.min()) * HARTREE_TO_KCAL_MOL
    np.testing.assert_allclose([row.energy_relative_kcal_mol for row in rows], relative, atol=1e-9)


def walked(place: int, force: float, labels: int = 1) -> Walked:
    point = Point(0, labels - 1, np.zeros((1, 3)), -1.0, force, last=True)
    start = Start(place, None, None, np.zeros((1, 3)))
    return Walked(start, labels, Outcome(point, "step_limit", labels, 0.0), point, point, is_open=True)


def test_what_is_near_its_minimum_does_not_starve():
    far, near, middle = walked(0, 3.0), walked(1, 0.0011), walked(2, 0.01)
    given = shares([far, near, middle], 5, threshold=0.001)
    assert [(start.place, labels) for start, labels in given] == [(1, 3), (2, 4)]
    assert sum(labels - 1 for _, labels in shares([far, near, middle], 100, 0.001)) < 100
    assert [expected(one, 0.001) for one in (near, middle, far)] == [2, 5, 14]
    assert shares([far], 0, 0.001) == []


def test_the_order_in_which_calls_return_gives_nobody_more():
    one, other = walked(0, 0.01), walked(1, 0.01)
    assert [start.place for start, _ in shares([one, other], 4, 0.001)] == [0]
    assert [start.place for start, _ in shares([other, one], 4, 0.001)] == [0]


@pytest.mark.parametrize(
    ("oracle", "budget", "learn", "said"),
    [("mmff94", 0, False, "at least 1"), ("mmff94", None, True, "--oracle-budget")],
)
def test_what_makes_no_sense_is_refused(oracle, budget, learn, said):
    with pytest.raises(ConfigurationError, match=said):
        Verification(oracle, budget, learn)


def test_an_unknown_oracle_is_told_before_anything_walks():
    with pytest.raises(ConfigurationError, match="mmff94"):
        Verification("mmff49").check()


def test_the_folder_of_an_earlier_command_is_not_mixed_with(tmp_path):
    folder = tmp_path / "out.oracle"
    make_room(folder, False)
    folder.mkdir()
    (folder / "labels.db").write_text("x")
    (folder / "mine.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="exists already"):
        make_room(folder, False)
    make_room(folder, True)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_an_engine_that_is_missing_is_told_before_anything_walks(monkeypatch):
    from golfbench.molecule_files import oracle_walks

    def absent(*arguments):
        raise ComponentMissingError("not installed")

    monkeypatch.setattr(oracle_walks, "open_oracle", absent)
    with pytest.raises(ComponentMissingError):
        Verification("mmff94").check()
