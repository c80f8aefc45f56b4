"""Watch the memory of a run's process and of those below it while one worker answers many oracle calls.

    python benchmarks/memory.py
    python benchmarks/memory.py --oracle gfn2-xtb --calls 500 --molecules water,ethanol,caffeine,aspirin
    python benchmarks/memory.py --oracle psi4 --calls 30 --molecules caffeine --most-gb 3

Molecules take turns, every call at another geometry (0.02 Å of noise), through the service of a run with its ledger and
its labels. Resident memory in MB (10^6 bytes): after the call that of this process, and that of the engines and their
guards, beside the most that these had since the row before. ``processes`` counts the engine processes so far: a child
that leaks is replaced. Caffeine has 24 atoms; thirty gradients of it take half an hour on a quiet core.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from golfbench.chemistry import embed
from golfbench.contracts import Label
from golfbench.molecules import Molecule
from golfbench.oracles.service import Account, OracleService
from golfbench.specs import ComponentRef

SMILES = {
    "water": "O",
    "ethanol": "CCO",
    "benzene": "c1ccccc1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
}
DEFAULTS = (
    ("gfn2-xtb", 500, "water,ethanol,benzene,caffeine,aspirin"),
    ("psi4:method=hf,basis=sto-3g", 30, "water"),
)
NOISE_ANGSTROM = 0.02
#: Rows of a table; so few calls have a row each.
LOOKS, FEW = 10, 40
#: Between two looks at the memory of a call that is under way, s.
PAUSE_S = 0.1


def geometries(names: list[str]) -> Iterator[Molecule]:
    """Yield the molecules in turn, at another geometry each time, for ever."""
    rng = np.random.default_rng(1)
    for molecule in cycle([embed(SMILES[name], name, 1, seed=1)[0] for name in names]):
        yield molecule.at(molecule.positions + rng.normal(0.0, NOISE_ANGSTROM, molecule.positions.shape))


def resident() -> tuple[float, float]:
    """Return resident memory (MB) of this process, and of everything below it."""
    here = psutil.Process()
    return tuple(sum(p.memory_info().rss for p in group) / 1e6 for group in ([here], here.children(recursive=True)))


class Peak:
    """The most memory (MB) of the processes below this one, looked at all the time; and how many engines there were."""

    def __init__(self) -> None:
        self.most, self._engines = 0.0, set[int]()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def engines(self) -> int:
        """How many guards of engines were seen."""
        return len(self._engines)

    def _watch(self) -> None:
        while True:
            with contextlib.suppress(psutil.Error):
                self._engines |= {process.pid for process in psutil.Process().children()}
                self.most = max(self.most, resident()[1])
            time.sleep(PAUSE_S)


def watch(service: OracleService, oracle: str, molecules: Iterator[Molecule], calls: int) -> float:
    """Label, print one row now and then, and return the most memory (MB) that the engines had."""
    print(f"{oracle}, {calls} calls")
    print(f"{'calls':>7}{'parent MB':>11}{'workers MB':>12}{'peak MB':>10}{'processes':>11}{'ms/call':>10}")
    rows = range(1, calls + 1) if calls <= FEW else {1, 2, 5, *(round(calls * k / LOOKS) for k in range(1, LOOKS + 1))}
    seen: list[tuple[float, float]] = []
    peak, most = Peak(), 0.0
    last, clock = 0, time.perf_counter()
    for number, molecule in enumerate(islice(molecules, calls), start=1):
        (answer,) = service.label_all(ComponentRef.parse(oracle), [molecule], Account("", "before", "initial"))
        assert isinstance(answer, Label), answer
        if number in rows:
            ms = 1e3 * (time.perf_counter() - clock) / (number - last)
            seen.append(resident())
            parent, workers = seen[-1]
            most, at_most, peak.most = max(most, peak.most), peak.most, 0.0
            print(f"{number:7d}{parent:11.1f}{workers:12.1f}{at_most:10.1f}{peak.engines:11d}{ms:10.1f}", flush=True)
            last, clock = number, time.perf_counter()
    growth = np.array(seen[-1]) - np.array(seen[0])
    print(f"growth after the first call: parent {growth[0]:+.1f} MB, workers {growth[1]:+.1f} MB; peak {most:.0f} MB\n")
    return most


def main() -> None:
    """Read the command line and print one table per oracle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", help="an oracle as golfbench writes it; default: GFN2-xTB and Psi4")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--molecules", default="water,aspirin", help=f"with commas: {', '.join(SMILES)}")
    parser.add_argument("--most-gb", type=float, help="end with exit code 1 if the engines ever have more (GB)")
    given = parser.parse_args()
    jobs = [(given.oracle, given.calls, given.molecules)] if given.oracle else DEFAULTS
    with TemporaryDirectory() as folder, contextlib.closing(OracleService(Path(folder), workers=1)) as service:
        peaks = [watch(service, name, geometries(molecules.split(",")), calls) for name, calls, molecules in jobs]
    sys.exit(given.most_gb is not None and max(peaks) > 1e3 * given.most_gb)


if __name__ == "__main__":
    main()
