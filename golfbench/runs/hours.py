"""How long the oracle calls of a plan will take, by earlier calls on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.benchmark.prepare import limited
from golfbench.contracts import Dataset
from golfbench.oracles.cache import LabelCache
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.specs import OracleSpec

#: Sizes (atoms) from which the growth with size is fitted, as a power; fewer give the median time.
FEWEST_SIZES = 3
#: The power of the number of atoms lies in here: from engines that only start up to coupled cluster.
POWERS = (0.0, 7.0)


@dataclass(frozen=True, slots=True)
class Hours:
    """The time of the calls of one oracle.

    Attributes:
        oracle: As a person writes it.
        hours: Of all calls one after the other; ``None`` where no earlier call is known.
        seconds_per_call: Their mean.
        known_calls: Earlier calls that this rests on.
    """

    oracle: str
    hours: float | None = None
    seconds_per_call: float | None = None
    known_calls: int = 0


def hours_of(
    config: RunConfig, dataset: Dataset, calls: Mapping[str, Mapping[str, int]], cache: LabelCache
) -> list[Hours]:
    """Estimate the hours of a plan's calls, oracle by oracle; those that cost milliseconds are left out.

    Args:
        config: The grid.
        dataset: Gives the sizes of the molecules.
        calls: Calls by oracle and purpose.
        cache: Has the wall times of earlier calls.
    """
    dataset = limited(dataset, config.limit)
    trained = np.array([len(row.molecule) for row in dataset.initial])
    tested = np.array([len(item.molecule) for item in dataset.test])
    sizes = {"initial": trained, "training": trained, "reference": tested, "evaluation": tested}
    sizes |= {"base": np.concatenate([trained, tested]), "selection": trained}
    found = []
    for oracle, counts in calls.items():
        component = registry().component(OracleSpec, oracle)
        spec = component.spec
        if spec.cheap:
            continue
        known = cache.timings(spec.name, spec.level_of_theory(component.parameters))
        total = sum(counts.values())
        if not known or not total:
            found.append(Hours(oracle))
            continue
        seconds = sum(count * float(_seconds(known, sizes[purpose]).mean()) for purpose, count in counts.items())
        found.append(Hours(oracle, seconds / 3600, seconds / total, len(known)))
    return found


def _seconds(known: Sequence[tuple[int, float]], atoms: np.ndarray) -> np.ndarray:
    """Return the time of a call, s, for each number of atoms: a power of it, fitted to the calls that are known."""
    sizes, times = np.array([n for n, _ in known], dtype=np.float64), np.array([max(t, 1e-3) for _, t in known])
    if len(set(sizes)) < FEWEST_SIZES:
        return np.full(len(atoms), float(np.median(times)))
    x, y = np.log(sizes), np.log(times)
    power = float(np.clip(np.polyfit(x, y, 1)[0], *POWERS))
    level = float(np.median(y - power * x))
    return np.asarray(np.exp(level + power * np.log(atoms)))
