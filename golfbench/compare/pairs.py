"""Which series of one side belongs to which of the other.

1. The same stage, model, optimizer, selection and oracle (and labels, of a model judged on the way), for the seeds that
   both have; if there are none, all seeds of the one with all of the other.
2. What is left: series that differ in exactly one of these (each with every one that it fits), for the seeds that both
   have.
3. If each side is a single series, they are a pair, with any differences.

Series of different levels of theory are never paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from golfbench.compare.sides import Key, Series, Side

FIELDS = ("stage", "model", "optimizer", "selection", "oracle", "budget")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two series that are compared.

    Attributes:
        one: The old one.
        other: The new one.
        differs: Names of the fields in which they differ; ``seed`` if they have no seed in common.
        seeds: Seeds of the one.
        other_seeds: Seeds of the other, the same ones in the same order unless ``seed`` differs.
    """

    one: Series
    other: Series
    differs: tuple[str, ...]
    seeds: tuple[int | None, ...]
    other_seeds: tuple[int | None, ...]

    @property
    def same_seeds(self) -> bool:
        """Whether walks of the same seed are paired."""
        return "seed" not in self.differs

    @property
    def title(self) -> str:
        """What is compared, in words."""
        if not set(self.differs) - {"seed"}:
            return str(self.one.key)
        shared = [value for name, value in zip(FIELDS, self.one.key, strict=False) if name not in self.differs]
        changes = [
            f"{name} {getattr(self.one.key, name) or 'none'} → {getattr(self.other.key, name) or 'none'}"
            for name in self.differs
            if name != "seed"
        ]
        return " · ".join([*filter(None, shared), *changes])


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two sides have in common.

    Attributes:
        pairs: The pairs.
        alone: Series and seeds without a partner, one line each: ``(side, what)``.
    """

    pairs: list[Pair]
    alone: list[tuple[str, str]]


def pair_up(one: Side, other: Side) -> Pairing:
    """Return the pairs of two sides, and what has no partner."""
    others = {series.key: series for series in other.series}
    pairs = [pair_of(series, others[series.key]) for series in one.series if series.key in others]
    taken = {pair.one.key for pair in pairs}
    left = [series for series in one.series if series.key not in taken]
    right = [series for series in other.series if series.key not in taken]
    if len(one.series) == len(other.series) == len(left) == 1 and left[0].key.method == right[0].key.method:
        pairs = [pair_of(left[0], right[0])]
    else:
        pairs += _one_difference(left, right)
    return Pairing(pairs, [*_alone(one, pairs, "one"), *_alone(other, pairs, "other")])


def _one_difference(left: Sequence[Series], right: Sequence[Series]) -> list[Pair]:
    found = [
        pair_of(one, other)
        for one in left
        for other in right
        if one.key.stage == other.key.stage and one.key.method == other.key.method
    ]
    return [pair for pair in found if len(pair.differs) == 1]


def pair_of(one: Series, other: Series) -> Pair:
    """Return two series as a pair: the seeds that both have, or if there are none all seeds of each."""
    differs = _differences(one.key, other.key)
    shared = tuple(seed for seed in one.seeds if seed in other.seeds)
    if shared:
        return Pair(one, other, differs, shared, shared)
    return Pair(one, other, (*differs, "seed"), tuple(one.seeds), tuple(other.seeds))


def _differences(one: Key, other: Key) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if getattr(one, name) != getattr(other, name))


def _alone(side: Side, pairs: Sequence[Pair], which: str) -> Iterator[tuple[str, str]]:
    for series in side.series:
        used: set[int | None] = set()
        for pair in pairs:
            mine, seeds = (pair.one, pair.seeds) if which == "one" else (pair.other, pair.other_seeds)
            used |= set(seeds) if mine is series else set()
        lacking = [seed for seed in series.seeds if seed not in used]
        if not used:
            yield side.name, str(series.key)
        elif lacking:
            yield side.name, f"{series.key}, seed {', '.join(map(str, lacking))}"
