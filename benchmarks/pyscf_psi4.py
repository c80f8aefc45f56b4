"""Psi4 and PySCF at wB97X-D/def2-SVP: what their labels of five drugs differ by, and the CPU seconds of both.

    python benchmarks/pyscf_psi4.py --labels labels.json

The labels carry the same level of theory only if energies differ by less than 1e-5 Hartree and forces by less than
1e-4 Hartree/Å. Labels that the file has already are not computed again. Needs Psi4.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from golfbench.chemistry import embed
from golfbench.durable import write_atomically
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef

#: Drugs of 8 to 15 atoms, with all elements of drug-like molecules among them.
DRUGS = {
    "halothane": "FC(F)(F)C(Cl)Br",
    "methimazole": "Cn1cc[nH]c1=S",
    "fluorouracil": "O=c1[nH]cc(F)c(=O)[nH]1",
    "nicotinamide": "NC(=O)c1cccnc1",
    "chlorzoxazone": "O=c1[nH]c2cc(Cl)ccc2o1",
}
ORACLES = ("psi4", "pyscf")
#: Hartree and Hartree/Å: what the same level of theory may differ by.
ENERGY_LIMIT, FORCE_LIMIT = 1e-5, 1e-4


def label(oracle: str, molecule: Molecule) -> dict[str, Any]:
    """Return a label as the file keeps it, with the CPU seconds that it cost."""
    with open_oracle(ComponentRef.parse(oracle), registry()) as engine:
        energy, forces = engine.label(molecule)
        return {
            "engine": engine.version,
            "energy_hartree": energy,
            "forces_hartree_per_angstrom": forces.tolist(),
            "cpu_s": engine.last_cpu_s,
        }


def compare(psi4: dict[str, Any], pyscf: dict[str, Any]) -> tuple[float, float]:
    """Return differences of the energy (Hartree) and, the largest of all components, of the forces (Hartree/Å)."""
    forces = [np.array(one["forces_hartree_per_angstrom"]) for one in (psi4, pyscf)]
    return pyscf["energy_hartree"] - psi4["energy_hartree"], float(np.abs(forces[1] - forces[0]).max())


def main() -> int:
    """Label what is missing, and print a row for each molecule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="JSON file that keeps the labels")
    parser.add_argument("--molecule", action="append", choices=DRUGS, help="only this one; repeatable")
    arguments = parser.parse_args()
    labels: dict[str, Any] = {}
    if arguments.labels and arguments.labels.exists():
        labels = json.loads(arguments.labels.read_text())
    print(
        f"{'molecule':<14}{'atoms':>6}{'energy, Hartree':>18}{'forces, Hartree/Å':>20}{'Psi4, s':>10}{'PySCF, s':>10}"
    )
    equal = True
    for name in arguments.molecule or DRUGS:
        molecule = embed(DRUGS[name], name, 1, seed=1)[0]
        found = labels.setdefault(name, {})
        for oracle in ORACLES:
            if oracle not in found:
                found[oracle] = label(oracle, molecule)
                if arguments.labels:
                    write_atomically(arguments.labels, json.dumps(labels, indent=1) + "\n")
        energy, forces = compare(*(found[oracle] for oracle in ORACLES))
        equal = equal and abs(energy) < ENERGY_LIMIT and forces < FORCE_LIMIT
        costs = "".join(f"{found[oracle]['cpu_s']:>10.1f}" for oracle in ORACLES)
        print(f"{name:<14}{len(molecule):>6}{energy:>18.1e}{forces:>20.1e}{costs}", flush=True)
    print("the same level of theory" if equal else "NOT the same level of theory")
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
