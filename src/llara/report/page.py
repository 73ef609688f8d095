"""A ``Report`` to a page: one HTML file that needs nothing else, readable in light, in dark and on paper.

The charts are SVG by matplotlib, inside the page. Their colours are variables of the page's style sheet,
and their text is text: it follows the reader's font and colour scheme, and can be searched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import assert_never

from llara.files import write_text_atomic
from llara.report.blocks import (
    Answer,
    Block,
    Charts,
    Commands,
    Details,
    Example,
    Facts,
    Heading,
    KeyFigures,
    Report,
    Section,
    Text,
)
from llara.report.charts import Chart, Intervals, draw
from llara.report.style import PAGE, STYLE
from llara.report.svg import plain_style
from llara.report.tables import Table, table_html
from llara.report.text import escaped

__all__ = ["REPORT", "leave_report", "render", "write_report"]

REPORT = "report.html"
"""The name under which every command leaves its page."""


def leave_report(path: Path, make: Callable[[], Report]) -> bool:
    """Write the page that ``make`` gives beside a result, or say on stderr why there is none.

    A result that took hours is not lost for the page about it, whatever goes wrong with the page. Returns
    whether it stands there.
    """
    try:
        write_report(path, make())
    except Exception as error:  # noqa: BLE001 - see above; the one place where everything is caught
        reason = f"{type(error).__name__}: {error}"
        print(f"warning: no {path.name} was written ({reason}); all else is there", file=sys.stderr)
        return False
    return True


def write_report(path: Path, report: Report) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        OutputError: the disk is full or read-only.
    """
    write_text_atomic(path, render(report))


@plain_style()
def render(report: Report) -> str:
    """The page as HTML that is also well-formed XML."""
    key_figures = _block(KeyFigures(report.key_figures)) if report.key_figures else ""
    header = (
        f"<header><h1>{escaped(report.title)}</h1><p class='finding'>{escaped(report.finding)}</p></header>"
    )
    body = [header, key_figures, *map(_section, report.sections)]
    return PAGE.format(title=escaped(report.title), style=STYLE, body="\n".join(filter(None, body)))


def _section(section: Section) -> str:
    content = "".join(map(_block, section.blocks))
    return f"<section><h2>{escaped(section.title)}</h2>{content}</section>" if content else ""


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h3>{escaped(block.title)}</h3>"
        case Text():
            mark = " class='legend'" if block.is_faint else ""
            return "".join(f"<p{mark}>{escaped(sentence)}</p>" for sentence in block.sentences)
        case KeyFigures():
            figures = "".join(
                f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
                for name, value in block.values.items()
            )
            return f"<dl class='figures'>{figures}</dl>"
        case Facts():
            return _facts(block.values)
        case Table():
            title = f"<h3>{escaped(block.title)}</h3>" if block.title else ""
            return f"<div class='table'>{title}{table_html(block)}</div>"
        case Charts():
            return _charts(block.charts)
        case Commands():
            return "".join(f"<pre><code>{escaped(command)}</code></pre>" for command in block.commands)
        case Example():
            return _example(block)
        case Details():
            content = "".join(map(_block, block.blocks))
            return f"<details><summary>{escaped(block.summary)}</summary>{content}</details>"
        case _:
            assert_never(block)


def _facts(values: Mapping[str, str]) -> str:
    facts = "".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in values.items() if value
    )
    return f"<dl>{facts}</dl>" if facts else ""


def _charts(charts: Sequence[Chart]) -> str:
    """Panels beside each other; means with their intervals need the whole width."""
    panels = [chart for chart in charts if not isinstance(chart, Intervals)]
    wide = "".join(_figure(chart) for chart in charts if isinstance(chart, Intervals))
    return (f"<div class='charts'>{''.join(map(_figure, panels))}</div>" if panels else "") + wide


def _figure(chart: Chart) -> str:
    return f"<figure>{draw(chart)}</figure>"


def _example(example: Example) -> str:
    columns = "".join(
        f"<div><h4>{escaped(name)}</h4>{_remark(example.remarks.get(name, ''))}"
        f"<ol>{''.join(map(_answer, answers))}</ol></div>"
        for name, answers in example.answers.items()
    )
    content = f"<div class='columns'>{columns}</div>"
    if example.change is None:
        return f"<article><h3>{escaped(example.question)}</h3>{content}</article>"
    kind = "better" if example.change > 0 else "worse"
    summary = f"<b class='{kind}'>{example.change:+.3f}</b> {escaped(example.question)}"
    return f"<details class='example'><summary>{summary}</summary>{content}</details>"


def _remark(remark: str) -> str:
    return f"<p class='remark'>{escaped(remark)}</p>" if remark else ""


def _answer(answer: Answer) -> str:
    mark = " class='relevant'" if answer.is_relevant else ""
    said = " <b class='better'>\u2713 relevant</b>" if answer.is_relevant else ""
    about = f" <span class='score'>{escaped(answer.about)}</span>" if answer.about else ""
    return f"<li{mark}><b>{escaped(answer.name)}</b>{about}{said}<p>{escaped(answer.text)}</p></li>"
