"""Batches: drawn, packed and split ahead of the step, in a thread of their own.

A batch is split into chunks whose atoms fit the processor's cache, and gradients are summed over them: on a CPU a step
of sixty molecules at once takes three times as long a molecule as a step of eight (see ``benchmarks/training.py``).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from golfbench.batches import Batch, make_batch
from golfbench.contracts import Targets
from golfbench.learning.pool import Pool, Sample

#: Atoms of a chunk, by type of device.
CHUNK_ATOMS = {"cpu": 450, "cuda": 20_000}
#: Batches that wait for their step.
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a batch.

    Attributes:
        batch: The molecules, where the network lives.
        wanted: What the network should return.
        share: Molecules of the chunk over those of the batch.
    """

    batch: Batch
    wanted: Targets
    share: float


def chunks(samples: Sequence[Sample], cutoff: float | None, device: torch.device) -> list[Chunk]:
    """Split samples into chunks that fit, molecules of like size side by side; a batch that fits stays as it was drawn.

    Args:
        samples: Of one batch.
        cutoff: The network's, Å.
        device: Where it lives.
    """
    most = CHUNK_ATOMS.get(device.type, CHUNK_ATOMS["cuda"])
    if sum(len(s.molecule) for s in samples) > most:
        samples = sorted(samples, key=lambda s: len(s.molecule))
    parts: list[list[Sample]] = [[]]
    atoms = 0
    for sample in samples:
        if parts[-1] and atoms + len(sample.molecule) > most:
            parts.append([])
            atoms = 0
        parts[-1].append(sample)
        atoms += len(sample.molecule)
    return [_chunk(part, len(part) / len(samples), cutoff, device) for part in parts]


def _chunk(samples: Sequence[Sample], share: float, cutoff: float | None, device: torch.device) -> Chunk:
    batch = make_batch([s.molecule for s in samples], cutoff, device)
    energies, forces = torch.stack([s.energy for s in samples]), torch.cat([s.forces for s in samples])
    return Chunk(batch, Targets(energies.to(device), forces.to(device)), share)


class Loader:
    """Makes the batches of consecutive updates while the one before is learned from.

    Args:
        pool: Does not grow meanwhile.
        draw: Returns the indices of the batch of an update.
        cutoff: The network's, Å.
        device: Where it lives.
    """

    def __init__(
        self, pool: Pool, draw: Callable[[int], Sequence[int]], cutoff: float | None, device: torch.device
    ) -> None:
        self._pool, self._draw, self._cutoff, self._device = pool, draw, cutoff, device

    def batch(self, update: int) -> list[Chunk]:
        """Return the batch of an update."""
        return chunks(self._pool.samples(self._draw(update)), self._cutoff, self._device)

    def batches(self, first: int, count: int) -> Iterator[list[Chunk]]:
        """Yield the batches of the updates from ``first`` on.

        Raises:
            Exception: Whatever the making of a batch raised.
        """
        if count <= 1:
            yield from (self.batch(first + k) for k in range(count))
            return
        made: queue.Queue[list[Chunk] | BaseException] = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def make() -> None:
            try:
                for update in range(first, first + count):
                    if stopped.is_set():
                        return
                    made.put(self.batch(update))
            except BaseException as error:  # noqa: BLE001 - it is raised where the batch is waited for
                made.put(error)

        thread = threading.Thread(target=make, name="loader", daemon=True)
        thread.start()
        try:
            for _ in range(count):
                batch = made.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stopped.set()
            while thread.is_alive():  # it may wait at a full queue
                with contextlib.suppress(queue.Empty):
                    made.get(timeout=0.01)
            thread.join()
