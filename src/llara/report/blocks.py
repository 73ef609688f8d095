"""What a page is made of: a ``Report`` of sections, and the blocks in them. Plain values, no HTML.

Whatever stands in them is text and is written as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llara.report.charts import Chart
from llara.report.tables import Table

__all__ = [
    "Answer",
    "Block",
    "Charts",
    "Commands",
    "Details",
    "Example",
    "Facts",
    "Heading",
    "KeyFigures",
    "Report",
    "Section",
    "Text",
]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph a sentence. ``is_faint``: remarks on what stands above."""

    sentences: Sequence[str]
    is_faint: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """What the blocks after it are about."""

    title: str


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The few numbers that a reader looks for first: name -> as it is printed."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Name -> what is known of it; those without a value are left out."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts beside each other where there is room, one below the other where there is not."""

    charts: Sequence[Chart]


@dataclass(frozen=True, slots=True)
class Commands:
    """What to type, or a file to keep: each in a box of its own, as it is."""

    commands: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A passage found for a question. ``about`` stands small beside its name."""

    name: str
    text: str
    about: str = ""
    is_relevant: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and what each system (by name) found for it.

    ``remarks`` has a line for a system, over its answers. With ``change`` the example says how much better
    (or, below 0, worse) the last system did than the first, and is folded up.
    """

    question: str
    answers: Mapping[str, Sequence[Answer]]
    remarks: Mapping[str, str] = field(default_factory=dict)
    change: float | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are folded up under a line."""

    summary: str
    blocks: Sequence[Block]


Block = Heading | Text | KeyFigures | Facts | Table | Charts | Commands | Example | Details


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading; without blocks it is left out."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A page: what was found in a sentence or two, the numbers a reader looks for first, then sections."""

    title: str
    finding: str
    sections: Sequence[Section] = ()
    key_figures: Mapping[str, str] = field(default_factory=dict)
