"""Numbers to a page: one HTML file that needs nothing else, readable in light and dark.

The charts are SVG by matplotlib, inside the page. Their colours are variables of the page's style sheet,
and their text is text: it follows the reader's font and colour scheme, and can be searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from llara.files import write_text_atomic
from llara.report.charts import Interval, Intervals, interval_chart, is_adaptation, loss_chart
from llara.report.style import PAGE, STYLE
from llara.report.tables import Cell, Column, Row, Table, table_html

__all__ = ["Answer", "Example", "Report", "System", "render", "write_report"]


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
    """All that a page says. ``losses`` is title -> log entries, as our training writes them.

    ``systems`` are shown as one table and one chart, of the first measure; ``tables`` and ``intervals`` stand
    beside or instead of them where there is more to show.
    """

    title: str
    finding: str
    systems: Sequence[System] = ()
    tables: Sequence[Table] = ()
    intervals: Sequence[Intervals] = ()
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
    of_systems = bool(report.systems)
    tables = [_system_table(report.systems)] if of_systems else []
    intervals = [_system_intervals(report.systems)] if of_systems else []
    pictures = "".join(_figure(interval_chart(each)) for each in [*intervals, *report.intervals])
    sections = [
        _header(report),
        _section(
            "How well each finds",
            "".join(map(_table, [*tables, *report.tables])) + _sentences(report.comparisons),
        ),
        _section("The same as a picture", pictures),
        _section("What training learned", _losses(report.losses)) if report.losses else "",
        _section("Asked and answered", "".join(map(_example, report.examples))) if report.examples else "",
        _section("Where the numbers come from", _sentences(report.notes) + _facts(report.facts)),
        _section("What to type next", _commands(report.commands)) if report.commands else "",
    ]
    return PAGE.format(title=escape(report.title), style=STYLE, body="\n".join(filter(None, sections)))


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


def _table(table: Table) -> str:
    return (f"<h3>{escape(table.title)}</h3>" if table.title else "") + table_html(table)


def _system_table(systems: Sequence[System]) -> Table:
    measures = list(systems[0].values)
    best = {measure: max(system.values[measure].mean for system in systems) for measure in measures}
    return Table(
        title="",
        corner="System",
        columns=[Column(measure) for measure in measures],
        rows=[
            Row(
                name=system.name,
                about=system.about,
                is_ours=system.is_ours,
                cells=[_cell(system.values[m], is_best=system.values[m].mean == best[m]) for m in measures],
            )
            for system in systems
        ],
    )


def _cell(value: Interval, *, is_best: bool) -> Cell:
    return Cell(f"{value.mean:.3f}", about=f"{value.low:.3f} to {value.high:.3f}", is_best=is_best)


def _system_intervals(systems: Sequence[System]) -> Intervals:
    measure = next(iter(systems[0].values))
    return Intervals(
        measure,
        {"": {system.name: system.values[measure] for system in systems}},
        ours=[system.name for system in systems if system.is_ours],
    )


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
    if not all(map(is_adaptation, drawn.values())):
        text += (
            " Fine-tuning has one, InfoNCE: how well the embedding of a query tells its own passage from the "
            "others of the step."
        )
    return (_sentences([text]) + _figure(loss_chart(drawn))) if drawn else ""


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>"
