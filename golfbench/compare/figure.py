"""The figures of runs, as SVG: a number against the labels that were learned from, or the processor time spent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import Literal

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL
from golfbench.compare.sides import Series, Side
from golfbench.compare.verdict import MEASURE, number
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.leaderboard.measures import MEASURES, Measure
from golfbench.leaderboard.statistics import Estimate

#: Pixels; names that are long make a figure wider.
WIDTH, HEIGHT = 760, 430
#: The axes, in pixels: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 64, 56, 520, 370
#: Pixels between the ends of the horizontal axis and the first and last points.
INSET = 14
#: The axis of a residual reaches at least this far, kcal/mol.
LEAST_TOP = 1.5 * SUCCESS_KCAL_MOL
#: Okabe and Ito: colours that colour-blind readers can distinguish.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
#: Dashes of curves after the last colour, so that no two look alike.
DASHES = ("", "6 3", "2 2")
#: What the horizontal axis can be.
Axis = Literal["labels", "cpu_s"]
ACROSS: dict[Axis, str] = {
    "labels": "labels of the oracle that were learned from",
    "cpu_s": "processor time of the learning loop, s",
}
#: A fixed model that lies higher than all curves, so many times, is named and not drawn: it would flatten them.
ROOM = 4.0
#: Distance of two names in the list at the right, and the width of a letter there.
LINE_HEIGHT, LETTER = 15, 6.4
#: Pixels between the bars of two curves at the same labels.
BESIDE = 3.0


@dataclass(frozen=True, slots=True)
class Point:
    """A number of a model.

    Attributes:
        across: Labels that were learned from, or s.
        found: With its interval.
        hint: Text shown under the pointer.
    """

    across: float
    found: Estimate
    hint: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes:
        title: Headline.
        measure: What is drawn.
        axis: What it is drawn against.
        curves: Points of each curve by its name, from left to right.
        lines: Numbers of fixed models, by their names.
    """

    title: str
    measure: Measure
    axis: Axis
    curves: dict[str, list[Point]]
    lines: dict[str, float]


def figure(sides: Sequence[Side], measure: str = MEASURE, axis: Axis = "labels") -> str:
    """Return the figure of runs as a self-contained SVG document.

    A curve is a model under a selection: the model before it learned, and after it learned from the labels of each run.
    Fixed models are horizontal lines. The horizontal axis is like log(1 + x).

    Args:
        sides: Runs of one dataset, from ``sides.read_side``.
        measure: Name of the number, of ``leaderboard.measures.MEASURES``.
        axis: What it is drawn against.

    Raises:
        ConfigurationError: If they are of several datasets.
        NothingToDoError: If they have nothing to draw.
    """
    if len({(side.dataset, side.sha256) for side in sides}) > 1:
        raise ConfigurationError("a figure is of one dataset: " + ", ".join(sorted({side.dataset for side in sides})))
    (chosen,) = (known for known in MEASURES if known.name == measure)
    drawing = _drawing(sides, chosen, axis)
    if not drawing.curves:
        what = "how many labels its networks have learned from" if axis == "labels" else "what its trainings took"
        raise NothingToDoError(f"no run says {what}: nothing to draw")
    return _svg(drawing)


def _drawing(sides: Sequence[Side], measure: Measure, axis: Axis) -> Drawing:
    curves: defaultdict[str, dict[float, Point]] = defaultdict(dict)
    starts: dict[str, Point] = {}
    lines: dict[str, float] = {}
    for side in sides:
        for series in side.series:
            found = number(series, side.sha256, measure.name)
            if found.value is None:
                continue
            model = _model(series, side)
            if series.key.stage == "reference":
                lines[series.key.model] = found.value
            elif (point := _point(series, found, measure, axis)) is None:
                continue
            elif series.key.stage == "before":
                starts[model] = point
            else:
                curve = curves[f"{model}, {series.key.selection}"]
                curve[point.across] = point
                if start := starts.get(model):
                    curve.setdefault(start.across, start)
    levels = ", ".join(sorted({series.key.method for side in sides for series in side.series}))
    what = "energy above the minima" if measure.name == MEASURE else measure.title.lower()
    ordered = {name: [points[k] for k in sorted(points)] for name, points in curves.items()}
    return Drawing(f"{sides[0].dataset}: {what} of {levels}", measure, axis, ordered, lines)


def _model(series: Series, side: Side) -> str:
    """Return the model with the base that it is added to."""
    base = side.settings.get("delta")
    return f"{series.key.model} + {base}" if base else series.key.model


def _point(series: Series, found: Estimate, measure: Measure, axis: Axis) -> Point | None:
    """Return the point of a series; ``None`` where its horizontal coordinate is not known."""
    spent = [cost.total for cost in series.cpu_s.values()]
    across: float | None = series.labels
    if axis == "cpu_s":
        across = 0.0 if series.key.stage == "before" else fmean(spent) if len(spent) == len(series.seeds) else None
    if across is None:
        return None
    said = "" if series.labels is None else f"{series.labels} labels"
    said += f", {across:.0f} s" if axis == "cpu_s" else ""
    return Point(across, found, f"{said}: {found.value:.{measure.decimals}f} {measure.unit}")


class _Axes:
    """From numbers to pixels."""

    def __init__(self, drawing: Drawing) -> None:
        points = [point for curve in drawing.curves.values() for point in curve]
        ends = [point.found.high or point.found.value or 0.0 for point in points]
        highest = max(point.found.value or 0.0 for point in points)
        lines = [value for value in drawing.lines.values() if value <= ROOM * highest]
        self.top = 100.0 if drawing.measure.share else _ceiling(max([*ends, *lines, LEAST_TOP]))
        last = max(1.0, *(point.across for point in points))
        first = min(point.across for point in points) if drawing.axis == "labels" else 0.0
        self._first = math.log1p(first if first < last else 0.0)
        self._last = math.log1p(last)
        tens = [10.0**power for power in range(1 + math.floor(math.log10(last)))]
        self.marks = sorted({p.across for p in points}) if drawing.axis == "labels" else [0.0, *tens]

    def x(self, across: float) -> float:
        share = (math.log1p(across) - self._first) / (self._last - self._first)
        return LEFT + INSET + (RIGHT - LEFT - 2 * INSET) * share

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(max(value, 0.0), self.top) / self.top

    def ticks(self) -> list[float]:
        step = self.top / 5
        return [k * step for k in range(6)]


def _ceiling(value: float) -> float:
    """Return the next number of the kind 1, 1.5, 2, 2.5, 3, 4 or 5 times a power of ten, times five steps."""
    for power in range(-3, 6):
        for digit in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0):
            if digit * 10**power * 5 >= value * 1.02:
                return digit * 10.0**power * 5
    return value


def _svg(drawing: Drawing) -> str:
    axes = _Axes(drawing)
    said = _names_at_the_right(drawing, axes)
    width = max(WIDTH, RIGHT + 20 + round(LETTER * max(len(name) for _, name, _ in said)))
    names = [_text(RIGHT + 10, y, name, colour=colour) for y, name, colour in said]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(drawing.title)}</title>",
        f'<rect width="{width}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
        _text(LEFT, 26, drawing.title, size=14, weight="bold"),
        _text(LEFT, 44, f"{_upwards(drawing.measure)}; bars: 95 % interval", colour="#555555"),
        *_frame(axes, ACROSS[drawing.axis]),
        *(_threshold(axes) if drawing.measure.name == MEASURE else ()),
        *(_line(axes, value) for value in drawing.lines.values() if value <= axes.top),
        *(part for name, pen, aside in _pens(drawing) for part in _curve(axes, drawing.curves[name], pen, aside)),
        *names,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _upwards(measure: Measure) -> str:
    if measure.name == MEASURE:
        return "mean residual of all test molecules, kcal/mol"
    return f"{measure.title.lower()}, {measure.unit}" + (" of all test molecules" if measure.share else "")


def _pens(drawing: Drawing) -> list[tuple[str, tuple[str, str], float]]:
    """Return colour and dashes of each curve, and how far its points stand beside their labels, in pixels."""
    pens = [(colour, dashes) for dashes in DASHES for colour in COLOURS]
    middle = (len(drawing.curves) - 1) / 2
    return [(name, pens[k % len(pens)], BESIDE * (k - middle)) for k, name in enumerate(drawing.curves)]


def _frame(axes: _Axes, across: str) -> Iterator[str]:
    for value in axes.ticks():
        y = axes.y(value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#e3e3e3"/>'
        yield _text(LEFT - 8, y + 4, f"{value:g}", anchor="end")
    last = -math.inf
    for mark in axes.marks:
        x = axes.x(mark)
        yield f'<line x1="{x:.1f}" y1="{BOTTOM}" x2="{x:.1f}" y2="{BOTTOM + 5}" stroke="#555555"/>'
        if x - last > 22:
            yield _text(x, BOTTOM + 19, f"{mark:.0f}", anchor="middle")
            last = x
    yield f'<line x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}" stroke="#555555"/>'
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 40, across, anchor="middle")


def _threshold(axes: _Axes) -> Iterator[str]:
    y = axes.y(SUCCESS_KCAL_MOL)
    yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#777777" stroke-dasharray="2 3"/>'
    yield _text(LEFT + 36, y - 4, f"{SUCCESS_KCAL_MOL:g} kcal/mol", colour="#777777", size=10)


def _line(axes: _Axes, value: float) -> str:
    y = axes.y(value)
    return f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#444444" stroke-dasharray="7 4"/>'


def _curve(axes: _Axes, points: Sequence[Point], pen: tuple[str, str], aside: float) -> Iterator[str]:
    colour, dashes = pen
    places = [(axes.x(point.across) + aside, axes.y(point.found.value or 0.0)) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'
    for (x, y), point in zip(places, points, strict=True):
        if point.found.low is not None and point.found.high is not None:
            low, high = axes.y(point.found.low), axes.y(point.found.high)
            yield f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(point.hint)}</title></circle>'


def _names_at_the_right(drawing: Drawing, axes: _Axes) -> list[tuple[float, str, str]]:
    """Return height, text and colour of the names of curves and lines, moved apart where they would overlap."""
    ends = [
        (axes.y(drawing.curves[name][-1].found.value or 0.0), name, drawing.curves[name][-1].found.value, pen[0])
        for name, pen, _ in _pens(drawing)
    ]
    ends += [(axes.y(value), name, value, "#444444") for name, value in drawing.lines.items()]
    placed, least = [], TOP - LINE_HEIGHT
    for y, name, value, colour in sorted(ends, key=lambda end: end[0]):
        least = max(round(y), least + LINE_HEIGHT)
        placed.append((least, name, value, colour))
    over = max(0, placed[-1][0] - BOTTOM)
    decimals = drawing.measure.decimals
    return [
        (y - over + 4, f"{name}: {value:.{decimals}f}{', above' if (value or 0.0) > axes.top else ''}", colour)
        for y, name, value, colour in placed
    ]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222222", size: int = 12, weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}"{bold}>{escape(text)}</text>'
