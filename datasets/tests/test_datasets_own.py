"""Building a dataset of a person's own molecules."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from golfbench.chemistry import best_rmsd
from golfbench.contracts import BuildOrder, Dataset, LabelledMolecule
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.oracles.ledger import Ledger, OracleCall, read_calls
from golfbench.units import HARTREE_TO_EV
from golfbench_datasets import own
from golfbench_datasets.check import check
from golfbench_datasets.files import molecule_name, read_description, read_initial, write_initial
from golfbench_datasets.reader import FolderReader
from golfbench_datasets.structures import CLUSTER_RMSD, Structure, centroids, read_structures, split

TEN = """\
CC(=O)Nc1ccc(O)cc1 paracetamol
OCCc1ccccc1 phenethyl alcohol
c1ccncc1C(=O)N nicotinamide
CCOC(=O)C 8857
CC(C)C(N)C(=O)O valine
C1CCOC1CO THF/methanol
CN1CCCC1c1cccnc1 nicotine
CCCCO butanol
c1ccccc1CCO again
notasmiles wrong
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def ten(tmp_path: Path) -> str:
    path = tmp_path / "ten.smi"
    path.write_text(TEN)
    return str(path)


def build(*inputs: str, output: Path, **options) -> tuple[int, list[str]]:
    lines: list[str] = []
    order = BuildOrder(inputs, output, options.pop("oracle", "mmff94"), **options)
    return own.build(order, lines.append), lines


def trained(data: Dataset) -> set[str]:
    return {row.molecule.smiles for row in data.initial}


def test_ten_molecules_become_a_sound_dataset(ten: str, tmp_path: Path) -> None:
    left_out, lines = build(ten, output=tmp_path / "made")
    assert left_out == 1
    assert any("wrong: 'notasmiles' is not a valid SMILES" in line for line in lines)
    assert any(line.startswith("oracle calls: ") for line in lines)
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == [
        "README.md",
        "dataset.yaml",
        "initial.db",
        "test.db",
        "walks.db",
    ]
    assert not (tmp_path / ".made.build").exists()
    data = FolderReader(tmp_path / "made").read()
    names = {molecule_name(row.molecule) for row in data.initial} | {molecule_name(t.molecule) for t in data.test}
    assert names == {
        "paracetamol",
        "phenethyl-alcohol",
        "nicotinamide",
        "molecule-8857",
        "valine",
        "THF-methanol",
        "nicotine",
        "butanol",
    }
    assert len(data.test) == 2
    assert data.method == "MMFF94"
    assert check(tmp_path / "made") == []
    for item in data.test:
        assert np.linalg.norm(item.minimum.forces, axis=1).max() * HARTREE_TO_EV <= 0.005
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "golfbench datasets build ten.smi --oracle mmff94 --output made" in card
    assert data.content_hash in card


def test_the_oracles_walks_lead_from_each_start_to_its_minimum(ten: str, tmp_path: Path) -> None:
    build(ten, output=tmp_path / "made")
    walks = read_initial(tmp_path / "made" / "walks.db", "MMFF94")
    for item in FolderReader(tmp_path / "made").read().test:
        states = [row for row in walks if molecule_name(row.molecule) == molecule_name(item.molecule)]
        assert [row.molecule.id.rpartition("/")[2] for row in states] == [str(k) for k in range(len(states))]
        assert np.array_equal(states[0].molecule.positions, item.molecule.positions)
        assert states[0].label.energy == item.start.energy
        assert np.array_equal(states[-1].molecule.positions, item.minimum_positions)
        assert states[-1].label.energy == item.minimum.energy


def test_a_killed_build_goes_on_to_the_same_content_and_asks_nothing_twice(ten: str, tmp_path: Path) -> None:
    build(ten, output=tmp_path / "whole")
    for calls in (5, 25):
        if child := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            continue
        append = Ledger.append

        def append_and_die(self: Ledger, call: OracleCall, calls: int = calls, append=append) -> None:
            append(self, call)
            if call.call_id + 1 >= calls:
                os.kill(os.getpid(), signal.SIGKILL)

        Ledger.append = append_and_die  # type: ignore[method-assign]
        build(ten, output=tmp_path / "killed")
    kept = list(read_calls(tmp_path / ".killed.build" / "oracle_calls.jsonl"))
    assert len({call.geometry_sha256 for call in kept}) == len(kept) >= 20
    with pytest.raises(ConfigurationError, match="a build with other conformers, seed has begun there"):
        build(ten, output=tmp_path / "killed", seed=1, conformers=2)
    build(ten, output=tmp_path / "killed")
    hashes = [FolderReader(tmp_path / name).read().content_hash for name in ("whole", "killed")]
    assert hashes[0] == hashes[1]


def test_what_is_built_is_not_built_again_and_not_overwritten(ten: str, tmp_path: Path) -> None:
    build(ten, output=tmp_path / "made")
    with pytest.raises(NothingToDoError, match="is built already"):
        build(ten, output=tmp_path / "made")
    with pytest.raises(ConfigurationError, match="holds another dataset"):
        build(ten, output=tmp_path / "made", seed=1)
    Path(ten).write_text(TEN + "CCCCCO pentanol\n")
    with pytest.raises(ConfigurationError, match="holds another dataset"):
        build(ten, output=tmp_path / "made")


def test_a_dry_run_leaves_nothing(ten: str, tmp_path: Path) -> None:
    _, lines = build(ten, output=tmp_path / "made", dry_run=True)
    assert any("6 training molecules with " in line and "2 test molecules" in line for line in lines)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["ten.smi"]


def test_test_molecules_of_ones_own_keep_their_scaffolds_to_themselves(ten: str, tmp_path: Path) -> None:
    left_out, _ = build(ten, output=tmp_path / "made", test=("Cc1ccccc1 toluene", "CCCC[OH] butanol"))
    data = FolderReader(tmp_path / "made").read()
    assert {molecule_name(item.molecule) for item in data.test} == {"toluene", "butanol"}
    assert left_out == 4  # no SMILES, two benzenes, and butanol
    assert not {MurckoScaffoldSmiles(s) for s in trained(data)} & {"c1ccccc1"}
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "paracetamol: shares the scaffold c1ccccc1 with the test molecule toluene" in card
    assert "butanol: shares all atoms and bonds with the test molecule butanol" in card


def test_drawings_and_records_without_hydrogens_become_conformers(tmp_path: Path) -> None:
    writer = Chem.SDWriter(str(tmp_path / "drawn.sdf"))
    for smiles, name in (("C[C@H](N)C(=O)O", "alanine"), (r"F/C=C\Cl", "cis"), ("CC(=O)[O-]", "acetate")):
        mol = Chem.MolFromSmiles(smiles)
        AllChem.Compute2DCoords(mol)
        mol.SetProp("_Name", name)
        writer.write(mol)
    writer.close()
    left_out: list[str] = []
    found = read_structures([str(tmp_path / "drawn.sdf")], left_out, [])
    assert left_out == []
    drawn = {structure.name: Chem.CanonSmiles(structure.smiles) for structure in found}
    wanted = {"alanine": "C[C@H](N)C(=O)O", "cis": r"F/C=C\Cl", "acetate": "CC(=O)[O-]"}
    assert drawn == {name: Chem.CanonSmiles(smiles) for name, smiles in wanted.items()}


def test_what_has_no_bonds_or_no_geometry_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "w.xyz").write_text("3\n\nO 0 0 0\nH 0 0 0.96\nH 0.93 0 -0.24\n")
    left_out: list[str] = []
    found = read_structures([str(tmp_path / "w.xyz"), "[He]", "CC", "CC ethane"], left_out, [])
    assert [structure.name for structure in found] == ["CC"]
    assert "it has no bonds; give an SDF or a SMILES" in left_out[0]
    assert "a single atom has no geometry" in left_out[1]


@pytest.mark.parametrize("smiles", ["OCCCCCO", "c1ccccc1CCCN", "CC(C)CC(N)C(=O)O"])
def test_conformers_are_the_centroids_of_clusters(smiles: str) -> None:
    made = centroids(Structure("m", smiles, 1), 3, 0)
    assert [molecule.id for molecule in made] == ["m/0", "m/1", "m/2"]
    for a, b in combinations(made, 2):
        assert best_rmsd(a, a.positions, b.positions) > CLUSTER_RMSD
    again = centroids(Structure("m", smiles, 1), 3, 0)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(made, again, strict=True))
    other = centroids(Structure("m", smiles, 1), 3, 1)
    assert not np.array_equal(made[0].positions, other[0].positions)


def test_a_stiff_molecule_has_one_conformer() -> None:
    assert len(centroids(Structure("benzene", "c1ccccc1", 1), 5, 0)) == 1


def test_the_split_shares_no_scaffold_and_takes_about_its_share() -> None:
    rings = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "c1ccsc1", "C1CCNCC1", "c1cc[nH]c1", "C1CCOCC1"]
    structures = [Structure(f"{ring}{k}", f"{'C' * k}{ring}", 1) for ring in rings for k in (1, 2, 3)]
    structures += [Structure(f"chain{k}", "C" * k + "O", 1) for k in range(1, 17)]
    for seed in range(5):
        training, test = split(structures, 0.25, seed)
        assert len(training) + len(test) == 40
        assert 8 <= len(test) <= 10
        cores = [{MurckoScaffoldSmiles(s.smiles) or s.smiles for s in part} for part in (training, test)]
        assert not cores[0] & cores[1]
    assert split(structures, 0.25, 0) == split(structures, 0.25, 0)
    assert split(structures, 0.25, 0) != split(structures, 0.25, 1)


def test_a_split_that_cannot_be_is_refused_with_the_way_out() -> None:
    toluenes = [Structure("a", "Cc1ccccc1", 1), Structure("b", "CCc1ccccc1", 1)]
    with pytest.raises(ConfigurationError, match=r"all 2 have the scaffold c1ccccc1\. Give test molecules with --test"):
        split(toluenes, 0.2, 0)
    training, test = split([*toluenes, Structure("c", "CCO", 1)], 0.9, 0)
    assert {len(training), len(test)} == {1, 2}


def test_a_molecule_that_the_oracle_does_not_take_is_left_out(tmp_path: Path) -> None:
    left_out, lines = build(
        "CCO", "CCN", "C[NH]", "c1ccccc1", output=tmp_path / "made", oracle="gfn2-xtb", dry_run=True
    )
    assert left_out == 0
    left_out, lines = build("CCO", "CCN", "C[Si]", "c1ccccc1", output=tmp_path / "made", dry_run=True)
    assert left_out == 1
    assert any(line.startswith("left out: ") for line in lines)


def test_a_first_walk_leaves_the_oracle_little_to_do(tmp_path: Path) -> None:
    inputs = ("CCO", "CC(=O)N", "c1ccccc1O")
    steps = {}
    for first in ("none", "gfn2-xtb"):
        build(*inputs, output=tmp_path / first, oracle="gfn1-xtb", first_walk=first, conformers=1)
        steps[first] = len(read_initial(tmp_path / first / "walks.db", "GFN1-xTB"))
        assert read_description(tmp_path / first).built_with["first_walk"] == first
    assert steps["gfn2-xtb"] < steps["none"]
    assert check(tmp_path / "gfn2-xtb") == []
    assert "First a walk on `gfn2-xtb`" in (tmp_path / "gfn2-xtb" / "README.md").read_text(encoding="utf-8")


def test_a_dear_oracle_gets_a_first_walk_and_its_cost_is_told(tmp_path: Path) -> None:
    _, lines = build("CCO", "CC(=O)N", output=tmp_path / "made", oracle="psi4", dry_run=True)
    assert any("about 10 reference (1 walks of some 10 steps: a first walk on aimnet2, then psi4)" in s for s in lines)
    assert any(line.startswith("psi4: about ") and " s a call, " in line for line in lines)
    with pytest.raises(ConfigurationError, match="no such model or oracle is installed"):
        build("CCO", "CC", output=tmp_path / "made", oracle="psi4", first_walk="aimnet3", dry_run=True)
    with pytest.raises(ConfigurationError, match="cheaper than the oracle"):
        build("CCO", "CC", output=tmp_path / "made", first_walk="mmff94", dry_run=True)


def test_the_plan_on_disk_is_what_is_labelled(ten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    finish = own._finish

    def keep(*arguments):
        plans.append(json.loads((tmp_path / ".made.build" / "plan.json").read_text()))
        return finish(*arguments)

    monkeypatch.setattr(own, "_finish", keep)
    build(ten, output=tmp_path / "made")
    planned = [m for conformers in plans[0]["training"] for m in conformers]
    data = FolderReader(tmp_path / "made").read()
    assert [m["id"] for m in planned] == [row.molecule.id for row in data.initial]
    for molecule, row in zip(planned, data.initial, strict=True):
        assert np.array_equal(molecule["positions_angstrom"], row.molecule.positions)


# --- The command line ------------------------------------------------------------------------------------------------


def golfbench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "golfbench", "datasets", *words], capture_output=True, text=True)


def test_the_command_builds_and_the_check_prints_all_that_it_found(ten: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    done = golfbench("build", ten, "--oracle", "mmff94", "--output", str(made), "--conformers", "1")
    assert done.returncode == 1, done.stderr
    assert "left out: " in done.stderr
    assert f"next: golfbench run --dataset folder:path={made} --oracle mmff94" in done.stderr
    again = golfbench("build", ten, "--oracle", "mmff94", "--output", str(made), "--conformers", "1")
    assert again.returncode == 4
    checked = golfbench("check", f"folder:path={made}", "--json")
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert (found["initial"], found["test"], found["problems"]) == (6, 2, [])
    assert found["minima"]["proven"] == 2
    assert found["recomputed"] == {
        "oracle": "mmff94",
        "labels": 3,
        "energy_difference_hartree": 0.0,
        "force_difference_hartree_per_angstrom": 0.0,
    }
    write_initial(made / "initial.db", "MMFF94", [gradient(row) for row in read_initial(made / "initial.db", "MMFF94")])
    text = (made / "dataset.yaml").read_text()
    (made / "dataset.yaml").write_text(re.sub("content_sha256: .*", "content_sha256: ''", text))
    spoiled = golfbench("check", f"folder:path={made}")
    assert spoiled.returncode == 1
    assert "the forces are gradients in Hartree/Å" in spoiled.stderr
    assert "element\tinitial atoms" in spoiled.stdout


def gradient(row: LabelledMolecule) -> LabelledMolecule:
    return replace(row, label=replace(row.label, forces=-row.label.forces))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("druglike-mny",), "unknown dataset 'druglike-mny': did you mean 'druglike-mini'"),
        (("druglike-mini", "--seed", "1"), "is built by its own recipe, which has no place for --seed"),
        (("druglike-mini", "CCO"), "is built by its own recipe, which has no place for CCO"),
        (("nothere.sdf",), "nothere.sdf does not exist"),
        (("xyzzy",), "no molecule is left: xyzzy: 'xyzzy' is neither a file that exists nor a valid SMILES"),
        (("CCO", "CC", "--oracle", "xtbb"), "unknown oracle 'xtbb'"),
        (("CCO", "CC", "--executor", "lokal"), "unknown executor 'lokal'"),
    ],
)
def test_what_cannot_be_built_gets_one_line_and_leaves_nothing(words, message: str, tmp_path: Path) -> None:
    done = golfbench("build", *words, "--output", str(tmp_path / "made"))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
