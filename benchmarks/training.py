"""Compare training steps of the published PaiNN: the suite's, and those of the published configuration.

    python benchmarks/training.py
    python benchmarks/training.py --rounds 5 --batch 60 --json training.json
    python benchmarks/training.py --chunk-atoms 200

Both learn from the same batches (60 molecules of druglike-xtb, of 36 to 50 atoms, 41 on average), with the same loss,
Adam and clipping, on one thread. ``published`` does as the paper's code: all pairs of a molecule, SchNetPack's own
forward pass, the whole batch in one piece (it needs 7 GB). ``chunks`` is the suite with SchNetPack's own forward pass.
They take turns, and what counts is the ratio of the medians of processor time, which others on the machine prolong
less than wall time. First of all, the gradients of one batch are compared.

"outside" is the share of a step that is neither forward nor backward: the drawing and packing of batches, Adam,
clipping, the average of the weights. The exit status is 1 if the suite is less than 4 times as fast, or more than 10 %
is outside.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch

from golfbench.imports import importable
from golfbench.learning import loader
from golfbench.learning.learner import Single, Task
from golfbench.learning.loader import Chunk
from golfbench.learning.opening import new_potential
from golfbench.learning.pool import Pool
from golfbench.learning.settings import TrainSettings
from golfbench.learning.targets import InitialSet
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef

with importable():
    from schnetpack.representation import PaiNN

ATOMS = range(36, 51)
#: Updates of the suite between two of the published configuration.
UPDATES = 4
LEAST_RATIO, MOST_OUTSIDE = 4.0, 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step took, s: processor time, wall time, and of the processor time what was forward and backward."""

    cpu_s: float
    wall_s: float
    model_s: float
    packing_s: float


class Metered(Single):
    """The suite's learner with a clock around forward and backward.

    Args:
        task: What is to be learned.
        pool: From what.
    """

    def __init__(self, task: Task, pool: Pool) -> None:
        super().__init__(task)
        self.pool, self.model_s = pool, 0.0

    def _differentiate(self, chunk: Chunk) -> torch.Tensor:
        started = time.thread_time()
        found = super()._differentiate(chunk)
        self.model_s += time.thread_time() - started
        return found

    def cost(self) -> Cost:
        """Do some updates, and return what one took."""
        self.model_s = 0.0
        cpu, wall, here = time.process_time(), time.perf_counter(), time.thread_time()
        self.fit(self.pool, UPDATES)
        cpu, wall, here = time.process_time() - cpu, time.perf_counter() - wall, time.thread_time() - here
        return Cost(*(seconds / UPDATES for seconds in (cpu, wall, self.model_s, cpu - here)))

    def gradient(self) -> torch.Tensor:
        """Return the gradient of the loss of the first batch."""
        self._adam.zero_grad()
        for chunk in self.first_batch(self._objective.cutoff):
            self._differentiate(chunk)
        return self._collected()

    def first_batch(self, cutoff: float | None) -> list[Chunk]:
        """Return the first batch with pairs within a cutoff (Å)."""
        samples = [self.pool[index] for index in self._draw(self.pool, 0, [])]
        return loader.chunks(samples, cutoff, torch.device("cpu"))

    def _collected(self) -> torch.Tensor:
        return torch.cat([p.grad.reshape(-1) for p in self._parameters if p.grad is not None])


class Published(Metered):
    """The published configuration; forward and backward are by far the most of it, and no clock is around them."""

    def cost(self) -> Cost:
        """Do one update, and return what it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.gradient()
        torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.gradient_clip)
        self._adam.step()
        cpu = time.process_time() - cpu
        return Cost(cpu, time.perf_counter() - wall, float("nan"), float("nan"))

    def gradient(self) -> torch.Tensor:
        """Return the gradient of the loss of the first batch: all pairs in one piece."""
        before, loader.CHUNK_ATOMS["cpu"] = loader.CHUNK_ATOMS["cpu"], sys.maxsize
        (whole,) = self.first_batch(None)
        loader.CHUNK_ATOMS["cpu"] = before
        self._adam.zero_grad()
        self._objective.loss(whole)[0].backward()  # type: ignore[no-untyped-call]
        return self._collected()


def learners(batch: int) -> dict[str, Metered]:
    """Return learners that begin with the same weights."""
    labels = [item for item in open_dataset("druglike-xtb").initial if len(item.molecule) in ATOMS]
    print(
        f"{len(labels)} molecules, {sum(len(i.molecule) for i in labels) / len(labels):.1f} atoms on average",
        flush=True,
    )
    initial = InitialSet.of(labels, (), {})
    made: dict[str, Metered] = {}
    kinds: dict[str, type[Metered]] = {"published": Published, "chunks": Metered, "suite": Metered}
    for name, kind in kinds.items():
        potential = new_potential(ComponentRef("painn"), 0, 1, initial.references, initial.scale, ())
        if kind is Published or name == "chunks":
            potential.network.representation.__class__ = PaiNN
        task = Task(potential, TrainSettings(batch_size=batch), 10_000, 0, "benchmark")
        made[name] = kind(task, Pool(potential, initial.rows))
    return made


def agreement(made: dict[str, Metered]) -> None:
    """Print how far the gradients of one batch are apart, all weights together."""
    expected = made["published"].gradient()
    for name in ("chunks", "suite"):
        off = float((made[name].gradient() - expected).norm() / expected.norm())
        print(f"gradient of {name}: {off:.1e} of its length from the published one", flush=True)


def compare(made: dict[str, Metered], rounds: int) -> dict[str, list[Cost]]:
    """Let them take turns; the first step of each has warmed up in ``agreement``."""
    costs: dict[str, list[Cost]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, learner in made.items():
            costs[name].append(learner.cost())
    return costs


def middle(costs: list[Cost], pick: Callable[[Cost], float]) -> float:
    """Return the median over the rounds."""
    return median(pick(cost) for cost in costs)


def report(costs: dict[str, list[Cost]]) -> tuple[float, float]:
    """Print a table; return the ratio of processor times, and the share outside forward and backward."""
    titles = ("cpu s/step", "wall s/step", "steps/cpu s", "ratio", "outside", "packing")
    print(" " * 10 + "".join(f"{title:>12s}" for title in titles))
    published = middle(costs["published"], lambda c: c.cpu_s)
    for name, found in costs.items():
        cpu, wall = middle(found, lambda c: c.cpu_s), middle(found, lambda c: c.wall_s)
        outside, packing = (
            middle(found, lambda c: 1 - c.model_s / c.cpu_s),
            middle(found, lambda c: c.packing_s / c.cpu_s),
        )
        shares = [f"{share:.1%}" if share == share else "-" for share in (outside, packing)]
        cells = (f"{cpu:.2f}", f"{wall:.2f}", f"{1 / cpu:.3f}", f"{published / cpu:.1f}", *shares)
        print(f"{name:10s}" + "".join(f"{cell:>12s}" for cell in cells))
    suite = costs["suite"]
    return published / middle(suite, lambda c: c.cpu_s), middle(suite, lambda c: 1 - c.model_s / c.cpu_s)


def main() -> int:
    """Compare, and return 1 if the suite is not as fast as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=60, help="molecules of a batch")
    parser.add_argument("--chunk-atoms", type=int, help="atoms of a chunk, instead of the suite's choice")
    parser.add_argument("--json", type=Path, help="write the seconds of every step here as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.chunk_atoms:
        loader.CHUNK_ATOMS["cpu"] = options.chunk_atoms
    made = learners(options.batch)
    agreement(made)
    costs = compare(made, options.rounds)
    ratio, outside = report(costs)
    if options.json:
        rows = {name: [asdict(cost) for cost in found] for name, found in costs.items()}
        options.json.write_text(json.dumps(rows, indent=1).replace("NaN", "null"), encoding="utf-8")
    return 1 if ratio < LEAST_RATIO or outside > MOST_OUTSIDE else 0


if __name__ == "__main__":
    sys.exit(main())
