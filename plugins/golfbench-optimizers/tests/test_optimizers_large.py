"""Molecules that are too large or too crowded for internal coordinates: bounded work, and a word about it."""

import logging

import numpy as np
import pytest
import torch

from golfbench.molecules import Molecule
from golfbench_optimizers.large import LARGEST
from golfbench_optimizers.lbfgs import LBFGS
from golfbench_optimizers.lbfgs_internal import LBFGSInternal
from golfbench_optimizers.rfo_internal import RFOInternal
from golfbench_optimizers.topology import find_topology

INTERNAL = [RFOInternal, LBFGSInternal]


def grid(atoms, spacing):
    side = int(np.ceil(atoms ** (1 / 3)))
    places = np.array([(i, j, k) for i in range(side) for j in range(side) for k in range(side)], dtype=float)
    return Molecule(
        "grid", np.full(atoms, 6), spacing * places[:atoms] + 0.01 * np.sin(np.arange(3 * atoms)).reshape(-1, 3)
    )


def first_step(optimizer, molecule, forces):
    optimizer.allocate(1, len(molecule), torch.device("cpu"))
    optimizer.admit(0, molecule)
    given = torch.from_numpy(molecule.positions)[None], torch.zeros(1, dtype=torch.float64), forces
    return optimizer.step(torch.tensor([0]), *given)


@pytest.mark.parametrize("atoms", [21, 60, 200])
@pytest.mark.parametrize("make", INTERNAL)
def test_a_collapsed_geometry_follows_its_forces(make, atoms):
    crowd = grid(atoms, 0.5)
    with pytest.raises(np.linalg.LinAlgError, match="torsions"):
        find_topology(crowd.numbers, crowd.positions)
    forces = torch.from_numpy(0.01 * np.cos(np.arange(3 * atoms)).reshape(1, -1, 3))
    moved = first_step(make(), crowd, forces)
    assert torch.allclose(moved, moved.norm() / forces.norm() * forces)
    assert moved.norm() > 0


def test_a_ferrocene_is_no_crowd():
    angle = 2 * np.pi * np.arange(5) / 5
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(5)], axis=1)
    halves = [np.concatenate([1.21 * ring, 2.29 * ring]) + np.array([0, 0, z]) for z in (1.65, -1.65)]
    numbers = np.array([26, *([6] * 5 + [1] * 5) * 2])
    topology = find_topology(numbers, np.concatenate([np.zeros((1, 3)), *halves]))
    assert len(topology.bonds) == 10 + 10 + 10


@pytest.mark.parametrize("make", INTERNAL)
def test_a_large_molecule_walks_like_lbfgs_and_it_is_said(make, caplog):
    large = grid(LARGEST + 1, 1.5)
    forces = torch.from_numpy(0.01 * np.cos(np.arange(3 * len(large))).reshape(1, -1, 3))
    with caplog.at_level(logging.WARNING, "golfbench.optimizers"):
        moved = first_step(make(), large, forces)
    assert torch.equal(moved, first_step(LBFGS(), large, forces))
    assert [record.args for record in caplog.records] == [("grid", LARGEST + 1, LARGEST)]


@pytest.mark.parametrize("make", INTERNAL)
def test_of_many_large_molecules_the_first_is_named(make, caplog):
    optimizer, large = make(), grid(LARGEST + 1, 1.5)
    with caplog.at_level(logging.WARNING, "golfbench.optimizers"):
        for _ in range(2):  # a run allocates anew for each group of molecules
            optimizer.allocate(2, len(large), torch.device("cpu"))
            optimizer.admit(0, large)
            optimizer.admit(1, large)
    assert len(caplog.records) == 1
