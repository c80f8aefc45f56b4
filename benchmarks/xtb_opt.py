"""Compare an optimizer on GFN2-xTB with the optimizer of the program xtb: force calls at equal final energy.

    python benchmarks/xtb_opt.py --molecules 16 --level vtight
    python benchmarks/xtb_opt.py --xtb path/to/xtb --optimizer rfo-internal --optimizer sella --json result.json

Starts are those of the test molecules of ``druglike-xtb``. xtb (LGPL-3.0-or-later; Debian: ``apt-get install xtb``)
walks first, with its own engine, from ``xtb start.xyz --gfn 2 --opt LEVEL``. Its force calls are the optimization
cycles that it reports, each of which is one gradient; what it does before them (the start once more) and after them
(a last single point) is not counted. One referee, the suite's ``gfn2-xtb``, judges all end points.

Then every optimizer walks from the same starts on ``gfn2-xtb``. Columns: force calls until the energy is no more than
``--within`` (kcal/mol) above that of xtb's end point; how many molecules get there; mean energy of the end points
relative to xtb's; largest force at the end point, mean; force calls until the largest force of an atom is at most
``--fmax``, where the walk ends. A molecule that ends above, in another minimum, is left out of the first column.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase.io import read, write

from golfbench.batches import make_batch
from golfbench.chemistry import to_ase
from golfbench.contracts import Model
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import Point, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, DatasetSpec, OptimizerSpec
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

LEVELS = ("crude", "sloppy", "loose", "lax", "normal", "tight", "vtight", "extreme")
TIME_LIMIT_S = 600
_CYCLE = re.compile(r"^\s*\*\s*total energy\s*:", re.MULTILINE)


@dataclass(slots=True)
class EndPoint:
    """Where one walk ended.

    Attributes:
        name: The molecule.
        calls: Force calls.
        converged: By the walker's own criterion.
        energy: Hartree, by the referee.
        force_max: Largest force of an atom, eV/Å, by the referee.
        calls_to_energy: Force calls until the energy is as low as xtb's end point, or ``None``.
    """

    name: str
    calls: int
    converged: bool
    energy: float
    force_max: float
    calls_to_energy: int | None = None


def run_xtb(program: str, molecule: Molecule, level: str) -> tuple[Molecule, int, bool]:
    """Return the end point of xtb, its force calls, and whether it says that it has converged.

    Raises:
        RuntimeError: If xtb gives no end point.
    """
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "start.xyz", to_ase(molecule), format="xyz", fmt="%20.12f")
        command = [program, "start.xyz", "--gfn", "2", "--opt", level]
        command += ["--chrg", str(molecule.charge), "--uhf", str(molecule.multiplicity - 1)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_STACKSIZE": "1G"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
        converged = "GEOMETRY OPTIMIZATION CONVERGED" in done.stdout
        end = Path(folder) / ("xtbopt.xyz" if converged else "xtblast.xyz")
        if not end.exists():
            raise RuntimeError(f"{molecule.id}: xtb ended with {done.returncode}: {done.stderr[-300:]}")
        return molecule.at(read(end).positions), len(_CYCLE.findall(done.stdout)), converged


def judged(model: Model, molecule: Molecule) -> tuple[float, float]:
    """Return energy (Hartree) and largest force (eV/Å) of the referee."""
    evaluation = model.energy_forces(make_batch([molecule], model.cutoff))
    if evaluation.errors:
        raise evaluation.errors[0]
    return float(evaluation.energies[0]), float(evaluation.forces.norm(dim=1).max()) * HARTREE_TO_EV


def by_xtb(program: str, model: Model, molecules: Sequence[Molecule], level: str) -> list[EndPoint]:
    """Minimize with xtb."""
    found = []
    for molecule in molecules:
        end, calls, converged = run_xtb(program, molecule, level)
        found.append(EndPoint(molecule.id, calls, converged, *judged(model, end), calls_to_energy=calls))
    return found


def by_optimizer(
    name: str, model: Model, molecules: Sequence[Molecule], targets: Sequence[float], rule: StoppingRule
) -> list[EndPoint]:
    """Minimize with one of the suite's optimizers; ``targets`` are energies, Hartree."""
    ref = ComponentRef.parse(name)
    optimizer = registry().find(OptimizerSpec, ref.name).create(ref.parameters)
    reached: dict[int, int] = {}

    def observe(point: Point) -> bool:
        if point.energy <= targets[point.index]:
            reached.setdefault(point.index, point.step + 1)
        return False

    found: dict[int, EndPoint] = {}
    for outcome in minimize(model, molecules, optimizer, rule, observe):
        point, index = outcome.point, outcome.point.index
        converged, force_max = outcome.status == "converged", point.force_max * HARTREE_TO_EV
        end = EndPoint(molecules[index].id, outcome.model_calls, converged, point.energy, force_max)
        end.calls_to_energy = reached.get(index)
        found[index] = end
    return [found[index] for index in range(len(molecules))]


def row(name: str, ends: Sequence[EndPoint], reference: Sequence[EndPoint]) -> str:
    """Return one line of the table."""
    to_energy = [end.calls_to_energy for end in ends if end.calls_to_energy is not None]
    mean = np.mean(to_energy) if to_energy else np.nan
    others = np.mean([r.calls for r, end in zip(reference, ends, strict=True) if end.calls_to_energy is not None])
    above = np.mean([end.energy - r.energy for end, r in zip(ends, reference, strict=True)]) * HARTREE_TO_KCAL_MOL
    force, calls = np.mean([end.force_max for end in ends]), np.mean([end.calls for end in ends])
    there = f"{len(to_energy)}/{len(ends)}"
    whole = f"{sum(end.converged for end in ends)}/{len(ends)}"
    return f"{name:24s} {mean:8.1f} {others:8.1f} {there:>8s} {above:10.3f} {force:10.4f} {calls:8.1f} {whole:>10s}"


def starts(count: int) -> list[Molecule]:
    """Return the starts of the first test molecules of ``druglike-xtb``."""
    dataset = registry().find(DatasetSpec, "druglike-xtb").create({}).read()
    return [test.molecule for test in dataset.test[:count]]


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xtb", default="xtb", help="the program")
    parser.add_argument("--level", default="vtight", choices=LEVELS, help="xtb's criteria of convergence")
    parser.add_argument("--molecules", type=int, default=16)
    parser.add_argument("--optimizer", action="append", default=[], help="may be given several times")
    parser.add_argument("--within", type=float, default=0.01, help="kcal/mol above xtb's end point that count as equal")
    parser.add_argument("--fmax", type=float, default=0.01, help="eV/Å")
    parser.add_argument("--max-steps", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write all end points to this file")
    given = parser.parse_args()
    if shutil.which(given.xtb) is None:
        parser.error(f"there is no program '{given.xtb}' (Debian: apt-get install xtb); name it with --xtb")
    return given


def main() -> None:
    """Print the table."""
    given = options()
    model, molecules = open_fixed_model(ComponentRef("gfn2-xtb")), starts(given.molecules)
    results = {"xtb": by_xtb(given.xtb, model, molecules, given.level)}
    targets = [end.energy + given.within / HARTREE_TO_KCAL_MOL for end in results["xtb"]]
    rule = StoppingRule(given.fmax, given.max_steps)
    for name in given.optimizer or ["rfo-internal"]:
        results[name] = by_optimizer(name, model, molecules, targets, rule)
    sizes = [len(molecule) for molecule in molecules]
    print(f"{len(molecules)} molecules of {min(sizes)} to {max(sizes)} atoms, xtb --opt {given.level}")
    print(f"{'':24s} {'to E':>8s} {'xtb':>8s} {'there':>8s} {'kcal/mol':>10s} {'eV/Å':>10s} {'calls':>8s} converged")
    for name, ends in results.items():
        print(row(name, ends, results["xtb"]))
    if given.json:
        listed = {name: [asdict(end) for end in ends] for name, ends in results.items()}
        given.json.write_text(json.dumps(listed, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
