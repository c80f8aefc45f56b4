"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from golfbench.benchmark.tables import MISSING, fixed
from golfbench.compare.differences import LEAST_COMPOUNDS, RANKED, Comparison, Difference, compare
from golfbench.compare.pairs import pair_up
from golfbench.compare.sides import Side, check_comparable, differing_settings
from golfbench.errors import NothingToDoError
from golfbench.oracles.ledger import shown_purposes

SCHEMA_VERSION = 1
COLUMNS = ("Metric", "A", "B", "B − A", "95 % interval", "B is")
STATUS_COLUMNS = ("Molecule", "Seed", "A", "B", "Residual A, kcal/mol", "Residual B, kcal/mol")
SETTING_COLUMNS = ("Setting", "A", "B")
ALONE_COLUMNS = ("Of", "Without a partner")
#: Columns and cells of one table.
Table = tuple[Sequence[str], Sequence[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Result:
    """Two sides, compared.

    Attributes:
        one: A, the old one.
        other: B, the new one.
        settings: Settings in which the sides differ: name, value of A, value of B.
        comparisons: One for each pair.
        alone: Series without a partner: side and series.
    """

    one: Side
    other: Side
    settings: list[tuple[str, str, str]]
    comparisons: list[Comparison]
    alone: list[tuple[str, str]]

    @property
    def regressions(self) -> list[str]:
        """Why B is worse than A, one line each."""
        return [f"{c.pair.title}: {reason}" for c in self.comparisons for reason in c.regressions]


def compare_sides(one: Side, other: Side) -> Result:
    """Compare everything that two sides have in common.

    Raises:
        ConfigurationError: If their numbers do not mean the same.
        NothingToDoError: If no series of the one belongs to one of the other.
    """
    check_comparable(one, other)
    pairing = pair_up(one, other)
    if not pairing.pairs:
        listed = "; ".join(f"{side}: {series}" for side, series in pairing.alone)
        raise NothingToDoError(f"no combination of the one differs from one of the other in one thing only ({listed})")
    comparisons = [compare(pair, one.sha256) for pair in pairing.pairs]
    return Result(one, other, differing_settings(one, other), comparisons, pairing.alone)


def as_json(result: Result) -> dict[str, Any]:
    """Return what ``compare --format json`` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "a": result.one.name,
        "b": result.other.name,
        "dataset": result.one.dataset,
        "settings": [{"name": name, "a": a, "b": b} for name, a, b in result.settings],
        "pairs": [_pair_json(comparison) for comparison in result.comparisons],
        "without_partner": [{"of": side, "series": series} for side, series in result.alone],
        "regressions": result.regressions,
    }


def _pair_json(comparison: Comparison) -> dict[str, Any]:
    pair = comparison.pair
    return {
        "a": pair.one.key._asdict() | {"seeds": list(pair.seeds)},
        "b": pair.other.key._asdict() | {"seeds": list(pair.other_seeds)},
        "differs": list(pair.differs),
        "molecules": len(comparison.molecules),
        "compounds": len(comparison.compounds),
        "only_a": list(comparison.only[0]),
        "only_b": list(comparison.only[1]),
        "metrics": [_metric_json(difference) for difference in comparison.differences],
        "oracle_calls": {purpose: {"a": a, "b": b} for purpose, (a, b) in comparison.calls.items()},
        "steps_capped": dict(zip("ab", comparison.capped, strict=True)),
        "status_changes": [
            {
                "molecule": change.one.molecule,
                "seed": change.one.seed,
                "a": change.one.status.value,
                "b": change.other.status.value,
                **dict(zip(("residual_kcal_mol_a", "residual_kcal_mol_b"), change.residuals, strict=True)),
            }
            for change in comparison.changed
        ],
        "compounds_lost": list(comparison.lost),
        "compounds_won": list(comparison.won),
        "regressions": comparison.regressions,
    }


def _metric_json(difference: Difference) -> dict[str, Any]:
    return {
        "name": difference.measure.name,
        "unit": difference.measure.unit,
        "lower_is_better": difference.measure.lower_is_better,
        "ranked": difference.measure.name in RANKED,
        "a": difference.one,
        "b": difference.other,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "verdict": difference.verdict,
    }


def sections(result: Result) -> Iterator[tuple[str, Table]]:
    """Yield a heading and a table for each part of a comparison; the table may be empty."""
    facts = f"A: {result.one.name}. B: {result.other.name}. Dataset {result.one.dataset}."
    yield f"{facts} Not run alike:" if result.settings else f"{facts} Run alike.", (SETTING_COLUMNS, result.settings)
    for comparison in result.comparisons:
        yield heading(comparison), (COLUMNS, rows(comparison))
        if comparison.changed:
            yield "Ended otherwise:", (STATUS_COLUMNS, status_rows(comparison))
    if result.alone:
        yield "Not compared:", (ALONE_COLUMNS, result.alone)


def heading(comparison: Comparison) -> str:
    """Return what a pair is, and over how many molecules."""
    pair, compounds = comparison.pair, len(comparison.compounds)
    sentences = [
        f"{pair.title}; {pair.one.key.method}; {_seeds(comparison)}{len(comparison.molecules)} molecules of {compounds}"
        " compounds."
    ]
    if compounds < LEAST_COMPOUNDS:
        sentences.append(f"Fewer than {LEAST_COMPOUNDS} compounds prove nothing.")
    for name, missing in zip(("B", "A"), comparison.only, strict=True):
        if missing:
            sentences.append(f"No record in {name} of {', '.join(missing)}.")
    return " ".join(sentences)


def _seeds(comparison: Comparison) -> str:
    pair = comparison.pair
    if not pair.same_seeds:
        return f"seeds {_listed(pair.seeds)} and {_listed(pair.other_seeds)}, not paired; "
    return "" if pair.seeds == (None,) else f"seed {_listed(pair.seeds)}; "


def _listed(seeds: Sequence[int | None]) -> str:
    return ", ".join(MISSING if seed is None else str(seed) for seed in seeds)


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the cells of a pair: every metric, then the oracle calls."""
    found = [_metric_row(comparison, difference) for difference in comparison.differences]
    return found + [
        (f"Oracle calls, {purpose}", _count(a), _count(b), _count(b - a, "+"), "", "")
        for purpose in shown_purposes(lambda purpose: sum(comparison.calls[purpose]))
        for a, b in (comparison.calls[purpose],)
    ]


def _metric_row(comparison: Comparison, difference: Difference) -> tuple[str, ...]:
    measure = difference.measure
    bounds = comparison.capped if measure.name == "steps_mean" else (False, False)
    values = (
        ("≥" if capped else "") + fixed(value, measure.decimals)
        for capped, value in zip(bounds, (difference.one, difference.other), strict=True)
    )
    signed = _signed(measure.decimals)
    ends = "" if difference.low is None else f"{signed(difference.low)} to {signed(difference.high)}"
    title = f"{measure.title}, {measure.unit}" if measure.unit else measure.title
    return (title, *values, signed(difference.value), ends, difference.verdict)


def _signed(decimals: int) -> Callable[[float | None], str]:
    return lambda value: MISSING if value is None else f"{round(value, decimals) + 0.0:+.{decimals}f}"


def _count(value: float, sign: str = "") -> str:
    return f"{value:{sign}.0f}" if value == round(value) else f"{value:{sign}.1f}"


def status_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the cells of the walks that differ in status or end."""
    return [
        (
            change.one.molecule,
            MISSING if change.one.seed is None else str(change.one.seed),
            change.one.status.value,
            change.other.status.value,
            *(fixed(residual, 2) for residual in change.residuals),
        )
        for change in comparison.changed
    ]


def markdown(result: Result) -> str:
    """Return a comparison as Markdown."""
    return "\n".join(_markdown_section(heading, *table) for heading, table in sections(result))


def _markdown_section(heading: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    if not cells:
        return f"{heading}\n"
    lines = [columns, ["--"] * len(columns), *cells]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{heading}\n\n{body}\n"
