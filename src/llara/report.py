"""Numbers to a page: one HTML file that needs nothing else, readable in light and dark.

The charts are SVG by matplotlib, inside the page. Their colours are variables of the page's style sheet,
and their text is text: it follows the reader's font and colour scheme, and can be searched.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from llara.files import write_text_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Answer", "Example", "Interval", "Report", "System", "render", "write_report"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval it is known to."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class System:
    """One row of the table: measure -> value. ``is_ours`` marks what the page is about."""

    name: str
    about: str
    values: Mapping[str, Interval]
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A passage found for a question."""

    name: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and what each system (by name) found for it."""

    question: str
    answers: Mapping[str, Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a page says. ``losses`` is title -> log entries, as our training writes them."""

    title: str
    finding: str
    systems: Sequence[System]
    comparisons: Sequence[str] = ()
    losses: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        OutputError: the disk is full or read-only.
    """
    write_text_atomic(path, render(report))


def render(report: Report) -> str:
    """The page as HTML that is also well-formed XML."""
    sections = [
        _header(report),
        _section("How well each finds", _table(report.systems) + _sentences(report.comparisons)),
        _section("The same as a picture", _figure(_interval_chart(report.systems))) if report.systems else "",
        _section("What training learned", _losses(report.losses)) if report.losses else "",
        _section("Asked and answered", "".join(map(_example, report.examples))) if report.examples else "",
        _section("Where the numbers come from", _sentences(report.notes) + _facts(report.facts)),
        _section("What to type next", _commands(report.commands)) if report.commands else "",
    ]
    return _PAGE.format(title=escape(report.title), style=_STYLE, body="\n".join(filter(None, sections)))


def _header(report: Report) -> str:
    return f"<header><h1>{escape(report.title)}</h1><p class='finding'>{escape(report.finding)}</p></header>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _sentences(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _commands(commands: Sequence[str]) -> str:
    return "".join(f"<pre><code>{escape(command)}</code></pre>" for command in commands)


def _table(systems: Sequence[System]) -> str:
    if not systems:
        return ""
    measures = list(systems[0].values)
    best = {m: max(system.values[m].mean for system in systems) for m in measures}
    head = "".join(f"<th scope='col'>{escape(measure)}</th>" for measure in measures)
    rows = []
    for system in systems:
        cells = "".join(_cell(system.values[m], is_best=system.values[m].mean == best[m]) for m in measures)
        mark = " class='ours'" if system.is_ours else ""
        name = f"{escape(system.name)}<small>{escape(system.about)}</small>"
        rows.append(f"<tr{mark}><th scope='row'>{name}</th>{cells}</tr>")
    return (
        f"<div class='wide'><table><thead><tr><th scope='col'>System</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(value: Interval, *, is_best: bool) -> str:
    mean = f"<strong>{value.mean:.3f}</strong>" if is_best else f"{value.mean:.3f}"
    return f"<td>{mean}<small>{value.low:.3f} to {value.high:.3f}</small></td>"


def _example(example: Example) -> str:
    columns = []
    for name, answers in example.answers.items():
        items = "".join(
            f"<li><b>{escape(answer.name)}</b> <span class='score'>{answer.score:.2f}</span>"
            f"<p>{escape(answer.text)}</p></li>"
            for answer in answers
        )
        columns.append(f"<div><h4>{escape(name)}</h4><ol>{items}</ol></div>")
    return (
        f"<article><h3>{escape(example.question)}</h3><div class='columns'>{''.join(columns)}</div></article>"
    )


def _losses(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    drawn = {title: log for title, log in losses.items() if log}
    text = (
        "Two losses of adaptation fall together. EBAE: how well the embedding of a passage predicts the "
        "passage's own words. EBAR: how well it predicts the words of the passage that follows."
    )
    if not all(map(_is_adaptation, drawn.values())):
        text += (
            " Fine-tuning has one, InfoNCE: how well the embedding of a query tells its own passage from the "
            "others of the step."
        )
    return (_sentences([text]) + _figure(_loss_chart(drawn))) if drawn else ""


def _is_adaptation(log: Sequence[Mapping[str, float]]) -> bool:
    return any("ebae" in entry or "ebar" in entry for entry in log)


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>"


# Colours that stand for variables of the style sheet until the SVG is in the page.
_INK, _FAINT, _GRID, _FIRST, _SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _GRID: "var(--grid)",
    _FIRST: "var(--first)",
    _SECOND: "var(--second)",
}


_ADAPTATION = {"ebae": ("EBAE", _FIRST), "ebar": ("EBAR", _SECOND)}
_FINETUNING = {"loss": ("InfoNCE", _FIRST)}


def _loss_chart(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """One panel a training run, with its losses over its steps; those of adaptation have one scale."""
    figure = _new_figure(height=2.9)
    panels = figure.subplots(1, len(losses), squeeze=False)[0]
    scales: dict[str, Axes] = {}
    for axes, (title, log) in zip(panels, losses.items(), strict=True):
        kinds, unit = (_ADAPTATION, "token") if _is_adaptation(log) else (_FINETUNING, "query")
        _quiet(axes)
        axes.set_title(title, loc="left", fontsize=10, color=_INK)
        axes.set_xlabel("step")
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
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
    return _svg(figure, "Losses of training over its steps")


def _interval_chart(systems: Sequence[System]) -> str:
    """The first measure of every system as a dot with its interval, best on top as in the table."""
    measure = next(iter(systems[0].values))
    figure = _new_figure(height=0.6 + 0.42 * len(systems))
    axes = figure.subplots()
    _quiet(axes)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    for row, system in enumerate(systems):
        value = system.values[measure]
        colour = _FIRST if system.is_ours else _FAINT
        axes.plot(
            [value.low, value.high], [row, row], color=colour, linewidth=3, solid_capstyle="round", alpha=0.5
        )
        axes.plot([value.mean], [row], "o", color=colour, markersize=8)
        axes.annotate(
            f"{value.mean:.3f}",
            (value.high, row),
            (7, -3),
            textcoords="offset points",
            color=_INK,
            fontsize=9,
        )
    axes.set_yticks(range(len(systems)), [system.name for system in systems])
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * max(system.values[measure].high for system in systems) + 0.02)
    axes.set_xlabel(f"{measure}, with its 95% interval")
    return _svg(figure, f"{measure} of each system with its 95% interval")


def _new_figure(*, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(8.4, height), layout="constrained")


def _quiet(axes: Axes) -> None:
    """Leave of the frame only what carries information."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(colors=_FAINT, length=0, labelsize=9)
    axes.xaxis.label.set_color(_FAINT)
    axes.yaxis.label.set_color(_FAINT)
    axes.set_axisbelow(True)


def _svg(figure: Figure, label: str) -> str:
    """The figure as an ``<svg>`` element without a size of its own, coloured by the page."""
    import matplotlib

    buffer = io.StringIO()
    # Text stays text, and the same figure gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'font-family: [^;"]*', "font-family: inherit", svg)
    svg = re.sub(r'(font: [^;"]*?px) [^;"]*', r"\1 system-ui", svg)  # as older matplotlib writes it
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)


_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --card: #ffffff; --ink: #1c1e21; --faint: #646a73;
  --grid: #e3e5e8; --first: #1f5fbf; --second: #c2570c; --wash: #eef4fd; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e8e9eb;
  --faint: #9aa1ab; --grid: #33383f; --first: #7fb2ff; --second: #f5a168; --wash: #1b2838; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.015em; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
h3 { font-size: 1.02rem; margin: 0 0 .6rem; }
h4 { font-size: .8rem; margin: 0 0 .4rem; color: var(--faint); font-weight: 600; }
p { margin: .5rem 0; }
.finding { font-size: 1.15rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--grid); }
th:first-child { text-align: left; }
thead th { color: var(--faint); font-size: .85rem; font-weight: 600; }
tbody th { font-weight: 600; }
small { display: block; color: var(--faint); font-size: .78rem; font-weight: 400; }
td small { white-space: nowrap; }
tr.ours { background: var(--wash); }
figure { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--grid);
  border-radius: 10px; }
figure svg { display: block; width: 100%; height: auto; }
article { background: var(--card); border: 1px solid var(--grid); border-radius: 10px; padding: 1rem 1.2rem;
  margin: 0 0 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1.2rem; }
ol { margin: 0; padding-left: 1.2rem; }
li { margin: 0 0 .5rem; font-size: .9rem; overflow-wrap: anywhere; }
li p { margin: .1rem 0 0; color: var(--faint); font-size: .86rem; }
.score { color: var(--faint); font-size: .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .92rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--grid); border-radius: 8px; padding: .7rem .9rem;
  overflow-x: auto; margin: .5rem 0; }
code { font: .88rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
