"""Checks of fixed models: those of oracles, and the same in batches."""

from __future__ import annotations

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import Evaluation, FloatArray
from golfbench.molecules import Molecule
from golfbench.specs import ModelSpec
from golfbench.testing import physics, potentials
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.samples import SMALLEST, samples
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []


class Bench:
    """A fixed model.

    Args:
        subject: The component.

    Attributes:
        model: The model.
        elements: Atomic numbers that it declares.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, ModelSpec)
        self.elements = subject.spec.elements
        self.model = subject.create()

    def evaluate_all(self, molecules: list[Molecule]) -> Evaluation:
        """Evaluate molecules in one batch."""
        evaluation: Evaluation = self.model.energy_forces(make_batch(molecules, self.model.cutoff))
        return evaluation

    def evaluate(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) of one molecule.

        Raises:
            Exception: Why the model could not evaluate it.
        """
        evaluation = self.evaluate_all([molecule])
        if 0 in evaluation.errors:
            raise evaluation.errors[0]
        return float(evaluation.energies[0]), evaluation.forces.cpu().numpy()


@check(CHECKS)
def shapes(bench: Bench) -> Finding:
    """Energies are (n_molecules,) and forces (n_atoms, 3), in float64 and detached, for molecules of several sizes."""
    molecules = samples(SMALLEST, bench.elements) * 2
    evaluation = bench.evaluate_all(molecules)
    problems = []
    wanted = {"energies": (len(molecules),), "forces": (sum(map(len, molecules)), 3)}
    for name, shape in wanted.items():
        tensor = getattr(evaluation, name)
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float64 or tensor.requires_grad:
            problems.append(
                f"{name}: {tuple(tensor.shape)} {tensor.dtype}, gradient {tensor.requires_grad}, not {shape}"
            )
    return Finding.of_problems(problems)


CHECKS += potentials.CHECKS


@check(CHECKS, "repeatable")
def batch_equals_single(bench: Bench) -> Finding:
    """A molecule's result in a batch is its result alone."""
    molecules = samples(SMALLEST, bench.elements) * 2
    evaluation = bench.evaluate_all(molecules)
    blocks = torch.split(evaluation.forces.cpu(), [len(m) for m in molecules])
    together = zip(evaluation.energies.tolist(), (b.numpy() for b in blocks), strict=True)
    errors = [physics.difference(pair, bench.evaluate(m)) for pair, m in zip(together, molecules, strict=True)]
    return Finding(float(np.max(errors)), potentials.REPEAT_TOLERANCE, "Hartree, Hartree/Å")


@check(CHECKS, "repeatable")
def bad_neighbour(bench: Bench) -> Finding:
    """A molecule without finite coordinates gets no finite energy, and its neighbours in the batch the usual ones."""
    good = samples(SMALLEST, bench.elements)[0]
    evaluation = bench.evaluate_all([good, good.at(good.positions * np.nan), good])
    problems = []
    if bool(torch.isfinite(evaluation.energies[1])) and 1 not in evaluation.errors:
        problems.append(f"NaN coordinates: energy {float(evaluation.energies[1])}, no error")
    usual, _ = bench.evaluate(good)
    others = (float(evaluation.energies[row]) for row in (0, 2))
    wrong = [energy for energy in others if not abs(energy - usual) <= potentials.REPEAT_TOLERANCE]
    problems += [f"its neighbour's energy is {energy}, alone {usual}" for energy in wrong]
    return Finding.of_problems(problems)
