"""What the pages of training runs have in common: their curves, their settings, what they were made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from llara.report.blocks import Block, Charts, Commands, Details, Facts, Section, Text
from llara.report.charts import Curve, Curves
from llara.report.tables import Cell, Column, Row, Table
from llara.settings import changed, to_toml

__all__ = [
    "Log",
    "curve_of",
    "loss_charts",
    "made_with",
    "pace_chart",
    "rate_charts",
    "settings_section",
    "time_words",
]

Log = Sequence[Mapping[str, float]]
"""Entries of a training log, as ours write them: ``step`` and what was measured since the one before."""

_TERMS = {"ebae": "EBAE", "ebar": "EBAR", "lm": "next token"}
_MEANINGS = {
    "ebae": "EBAE: how well the embedding of a passage predicts the passage's own words.",
    "ebar": "EBAR: how well it predicts the words of the passage that follows.",
    "lm": "Next token: how well the model still predicts text as a language model.",
}
_INFONCE = "InfoNCE: how well the embedding of a query tells its own passage from those it is compared with."
_RAW = "Faint: each entry of the log. Bold: a running mean over a twentieth of them."


def curve_of(log: Log, key: str) -> list[tuple[float, float]]:
    """(step, value) of the entries that have the key."""
    return [(entry["step"], entry[key]) for entry in log if key in entry]


def loss_charts(
    logs: Mapping[str, Log], others: Sequence[Curves] = (), *, contrast: str = "InfoNCE"
) -> list[Block]:
    """A chart a training run (title -> log) of its losses over its steps, ``others``, what the losses are.

    ``contrast`` names the loss of a run that has no terms of adaptation.
    """
    charts: list[Curves] = []
    said: list[str] = []
    for title, log in logs.items():
        terms = [key for key in _TERMS if curve_of(log, key)]
        curves = [Curve(_TERMS[key], curve_of(log, key)) for key in terms]
        said += [_MEANINGS[key] for key in terms]
        if not terms and (points := curve_of(log, "loss")):
            curves = [Curve(contrast, points)]
            said += [_INFONCE] if contrast == "InfoNCE" else []
        if curves:
            charts.append(Curves(title, curves, "step", f"loss, nats a {'token' if terms else 'query'}"))
    if not charts:
        return [Charts(others)] if others else []
    if any(chart.is_smoothed for chart in (*charts, *others)):
        said.append(_RAW)
    return [Charts([*charts, *others]), Text([" ".join(dict.fromkeys(said))], is_faint=True)]


def rate_charts(log: Log) -> list[Curves]:
    """The learning rate and the norm of the gradients, where they were logged."""
    found = {"learning_rate": "learning rate", "grad_norm": "gradient norm"}
    return [
        Curves(
            name.capitalize(), [Curve("", curve_of(log, key), is_smoothed=key == "grad_norm")], "step", name
        )
        for key, name in found.items()
        if curve_of(log, key)
    ]


def pace_chart(
    seconds: Sequence[tuple[float, float]], amounts: Mapping[float, float], unit: str
) -> list[Curves]:
    """How much was read a second between each two entries of a log.

    Args:
        seconds: (step, seconds since training began); ``amounts``: step -> how much was read by then.
    """
    points = [
        (step, (amounts[step] - amounts[before]) / (late - early))
        for (before, early), (step, late) in pairwise(seconds)
        if late > early and step > before
    ]
    if not points:
        return []
    title = f"{unit.capitalize()} a second"
    return [Curves(title, [Curve("", points)], "step", f"{unit} a second", from_zero=True)]


def settings_section(config: Any, *, table: str) -> Section:
    """What differs from the defaults, and all settings as a recipe that can be used again."""
    differing = changed(config)
    rows = [Row(each.name, [Cell(each.value), Cell(each.default)], about=each.about) for each in differing]
    shown: list[Block] = [Table("", "Setting", [Column("here"), Column("default")], rows)] if rows else []
    if not rows:
        shown = [Text(["All settings are the defaults."])]
    recipe = Commands([to_toml(config, table=table)])
    return Section(
        "Settings that are not the defaults", [*shown, Details("All settings, as a recipe", [recipe])]
    )


def made_with(
    run: Mapping[str, str], versions: Mapping[str, str], commands: Iterable[str] = ()
) -> list[Section]:
    """The last sections of a page: what it was made with, and what can be typed next."""
    all_versions = ", ".join(f"{name} {number}" for name, number in versions.items())
    return [
        Section("What it was made with", [Facts({**run, "Versions": all_versions})]),
        Section("What to type next", [Commands(list(commands))] if commands else []),
    ]


def time_words(seconds: float) -> str:
    """A duration as people say it.

    >>> time_words(4.2), time_words(90), time_words(7300)
    ('4.2 s', '1 min 30 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
