"""The head of a track's page: one answer, and one line for the selections of a model that are not separable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL
from golfbench.benchmark.tables import fixed
from golfbench.leaderboard.entries import UNKNOWN
from golfbench.leaderboard.measures import measure_of
from golfbench.leaderboard.pretrained import weights_at_work
from golfbench.leaderboard.standings import Standing
from golfbench.leaderboard.statistics import separable
from golfbench.leaderboard.tracks import Track


@dataclass(frozen=True)
class Answer:
    """Which model to use, by the entries of a track.

    Attributes:
        standing: The entry to use: ``fixed`` where it is measurably better than every ranked entry, else of the ranked
            entries of all budgets that are not separable from ``best`` the one that learned from the fewest labels.
        best: The ranked entry with the best value of the ranked number.
        alike: The ranked entries that are not separable from ``best``, itself among them.
        ranked: How many entries have a rank.
        fixed: The fixed model with the best value that is not the track's oracle itself, if there is one.
        fixed_differs: Whether ``fixed`` and ``best`` are separable.
    """

    standing: Standing
    best: Standing
    alike: tuple[Standing, ...]
    ranked: int
    fixed: Standing | None
    fixed_differs: bool


def answer_of(track: Track, standings: Sequence[Standing]) -> Answer | None:
    """Return the answer of a track; ``None`` where no entry has a rank."""
    worse = _worse(track)
    ranked = sorted((s for s in standings if s.rank is not None), key=worse)
    if not ranked:
        return None
    best = ranked[0]
    alike = tuple(s for s in ranked if s is best or not separable(s.resampled, best.resampled))
    chosen = min(alike, key=lambda s: (s.labels_in_all, worse(s)))
    others = [s for s in standings if s.entry.stage == "reference" and not track.accepts_oracle(s.entry.model)]
    fixed_model = min((s for s in others if s.complete), key=worse, default=None)
    differs = fixed_model is not None and separable(fixed_model.resampled, best.resampled)
    if fixed_model is not None and differs and worse(fixed_model) < worse(best):
        chosen = fixed_model
    return Answer(chosen, best, alike, len(ranked), fixed_model, differs)


def _worse(track: Track) -> Callable[[Standing], tuple[float, str]]:
    """Return a key that is larger the worse an entry is."""
    sign = 1.0 if track.lower_is_better else -1.0

    def key(standing: Standing) -> tuple[float, str]:
        value = standing.estimates[track.ranked].value
        return float("inf") if value is None else sign * value, standing.entry.entry_id

    return key


def sentence(track: Track, answer: Answer) -> str:
    """Return the answer to "which model should I use?" in one sentence."""
    shown = estimate_text(track, answer.standing)
    end = {
        "residual_kcal_mol_mean_all": f"its end points lie {shown} above the {track.method} minima on average",
        "pct_mean_all": f"its walks go {shown} of the way down to the {track.method} minima on average",
        "success_pct": f"{shown} of its walks succeed: less than {SUCCESS_KCAL_MOL:g} kcal/mol above the minimum",
    }[track.ranked]
    return f"Use {answer.standing.entry.title}{_history(answer.standing)}: {end}."


def remarks(track: Track, answer: Answer) -> list[str]:
    """Return the remarks on the sentence, one or two sentences each."""
    chosen, entry = answer.standing, answer.standing.entry
    if chosen is answer.fixed:
        found = [
            "It learns from no label, and is measurably better than the best entry with a rank: "
            f"{_described(track, answer.best)}."
        ]
    else:
        found = [_comparison(track, answer), *_other_rules(track, answer), *_beside_fixed(track, answer)]
    if (weights := weights_at_work(entry)) and weights.overlap == UNKNOWN:
        whose = "its" if entry.weights else "its base's"
        found.append(f"Nobody has stated whether {whose} pretrained weights have learned from the test molecules.")
    if len(entry.runs) == 1 and entry.runs[0].seed is not None:
        found.append("It was run with one seed: the spread over seeds is not in the interval.")
    return found


def _comparison(track: Track, answer: Answer) -> str:
    if answer.ranked == 1:
        return "It is the only entry with a rank."
    if len(answer.alike) == 1:
        return f"It is measurably better than each of the other {answer.ranked - 1} ranked entries."
    text = (
        f"None of the {answer.ranked} ranked entries is measurably better; "
        f"of the {len(answer.alike)} that cannot be told apart from the best, none needed fewer labels."
    )
    if answer.best is not answer.standing:
        text += f" The best value is that of {_described(track, answer.best)}."
    return text


def _other_rules(track: Track, answer: Answer) -> list[str]:
    others = [s for s in answer.alike if _same_but_for_the_rule(answer.standing, s)]
    shown = [f"{s.entry.selection} ({estimate_text(track, s)})" for s in others]
    return [f"With labels chosen otherwise it cannot be told apart: {', '.join(shown)}."] if others else []


def _beside_fixed(track: Track, answer: Answer) -> list[str]:
    if answer.fixed is None:
        return []
    verdict = "is measurably worse than" if answer.fixed_differs else "cannot be told apart from"
    shown = f"{answer.fixed.entry.title}, {estimate_text(track, answer.fixed)}"
    return [f"The best fixed model, which learns from no label, {verdict} the best entry: {shown}."]


def _described(track: Track, standing: Standing) -> str:
    return f"{standing.entry.title}{_history(standing)}, {estimate_text(track, standing)}"


def _history(standing: Standing) -> str:
    """Return what a model has learned from, as words that follow its name."""
    entry, labels = standing.entry, standing.labels_in_all
    added = labels - standing.initial_labels
    if entry.stage == "reference":
        return ""
    if entry.stage == "before" and entry.weights and not labels:
        return " with its pretrained weights as they come"
    start = f" after learning from {labels:.0f} labels"
    if entry.stage == "before" or round(added) < 1:
        return f"{start} of the initial set"
    rule = f"chosen by {entry.selection}"
    return f"{start} {rule}" if not standing.initial_labels else f"{start}, {added:.0f} of them {rule}"


def estimate_text(track: Track, standing: Standing) -> str:
    """Return the ranked number of an entry with unit and interval."""
    measure, number = measure_of(track.ranked), standing.estimates[track.ranked]
    value, low, high = (fixed(end, measure.decimals) for end in (number.value, number.low, number.high))
    return f"{value} {measure.unit} [{low}, {high}]"


def folds(standings: Sequence[Standing]) -> list[list[Standing]]:
    """Return the groups of two or more entries that share a line, in the given order.

    They differ in nothing but the selection (and the seeds), share a rank, and no two of them are separable.
    """
    lines: list[list[Standing]] = []
    for standing in standings:
        home = next((line for line in lines if all(_alike(one, standing) for one in line)), None)
        if home is None:
            lines.append([standing])
        else:
            home.append(standing)
    return [line for line in lines if len(line) > 1]


def _alike(one: Standing, other: Standing) -> bool:
    same = one.rank == other.rank and _same_but_for_the_rule(one, other)
    return same and not separable(one.resampled, other.resampled)


def _same_but_for_the_rule(one: Standing, other: Standing) -> bool:
    a, b = one.entry, other.entry
    names = ("stage", "model", "optimizer", "oracle", "budget", "settings", "weights")
    return (
        a.stage == "after"
        and a.selection != b.selection
        and all(getattr(a, name) == getattr(b, name) for name in names)
    )
