"""Text and numbers made fit for a page: escaped, of characters that a page may hold, not too long."""

from __future__ import annotations

import math
from html import escape

__all__ = ["clean", "escaped", "shortened", "significant", "told_apart"]

_NOT_IN_XML = {code: "\ufffd" for code in (*range(32), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"}


def clean(text: str) -> str:
    r"""The text with U+FFFD for characters that no XML and no UTF-8 may hold (controls, half surrogates).

    >>> clean("a\x00b")
    'a\ufffdb'
    """
    if not text.isprintable():
        text = text.translate(_NOT_IN_XML).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def escaped(text: str) -> str:
    """The text as it stands between tags and in attributes.

    >>> escaped("a < b & 'c'")
    'a &lt; b &amp; &#x27;c&#x27;'
    """
    return escape(clean(text))


def shortened(text: str, characters: int) -> str:
    r"""The beginning of a text on one line, up to a whole word where one ends.

    >>> shortened("Wait for\nthe process", 10), shortened("a" * 12, 5), shortened("Wait.", 10)
    ('Wait for ...', 'aaaaa ...', 'Wait.')
    """
    text = " ".join(text[: 4 * characters + 100].split())
    return text if len(text) <= characters else text[: characters + 1].rsplit(" ", 1)[0][:characters] + " ..."


def significant(value: float, digits: int = 3) -> str:
    """A number by its first digits, never fewer than its whole part has.

    >>> significant(9.0), significant(12.345), significant(0.0077132), significant(1234.5)
    ('9.00', '12.3', '0.00771', '1,234')
    """
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2]) if math.isfinite(value) else 0
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Two numbers by three digits each, or by as many more, up to six, as tell them apart.

    >>> told_apart(0.01092, 0.007713), told_apart(3.0012, 3.0049)
    (('0.0109', '0.00771'), ('3.001', '3.005'))
    """
    shown = [(significant(first, digits), significant(second, digits)) for digits in range(3, 7)]
    return next((pair for pair in shown if pair[0] != pair[1]), shown[0])
