"""Count the oracle's gradients to a minimum, from the starts of a dataset's test molecules and by several ways.

    python benchmarks/oracle_gradients.py --ways psi4,rfo-internal,geometric,aimnet2 --molecules fluorouracil,thiamazole
    python benchmarks/oracle_gradients.py --ways aimnet2,taught --taught runs/ID/checkpoints/NAME.safetensors
    python benchmarks/oracle_gradients.py --dataset druglike-mini --oracle gfn2-xtb --ways rfo-internal,aimnet2

Ways:

* ``psi4``: Psi4's own optimizer, at the options of the oracle ``psi4``, until no force is above the threshold, as for
  the others;
* ``rfo-internal``, ``geometric``, ``sella``, ...: an optimizer of the suite on the oracle's forces alone;
* ``aimnet2``, ...: ``golfbench minimize --model aimnet2 --oracle ORACLE --oracle-budget N``: a walk on a model, which
  the oracle finishes;
* ``taught``: the same with the checkpoint of ``--taught``;
* ``aimnet2+learn``, ``taught+learn``: the same with ``--learn``.

Each way has a folder below ``--output`` with its end points and its ledger, and goes on there after an interruption.
The table has the gradients of each molecule, and in brackets how far the end point is above the reference minimum
(kcal/mol; below it where it is negative: another basin). A gradient of 20 atoms at the default level of ``psi4`` takes
40 s of one core where Debian's Psi4 has OpenBLAS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before the first import that reads it

# ruff: noqa: E402
import numpy as np
from rdkit import Chem

from golfbench.chemistry import rdkit_mol
from golfbench.datasets import TestMolecule
from golfbench.registry import registry
from golfbench.runs.runner import open_dataset
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV, HARTREE_TO_KCAL_MOL
from golfbench_psi4.engine import KEYWORDS
from golfbench_psi4.location import candidates

OWN, TAUGHT = "psi4", "taught"
#: Psi4's own threshold is of internal coordinates and may end above ours: it is set below, and the walk ends at ours.
BELOW_OURS = {"g_convergence": "gau_tight", "geom_maxiter": 200}
#: Run by the interpreter that has Psi4; the request is on standard input. The optimizer asks the driver's ``gradient``.
OPTIMIZE = """
import json, sys
sys.path += sys.argv[1:]
import psi4
asked = json.load(sys.stdin)
psi4.core.set_output_file(asked["log"], False)
psi4.core.set_num_threads(1, quiet=True)
psi4.core.set_memory_bytes(10**9, True)
molecule = psi4.core.Molecule.from_arrays(
    geom=asked["positions"], elez=asked["numbers"], units="Angstrom", molecular_charge=asked["charge"],
    molecular_multiplicity=1, fix_symmetry="c1", verbose=0)
psi4.set_options(asked["options"])
driver = sys.modules["psi4.driver.driver"]
energies, gradients, plain = [], [], driver.gradient

class Arrived(Exception):
    pass

def counted(*given, **named):
    found, wavefunction = plain(*given, **named)
    energies.append(wavefunction.energy())
    gradients.append(found.np.tolist())
    if (found.np ** 2).sum(axis=1).max() ** 0.5 <= asked["force_max"]:
        raise Arrived
    return found, wavefunction

driver.gradient = counted
try:
    psi4.optimize(asked["method"], molecule=molecule)
except Arrived:
    pass
print(json.dumps({"energies": energies, "gradients": gradients}))
"""


@dataclass(frozen=True)
class End:
    """What a way came to: gradients, and the energy above the reference minimum, kcal/mol (NaN: not arrived)."""

    gradients: int
    above: float


def write_starts(tests: Sequence[TestMolecule], path: Path) -> None:
    """Write the starts, with bonds and names."""
    with Chem.SDWriter(str(path)) as writer:
        for test in tests:
            mol = rdkit_mol(test.molecule)
            mol.SetProp("_Name", test.molecule.id)
            writer.write(mol)


def by_psi4(test: TestMolecule, force_max: float, folder: Path) -> End:
    """Minimize by Psi4's own optimizer; what is finished is kept."""
    kept = folder / f"{test.molecule.id.replace('/', '_')}.json"
    if not kept.exists():
        asked = {
            "positions": test.molecule.positions.ravel().tolist(),
            "numbers": test.molecule.numbers.tolist(),
            "charge": test.molecule.charge,
            "force_max": force_max / HARTREE_TO_EV * BOHR_TO_ANGSTROM,  # Hartree/Bohr
            "log": kept.with_suffix(".log").name,
            "method": "wB97X-D",
            "options": {**KEYWORDS, "basis": "def2-SVP", "reference": "rks", **BELOW_OURS},
        }
        place = next(candidates(""))
        done = subprocess.run(
            [*place.command, "-c", OPTIMIZE, *place.folders],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=kept.parent,  # Psi4 leaves files where it is started
        )
        if done.returncode:
            sys.exit(f"{test.molecule.id}: {done.stderr[-500:]}")
        kept.write_text(done.stdout.splitlines()[-1])
    told = json.loads(kept.read_text())
    forces = np.array([np.reshape(gradient, (-1, 3)) for gradient in told["gradients"]]) * HARTREE_TO_EV
    largest = np.linalg.norm(forces / BOHR_TO_ANGSTROM, axis=2).max(axis=1)
    arrived = np.flatnonzero(largest <= force_max)
    if not len(arrived):
        return End(len(largest), np.nan)
    return End(int(arrived[0]) + 1, (told["energies"][arrived[0]] - test.minimum.energy) * HARTREE_TO_KCAL_MOL)


def by_suite(way: str, given: argparse.Namespace, tests: Sequence[TestMolecule]) -> Iterator[End]:
    """Minimize by ``golfbench minimize``."""
    folder = given.output / way
    command = [sys.executable, "-m", "golfbench", "minimize", str(folder / "starts.sdf"), "--json"]
    command += ["--force-max", str(given.force_max), "--output", str(folder / "ends.sdf")]
    alone = registry().has("optimizer", way.partition(":")[0])
    if alone:
        command += ["--model", given.oracle, "--optimizer", way, "--workers", str(given.workers)]
    else:
        model, _, learn = way.partition("+")
        command += ["--checkpoint", str(given.taught)] if model == TAUGHT else ["--model", model]
        command += [f"--{learn}"] if learn else []
        command += ["--oracle", given.oracle, "--oracle-budget", str(40 * len(tests))]
    write_starts(tests, folder / "starts.sdf")
    rows = folder / "rows.json"
    if not rows.exists():
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):  # 1: some have not arrived, which the table says
            sys.exit(done.returncode)
        rows.write_text(done.stdout)
    found = {row["id"]: row for row in json.loads(rows.read_text())["rows"]}
    for test in tests:
        row = found[test.molecule.id]
        energy = row["energy_final_hartree" if alone else "oracle_energy_hartree"]
        arrived = row["status"] in ("converged", "verified") and energy is not None
        above = (energy - test.minimum.energy) * HARTREE_TO_KCAL_MOL if arrived else np.nan
        yield End(row["model_calls" if alone else "oracle_labels"], above)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="druglike-dft")
    parser.add_argument("--oracle", default="psi4")
    parser.add_argument("--ways", default="rfo-internal,aimnet2", help="comma-separated")
    parser.add_argument("--molecules", help="names of test molecules; default: all")
    parser.add_argument("--taught", type=Path, help="a checkpoint of a run")
    parser.add_argument("--force-max", type=float, default=0.02, help="eV/Å")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/oracle_gradients"))
    given = parser.parse_args()
    names = given.molecules.split(",") if given.molecules else None
    dataset = open_dataset(given.dataset)
    tests = [test for test in dataset.test if names is None or test.molecule.id.split("/")[0] in names]
    table: dict[str, list[End]] = {}
    for way in given.ways.split(","):
        folder = given.output / way
        folder.mkdir(parents=True, exist_ok=True)
        if way == OWN:
            with ThreadPoolExecutor(given.workers) as pool:
                table[way] = list(pool.map(lambda test, at=folder: by_psi4(test, given.force_max, at), tests))
        else:
            table[way] = list(by_suite(way, given, tests))
    print(f"gradients to {given.force_max} eV/Å (kcal/mol above the reference minimum)")
    print(f"{'molecule':18s}" + "".join(f"{way:>20s}" for way in table))
    for k, test in enumerate(tests):
        cells = [f"{ends[k].gradients} ({ends[k].above:.2f})" for ends in table.values()]
        print(f"{test.molecule.id:18s}" + "".join(f"{cell:>20s}" for cell in cells))
    means = [
        f"{np.mean([end.gradients for end in ends]):.1f} ({np.mean([end.above for end in ends]):.2f})"
        for ends in table.values()
    ]
    print(f"{'mean':18s}" + "".join(f"{cell:>20s}" for cell in means))


if __name__ == "__main__":
    main()
