"""Charts as SVG files for documents: bars with intervals, and lines. Readable on white and on dark paper.

A value is a mean, or (mean, low, high) with the interval it is known to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llara.errors import InputError
from llara.report.svg import COLOURS, GRID, INK, MARKERS, new_figure, plain_style, quiet, save

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Points", "Value", "bars", "lines"]

Value = float | Sequence[float]
"""A mean, or (mean, low, high)."""

Points = Mapping[int, Value] | Mapping[float, Value]
"""Where along the x axis -> what was measured there."""

_LEAST_WIDTH, _GROUP_WIDTH = 4.2, 0.35  # inches
_GRID_STRENGTH = 0.35  # its middle tone would be loud on either paper


@plain_style()
def bars(path: Path, values: Mapping[str, Mapping[str, Value]], *, measure: str) -> None:
    """Write a bar chart: for each data set one bar a system, with its interval.

    Args:
        values: data set -> system -> value; a system may be absent from a data set.
        measure: what the bars are, for the axis.

    Raises:
        InputError: there is nothing to draw.
        OutputError: the disk is full or read-only.
    """
    systems = _names(values.values())
    width = max(_LEAST_WIDTH, len(values) * (_GROUP_WIDTH + 0.16 * len(systems)))
    figure = new_figure(height=3.4, width=width)
    axes = figure.subplots()
    quiet(axes, strength=_GRID_STRENGTH)
    for number, system in enumerate(systems):
        found = [
            (group + 0.8 * ((number + 0.5) / len(systems) - 0.5), _with_interval(of_group[system]))
            for group, of_group in enumerate(values.values())
            if system in of_group
        ]
        places, means = [place for place, _ in found], [value[0] for _, value in found]
        colour = COLOURS[number % len(COLOURS)]
        axes.bar(places, means, width=0.74 / len(systems), color=colour, alpha=0.55, label=system)
        axes.vlines(
            places, [low for _, (_, low, _) in found], [high for _, (_, _, high) in found],
            color=colour, linewidth=2.0,
        )  # fmt: skip
    axes.axhline(0, color=GRID, linewidth=0.8)
    axes.set_xticks(range(len(values)), list(values))
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_ylabel(measure)
    _legend(figure, width, systems)
    save(path, figure, f"{measure} of {', '.join(systems)} on {', '.join(values)}")


@plain_style()
def lines(
    path: Path,
    panels: Mapping[str, Mapping[str, Points]],
    *,
    x: str,
    y: str,
    num_columns: int = 3,
    share_y: bool = False,
) -> None:
    """Write line charts, a panel each: quality over steps, losses over steps. Intervals become bands.

    Args:
        panels: title -> line -> where along ``x`` -> value. A line has one colour in all panels.
        x: the name of the horizontal axis; ``y`` of the vertical one.
        num_columns: panels beside each other.
        share_y: give every panel the same vertical scale.

    Raises:
        InputError: there is nothing to draw.
        OutputError: the disk is full or read-only.
    """
    names = _names(panels.values())
    num_columns = min(num_columns, len(panels))
    num_rows = -(-len(panels) // num_columns)
    width = max(_LEAST_WIDTH, 2.8 * num_columns)
    figure = new_figure(height=0.4 + 2.4 * num_rows, width=width)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharey=share_y)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for place, (title, series) in enumerate(panels.items()):
        axes = grid.flat[place]
        quiet(axes, strength=_GRID_STRENGTH)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        for name, points in series.items():
            if points:
                _line(axes, name, points, names.index(name))
        if place + num_columns >= len(panels):
            axes.set_xlabel(x)
        if place % num_columns == 0:
            axes.set_ylabel(y)
    _legend(figure, width, names)
    save(path, figure, f"{y} over {x}: {', '.join(names)}; {', '.join(filter(None, panels))}")


def _line(axes: Axes, name: str, points: Points, number: int) -> None:
    found = sorted((float(place), _with_interval(value)) for place, value in points.items())
    places = [place for place, _ in found]
    means, lows, highs = zip(*(value for _, value in found), strict=True)
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    is_dense = len(places) > 12  # a curve of losses: dots would hide it
    axes.plot(
        places, means, "-" if is_dense else f"{marker}-", color=colour, label=name,
        linewidth=1.6, markersize=4, solid_capstyle="round",
    )  # fmt: skip
    if lows != means or highs != means:
        axes.fill_between(places, lows, highs, color=colour, alpha=0.2, linewidth=0)


def _legend(figure: Figure, width: float, names: Sequence[str]) -> None:
    """One legend over the whole figure, also for what the first panel lacks."""
    found: dict[str, Artist] = {}
    for each in figure.axes:
        handles, labels = each.get_legend_handles_labels()
        found.update(dict(zip(labels, handles, strict=True)))
    shown = {name: found[name] for name in names}
    if len(shown) > 1:
        figure.legend(
            shown.values(), shown.keys(), loc="outside upper left", frameon=False, fontsize=9,
            labelcolor=INK, ncols=max(1, min(len(shown), int(width / 2))),
        )  # fmt: skip


def _names(groups: Iterable[Mapping[str, object]]) -> list[str]:
    """Every name in the groups, each once, in order; those of nothing are left out."""
    names = list(dict.fromkeys(name for group in groups for name, value in group.items() if value != {}))
    if not names:
        raise InputError("there is nothing to draw: expected at least one value with a name")
    return names


def _with_interval(value: Value) -> tuple[float, float, float]:
    if isinstance(value, Sequence):
        mean, low, high = value
        return mean, low, high
    return value, value, value
