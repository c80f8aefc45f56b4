"""Libraries: streamed, resumed, shared among workers, ranked; and records of other kinds of file."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from golfbench.errors import ConfigurationError
from golfbench.molecule_files import library
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.input_molecules import InputMolecule, Notes, Reading, Unusable
from golfbench.molecule_files.library import Job, minimize_library
from golfbench.molecule_files.output import open_output
from golfbench.molecule_files.ranking import Ranking, rank
from golfbench.molecule_files.reading import Inputs, read_molecules
from golfbench.stopping import StoppingRule

SMILES = ["CO", "CCO", "CN", "C=O", "CC=O", "CF", "CS", "OCO", "C#N", "CC"]


def embedded(smiles: str, seed: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=seed)
    return mol


def sdf(mols: list[tuple[str, Chem.Mol]]) -> str:
    text = ""
    for number, (title, mol) in enumerate(mols):
        mol.SetProp("_Name", title)
        text += f"{Chem.MolToMolBlock(mol)}>  <number>\n{number}\n\n$$$$\n"
    return text


def job(**settings) -> Job:
    return Job(settings.pop("model", "mmff94"), None, "mmff94", "lbfgs-internal", StoppingRule(0.02, 300), **settings)


def run(
    inputs: list[str],
    path: Path,
    stop_after: int | None = None,
    ranking: Ranking | None = None,
    given: Reading | None = None,
    **settings,
):
    """Minimize like the verb; with ``stop_after`` leave as a process that is killed does. Return the rows."""
    ranking = ranking or Ranking()
    workers, reading = settings.pop("workers", 1), given or Reading()
    what = job(reading=reading, suffix=path.suffix, **settings)
    with open_driver("mmff94", None, "mmff94") as driver:
        molecules = Inputs(inputs, reading)
        with open_output(path, False, what.command(molecules, driver)) as kept:
            for count, _ in enumerate(minimize_library(molecules, what, driver, kept, Notes(), workers), start=1):
                if count == stop_after:
                    return kept.resumed
            rank(kept, ranking)
            kept.finish(ranking.sort)
            return list(kept.rows(ranking.sort))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "in.sdf"
    path.write_text(sdf([(f"m{k % 7}", embedded(smiles)) for k, smiles in enumerate(SMILES)]))
    return str(path)


def test_what_was_done_before_a_stop_is_not_done_again_and_nothing_is_lost(file, tmp_path, monkeypatch):
    monkeypatch.setattr(Job, "size", lambda self: 3)
    whole, parts = tmp_path / "whole.sdf", tmp_path / "parts.sdf"
    rows = run([file], whole)
    assert run([file], parts, stop_after=4) == 0
    with (tmp_path / "parts.partial.sdf").open("a") as torn:
        torn.write("half a record")
    assert run([file], parts, stop_after=2) == 4
    again = run([file], parts)
    assert parts.read_bytes() == whole.read_bytes()
    assert [row.id for row in again] == [row.id for row in rows] == [f"m{k % 7}" for k in range(10)]
    assert [row.record for row in again] == list(range(1, 11))
    assert sorted(os.listdir(tmp_path)) == ["in.sdf", "parts.sdf", "whole.sdf"]


def test_workers_change_nothing(file, tmp_path):
    one, two = tmp_path / "one.sdf", tmp_path / "two.sdf"
    run([file], one)
    run([file], two, workers=2)
    assert two.read_bytes() == one.read_bytes()


def test_a_process_that_is_killed_is_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.sdf").write_text(sdf([(f"n{k}", embedded("CCCCCO", k + 1)) for k in range(30)]))
    command = [sys.executable, "-c", "from golfbench.cli.main import main; main()", "minimize", "in.sdf"]
    command += ["--model", "mmff94", "--force-max", "0.002", "--output", "out.sdf"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    partial = Path("out.partial.sdf")
    while process.poll() is None and not (partial.exists() and partial.read_text().count("$$$$") >= 3):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.exists(), "it was done before it could be killed"
    again = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True)
    assert again.returncode == 0
    assert "molecules are done already; going on" in again.stderr
    ends = list(Chem.SDMolSupplier("out.sdf", removeHs=False))
    assert [(mol.GetProp("_Name"), mol.GetProp("number")) for mol in ends] == [(f"n{k}", str(k)) for k in range(30)]
    assert sorted(os.listdir()) == ["in.sdf", "out.sdf"]


def test_another_command_does_not_go_on(file, tmp_path):
    path = tmp_path / "a.sdf"
    run([file], path, stop_after=2)
    with pytest.raises(ConfigurationError, match="its charge was None"):
        run([file], path, given=Reading(charge=0))
    Path(file).write_text(Path(file).read_text().replace("m3", "other"))
    with pytest.raises(ConfigurationError, match=r"is of another command \(another input"):
        run([file], path)
    with pytest.raises(ConfigurationError, match="is written by another process now"), open_output(path, True):
        run([file], path)


def test_conformers_of_one_molecule_get_ids_of_their_own_and_are_compared(tmp_path):
    path = tmp_path / "in.sdf"
    butane = embedded("CCCC", 3)
    other = Chem.Mol(butane)
    Chem.rdMolTransforms.SetDihedralDeg(butane.GetConformer(), 0, 1, 2, 3, 180.0)
    Chem.rdMolTransforms.SetDihedralDeg(other.GetConformer(), 0, 1, 2, 3, 65.0)
    mols = [("b", other), ("x", embedded("CO")), ("b", butane), ("b", Chem.Mol(butane))]
    path.write_text(sdf(mols))
    rows = run([str(path)], tmp_path / "a.sdf")
    assert [row.unique_id for row in rows] == ["b/0", "x", "b/1", "b/2"]
    gauche, methanol, anti, twin = (row.energy_relative_kcal_mol for row in rows)
    assert methanol == 0
    assert min(anti, twin) == 0
    assert gauche == pytest.approx(0.78, abs=0.05)  # MMFF94 of butane (Halgren 1996)
    ranked = run([str(path)], tmp_path / "b.sdf", ranking=Ranking(sort=True, deduplicate=True))
    assert [row.left_out is None for row in ranked].count(False) == 1
    written = list(Chem.SDMolSupplier(str(tmp_path / "b.sdf"), removeHs=False))
    assert [mol.GetProp("_Name") for mol in written] == ["b", "b", "x"]
    assert written[0].GetDoubleProp("golfbench_energy_relative_kcal_mol") == 0
    assert written[1].GetProp("golfbench_id") == "b/0"
    run([str(path)], tmp_path / "c.sdf", ranking=Ranking(window=0.5, deduplicate=True))
    assert len(list(Chem.SDMolSupplier(str(tmp_path / "c.sdf")))) == 2


ACETATE = """\
# made by hand
@<TRIPOS>MOLECULE
{title}
 7 6 1
SMALL
{kind}

@<TRIPOS>ATOM
1 C1 0.0000 0.0000 0.0000 C.3 1 ACE {c0}
2 C2 1.5200 0.0000 0.0000 C.2 1 ACE 0.7
3 O1 2.1300 1.1000 0.0000 O.co2 1 ACE -0.85
4 O2 2.1300 -1.1000 0.0000 O.co2 1 ACE -0.85
5 H1 -0.3600 1.0300 0.0000 H 1 ACE 0.1
6 H2 -0.3600 -0.5150 0.8900 H 1 ACE 0.1
7 H3 -0.3600 -0.5150 -0.8900 H 1 ACE 0.1
@<TRIPOS>BOND
1 1 2 1
2 2 3 ar
3 2 4 ar
4 1 5 1
5 1 6 1
6 1 7 1
"""


def read(tmp_path: Path, name: str, data: str, reading: Reading | None = None) -> list[InputMolecule | Unusable]:
    path = tmp_path / name
    path.write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return read_molecules([str(path)], reading or Reading())


@pytest.mark.parametrize("name", ["a.mol2", "a.ml2", "a.mol2.gz"])
def test_mol2_has_its_bonds_charge_and_titles(name, tmp_path):
    text = ACETATE.format(title="acetate", kind="GASTEIGER", c0="-0.3")
    bare = ACETATE.format(title="****", kind="NO_CHARGES", c0="0")
    first, second = read(tmp_path, name, text + bare)
    assert isinstance(first, InputMolecule)
    assert isinstance(second, InputMolecule)
    assert (first.molecule.id, second.molecule.id) == ("acetate", f"{name}:2")
    assert {given.molecule.smiles for given in (first, second)} == {"CC(=O)[O-]"}
    assert (first.molecule.charge, first.molecule.multiplicity) == (-1, 1)
    assert [atom.GetSymbol() for atom in first.mol.GetAtoms()] == list("CCOOHHH")


def test_mol2_whose_charges_contradict_its_bonds_or_that_is_damaged_is_refused(tmp_path):
    wrong = ACETATE.format(title="wrong", kind="USER_CHARGES", c0="0.7")
    good = ACETATE.format(title="good", kind="USER_CHARGES", c0="-0.3")
    no_hydrogens = good.replace(" 7 6 1", " 4 3 1").replace("good", "bare")
    no_hydrogens = "\n".join(line for line in no_hydrogens.split("\n") if " H" not in line or "@" in line)
    no_hydrogens = no_hydrogens.split("4 1 5 1")[0]
    found = read(tmp_path, "a.mol2", wrong + good + no_hydrogens + good.split("@<TRIPOS>BOND")[0])
    assert [isinstance(given, InputMolecule) for given in found] == [False, True, False, False]
    assert "partial charges add up to +0" in str(found[0].error)
    assert "3 hydrogens are missing" in str(found[2].error)


@pytest.mark.parametrize("smiles", ["CC(=O)Nc1ccc(O)cc1", "[NH3+]CC(=O)[O-]", "C#Cc1ccncc1", "C[C@H](F)Cl"])
@pytest.mark.parametrize("flavor", [0, 8])  # with double CONECT records, and without
def test_pdb_ligands_get_the_bonds_that_they_were_written_with(smiles, flavor, tmp_path):
    (given,) = read(tmp_path, "a.pdb", Chem.MolToPDBBlock(embedded(smiles), flavor=flavor))
    assert isinstance(given, InputMolecule)
    assert given.molecule.smiles == Chem.CanonSmiles(smiles)


def test_pdb_without_a_way_to_know_the_bonds_says_so(tmp_path):
    ammonium = "".join(
        line + "\n"
        for line in Chem.MolToPDBBlock(embedded("C[NH3+]")).replace("1+", "  ").splitlines()
        if not line.startswith("CONECT")
    )
    (given,) = read(tmp_path, "a.pdb", ammonium)
    assert isinstance(given, Unusable)
    assert "no bonds fit its distances at charge +0; another charge is said with --charge" in str(given.error)
    (given,) = read(tmp_path, "a.pdb", ammonium, Reading(charge=1))
    assert isinstance(given, InputMolecule)
    assert given.molecule.smiles == "C[NH3+]"
    heavy = Chem.MolToPDBBlock(Chem.RemoveHs(embedded("CC(=O)Nc1ccc(O)cc1")), flavor=8)
    (given,) = read(tmp_path, "a.pdb", heavy)
    assert "hydrogens are missing at atom 1" in str(given.error)
    water = heavy.replace("END", "HETATM   99  O   HOH     2       9.000   9.000   9.000  1.00  0.00           O\nEND")
    (given,) = read(tmp_path, "a.pdb", water)
    assert "give the ligand alone" in str(given.error)


def test_a_file_is_never_in_memory_as_a_whole(tmp_path):
    """Records come out while most of the file is still unread."""
    path = tmp_path / "a.sdf"
    path.write_text(sdf([("m", embedded("CO"))]) * 3000)
    inputs = Inputs([str(path)], Reading())
    pending = inputs.pending()
    next(pending)
    assert inputs.share() < 0.05
    assert sum(1 for _ in pending) == 2999
    assert (inputs.share(), inputs.read) == (1.0, 3000)


def test_parts_do_not_wait_for_the_whole_library(file, tmp_path, monkeypatch):
    monkeypatch.setattr(Job, "size", lambda self: 2)
    reading = Reading()
    what, inputs = job(reading=reading, suffix=".sdf"), Inputs([file], reading)
    with open_driver("mmff94", None, "mmff94") as driver, open_output(tmp_path / "a.sdf", False) as kept:
        walk = minimize_library(inputs, what, driver, kept, Notes())
        next(walk)
        assert inputs.read == 2
        assert len(kept) == 1
        walk.close()


def test_the_sizes_of_parts_do_not_lose_conformers(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "_BATCHES", 1)
    rows = run(["CCCO", "C1CC", "CCO"], tmp_path / "a.sdf", given=Reading(conformers=4))
    assert [row.status for row in rows] == ["converged"] * 4 + ["skipped"] + ["converged"] * 4
    assert [row.record for row in rows] == [1, 2, 3, 4, 5, 9, 10, 11, 12]
    assert np.isclose([min(r.energy_relative_kcal_mol for r in rows[:4])], 0)
