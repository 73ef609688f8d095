"""Numbers to something to look at: ``tables`` in Markdown and HTML, a ``page``, ``figures`` as files.

A page is a ``Report``: sections of ``blocks``, of which ``charts`` and ``tables`` are some. ``runs`` has the
parts that the pages of training runs share, ``machine`` what they were made with.
"""

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
from llara.report.charts import Chart, Curve, Curves, Histogram, Interval, Intervals
from llara.report.page import REPORT, leave_report, render, write_report
from llara.report.tables import Cell, Column, Row, Table, table_html, table_markdown
from llara.report.text import shortened, significant, told_apart

__all__ = [
    "REPORT",
    "Answer",
    "Block",
    "Cell",
    "Chart",
    "Charts",
    "Column",
    "Commands",
    "Curve",
    "Curves",
    "Details",
    "Example",
    "Facts",
    "Heading",
    "Histogram",
    "Interval",
    "Intervals",
    "KeyFigures",
    "Report",
    "Row",
    "Section",
    "Table",
    "Text",
    "leave_report",
    "render",
    "shortened",
    "significant",
    "table_html",
    "table_markdown",
    "told_apart",
    "write_report",
]
