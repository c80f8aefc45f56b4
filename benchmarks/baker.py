"""Baker's thirty molecules: gradients that an optimizer needs at HF/STO-3G, beside Psi4's own optimizer.

    python benchmarks/baker.py
    python benchmarks/baker.py --subset small --optimizer rfo-internal --optimizer sella --optking
    python benchmarks/baker.py --engine gfn2-xtb --optimizer rfo-internal --optimizer lbfgs
    python benchmarks/baker.py --engine 'psi4:method=hf,basis=6-31g**' --force 4.5e-4

The starts are those of Baker 1993 (doi 10.1002/jcc.540140910), as corrected by Bakken and
Helgaker 2002 (doi 10.1063/1.1515483), read where Psi4 keeps them (Debian: package psi4-data). A walk ends when no
atom's force is above 3e-4 Hartree/Bohr, the bound that both papers put on the largest component; their second
condition, on the energy change or the displacement, is left out. ``--optking`` runs Psi4's optimizer (restricted-step
RFO in redundant internal coordinates, LGPL-3.0) with that bound on its forces and no other.

The last line has published counts of the same molecules: cycles of PyBerny under ASE at HF/6-31G**, whose
bound on the largest component is 4.5e-4 Hartree/Bohr.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.units import Bohr

from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV

DATABASE = Path("/usr/share/psi4/databases/BAKERJCC93.py")
#: Hartree/Bohr.
FORCE = 3e-4
_GEOMETRY = re.compile(r"'%s-%s-reagent'\s*% \(dbse, '([^']+)'\)\] = qcdb\.Molecule\(\"\"\"(.*?)\"\"\"\)", re.DOTALL)
_SUBSET = r"HRXN_{} = \[(.*?)\]"
_TIME_LIMIT_S = 3600
#: Shajan, Manathunga, Götz & Merz 2023 (doi 10.26434/chemrxiv-2023-7r7qn-v4), Table 1, column ASE/Berny, as PyBerny's
#: repository records it (tests/data/baker_shajan_2023/reference.json).
PUBLISHED = {
    "1_3_5_trifluorobenzene": 4,
    "1_3_5_trisilacyclohexane": 4,
    "1_3_difluorobenzene": 4,
    "1_5_difluoronaphthalene": 5,
    "2_hydroxybicyclopentane": 9,
    "ACANIL01": 7,
    "ACHTAR10": 10,
    "acetone": 5,
    "acetylene": 5,
    "allene": 5,
    "ammonia": 4,
    "benzaldehyde": 7,
    "benzene": 3,
    "benzidine": 7,
    "caffeine": 10,
    "difuropyrazine": 7,
    "dimethylpentane": 6,
    "disilyl_ether": 9,
    "ethane": 4,
    "ethanol": 5,
    "furan": 5,
    "histidine": 14,
    "hydroxysulphane": 6,
    "menthone": 10,
    "mesityl_oxide": 7,
    "methylamine": 4,
    "naphthalene": 5,
    "neopentane": 4,
    "pterin": 11,
    "water": 4,
}


def read_set(path: Path, subset: str) -> list[Molecule]:
    """Return the starts; the file is read as text, nothing of it is run."""
    text = path.read_text(encoding="utf-8")
    molecules = [parse(name, block) for name, block in _GEOMETRY.findall(text)]
    if subset != "all":
        listed = re.search(_SUBSET.format({"small": "SM", "large": "LG"}[subset]), text, re.DOTALL)
        assert listed is not None
        names = set(re.findall(r"'([^']+)'", listed[1]))
        molecules = [molecule for molecule in molecules if molecule.id in names]
    return molecules


def parse(name: str, block: str) -> Molecule:
    """Return one molecule of the file."""
    charge, multiplicity, numbers, positions, scale = 0, 1, [], [], 1.0
    for words in (line.split() for line in block.strip().splitlines()):
        if len(words) == 4:
            numbers.append(atomic_numbers[words[0].capitalize()])
            positions.append([float(word) for word in words[1:]])
        elif words and words[0] == "units":
            scale = Bohr if words[1] == "bohr" else 1.0
        elif len(words) == 2 and all(re.fullmatch(r"-?\d+", word) for word in words):
            charge, multiplicity = int(words[0]), int(words[1])
    places = np.array(positions) * scale
    return Molecule(id=name, numbers=np.array(numbers), positions=places, charge=charge, multiplicity=multiplicity)


def by_optimizer(
    name: str, engine: str, molecules: Sequence[Molecule], force: float, most: int
) -> Iterator[tuple[str, int, float]]:
    """Yield molecule, gradients (negative if it did not get there) and final energy, Hartree."""
    ref = ComponentRef.parse(name)
    optimizer = registry().find(OptimizerSpec, ref.name).create(ref.parameters)
    rule = StoppingRule(force / Bohr * HARTREE_TO_EV, most - 1)
    for outcome in minimize(open_fixed_model(ComponentRef.parse(engine)), molecules, optimizer, rule):
        sign = 1 if outcome.status == "converged" else -1
        yield molecules[outcome.point.index].id, sign * outcome.model_calls, outcome.point.energy


def by_optking(molecules: Sequence[Molecule], force: float, most: int) -> Iterator[tuple[str, int, float]]:
    """Yield the same from Psi4's optimizer."""
    for molecule in molecules:
        atoms = zip(molecule.numbers, molecule.positions, strict=True)
        lines = [f"{chemical_symbols[z]} {x:.10f} {y:.10f} {w:.10f}" for z, (x, y, w) in atoms]
        settings = f"basis sto-3g\nscf_type pk\nmax_force_g_convergence {force}\ngeom_maxiter {most}"
        text = f"molecule {{\n{molecule.charge} {molecule.multiplicity}\n" + "\n".join(lines) + "\n}\n"
        text += f"set {{\n{settings}\n}}\noptimize('scf')\n"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "walk.in").write_text(text, encoding="utf-8")
            command = ["psi4", "-n", "1", "walk.in", "walk.out"]
            subprocess.run(command, cwd=folder, capture_output=True, timeout=_TIME_LIMIT_S, check=False)
            told = (Path(folder) / "walk.out").read_text(encoding="utf-8")
        energies = re.findall(r"^\s*(\d+)\s+(-\d+\.\d+)\s+\S+\s+\S+.*~\s*$", told, re.MULTILINE)
        sign = 1 if "Optimization is complete" in told else -1
        steps, energy = (int(energies[-1][0]), float(energies[-1][1])) if energies else (1, np.nan)
        yield molecule.id, sign * steps, energy


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, default=DATABASE, help="Psi4's file of the set")
    parser.add_argument("--subset", choices=["all", "small", "large"], default="all")
    parser.add_argument("--engine", default="psi4:method=hf,basis=sto-3g", help="any oracle")
    parser.add_argument("--optimizer", action="append", default=[], help="may be given several times")
    parser.add_argument("--optking", action="store_true", help="and Psi4's own, at HF/STO-3G")
    parser.add_argument("--force", type=float, default=FORCE, help="the bound, Hartree/Bohr")
    parser.add_argument("--max-calls", type=int, default=100, help="gradients allowed per molecule")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    given = parser.parse_args()
    if not given.database.exists():
        parser.error(f"{given.database} is not there (Debian: apt-get install psi4-data); name it with --database")
    return given


def main() -> None:
    """Print gradients by molecule, each line as it comes, and in all."""
    given = options()
    molecules = read_set(given.database, given.subset)
    end = given.force, given.max_calls
    optimizers = given.optimizer or ["rfo-internal"]
    walks = {name: by_optimizer(name, given.engine, molecules, *end) for name in optimizers}
    if given.optking:
        walks["optking"] = by_optking(molecules, *end)
    results: dict[str, dict[str, tuple[int, float]]] = {}
    for walker, walk in walks.items():
        found = results.setdefault(walker, {})
        for name, calls, energy in walk:
            found[name] = calls, energy
            print(f"{walker:20s} {name:26s} {calls:4d} {energy:16.8f}", flush=True)
        reached = [calls for calls, _ in found.values() if calls > 0]
        print(f"{walker:20s} {len(reached)}/{len(found)} molecules, {sum(reached)} gradients", flush=True)
    published = sum(PUBLISHED[molecule.id] for molecule in molecules)
    print(f"{'published':20s} {len(molecules)}/{len(molecules)} molecules, {published} cycles", flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
