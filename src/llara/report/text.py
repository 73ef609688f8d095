"""Text from anywhere, made fit for a page: escaped, of characters that a page may hold, not too long."""

from __future__ import annotations

from html import escape

__all__ = ["clean", "escaped", "shortened"]

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
