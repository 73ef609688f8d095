"""Charts by matplotlib as SVG: in a page, coloured by its style sheet, or as a file, coloured for any paper.

Text stays text, and the same chart is the same bytes from run to run: no date, no random ids.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llara.files import write_text_atomic
from llara.report.text import clean, escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "FAINT",
    "GRID",
    "INK",
    "MARKERS",
    "embed",
    "new_figure",
    "plain_style",
    "quiet",
    "save",
]

# Stand-ins that figures are drawn with, until ``embed`` or ``save`` says what they are.
INK, FAINT, GRID = "#010101", "#020202", "#030303"
COLOURS = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
MARKERS = "osD^vP"

_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    **{colour: f"var(--chart{number})" for number, colour in enumerate(COLOURS, 1)},
}

# A file is shown on white or dark paper and cannot know which: middle tones, at least 3 to 1 against both
# (WCAG 2.1, graphical objects). The grid may be fainter.
ON_ANY_PAPER = {
    INK: "#767c85",
    FAINT: "#7d838c",
    GRID: "#8b919a",
    **dict(zip(COLOURS, ("#3f83d9", "#cf6f1d", "#2f9268", "#9a68d8", "#d9527c", "#8a8026"), strict=True)),
}


def new_figure(*, height: float, width: float = 8.4) -> Figure:
    """An empty figure; inches, of which text is 9 to 10 points high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def quiet(axes: Axes, *, grid: Literal["x", "y"] = "y", strength: float = 1.0) -> None:
    """Leave of the frame only what carries information; ``strength`` is the grid's opacity."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=FAINT, length=0, labelsize=9)
    axes.xaxis.label.set_color(FAINT)
    axes.yaxis.label.set_color(FAINT)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID, linewidth=0.8, alpha=strength)


def embed(figure: Figure, label: str) -> str:
    """The figure as an ``<svg>`` element without a size of its own, coloured by the page it stands in.

    Its ids are those of no other figure of the page.
    """
    svg = _drawn(figure, label, font="inherit")
    prefix = hashlib.sha256(svg.encode("utf-8")).hexdigest()[:8]
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>c{prefix}-", svg)
    svg = _coloured(svg, _VARIABLES)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)


def save(path: Path, figure: Figure, label: str) -> None:
    """Write the figure to an SVG file on transparent ground, readable on white and on dark.

    Raises:
        OutputError: the disk is full or read-only.
    """
    write_text_atomic(path, _coloured(_drawn(figure, label, font="system-ui, sans-serif"), ON_ANY_PAPER))


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever the user's matplotlibrc says, and a $ as a $."""
    import matplotlib.style

    with matplotlib.style.context(["default", {"text.parse_math": False}], after_reset=True):
        yield


def _drawn(figure: Figure, label: str, *, font: str) -> str:
    """The figure as an ``<svg>`` element in stand-in colours, its text in ``font``."""
    import matplotlib

    label = clean(label)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), warnings.catch_warnings():
        # Of a script that its own font lacks only the width is unknown: the reader's browser draws it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'font-family: [^;"]*', f"font-family: {font}", svg)
    svg = re.sub(
        r'(font: [^;"]*?px) [^;"]*', rf"\1 {font.replace('inherit', 'system-ui')}", svg
    )  # older matplotlib
    return svg.replace("<svg", f'<svg role="img" aria-label="{escaped(label)}"', 1)


def _coloured(svg: str, colours: Mapping[str, str]) -> str:
    for stand_in, colour in colours.items():
        svg = svg.replace(stand_in, colour)
    return svg
