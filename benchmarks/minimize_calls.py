"""Count the force calls that optimizers need on drug-like molecules.

    python benchmarks/minimize_calls.py --engine gfn2-xtb --molecules 16 --optimizer rfo-internal --optimizer lbfgs
    python benchmarks/minimize_calls.py --engine painn:baseline-NNP.pt --optimizer rfo-internal --sella

Every molecule starts from one ETKDG conformer and walks until the largest force of an atom is at most 0.01 eV/Å; the
call at which it first was at most 0.05 is noted on the way. Molecules are drawn from RDKit's ``wehi_mols.csv``, 10 000
molecules of a screening library: neutral, without charged atoms, 20 to 60 atoms, of the elements of drugs. The time
of an optimizer is the processor time of a call to ``step`` per molecule in it; the model's own is not part of it.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from rdkit import Chem

from golfbench.batches import make_batch
from golfbench.chemistry import embed, mol_from_smiles
from golfbench.contracts import Model
from golfbench.errors import MoleculeError
from golfbench.golf.foreign import ForeignFile, open_foreign
from golfbench.golf.models import open_fixed_model
from golfbench.minimize import Point, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

LOOSE, TIGHT = 0.05, 0.01
MAX_CALLS = 200
ATOMS = range(20, 61)
ELEMENTS = {"H", "C", "N", "O", "F", "S", "Cl", "Br"}


@dataclass(slots=True)
class Walked:
    """One molecule's walk: calls to each threshold (``None``: not within ``MAX_CALLS``), and its last energy."""

    loose: int | None = None
    tight: int | None = None
    energy: float = np.nan

    def see(self, call: int, energy: float, force_max_ev: float) -> None:
        """Take in the evaluation number ``call``."""
        self.energy = energy
        if self.loose is None and force_max_ev <= LOOSE:
            self.loose = call
        if self.tight is None and force_max_ev <= TIGHT:
            self.tight = call


def starts(count: int, seed: int) -> list[Molecule]:
    """Return one conformer of each of ``count`` molecules."""
    table = Path(rdkit.__file__).parent / "Data" / "Pains" / "test_data" / "wehi_mols.csv"
    with table.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    random.Random(seed).shuffle(rows)
    found: list[Molecule] = []
    for smiles, name in rows:
        if len(found) == count:
            break
        if suitable(smiles):
            try:
                found += embed(smiles, name, 1, seed)
            except MoleculeError:
                continue
    return found


def suitable(smiles: str) -> bool:
    """Return whether a molecule is one whole of the right size, without charges, of the elements of drugs."""
    try:
        mol = mol_from_smiles(smiles)
    except MoleculeError:
        return False
    atoms = list(mol.GetAtoms())
    whole = len(Chem.GetMolFrags(mol)) == 1 and len(atoms) in ATOMS
    return whole and all(a.GetSymbol() in ELEMENTS and not a.GetFormalCharge() for a in atoms)


class Timed:
    """An optimizer whose processor time is counted."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.seconds, self.steps = optimizer, 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def step(self, slots: torch.Tensor, *state: torch.Tensor) -> torch.Tensor:
        """Pass the step on."""
        started = time.process_time()
        moved: torch.Tensor = self.optimizer.step(slots, *state)
        self.seconds += time.process_time() - started
        self.steps += len(slots)
        return moved


def walk(model: Model, molecules: list[Molecule], optimizer: str) -> tuple[list[Walked], float]:
    """Minimize with one of the suite's optimizers; return the walks and milliseconds per step and molecule."""
    ref = ComponentRef.parse(optimizer)
    timed = Timed(registry().find(OptimizerSpec, ref.name).create(ref.parameters))
    walks = [Walked() for _ in molecules]

    def observe(point: Point) -> bool:
        walks[point.index].see(point.step + 1, point.energy, point.force_max * HARTREE_TO_EV)
        return False

    for _ in minimize(model, molecules, timed, StoppingRule(TIGHT, MAX_CALLS - 1), observe):
        pass
    return walks, 1e3 * timed.seconds / max(timed.steps, 1)


class Counted(Calculator):  # type: ignore[misc]
    """A model as an ASE calculator that notes every evaluation."""

    implemented_properties = ("energy", "forces")

    def __init__(self, model: Model, molecule: Molecule, walked: Walked) -> None:
        super().__init__()
        self.model, self.molecule, self.walked, self.calls = model, molecule, walked, 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Evaluate at the positions of ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        batch = make_batch([self.molecule.at(atoms.positions)], self.model.cutoff)
        evaluation = self.model.energy_forces(batch)
        energy, forces = float(evaluation.energies[0]), evaluation.forces.numpy() * HARTREE_TO_EV
        self.calls += 1
        self.walked.see(self.calls, energy, float(np.linalg.norm(forces, axis=1).max()))
        self.results = {"energy": energy * HARTREE_TO_EV, "forces": forces}


def sella(model: Model, molecules: list[Molecule]) -> Iterator[Walked]:
    """Minimize with Sella in internal coordinates, one molecule after the other."""
    from sella import Sella

    for molecule in molecules:
        walked = Walked()
        atoms = Atoms(molecule.numbers, molecule.positions, calculator=Counted(model, molecule, walked))
        Sella(atoms, order=0, internal=True, logfile=None).run(fmax=TIGHT, steps=MAX_CALLS - 1)
        yield walked


def row(name: str, walks: list[Walked], lowest: np.ndarray, overhead: str) -> str:
    """Return one line of the table; a walk that did not get there counts as ``MAX_CALLS``."""
    loose = [w.loose or MAX_CALLS for w in walks]
    tight = [w.tight or MAX_CALLS for w in walks]
    there = f"{sum(w.loose is not None for w in walks)}/{sum(w.tight is not None for w in walks)}"
    above = (np.array([w.energy for w in walks]) - lowest).mean() * HARTREE_TO_KCAL_MOL
    return f"{name:28s} {np.mean(loose):9.1f} {np.mean(tight):9.1f} {there:>9s} {above:12.2f} {overhead:>9s}"


def open_engine(text: str) -> Model:
    """Return a fixed model by name, or a published checkpoint: ``painn:FILE``."""
    name, _, path = text.partition(":")
    if name == "painn":
        return open_foreign(ForeignFile(Path(path), "golf"), ComponentRef("painn"))[0]
    return open_fixed_model(ComponentRef.parse(text))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="mmff94", help="mmff94, gfn2-xtb or painn:FILE (a published checkpoint)")
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="chooses molecules and conformers")
    parser.add_argument("--optimizer", action="append", default=[], help="may be given several times")
    parser.add_argument("--sella", action="store_true", help="compare with Sella (pip install sella)")
    options = parser.parse_args()
    model, molecules = open_engine(options.engine), starts(options.molecules, options.seed)
    results = {}
    for name in options.optimizer or ["rfo-internal", "lbfgs"]:
        walks, overhead = walk(model, molecules, name)
        results[name] = walks, f"{overhead:.1f}"
    if options.sella:
        results["Sella, internal"] = list(sella(model, molecules)), ""
    lowest = np.min([[w.energy for w in walks] for walks, _ in results.values()], axis=0)
    sizes = [len(m) for m in molecules]
    print(f"{options.engine}, {len(molecules)} molecules of {min(sizes)} to {max(sizes)} atoms")
    print(f"{'':28s} {'to 0.05':>9s} {'to 0.01':>9s} {'converged':>9s} {'kcal/mol up':>12s} {'ms/step':>9s}")
    for name, (walks, cost) in results.items():
        print(row(name, walks, lowest, cost))


if __name__ == "__main__":
    main()
