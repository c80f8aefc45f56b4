"""Checks of learners, on a small network that learns springs between the atoms of a few molecules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from golfbench.batches import Batch, make_batch
from golfbench.learning.learner import Task
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential, energies_and_forces
from golfbench.learning.settings import TrainSettings
from golfbench.learning.targets import Remainder
from golfbench.molecules import Molecule
from golfbench.seeds import torch_seed
from golfbench.specs import LearnerSpec
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.samples import SMALLEST, samples
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
_UPDATES = 40
#: Geometries of each molecule, and how far (Å) their atoms are moved at random.
_CONFORMATIONS, _NOISE = 4, 0.1


class _Springs(torch.nn.Module):
    """Energy of pairs from their distances; with ``stiffness`` it is the potential to learn."""

    cutoff: float | None = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(1, 8)
        self.out = torch.nn.Linear(8, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        i, j = batch.pairs
        distances = (batch.positions[i] - batch.positions[j]).norm(dim=-1, keepdim=True)
        pairs = self.out(torch.tanh(self.hidden(distances.to(self.out.weight.dtype))))[:, 0]
        total: torch.Tensor = pairs.new_zeros(len(batch)).index_add(0, batch.molecule[i], pairs)
        return total


class _Stiff(torch.nn.Module):
    """The springs that are learned."""

    cutoff: float | None = 5.0

    def forward(self, batch: Batch) -> torch.Tensor:
        i, j = batch.pairs
        energies = 0.5 * ((batch.positions[i] - batch.positions[j]).norm(dim=-1) - 1.5).square()
        total: torch.Tensor = energies.new_zeros(len(batch)).index_add(0, batch.molecule[i], energies)
        return total


def _rows() -> list[Remainder]:
    """Return labels of distorted molecules under springs."""
    rng, rows = np.random.default_rng(0), []
    for molecule in samples(SMALLEST, None):
        for k in range(_CONFORMATIONS):
            positions = molecule.positions + rng.normal(0, _NOISE, molecule.positions.shape)
            moved = Molecule(f"{molecule.id}/{k}", molecule.numbers, positions)
            energies, forces = energies_and_forces(_Stiff(), make_batch([moved], 5.0))
            rows.append(Remainder(moved, float(energies.detach()[0]), forces.detach().numpy()))
    return rows


def task_for(members: int) -> tuple[Task, Pool]:
    """Return the task for a learner of so many networks, and the labels to learn."""
    rows = _rows()
    with torch_seed(0, "weights"):
        networks = [_Springs() for _ in range(members)]
    elements = {int(z) for row in rows for z in row.molecule.numbers}
    potential = Potential(networks, dict.fromkeys(elements, 0.0))
    settings = TrainSettings(batch_size=4, learning_rate=1e-2)
    return Task(potential, settings, _UPDATES, 0, "contract"), Pool(potential, rows)


class Bench:
    """A learner.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, LearnerSpec)
        self.spec, self.parameters = subject.spec, subject.ref.parameters
        self.rows = _rows()

    def begin(self) -> tuple[Any, Pool]:
        """Return a fresh learner and what it learns."""
        task, pool = task_for(self.spec.members(self.parameters))
        return self.spec.open(self.parameters, task), pool


def _weights(learner: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for network in learner.potential().networks for p in network.parameters()]


def _same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@check(CHECKS)
def counts(bench: Bench) -> Finding:
    """It does as many updates as it is asked for, also none, and reports their number."""
    learner, pool = bench.begin()
    learner.fit(pool, 0)
    begun = learner.update
    learner.fit(pool, 3)
    found = (begun, learner.update)
    return Finding.of_problems([] if found == (0, 3) else [f"it says {found[0]} and {found[1]} updates after 0 and 3"])


@check(CHECKS, "counts")
def learns(bench: Bench) -> Finding:
    """Its mean loss falls."""
    learner, pool = bench.begin()
    first, last = (learner.fit(pool, _UPDATES // 2) for _ in range(2))
    return Finding.of_problems([] if last < first else [f"its mean loss goes from {first:.3g} to {last:.3g}"])


@check(CHECKS, "counts")
def repeatable(bench: Bench) -> Finding:
    """The same task gives the same weights, bit by bit."""
    ends = []
    for _ in range(2):
        learner, pool = bench.begin()
        learner.fit(pool, 10)
        ends.append(_weights(learner))
    return Finding.of_problems([] if _same(*ends) else ["the weights differ"])


@check(CHECKS, "repeatable")
def resumes(bench: Bench) -> Finding:
    """Resumed from the state that it returned, the training goes on like an uninterrupted one, bit by bit."""
    whole, pool = bench.begin()
    whole.fit(pool, 5)
    state, update = {name: tensor.clone() for name, tensor in whole.state().items()}, whole.update
    whole.fit(pool, 5)
    again, pool = bench.begin()
    again.restore(state, update)
    again.fit(pool, 5)
    return Finding.of_problems([] if _same(_weights(whole), _weights(again)) else ["the weights differ"])


@check(CHECKS, "learns")
def evaluates(bench: Bench) -> Finding:
    """After it has finished, its potential has finite energies and forces."""
    learner, pool = bench.begin()
    learner.fit(pool, 5)
    learner.finish(pool)
    potential = learner.potential()
    answer = potential.energy_forces(make_batch([row.molecule for row in bench.rows], potential.cutoff))
    finite = bool(torch.isfinite(answer.energies).all() and torch.isfinite(answer.forces).all())
    return Finding.of_problems([] if finite else ["an energy or a force is not finite"])
