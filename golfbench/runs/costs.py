"""What networks cost: parameters, training time and processor time, one JSON line for each time that a stage ran.

Timings are no part of the records: they differ from one run of the same command to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, ValidationError

from golfbench.benchmark.metrics import CpuSeconds, NetworkCost, NetworkCosts
from golfbench.benchmark.records import FrozenModel, Stage
from golfbench.durable import append_whole, cut_torn_line
from golfbench.oracles.ledger import CACHE_HIT, read_calls

#: What calls of engines are for a learning loop, by the purpose in the ledger.
ENGINES = {"training": "oracle", "base": "base", "selection": "surrogate"}


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
        labels: Labels that it has learned from, those of the initial set included; ``None`` in lines that lack it.
        cpu_s: Processor time of the learning loop up to here; ``None`` in lines that lack it.
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
    cpu_s: CpuSeconds | None = None
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
        costs[line.combination, line.stage] = NetworkCost(
            line.parameters,
            before.updates + line.updates,
            before.wall_s + line.wall_s,
            before.labels if line.labels is None else line.labels,
            line.cpu_s or before.cpu_s,  # of the whole loop so far, also where it was interrupted
        )
    return costs


def read_notes(path: Path) -> dict[tuple[str, str], str]:
    """Return what a reader of a row must know of its training, by (combination, stage); rows without are left out."""
    if not path.exists():
        return {}
    lines = _lines(path.read_text(encoding="utf-8").splitlines())
    return {(line.combination, line.stage): line.note for line in lines if line.note}


def loop_cpu_s(spent_s: Mapping[str, float], ledger: Path, combination: str) -> CpuSeconds:
    """Return the processor time of a learning loop so far.

    Args:
        spent_s: Of this process (see ``learning.clock.Clock``), s.
        ledger: The run's; has the processor time of engines, with that of earlier attempts and failed calls.
        combination: Whose loop it is.
    """
    engines = dict.fromkeys(ENGINES.values(), 0.0)
    for call in read_calls(ledger):
        if (call.combination, call.stage) == (combination, "after") and call.purpose in ENGINES:
            took = call.wall_s if call.cpu_s is None else call.cpu_s
            engines[ENGINES[call.purpose]] += 0.0 if call.outcome == CACHE_HIT else took
    return CpuSeconds(**spent_s, **engines)


def _lines(texts: Iterable[str]) -> Iterable[CostLine]:
    for text in texts:
        try:
            yield CostLine.model_validate_json(text)
        except ValidationError:  # a crash cut it off: one timing is no loss
            continue
