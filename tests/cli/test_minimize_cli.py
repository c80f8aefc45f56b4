import json
import os
import random
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from typer.testing import CliRunner

from golfbench.chemistry import embed, rdkit_mol
from golfbench.cli.main import build_app

CHECKPOINT = Path(__file__).parents[2] / "datasets/druglike-mini/baselines/painn-small.safetensors"
ACETAMINOPHEN = "CC(=O)Nc1ccc(O)cc1"
WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
MISSING = """
from golfbench import hookimpl
from golfbench.specs import OracleSpec


@hookimpl
def golfbench_oracles():
    return [
        OracleSpec(
            name="absent",
            factory="a_module_that_is_not_there:Engine",
            summary="Missing.",
            method="X",
            install_hint="pip install absent",
        )
    ]
"""

MOODY = """
import torch
from golfbench import hookimpl
from golfbench.contracts import Evaluation
from golfbench.specs import ModelSpec


class Moody:
    cutoff = None

    def energy_forces(self, batch):
        if (batch.numbers == 9).any():
            raise ValueError("no fluorine today")
        nan = torch.tensor([torch.nan if (m.numbers == 17).any() else 0.0 for m in batch.molecules]).double()
        return Evaluation(nan, torch.zeros_like(batch.positions))


@hookimpl
def golfbench_models():
    return [ModelSpec(name="moody", factory="moody_plugin:Moody", summary="Moody.", trainable=False)]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def minimize(*arguments: object):
    """Run the verb; return the exit code, the rows and the lines of stderr without those of the progress."""
    done = CliRunner().invoke(build_app(), ["minimize", *map(str, arguments), "--json"])
    errors = [line for line in done.stderr.splitlines() if not line.startswith("minimizing: ")]
    return done.exit_code, json.loads(done.stdout)["rows"] if done.stdout else None, errors


def test_gfn2_xtb_takes_two_molecules_downhill_and_a_broken_third_stops_nothing():
    code, rows, errors = minimize("O", "C1CC", "CO", "--output", "out.sdf")
    assert code == 1
    assert [row["status"] for row in rows] == ["converged", "skipped", "converged"]
    assert errors == [
        "golfbench: what is done is in out.partial.sdf until all are",
        "golfbench: error: C1CC: 'C1CC' is neither a file that exists nor a valid SMILES",
        "golfbench: 2 of 3 molecules converged, 1 skipped",
        "golfbench: 2 of 3 molecules written to out.sdf",
    ]
    assert (rows[1]["n_atoms"], rows[1]["error_type"]) == (None, "MoleculeError")
    for row, energy in ((rows[0], -5.070544), (rows[2], -8.226118)):  # ASE's BFGS on xtb-python, fmax 0.001
        assert row["energy_final_hartree"] == pytest.approx(energy, abs=1e-5)
        assert row["force_max_final_ev_per_angstrom"] <= 0.02
        assert row["energy_change_kcal_mol"] < -0.1
        assert row["model_calls"] == row["n_steps"] + 1
    written = list(Chem.SDMolSupplier("out.sdf", removeHs=False))
    assert [mol.GetProp("_Name") for mol in written] == ["O", "CO"]
    assert [mol.GetProp("golfbench_method") for mol in written] == ["GFN2-xTB", "GFN2-xTB"]


def test_mmff94_minimizes_an_sdf_with_shuffled_atoms_and_gives_its_order_back():
    mol = rdkit_mol(embed(ACETAMINOPHEN, "m", 1, seed=1)[0])
    order = list(range(mol.GetNumAtoms()))
    random.Random(3).shuffle(order)
    mol = Chem.RenumberAtoms(mol, order)
    mol.SetProp("_Name", "paracetamol")
    Path("in.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    code, (row,), _ = minimize("in.sdf", "--model", "mmff94", "--output", "out.sdf")
    assert (code, row["id"], row["status"], row["bond_graph_changed"]) == (0, "paracetamol", "converged", False)
    (end,) = Chem.SDMolSupplier("out.sdf", removeHs=False)
    assert [a.GetSymbol() for a in end.GetAtoms()] == [a.GetSymbol() for a in mol.GetAtoms()]
    # RDKit's own MMFF94 at what was written, atoms in the file's order: the energy and the minimum are the same.
    properties = Chem.rdForceFieldHelpers.MMFFGetMoleculeProperties(end)
    field = Chem.rdForceFieldHelpers.MMFFGetMoleculeForceField(end, properties)
    assert field.CalcEnergy() == pytest.approx(row["energy_final_hartree"] * 627.5095, abs=1e-3)
    assert np.abs(field.CalcGrad()).max() < 0.6  # 0.02 eV/Å, and the four decimals of the file


def test_a_checkpoint_minimizes_a_drug():
    code, (row,), _ = minimize(ACETAMINOPHEN, "--checkpoint", CHECKPOINT, "--output", "out.extxyz")
    assert (code, row["status"], row["n_atoms"]) == (0, "converged", 20)
    assert -40 < row["energy_change_kcal_mol"] < -2
    assert "smiles=CC(=O)Nc1ccc(O)cc1" in Path("out.extxyz").read_text()


def test_each_molecule_that_a_checkpoint_does_not_know_is_skipped():
    code, rows, errors = minimize("C[Si](C)(C)C", "C", "[NH4+]", "--checkpoint", CHECKPOINT, "--max-steps", 1)
    assert code == 1
    assert [row["status"] for row in rows] == ["skipped", "step_limit", "step_limit"]
    assert rows[0]["error_message"] == "element Si is outside what painn-small.safetensors has learned"
    assert errors[0] == "golfbench: warning: painn does not see charges and unpaired electrons, which 1 molecules have"


def test_every_bad_frame_has_its_reason():
    frames = ["2\n\nO 0 0 0\nH 0 0 0.97\n", WATER.replace("0.96", "nan"), WATER.replace("0.96", "0.1"), WATER]
    Path("a.xyz").write_text("".join(frames))
    code, rows, errors = minimize("a.xyz", "--max-steps", 0)
    assert code == 1
    assert [row["status"] for row in rows] == ["skipped", "skipped", "skipped", "step_limit"]
    assert errors[0].startswith("golfbench: warning: a.xyz (3 molecules): charge 0 is assumed")
    assert errors[1:] == [
        "golfbench: error: a.xyz:1: 9 electrons (charge +0) cannot have multiplicity 1; nothing says the charge: write "
        "charge=... multiplicity=... in its comment line, or give --charge and --multiplicity",
        "golfbench: error: a.xyz:2: coordinates are not finite",
        "golfbench: error: a.xyz:3: atoms 0 and 1 overlap (0.100 Å, at least 0.4 Å needed)",
        "golfbench: 0 of 4 molecules converged, 1 step_limit, 3 skipped",
    ]


def test_the_charge_of_an_xyz_frame_is_an_option():
    Path("a.xyz").write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    code, (row,), _ = minimize("a.xyz", "--charge", -1, "--output", "out.xyz")
    assert (code, row["charge"], row["smiles"], row["bond_graph_changed"]) == (0, -1, None, None)
    assert "charge=-1 multiplicity=1" in Path("out.xyz").read_text()


def test_mmff94_refuses_a_molecule_without_bonds_and_no_usable_molecule_is_exit_2():
    Path("a.xyz").write_text(WATER)
    code, (row,), errors = minimize("a.xyz", "--model", "mmff94")
    assert (code, row["status"]) == (2, "skipped")
    assert errors[1:] == [
        "golfbench: error: a.xyz:1: no SMILES, so its bonds are not known "
        "(an XYZ file has no bonds: give an SDF or a SMILES, or another model)",
        "golfbench: 0 of 1 molecules converged, 1 skipped",
    ]


def test_a_changed_bond_graph_is_no_success():
    """Without a solvent the proton of a zwitterion goes over."""
    code, (row,), _ = minimize("[NH3+]CC(=O)[O-]", "--model", "gfn2-xtb")
    assert (code, row["status"], row["bond_graph_changed"]) == (1, "topology_changed", True)
    assert row["energy_change_kcal_mol"] < -30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.sdf"], "none.sdf does not exist"),
        (["C", "--model", "gfn3-xtb"], "unknown model 'gfn3-xtb': did you mean"),
        (["C", "--model", "painn"], "model 'painn' is trainable: give its weights with --checkpoint FILE"),
        (["C", "--checkpoint", "none.safetensors"], "checkpoint none.safetensors does not exist"),
        (["C", "--checkpoint", CHECKPOINT, "--model", "schnet"], "is of painn:preset=small, not of schnet"),
        (["C", "--checkpoint", CHECKPOINT, "--model", "painn:cutoff=4"], "not of painn:cutoff=4"),
        (["C", "--optimizer", "lbfg"], "unknown optimizer 'lbfg': did you mean 'lbfgs'"),
        (["C", "--force-max", "nan"], "the force threshold must be above 0 eV/Å, not nan"),
        (["C", "--output", "there.sdf"], "there.sdf exists already: choose another name, or give --overwrite"),
        (["C", "--output", "folder.sdf", "--overwrite"], "folder.sdf is a folder: name a file"),
        (["C", "--output", "none/a.sdf"], "none/a.sdf: there is no folder none"),
        (["C", "--output", "/proc/a.sdf"], "/proc/a.sdf cannot be written: No such file or directory"),
        (["C", "--output", f"{'a' * 250}.sdf"], "cannot be written: File name too long"),
        (["C", "--output", "a.pdb"], "a.pdb: the output is .sdf, or .extxyz (also .xyz)"),
        (["w.xyz", "--output", "new.sdf"], "an SDF needs bonds and w.xyz:1 has none; write .extxyz instead"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(arguments, message):
    Path("there.sdf").touch()
    Path("folder.sdf").mkdir()
    Path("w.xyz").write_text(WATER)
    before = sorted(os.listdir())
    code, rows, lines = minimize(*arguments)
    errors = [line for line in lines if "warning: " not in line]
    assert sorted(os.listdir()) == before
    assert (code, rows, len(errors)) == (2, None, 1)
    assert message in errors[0]


def test_an_output_is_replaced_only_when_told_to():
    Path("out.sdf").write_text("precious")
    assert minimize("C", "--model", "mmff94", "--output", "out.sdf")[0] == 2
    assert Path("out.sdf").read_text() == "precious"
    assert minimize("C", "--model", "mmff94", "--output", "out.sdf", "--overwrite")[0] == 0
    assert "precious" not in Path("out.sdf").read_text()


@pytest.mark.parametrize("lost", ["> /dev/full", ">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full | head -1"])
def test_an_output_does_not_depend_on_stdout(lost):
    command = [sys.executable, "-c", "from golfbench.cli.main import main; main()", "minimize", "C", "N"]
    line = shlex.join([*command, "--model", "mmff94", "--output", "out.sdf"])
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line} {lost}"], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert len(list(Chem.SDMolSupplier("out.sdf"))) == 2


def test_an_ascii_terminal_changes_no_file():
    mol = rdkit_mol(embed("CO", "m", 1, seed=1)[0])
    mol.SetProp("_Name", "α-méthanol")
    Path("in.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n", encoding="utf-8")
    command = [sys.executable, "-c", "from golfbench.cli.main import main; main()", "minimize", "in.sdf"]
    done = subprocess.run(
        [*command, "--model", "mmff94", "--output", "out.sdf"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    header, row = done.stdout.decode("ascii").splitlines()
    assert done.returncode == 0
    assert (header.split("\t")[5], row.split("\t")[0]) == ("max force (eV/A)", r"\u03b1-m\xe9thanol")
    assert [mol.GetProp("_Name") for mol in Chem.SDMolSupplier("out.sdf")] == ["α-méthanol"]


def test_a_file_that_may_not_grow_leaves_the_molecules_that_fit_and_says_where():
    """The limit of a file's size stands for a full disk."""
    command = [sys.executable, "-c", "from golfbench.cli.main import main; main()", "minimize", *["C"] * 60]
    line = shlex.join([*command, "--model", "mmff94", "--output", "out.sdf"])
    done = subprocess.run(["bash", "-c", f"ulimit -f 30; {line}"], capture_output=True, text=True, timeout=60)
    kept = list(Chem.SDMolSupplier("out.partial.sdf", removeHs=False))
    assert done.returncode == 1
    assert 0 < len(kept) < 60
    assert {mol.GetNumAtoms() for mol in kept} == {5}
    error, where = done.stderr.splitlines()[-2:]
    assert error.startswith("golfbench: error: out.partial.sdf cannot be written: ")
    assert where == f"golfbench: {len(kept)} molecules are in out.partial.sdf, in the order in which they were done"


def test_many_failures_of_one_kind_are_one_line():
    Path("many.smi").write_text("C good\n" + "".join(f"C1CC x{k}\n" for k in range(30)) + "[Xx] odd\nCO fine\n")
    code, rows, errors = minimize("many.smi", "--model", "mmff94")
    assert (code, len(rows)) == (1, 33)
    assert len([row for row in rows if row["error_message"]]) == 31
    assert errors[-1] == "golfbench: 2 of 33 molecules converged, 31 skipped"
    assert len(errors) <= 4  # two reasons, a note on symmetric molecules, the counts
    assert "many.smi:2: x0: " in errors[0]


def test_the_table_has_one_line_a_molecule(golfbench):
    done = golfbench("minimize", "CO", "N", "--model", "mmff94", plugins="rdkit,optimizers")
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert header == ["id", "atoms", "status", "steps", "energy change (kcal/mol)", "max force (eV/Å)", "model calls"]
    assert [row[:3] for row in rows] == [["CO", "6", "converged"], ["N", "4", "converged"]]


def test_a_missing_engine_is_exit_3(golfbench, add_plugin):
    add_plugin("gone", MISSING)
    done = golfbench("minimize", "C", "--model", "absent", plugins="gone,optimizers")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("golfbench: error: 'absent' cannot be loaded")
    assert "pip install absent" in done.stderr


def test_a_model_that_fails_on_one_molecule_of_a_batch_still_answers_for_the_others(golfbench, add_plugin):
    add_plugin("moody", MOODY)
    done = golfbench("minimize", "C", "CF", "CCl", "O", "--model", "moody", "--json", plugins="moody,optimizers")
    rows = json.loads(done.stdout)["rows"]
    assert done.returncode == 1
    assert [row["status"] for row in rows] == ["converged", "error", "diverged", "converged"]
    assert rows[2]["energy_final_hartree"] is None
    assert (rows[1]["error_type"], rows[1]["error_message"]) == ("ValueError", "no fluorine today")
    told = [line for line in done.stderr.splitlines() if "symmetric" not in line]
    assert told[-2:] == [
        "golfbench: error: CF: no fluorine today",
        "golfbench: 2 of 4 molecules converged, 1 diverged, 1 error",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interruption_keeps_what_is_done(number, code):
    main = "from golfbench.cli.main import main; main()"
    # The first never arrives: its threshold is far below what forces in double precision can be told apart by.
    command = [sys.executable, "-c", main, "minimize", ACETAMINOPHEN, "[He]", "--force-max", "1e-30", "--json"]
    process = subprocess.Popen(
        [*command, "--max-steps", "1000000", "--output", "out.sdf"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs are started deaf to SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "golfbench: what is done is in out.partial.sdf until all are\n"
    assert process.stderr.readline() == "minimizing: 1/2\n"
    (helium,) = Chem.SDMolSupplier("out.partial.sdf", removeHs=False)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    if number != signal.SIGKILL:
        assert [row["status"] for row in json.loads(out)["rows"]] == ["interrupted", "converged"]
    assert sorted(set(os.listdir()) - {"out.partial.sdf.state-journal"}) == ["out.partial.sdf", "out.partial.sdf.state"]
    assert helium.GetProp("_Name") == "[He]"
    other = subprocess.run([*command, "--output", "out.sdf"], capture_output=True, text=True)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "out.partial.sdf is of another command (its rule was " in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--oracle-budget", 5], "--oracle-budget needs an oracle: give --oracle NAME, too"),
        (["--learn"], "--learn needs an oracle: give --oracle NAME, too"),
        (["--oracle", "mmff94", "--learn"], "--learn learns from the labels of a walk: give --oracle-budget, too"),
        (["--oracle", "mmff49"], "unknown oracle 'mmff49'"),
        (["--oracle", "mmff94", "--model", "uff", "--oracle-budget", 5, "--learn"], "uff has nothing that learns"),
    ],
)
def test_what_an_oracle_cannot_be_asked_is_one_line(arguments, said):
    code, rows, errors = minimize("CO", *arguments, "--output", "out.sdf")
    assert (code, rows) == (2, None)
    assert said in errors[-1]
    assert not Path("out.sdf").exists()


def test_an_oracle_judges_and_with_a_budget_finishes():
    code, rows, errors = minimize("CO", "CCO", "--model", "uff", "--oracle", "mmff94", "--output", "judged.sdf")
    assert (code, [row["status"] for row in rows]) == (0, ["converged", "converged"])
    assert "golfbench: 0 of 2 molecules verified, 2 converged; 2 oracle labels by 2 calls" in errors
    finishing = ["--model", "uff", "--oracle", "mmff94", "--oracle-budget", 60]
    code, rows, errors = minimize("CO", "CCO", *finishing, "--output", "out.sdf")
    assert (code, [row["status"] for row in rows]) == (0, ["verified", "verified"])
    code, rows, errors = minimize("CO", "CCO", *finishing[:-1], 3, "--output", "few.sdf")
    assert (code, sum(row["oracle_labels"] for row in rows)) == (1, 3)
    code, rows, errors = minimize("CO", "CCO", *finishing, "--output", "few.sdf", "--overwrite")
    assert (code, sum(row["oracle_calls"] for row in rows)) == (0, sum(row["oracle_labels"] for row in rows))
