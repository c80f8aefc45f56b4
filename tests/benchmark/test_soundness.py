"""Datasets with faults of their own kind each, made of the one that ships; and what is no fault."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from golfbench.benchmark.soundness import check_labels, label_faults, overlap
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.errors import ConfigurationError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec

EV, KCAL_MOL, PER_BOHR = 27.211386, 627.509474, 0.529177


@pytest.fixture(scope="module")
def mini() -> Dataset:
    dataset: Dataset = registry().find(DatasetSpec, "druglike-mini").create({}).read()
    return dataset


def scaled(label: Label, energy: float = 1.0, forces: float = 1.0, shift: float = 0.0) -> Label:
    return Label(label.energy * energy + shift, label.forces * forces, label.method)


def initial(dataset: Dataset, change: Callable[[LabelledMolecule], LabelledMolecule]) -> Dataset:
    return replace(dataset, initial=[change(row) for row in dataset.initial])


def relabelled(dataset: Dataset, parts: str, **factors: float) -> Dataset:
    if "initial" in parts:
        dataset = initial(dataset, lambda row: replace(row, label=scaled(row.label, **factors)))
    if "test" in parts:
        test = [
            replace(t, start=scaled(t.start, **factors), minimum=scaled(t.minimum, **factors)) for t in dataset.test
        ]
        dataset = replace(dataset, test=test)
    return dataset


@pytest.mark.parametrize("name", ["druglike-mini", "druglike-xtb"])
def test_the_data_that_ship_have_no_fault(name):
    dataset = registry().find(DatasetSpec, name).create({}).read()
    assert label_faults(dataset) == []
    check_labels(dataset)


@pytest.mark.parametrize(
    ("parts", "factors", "message"),
    [
        ("initial test", {"energy": EV, "forces": EV}, "is it in eV or kcal/mol? (264 of 264 labels)"),
        ("initial", {"energy": EV}, "is it in eV or kcal/mol? (240 of 264 labels)"),
        ("test", {"energy": KCAL_MOL, "forces": KCAL_MOL}, "is it in eV or kcal/mol? (24 of 264 labels)"),
        ("initial", {"forces": EV}, "are they in another unit than Hartree/Å?"),
        ("test", {"forces": KCAL_MOL}, "are they in another unit than Hartree/Å?"),
        ("initial test", {"forces": PER_BOHR}, "are they in another unit than Hartree/Å?"),
        ("initial", {"forces": -1.0}, "pairs of near geometries of the initial set): are they gradients?"),
        ("test", {"forces": -1.0}, "12 descents from a start to its minimum): are they gradients?"),
        ("test", {"shift": 2.0}, "another level of theory?"),
        ("test", {"shift": -40.0}, "Hartree per atom away from the sum of its atoms' reference energies"),
    ],
)
def test_units_signs_and_shifts(mini, parts, factors, message):
    spoiled = relabelled(mini, parts, **factors)
    assert any(message in fault for fault in label_faults(spoiled)), label_faults(spoiled)
    with pytest.raises(ConfigurationError, match=r"^dataset 'druglike-mini': "):
        check_labels(spoiled)


@pytest.mark.parametrize(
    ("method", "scale"), [("wB97X-D/def2-SVP", EV), ("wB97X-D/def2-SVP", KCAL_MOL), ("PBE0-D3BJ/def2-TZVP", EV)]
)
def test_energies_of_a_method_with_core_electrons(method, scale):
    """Water: -76.3 Hartree under any functional; nothing lies below 1.15 times the Thomas-Fermi energy, -88."""
    from golfbench.molecules import Molecule

    water = Molecule("water/0", np.array([8, 1, 1]), np.array([[0, 0, 0.1], [0, 0.76, -0.47], [0, -0.76, -0.47]]))
    forces = np.array([[0.0, 0.0, 0.02], [0.0, 0.01, -0.01], [0.0, -0.01, -0.01]])

    def dataset(energy: float) -> Dataset:
        label = Label(energy, forces, method)
        return Dataset("water", method, [LabelledMolecule(water, label)], [TestMolecule(water, label)], "")

    assert label_faults(dataset(-76.3)) == []
    (fault,) = label_faults(dataset(-76.3 * scale))
    assert f"under {method} it is above -2" in fault


def test_one_wrong_label_among_many_is_named(mini):
    for value, message in ((np.nan, "not finite (1 of 264 labels)"), (-1480.9, "eV or kcal/mol? (1 of 264 labels)")):
        last = mini.initial[-1]
        wrong = replace(last, label=replace(last.label, energy=value))
        (fault,) = label_faults(replace(mini, initial=[*mini.initial[:-1], wrong]))
        assert fault.startswith(f"initial set, {last.molecule.id}: ")
        assert message in fault


def test_forces_of_other_atoms_and_of_a_turned_molecule(mini):
    def rolled(row: LabelledMolecule) -> LabelledMolecule:
        return replace(row, label=replace(row.label, forces=np.roll(row.label.forces, 1, axis=0)))

    def turned(row: LabelledMolecule) -> LabelledMolecule:  # Psi4 turns molecules unless it is told not to
        return replace(row, label=replace(row.label, forces=row.label.forces[:, [1, 2, 0]]))

    for change in (rolled, turned):
        (fault,) = label_faults(initial(mini, change))
        assert "the forces turn the molecule" in fault


def test_atoms_in_another_order_than_the_smiles(mini):
    """Hydrogens among themselves: the elements are right, the bonds are not."""

    def swapped(row: LabelledMolecule) -> LabelledMolecule:
        order = np.arange(len(row.molecule))
        hydrogens = np.flatnonzero(row.molecule.numbers == 1)
        order[hydrogens] = np.roll(hydrogens, len(hydrogens) // 2)
        molecule = row.molecule.at(row.molecule.positions[order])
        return LabelledMolecule(molecule, replace(row.label, forces=row.label.forces[order]))

    faults = label_faults(initial(mini, swapped))
    assert any("its bonds are not those of its SMILES" in fault for fault in faults), faults


def test_minima_above_their_starts(mini):
    test = [replace(t, minimum=scaled(t.minimum, shift=0.2)) for t in mini.test[:1]]
    faults = label_faults(replace(mini, test=[*test, *mini.test[1:]]))
    height = test[0].minimum.energy - test[0].start.energy
    assert faults == [f"minima, aspirin/0: {height:.3g} Hartree above the start (1 of 12 minima)"]


def test_what_a_dataset_lacks_is_no_fault(mini):
    bare = [TestMolecule(replace(t.molecule, smiles=None)) for t in mini.test]
    assert label_faults(replace(mini, test=bare)) == []
    no_forces = [replace(t, minimum=replace(t.minimum, forces=t.minimum.forces * np.nan)) for t in mini.test]
    assert label_faults(replace(mini, test=no_forces)) == []
    assert label_faults(replace(mini, initial=mini.initial[:3])) == []


def test_test_molecules_that_were_trained_on(mini):
    assert overlap(mini) == ""
    twice = [LabelledMolecule(replace(mini.test[3].molecule, id="copy/0", smiles=None), mini.test[3].start)]
    text = overlap(replace(mini, initial=[*mini.initial, *twice]))
    assert text.startswith(f"1 of 12 test molecules are in the initial set as well ({mini.test[3].molecule.id} is")
