"""The charts of a page: losses of training, and means with their intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llara.report.svg import COLOURS, FAINT, INK, MARKERS, embed, new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Interval", "Intervals", "interval_chart", "is_adaptation", "loss_chart"]

_ADAPTATION = {"ebae": ("EBAE", COLOURS[0]), "ebar": ("EBAR", COLOURS[1])}
_FINETUNING = {"loss": ("InfoNCE", COLOURS[0])}


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


def is_adaptation(log: Sequence[Mapping[str, float]]) -> bool:
    """Whether a log of training holds adaptation's losses."""
    return any("ebae" in entry or "ebar" in entry for entry in log)


def loss_chart(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """One panel a training run, with its losses over its steps; those of adaptation have one scale."""
    figure = new_figure(height=2.9)
    panels = figure.subplots(1, len(losses), squeeze=False)[0]
    scales: dict[str, Axes] = {}
    for axes, (title, log) in zip(panels, losses.items(), strict=True):
        kinds, unit = (_ADAPTATION, "token") if is_adaptation(log) else (_FINETUNING, "query")
        quiet(axes)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("step")
        axes.margins(y=0.13)
        if unit in scales:
            axes.sharey(scales[unit])
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(f"loss, nats a {unit}")
            scales[unit] = axes
        curves = [(name, [(entry["step"], entry[name]) for entry in log if name in entry]) for name in kinds]
        curves = sorted((curve for curve in curves if curve[1]), key=lambda curve: curve[1][-1][1])
        for rank, (name, points) in enumerate(curves, start=1):
            label, colour = kinds[name]
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=colour, linewidth=1.8, solid_capstyle="round")
            below_or_above = (-2, 5 if rank == len(curves) else -12)  # the highest: label above
            axes.annotate(
                f"{label} {values[-1]:.2f}", points[-1], below_or_above, textcoords="offset points",
                ha="right", color=colour, fontsize=9, fontweight="bold",
            )  # fmt: skip
    return embed(figure, "Losses of training over its steps")


def interval_chart(intervals: Intervals) -> str:
    """Every mean as a dot with its interval, in the order given: of one data set, a row a system; of
    several, a row a data set with the systems in it."""
    values = intervals.values
    if len(values) == 1:
        return _systems_chart(intervals, next(iter(values.values())))
    names = list(dict.fromkeys(name for systems in values.values() for name in systems))
    figure = new_figure(height=0.9 + len(values) * (0.22 + 0.13 * len(names)))
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
            color=colour, markersize=5, label=name,
        )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    _set_measure_axis(axes, intervals, [value for systems in values.values() for value in systems.values()])
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return embed(figure, f"{intervals.measure} of each system on each data set with its 95% interval")


def _systems_chart(intervals: Intervals, systems: Mapping[str, Interval]) -> str:
    figure = new_figure(height=0.6 + 0.42 * len(systems))
    axes = figure.subplots()
    quiet(axes, grid="x")
    for row, (name, value) in enumerate(systems.items()):
        colour = COLOURS[0] if name in intervals.ours else FAINT
        axes.plot(
            [value.low, value.high], [row, row], color=colour, linewidth=3, solid_capstyle="round", alpha=0.5
        )
        axes.plot([value.mean], [row], "o", color=colour, markersize=8)
        axes.annotate(
            f"{value.mean:.3f}",
            (value.high, row),
            (7, -3),
            textcoords="offset points",
            color=INK,
            fontsize=9,
        )
    axes.set_yticks(range(len(systems)), list(systems))
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(systems) - 0.5, -0.5)
    _set_measure_axis(axes, intervals, list(systems.values()))
    return embed(figure, f"{intervals.measure} of each system with its 95% interval")


def _set_measure_axis(axes: Axes, intervals: Intervals, values: Sequence[Interval]) -> None:
    """From 0, or from below if a value is (a correlation may be)."""
    high, low = max(value.high for value in values), min(value.low for value in values)
    axes.set_xlim(min(0.0, 1.08 * low), 1.08 * max(high, 0.0) + 0.02)
    axes.set_xlabel(f"{intervals.measure}, with its 95% interval")
