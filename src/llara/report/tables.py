"""A table of numbers, written twice: as Markdown and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara.report.text import escaped

__all__ = ["Cell", "Column", "Row", "Table", "table_html", "table_markdown"]

SIGNIFICANT = "\u2020"  # a dagger

_MANY_COLUMNS = 5  # with more a page's table is set closer, and may be wider than the text


@dataclass(frozen=True, slots=True)
class Cell:
    """One number as it is printed; ``about`` (its interval) stands small beside it."""

    text: str
    about: str = ""
    is_best: bool = False
    is_significant: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column. ``is_published`` marks figures that somebody else measured."""

    name: str
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row; ``about`` stands small under its name. ``is_ours`` marks what the table is about."""

    name: str
    cells: Sequence[Cell]
    about: str = ""
    is_ours: bool = False
    is_published: bool = False
    is_average: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``corner`` is the head of the rows' names; ``notes`` are sentences to read the table by."""

    title: str
    corner: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def table_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, under its title, over its notes.

    >>> print(table_markdown(Table("T", "Set", [Column("BM25")], [Row("a", [Cell("0.412", is_best=True)])])))
    ### T
    <BLANKLINE>
    | Set | BM25 |
    |:---|---:|
    | a | **0.412** |
    <BLANKLINE>
    """
    heads = [_named(column.name, column.is_published) for column in table.columns]
    lines = [_line([table.corner, *heads]), "|:---|" + "---:|" * len(heads)]
    for row in table.rows:
        name = _named(row.name, row.is_published)
        lines.append(_line([f"**{name}**" if row.is_average else name, *map(_cell_markdown, row.cells)]))
    parts = [f"### {table.title}", "\n".join(lines), " ".join(table.notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def table_html(table: Table) -> str:
    """The table as an HTML ``<table>`` that may be scrolled sideways, over its notes."""
    rows = "".join(_row_html(table, row) for row in table.rows)
    notes = f"<p class='legend'>{escaped(' '.join(table.notes))}</p>" if table.notes else ""
    width = "wide many" if len(table.columns) > _MANY_COLUMNS else "wide"
    return f"<div class='{width}'><table>{_head_html(table)}<tbody>{rows}</tbody></table></div>{notes}"


def _named(name: str, is_published: bool) -> str:
    return f"{name} (published)" if is_published else name


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell_markdown(cell: Cell) -> str:
    number = (f"**{cell.text}**" if cell.is_best else cell.text) + SIGNIFICANT * cell.is_significant
    return f"{number} ({cell.about})" if cell.about else number


def _head_html(table: Table) -> str:
    heads = "".join(
        f"<th scope='col'{_published(column)}>{_breakable(column.name)}</th>" for column in table.columns
    )
    num_published = sum(column.is_published for column in table.columns)
    kinds = ""
    if num_published:
        num_measured = len(table.columns) - num_published
        kinds = (
            f"<tr class='kinds'><td></td><th scope='colgroup' colspan='{num_measured}'>measured</th>"
            f"<th scope='colgroup' colspan='{num_published}' class='published'>published</th></tr>"
        )
    return f"<thead>{kinds}<tr><th scope='col'>{escaped(table.corner)}</th>{heads}</tr></thead>"


def _row_html(table: Table, row: Row) -> str:
    classes = {"ours": row.is_ours, "published": row.is_published, "average": row.is_average}
    marks = " ".join(name for name, is_so in classes.items() if is_so)
    about = row.about or ("published" if row.is_published else "")
    small = f"<small>{escaped(about)}</small>" if about else ""
    cells = "".join(_cell_html(cell, column) for cell, column in zip(row.cells, table.columns, strict=True))
    mark = f" class='{marks}'" if marks else ""
    return f"<tr{mark}><th scope='row'>{escaped(row.name)}{small}</th>{cells}</tr>"


def _cell_html(cell: Cell, column: Column) -> str:
    number = f"<strong>{escaped(cell.text)}</strong>" if cell.is_best else escaped(cell.text)
    sign = f"<sup>{SIGNIFICANT}</sup>" if cell.is_significant else ""
    about = f"<small>{escaped(cell.about)}</small>" if cell.about else ""
    return f"<td{_published(column)}>{number}{sign}{about}</td>"


def _breakable(name: str) -> str:
    """A name that may go on on the next line after a slash, as a path does."""
    return escaped(name).replace("/", "/<wbr />")


def _published(column: Column) -> str:
    return " class='published'" if column.is_published else ""
