"""What the table of a run says, in a sentence: which model is nearest to the minima, and whether that is certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL, Row
from golfbench.benchmark.records import Record
from golfbench.benchmark.tables import Ends, Line
from golfbench.compare.differences import LEAST_COMPOUNDS, Difference, compare
from golfbench.compare.pairs import pair_of
from golfbench.compare.sides import Series, Side, key_of
from golfbench.leaderboard.measures import quotients
from golfbench.leaderboard.statistics import RESAMPLES, Estimate, draw_counts, estimate, resampled_values, value_of

#: The number that decides: all molecules count in it, so that diverging or failing gains nothing.
MEASURE = "residual_kcal_mol_mean_all"


def verdicts(side: Side) -> list[str]:
    """Return what a run shows, a sentence for each oracle; where a fixed model is first, another one of the networks.

    Args:
        side: The run, from ``sides.read_side``.
    """
    return [sentence for group in _comparable(side) for sentence in _of_group(group, side.sha256)]


def _comparable(side: Side) -> list[list[Series]]:
    """Return the series whose residuals mean the same, those with a number, the lowest first."""
    groups: dict[tuple[str, str], list[tuple[float, Series]]] = {}
    for series in side.series:
        if series.key.budget:  # judged on the way: only the end is ranked
            continue
        value = value_of(quotients(_walks(series), _compounds(series))[MEASURE])
        if value is not None:
            groups.setdefault((series.key.oracle, series.key.method), []).append((value, series))
    return [[series for _, series in sorted(group, key=lambda item: item[0])] for group in groups.values()]


def _of_group(group: Sequence[Series], sha256: str) -> Iterator[str]:
    names = _names(group)
    yield _sentence("Lowest residual of all molecules", group, names, sha256)
    networks = [series for series in group if series.key.stage != "reference"]
    if group[0].key.stage == "reference" and networks:
        yield _sentence("Of the networks", networks, names, sha256)


def _sentence(subject: str, group: Sequence[Series], names: dict[int, str], sha256: str) -> str:
    best = group[0]
    calls = f"{fmean(best.calls[seed].training for seed in best.seeds):.1f}".removesuffix(".0")
    cost = "without a training call" if calls == "0" else f"for {calls} training calls"
    text = f"{subject}: {names[id(best)]}, {_value(best, sha256)}, {cost}"
    walks = [record for walks in _walks(best) for record in walks]
    if failed := sum(record.status.failed for record in walks):
        text += f" ({failed} of {len(walks)} walks failed and count with their start)"
    if len(group) == 1:
        return f"{text}."
    return f"{text}; {_against(best, group[1], names[id(group[1])], sha256)}."


def residual(series: Series, sha256: str) -> Estimate:
    """Return the mean residual of all molecules, kcal/mol; see ``number``."""
    return number(series, sha256, MEASURE)


def number(series: Series, sha256: str, measure: str) -> Estimate:
    """Return a number of a series with its interval over compounds and seeds.

    Args:
        series: One combination with all its seeds.
        sha256: Hash of the dataset's content: all series of a dataset see the same draws of compounds.
        measure: Its name, of ``leaderboard.measures.MEASURES``.
    """
    compounds = _compounds(series)
    quotient = quotients(_walks(series), compounds)[measure]
    groups = draw_counts(len(compounds), RESAMPLES, sha256, "compounds")
    seeds = draw_counts(len(series.seeds), RESAMPLES, "compare", "seeds")
    return estimate(quotient, resampled_values(quotient, groups, seeds))


def interval_of(side: Side) -> Ends:
    """Return a function that gives the interval of each line of a run's table, the same as in the verdict.

    A line of one seed has the interval over compounds alone. Few compounds have none.

    Args:
        side: The run, from ``sides.read_side``.
    """
    found = {series.key: series for series in side.series}

    def ends(line: Line) -> tuple[float, float] | None:
        rows = (line,) if isinstance(line, Row) else line.rows
        if (series := found.get(key_of(rows[0]))) is None:
            return None
        part = replace(series, seeds={row.seed: series.seeds[row.seed] for row in rows})
        if len(_compounds(part)) < LEAST_COMPOUNDS:
            return None
        number = residual(part, side.sha256)
        return None if number.low is None or number.high is None else (number.low, number.high)

    return ends


def _value(series: Series, sha256: str) -> str:
    """Return the number with its interval, and on which side of the success threshold that lies."""
    compounds, found = _compounds(series), residual(series, sha256)
    assert found.value is not None
    if len(compounds) < LEAST_COMPOUNDS or found.low is None or found.high is None:
        place = "below" if found.value < SUCCESS_KCAL_MOL else "not below"
        return f"{found.value:.2f} kcal/mol ({place} {SUCCESS_KCAL_MOL:g})"
    place = (
        "below" if found.high < SUCCESS_KCAL_MOL else "not below" if found.low >= SUCCESS_KCAL_MOL else "perhaps below"
    )
    ends = f"95 % interval {found.low:.2f} to {found.high:.2f}"
    return f"{found.value:.2f} kcal/mol ({ends}: {place} {SUCCESS_KCAL_MOL:g})"


def _against(best: Series, following: Series, name: str, sha256: str) -> str:
    comparison = compare(pair_of(best, following), sha256)
    difference = next((d for d in comparison.differences if d.measure.name == MEASURE), None)
    if difference is None or difference.value is None:
        return f"{name} is next, but no molecule was judged for both"
    return f"{name} is next, {difference.value:.2f} kcal/mol higher{_certainty(difference, len(comparison.compounds))}"


def _certainty(difference: Difference, compounds: int) -> str:
    if compounds < LEAST_COMPOUNDS:
        return f", which {compounds} compounds cannot prove (at least {LEAST_COMPOUNDS} are needed)"
    assert difference.low is not None
    assert difference.high is not None
    ends = f" ({difference.low:.2f} to {difference.high:.2f})"
    return f"{ends}: {'not separable' if difference.verdict == 'not separable' else 'a real difference'}"


def _names(group: Sequence[Series]) -> dict[int, str]:
    """Return the name of each series, with optimizer and oracle only where they differ."""
    optimizers = {series.key.optimizer for series in group}
    named = {}
    for series in group:
        key = series.key
        words = [f"{key.model} {key.stage} {key.selection}".strip(), *([key.optimizer] if len(optimizers) > 1 else [])]
        named[id(series)] = ", ".join(words)
    return named


def _walks(series: Series) -> list[list[Record]]:
    return [list(walks.values()) for walks in series.seeds.values()]


def _compounds(series: Series) -> list[str]:
    return sorted({record.group for walks in series.seeds.values() for record in walks.values()})
