"""Batches: pairs against brute force, exact cutoffs, independence of batch mates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golfbench.batches import Batch, make_batch, neighbour_pairs, pad_positions
from golfbench.molecules import Molecule


def cloud(size: int, seed: int, width: float = 4.0) -> Molecule:
    rng = np.random.default_rng([size, seed])
    return Molecule(f"{size}-{seed}", rng.integers(1, 10, size), rng.uniform(-width, width, (size, 3)))


def brute_force(molecules: list[Molecule], cutoff: float | None) -> list[tuple[int, int]]:
    """Pairs by a loop over atoms, in Python floats."""
    pairs, first = [], 0
    for molecule in molecules:
        for i, a in enumerate(molecule.positions.tolist()):
            for j, b in enumerate(molecule.positions.tolist()):
                squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
                if i != j and (cutoff is None or squared < cutoff**2):
                    pairs.append((first + i, first + j))
        first += len(molecule)
    return pairs


def listed(batch: Batch) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in batch.pairs.T.tolist()]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    cutoff=st.one_of(st.none(), st.floats(0.0, 16.0)),
)
def test_pairs_are_those_of_brute_force(sizes: list[int], seed: int, cutoff: float | None) -> None:
    molecules = [cloud(size, seed + k) for k, size in enumerate(sizes)]
    assert listed(make_batch(molecules, cutoff)) == brute_force(molecules, cutoff)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(order=st.permutations(range(5)), seed=st.integers(0, 99), cutoff=st.sampled_from([None, 3.0, 5.0]))
def test_pairs_of_a_molecule_do_not_depend_on_batch_mates(order: list[int], seed: int, cutoff: float | None) -> None:
    molecules = [cloud(2 * k + 1, seed) for k in range(5)]
    batch = make_batch([molecules[k] for k in order], cutoff)
    pairs = batch.pairs
    for row, k in enumerate(order):
        first, end = batch.offsets[row : row + 2].tolist()
        own = pairs[:, (pairs[0] >= first) & (pairs[0] < end)] - first
        assert torch.equal(own, make_batch([molecules[k]], cutoff).pairs)


def test_packing() -> None:
    ion = Molecule("ion", np.array([7, 1, 1, 1, 1]), cloud(5, 0).positions, charge=1)
    radical = Molecule("radical", np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 1.0]]), multiplicity=2)
    batch = make_batch([ion, radical], 0.0)
    assert len(batch) == 2
    assert batch.sizes == [5, 2]
    assert batch.numbers.tolist() == [7, 1, 1, 1, 1, 8, 1]
    assert batch.molecule.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert batch.offsets.tolist() == [0, 5, 7]
    assert batch.charges.tolist() == [1, 0]
    assert batch.multiplicities.tolist() == [1, 2]
    assert batch.positions.dtype == torch.float64
    assert batch.positions.numpy().tobytes() == np.concatenate([ion.positions, radical.positions]).tobytes()
    for integers in (batch.numbers, batch.molecule, batch.offsets, batch.charges, batch.multiplicities, batch.pairs):
        assert integers.dtype == torch.int64


@pytest.mark.parametrize("cutoff", [0.7, 3.0, 5.0])
def test_a_pair_at_the_cutoff_is_out_and_the_next_number_below_is_in(cutoff: float) -> None:
    for distance, count in ((cutoff, 0), (np.nextafter(cutoff, 0), 2), (np.nextafter(cutoff, 9), 0)):
        pair = Molecule("pair", np.array([1, 1]), np.array([[0, 0, 0], [0, distance, 0]]))
        assert make_batch([pair], cutoff).pairs.shape == (2, count)


def test_no_cutoff_has_all_pairs_and_cutoff_zero_none() -> None:
    far = Molecule("far", np.array([1, 1, 1]), np.array([[0, 0, 0], [0, 0, 1e6], [0, 0, 0]]))
    assert listed(make_batch([far], None)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert listed(make_batch([far], float("inf"))) == listed(make_batch([far], None))
    assert make_batch([far], 0.0).pairs.shape == (2, 0)


def test_a_single_atom_has_no_pairs() -> None:
    atom = cloud(1, 0)
    for cutoff in (None, 0.0, 5.0):
        batch = make_batch([atom], cutoff)
        assert batch.pairs.shape == (2, 0)
        assert batch.pairs.dtype == torch.int64
    assert listed(make_batch([atom, cloud(2, 0), atom], None)) == [(1, 2), (2, 1)]


def test_padded_positions_replace_the_molecules_own() -> None:
    molecules = [cloud(3, 0), cloud(5, 1)]
    elsewhere = [m.at(m.positions * 0.5) for m in molecules]
    padded = torch.full((2, 8, 3), torch.nan, dtype=torch.float64)  # wider than needed; padding must never be read
    for row, molecule in enumerate(elsewhere):
        padded[row, : len(molecule)] = torch.tensor(molecule.positions)
    batch, expected = make_batch(molecules, 2.5, padded_positions=padded), make_batch(elsewhere, 2.5)
    assert torch.equal(batch.positions, expected.positions)
    assert torch.equal(batch.pairs, expected.pairs)
    assert batch.molecules == tuple(molecules)
    for current, there in zip(batch.current_molecules(), elsewhere, strict=True):
        assert current.positions.tobytes() == there.positions.tobytes()


def test_pad_positions() -> None:
    molecules = [cloud(2, 0), cloud(4, 0)]
    assert pad_positions(molecules).shape == (2, 4, 3)
    padded = pad_positions(molecules, 6).numpy()
    assert padded.shape == (2, 6, 3)
    assert not padded[0, 2:].any()
    assert padded[1, :4].tobytes() == molecules[1].positions.tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_atoms_that_are_nowhere_have_no_pairs_and_disturb_nobody(value: float, cutoff: float | None) -> None:
    sound, broken = cloud(4, 0, width=0.8), cloud(4, 1, width=0.8)
    positions = broken.positions.copy()
    positions[2, 1] = value
    batch = make_batch([broken.at(positions), sound], cutoff)
    assert 2 not in batch.pairs
    assert [p for p in listed(batch) if p[0] < 4] == [(0, 1), (0, 3), (1, 0), (1, 3), (3, 0), (3, 1)]
    assert [(i - 4, j - 4) for i, j in listed(batch) if i >= 4] == listed(make_batch([sound], cutoff))


def test_replaced_positions_keep_the_pairs_and_carry_gradients() -> None:
    batch = make_batch([cloud(3, 0)], None)
    positions = batch.positions.clone().requires_grad_(True)
    again = batch.replace_positions(positions)
    assert again.positions is positions
    assert again.pairs is batch.pairs
    i, j = again.pairs
    (gradient,) = torch.autograd.grad((again.positions[i] - again.positions[j]).square().sum(), positions)
    assert torch.allclose(gradient, 4 * 3 * (batch.positions - batch.positions.mean(0)))


def test_neighbour_pairs_takes_a_mask_with_gaps() -> None:
    padded = torch.zeros(1, 4, 3, dtype=torch.float64)
    padded[0, :, 0] = torch.arange(4.0)
    mask = torch.tensor([[True, False, True, True]])
    assert neighbour_pairs(padded, mask, 1.5).tolist() == [[1, 2], [2, 1]]
