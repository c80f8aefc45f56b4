"""What networks cost: parameters and training time, one JSON line for each time that a stage worked.

Timings are no part of the records: they differ from one run of the same command to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, ValidationError

from golfbench.benchmark.metrics import NetworkCost, NetworkCosts
from golfbench.benchmark.records import FrozenModel, Stage
from golfbench.durable import append_whole, cut_torn_line


class CostLine(FrozenModel):
    """One line of ``costs.jsonl``.

    Attributes:
        schema_version: Version of this schema.
        combination: Id of the combination.
        stage: ``before`` or ``after`` the training.
        parameters: Trainable parameters of the network.
        updates: Updates of its weights that were timed.
        wall_s: Wall time of these updates.
        device: Where the network lives.
        dtype: Type of its parameters.
        labels: Labels that it has learned from, those of the initial set included; ``None`` in lines that do not say.
        note: What a reader of the row must know of the training; see ``learning.loop.LoopProgress.note``.
    """

    schema_version: Literal[1] = 1
    combination: str
    stage: Stage
    parameters: NonNegativeInt
    updates: NonNegativeInt = 0
    wall_s: NonNegativeFloat = 0.0
    device: str
    dtype: str
    labels: NonNegativeInt | None = None
    note: str = ""


def append_cost(path: Path, line: CostLine) -> None:
    """Append a line.

    Raises:
        WriteError: If it cannot be written.
    """
    cut_torn_line(path)
    append_whole(path, (line.model_dump_json() + "\n").encode())


def read_costs(path: Path) -> NetworkCosts:
    """Return the costs by (combination, stage), their updates and times added up; a torn line is left out."""
    if not path.exists():
        return {}
    costs: dict[tuple[str, str], NetworkCost] = {}
    for line in _lines(path.read_text(encoding="utf-8").splitlines()):
        before = costs.get((line.combination, line.stage), NetworkCost(line.parameters, 0, 0.0))
        labels = before.labels if line.labels is None else line.labels
        added = NetworkCost(line.parameters, before.updates + line.updates, before.wall_s + line.wall_s, labels)
        costs[line.combination, line.stage] = added
    return costs


def read_notes(path: Path) -> dict[tuple[str, str], str]:
    """Return what a reader of a row must know of its training, by (combination, stage); rows without are left out."""
    if not path.exists():
        return {}
    lines = _lines(path.read_text(encoding="utf-8").splitlines())
    return {(line.combination, line.stage): line.note for line in lines if line.note}


def _lines(texts: Iterable[str]) -> Iterable[CostLine]:
    for text in texts:
        try:
            yield CostLine.model_validate_json(text)
        except ValidationError:  # a crash tore it: a timing more or less is no loss
            continue
