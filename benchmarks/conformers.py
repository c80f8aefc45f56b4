"""Compare searches for the lowest conformer: RDKit with MMFF94 alone, Auto3D, and ``golfbench.conformers``.

    python benchmarks/conformers.py --ways rdkit,golfbench,auto3d --molecules 20

Molecules are the first drugs of ``druglike-xtb``, from their SMILES, stereocentres as drawn. ``rdkit`` and
``golfbench`` embed so many conformers of each as ``--count`` says; Auto3D (PyPI: ``auto3d==2.3.1``) with AIMNet2
chooses the number itself. ``rdkit`` takes the lowest by MMFF94, the other two the lowest by AIMNet2. Each way's
conformer is then walked to 0.005 eV/Å on AIMNet2 and, from there, on GFN2-xTB, by the same optimizer. The table has
energies above the lowest that any way has found at that level (kcal/mol), and the processor seconds of the search.
Each way runs in a process of its own, on one thread; what is there below ``--output`` is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before the first import that reads it

# ruff: noqa: E402
import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from golfbench.runs.runner import open_dataset
from golfbench.units import HARTREE_TO_KCAL_MOL

LEVELS = ("aimnet2", "gfn2-xtb")
FORCE_MAX = 0.005


def by_rdkit(smiles: dict[str, str], count: int, folder: Path) -> dict[str, Chem.Mol]:
    """Embed by ETKDGv3, minimize by MMFF94, take the lowest."""
    found = {}
    for name, text in smiles.items():
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = 1
        rdDistGeom.EmbedMultipleConfs(mol, count, parameters)
        ends = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, maxIters=2000)
        best = min(mol.GetConformers(), key=lambda c: ends[c.GetId()][1]).GetId()
        found[name] = Chem.Mol(mol, confId=best)
    return found


def by_golfbench(smiles: dict[str, str], count: int, folder: Path) -> dict[str, Chem.Mol]:
    """Search as the suite does."""
    import golfbench

    found = {}
    for name, text in smiles.items():
        (ensemble,) = golfbench.conformers(text, count=count, seed=1)
        found[name] = ensemble[0].molecule
    return found


def by_auto3d(smiles: dict[str, str], count: int, folder: Path) -> dict[str, Chem.Mol]:
    """Search as Auto3D does."""
    from Auto3D.auto3D import main, options

    given = folder / "auto3d.smi"
    given.write_text("".join(f"{text} {name}\n" for name, text in smiles.items()))
    path = main(options(str(given), k=1, use_gpu=False, mpi_np=1, enumerate_isomer=False))
    return {mol.GetProp("_Name").split("_")[0]: mol for mol in Chem.SDMolSupplier(path, removeHs=False)}


WAYS: dict[str, Callable[[dict[str, str], int, Path], dict[str, Chem.Mol]]] = {
    "rdkit": by_rdkit,
    "golfbench": by_golfbench,
    "auto3d": by_auto3d,
}


def search(way: str, given: argparse.Namespace) -> None:
    """Run one way in this process, and keep its conformers and its processor time."""
    tests = islice(open_dataset("druglike-xtb").test, given.molecules)
    smiles = {test.molecule.id.split("/")[0]: test.molecule.smiles for test in tests}
    found = WAYS[way](smiles, given.count, given.output)
    with Chem.SDWriter(str(given.output / f"{way}.sdf")) as writer:
        for name, mol in found.items():
            mol.SetProp("_Name", name)
            writer.write(mol)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(one.ru_utime + one.ru_stime for one in spent)
    (given.output / f"{way}.json").write_text(json.dumps({"cpu_s": cpu_s}))


def energies(way: str, output: Path) -> dict[str, list[float]]:
    """Return energies (Hartree) at each level, by molecule; NaN where a walk has not converged."""
    found: dict[str, list[float]] = {}
    start = output / f"{way}.sdf"
    for level in LEVELS:
        kept, end = output / f"{way}-{level}.json", output / f"{way}-{level}.sdf"
        if not kept.exists():
            command = [sys.executable, "-m", "golfbench", "minimize", str(start), "--model", level, "--json"]
            command += ["--force-max", str(FORCE_MAX), "--output", str(end)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode not in (0, 1):
                sys.exit(done.returncode)
            kept.write_text(done.stdout)
        for row in json.loads(kept.read_text())["rows"]:
            energy = row["energy_final_hartree"] if row["status"] == "converged" else np.nan
            found.setdefault(row["id"], []).append(energy)
        start = end
    return found


def main() -> None:
    """Search by every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default="rdkit,golfbench", help=f"comma-separated, of {', '.join(WAYS)}")
    parser.add_argument("--molecules", type=int, default=20)
    parser.add_argument("--count", type=int, default=50, help="conformers embedded of a molecule")
    parser.add_argument("--output", type=Path, default=Path("runs/conformers"))
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    given.output = given.output.absolute()
    if given.only:
        search(given.only, given)
        return
    ways = given.ways.split(",")
    for way in ways:
        if not (given.output / f"{way}.json").exists():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", way], check=True)
    table = {way: energies(way, given.output) for way in ways}
    print(f"{'molecule':20s}" + "".join(f"{f'{way}, {level}':>22s}" for level in LEVELS for way in ways))
    above: dict[tuple[str, str], list[float]] = {}
    for name in table[ways[0]]:
        cells = []
        for k, level in enumerate(LEVELS):
            lowest = np.nanmin([table[way][name][k] for way in ways if name in table[way]])
            for way in ways:
                energy = table[way].get(name, [np.nan, np.nan])[k]
                above.setdefault((level, way), []).append((energy - lowest) * HARTREE_TO_KCAL_MOL)
                cells.append(above[level, way][-1])
        print(f"{name:20s}" + "".join(f"{cell:22.2f}" for cell in cells))
    columns = [(level, way) for level in LEVELS for way in ways]
    print(f"{'mean':20s}" + "".join(f"{np.nanmean(above[column]):22.2f}" for column in columns))
    print(f"{'within 0.1':20s}" + "".join(f"{np.sum(np.array(above[column]) < 0.1):22d}" for column in columns))
    for way in ways:
        told = json.loads((given.output / f"{way}.json").read_text())
        print(f"{way}: {told['cpu_s']:.0f} s of processor time, {len(table[way])} molecules")


if __name__ == "__main__":
    main()
