"""The figure of runs: what is left above the oracle's minima against the labels that were learned from, as SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL
from golfbench.compare.sides import Side
from golfbench.compare.verdict import residual
from golfbench.errors import ConfigurationError, NothingToDoError
from golfbench.leaderboard.statistics import Estimate

WIDTH, HEIGHT = 760, 430
#: Of the axes, in pixels: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 64, 56, 520, 370
#: Okabe and Ito: colours that colour-blind people tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
#: Lines between two entries of the list at the right are so far apart.
LINE_HEIGHT = 15


@dataclass(frozen=True, slots=True)
class Point:
    """A residual.

    Attributes:
        labels: That were learned from.
        found: With its interval, kcal/mol.
    """

    labels: int
    found: Estimate


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes:
        title: What all of it is of.
        curves: By what tells them apart: points by rising labels.
        lines: Residuals of fixed models, by their names.
    """

    title: str
    curves: dict[str, list[Point]]
    lines: dict[str, float]


def figure(sides: Sequence[Side]) -> str:
    """Return the figure of runs as an SVG document that needs nothing beside it.

    A curve is a model under a selection: the model before it learned, and after it learned from the labels of each run.
    Fixed models are lines across. The axis of labels is like log(1 + x).

    Args:
        sides: Runs of one dataset, from ``sides.read_side``.

    Raises:
        ConfigurationError: If they are of several datasets.
        NothingToDoError: If they have nothing to draw.
    """
    if len({(side.dataset, side.sha256) for side in sides}) > 1:
        raise ConfigurationError("a figure is of one dataset: " + ", ".join(sorted({side.dataset for side in sides})))
    drawing = _drawing(sides)
    if not drawing.curves:
        raise NothingToDoError("no run says how many labels its networks have learned from: nothing to draw")
    return _svg(drawing)


def _drawing(sides: Sequence[Side]) -> Drawing:
    curves: defaultdict[str, dict[int, Point]] = defaultdict(dict)
    starts: dict[str, Point] = {}
    lines: dict[str, float] = {}
    for side in sides:
        for series in side.series:
            found = residual(series, side.sha256)
            if found.value is None:
                continue
            if series.key.stage == "reference":
                lines[series.key.model] = found.value
            elif series.labels is not None and series.key.stage == "before":
                starts[series.key.model] = Point(series.labels, found)
            elif series.labels is not None:
                curves[f"{series.key.model}, {series.key.selection}"][series.labels] = Point(series.labels, found)
                if start := starts.get(series.key.model):
                    curves[f"{series.key.model}, {series.key.selection}"].setdefault(start.labels, start)
    levels = ", ".join(sorted({series.key.method for side in sides for series in side.series}))
    title = f"{sides[0].dataset}: energy above the minima of {levels}"
    return Drawing(title, {name: [points[k] for k in sorted(points)] for name, points in curves.items()}, lines)


class _Axes:
    """Where numbers are, in pixels."""

    def __init__(self, drawing: Drawing) -> None:
        points = [point for curve in drawing.curves.values() for point in curve]
        ends = [point.found.high or point.found.value or 0.0 for point in points]
        self.top = _ceiling(max([*ends, *drawing.lines.values(), 1.5 * SUCCESS_KCAL_MOL]))
        self.labels = sorted({point.labels for point in points})
        self._last = math.log1p(max(*self.labels, 1) if len(self.labels) > 1 else max(self.labels[0], 1))

    def x(self, labels: float) -> float:
        return LEFT + 12 + (RIGHT - LEFT - 24) * math.log1p(labels) / self._last

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(value, self.top) / self.top

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
    names = _names_at_the_right(drawing, axes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(drawing.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
        _text(LEFT, 26, drawing.title, size=14, weight="bold"),
        _text(LEFT, 44, "mean residual of all test molecules, kcal/mol; bars: 95 % interval", colour="#555555"),
        *_frame(axes),
        *_threshold(axes),
        *(_line(axes, value) for value in drawing.lines.values()),
        *(part for name, colour in _coloured(drawing) for part in _curve(axes, drawing.curves[name], colour)),
        *names,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _coloured(drawing: Drawing) -> list[tuple[str, str]]:
    return [(name, COLOURS[k % len(COLOURS)]) for k, name in enumerate(drawing.curves)]


def _frame(axes: _Axes) -> Iterator[str]:
    for value in axes.ticks():
        y = axes.y(value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#e3e3e3"/>'
        yield _text(LEFT - 8, y + 4, f"{value:g}", anchor="end")
    last = -math.inf
    for labels in axes.labels:
        x = axes.x(labels)
        yield f'<line x1="{x:.1f}" y1="{BOTTOM}" x2="{x:.1f}" y2="{BOTTOM + 5}" stroke="#555555"/>'
        if x - last > 22:
            yield _text(x, BOTTOM + 19, str(labels), anchor="middle")
            last = x
    yield f'<line x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}" stroke="#555555"/>'
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 40, "labels of the oracle that were learned from", anchor="middle")


def _threshold(axes: _Axes) -> Iterator[str]:
    y = axes.y(SUCCESS_KCAL_MOL)
    yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#777777" stroke-dasharray="2 3"/>'
    yield _text(LEFT + 4, y - 4, f"{SUCCESS_KCAL_MOL:g} kcal/mol", colour="#777777", size=10)


def _line(axes: _Axes, value: float) -> str:
    y = axes.y(value)
    return f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="#444444" stroke-dasharray="7 4"/>'


def _curve(axes: _Axes, points: Sequence[Point], colour: str) -> Iterator[str]:
    places = [(axes.x(point.labels), axes.y(point.found.value or 0.0)) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for (x, y), point in zip(places, points, strict=True):
        if point.found.low is not None and point.found.high is not None:
            low, high = axes.y(point.found.low), axes.y(point.found.high)
            yield f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
        hint = f"{point.labels} labels: {point.found.value:.2f} kcal/mol"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(hint)}</title></circle>'


def _names_at_the_right(drawing: Drawing, axes: _Axes) -> list[str]:
    """Return the names of curves and lines beside their ends, pushed apart where they would overlap."""
    ends = [
        (axes.y(drawing.curves[name][-1].found.value or 0.0), name, drawing.curves[name][-1].found.value, colour)
        for name, colour in _coloured(drawing)
    ]
    ends += [(axes.y(value), name, value, "#444444") for name, value in drawing.lines.items()]
    placed, least = [], TOP - LINE_HEIGHT
    for y, name, value, colour in sorted(ends, key=lambda end: end[0]):
        least = max(round(y), least + LINE_HEIGHT)
        placed.append((least, name, value, colour))
    over = max(0, placed[-1][0] - BOTTOM)
    return [_text(RIGHT + 10, y - over + 4, f"{name}: {value:.2f}", colour=colour) for y, name, value, colour in placed]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222222", size: int = 12, weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}"{bold}>{escape(text)}</text>'
