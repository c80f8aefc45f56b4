"""Whole runs on end points that were made elsewhere: `golfbench evaluate`."""

import json

import numpy as np
import pytest
from ase.io import read as read_atoms
from rdkit import Chem

from golfbench.chemistry import rdkit_mol, to_ase
from golfbench.runs.directory import RunDirectory

#: What a record says of a molecule whatever way its end point was reached.
JUDGED = (
    "molecule",
    "energy_initial_hartree",
    "energy_reference_hartree",
    "bond_graph_changed",
    "stereo_changed",
    "n_atoms",
    "method",
)


@pytest.fixture
def walked(golfbench, results, tiny_folder, tmp_path):
    """A run of force fields on the tiny dataset."""
    done = golfbench(
        "run", "--model", "mmff94", "--model", "uff", "--dataset", f"folder:path={tiny_folder}", "-o", "walked"
    )
    assert done.returncode == 0, done.stderr
    return results(tmp_path / "walked")


def exported(run, tiny, path):
    """Write the end points of MMFF94 as an SDF, each with its atoms in an order of its own."""
    molecules = {item.molecule.id: item.molecule for item in tiny.test}
    with Chem.SDWriter(str(path)) as writer:
        for frame in read_atoms(run.path / "trajectories" / "mmff94_rfo-internal__gfn2-xtb-reference.extxyz", ":"):
            mol = rdkit_mol(molecules[frame.info["molecule"]].at(frame.positions))
            turned = Chem.RenumberAtoms(mol, list(reversed(range(mol.GetNumAtoms()))))
            turned.SetProp("_Name", frame.info["molecule"])
            writer.write(turned)


def test_end_points_of_a_run_are_judged_as_by_the_run_itself(golfbench, results, tiny, tiny_folder, tmp_path, walked):
    exported(walked, tiny, tmp_path / "shuffled.sdf")
    own = sorted(str(path) for path in (walked.path / "trajectories").iterdir())
    command = ["evaluate", *own, "shuffled.sdf", "--name", "mm", "--name", "uff", "-d", f"folder:path={tiny_folder}"]
    done = golfbench(*command, "-o", "given", "--json")
    assert done.returncode == 0, done.stderr
    given = results(tmp_path / "given")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["model"], row["optimizer"], row["stage"]) for row in rows] == [
        (name, "", "reference") for name in ("mm", "shuffled", "uff")
    ]
    twins = {"mm": "mmff94", "uff": "uff", "shuffled": "mmff94"}
    residuals = {row["model"]: row["residual_kcal_mol_mean"] for row in walked.rows}
    for row in rows:
        assert row["residual_kcal_mol_mean"] == pytest.approx(residuals[twins[row["model"]]], abs=1e-3)
        assert row["oracle_calls"]["evaluation"] == 3
        assert (row["model_calls"], row["steps_mean"], row["convergence_pct"]) == (0, 0.0, 0.0)
    before = {(record["model"], record["molecule"]): record for record in walked.records}
    for record in given.records:
        twin = before[twins[record["model"]], record["molecule"]]
        assert {name: record[name] for name in JUDGED} == {name: twin[name] for name in JUDGED}
        # 1e-4 Å, what an SDF keeps, is 1e-5 kcal/mol or so near a minimum of another potential.
        assert record["energy_final_hartree"] == pytest.approx(twin["energy_final_hartree"], abs=2e-6)
        assert record["status"] == "step_limit"
        assert record["force_max_final_hartree_per_angstrom"] is None
        distance = record["rmsd_to_references_angstrom"][record["molecule"]]
        assert distance == pytest.approx(twin["rmsd_to_references_angstrom"][record["molecule"]], abs=1e-3)
    assert golfbench("report", str(given.path)).returncode == 0
    assert "optimizer ;" not in golfbench("report", str(given.path)).stdout
    assert golfbench("compare", str(walked.path), str(given.path)).returncode == 0
    asked = given.asked
    assert golfbench(*command, "-o", "given").returncode == 0  # resumed: nothing is left to do
    assert results(tmp_path / "given").asked == asked


def test_what_is_missing_is_skipped_with_a_reason(golfbench, results, tiny, tiny_folder, tmp_path):
    first = tiny.test[0].molecule
    mol = rdkit_mol(first.at(tiny.test[0].minimum_positions))
    mol.SetProp("_Name", first.id)
    Chem.SDWriter(str(tmp_path / "some.sdf")).write(mol)
    dataset = f"folder:path={tiny_folder}"
    done = golfbench("evaluate", "some.sdf", "--name", "best", "-d", dataset, "-o", "runs")
    assert done.returncode == 1
    assert "some.sdf: no geometry for 2 of 3 test molecules: dimethyl-ether/0, methylamine/0" in done.stderr
    run = results(tmp_path / "runs")
    records = {record["molecule"]: record for record in run.records}
    assert len(records) == 3
    assert records["methylamine/0"]["status"] == "skipped"
    assert records["methylamine/0"]["error_message"] == "some.sdf has no geometry of it"
    (row,) = run.rows
    assert (row["n"], row["n_finished"], row["statuses"]) == (3, 1, {"skipped": 2, "step_limit": 1})
    assert row["residual_kcal_mol_mean"] == pytest.approx(0.0, abs=1e-3)
    assert row["residual_kcal_mol_mean_all"] > 1.0  # what is missing counts with its start
    shown = golfbench("report", str(run.path)).stdout
    assert "2 skipped: some.sdf has no geometry of it (dimethyl-ether/0, methylamine/0)." in " ".join(shown.split())
    assert RunDirectory(run.path).read_manifest().config["end_points"][0]["path"] == "some.sdf"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["missing.sdf"], 2, "end points: missing.sdf is no file"),
        (["own.xyz", "--name", "a", "--name", "b"], 2, "--name b has no file"),
        (["own.xyz", "--name", "a|b"], 2, "name: String should match pattern"),
        (["own.xyz", "own.xyz"], 2, "two files have the name 'own'"),
        (["own.xyz"], 2, "own.xyz: none of its geometries is of a test molecule"),
        (["own.xyz", "--dry-run"], 2, "own.xyz: none of its geometries is of a test molecule"),
        (["own.xyz", "--oracle", "nosuch"], 2, "nosuch"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_input_is_one_line(golfbench, tiny_folder, tmp_path, arguments, code, line):
    (tmp_path / "own.xyz").write_text("3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    done = golfbench("evaluate", *arguments, "-d", f"folder:path={tiny_folder}", "-o", "runs")
    assert (done.returncode, done.stdout) == (code, "")
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_configuration_judges_end_points_beside_its_models(golfbench, results, tiny, write_config, tmp_path):
    """Atoms on top of each other are judged by nobody; the end point was a bad one."""
    frames = []
    for item, positions in zip(tiny.test, [tiny.test[0].minimum_positions, np.zeros((9, 3)), None], strict=True):
        if positions is not None:
            symbols = to_ase(item.molecule).symbols
            rows = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(symbols, positions, strict=True)]
            frames += [str(len(rows)), item.molecule.id, *rows]
    (tmp_path / "ends.xyz").write_text("\n".join([*frames, ""]))
    changes = {"models": ["mmff94"], "references": [], "end_points": [{"path": "ends.xyz", "name": "mine"}]}
    done = golfbench("run", write_config(**changes), "--output", "runs")
    assert done.returncode == 1, done.stderr
    run = results(tmp_path / "runs")
    assert [(row["model"], row["n"]) for row in run.rows] == [("mine", 3), ("mmff94", 3)]
    assert [r["status"] for r in run.records if r["model"] == "mine"] == ["skipped", "step_limit", "diverged"]
