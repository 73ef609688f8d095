"""Numbers to something to look at: ``tables`` in Markdown and HTML, a ``page``, ``figures`` as files."""

from llara.report.charts import Interval, Intervals
from llara.report.page import Answer, Example, Report, System, render, write_report
from llara.report.tables import Cell, Column, Row, Table, table_html, table_markdown

__all__ = [
    "Answer",
    "Cell",
    "Column",
    "Example",
    "Interval",
    "Intervals",
    "Report",
    "Row",
    "System",
    "Table",
    "render",
    "table_html",
    "table_markdown",
    "write_report",
]
