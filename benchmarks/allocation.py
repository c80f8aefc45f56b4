"""What a training step costs when the process keeps freed memory, and when it gives it back to the system.

    python benchmarks/allocation.py
    python benchmarks/allocation.py --model painn:preset=small --steps 20

Each case runs in a process of its own with one thread, by turns; times are processor time for each of eight drugs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

MODELS = ("painn:preset=small", "schnet:preset=small", "mace:preset=small", "aimnet2")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
#: Keeps glibc as it is: a user's settings stay, and these set nothing.
PLAIN = {"GLIBC_TUNABLES": ""}


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="default: " + ", ".join(MODELS))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(*measure(asked.one, asked.steps))
        return
    print("model  ms kept  ms given back  ratio  page faults kept  given back  MB kept  given back")
    for model in asked.model or MODELS:
        runs = [(once(model, asked.steps, {}), once(model, asked.steps, PLAIN)) for _ in range(asked.rounds)]
        kept, plain = ([median(values) for values in zip(*side, strict=True)] for side in zip(*runs, strict=True))
        ratio = plain[0] / kept[0]
        print(f"{model}  {kept[0]:.1f}  {plain[0]:.1f}  {ratio:.2f}  {kept[1]:.0f}  {plain[1]:.0f}  ", end="")
        print(f"{kept[2]:.0f}  {plain[2]:.0f}")


def once(model: str, steps: int, variables: dict[str, str]) -> list[float]:
    """Measure in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--one", model, "--steps", str(steps)]
    done = subprocess.run(command, env=os.environ | THREADS | variables, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measure(model: str, steps: int) -> tuple[float, float, float]:
    """Return milliseconds of a training step for each molecule, page faults of a step, and the largest memory, MB."""
    import resource

    from pretrained import DRUGS, Trained

    from golfbench.learning.opening import new_network
    from golfbench.specs import ComponentRef
    from golfbench.testing.samples import sample

    molecules = [sample(smiles) for smiles in DRUGS]
    trained = Trained(new_network(ComponentRef.parse(model), seed=0))
    trained.step(molecules)
    before, faults = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        trained.step(molecules)
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = (time.process_time() - before) / steps / len(molecules) * 1000
    return spent, (used.ru_minflt - faults) / steps, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
