"""Conformers: which are found, their energies and weights, stereoisomers, what fails, and resuming."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms
from typer.testing import CliRunner

import golfbench
from golfbench.cli.main import build_app
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.conformers import Search, boltzmann_weights, search_library
from golfbench.molecule_files.driver import open_driver
from golfbench.molecule_files.isomers import every_isomer
from golfbench.molecule_files.output import open_output
from golfbench.molecule_files.ranking import Ranking, rank
from golfbench.molecule_files.reading import Inputs

#: The gas constant (CODATA 2018) times 298.15 K, kcal/mol.
THERMAL = 8.314462618 * 298.15 / 4184


def command(*arguments: object):
    return CliRunner().invoke(build_app(), ["conformers", *map(str, arguments)])


def butane_minimum(degrees: float) -> float:
    """Return the energy of butane's minimum near a torsion, by RDKit's own minimizer, kcal/mol."""
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 0, 1, 2, 3, degrees)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, rdForceFieldHelpers.MMFFGetMoleculeProperties(mol))
    field.Initialize()
    assert field.Minimize(maxIts=5000, forceTol=1e-6) == 0
    return field.CalcEnergy()


@pytest.mark.parametrize("temperature", [100.0, 298.15, 1000.0])
def test_weights_are_those_of_boltzmann(temperature: float) -> None:
    energies = np.array([0.0, 1.0, 2.5])
    factors = [math.exp(-energy * 4184 / (8.314462618 * temperature)) for energy in energies]
    assert boltzmann_weights(energies, temperature) == pytest.approx([f / sum(factors) for f in factors], rel=1e-5)
    assert boltzmann_weights(energies + 7.0, temperature) == pytest.approx(
        [f / sum(factors) for f in factors], rel=1e-5
    )


def test_butane_has_one_anti_and_two_gauche_conformers() -> None:
    (butane,) = golfbench.conformers("CCCC", count=20, model="mmff94", first_walk=None, force_max=0.002)
    gap = butane_minimum(60) - butane_minimum(180)
    assert [c.row.energy_relative_kcal_mol for c in butane] == pytest.approx([0, gap, gap], abs=0.005)
    share = math.exp(-gap / THERMAL)
    weights = [1 / (1 + 2 * share), share / (1 + 2 * share), share / (1 + 2 * share)]
    assert [c.row.boltzmann_weight for c in butane] == pytest.approx(weights, abs=0.003)
    mol = butane.molecule
    torsions = [rdMolTransforms.GetDihedralDeg(c, 0, 1, 2, 3) for c in mol.GetConformers()]
    assert abs(torsions[0]) == pytest.approx(180, abs=2)
    assert sorted(torsions[1:]) == pytest.approx([-65, 65], abs=5)
    assert (butane.embedded, butane.walked, butane.lost) == (20, 20, ())
    near = golfbench.conformers("CCCC", count=20, model="mmff94", first_walk=None, window=gap / 2)
    assert [len(found) for found in near] == [1]


def test_a_first_walk_thins_out_and_the_better_model_ranks() -> None:
    (found,) = golfbench.conformers("OCCO", count=12, model="gfn2-xtb")
    assert found.embedded == 12
    assert len(found) <= found.walked < 12
    assert found.method == "GFN2-xTB"
    (alone,) = golfbench.conformers("OCCO", count=12, model="gfn2-xtb", first_walk=None)
    assert found[0].row.energy_final_hartree == pytest.approx(alone[0].row.energy_final_hartree, abs=2e-4)
    again = golfbench.minimize(found[0].molecule, model="gfn2-xtb")
    assert again[0].row.energy_final_hartree == pytest.approx(found[0].row.energy_final_hartree, abs=1e-4)


@pytest.mark.parametrize(
    ("smiles", "count"),
    [("CC(F)Cl", 2), ("FC=CF", 2), ("C[C@H](F)Cl", 1), ("FC(Cl)C(F)Cl", 3), ("CC(O)C=CC", 4), ("CN(C)CC", 1)],
)
def test_every_isomer_is_made_once_and_what_is_stated_stays(smiles: str, count: int) -> None:
    isomers = every_isomer(smiles)
    assert len({Chem.CanonSmiles(isomer) for isomer in isomers}) == len(isomers) == count
    flat = Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    assert {Chem.MolToSmiles(Chem.MolFromSmiles(i), isomericSmiles=False) for i in isomers} == {flat}
    assert count > 1 or Chem.CanonSmiles(isomers[0]) == Chem.CanonSmiles(smiles)


def test_a_bridge_is_on_one_side_and_too_many_isomers_are_refused() -> None:
    assert len(every_isomer("OC1CC2CCC1C2")) == 4  # of 8 signs, the bridgeheads leave half
    with pytest.raises(MoleculeError, match="1024 isomers: state some"):
        every_isomer("C(F)(Cl)" * 10 + "C")


def test_ensembles_are_of_the_isomer_they_say() -> None:
    found = golfbench.conformers("CC(F)Cl", count=2, model="mmff94", first_walk=None, every_isomer=True)
    assert [ensemble.id for ensemble in found] == ["CC(F)Cl/isomer1", "CC(F)Cl/isomer2"]
    seen = set()
    for ensemble in found:
        mol = ensemble.molecule
        Chem.AssignStereochemistryFrom3D(mol)
        seen.add(Chem.MolToSmiles(Chem.RemoveHs(mol)))
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(ensemble.smiles)
    assert len(seen) == 2


def test_an_rdkit_molecule_keeps_its_atoms_charge_and_stereo() -> None:
    mol = Chem.MolFromSmiles("[NH3+][C@@H](C)C(=O)OC")
    mol = Chem.RenumberAtoms(mol, list(reversed(range(mol.GetNumAtoms()))))
    spatial = Chem.AddHs(mol)
    rdDistGeom.EmbedMolecule(spatial, randomSeed=2)
    for given in (mol, spatial):
        (found,) = golfbench.conformers(given, count=3, model="mmff94", first_walk=None)
        assert found[0].row.charge == 1
        end = found.molecule
        symbols = [atom.GetSymbol() for atom in end.GetAtoms()]
        assert symbols[: mol.GetNumAtoms()] == [atom.GetSymbol() for atom in mol.GetAtoms()]
        Chem.AssignStereochemistryFrom3D(end)
        assert Chem.MolToSmiles(Chem.RemoveHs(end)) == Chem.MolToSmiles(mol)


def test_what_has_no_conformer_says_why(tmp_path: Path) -> None:
    (tmp_path / "in.xyz").write_text("3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.3 0.95 0\n")
    bad, unknown, good = golfbench.conformers(["C(C", tmp_path / "in.xyz", "CO"], count=2, model="mmff94")
    for ensemble, words in ((bad, "not a valid SMILES"), (unknown, "it has no bonds")):
        assert (len(ensemble), ensemble.smiles) == (0, None)
        assert words in ensemble.lost[0].row.error_message
        with pytest.raises(MoleculeError, match=words):
            ensemble.molecule  # noqa: B018 - it raises
    assert len(good) == 1
    with pytest.raises(ConfigurationError, match="tuple: conformers are made of the bonds"):
        golfbench.conformers([(np.array([1, 1]), np.zeros((2, 3)))], model="mmff94")
    for arguments in ({"count": 0}, {"window": -1}, {"temperature": 0}, {"first_walk": "no-such"}):
        with pytest.raises(ConfigurationError):
            golfbench.conformers("CC", **{"model": "mmff94"} | arguments)


def test_what_the_fast_model_does_not_take_goes_to_the_better_one_as_it_is() -> None:
    (found,) = golfbench.conformers("CB(O)O", count=2, model="gfn2-xtb")  # MMFF94 has no boron
    assert found.walked == found.embedded == 2
    assert len(found) >= 1
    assert all(item.converged for item in found)


def test_a_library_is_gone_on_with_where_it_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("CCO a\nCCCO b\nC(C c\nCCCCO d\n")
    search = Search(4, seed=3)

    def searched(name: str, stop_after: int | None = None) -> bytes | int:
        with open_driver("mmff94", None, "mmff94") as driver:
            given = Inputs([str(tmp_path / "in.smi")], reading := search.reading())
            with open_output(tmp_path / name, False, search.command(given, None, driver)) as kept:
                for done, _ in enumerate(search_library(given, reading, None, driver, search, kept), start=1):
                    if done == stop_after:
                        return kept.resumed
                rank(kept, Ranking(sort=True))
                kept.finish(ranked=True)
        return (tmp_path / name).read_bytes()

    whole = searched("whole.sdf")
    assert searched("parts.sdf", stop_after=2) == 0
    assert searched("parts.sdf") == whole
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_the_command_prints_a_table_and_writes_ranked_conformers(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("CCCC butane\nnonsense bad\n")
    out = tmp_path / "out.sdf"
    done = command(tmp_path / "in.smi", "-n", 15, "-m", "mmff94", "--first-walk", "none", "-o", out)
    assert done.exit_code == 1, done.output
    header, *lines = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert header[:5] == ["id", "atoms", "status", "above lowest (kcal/mol)", "weight (%)"]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [row["status"] for row in rows] == ["converged"] * 3 + ["skipped"]
    assert sum(float(row["weight (%)"]) for row in rows[:3]) == pytest.approx(100, abs=0.2)
    assert "butane: 15 conformers, 3 within 6 kcal/mol on mmff94" in done.stderr
    assert "nonsense" in done.stderr
    written = list(Chem.SDMolSupplier(str(out), removeHs=False))
    relative = [mol.GetDoubleProp("golfbench_energy_relative_kcal_mol") for mol in written]
    assert relative == sorted(relative)
    assert sum(mol.GetDoubleProp("golfbench_boltzmann_weight") for mol in written) == pytest.approx(1, abs=1e-5)
    shown = json.loads(command("CCCC", "-n", 2, "-m", "mmff94", "--first-walk", "none", "--json").stdout)
    assert (shown["model"], shown["first_walk"]) == ("mmff94", None)
    assert sum(row["boltzmann_weight"] for row in shown["rows"]) == pytest.approx(1)
    for arguments in (["C", "--window", "-1"], ["C", "--first-walk", "no-such"], ["none.sdf"], ["-"]):
        assert command(*arguments, "-m", "mmff94").exit_code == 2
    assert command("C", "-m", "no-such").exit_code == 2


def test_an_oracle_takes_the_lowest_to_its_own_minima_and_ranks_them() -> None:
    (found,) = golfbench.conformers("OCCO", count=8, model="mmff94", first_walk=None, oracle="gfn2-xtb", verify=2)
    assert (found.oracle, found.method) == ("gfn2-xtb", "MMFF94")
    assert found.ranked > len(found) == 2
    energies = [one.row.oracle_energy_hartree for one in found]
    relative = [(energy - energies[0]) * 627.509474 for energy in energies]
    assert relative == sorted(relative)
    assert [one.row.energy_relative_kcal_mol for one in found] == pytest.approx(relative, abs=1e-6)
    shares = [math.exp(-energy / THERMAL) for energy in relative]
    assert [one.row.boltzmann_weight for one in found] == pytest.approx([s / sum(shares) for s in shares], abs=1e-5)
    for one in found:
        assert one.verified
        assert one.row.oracle_force_max_ev_per_angstrom <= 0.02
        again = golfbench.minimize(one.molecule, model="gfn2-xtb", max_steps=0)[0].row
        assert again.energy_initial_hartree == pytest.approx(one.row.oracle_energy_hartree, abs=1e-6)


def test_the_command_accounts_for_the_calls_of_its_oracle(tmp_path: Path) -> None:
    out, chosen = tmp_path / "out.sdf", ["-n", 4, "-m", "mmff94", "--first-walk", "none", "--oracle", "gfn2-xtb"]
    done = command("CCCC", "CCO", *chosen, "--verify", 1, "-o", out)
    assert done.exit_code == 0, done.output
    header, *lines = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(row["status"], row["weight (%)"]) for row in rows] == [("verified", "100.0")] * 2
    calls = (tmp_path / "out.oracle" / "oracle_calls.jsonl").read_text().splitlines()
    assert len(calls) == sum(int(row["labels"]) for row in rows)
    assert "1 of the lowest 1 on gfn2-xtb" in done.stderr
    assert [mol.GetProp("golfbench_oracle") for mol in Chem.SDMolSupplier(str(out))] == ["gfn2-xtb"] * 2
    again = command("CCCC", "CCO", *chosen, "--verify", 1, "-o", tmp_path / "again.sdf", "--json")
    shown = json.loads(again.stdout)
    assert shown["oracle"] == "gfn2-xtb"
    assert [row["oracle_calls"] for row in shown["rows"]] == [0, 0]  # the labels are known by now
    (tmp_path / "third.oracle").mkdir()
    for arguments in (["--verify", 0], ["--oracle", "no-such"], ["-o", tmp_path / "third.sdf"]):
        assert command("CC", *chosen, *arguments).exit_code == 2
