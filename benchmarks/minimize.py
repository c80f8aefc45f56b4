"""Compare minimizers on drug-like molecules: same model, same starts, same threshold, one referee.

    python benchmarks/minimize.py --engine painn:GOLF-1k.pt --molecules 16 --fmax 0.05 0.01
    python benchmarks/minimize.py --engine mmff94 --molecules 1024 --method rfo-internal --json results.json
    python benchmarks/minimize.py --engine gfn2-xtb --method rfo-internal sella --minima 8

Every molecule starts from one ETKDG conformer. Molecules are drawn from RDKit's ``wehi_mols.csv``, 10 000 molecules of
a screening library: neutral, without charged atoms, 20 to 60 atoms, of the elements of drugs. Methods are the suite's
optimizers by name (``rfo-internal``, ``lbfgs:memory=20``), ``ase-lbfgs``, ``sella``, ``torch-sim-fire`` and
``nvalchemi-lbfgs`` where they are installed, each with its own defaults; ``mmff94-first``, which walks on MMFF94 for
nothing and starts from its second derivatives there, so that it may end in other minima; and ``bare``: the model calls
that the first method made and nothing else, which no driver can beat.

Each method runs in a process of its own, on one thread, after it has minimized two molecules as a warm-up; Sella, which
compiles code for each size of molecule, begins with all of them. At the end one evaluation of all end points decides
who has converged. An interruption ends the comparison, and what is there is shown.

Columns: force calls per molecule; end points at the threshold; end points without an imaginary mode, of those looked
at (``--minima``, expensive: two calls per coordinate); mean energy relative to Sella's end points, or else the first
method's, over the molecules that both have finished; wall time; processor time, which others on the machine do not
prolong; molecules per second and share of the time outside model calls, both of processor time, or of wall time where
the model is on a GPU; and memory at the peak on top of the loaded model's.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import platform
import random
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import rdkit
import torch
from ase.data import atomic_masses
from minimize_methods import PEERS, TOGETHER, Meter, Plan, suite
from rdkit import Chem

from golfbench.chemistry import embed, mol_from_smiles
from golfbench.contracts import FloatArray, Model
from golfbench.errors import MoleculeError
from golfbench.learning.foreign import ForeignFile, open_foreign
from golfbench.learning.opening import open_fixed_model
from golfbench.molecules import Molecule
from golfbench.specs import ComponentRef
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

ATOMS = range(20, 61)
ELEMENTS = {"H", "C", "N", "O", "F", "S", "Cl", "Br"}
#: Molecules of the warm-up.
WARM_UP = 2
#: Å; displacement of the finite-difference Hessian.
DISPLACEMENT = 0.01
#: Frequencies below this (1/cm, imaginary ones as negative numbers) are imaginary modes; noise of float32 stays above.
IMAGINARY = -30.0
#: 1/cm per root of Hartree/(Å² u).
_WAVENUMBER = math.sqrt(4.3597447e-18 / 1e-20 / 1.66053907e-27) / (2 * math.pi * 2.99792458e10)
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True, slots=True)
class End:
    """Where a molecule ended, and the totals of the method by then.

    Attributes:
        index: Which molecule.
        positions: (n_atoms, 3), Å.
        calls: Its force calls.
        wall_s: Since the first molecule started.
        busy_s: Processor time since then; wall time with a GPU.
        model_s: Of it, in model calls.
        peak_mb: Memory at the peak so far.
    """

    index: int
    positions: FloatArray
    calls: int
    wall_s: float
    busy_s: float
    model_s: float
    peak_mb: float


@dataclass(slots=True)
class Run:
    """One method's results as far as they are there."""

    method: str
    ends: list[End] = field(default_factory=list)
    warm_up_s: float = math.nan
    failure: str = ""


EVERYTHING = ["rfo-internal", "lbfgs", *PEERS]


def perform(connection: Connection, method: str, plan: Plan, molecules: list[Molecule]) -> None:
    """Run one method, and send its warm-up time and every ``End`` as it comes; text is a failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    meter = Meter(open_engine(plan.engine, plan.device))
    walk = PEERS.get(method) or suite(method)
    resident = memory_mb("VmRSS", meter.device)
    try:
        started = meter.clock()
        warm = (molecules, replace(plan, max_calls=3)) if method == "sella" else (molecules[:WARM_UP], plan)
        for _ in walk(meter, *warm):
            pass
        connection.send(meter.clock() - started)
        meter.calls.clear()
        meter.seconds, started, begun = 0.0, meter.clock(), time.perf_counter()
        for index, positions in walk(meter, molecules, plan):
            wall, busy = time.perf_counter() - begun, meter.clock() - started
            peak = memory_mb("VmHWM", meter.device) - resident
            calls = meter.calls[molecules[index].id]
            connection.send(End(index, positions, calls, wall, busy, meter.seconds, peak))
    except ImportError as error:
        connection.send(f"not installed ({error})")
    except Exception as error:  # noqa: BLE001 - the other methods go on
        connection.send(f"{type(error).__name__}: {error}")


def memory_mb(entry: str, device: torch.device) -> float:
    """Return a line of Linux's account of this process, or the peak of the GPU's memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    account = Path("/proc/self/status")
    lines = account.read_text(encoding="utf-8").splitlines() if account.exists() else []
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith(entry)), math.nan)


def collect(run: Run, plan: Plan, molecules: list[Molecule]) -> None:
    """Run one method in a process of its own, and take in what it sends."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=perform, args=(sender, run.method, plan, molecules), daemon=True)
    process.start()
    sender.close()
    try:
        while True:
            found = receiver.recv()
            if isinstance(found, End):
                run.ends.append(found)
            elif isinstance(found, float):
                run.warm_up_s = found
            else:
                run.failure = found
    except EOFError:
        process.join()
    finally:
        process.kill()


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


def open_engine(text: str, device: str = "cpu") -> Model:
    """Return a fixed model by name, or a published checkpoint: ``painn:FILE``."""
    name, _, path = text.partition(":")
    if name == "painn":
        potential = open_foreign(ForeignFile(Path(path), "golf"), ComponentRef("painn"))[0]
        potential.network.to(device)
        return potential
    return open_fixed_model(ComponentRef.parse(text))


def imaginary_modes(meter: Meter, molecule: Molecule) -> int:
    """Return the number of imaginary modes, from central differences of forces; external motions are taken out."""
    size = 3 * len(molecule)
    shifts = np.concatenate([np.eye(size), -np.eye(size)]).reshape(-1, len(molecule), 3) * DISPLACEMENT
    forces = []
    for first in range(0, len(shifts), TOGETHER):
        moved = [molecule.at(molecule.positions + shift) for shift in shifts[first : first + TOGETHER]]
        forces.append(meter.evaluate(moved).forces.cpu().numpy().reshape(len(moved), size))
    gradients = -np.concatenate(forces)
    hessian = (gradients[:size] - gradients[size:]) / (2 * DISPLACEMENT)
    root = np.sqrt(atomic_masses[molecule.numbers]).repeat(3)
    centred = molecule.positions - np.average(molecule.positions, axis=0, weights=atomic_masses[molecule.numbers])
    shifted = np.tile(np.eye(3), len(molecule))
    turned = np.stack([np.cross(axis, centred).reshape(-1) for axis in np.eye(3)])
    external = np.linalg.svd((np.concatenate([shifted, turned]) * root).T, full_matrices=False)[0]
    inside = np.eye(size) - external @ external.T
    curvatures = np.linalg.eigvalsh(inside @ ((hessian + hessian.T) / 2 / np.outer(root, root)) @ inside)
    return int((np.sign(curvatures) * np.sqrt(np.abs(curvatures)) * _WAVENUMBER < IMAGINARY).sum())


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; energies (Hartree) and largest forces (eV/Å) by molecule."""

    method: str
    fmax: float
    calls: dict[int, int]
    minima: dict[int, bool]
    energies: dict[int, float]
    force_max: dict[int, float]
    wall_s: float
    busy_s: float
    model_s: float
    peak_mb: float
    warm_up_s: float


def judge(meter: Meter, run: Run, plan: Plan, molecules: list[Molecule], minima: int) -> Row:
    """Evaluate the end points of a run."""
    energies, largest = {}, {}
    ended = sorted(run.ends, key=lambda end: end.index)
    for first in range(0, len(ended), TOGETHER):
        some = ended[first : first + TOGETHER]
        found = meter.evaluate([molecules[end.index].at(end.positions) for end in some])
        blocks = found.forces.cpu().split([len(molecules[end.index]) for end in some])  # type: ignore[no-untyped-call]
        for end, energy, block in zip(some, found.energies.tolist(), blocks, strict=True):
            energies[end.index], largest[end.index] = energy, float(block.norm(dim=1).max()) * HARTREE_TO_EV
    looked = [end for end in ended if end.index < minima]
    last = run.ends[-1]
    return Row(
        method=run.method,
        fmax=plan.fmax,
        calls={end.index: end.calls for end in ended},
        minima={end.index: not imaginary_modes(meter, molecules[end.index].at(end.positions)) for end in looked},
        energies=energies,
        force_max=largest,
        wall_s=last.wall_s,
        busy_s=last.busy_s if run.method != "bare" else last.model_s,
        model_s=last.model_s,
        peak_mb=last.peak_mb,
        warm_up_s=run.warm_up_s,
    )


def table(rows: list[Row], plan: Plan) -> str:
    """Return the rows as text."""
    reference = next((row for row in rows if row.method == "sella"), rows[0])
    titles = (
        "calls",
        "success",
        "minima",
        "kcal/mol",
        "wall s",
        "cpu s",
        "mol/s",
        "outside",
        "ms/call",
        "peak MB",
    )
    lines = [f"fmax {plan.fmax} eV/Å", " " * 18 + "".join(f"{title:>10s}" for title in titles)]
    for row in rows:
        walked, number, calls = row.method != "bare", len(row.calls), sum(row.calls.values())
        shared = row.energies.keys() & reference.energies.keys()
        higher = [(row.energies[k] - reference.energies[k]) * HARTREE_TO_KCAL_MOL for k in shared]
        success = sum(value <= plan.fmax * (1 + 1e-4) for value in row.force_max.values())
        outside = row.busy_s - row.model_s
        cells = (
            f"{calls / number:.1f}",
            f"{success}/{number}" if walked else "-",
            f"{sum(row.minima.values())}/{len(row.minima)}" if row.minima and walked else "-",
            f"{np.mean(higher):.2f}" if higher and walked else "-",
            f"{row.wall_s:.1f}",
            f"{row.busy_s:.1f}",
            f"{number / row.busy_s:.2f}",
            f"{outside / row.busy_s:.1%}",
            f"{1e3 * outside / calls:.2f}",
            f"{row.peak_mb:.0f}",
        )
        lines.append(f"{row.method:18s}" + "".join(f"{cell:>10s}" for cell in cells))
    return "\n".join(lines)


def compare(methods: list[str], plan: Plan, molecules: list[Molecule], runs: list[Run]) -> None:
    """Run the methods one after the other; ``runs`` holds what is there if this is interrupted."""
    for method in methods:
        run = Run(method)
        runs.append(run)
        calls = {end.index: end.calls for end in runs[0].ends}  # one each, if bare comes first
        told = replace(plan, calls=tuple(calls.get(k, 1) for k in range(len(molecules))))
        collect(run, told, molecules)
        if run.failure:
            print(f"{method}: {run.failure}", flush=True)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="mmff94", help="mmff94, gfn2-xtb or painn:FILE (a published checkpoint)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="chooses molecules and conformers")
    parser.add_argument("--fmax", type=float, nargs="+", default=[0.05], help="eV/Å, each a comparison of its own")
    parser.add_argument("--max-calls", type=int, default=300, help="force calls allowed per molecule")
    parser.add_argument("--method", nargs="+", default=EVERYTHING, metavar="NAME", help=f"default: {EVERYTHING}")
    parser.add_argument("--in-flight", type=int, help="molecules evaluated together, instead of the driver's choice")
    parser.add_argument("--minima", type=int, default=0, metavar="K", help="look for imaginary modes of the first K")
    parser.add_argument("--json", type=Path, help="write everything here as well")
    return parser.parse_args()


def main() -> None:
    """Compare, and print one table per threshold."""
    options = parse()
    os.environ.update(SINGLE_THREAD)  # read by the processes of the methods when they import what reads it
    torch.set_num_threads(1)
    molecules = starts(options.molecules, options.seed)
    meter = Meter(open_engine(options.engine, options.device))
    sizes = [len(m) for m in molecules]
    print(f"{options.engine}, {len(molecules)} molecules of {min(sizes)} to {max(sizes)} atoms", flush=True)
    done: list[Row] = []
    interrupted = False
    for fmax in options.fmax:
        plan = Plan(options.engine, options.device, fmax, options.max_calls, options.in_flight)
        runs: list[Run] = []
        try:
            compare(options.method, plan, molecules, runs)
        except KeyboardInterrupt:
            interrupted = True
        rows = [judge(meter, run, plan, molecules, options.minima) for run in runs if run.ends]
        done += rows
        print(table(rows, plan) if rows else "", flush=True)
        if options.json:
            facts = {"torch": torch.__version__, "machine": platform.machine(), "rows": [asdict(row) for row in done]}
            asked = {key: value for key, value in vars(options).items() if key != "json"}
            options.json.write_text(json.dumps({"options": asked} | facts, indent=1), encoding="utf-8")
        if interrupted:
            raise SystemExit(130)


if __name__ == "__main__":
    main()
