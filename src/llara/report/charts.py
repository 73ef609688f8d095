"""The charts of a page: curves over steps, means with their intervals, histograms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

from llara.report.svg import COLOURS, FAINT, INK, MARKERS, embed, new_figure, quiet
from llara.report.text import clean, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Chart",
    "Curve",
    "Curves",
    "Histogram",
    "Interval",
    "Intervals",
    "draw",
    "running_mean",
    "thinned",
]

_PANEL_WIDTH, _PANEL_HEIGHT = 4.3, 2.6  # inches: about 400 pixels, so that text keeps its size on a phone
_WIDE = 5.0
_MOST_POINTS = 250
_LEAST_TO_SMOOTH = 20
_SMOOTH_SHARE = 20  # the mean is over this part of a curve
_LABEL_CHARACTERS, _TITLE_CHARACTERS, _ROW_CHARACTERS = 60, 44, 24
_LETTER_POINTS = 6.0  # the width of a bold letter
_BETTER, _WORSE = COLOURS[2], COLOURS[1]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval it is known to; without one, ``low`` and ``high`` are the mean."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """One measure: data set -> system -> its mean and interval. ``ours`` are systems to point at."""

    measure: str
    values: Mapping[str, Mapping[str, Interval]]
    ours: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through (x, y), its name and last value over the chart; ``marked``: an x to point at, why."""

    name: str
    points: Sequence[tuple[float, float]]
    marked: tuple[float, str] | None = None
    is_smoothed: bool = True


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves over one pair of axes. Long ones are thinned, and those to be smoothed drawn twice: as they are,
    faint, and as a running mean."""

    title: str
    curves: Sequence[Curve]
    x: str
    y: str
    from_zero: bool = False

    @property
    def is_smoothed(self) -> bool:
        """Whether a curve is drawn twice."""
        return any(map(_is_smoothed, self.curves))


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between each two ``edges``. ``is_signed``: below 0 is worse, above it better."""

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    x: str
    y: str
    is_signed: bool = False


Chart = Curves | Intervals | Histogram


def draw(chart: Chart) -> str:
    """The chart as an ``<svg>`` element that takes its colours from the page."""
    match chart:
        case Curves():
            return _curves(chart)
        case Intervals():
            return _one_data_set(chart) if len(chart.values) == 1 else _several_data_sets(chart)
        case Histogram():
            return _histogram(chart)
        case _:
            assert_never(chart)


def thinned(points: Sequence[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many points: the means of as many neighbours each, the last ones perhaps of fewer.

    >>> thinned([(1, 4.0), (2, 6.0), (3, 1.0)], most=2)
    [(1.5, 5.0), (3.0, 1.0)]
    """
    size = -(-len(points) // most) or 1
    if size == 1:
        return list(points)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and up to ``width`` // 2 on either side.

    >>> running_mean([3.0, 0.0, 6.0, 6.0], 3)
    [1.5, 3.0, 4.0, 6.0]
    """
    reach = width // 2
    windows = [values[max(0, place - reach) : place + reach + 1] for place in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _curves(chart: Curves) -> str:
    figure = new_figure(height=_PANEL_HEIGHT, width=_PANEL_WIDTH)
    axes = figure.subplots()
    drawn = [curve for curve in chart.curves if curve.points]
    _frame(axes, chart.title, chart.x, chart.y, has_labels=any(map(_ends, drawn)))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)  # one step alone has one place
    room = 0.0
    for number, curve in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        points = thinned(curve.points)
        places, values = zip(*points, strict=True)
        if _is_smoothed(curve):
            axes.plot(places, values, color=colour, linewidth=0.9, alpha=0.4)
            values = tuple(running_mean(values, max(3, len(points) // _SMOOTH_SHARE)))
        axes.plot(
            places, values, "-" if len(points) > 1 else "o",
            color=colour, linewidth=1.8, solid_capstyle="round", markersize=5,
        )  # fmt: skip
        if curve.marked is not None:
            place = curve.marked[0]
            axes.plot([place], [dict(curve.points)[place]], "o", color=colour, markersize=9, fillstyle="none")
        axes.annotate(
            _ends(curve), (0, 1), (room, 5), xycoords="axes fraction", textcoords="offset points",
            color=colour, fontsize=9, fontweight="bold",
        )  # fmt: skip
        room += _LETTER_POINTS * len(_ends(curve)) + 14
    if chart.from_zero:
        axes.set_ylim(bottom=0)
    names = ", ".join(curve.name or chart.y for curve in drawn)
    return embed(figure, f"{chart.title}: {names} over {chart.x}s")


def _ends(curve: Curve) -> str:
    """What is said of a curve over the chart, where no line is in the way."""
    last = f"{curve.name} {significant(curve.points[-1][1])}" if curve.name else ""
    marked = f"\u25cb {curve.marked[1]}" if curve.marked else ""
    return clean("  ".join(filter(None, [last, marked])))


def _is_smoothed(curve: Curve) -> bool:
    return curve.is_smoothed and len(curve.points) >= _LEAST_TO_SMOOTH


def _one_data_set(chart: Intervals) -> str:
    """A row a system: its name over its mean and interval, so that long names cost no width."""
    ((label, systems),) = chart.values.items()
    figure = new_figure(height=0.75 + 0.46 * len(systems), width=_WIDE)
    axes = figure.subplots()
    quiet(axes, grid="x")
    for row, (name, value) in enumerate(systems.items()):
        is_ours = not chart.ours or name in chart.ours
        colour = COLOURS[0] if is_ours else FAINT
        axes.plot(
            [value.low, value.high], [row, row], color=colour, linewidth=3, solid_capstyle="round", alpha=0.5
        )
        axes.plot([value.mean], [row], "o", color=colour, markersize=7)
        axes.annotate(
            _label(name), (0, row), (0, 9), xycoords=("axes fraction", "data"), textcoords="offset points",
            color=INK, fontsize=9,
        )  # fmt: skip
        axes.annotate(
            f"{value.mean:.3f}", (value.high, row), (6, -3), textcoords="offset points", color=INK, fontsize=9
        )
    axes.set_yticks([])
    axes.set_ylim(len(systems) - 0.6, -0.75)
    _set_measure_axis(axes, chart, list(systems.values()))
    where = f" on {label}" if label else ""
    return embed(figure, f"{chart.measure} of each system{where} with its 95% interval")


def _several_data_sets(chart: Intervals) -> str:
    """A row a data set with the systems in it, in the order given."""
    values = chart.values
    names = list(dict.fromkeys(name for systems in values.values() for name in systems))
    columns = max(1, min(len(names), int(62 / max(len(_label(name)) + 6 for name in names))))
    legend = 0.2 * -(-len(names) // columns)
    figure = new_figure(height=0.7 + legend + len(values) * (0.22 + 0.13 * len(names)), width=_WIDE)
    axes = figure.subplots()
    quiet(axes, grid="x")
    for number, name in enumerate(names):
        offset = 0.7 * ((number + 0.5) / len(names) - 0.5)
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        found = [
            (row + offset, systems[name]) for row, systems in enumerate(values.values()) if name in systems
        ]
        axes.hlines(
            [row for row, _ in found], [value.low for _, value in found], [value.high for _, value in found],
            color=colour, linewidth=2.4, alpha=0.5, capstyle="round",
        )  # fmt: skip
        axes.plot(
            [value.mean for _, value in found], [row for row, _ in found], marker,
            color=colour, markersize=5, label=_label(name),
        )  # fmt: skip
    axes.set_yticks(range(len(values)), [_label(label, _ROW_CHARACTERS) for label in values])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    _set_measure_axis(axes, chart, [value for systems in values.values() for value in systems.values()])
    figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)
    return embed(figure, f"{chart.measure} of each system on each data set with its 95% interval")


def _histogram(chart: Histogram) -> str:
    figure = new_figure(height=_PANEL_HEIGHT, width=_PANEL_WIDTH)
    axes = figure.subplots()
    _frame(axes, chart.title, chart.x, chart.y)
    widths = [high - low for low, high in pairwise(chart.edges)]
    middles = [low + width / 2 for low, width in zip(chart.edges, widths, strict=False)]
    colours = [COLOURS[0] if not chart.is_signed else _WORSE if x < 0 else _BETTER for x in middles]
    axes.bar(middles, chart.counts, width=[0.88 * width for width in widths], color=colours, alpha=0.8)
    if chart.is_signed:
        axes.axvline(0, color=FAINT, linewidth=1)
    axes.locator_params(axis="y", integer=True, nbins=5)
    return embed(figure, f"{chart.title}: {chart.y} by {chart.x}")


def _frame(axes: Axes, title: str, x: str, y: str, *, has_labels: bool = False) -> None:
    quiet(axes)
    axes.set_title(
        _label(title, _TITLE_CHARACTERS), loc="left", fontsize=10, color=INK, pad=20 if has_labels else 6
    )
    axes.set_xlabel(_label(x))
    axes.set_ylabel(_label(y))


def _label(name: str, characters: int = _LABEL_CHARACTERS) -> str:
    """A name as it fits into a chart: of a long one, such as a path, its end.

    >>> _label("a" * 70) == "..." + "a" * 57
    True
    """
    name = clean(name) if len(name) <= characters else "..." + clean(name[3 - characters :])
    return f"\u200b{name}" if name.startswith("_") else name  # matplotlib hides those from its legends


def _set_measure_axis(axes: Axes, chart: Intervals, values: Sequence[Interval]) -> None:
    """From 0, or from below if a value is (a correlation may be)."""
    high, low = max(value.high for value in values), min(value.low for value in values)
    axes.set_xlim(min(0.0, 1.08 * low), 1.12 * max(high, 0.0) + 0.02)
    axes.set_xlabel(f"{clean(chart.measure)}, with its 95% interval")
