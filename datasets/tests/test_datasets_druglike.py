"""The data that ship: counts, formulas, separation of train and test, minima, and labels recomputed by the oracle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from filelock import FileLock
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from golfbench.benchmark.recomputing import recompute
from golfbench.chemistry import embed, flat_smiles, rdkit_mol, scaffold
from golfbench.contracts import Dataset, LabelledMolecule
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.ledger import Ledger, OracleCall, read_calls
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL
from golfbench_datasets import build as build_module
from golfbench_datasets import druglike
from golfbench_datasets.check import check
from golfbench_datasets.druglike import Compound, read_drugs, settle_stereo
from golfbench_datasets.files import (
    Description,
    content_hash,
    molecule_name,
    read_initial,
    write_description,
    write_initial,
    write_test,
)
from golfbench_datasets.loading import data_folder
from golfbench_datasets.reader import FolderReader
from golfbench_datasets.relaxing import open_relaxer

NAMES = ("druglike-mini", "druglike-xtb", "druglike-dft")
COUNTS = {
    "druglike-mini": (30, 240, 12, 20, 30),
    "druglike-xtb": (110, 880, 42, 18, 60),
    "druglike-dft": (24, 72, 18, 12, 22),
}
DRUGS = data_folder("druglike-xtb") / "drugs.csv"
DRUGS_OF = {"druglike-mini": DRUGS, "druglike-xtb": DRUGS, "druglike-dft": data_folder("druglike-dft") / "drugs.csv"}


@cache
def dataset(name: str) -> Dataset:
    return FolderReader(data_folder(name)).read()


def molecules(data: Dataset) -> list:
    return [row.molecule for row in data.initial] + [item.molecule for item in data.test]


@pytest.mark.parametrize("name", NAMES)
def test_counts_elements_and_sizes(name: str) -> None:
    data = dataset(name)
    sizes = [len(m) for m in molecules(data)]
    trained = {molecule_name(row.molecule) for row in data.initial}
    assert (len(trained), len(data.initial), len(data.test), min(sizes), max(sizes)) == COUNTS[name]
    assert {z for m in molecules(data) for z in m.numbers.tolist()} == {1, 6, 7, 8, 9, 16, 17, 35}


@pytest.mark.parametrize("name", NAMES)
def test_every_drug_has_its_known_formula(name: str) -> None:
    with DRUGS_OF[name].open(encoding="utf-8") as lines:
        known = {row["name"]: row["formula"] for row in csv.DictReader(lines)}
    for item in dataset(name).test:
        mol = Chem.AddHs(Chem.MolFromSmiles(item.molecule.smiles))
        assert CalcMolFormula(mol) == known[molecule_name(item.molecule)]
        assert [a.GetAtomicNum() for a in mol.GetAtoms()] == item.molecule.numbers.tolist()


@pytest.mark.parametrize("name", NAMES[1:])
def test_no_scaffold_is_shared_between_train_and_test(name: str) -> None:
    def cores(smiles: set[str]) -> set[str]:
        flat = {Chem.MolToSmiles(Chem.MolFromSmiles(s), isomericSmiles=False) for s in smiles}
        return {MurckoScaffoldSmiles(s) or s for s in flat}

    data = dataset(name)
    trained = cores({row.molecule.smiles for row in data.initial})
    tested = cores({item.molecule.smiles for item in data.test})
    assert len(trained) >= COUNTS[name][0] - 4
    assert not trained & tested


@pytest.mark.parametrize("name", NAMES)
def test_minima_are_minima(name: str) -> None:
    for item in dataset(name).test:
        assert np.linalg.norm(item.minimum.forces, axis=1).max() * HARTREE_TO_EV < 0.01
        assert item.minimum.energy < item.start.energy
        assert not np.array_equal(item.minimum_positions, item.molecule.positions)


def test_mini_is_cut_from_the_large_one() -> None:
    large, small = dataset("druglike-xtb"), dataset("druglike-mini")
    labels = {row.molecule.id: row for row in large.initial}
    for row in small.initial:
        other = labels[row.molecule.id]
        assert other.molecule.geometry_hash() == row.molecule.geometry_hash()
        assert other.label.energy == row.label.energy
        assert np.array_equal(other.label.forces, row.label.forces)
    minima = {item.molecule.id: item for item in large.test}
    for item in small.test:
        assert np.array_equal(minima[item.molecule.id].minimum_positions, item.minimum_positions)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_and_the_oracle_gives_the_same_labels(name: str) -> None:
    """Of density functional theory the smallest drug alone: of labels spread evenly one takes minutes."""
    if name != "druglike-dft":
        assert check(data_folder(name), recompute=3) == []
        return
    assert check(data_folder(name)) == []
    data = dataset(name)
    again = recompute(replace(data, initial=(), test=(min(data.test, key=lambda item: len(item.molecule)),)), 2)
    assert again.problems == ()
    assert again.labels == 2  # of its start and of its minimum


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_the_command_and_the_hash(name: str) -> None:
    card = (data_folder(name) / "README.md").read_text(encoding="utf-8")
    assert f"golfbench datasets build {name}" in card
    assert dataset(name).content_hash in card


def copy(name: str, folder: Path, initial: list, test: list) -> Path:
    """Write a dataset of some rows of another, with a hash that fits."""
    folder.mkdir()
    method = "GFN2-xTB"
    write_initial(folder / "initial.db", method, initial)
    write_test(folder / "test.db", method, test, {molecule_name(t.molecule): "CH4" for t in test})
    sha256 = content_hash(method, initial, test)
    write_description(folder, Description(name=name, method=method, oracle="gfn2-xtb", content_sha256=sha256))
    return folder


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    data = dataset("druglike-mini")
    item = data.test[0]
    leak = type(data.initial[0])(item.molecule, item.start)
    folder = copy("wrong", tmp_path / "wrong", [*data.initial[:2], leak, data.initial[0]], [item])
    problems = "\n".join(check(folder))
    assert "aspirin/0: its formula is CH4, its atoms are C9H8O4" in problems
    assert "aspirin/0: is in the initial set as well" in problems
    assert "aspirin/0: this id occurs 2 times" in problems
    assert f"{data.initial[0].molecule.id}: this id occurs 2 times" in problems


def test_a_start_passed_off_as_minimum_is_found(tmp_path: Path) -> None:
    data = dataset("druglike-mini")
    item = data.test[0]
    false = type(item)(item.molecule, item.start, item.molecule.positions, item.start)
    problems = "\n".join(check(copy("false", tmp_path / "false", list(data.initial[:1]), [false])))
    assert "the minimum's force is" in problems
    assert "the minimum's energy is not below the start's" in problems


def test_a_label_of_another_geometry_is_found(tmp_path: Path) -> None:
    data = dataset("druglike-mini")
    first, second = data.initial[:2]
    swapped = type(first)(first.molecule, second.label)
    folder = copy("swapped", tmp_path / "swapped", [swapped], list(data.test[1:2]))
    problems = check(folder, recompute=3)
    assert any(p.startswith(f"{first.molecule.id}: the recomputed label differs by") for p in problems)
    verb = [sys.executable, "-m", "golfbench", "datasets", "check", f"folder:path={folder}", "--recompute", "3"]
    done = subprocess.run(verb, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{first.molecule.id}: the recomputed label differs by" in done.stdout + done.stderr


def test_rows_survive_the_file_bit_by_bit(tmp_path: Path) -> None:
    rows = list(dataset("druglike-mini").initial[:3])
    write_initial(tmp_path / "initial.db", "GFN2-xTB", rows)
    assert content_hash("GFN2-xTB", read_initial(tmp_path / "initial.db", "GFN2-xTB"), []) == content_hash(
        "GFN2-xTB", rows, []
    )
    assert not list(tmp_path.glob("*.part"))
    row = connect(str(tmp_path / "initial.db"), use_lock_file=False).get(1)
    assert row.toatoms().positions.tolist() == rows[0].molecule.positions.tolist()
    assert row.smiles == rows[0].molecule.smiles


def test_a_wrong_formula_in_the_list_of_drugs_stops_the_build(tmp_path: Path) -> None:
    path = tmp_path / "drugs.csv"
    path.write_text("name,smiles,formula\naspirin,CC(=O)Oc1ccccc1C(=O)O,C9H8O3\n")
    with pytest.raises(ConfigurationError, match="aspirin is C9H8O3, not C9H8O4"):
        read_drugs(path)
    path.write_text("name,smiles,formula\nmethane,C,CH4\n")
    with pytest.raises(ConfigurationError, match="methane does not belong"):
        read_drugs(path)


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="druglike-xtb-10k, druglike-dft can be built"):
        build_module.build("druglike-maxi", tmp_path / "maxi")


def test_a_racemate_becomes_one_stereoisomer() -> None:
    drawn = Compound("ibuprofen", "CC(C)Cc1ccc(C(C)C(=O)O)cc1")
    settled = settle_stereo(drawn)
    assert "@" in settled.smiles
    for molecule in settled.conformers(4):
        mol = Chem.AddHs(Chem.MolFromSmiles(settled.smiles))
        conformer = Chem.Conformer(len(molecule))
        conformer.SetPositions(molecule.positions)
        mol.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(mol)
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == settled.smiles


def test_the_plan_is_diverse_separate_and_nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = druglike.SCREENING_FILE.read_text(encoding="utf-8").splitlines()[:120]
    few = tmp_path / "few.csv"
    few.write_text("\n".join([*lines, '"O=C(C)Oc1ccccc1C(O)=O","ASPIRIN-AGAIN"']), encoding="utf-8")
    monkeypatch.setattr(druglike, "SCREENING_FILE", few)
    monkeypatch.setattr(druglike, "TRAIN_SMALL", 3)
    monkeypatch.setattr(druglike, "TRAIN_LARGE", 4)
    large, small = (druglike.make_plan(name, DRUGS) for name in ("druglike-xtb", "druglike-mini"))
    assert large.training[:3] == small.training
    assert large.test[:12] == small.test
    assert len({c.name for c in large.training}) == 7
    assert max(c.atoms for c in small.training) <= 30
    assert not {scaffold(c.smiles) for c in large.training} & ({scaffold(d.smiles) for d in large.test} - {""})
    monkeypatch.setattr(druglike, "TRAIN_10K", 12)
    largest = druglike.make_plan("druglike-xtb-10k", DRUGS)
    starts = list(largest.starts())
    names = [molecule_name(conformers[0]) for conformers in starts]
    assert names[:7] == [c.name for c in large.training]
    assert len(set(names)) == 12
    assert [len(conformers) for conformers in starts] == [3, 2] * 6
    assert largest.test == ()


def test_training_molecules_come_from_the_screening_file_as_recorded() -> None:
    with druglike.SCREENING_FILE.open(encoding="utf-8") as lines:
        source = {name.lower(): smiles for smiles, name in csv.reader(lines)}
    smiles = {molecule_name(row.molecule): row.molecule.smiles for row in dataset("druglike-xtb").initial}
    assert all(flat_smiles(source[name]) == flat_smiles(found) for name, found in smiles.items())


@pytest.fixture
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """One training molecule and one drug."""
    first = dataset("druglike-mini").initial[0].molecule
    drug = next(d for d in read_drugs(DRUGS) if d.name == "caffeine")
    plan = druglike.Plan((Compound(molecule_name(first), first.smiles),), (drug,))
    monkeypatch.setattr(build_module, "make_plan", lambda name, path: plan)


def _killed_build(folder: Path, lines: int) -> None:
    """Build in a process that kills itself when its ledger has so many lines."""
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    append = Ledger.append

    def append_and_die(self: Ledger, call: OracleCall) -> None:
        append(self, call)
        if call.call_id + 1 >= lines:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append_and_die  # type: ignore[method-assign]
    build_module.build("druglike-mini", folder)


@pytest.mark.usefixtures("small_plan")
def test_a_killed_build_goes_on_to_the_same_content_and_asks_nothing_twice(tmp_path: Path) -> None:
    whole = FolderReader(build_module.build("druglike-mini", tmp_path / "whole")).read()
    for lines in (3, 20, 40):
        _killed_build(tmp_path / "killed", lines)
    kept = list(read_calls(tmp_path / ".killed.build" / "oracle_calls.jsonl"))
    assert 38 <= len(kept) <= 40  # a line may have been overtaken by the one that was the last
    assert len({call.geometry_sha256 for call in kept if call.outcome == "ok"}) == len(kept)
    resumed = FolderReader(build_module.build("druglike-mini", tmp_path / "killed")).read()
    assert resumed.content_hash == whole.content_hash


def test_two_processes_do_not_build_one_folder(tmp_path: Path) -> None:
    (tmp_path / ".made.build").mkdir()
    with FileLock(tmp_path / ".made.build" / "lock"), pytest.raises(ConfigurationError, match="in use by another"):
        build_module.build("druglike-mini", tmp_path / "made")


@pytest.mark.usefixtures("small_plan")
def test_a_build_writes_a_sound_folder_with_the_shipped_labels(tmp_path: Path) -> None:
    shipped = dataset("druglike-mini")
    folder = build_module.build("druglike-mini", tmp_path / "made")
    made = FolderReader(folder).read()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "dataset.yaml", "initial.db", "test.db"]
    for ours, theirs in zip(made.initial, shipped.initial[:8], strict=True):
        assert ours.molecule.id == theirs.molecule.id
        assert np.allclose(ours.molecule.positions, theirs.molecule.positions, atol=1e-6)
        assert ours.label.energy == pytest.approx(theirs.label.energy, abs=1e-6)
    (ours,) = made.test
    theirs = next(t for t in shipped.test if t.molecule.id == ours.molecule.id)
    assert ours.minimum.energy == pytest.approx(theirs.minimum.energy, abs=1e-5)


def test_the_labels_of_published_runs_come_with_druglike_dft(tmp_path: Path) -> None:
    data = dataset("druglike-dft")
    found = LabelCache(tmp_path / "labels.sqlite").load(Path(data.known_labels))
    assert (found.known, found.refused) == (0, [])
    hashes = {json.loads(line)["geometry_sha256"] for line in Path(data.known_labels).read_text().splitlines()}
    assert len(hashes) == found.added > 200
    results = Path(__file__).parents[2] / "examples" / "results"
    ledgers = sorted(results.glob("dft-*/oracle_calls.jsonl"))
    assert len(ledgers) >= 6
    for ledger in ledgers:
        asked = {call.geometry_sha256 for call in read_calls(ledger) if call.oracle.name == "psi4"}
        assert asked
        assert asked <= hashes


# --- druglike-xtb-10k ----------------------------------------------------------------------------------------------

TEN_K = "druglike-xtb-10k"


def test_the_large_set_has_the_size_of_the_paper_and_the_test_part_of_druglike_xtb() -> None:
    data = dataset(TEN_K)
    conformers = Counter(molecule_name(row.molecule) for row in data.initial)
    assert (len(conformers), len(data.initial), set(conformers.values())) == (4000, 10_000, {2, 3})
    assert not (data_folder(TEN_K) / "test.db").exists()
    ours, theirs = (content_hash(data.method, [], d.test) for d in (data, dataset("druglike-xtb")))
    assert ours == theirs
    assert {z for row in data.initial for z in row.molecule.numbers.tolist()} == {1, 6, 7, 8, 9, 16, 17, 35}


def mmff94_force(molecule: Molecule) -> float:
    """Return the largest force norm by RDKit itself, kcal/mol/Å."""
    mol = rdkit_mol(molecule)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol))
    return float(np.linalg.norm(np.reshape(field.CalcGrad(), (-1, 3)), axis=1).max())


def test_the_large_set_has_starts_of_the_small_one_and_goes_on_along_relaxations() -> None:
    groups: dict[str, list[LabelledMolecule]] = {}
    for row in dataset(TEN_K).initial[:275]:
        groups.setdefault(molecule_name(row.molecule), []).append(row)
    small = {row.molecule.id: row for row in dataset("druglike-xtb").initial}
    assert len(groups) == 110
    for first in (group[0] for group in groups.values() if len(group) == 3):
        assert np.allclose(first.molecule.positions, small[first.molecule.id].molecule.positions, atol=1e-6)
        assert first.label.energy == pytest.approx(small[first.molecule.id].label.energy, abs=1e-6)
    forces = [[mmff94_force(row.molecule) for row in group] for group in groups.values()]
    arrived = [largest[-1] < 0.02 / HARTREE_TO_EV * HARTREE_TO_KCAL_MOL for largest in forces]
    assert np.mean(arrived) > 0.95  # one whose bonds MMFF94 would change stays where it was
    assert np.mean([largest[-2] > largest[-1] for largest in forces]) > 0.95


def test_conformers_are_moved_along_the_walk_of_the_force_field_the_same_way_each_time() -> None:
    groups = [embed("CC(=O)Nc1ccc(O)cc1", "paracetamol", 3, 1), embed("CCO", "ethanol", 2, 1)]
    with open_relaxer(1) as relaxer, open_relaxer(1) as again:
        moved, same = list(relaxer.spread(groups)), list(again.spread(groups))
    assert [[m.id for m in group] for group in moved] == [[m.id for m in group] for group in groups]
    np.testing.assert_array_equal(moved[0][0].positions, groups[0][0].positions)
    for before, after in zip(groups, moved, strict=True):
        first, between, end = (mmff94_force(m) for m in (before[-2], after[-2], after[-1]))
        assert first != between > end
        assert end < 0.02 / HARTREE_TO_EV * HARTREE_TO_KCAL_MOL
    for one, two in zip((m for group in moved for m in group), (m for group in same for m in group), strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)


def test_the_large_set_is_small_enough_to_ship() -> None:
    assert (data_folder(TEN_K) / "initial.db").stat().st_size < 40_000_000


def test_nothing_is_wrong_with_the_large_set_and_its_card_says_whose_test_part_it_has() -> None:
    assert check(data_folder(TEN_K), recompute=3) == []
    card = (data_folder(TEN_K) / "README.md").read_text(encoding="utf-8")
    assert dataset(TEN_K).content_hash in card
    assert "`../druglike-xtb/test.db`" in card


def test_another_folder_may_have_the_test_part_of_a_dataset_that_ships(tmp_path: Path) -> None:
    mini = dataset("druglike-mini")
    write_initial(tmp_path / "initial.db", mini.method, mini.initial[:8])
    write_description(tmp_path, Description(name="mine", method=mini.method, test_of="druglike-mini"))
    assert check(tmp_path) == []
    assert [item.molecule.id for item in FolderReader(tmp_path).read().test] == [t.molecule.id for t in mini.test]
    write_description(tmp_path, Description(name="mine", method="GFN1-xTB", test_of="druglike-mini"))
    assert "labelled by GFN2-xTB, but dataset.yaml says GFN1-xTB" in check(tmp_path)[0]
