"""Compare the model Hessian of the internal-coordinate optimizers with Hessians of an engine, and fit its constants.

    python benchmarks/model_hessian.py --engine gfn2-xtb --molecules 40
    python benchmarks/model_hessian.py --engine painn:baseline-NNP.pt --molecules 30 --seed 2

Molecules are drawn as in ``benchmarks/minimize.py`` (the same seed would draw those that it walks: take another),
walked to ``--fmax`` and differentiated twice by central differences of the forces. Two tables come out:

* curvatures of the Hessian in units of the model's, along the eigenvectors of the one in the metric of the other: a
  perfect model has 1 everywhere, and a quasi-Newton minimization has less to learn the narrower their spread is;
* for each kind of coordinate the factor by which a non-negative least-squares fit in that metric would multiply its
  present constant. Half of the molecules are fitted, the other half tells what that is worth.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from minimize import DISPLACEMENT, open_engine, starts
from minimize_methods import TOGETHER
from scipy.optimize import nnls

from golfbench.batches import make_batch
from golfbench.contracts import FloatArray, Model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench_optimizers.hessian_guess import contact_curvature, contact_pairs, force_constants
from golfbench_optimizers.internals import values_and_derivatives
from golfbench_optimizers.rfo_internal import CARTESIAN, RFOInternal, external_motions
from golfbench_optimizers.topology import Topology, find_topology

#: Curvatures below this share of the model's are taken for it in the fit: negative ones cannot be fitted.
FLOOR = 0.1
#: The fit is repeated in the metric of its own result.
ROUNDS = 6
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Case:
    """One molecule: its Hessian, Hartree/Å², and the parts of the model's, by kind of coordinate.

    Attributes:
        hessian: (n, n), without external motions.
        external: (n, 6) or fewer orthonormal columns.
        parts: (n, n) by kind.
        rest: (n, n), what has no constant.
    """

    hessian: FloatArray
    external: FloatArray
    parts: Mapping[str, FloatArray]
    rest: FloatArray

    def model(self, factors: Mapping[str, float]) -> FloatArray:
        """Return the model Hessian with some factors; external motions have the curvature 1."""
        inside = np.eye(len(self.rest)) - self.external @ self.external.T
        whole = sum((factors[kind] * part for kind, part in self.parts.items()), self.rest)
        return inside @ whole @ inside + self.external @ self.external.T

    def whiten(self, factors: Mapping[str, float]) -> FloatArray:
        """Return the inverse square root of the model Hessian."""
        values, vectors = np.linalg.eigh(self.model(factors))
        return (vectors / np.sqrt(np.maximum(values, 1e-9))) @ vectors.T

    def curvatures(self, factors: Mapping[str, float]) -> FloatArray:
        """Return the curvatures of the Hessian in units of the model's, without external motions."""
        root = self.whiten(factors)
        found = np.linalg.eigvalsh(root @ self.hessian @ root)
        return np.delete(found, np.argsort(np.abs(found))[: self.external.shape[1]])


def hessian_of(model: Model, molecule: Molecule) -> FloatArray:
    """Return the Hessian (n, n), Hartree/Å², from central differences of the forces."""
    size = molecule.positions.size
    shifts = np.concatenate([np.eye(size), -np.eye(size)]).reshape(-1, len(molecule), 3) * DISPLACEMENT
    forces = []
    for first in range(0, len(shifts), TOGETHER):
        moved = [molecule.at(molecule.positions + shift) for shift in shifts[first : first + TOGETHER]]
        found = model.energy_forces(make_batch(moved, model.cutoff)).forces
        forces.append(found.cpu().numpy().reshape(len(moved), size))
    gradients = -np.concatenate(forces)
    hessian: FloatArray = (gradients[:size] - gradients[size:]) / (2 * DISPLACEMENT)
    return (hessian + hessian.T) / 2


def kinds(topology: Topology, molecule: Molecule) -> list[str]:
    """Return the kind of each internal coordinate: those that have a constant of their own."""
    heavy, degree = molecule.numbers > 10, topology.bonded.sum(1)
    found = ["bond, third row" if heavy[bond].any() else "bond" for bond in topology.bonds]
    for i, apex, k in topology.angles:
        ends = int(molecule.numbers[i] != 1) + int(molecule.numbers[k] != 1)
        known = "angle, third row" if heavy[apex] else f"angle, {min(degree[apex], 4)} bonds, {ends} heavy ends"
        found.append(known)
    *_, torsions, impropers, linear = topology.counts
    return found + ["torsion"] * torsions + ["improper"] * impropers + ["linear bend"] * linear


def case(molecule: Molecule, hessian: FloatArray) -> Case:
    """Take the model Hessian of a molecule apart."""
    topology = find_topology(molecule.numbers, molecule.positions)
    _, matrix = values_and_derivatives(topology, molecule.positions)
    constants = force_constants(topology, molecule.numbers, molecule.positions)
    parts: defaultdict[str, FloatArray] = defaultdict(lambda: np.zeros(hessian.shape))
    for kind, row, constant in zip(kinds(topology, molecule), matrix, constants, strict=True):
        parts[kind] += constant * np.outer(row, row)
    parts["contact"] = contact_curvature(contact_pairs(topology), molecule.numbers, molecule.positions)
    motions = external_motions(molecule.positions)
    external = np.linalg.svd(motions.T, full_matrices=False)[0]
    inside = np.eye(len(hessian)) - external @ external.T
    return Case(inside @ hessian @ inside, external, dict(parts), CARTESIAN * np.eye(len(hessian)))


def fit(cases: Sequence[Case]) -> dict[str, float]:
    """Return the factor of each kind of coordinate."""
    names = sorted({kind for each in cases for kind in each.parts})
    factors = dict.fromkeys(names, 1.0)
    for _ in range(ROUNDS):
        normal, right = np.zeros((len(names), len(names))), np.zeros(len(names))
        for each in cases:
            root = each.whiten(factors)
            values, vectors = np.linalg.eigh(root @ each.hessian @ root)
            inside = np.eye(len(root)) - each.external @ each.external.T
            target = (vectors * np.maximum(values, FLOOR)) @ vectors.T - root @ inside @ each.rest @ inside @ root
            nothing = np.zeros_like(root)
            columns = [root @ inside @ each.parts.get(name, nothing) @ inside @ root for name in names]
            rows = np.stack(columns).reshape(len(names), -1)
            normal, right = normal + rows @ rows.T, right + rows @ target.reshape(-1)
        lower = np.linalg.cholesky(normal + 1e-9 * np.trace(normal) * np.eye(len(names)))
        factors = dict(zip(names, nnls(lower.T, np.linalg.solve(lower, right))[0].tolist(), strict=True))
    return factors


def spread(title: str, cases: Sequence[Case], factors: Mapping[str, float]) -> str:
    """Return one line of the first table."""
    found = np.concatenate([each.curvatures(factors) for each in cases])
    positive = np.log(found[found > 0.01])
    return (
        f"{title:24s}" + "".join(f"{value:8.2f}" for value in np.quantile(found, QUANTILES)) + f"{positive.std():8.2f}"
    )


def walked(model: Model, molecules: Sequence[Molecule], fmax: float) -> Iterator[Molecule]:
    """Yield the molecules near a minimum."""
    for outcome in minimize(model, molecules, RFOInternal(), StoppingRule(fmax, 100)):
        if outcome.status == "converged":
            yield molecules[outcome.point.index].at(outcome.point.positions)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="gfn2-xtb", help="an oracle, or painn:FILE (a published checkpoint)")
    parser.add_argument("--molecules", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fmax", type=float, default=0.05, help="eV/Å")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, molecules = open_engine(given.engine), starts(given.molecules, given.seed)
    cases = [case(molecule, hessian_of(model, molecule)) for molecule in walked(model, molecules, given.fmax)]
    fitted, others = cases[::2], cases[1::2]
    factors = fit(fitted)
    present = dict.fromkeys({kind for each in cases for kind in each.parts}, 1.0)
    print(f"{given.engine}: {len(cases)} molecules, curvatures in units of the model's; sd of their logarithms")
    print(" " * 24 + "".join(f"{quantile:8.0%}" for quantile in QUANTILES) + "      sd")
    print(spread("model as it is", cases, present))
    print(spread("fitted, same molecules", fitted, factors))
    print(spread("fitted, others", others, {**present, **factors}))
    print("\nfactors of the constants")
    for kind, factor in factors.items():
        print(f"{kind:32s}{factor:8.2f}")


if __name__ == "__main__":
    main()
