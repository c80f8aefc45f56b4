import numpy as np
import pytest
import torch

from golfbench.contracts import Label, LabelledMolecule
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.learning.opening import new_network, open_base
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.targets import InitialSet, fit_references, remainders
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef

SMALL = ComponentRef("painn", {"preset": "small", "features": 16, "interactions": 1, "radial": 8})


def grown(labelled, make_potential, initial: int, added: int, share: float) -> Pool:
    samples = Pool(make_potential(labelled), (labelled * 10)[:initial], share)
    assert all(samples.add(row) for row in remainders((labelled * 10)[:added], []))
    return samples


def references(labelled, given=None, bases=()):
    initial = InitialSet.of(labelled, bases, given or {})
    return initial.references, initial.scale


@pytest.mark.parametrize(
    ("initial", "added", "size", "share", "old", "new"),
    [
        (100, 100, 64, 0.1, 7, 57),  # the published batch
        (100, 100, 8, 0.1, 1, 7),
        (100, 0, 64, 0.1, 64, 0),  # nothing added yet
        (100, 5, 64, 0.1, 59, 5),  # fewer added than wanted
        (4, 100, 64, 0.1, 4, 57),  # a small initial set: its part is what there is
        (100, 100, 64, 1.0, 64, 0),
        (100, 100, 64, 0.0, 0, 64),
    ],
)
def test_a_batch_has_the_published_shares(labelled, make_potential, initial, added, size, share, old, new):
    samples = grown(labelled, make_potential, initial, added, share)
    for seed in range(5):
        picks = samples.draw(np.random.default_rng(seed), size)
        assert sum(i < initial for i in picks) == old
        assert sum(i >= initial for i in picks) == new
        assert len(set(picks)) == len(picks)
        assert max(picks) < len(samples)


def test_the_shares_of_the_published_batch_are_57_and_7():
    assert int(64 * (1 - 0.1)) == 57


def test_every_sample_is_drawn_equally_often(labelled, make_potential):
    samples = grown(labelled, make_potential, 10, 10, 0.5)
    counts = np.zeros(20)
    for seed in range(500):
        np.add.at(counts, samples.draw(np.random.default_rng(seed), 6), 1)
    assert abs(counts - 150).max() < 50  # binomial: 500 draws of 3 in 10, four standard deviations are 41


def test_references_recover_known_atom_energies(labelled):
    known = {1: -0.5, 6: -37.8, 7: -54.5, 8: -75.0, 9: -99.7, 16: -398.0, 17: -460.0, 35: -2574.0}
    rows = [
        LabelledMolecule(
            item.molecule, Label(sum(known[int(z)] for z in item.molecule.numbers), item.label.forces, "exact")
        )
        for item in labelled
    ]
    fitted, scale = references(rows)
    residual = [row.label.energy - sum(fitted[int(z)] for z in row.molecule.numbers) for row in rows]
    assert np.abs(residual).max() < 1e-9
    assert scale == pytest.approx(np.sqrt(np.mean(np.concatenate([i.label.forces for i in labelled]) ** 2)), rel=1e-12)
    waters = [Molecule(f"w/{k}", np.array([8, 1, 1][: 3 - k]), np.eye(3)[: 3 - k]) for k in range(3)]
    exact = [
        LabelledMolecule(m, Label(sum(known[int(z)] for z in m.numbers), np.ones((len(m), 3)), "x")) for m in waters
    ]
    fitted, scale = references(exact)
    assert fitted == pytest.approx({1: -0.5, 8: -75.0}, abs=1e-9)
    assert scale == 1.0


def test_references_of_the_dataset_come_first(labelled):
    given = {z: -float(z) for z in (1, 6, 7, 8, 9, 16, 17, 35)}
    assert references(labelled, given)[0] == given
    assert references(labelled, given, [open_base("mmff94")])[0] != given  # they are not those of a difference


def test_references_that_miss_an_element_are_refused(labelled):
    with pytest.raises(ConfigurationError, match=r"no reference energy for .*C"):
        references(labelled, {1: -0.5})


def in_line(labelled):
    """Ten labels and dimethyl ether with its C, O and C in line but for 1e-6 Å, where MMFF94 forces have no bound."""
    hydrogens = [[s * 1.4, 0.9 * y, 0.9 * z] for s in (-1, 1) for y, z in ((1, 0), (-0.5, 0.87), (-0.5, -0.87))]
    positions = np.array([[-1.2, 0, 0], [0, 1e-6, 3e-7], [1.2, 0, 0], *hydrogens])
    ether = Molecule("ether/0", np.array([6, 8, 6, 1, 1, 1, 1, 1, 1]), positions, smiles="COC")
    return [*labelled, LabelledMolecule(ether, Label(-11.3, np.full((9, 3), 0.01), "GFN2-xTB"))]


def test_a_force_that_blew_up_in_the_delta_model_does_not_set_the_scale(labelled, caplog):
    bases = [open_base("mmff94")]
    rows = in_line(labelled)
    _, forces = open_oracle(ComponentRef("mmff94"), registry()).label(rows[-1].molecule)
    assert np.linalg.norm(forces) > 100  # Hartree/Å; the others have less than 1
    atoms, scale = references(rows, bases=bases)
    assert (atoms, scale) == references(labelled, bases=bases)
    assert 0.01 < scale < 0.1
    samples = Pool(Potential(new_network(SMALL, 0), atoms, scale, bases), rows)
    assert len(samples) == samples.initial_size == 10
    assert "ether/0: not learned from" in caplog.text


def test_the_guard_is_on_what_is_left_of_the_forces(labelled, make_potential):
    rows = in_line(labelled)
    assert len(Pool(make_potential(labelled), rows)) == 11  # without a delta model it is a label like others
    assert len(Pool(make_potential(labelled), rows, guard=1e-3)) == 0
    assert len(Pool(make_potential(labelled), rows, guard=None)) == 11
    with pytest.raises(NothingToDoError, match="no label of the initial training set has forces within"):
        fit_references(list(remainders(rows, [])), {}, guard=1e-3)


def test_an_empty_training_set_is_nothing_to_do():
    with pytest.raises(NothingToDoError, match="empty"):
        references([])


def test_targets_are_labels_minus_references_in_units_of_the_scale(labelled, make_potential):
    potential = make_potential(labelled)
    pool = Pool(potential, labelled)
    for index in (4, 1):
        sample, item = pool[index], labelled[index]
        reference = sum(potential.atom_energies[int(z)] for z in item.molecule.numbers)
        assert sample.molecule is item.molecule
        assert float(sample.energy) == pytest.approx((item.label.energy - reference) / potential.scale, abs=1e-9)
        np.testing.assert_allclose(sample.forces.numpy(), item.label.forces / potential.scale, rtol=1e-14)


def test_a_delta_model_is_subtracted_from_targets_and_added_to_predictions(labelled):
    from golfbench.batches import make_batch

    bases = [open_base("mmff94")]
    atoms, scale = references(labelled, bases=bases)
    potential = Potential(new_network(SMALL, 0), atoms, scale, bases)
    item = labelled[2]
    mmff_energy, mmff_forces = open_oracle(ComponentRef("mmff94"), registry()).label(item.molecule)
    sample = Pool(potential, labelled)[2]
    reference = sum(atoms[int(z)] for z in item.molecule.numbers)
    assert float(sample.energy) == pytest.approx((item.label.energy - mmff_energy - reference) / scale, abs=1e-9)
    np.testing.assert_allclose(sample.forces.numpy(), (item.label.forces - mmff_forces) / scale, atol=1e-12)
    for parameter in potential.network.parameters():
        torch.nn.init.zeros_(parameter)
    silent = potential.energy_forces(make_batch([item.molecule], potential.cutoff))
    assert float(silent.energies[0]) == pytest.approx(reference + mmff_energy, abs=1e-9)
    np.testing.assert_allclose(silent.forces.numpy(), mmff_forces, atol=1e-12)


def test_a_molecule_that_the_delta_model_cannot_evaluate_is_named(labelled):
    boron = Molecule("borane/0", np.array([5, 1, 1, 1]), 1.2 * np.array([[0, 0, 0], *np.eye(3)]), smiles="B")
    rows = [*labelled, LabelledMolecule(boron, Label(-3.0, np.zeros((4, 3)), "GFN2-xTB"))]
    with pytest.raises(ConfigurationError, match=r"borane/0: the delta model cannot evaluate it: .*element B"):
        references(rows, bases=[open_base("mmff94")])
