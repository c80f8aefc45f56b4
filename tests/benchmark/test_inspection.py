"""What ``golfbench datasets check`` finds in any dataset: each defect in data that are sound otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rdkit import Chem

from golfbench.benchmark import inspection
from golfbench.benchmark.duplicates import duplicates, same_geometry
from golfbench.benchmark.inspection import inspect
from golfbench.benchmark.recomputing import _differences
from golfbench.chemistry import embed, mol_from_smiles
from golfbench.contracts import Dataset, Label, LabelledMolecule
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import DatasetSpec

BOHR = 0.529177210903
EV, KCAL = 27.211386246, 627.509474


@cache
def mini() -> Dataset:
    return registry().find(DatasetSpec, "druglike-mini").create({}).read()


def turned(positions: np.ndarray, seed: int = 0) -> np.ndarray:
    """Turn by a random proper rotation, and move."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes[:, 0] *= np.linalg.det(axes)
    return positions @ axes + rng.normal(size=3) * 5


def with_initial(index: int, molecule: Molecule, label: Label | None = None) -> Dataset:
    rows = list(mini().initial)
    rows[index] = LabelledMolecule(molecule, label or rows[index].label)
    return replace(mini(), initial=rows)


def problems(data: Dataset) -> str:
    return "\n".join(inspect(data).problems)


def test_a_sound_dataset_has_facts_and_nothing_wrong() -> None:
    found = inspect(mini(), 3)
    assert found.problems == []
    expected: Counter[str] = Counter()
    for row in mini().initial:
        expected.update(atom.GetSymbol() for atom in Chem.AddHs(Chem.MolFromSmiles(row.molecule.smiles)).GetAtoms())
    assert {symbol: counts["initial_atoms"] for symbol, counts in found.facts["elements"].items()} == dict(expected)
    assert found.facts["elements"]["C"]["test_conformations"] == 12
    assert found.facts["methods"] == {"GFN2-xTB": 240 + 2 * 12}
    assert found.facts["minima"]["proven"] == found.facts["minima"]["known"] == 12
    assert found.facts["recomputed"]["labels"] == 3
    assert found.facts["recomputed"]["energy_difference_hartree"] < 1e-6


# --- Duplicates ------------------------------------------------------------------------------------------------------


def geometry(smiles: str, seed: int = 7) -> Molecule:
    return embed(smiles, smiles, 1, seed)[0]


def reordered(molecule: Molecule, order: Sequence[int]) -> Molecule:
    numbers, positions = molecule.numbers[list(order)], molecule.positions[list(order)]
    return replace(molecule, numbers=numbers, positions=positions, smiles=None)


def co2(length: float = 1.16) -> Molecule:
    return Molecule("CO2", np.array([6, 8, 8]), np.array([[0, 0, 0], [0, 0, length], [0, 0, -length]], dtype=float))


@pytest.mark.parametrize("smiles", ["CCO", "c1ccccc1", "C", "CC(=O)Nc1ccc(O)cc1", "C#C", "[H][H]", "F[C@H](Cl)Br"])
def test_what_is_moved_turned_or_in_another_order_is_the_same_geometry(smiles: str) -> None:
    molecule = geometry(smiles)
    moved = molecule.at(turned(molecule.positions))
    assert same_geometry(molecule, moved)
    order = np.random.default_rng(1).permutation(len(molecule)).tolist()
    assert same_geometry(molecule, reordered(moved, order))
    assert same_geometry(molecule, molecule.at(np.round(moved.positions, 3)))


def test_linear_molecules_and_single_atoms_are_compared_too() -> None:
    assert same_geometry(co2(), reordered(co2().at(turned(co2().positions)), [2, 0, 1]))
    assert not same_geometry(co2(), co2(1.20))
    atom = Molecule("Ne", np.array([10]), np.zeros((1, 3)))
    assert same_geometry(atom, atom.at([[1.0, 2.0, 3.0]]))


@pytest.mark.parametrize("smiles", ["CC(O)CN", "F[C@H](Cl)Br"])
def test_a_mirror_image_is_another_geometry(smiles: str) -> None:
    molecule = geometry(smiles)
    assert not same_geometry(molecule, molecule.at(turned(molecule.positions * [1, 1, -1])))


def test_an_atom_elsewhere_is_another_geometry() -> None:
    molecule = geometry("CCO")
    for atom in range(len(molecule)):
        moved = molecule.positions.copy()
        moved[atom] += 0.05
        assert not same_geometry(molecule, molecule.at(turned(moved)))


def test_each_duplicate_is_named_once() -> None:
    one, other = geometry("CCO"), geometry("CCO", seed=8)
    copies = [one, other, one.at(turned(one.positions, 1)), one.at(turned(one.positions, 2))]
    assert sorted(duplicates(copies)) == [(0, 2), (0, 3)]
    assert list(duplicates([one, replace(one, charge=1, multiplicity=2)])) == []


def test_a_turned_duplicate_is_found_in_a_dataset() -> None:
    first = mini().initial[0].molecule
    copy = replace(first.at(turned(first.positions)), id="copy/0")
    data = replace(mini(), initial=[*mini().initial, LabelledMolecule(copy, mini().initial[0].label)])
    assert f"copy/0: the same geometry as {first.id}, moved, turned or in another order" in problems(data)
    assert inspect(data).facts["duplicates"] == 1


# --- Outliers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1.0, -1.0, -2.5])
def test_an_energy_far_from_the_others_is_found(shift: float) -> None:
    row = mini().initial[100]
    wrong = replace(row.label, energy=row.label.energy + shift)
    found = problems(with_initial(100, row.molecule, wrong))
    assert f"{row.molecule.id}: the energy is " in found
    assert inspect(with_initial(100, row.molecule, wrong)).facts["labels"]["outliers"] == 1


def test_a_strained_geometry_is_no_outlier() -> None:
    row = mini().initial[100]
    strained = Label(row.label.energy + 1.0, row.label.forces * 5, row.label.method)
    assert "away from the fit" not in problems(with_initial(100, row.molecule, strained))


def test_a_huge_force_is_found() -> None:
    row = mini().initial[7]
    wrong = replace(row.label, forces=row.label.forces * 100)
    assert f"{row.molecule.id}: a force of " in problems(with_initial(7, row.molecule, wrong))


def test_few_labels_are_no_reason_to_accuse_one() -> None:
    found = inspect(replace(mini(), initial=mini().initial[:4], test=mini().test[:2]))
    assert not any("away from the fit" in line for line in found.problems)
    assert "too few labels for a fit of atomic energies: energies are not compared" in found.notes


# --- Units, signs, orders: what recomputing shows --------------------------------------------------------------------


def swapped(forces: np.ndarray) -> np.ndarray:
    return forces[[1, 0, *range(2, len(forces))]]


def about_z(forces: np.ndarray) -> np.ndarray:
    return forces @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e, f: (e * EV, f), "the energy is in eV"),
        (lambda e, f: (e * KCAL, f), "the energy is in kcal/mol"),
        (lambda e, f: (e * KCAL * 4.184, f), "the energy is in kJ/mol"),
        (lambda e, f: (e + 30.0, f), "the forces agree: has the energy another zero"),
        (lambda e, f: (e, -f), "the forces are gradients in Hartree/Å"),
        (lambda e, f: (e, f * BOHR), "the forces are in Hartree/bohr"),
        (lambda e, f: (e, -f * BOHR), "the forces are gradients in Hartree/bohr"),
        (lambda e, f: (e, f * EV), "the forces are in eV/Å"),
        (lambda e, f: (e * KCAL, -f * KCAL), "the energy is in kcal/mol; the forces are gradients in kcal/mol/Å"),
        (lambda e, f: (e, swapped(f)), "the forces are those of the same atoms in another order"),
        (lambda e, f: (e, -swapped(f)), "the forces are gradients, and those of the same atoms in another order"),
        (lambda e, f: (e, about_z(f)), "the forces are those of a molecule that is turned"),
    ],
)
def test_a_label_that_is_something_else_is_called_by_its_name(change: Callable, reason: str) -> None:
    row = mini().initial[0]
    energy, forces = change(row.label.energy, row.label.forces)
    off = abs(energy - row.label.energy), float(np.abs(forces - row.label.forces).max())
    (line,) = _differences(row.molecule, Label(energy, forces, ""), row.label, off)
    assert line.startswith(f"{row.molecule.id}: the recomputed label differs by ")
    assert reason in line


def test_labels_of_another_version_are_the_same_and_others_are_not() -> None:
    label = mini().initial[0].label
    near = Label(label.energy + 1e-7, label.forces + 1e-6, label.method)
    assert list(_differences(mini().initial[0].molecule, near, label, (1e-7, 1e-6))) == []
    (line,) = _differences(mini().initial[0].molecule, near, label, (1e-3, 1e-6))
    assert "another zero" in line


def test_gradients_in_a_dataset_are_found_by_the_oracle_without_being_asked() -> None:
    rows = [replace(row, label=replace(row.label, forces=-row.label.forces)) for row in mini().initial[:3]]
    found = inspect(replace(mini(), initial=rows, test=mini().test[:1]), None)
    assert any("the forces are gradients in Hartree/Å" in line for line in found.problems)


def test_a_dear_oracle_is_not_asked_unless_somebody_wants_it() -> None:
    data = replace(mini(), method="wB97X-D/def2-SVP", oracle="psi4")
    assert any("no label was recomputed" in note for note in inspect(data, None).notes)
    other = replace(mini(), method="CCSD(T)/CBS", oracle="")
    assert any("names no oracle" in note for note in inspect(other, None).notes)
    assert any("names no oracle" in line for line in inspect(other, 2).problems)


# --- Minima, parts, tags, coordinates --------------------------------------------------------------------------------


def test_minima_without_forces_are_told_and_the_oracle_finds_those_that_are_none() -> None:
    unknown = [
        replace(t, minimum=replace(t.minimum, forces=np.full_like(t.minimum.forces, np.nan))) for t in mini().test
    ]
    found = inspect(replace(mini(), test=unknown))
    assert (found.facts["minima"]["proven"], found.facts["minima"]["without_forces"]) == (0, 12)
    assert any(note.startswith("12 of 12 minima have no forces") for note in found.notes)
    first = unknown[0]
    false = replace(first, minimum_positions=first.molecule.positions, minimum=replace(first.minimum, energy=-1e3))
    lines = inspect(replace(mini(), initial=mini().initial[:1], test=[false]), 3).problems
    assert any(line.startswith(f"{first.molecule.id}: is no minimum: gfn2-xtb's force there is") for line in lines)


@pytest.mark.parametrize("smiles", ["CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O"])
def test_a_test_molecule_in_the_initial_set_is_found_however_it_is_written(smiles: str) -> None:
    copy = replace(embed(smiles, "other", 1, 3)[0], id="other/0")
    rows = [*mini().initial, LabelledMolecule(copy, mini().test[0].start)]
    found = inspect(replace(mini(), initial=rows))
    assert any(line.startswith("aspirin/0: is in the initial set as well") for line in found.problems)
    assert found.facts["shared_molecules"] == 1


def test_a_stereoisomer_in_the_initial_set_is_found() -> None:
    test = replace(mini().test[0], molecule=replace(embed("C[C@H](N)C(=O)O", "L", 1, 3)[0], id="L/0"))
    mirror = LabelledMolecule(replace(embed("C[C@@H](N)C(=O)O", "D", 1, 3)[0], id="D/0"), mini().initial[0].label)
    found = list(inspection._separation(replace(mini(), initial=[mirror], test=[test]), inspection.Inspection()))
    assert found == ["L/0: is in the initial set as well, as D/0 (SMILES C[C@@H](N)C(=O)O)"]


def test_a_label_of_another_level_of_theory_is_found() -> None:
    row = mini().initial[3]
    foreign = replace(row.label, method="GFN1-xTB")
    assert "1 labels are of GFN1-xTB, but the dataset is of GFN2-xTB" in problems(
        with_initial(3, row.molecule, foreign)
    )


def test_coordinates_in_bohr_and_atoms_in_another_order_are_called_by_their_names() -> None:
    molecule = mini().initial[0].molecule
    assert "its coordinates are in bohr" in problems(with_initial(0, molecule.at(molecule.positions / BOHR)))
    heavy = mol_from_smiles(molecule.smiles).GetNumHeavyAtoms()
    assert (molecule.numbers[heavy:] == 1).all()
    hydrogens = molecule.positions.copy()
    hydrogens[heavy:] = hydrogens[heavy:][::-1]
    assert "are the atoms in the order of the SMILES" in problems(with_initial(0, molecule.at(hydrogens)))


def test_many_lines_of_one_kind_are_counted() -> None:
    foreign = [replace(row, molecule=replace(row.molecule, id="same/0")) for row in mini().initial]
    assert "same/0: this id occurs 240 times" in problems(replace(mini(), initial=foreign))
    lines = list(inspection._few(f"line {k}" for k in range(50)))
    assert lines[-1] == "30 more like the last"
    assert len(lines) == 21
