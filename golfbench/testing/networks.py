"""Checks of trainable networks. Their outputs have no unit, so errors are shares of the largest energy or force.

Derivatives and symmetries are judged in float64 (``network.double()``), where rounding errors are small.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfbench.batches import Batch, make_batch
from golfbench.contracts import FloatArray, HasFeatures
from golfbench.learning import checkpoint
from golfbench.learning.learner import load_weights
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.seeds import torch_seed
from golfbench.specs import ModelSpec, Spec
from golfbench.testing import physics
from golfbench.testing.results import Check, CheckSkipped, Finding, check
from golfbench.testing.samples import STANDARD, molecules_by_element, samples
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
#: Shares of the largest energy or force.
FLOAT32_TOLERANCE = 1e-3
REPEAT_TOLERANCE = 1e-6
EXACT_TOLERANCE = 1e-8
GRADIENT_TOLERANCE = 1e-6
JUMP_TOLERANCE = 1e-4
#: Å.
DIFFERENCE_STEP = 1e-4
#: Noise on the weights before gradients are looked for: a layer that starts at zero hides the gradients of those before
#: it.
WEIGHT_NOISE = 0.01
#: Below this (no unit) a network's outputs count as zero, and shares of them mean nothing.
_NOTHING = 1e-12
_SHARE = "of the largest"


class Bench:
    """A network, and what is computed with it.

    Args:
        subject: The component.

    Attributes:
        network: In the precision that it was built with, and evaluating.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, ModelSpec)
        self.subject, self.spec = subject, subject.spec
        self.network = self.build()

    def build(self, seed: int = 0) -> Any:
        """Return a network with the weights of a seed, as a run builds it."""
        with torch_seed(seed, "weights"):
            network = self.subject.create()
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"the factory of a trainable model returned {type(network).__name__}, not a torch module")
        return network.eval()

    @cached_property
    def precise(self) -> Any:
        """The same network in float64."""
        return self.build().double()

    @cached_property
    def molecules(self) -> list[Molecule]:
        """The standard molecules that have only its elements."""
        return samples(STANDARD, self.spec.elements)

    def batch(self, molecules: Sequence[Molecule]) -> Batch:
        """Pack molecules with the pairs that the network asks for."""
        return make_batch(molecules, self.network.cutoff)

    def energies(self, network: Any, molecules: Sequence[Molecule]) -> FloatArray:
        """Return energies (n_molecules,), no unit."""
        with torch.no_grad():
            values: FloatArray = network(self.batch(molecules)).double().numpy()
        return values

    def evaluate(self, network: Any, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy and forces (n_atoms, 3) of one molecule, no unit."""
        energies, forces = energies_and_forces(network, self.batch([molecule]), create_graph=False)
        return float(energies.detach()), forces.detach().double().numpy()


def _scale(evaluated: Sequence[tuple[float, FloatArray]]) -> float:
    """Return the largest energy or force component."""
    return max(max(abs(energy), float(np.abs(forces).max())) for energy, forces in evaluated)


def _share(error: float, scale: float) -> float:
    return error / scale if scale > _NOTHING else error


@check(CHECKS)
def shapes(bench: Bench) -> Finding:
    """It returns (n_molecules,) energies in the dtype of its parameters, from a cutoff in Å or None."""
    network, problems = bench.network, []
    trainable = [p for p in network.parameters() if p.requires_grad]
    if not trainable:
        return Finding.of_problems(["it has no trainable parameter"])
    cutoff = network.cutoff
    if cutoff is not None and not 0 < float(cutoff) < float("inf"):
        return Finding.of_problems([f"cutoff {cutoff!r} is no distance"])
    with torch.no_grad():
        energies = network(bench.batch(bench.molecules))
    if tuple(energies.shape) != (len(bench.molecules),):
        problems.append(f"energies are {tuple(energies.shape)}, not ({len(bench.molecules)},)")
    if energies.dtype != trainable[0].dtype:
        problems.append(f"energies are {energies.dtype}, the parameters {trainable[0].dtype}")
    return Finding.of_problems(problems)


@check(CHECKS, "shapes")
def input_untouched(bench: Bench) -> Finding:
    """The batch that was given, molecules included, is as it was."""
    given, kept = bench.batch(bench.molecules), bench.batch([m.at(m.positions) for m in bench.molecules])
    with torch.no_grad():
        bench.network(given)
    fields = ("numbers", "positions", "molecule", "offsets", "charges", "multiplicities", "pairs")
    changed = [name for name in fields if not torch.equal(getattr(given, name), getattr(kept, name))]
    pairs = zip(given.molecules, kept.molecules, strict=True)
    changed += [m.id for m, before in pairs if m.to_json() != before.to_json()]
    return Finding.of_problems(changed, "changed fields")


@check(CHECKS, "input-untouched")
def repeatable(bench: Bench) -> Finding:
    """The same batch gives the same energies again, with another one in between: nothing is kept between calls."""
    first = bench.energies(bench.network, bench.molecules)
    bench.energies(bench.network, [m.at(m.positions * 1.01) for m in bench.molecules[::-1]])
    errors = np.abs([bench.energies(bench.network, bench.molecules) - first for _ in range(2)])
    return Finding(_share(float(errors.max()), float(np.abs(first).max())), REPEAT_TOLERANCE, _SHARE)


@check(CHECKS, "repeatable")
def first_call(bench: Bench) -> Finding:
    """A fresh process gets the same forces, bit for bit, from the first call on, so that runs can be resumed."""
    first, *later = bench.subject.probe["calls"]
    return Finding.of_problems([f"call {k} differs from the first" for k, e in enumerate(later, 2) if e != first])


@check(CHECKS, "shapes")
def seeds(bench: Bench) -> Finding:
    """The same seed gives the same weights, another seed others."""
    first, again, other = (bench.build(seed).state_dict() for seed in (1, 1, 2))
    problems = [f"{name}: differs" for name, value in first.items() if not torch.equal(value, again[name])]
    if all(torch.equal(value, other[name]) for name, value in first.items()):
        problems.append("every seed gives the same weights")
    return Finding.of_problems(problems)


@check(CHECKS, "repeatable")
def finite(bench: Bench) -> Finding:
    """Energies and forces of small drug-like molecules are finite, and depend on the positions."""
    evaluated = {m.id: bench.evaluate(bench.network, m) for m in bench.molecules}
    problems = [f"{name}: not finite" for name, (e, f) in evaluated.items() if not np.isfinite([e, *f.flat]).all()]
    if not problems and not any(f.any() for _, f in evaluated.values()):
        problems.append("every force is zero")
    return Finding.of_problems(problems)


@check(CHECKS, "repeatable", "finite")
def float64(bench: Bench) -> Finding:
    """Converted to float64, it computes in float64 and gives the same result up to rounding."""
    precise = bench.precise(bench.batch(bench.molecules))
    if precise.dtype != torch.float64:
        return Finding(float("inf"), FLOAT32_TOLERANCE, _SHARE, f"after double() energies are {precise.dtype}")
    reference = precise.detach().numpy()
    errors = np.abs(bench.energies(bench.network, bench.molecules) - reference)
    return Finding(_share(float(errors.max()), float(np.abs(reference).max())), FLOAT32_TOLERANCE, _SHARE)


@check(CHECKS, "float64")
def forces(bench: Bench) -> Finding:
    """Forces are minus the gradient of the energy (finite differences of the energy along random directions)."""
    evaluate = partial(bench.evaluate, bench.precise)
    errors, factors = [], []
    for molecule in bench.molecules[:2]:
        error, factor = physics.gradient_error(evaluate, molecule, DIFFERENCE_STEP)
        errors.append(_share(error, _scale([evaluate(molecule)])))
        factors.append(factor)
    worst = int(np.argmax(errors))
    detail = physics.explain_factor(factors[worst]) if not errors[worst] <= GRADIENT_TOLERANCE else ""
    return Finding(errors[worst], GRADIENT_TOLERANCE, _SHARE, detail)


def _symmetry(bench: Bench, error: Any) -> Finding:
    evaluate = partial(bench.evaluate, bench.precise)
    errors = [_share(error(evaluate, m), _scale([evaluate(m)])) for m in bench.molecules]
    worst = int(np.argmax(errors))
    return Finding(errors[worst], EXACT_TOLERANCE, _SHARE, f"largest for {bench.molecules[worst].id}")


@check(CHECKS, "float64")
def translation(bench: Bench) -> Finding:
    """Moving the molecule changes nothing."""
    return _symmetry(bench, physics.translation_error)


@check(CHECKS, "float64")
def rotation(bench: Bench) -> Finding:
    """Rotating the molecule keeps its energy and rotates its forces with it."""
    return _symmetry(bench, physics.rotation_error)


@check(CHECKS, "float64")
def permutation(bench: Bench) -> Finding:
    """Another order of the atoms keeps the energy and puts the forces in that order."""
    return _symmetry(bench, physics.permutation_error)


@check(CHECKS, "float64")
def batch_equals_single(bench: Bench) -> Finding:
    """A molecule's energy in a batch is its energy alone."""
    together = bench.energies(bench.precise, bench.molecules)
    alone = [bench.energies(bench.precise, [m])[0] for m in bench.molecules]
    return Finding(
        _share(float(np.abs(together - alone).max()), float(np.abs(together).max())), EXACT_TOLERANCE, _SHARE
    )


@check(CHECKS, "float64")
def features(bench: Bench) -> Finding:
    """The features of its atoms are (n_atoms, n_features), the same when the molecule is rotated or not alone."""
    if not isinstance(bench.precise, HasFeatures):
        raise CheckSkipped("it shows no features")
    errors, largest = [], []
    for molecule in bench.molecules:
        with torch.no_grad():
            turned = molecule.at(molecule.positions @ physics.rotation().T)
            alone = bench.precise.features(bench.batch([molecule]))
            both = bench.precise.features(bench.batch([molecule, turned]))
        if alone.ndim != 2 or len(alone) != len(molecule) or len(both) != 2 * len(molecule):
            return Finding.of_problems([f"{molecule.id}: features are {tuple(alone.shape)}, of {len(molecule)} atoms"])
        errors.append(float((both - alone.repeat(2, 1)).abs().max()))
        largest.append(float(alone.abs().max()))
    return Finding(_share(max(errors), max(largest)), EXACT_TOLERANCE, _SHARE)


def _pair_at(bench: Bench, distance: float) -> Molecule:
    """Return two molecules as one, of which the closest atoms are ``distance`` (Å) apart."""
    first = bench.molecules[0]
    second = bench.molecules[-1]
    left = first.positions - first.positions[first.positions[:, 0].argmax()]
    right = second.positions - second.positions[second.positions[:, 0].argmin()]
    both = np.concatenate([left, right + np.array([distance, 0.0, 0.0])])
    return Molecule(f"pair {distance:.4f} Å apart", np.concatenate([first.numbers, second.numbers]), both)


def _cutoff(bench: Bench) -> float:
    if bench.network.cutoff is None:
        raise CheckSkipped("it asks for all pairs")
    return float(bench.network.cutoff)


@check(CHECKS, "float64")
def locality(bench: Bench) -> Finding:
    """Two molecules farther apart than the cutoff do not interact."""
    cutoff = _cutoff(bench)
    near, far = bench.energies(bench.precise, [_pair_at(bench, cutoff * factor) for factor in (1.01, 2.0)])
    return Finding(_share(abs(float(near - far)), abs(float(far))), EXACT_TOLERANCE, _SHARE)


@check(CHECKS, "float64")
def smooth_cutoff(bench: Bench) -> Finding:
    """The energy does not jump where a pair of atoms crosses the cutoff."""
    cutoff = _cutoff(bench)
    inside, outside = bench.energies(bench.precise, [_pair_at(bench, cutoff + shift) for shift in (-1e-4, 1e-4)])
    return Finding(_share(abs(float(inside - outside)), abs(float(outside))), JUMP_TOLERANCE, _SHARE)


@check(CHECKS, "float64")
def gradients(bench: Bench) -> Finding:
    """A loss of energies and forces reaches every trainable parameter, with finite gradients."""
    network = bench.build().double()
    with torch_seed(0, "noise"), torch.no_grad():
        for parameter in network.parameters():
            parameter += WEIGHT_NOISE * torch.randn_like(parameter)
    ions = [_cation(bench.molecules[0])] if bench.spec.charged else []  # to reach an embedding of the charge
    energies, forces = energies_and_forces(network, bench.batch([*bench.molecules, *ions]), create_graph=True)
    loss = energies.square().mean() + (forces - 0.1).square().mean()
    loss.backward()
    trained = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    problems = [f"{name}: none" for name, gradient in trained.items() if gradient is None or not gradient.any()]
    problems += [f"{n}: not finite" for n, g in trained.items() if g is not None and not torch.isfinite(g).all()]
    return Finding.of_problems(problems, "parameters")


@check(CHECKS, "repeatable")
def checkpoint_round_trip(bench: Bench) -> Finding:
    """Weights saved to a checkpoint and loaded into a fresh network give the same energies."""
    other = bench.build(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        checkpoint.save(path, checkpoint.prefixed("network", bench.network.state_dict()), {"model": bench.spec.name})
        tensors, _ = checkpoint.load(path)
    load_weights(other, checkpoint.unprefixed("network", tensors), "the checkpoint")
    saved, loaded = (bench.energies(n, bench.molecules) for n in (bench.network, other))
    return Finding(float(np.abs(saved - loaded).max()), 0.0, "no unit")


@check(CHECKS, "shapes")
def elements(bench: Bench) -> Finding:
    """Every declared element of drug-like molecules (H C N O F P S Cl Br I) gets a finite energy."""
    problems = []
    for symbol, molecule in molecules_by_element(bench.spec.elements).items():
        try:
            if not np.isfinite(bench.energies(bench.network, [molecule])).all():
                problems.append(f"{symbol}: not finite")
        except Exception as error:  # noqa: BLE001 - the next element is still of interest
            problems.append(f"{symbol}: {type(error).__name__}: {error}")
    return Finding.of_problems(problems, "elements")


def _cation(molecule: Molecule) -> Molecule:
    """Return the molecule without one of its electrons."""
    return replace(molecule, charge=1, multiplicity=2, smiles=None)


def _tells_charges(spec: Spec) -> bool:
    return isinstance(spec, ModelSpec) and spec.charged


@check(CHECKS, "float64", when=_tells_charges)
def charge(bench: Bench) -> Finding:
    """A molecule and its cation at the same geometry have different energies, as charged declares."""
    molecule = bench.molecules[0]
    neutral, charged = (bench.energies(bench.precise, [m])[0] for m in (molecule, _cation(molecule)))
    return Finding.of_problems([] if neutral != charged else ["the energies are the same"])
