"""How long the oracle calls of a plan will take, from earlier calls on this machine or from the oracle's spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golfbench.benchmark.prepare import limited
from golfbench.contracts import Dataset
from golfbench.oracles.cache import LabelCache
from golfbench.oracles.sizes import basis_functions
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.specs import ExecutorSpec, OracleSpec
from golfbench.training_sets import sample

#: The time of a call grows with a power of the size. The power to expect where nothing is known of the oracle is
#: between that of Hartree-Fock with screening and that of density fitting without. Its range is from engines whose time
#: is all start-up to coupled cluster.
POWER, POWERS = 2.5, (0.0, 7.0)
#: Spread of the logarithm of the times of molecules of one size, and spread of the power around the expected one: they
#: decide how many calls, of how different sizes, outweigh the expectation.
TIME_SPREAD, POWER_SPREAD = 0.3, 1.0
#: A base that is an engine is asked at each step of each walk. A plan allows for all steps that a walk may take, but
#: drug-like molecules come to rest after about fifteen, and those that the loop explores with after some more.
STEPS_OF_A_WALK = 40
#: Above this time of all calls, h, it is printed before a run starts.
WORTH_TELLING = 0.1


@dataclass(frozen=True, slots=True)
class Hours:
    """The time of the calls of one oracle.

    Attributes:
        oracle: As the user writes it.
        hours: Of all calls one after the other; ``None`` where nothing is known of it.
        seconds_per_call: Their mean.
        known_calls: Earlier calls that this rests on; none where the oracle itself declares what its calls take.
        workers: Calls at a time, ``None`` where it is not known.
        steps: Steps that walks are taken to have, where the oracle is asked at each; ``None`` where calls are counted.
    """

    oracle: str
    hours: float | None = None
    seconds_per_call: float | None = None
    known_calls: int = 0
    workers: int | None = None
    steps: int | None = None

    @property
    def sentence(self) -> str:
        """The line that is printed."""
        if self.hours is None:
            return (
                f"how long they take is not known: no earlier call of {self.oracle} is in the label cache. Start the "
                "run, and interrupt it when golfbench status shows some calls: their labels are kept"
            )
        source = f"by {self.known_calls} earlier calls in the label cache" if self.known_calls else "as its plugin says"
        call = f"({self.seconds_per_call:.2g} s a call, {source})"
        most = " at most" if self.steps is None else f" for walks of {self.steps} steps"
        if self.workers is None:
            return f"{self.oracle}: about {_spelled(self.hours)}{most}, divided by the number of calls at a time {call}"
        where = f"{self.workers} worker{'s' * (self.workers != 1)}"
        return f"{self.oracle}: about {_spelled(self.hours / self.workers)}{most} on {where} {call}"


def hours_of(
    config: RunConfig, dataset: Dataset, calls: Mapping[str, Mapping[str, int]], cache: LabelCache
) -> list[Hours]:
    """Estimate the hours of a plan's calls, by oracle; oracles whose calls take milliseconds are left out.

    Args:
        config: The grid.
        dataset: Gives the sizes of the molecules.
        calls: Calls by oracle and purpose.
        cache: Has the wall times of earlier calls.
    """
    dataset = limited(dataset, config.limit)
    trained = [basis_functions(row.molecule.numbers) for row in sample(dataset.initial)]
    tested = [basis_functions(item.molecule.numbers) for item in dataset.test]
    sizes = {"initial": trained, "training": trained, "reference": tested, "evaluation": tested}
    sizes |= {"base": [*trained, *tested], "selection": trained}
    workers, found = _workers(config), []
    for oracle, counts in calls.items():
        component = registry().component(OracleSpec, oracle)
        spec = component.spec
        if spec.cheap:
            continue
        method = spec.level_of_theory(component.parameters)
        known, declared = cache.timings(spec.name, method), spec.timings.get(method, ())
        steps = min(STEPS_OF_A_WALK, config.protocol.rule.max_steps) if counts.get("base") else None
        if steps is not None:
            counts = {**counts, "base": counts["base"] * (steps + 1) // (config.protocol.rule.max_steps + 1)}
        total = sum(counts.values())
        if not total or not (known or declared):
            found.append(Hours(oracle, workers=workers))
            continue
        seconds = sum(
            count * float(call_seconds(known, declared, sizes[purpose]).mean()) for purpose, count in counts.items()
        )
        found.append(Hours(oracle, seconds / 3600, seconds / total, len(known), workers, steps))
    return found


def call_seconds(
    known: Sequence[tuple[int, float]], declared: Sequence[tuple[int, float]], sizes: Sequence[int]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the time of a call, s, for each size of a molecule (basis functions): a power of it.

    The power is fitted to the known calls, and shrunk towards the declared one where they are few or of one size (ridge
    regression of the logarithms). Its factor is the median over the known calls: a single call on a busy machine does
    not change it.

    Args:
        known: Size and time of earlier calls.
        declared: The same, as the oracle declares it; taken as it is where no call is known.
        sizes: Of the molecules in question.
    """
    power = _power(declared, POWER)
    if known:
        power = _power(known, power)
    x, y = _logarithms(known or declared)
    level = float(np.median(y - power * x))
    return np.asarray(np.exp(level + power * np.log(np.asarray(sizes, dtype=np.float64))))


def _power(points: Sequence[tuple[int, float]], expected: float) -> float:
    if not points:
        return expected
    x, y = (values - values.mean() for values in _logarithms(points))
    weight = (TIME_SPREAD / POWER_SPREAD) ** 2
    return float(np.clip((x @ y + weight * expected) / (x @ x + weight), *POWERS))


def _logarithms(points: Sequence[tuple[int, float]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.log([(size, max(time, 1e-3)) for size, time in points]).T


def _workers(config: RunConfig) -> int | None:
    """Return how many calls run at a time, if the configuration says it."""
    if config.workers is not None:
        return config.workers
    workers = registry().component(ExecutorSpec, config.executor).resolved().get("workers")
    return workers if isinstance(workers, int) and workers > 0 else None


def _spelled(hours: float) -> str:
    """Return hours, or minutes where they are few, with two figures."""
    if hours < 1:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
