"""The Python interface: its names and signatures, its page, what goes in and comes out, and what fails."""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength
from ase.optimize import BFGS
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

import golfbench
from golfbench.ase import GolfbenchCalculator, GolfbenchOptimizer
from golfbench.errors import ComponentMissingError, ConfigurationError, MoleculeError, NothingToDoError
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

NETWORK = Path(__file__).parents[1] / "datasets" / "druglike-mini" / "baselines" / "painn-small.safetensors"
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
#: Parameters by name, those without a default first and marked by a bar behind them.
SIGNATURES = {
    "minimize": "molecules | model checkpoint optimizer oracle budget learn force_max max_steps check_minima "
    "fix_atoms fix_heavy freeze_torsions conformers seed charge multiplicity device workers unsafe progress",
    "conformers": "molecules | count window model checkpoint first_walk oracle verify every_isomer seed temperature "
    "optimizer force_max max_steps device progress",
    "run": "config | output progress unsafe",
    "read_run": "path |",
    "Leaderboard": "| folder",
    "ase.GolfbenchCalculator": "| model checkpoint device charge multiplicity smiles",
    "ase.GolfbenchOptimizer": "atoms | optimizer logfile trajectory append_trajectory",
}
NAMES = {"Conformers", "Leaderboard", "Minimization", "Minimized", "Molecule", "Run", "RunConfig"}
NAMES |= {"conformers", "minimize", "read_run", "run"}


def embedded(smiles: str, conformers: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(mol, conformers, randomSeed=7)
    return mol


def mmff94_minimum(mol: Chem.Mol) -> float:
    """Return the energy of the minimum that RDKit itself finds, kcal/mol."""
    mol = Chem.Mol(mol)
    facts = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, facts)
    field.Initialize()
    assert field.Minimize(maxIts=5000, forceTol=1e-6) == 0
    return field.CalcEnergy()


def test_the_names_are_those_of_the_page() -> None:
    assert set(golfbench.__all__) == NAMES | {"__version__", "hookimpl"}
    assert set(dir(golfbench)) >= NAMES
    for name in (*NAMES, "ase.GolfbenchCalculator", "ase.GolfbenchOptimizer"):
        assert name in PAGE or name in ("Conformers", "Minimization", "Minimized", "Run")
    with pytest.raises(AttributeError, match="no attribute 'minimise'"):
        golfbench.minimise  # noqa: B018 - the look-up is what is tested


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_stay(name: str) -> None:
    found = golfbench.ase if name.startswith("ase.") else golfbench
    parameters = inspect.signature(getattr(found, name.removeprefix("ase."))).parameters.values()
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    others = [p.name for p in parameters if p.default is not inspect.Parameter.empty]
    assert [*needed, "|", *others] == SIGNATURES[name].split()


def test_the_package_imports_nothing_heavy() -> None:
    script = "import sys, golfbench; dir(golfbench); print({'torch', 'rdkit', 'ase', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[str(k) for k in range(len(BLOCKS))])
def test_the_code_of_the_page_runs_by_itself(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "Leaderboard(" in block:
        shutil.copytree(ROOT / "leaderboards", tmp_path / "leaderboards")
    script = block if "import golfbench" in block or "from golfbench" in block else f"import golfbench\n{block}"
    exec(compile(script, "docs/python.md", "exec"), {})


def test_what_goes_in_comes_out_at_the_minimum(tmp_path: Path) -> None:
    mol = embedded("CCO")
    wanted = mmff94_minimum(mol)
    mol.SetProp("_Name", "ethanol")
    mol.SetIntProp("batch", 5)
    order = [8, 2, 0, 7, 1, 6, 3, 5, 4]
    shuffled = Chem.RenumberAtoms(mol, order)
    atoms = Atoms(mol_symbols(mol), mol.GetConformer().GetPositions(), info={"smiles": "CCO", "note": "mine"})
    plain = golfbench.Molecule("m", atoms.numbers, atoms.positions, smiles="CCO")
    Chem.SDWriter(str(tmp_path / "in.sdf")).write(mol)
    given = [mol, shuffled, atoms, plain, tmp_path / "in.sdf"]
    result = golfbench.minimize(given, model="mmff94", force_max=0.001)
    assert [item.status for item in result] == ["converged"] * 5
    assert [item.given for item in result] == [0, 1, 2, 3, 4]
    for item in result:
        assert item.row.energy_final_hartree * HARTREE_TO_KCAL_MOL == pytest.approx(wanted, abs=0.01)
    ends = [item.molecule for item in result]
    assert [type(end) for end in ends] == [Chem.Mol, Chem.Mol, Atoms, golfbench.Molecule, Chem.Mol]
    assert mmff94_energy(ends[0]) == pytest.approx(wanted, abs=0.01)
    assert ends[0].GetProp("_Name") == "ethanol"
    assert ends[0].GetIntProp("batch") == 5
    assert [atom.GetSymbol() for atom in ends[1].GetAtoms()] == [atom.GetSymbol() for atom in shuffled.GetAtoms()]
    assert mmff94_energy(ends[1]) == pytest.approx(wanted, abs=0.01)
    assert ends[2].get_potential_energy() / HARTREE_TO_EV * HARTREE_TO_KCAL_MOL == pytest.approx(wanted, abs=0.01)
    assert ends[2].info["note"] == "mine"
    assert np.abs(mol.GetConformer().GetPositions() - ends[0].GetConformer().GetPositions()).max() > 0.01, "a copy"


def mol_symbols(mol: Chem.Mol) -> list[str]:
    return [atom.GetSymbol() for atom in mol.GetAtoms()]


def mmff94_energy(mol: Chem.Mol) -> float:
    facts = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    return rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, facts).CalcEnergy()


def test_arrays_are_neutral_unless_they_are_said_to_be_charged() -> None:
    hydroxide = np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    neutral, charged = (
        golfbench.minimize(hydroxide, model="gfn2-xtb"),
        golfbench.minimize(hydroxide, model="gfn2-xtb", charge=-1),
    )
    assert neutral[0].status == "skipped"
    assert "9 electrons" in neutral[0].row.error_message
    assert "give charge= and multiplicity=" in neutral[0].row.error_message
    numbers, positions = charged[0].molecule
    assert numbers.tolist() == [8, 1]
    # GFN2-xTB's hydroxide, by xtb --opt: 0.9585 Å
    assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.96, abs=0.02)


def test_each_conformer_is_a_start_and_ranked_among_the_others() -> None:
    mol = embedded("CCCCO", 4)
    result = golfbench.minimize(mol, model="mmff94", force_max=0.001)
    assert [item.id for item in result] == [f"molecules[0]/{k}" for k in range(4)]
    energies = [item.row.energy_final_hartree for item in result]
    above = [(energy - min(energies)) * HARTREE_TO_KCAL_MOL for energy in energies]
    assert [item.row.energy_relative_kcal_mol for item in result] == pytest.approx(above, abs=1e-6)
    for k, item in enumerate(result):
        assert item.molecule.GetNumConformers() == 1
        alone = Chem.Mol(mol, confId=k)
        assert item.row.energy_final_hartree * HARTREE_TO_KCAL_MOL == pytest.approx(mmff94_minimum(alone), abs=0.02)


@pytest.mark.parametrize("smiles", ["OC[C@H](N)C(=O)O", "CC=CC", "c1ccccc1C(F)Cl", "C[N+](C)(C)CC([O-])=O"])
def test_molecules_without_coordinates_keep_their_atoms(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.RenumberAtoms(mol, list(reversed(range(mol.GetNumAtoms()))))
    (item,) = golfbench.minimize(mol, model="mmff94")
    assert item.status == "converged"
    end = item.molecule
    assert mol_symbols(end)[: mol.GetNumAtoms()] == mol_symbols(mol)
    bare = Chem.RemoveHs(end)
    Chem.AssignStereochemistryFrom3D(end)
    flat = Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    assert Chem.MolToSmiles(bare, isomericSmiles=False) == flat
    if "@" in smiles:
        assert Chem.MolToSmiles(Chem.RemoveHs(end)) == Chem.CanonSmiles(smiles)


def test_what_is_no_molecule_says_why_and_stops_no_other() -> None:
    overlap = np.array([1, 1]), np.zeros((2, 3))
    periodic = ase_molecule("H2O", cell=[5, 5, 5], pbc=True)
    held = ase_molecule("H2O")
    held.set_constraint(FixBondLength(0, 1))
    given = ["CCO", "C(C", overlap, periodic, Chem.MolFromSmiles(""), "[Xe]", held, (np.array([1]), np.zeros((2, 3)))]
    result = golfbench.minimize(given, model="mmff94")
    assert result[0].converged
    assert len(result) == len(given)
    assert len(result.failures) == len(given) - 1
    for item, words in zip(
        result.failures,
        ("not a valid SMILES", "overlap", "periodic", "no atoms", "", "FixBondLength", "molecule"),
        strict=True,
    ):
        assert item.status in ("skipped", "error")
        assert words in item.row.error_message
        with pytest.raises(MoleculeError, match=re.escape(item.row.error_message[:40])):
            item.molecule  # noqa: B018 - it raises


def test_mistakes_of_the_caller_are_raised(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("CCO\n")
    for arguments, message in (
        ({"molecules": [3.5]}, "float: a molecule is"),
        ({"molecules": 7}, "a molecule is .*, not int"),
        ({"molecules": str(tmp_path / "in.smi")}, "give a pathlib.Path"),
        ({"molecules": tmp_path / "none.sdf"}, "does not exist"),
        ({"molecules": "C", "model": "mmff95"}, "did you mean 'mmff94'"),
        ({"molecules": "C", "optimizer": "rfo"}, "unknown optimizer"),
        ({"molecules": "C", "oracle": "xtbb"}, "unknown oracle"),
        ({"molecules": "C", "force_max": 0}, "above 0 eV/Å"),
        ({"molecules": "C", "fix_atoms": [-1]}, "counted from 0"),
        ({"molecules": "C", "freeze_torsions": [(0, 1, 2)]}, "four different atoms"),
        ({"molecules": "C", "fix_heavy": True, "check_minima": True}, "check_minima"),
        ({"molecules": "C", "model": object()}, "not object"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            golfbench.minimize(**{"model": "mmff94"} | arguments)
    with pytest.raises(ConfigurationError, match="configuration: unknown key 'buget': did you mean 'budget'"):
        golfbench.run({"buget": 3})
    with pytest.raises(ConfigurationError, match="not list"):
        golfbench.run([])
    with pytest.raises(NothingToDoError):
        golfbench.read_run(tmp_path)
    with pytest.raises(ConfigurationError, match="holds no track"):
        golfbench.Leaderboard(tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean 'druglike-mini'"):
        golfbench.Leaderboard(ROOT / "leaderboards").standings("druglike-mimi")


def test_constraints_count_from_zero_and_hold() -> None:
    mol = embedded("CCCO")
    before = mol.GetConformer().GetPositions()
    (item,) = golfbench.minimize(mol, model="mmff94", fix_atoms=[0, 3], freeze_torsions=[(1, 2, 3, 11)])
    after = item.molecule.GetConformer().GetPositions()
    assert np.array_equal(after[[0, 3]], before[[0, 3]])
    assert np.abs(after[1] - before[1]).max() > 1e-3
    atoms = ase_molecule("CH3CH2OH")
    atoms.set_constraint(FixAtoms([2, 5]))
    (item,) = golfbench.minimize(atoms, model="gfn2-xtb")
    assert np.array_equal(item.molecule.positions[[2, 5]], atoms.positions[[2, 5]])
    assert item.molecule.constraints


def test_nothing_is_printed_and_progress_counts_all(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    result = golfbench.minimize(["CC", "x", "CO"], model="mmff94", progress=lambda *counts: told.append(counts))
    assert capfd.readouterr() == ("", "")
    assert told == [(1, 3), (2, 3), (3, 3)]
    frame = result.frame()
    assert frame["status"].tolist() == ["converged", "skipped", "converged"]
    assert frame["energy_final_hartree"].tolist()[::2] == [
        result[0].row.energy_final_hartree,
        result[2].row.energy_final_hartree,
    ]


def test_a_frame_says_how_to_install_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ComponentMissingError, match="pip install pandas"):
        golfbench.Leaderboard(ROOT / "leaderboards").frame("druglike-mini")


def test_an_oracle_judges_the_end_points_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "labels.sqlite"))
    atoms = ase_molecule("CH3OH")
    first, second = (golfbench.minimize(atoms, model="gfn1-xtb", oracle="gfn2-xtb") for _ in range(2))
    row = first[0].row
    assert (row.oracle_calls, second[0].row.oracle_calls) == (1, 0)
    end = first[0].molecule
    end.calc = GolfbenchCalculator("gfn2-xtb")
    assert row.oracle_energy_hartree * HARTREE_TO_EV == pytest.approx(end.get_potential_energy(), abs=1e-5)
    force = np.linalg.norm(end.get_forces(), axis=1).max()
    assert row.oracle_force_max_ev_per_angstrom == pytest.approx(force, abs=1e-4)
    assert force > 0.02  # GFN1's minimum is none of GFN2's
    assert (first[0].status, first[0].verified) == ("converged", False)
    same = golfbench.minimize(atoms, model="gfn2-xtb", oracle="gfn2-xtb")
    assert (same[0].status, same[0].verified, same[0].converged) == ("verified", True, True)


def test_an_oracle_finishes_walks_within_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "labels.sqlite"))
    given = [ase_molecule("CH3CHO"), "CCO", "no SMILES", ase_molecule("CH3OH")]
    told: list[tuple[int, int]] = []
    result = golfbench.minimize(
        given, model="gfn1-xtb", oracle="gfn2-xtb", budget=40, progress=lambda *done: told.append(done)
    )
    assert [item.status for item in result] == ["verified", "verified", "skipped", "verified"]
    assert [item.id for item in result.failures] == [result[2].id]
    assert 3 < sum(item.row.oracle_labels or 0 for item in result) < 40
    end = result[0].molecule
    end.calc = GolfbenchCalculator("gfn2-xtb")
    assert np.linalg.norm(end.get_forces(), axis=1).max() <= 0.0201
    assert result[0].row.oracle_energy_hartree * HARTREE_TO_EV == pytest.approx(end.get_potential_energy(), abs=1e-5)
    assert result[0].row.oracle_energy_change_kcal_mol < 0
    assert isinstance(result[1].molecule, Chem.Mol)
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    (spent,) = golfbench.minimize("CCCO", model="uff", oracle="gfn2-xtb", budget=2)
    assert (spent.status, spent.row.oracle_labels, spent.converged) == ("oracle_budget_spent", 2, False)


def test_a_network_learns_from_the_labels_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "labels.sqlite"))
    smiles = ["CCO", "CO", "CCN", "CC=O", "CCCO", "CC(=O)N"]
    asked: dict[str, Any] = {"checkpoint": NETWORK, "oracle": "mmff94", "budget": 90}
    result, alone = (golfbench.minimize(smiles, **asked, learn=learn) for learn in (True, False))
    assert [item.verified for item in result] == [True] * 6
    taught = [item.row.energy_final_hartree for item in result]
    fresh = [item.row.energy_final_hartree for item in alone]
    changes = np.abs(np.subtract(taught, fresh))
    assert changes[:4].max() < 1e-6 < 1e-5 < changes[4:].min()  # the first group walks before anything is learned


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": 3}, "oracle="),
        ({"learn": True}, "oracle="),
        ({"oracle": "gfn2-xtb", "learn": True}, "budget="),
        ({"oracle": "gfn2-xtb", "budget": 0}, "at least 1"),
        ({"oracle": "mmff94", "budget": 9, "learn": True}, "nothing that learns"),
    ],
)
def test_what_makes_no_sense_of_an_oracle_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(golfbench.errors.ConfigurationError, match=said):
        golfbench.minimize("CO", model="mmff94", **asked)


def test_an_optimizer_of_golfbench_walks_on_any_calculator_of_ase() -> None:
    water, reference = ase_molecule("H2O"), ase_molecule("H2O")
    for atoms in (water, reference):
        atoms.rattle(0.05, seed=3)
        atoms.calc = EMT()
    assert GolfbenchOptimizer(water, "lbfgs").run(fmax=0.005)
    BFGS(reference, logfile=None).run(fmax=0.005)
    assert water.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=1e-4)
    ethanol = ase_molecule("CH3CH2OH")
    ethanol.set_constraint(FixAtoms([0, 1]))
    held = ethanol.positions[:2].copy()
    ethanol.calc = GolfbenchCalculator("gfn2-xtb")
    walk = GolfbenchOptimizer(ethanol)
    assert walk.run(fmax=0.02)
    assert walk.nsteps < 20
    assert np.array_equal(ethanol.positions[:2], held)
    pair = golfbench.minimize(
        Atoms("Ar2", [(0, 0, 0), (0, 0, 1.3)]), model=LennardJones(), optimizer="lbfgs", force_max=1e-4
    )
    # the minimum of 4 ((1/r)^12 - (1/r)^6), at 2^(1/6)
    assert pair[0].molecule.get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=1e-3)


@pytest.mark.parametrize(("atoms", "optimizer"), [("filter", "lbfgs"), ("H2O", "no-such"), ("periodic", "lbfgs")])
def test_an_optimizer_refuses_what_it_cannot_move(atoms: str, optimizer: str) -> None:
    given = ase_molecule("H2O", cell=[4, 4, 4], pbc=atoms == "periodic")
    with pytest.raises(ConfigurationError):
        GolfbenchOptimizer(given if atoms != "filter" else object(), optimizer)
