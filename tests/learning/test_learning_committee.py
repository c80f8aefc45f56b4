"""Committees, terms with cutoffs of their own, chains of bases, and what a potential shows."""

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import ConfigurationError
from golfbench.learning.opening import load_potential, new_potential, open_base, potential_header, save_potential
from golfbench.learning.potential import Potential
from golfbench.specs import ComponentRef

SIZES = {"preset": "small", "features": 8, "interactions": 1, "radial": 4}
ATOMS = {z: -float(z) for z in (1, 6, 7, 8, 9, 16, 17, 35)}
SCALE = 0.03


def potential(members: int = 1, cutoff: float = 3.0, seed: int = 0, bases=()) -> Potential:
    made = new_potential(ComponentRef("painn", SIZES | {"cutoff": cutoff}), seed, members, ATOMS, SCALE, bases)
    for network in made.networks:
        network.double()
    return made


@pytest.fixture
def molecules(labelled):
    return [labelled[k].molecule for k in (0, 3, 8)]


def evaluate(model, molecules):
    return model.energy_forces(make_batch(molecules, model.cutoff))


def test_a_committee_is_the_mean_of_its_members_and_their_spread_by_hand(molecules):
    committee = potential(3)
    answer = evaluate(committee, molecules)
    alone = [evaluate(committee.member(k), molecules) for k in range(3)]
    energies = np.array([one.energies.numpy() for one in alone])
    forces = np.array([one.forces.numpy() for one in alone])
    np.testing.assert_allclose(answer.energies, energies.mean(0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(answer.forces, forces.mean(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(answer.spread.energies, energies.std(0), rtol=0, atol=1e-10)
    distances = np.array([[np.linalg.norm(f - forces.mean(0)[a]) for a, f in enumerate(one)] for one in forces])
    np.testing.assert_allclose(answer.spread.forces, np.sqrt((distances**2).mean(0)), rtol=0, atol=1e-12)
    assert float(answer.spread.forces.min()) > 0
    assert all(one.spread is None for one in alone)


def test_the_first_member_of_a_committee_has_the_weights_of_a_single_network():
    one, three = potential(1, seed=4), potential(3, seed=4)
    for a, b in zip(one.network.parameters(), three.network.parameters(), strict=True):
        assert torch.equal(a, b)
    embeddings = [next(network.parameters()) for network in three.networks]
    assert not torch.equal(embeddings[0], embeddings[1])
    assert not torch.equal(embeddings[1], embeddings[2])


def test_a_batch_within_a_cutoff_is_the_batch_that_was_made_with_it(molecules):
    wide, narrow = make_batch(molecules, 6.0), make_batch(molecules, 2.5)
    assert wide.pairs.shape[1] > narrow.pairs.shape[1] > 0
    assert torch.equal(wide.within(2.5).pairs, narrow.pairs)
    assert torch.equal(make_batch(molecules, None).within(2.5).pairs, narrow.pairs)
    assert wide.within(None) is wide


@pytest.mark.parametrize(("own", "of_base"), [(2.5, 5.0), (5.0, 2.5)])
def test_each_term_sees_the_pairs_of_its_own_cutoff(molecules, own, of_base):
    base = potential(cutoff=of_base, seed=1)
    alone = potential(cutoff=own)
    both = potential(cutoff=own, bases=[base])
    assert both.cutoff == 5.0
    found, first, second = (evaluate(model, molecules) for model in (both, alone, base))
    np.testing.assert_allclose(found.energies, first.energies + second.energies, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.forces, first.forces + second.forces, rtol=0, atol=1e-12)


def test_showing_refuses_what_is_not_there():
    class Plain(torch.nn.Module):
        cutoff = 3.0

    class Stated(Plain):
        def uncertainty(self, batch):
            return torch.arange(len(batch.numbers), dtype=torch.float32)

    with pytest.raises(ConfigurationError, match="one network does not have: give --learner committee"):
        potential().showing(frozenset({"committee"}))
    with pytest.raises(ConfigurationError, match="features are asked for, which this model does not show"):
        Potential(Plain(), ATOMS).showing(frozenset({"features"}))
    potential(2).showing(frozenset({"committee", "surrogate"}))
    Potential(Stated(), ATOMS).showing(frozenset({"committee"}))


def test_an_uncertainty_of_its_own_stands_in_for_the_spread_only_where_it_is_asked_for(molecules):
    class Stated(torch.nn.Module):
        cutoff = 3.0

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, batch):
            energies = torch.zeros(len(batch), dtype=torch.float64)
            return energies.index_add(0, batch.molecule, batch.positions.square().sum(-1)) * self.weight

        def uncertainty(self, batch):
            return torch.arange(len(batch.numbers), dtype=torch.float64)

    stated = Potential(Stated(), ATOMS, SCALE)
    assert evaluate(stated, molecules).spread is None
    spread = evaluate(stated.showing(frozenset({"committee"})), molecules).spread
    number = np.arange(sum(map(len, molecules)))
    np.testing.assert_allclose(spread.forces, SCALE * number, rtol=1e-14)
    parts = np.split(number, np.cumsum([len(m) for m in molecules])[:-1])
    np.testing.assert_allclose(spread.energies, [SCALE * np.sqrt((p**2).sum()) for p in parts], rtol=1e-12)


def test_features_are_the_mean_over_the_atoms_and_shown_only_where_they_are_asked_for(molecules):
    class Shown(torch.nn.Module):
        cutoff = 3.0

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, batch):
            energies = torch.zeros(len(batch), dtype=torch.float64)
            return energies.index_add(0, batch.molecule, batch.positions.square().sum(-1)) * self.weight

        def features(self, batch):
            return torch.stack([batch.numbers.double(), torch.ones(len(batch.numbers))], dim=1)

    shown = Potential(Shown(), ATOMS, SCALE)
    assert evaluate(shown, molecules).features is None
    features = evaluate(shown.showing(frozenset({"features"})), molecules).features
    np.testing.assert_allclose(features, [[m.numbers.mean(), 1.0] for m in molecules], rtol=1e-12)
    assert evaluate(shown, molecules).features is None  # the view shows them, not the potential


def test_a_checkpoint_on_a_base_is_the_base_of_another(tmp_path, molecules):
    mmff94 = open_base("mmff94")
    inner = potential(seed=1, bases=[mmff94])
    header = potential_header(ComponentRef("painn", SIZES | {"cutoff": 3.0}), inner, "mmff94", "GFN2-xTB")
    save_potential(tmp_path / "inner.safetensors", inner, header)
    named = str(tmp_path / "inner.safetensors")
    chained = potential(cutoff=2.5, bases=[open_base(named)])
    parts = [potential(cutoff=2.5), potential(seed=1), mmff94]
    found, *answers = (evaluate(model, molecules) for model in (chained, *parts))
    np.testing.assert_allclose(found.energies, sum(a.energies for a in answers), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.forces, sum(a.forces for a in answers), rtol=0, atol=1e-12)


def test_a_committee_survives_its_checkpoint(tmp_path, molecules):
    committee = potential(3)
    header = potential_header(ComponentRef("painn", SIZES | {"cutoff": 3.0}), committee, None, "GFN2-xTB")
    save_potential(tmp_path / "c.safetensors", committee, header)
    again, read = load_potential(tmp_path / "c.safetensors")
    assert read["members"] == 3
    one, two = evaluate(committee, molecules), evaluate(again, molecules)
    assert torch.equal(one.forces, two.forces)
    assert torch.equal(one.spread.forces, two.spread.forces)


@pytest.mark.parametrize("name", ["ase:calculator=os.system", "qcengine:program=x", "psi4"])
def test_a_header_may_not_name_a_base_that_can_run_other_programs(tmp_path, name):
    made = potential()
    header = potential_header(ComponentRef("painn", SIZES | {"cutoff": 3.0}), made, name, "GFN2-xTB")
    save_potential(tmp_path / "p.safetensors", made, header)
    with pytest.raises(ConfigurationError, match="can run other programs: give --delta"):
        load_potential(tmp_path / "p.safetensors")


@pytest.mark.parametrize("name", ["gfn1-xtb", "mmff94"])
def test_a_header_may_name_a_base_that_runs_nothing_else(tmp_path, name):
    made = potential()
    header = potential_header(ComponentRef("painn", SIZES | {"cutoff": 3.0}), made, name, "GFN2-xTB")
    save_potential(tmp_path / "p.safetensors", made, header)
    assert len(load_potential(tmp_path / "p.safetensors")[0].bases) == 1
