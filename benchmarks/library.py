"""Minimize a library of conformers: rate, memory, two workers, a kill in the middle, and RDKit's own minimizer beside.

    python benchmarks/library.py --conformers 10000
    python benchmarks/library.py --model checkpoint:datasets/druglike-xtb-10k/baselines/NAME.safetensors

The library is ten ETKDG conformers of each of a thousand molecules, drawn as in ``benchmarks/minimize.py``, in an SDF
below ``--output`` that is made once. ``golfbench minimize`` walks them on one model, to the default threshold:

* ``one``: with one worker;
* ``two``: with two;
* ``killed``: with one, killed by SIGKILL when a third is done, and again when two thirds are; the same command goes on.
  Its output must be that of ``one``, byte for byte;
* ``rdkit``: ``MMFFOptimizeMolecule`` of RDKit, one conformer after the other, until it says that it has converged (a
  gradient norm of 1e-4 kcal/mol/Å in its own measure; the end points are not compared).

Memory is that of the command and of its workers, resident, in MB (10^6 bytes), sampled twice a second: the most in the
first tenth of the conformers, and the most in all. One thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before the first import that reads it

# ruff: noqa: E402
import psutil
from minimize import starts
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from golfbench.chemistry import embed, rdkit_mol
from golfbench.errors import MoleculeError

EACH = 10
SEED = 1
LOOK_S = 0.5


@dataclass
class Row:
    """What a way took.

    Attributes:
        wall_s: From the start of the command to its end.
        cpu_s: Processor time of the command and its workers.
        peak_mb: The most memory.
        early_mb: The most memory while the first tenth was minimized.
        written: Conformers in the output.
        converged: Those that have converged.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    early_mb: float = 0.0
    written: int = 0
    converged: int = 0


def library(path: Path, count: int) -> Path:
    """Return an SDF with so many conformers, made if it is not there."""
    if not path.exists():
        written, unfinished = 0, path.with_suffix(".unfinished")
        with Chem.SDWriter(str(unfinished)) as writer:
            for molecule in starts(-(-count // EACH), SEED):
                try:
                    conformers = embed(molecule.smiles or "", molecule.id, EACH, SEED)
                except MoleculeError:
                    conformers = []
                for one in [*conformers, *[molecule] * (EACH - len(conformers))][: count - written]:
                    mol = rdkit_mol(one)
                    mol.SetProp("_Name", f"{molecule.id}-{written}")
                    writer.write(mol)
                    written += 1
        unfinished.rename(path)
    return path


def walk(inputs: Path, count: int, model: str, output: Path, workers: int, kills: Sequence[float] = ()) -> Row:
    """Run the command, kill it where that is asked for, and measure."""
    row = Row()
    for until in (*kills, None):
        _once(inputs, count, model, output, workers, row, until)
    for mol in Chem.SDMolSupplier(str(output), removeHs=False):
        row.written += 1
        row.converged += mol.GetProp("golfbench_status") == "converged"
    return row


def _once(inputs: Path, count: int, model: str, output: Path, workers: int, row: Row, until: float | None) -> None:
    kind, _, checkpoint = model.partition(":")
    chosen = ["--checkpoint", checkpoint] if kind == "checkpoint" else ["--model", model]
    command = [sys.executable, "-m", "golfbench", "minimize", str(inputs), *chosen, "--workers", str(workers)]
    started = time.perf_counter()
    with (output.with_suffix(".log")).open("a") as log:
        child = psutil.Popen([*command, "--output", str(output)], stdout=log, stderr=log)
        spent: dict[int, float] = {}
        while child.poll() is None:
            done = _done(output)
            with suppress(psutil.Error):
                family = [child, *child.children(recursive=True)]
                resident = sum(process.memory_info().rss for process in family) / 1e6
                spent |= {process.pid: sum(process.cpu_times()[:2]) for process in family}
                row.peak_mb = max(row.peak_mb, resident)
                if done < count / 10:
                    row.early_mb = max(row.early_mb, resident)
            if until is not None and done >= until * count:
                for process in [*child.children(recursive=True), child]:
                    with suppress(psutil.Error):
                        process.kill()
                child.wait()
                break
            time.sleep(LOOK_S)
    row.wall_s += time.perf_counter() - started
    row.cpu_s += sum(spent.values())
    if until is None and child.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}, see {output.with_suffix('.log')}")


def _done(output: Path) -> int:
    """Return how many conformers are done, by the state beside the output."""
    state = output.with_name(f"{output.stem}.partial{output.suffix}.state")
    if not state.exists():
        return 0
    with suppress(sqlite3.Error):
        database = sqlite3.connect(f"file:{state}?mode=ro", uri=True)
        try:
            return int(database.execute("SELECT count(*) FROM molecules").fetchone()[0])
        finally:
            database.close()
    return 0


def by_rdkit(inputs: Path) -> Row:
    """Minimize all by RDKit's own minimizer."""
    row, started, before = Row(), time.perf_counter(), time.process_time()
    for mol in Chem.SDMolSupplier(str(inputs), removeHs=False):
        row.written += 1
        row.converged += rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=5000) == 0
    row.wall_s, row.cpu_s = time.perf_counter() - started, time.process_time() - before
    row.peak_mb = psutil.Process().memory_info().rss / 1e6
    return row


def main() -> int:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conformers", type=int, default=10_000)
    parser.add_argument("--model", default="mmff94", help="a name, or checkpoint:FILE")
    parser.add_argument("--ways", default="one,two,killed,rdkit")
    parser.add_argument("--output", type=Path, default=Path("runs/library"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    inputs = library(given.output / f"{given.conformers}.sdf", given.conformers)
    folder = given.output / f"{given.conformers}-{Path(given.model).name.replace(':', '-')}"
    folder.mkdir(exist_ok=True)

    def minimized(name: str, workers: int, kills: Sequence[float] = ()) -> Callable[[], Row]:
        return lambda: walk(inputs, given.conformers, given.model, folder / f"{name}.sdf", workers, kills)

    ways = {
        "one": minimized("one", 1),
        "two": minimized("two", 2),
        "killed": minimized("killed", 1, (1 / 3, 2 / 3)),
        "rdkit": lambda: by_rdkit(inputs),
    }
    rows: dict[str, Row] = {}
    for name in given.ways.split(","):
        kept = folder / f"{name}.json"
        if not kept.exists():
            (folder / f"{name}.sdf").unlink(missing_ok=True)
            kept.write_text(json.dumps(asdict(ways[name]())))
        rows[name] = Row(**json.loads(kept.read_text()))
    print(f"{given.model}, {given.conformers} conformers")
    print("| way | written | converged | wall s | cpu s | a second | MB, first tenth | MB, most |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        facts = f"{row.wall_s:.0f} | {row.cpu_s:.0f} | {row.written / row.wall_s:.1f}"
        print(f"| {name} | {row.written} | {row.converged} | {facts} | {row.early_mb:.0f} | {row.peak_mb:.0f} |")
    whole, parts = (folder / f"{name}.sdf" for name in ("one", "killed"))
    if {"one", "killed"} <= rows.keys():
        same = whole.read_bytes() == parts.read_bytes()
        print(f"killed twice and gone on with: the output is {'' if same else 'not '}that of one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
