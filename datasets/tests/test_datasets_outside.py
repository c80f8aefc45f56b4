"""Outside tests: repositories of others, made here in their layout with molecules of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from golfbench.benchmark.recomputing import recompute
from golfbench.chemistry import bond_graph_changed, embed, stereo_contradictions
from golfbench.errors import ConfigurationError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec
from golfbench_datasets.atom_order import in_order

PEPTIDES = {"GA01": "C[C@H](NC(=O)CN)C(=O)O", "RING": "O=C1COCC(=O)NCCOCCN1"}
DRUGS = {"csd_ONE": "CCc1ccc(O)cc1", "csd_TWO": "C[NH+](C)CC(=O)[O-]", "pdb_3": "F/C=C/CN(=O)=O"}


def shuffled(molecule, seed: int) -> Atoms:
    order = np.random.default_rng(seed).permutation(len(molecule))
    return Atoms(numbers=molecule.numbers[order], positions=molecule.positions[order])


def opened(text: str):
    return registry().component(DatasetSpec, text).create()


@pytest.fixture
def mpconf(tmp_path: Path) -> Path:
    lines = ["rotatable_bonds\tSMILES\tmolecule_id"]
    for seed, (name, smiles) in enumerate(PEPTIDES.items()):
        conformers = embed(smiles, name, 6, seed=3)
        (tmp_path / "data").mkdir(exist_ok=True)
        write(tmp_path / "data" / f"{name}.xyz", shuffled(conformers[0], seed), format="xyz", comment=f"{name}.xyz")
        folder = tmp_path / "molecules" / name
        folder.mkdir(parents=True)
        text = ""
        for k, conformer in enumerate(conformers):
            atoms = shuffled(conformer, seed)
            text += f"  {len(atoms)}\n        {-30.0 + k:.8f}\n"
            text += "".join(
                f" {s} {x:.10f} {y:.10f} {z:.10f}\n"
                for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
            )
        (folder / "crest_conformers.xyz").write_text(text)
        lines.append(f"{seed}\t{smiles}\t{name}")
    (tmp_path / "SMILES.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("smiles", [*PEPTIDES.values(), *DRUGS.values(), "C[C@H]1C[C@@H](O)C[C@@H](C)N1", "CC"])
def test_atoms_in_any_order_are_found_again(smiles):
    made = embed(smiles, "x", 1, seed=11)[0]
    for seed in range(3):
        atoms = shuffled(made, seed)
        molecule, order = in_order("x", smiles, np.asarray(atoms.numbers, dtype=np.int64), atoms.positions)
        assert molecule.smiles == smiles
        assert np.array_equal(molecule.numbers, made.numbers)
        assert np.array_equal(atoms.positions[order], molecule.positions)
        assert not bond_graph_changed(molecule, molecule.positions)
        assert not stereo_contradictions(molecule)


def test_another_stereoisomer_gets_the_smiles_of_its_geometry():
    made = embed("C[C@H](N)C(=O)O", "x", 1, seed=1)[0]
    atoms = shuffled(made, 2)
    molecule, _ = in_order("x", "C[C@@H](N)C(=O)O", np.asarray(atoms.numbers, dtype=np.int64), atoms.positions)
    assert molecule.smiles == "C[C@H](N)C(=O)O"
    assert not stereo_contradictions(molecule)
    assert not bond_graph_changed(molecule, molecule.positions)


def test_mpconf_from_what_crest_began_with(mpconf):
    dataset = opened(f"mpconf196gen:path={mpconf},train=druglike-mini").read()
    assert (dataset.method, len(dataset.initial)) == ("GFN2-xTB", 240)
    assert [item.molecule.id for item in dataset.test] == ["GA01/0", "RING/0"]
    assert [item.molecule.smiles for item in dataset.test] == list(PEPTIDES.values())
    assert all(item.minimum is None and item.start is None for item in dataset.test)
    expected = embed(PEPTIDES["GA01"], "x", 1, seed=3)[0]
    heavy = expected.numbers > 1
    assert np.allclose(dataset.test[0].molecule.positions[heavy], expected.positions[heavy], atol=1e-5)


def test_mpconf_from_the_minima_of_crest(mpconf):
    dataset = opened(f"mpconf196gen:path={mpconf},starts=crest,conformers=3,train=druglike-mini").read()
    assert [item.molecule.id for item in dataset.test] == [f"{n}/{k}" for n in PEPTIDES for k in (0, 2, 5)]
    assert [item.minimum.energy for item in dataset.test[:3]] == [-30.0, -28.0, -25.0]
    again = opened(f"mpconf196gen:path={mpconf},starts=crest,conformers=6,train=druglike-mini").read().test
    for item in dataset.test:
        away = item.minimum_positions - item.molecule.positions
        assert 0.03 < away.std() < 0.07
        assert not bond_graph_changed(item.molecule, item.molecule.positions)
        assert np.isnan(item.minimum.forces).all()
        (same,) = [other for other in again if other.molecule.id == item.molecule.id]
        assert np.array_equal(same.molecule.positions, item.molecule.positions)


def test_what_crest_says_is_proven_by_the_oracle(mpconf):
    pytest.importorskip("xtb")
    dataset = opened(f"mpconf196gen:path={mpconf},starts=crest,conformers=1,train=druglike-mini").read()
    problems = recompute(replace(dataset, initial=dataset.initial[:2]), 9).problems
    told = [line for line in problems if line.startswith("GA01")]
    assert any("is no minimum: gfn2-xtb's force there is" in line for line in told)
    assert any("the recomputed label differs by" in line for line in told)  # the file says -30 Hartree


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: (p / "SMILES.txt").unlink(), r"SMILES\.txt cannot be read: No such file"),
        (lambda p: (p / "SMILES.txt").write_text("CCO\n"), "has no table of rotatable_bonds, SMILES"),
        (lambda p: (p / "data" / "GA01.xyz").write_text("2\n\nC 0 0\n"), r"GA01\.xyz is not a readable XYZ file"),
        (lambda p: (p / "data" / "GA01.xyz").unlink(), r"GA01\.xyz .*not a readable XYZ file"),
    ],
)
def test_a_checkout_that_is_none(mpconf, damage, reason):
    damage(mpconf)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        opened(f"mpconf196gen:path={mpconf}").read()
    assert "\n" not in str(caught.value)


def test_an_ensemble_without_energies(mpconf):
    file = mpconf / "molecules" / "GA01" / "crest_conformers.xyz"
    file.write_text(file.read_text().replace("-29.00000000", "lowest", 1))
    with pytest.raises(ConfigurationError, match=r"crest_conformers\.xyz, line 24: no energy stands there"):
        opened(f"mpconf196gen:path={mpconf},starts=crest").read()


@pytest.fixture
def drugs(tmp_path: Path) -> Path:
    (tmp_path / "SMILES").mkdir()
    lines = [f"{smiles}{' ' if k else chr(9)}{name}" for k, (name, smiles) in enumerate(DRUGS.items())]
    (tmp_path / "SMILES" / "molecules.smi").write_text("\n".join([*lines, ""]))
    for name, smiles in DRUGS.items():
        folder = tmp_path / "geometries" / ("CHG_jobs" if "+" in smiles else "jobs") / name
        folder.mkdir(parents=True)
        for number, conformer in zip((12, 3, 101), embed(smiles, name, 3, seed=4), strict=False):
            write(folder / f"rmsd{number}-opt.xyz", shuffled(conformer, number), format="xyz", comment="rmsd.gzmat")
    return tmp_path


def test_the_conformer_benchmark_gives_starts(drugs):
    dataset = opened(f"conformer-benchmark:path={drugs},conformers=2,train=druglike-mini").read()
    names = [item.molecule.id for item in dataset.test]
    assert names == ["csd_TWO/3", "csd_TWO/12", "csd_ONE/3", "csd_ONE/12", "pdb_3/3", "pdb_3/12"]
    assert all(item.minimum is None for item in dataset.test)
    assert {item.molecule.charge for item in dataset.test} == {0}


def test_the_check_says_that_its_geometries_are_no_minima(drugs):
    (line,) = opened(f"conformer-benchmark:path={drugs},train=druglike-mini").check()
    assert "its geometries are no minima" in line


def test_another_molecule_than_its_smiles_is_left_out_and_named(drugs, caplog):
    folder = drugs / "geometries" / "jobs" / "csd_ONE"
    other = embed("CCc1ccc(N)cc1", "x", 1, seed=1)[0]
    write(folder / "rmsd3-opt.xyz", shuffled(other, 1), format="xyz")
    (drugs / "geometries" / "jobs" / "csd_NEW").mkdir()
    dataset = opened(f"conformer-benchmark:path={drugs},train=druglike-mini").read()
    assert [item.molecule.id for item in dataset.test] == ["csd_TWO/3", "pdb_3/3"]
    assert "conformer-benchmark: 2 left out" in caplog.text
    problems = opened(f"conformer-benchmark:path={drugs},train=druglike-mini").check()
    assert "csd_NEW: SMILES/molecules.smi has no SMILES of it" in problems
    assert "csd_ONE/3: the geometry is not the molecule of its SMILES 'CCc1ccc(O)cc1'" in problems


@pytest.mark.parametrize("name", ["mpconf196gen", "conformer-benchmark"])
def test_a_folder_must_be_given_and_hold_something(name, tmp_path):
    with pytest.raises(ConfigurationError, match=r"Write .*:path=DIRECTORY"):
        opened(name)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        opened(f"{name}:path=nowhere")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        opened(f"{name}:path={tmp_path}").read()
