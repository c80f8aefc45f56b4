"""Tables of curves over labels, as rows for programs (CSV) and for people (Markdown); units are in the names."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL, CpuSeconds, residual_kcal_mol
from golfbench.compare.label_curves import Contrast, Curve
from golfbench.compare.verdict import MEASURE

#: One row of a table; ``None`` where there is no number.
Row = Mapping[str, str | int | float | None]
#: Name of the point of a difference over the whole curve.
WHOLE = "whole curve"
#: Å; an end point whose heavy atoms are closer to the reference minimum, with symmetry, is in its basin.
SAME_BASIN = 0.25
#: Decimals in Markdown.
DECIMALS = 2


def points(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a row for each point: its numbers with their 95 % intervals, and the processor time up to there."""
    for curve in curves:
        for labels, series in curve.points.items():
            molecules = {name for walks in series.seeds.values() for name in walks}
            row: dict[str, str | int | float | None] = {
                **_names(curve),
                "labels": labels,
                "molecules": len(molecules),
                "seeds": len(series.seeds),
            }
            for name, estimate in curve.estimates[labels].items():
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            spent = curve.cpu_s(labels)
            for part in CpuSeconds.model_fields:
                row[f"{part}_cpu_s"] = None if spent is None else getattr(spent, part)
            yield {**row, "total_cpu_s": None if spent is None else spent.total}


def reached(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a row for each curve: from how many labels on its interval is below 1 kcal/mol, and where it ends."""
    for curve in curves:
        last = max(curve.points)
        yield {
            **_names(curve),
            "seeds": len(curve.points[last].seeds),
            f"labels_until_below_{SUCCESS_KCAL_MOL:g}_kcal_mol": curve.labels_until(),
            "labels_at_the_end": last,
            **{f"{name}_at_the_end": estimate.value for name, estimate in curve.estimates[last].items()},
        }


def differences(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a row for each difference: of each measure, at each point and over the whole curve."""
    for one in contrasts:
        yield {
            **_names(one.curve),
            "against": one.against,
            "labels": WHOLE if one.labels is None else one.labels,
            "measure": one.measure.name,
            "difference": one.estimate.value,
            "low": one.estimate.low,
            "high": one.estimate.high,
            "molecules": one.molecules,
            "compounds": one.compounds,
            "seeds": one.seeds,
            "verdict": one.verdict,
            "detectable": one.detectable,
        }


def residuals(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a line for each curve, for a page: the residual by labels, and the success at the end."""
    for curve in curves:
        last = max(curve.points)
        row = {**_told(curve, curves), "seeds": len(curve.points[last].seeds)}
        for labels in curve.points:
            found, name = curve.estimates[labels][MEASURE], f"{labels} labels"
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        yield {**row, f"success at {last}, %": curve.estimates[last]["success_pct"].value}


def whole(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a line for each pair of selections, for a page: the difference of residuals over the whole curve."""
    for one in contrasts:
        if one.labels is None and one.measure.name == MEASURE:
            yield {
                **_told(one.curve, curves),
                "against": one.against,
                "seeds": one.seeds,
                "difference": one.estimate.value,
                "low": one.estimate.low,
                "high": one.estimate.high,
                "verdict": one.verdict,
                "detectable": one.detectable,
            }


def basins(curves: Sequence[Curve], contrasts: Sequence[Contrast]) -> Iterator[Row]:
    """Yield a line for each curve, for a page: of what its last residual is made, energies or other minima.

    An end point is in the basin of the reference minimum where it is within ``SAME_BASIN`` of it.
    """
    for curve in curves:
        last = max(curve.points)
        walks = curve.points[last].seeds
        near: list[float] = []
        far: list[float] = []
        for one in (record for each in walks.values() for record in each.values()):
            if (residual := residual_kcal_mol(one)) is not None:
                distance = one.rmsd_to_references_angstrom.get(one.molecule, math.inf)
                (near if distance < SAME_BASIN else far).append(residual)
        found = [*near, *far]
        yield {
            **_told(curve, curves),
            "seeds": len(walks),
            "in the basin, %": 100.0 * len(near) / len(found) if found else None,
            "residual there": fmean(near) if near else None,
            "residual of the others": fmean(far) if far else None,
            "largest": max(found, default=None),
            "lowest": min(found, default=None),
        }


def _told(curve: Curve, curves: Sequence[Curve]) -> dict[str, str | int | float | None]:
    """Return what a curve is called on a page that is narrow: with its model only where there are several."""
    several = len({other.model for other in curves}) > 1
    return {"model": curve.model, "selection": curve.selection} if several else {"selection": curve.selection}


def _names(curve: Curve) -> dict[str, str | int | float | None]:
    return {"run": curve.run, "model": curve.model, "selection": curve.selection}


#: Makers of tables, by their names.
TABLES: Mapping[str, Callable[[Sequence[Curve], Sequence[Contrast]], Iterator[Row]]] = {
    "points": points,
    "reached": reached,
    "differences": differences,
    "residuals": residuals,
    "whole": whole,
    "basins": basins,
}
#: Columns that a table of Markdown leaves out: the parts of a sum.
PARTS = frozenset(f"{part}_cpu_s" for part in CpuSeconds.model_fields)


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with full precision, empty where there is no number."""
    if not rows:
        return ""
    output = io.StringIO()
    writer = csv.DictWriter(output, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """Return rows as a table for people: a number and its interval in one cell, without the parts of a sum."""
    if not rows:
        return "Nothing to show.\n"
    lines = [_cells(row) for row in rows]
    heads = list(lines[0])
    table = [heads, ["---"] * len(heads), *([line[head] for head in heads] for line in lines)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _cells(row: Row) -> dict[str, str]:
    """Return the cells of a line; what is called ``x_low`` and ``x_high`` stands behind ``x``."""
    cells = {}
    for name, value in row.items():
        ends = [f"{name}_low", f"{name}_high"] if name != "difference" else ["low", "high"]
        if name in PARTS or name.endswith(("_low", "_high")) or name in ("low", "high"):
            continue
        text = _text(value)
        if row.get(ends[0]) is not None:
            text += f" [{_text(row[ends[0]])}, {_text(row[ends[1]])}]"
        cells[name] = text
    return cells


def _text(value: str | int | float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{DECIMALS}f}" if isinstance(value, float) else str(value)
