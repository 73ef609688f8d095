"""A docstring as prose: its summary sentence, and the sentences that follow it."""

from __future__ import annotations

import inspect
import re

__all__ = ["cut_summary", "is_prose", "plain_text", "words_of"]

# What follows such a line lists parameters or shows code: the prose of a docstring ends there.
_HEADINGS = (
    "Parameters?|Params|Args|Arguments|Other Parameters|Keyword Arg(?:ument)?s|Keywords|Inputs?|Outputs?"
    "|Options|Returns?|Yields?|Raises|Warns|Attributes|Methods|Shape|Examples?|Usage|See Also|References"
)
_FIELDS = "param|type|returns?|rtype|raises|arg|keyword|ivar"
_SECTION = re.compile(
    rf"^\s*(?:(?:{_HEADINGS})\s*:*\s*$|(?:Args|Returns|Example):|:(?:{_FIELDS})\b|@param\b"
    r"|.*::\s*$|```|\.\. )",
    re.MULTILINE | re.IGNORECASE,
)
_ROLE = re.compile(r":[a-zA-Z][\w:+-]*:`~?([^`<]+?)(?:\s*<[^`]*>)?`")
_SENTENCE = re.compile(r".+?[.!?](?=\s+\S|$)", re.DOTALL)
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|al|resp|approx|incl|[A-Z])\.$")
_NOT_LETTER = re.compile(r"[^A-Za-z ]+")
_WORD = re.compile(r"[a-z0-9]+")


def cut_summary(docstring: str) -> tuple[str, str]:
    """The first sentence of a docstring, and the prose that follows it up to its first section.

    >>> cut_summary("Read it. It must\\nexist.\\n\\n>>> read(x)\\n\\nThen close it.\\n\\nReturns:\\n  str")
    ('Read it.', 'It must exist. Then close it.')
    >>> cut_summary("Read a file, e.g. a log\\n\\nIt must exist.")
    ('Read a file, e.g. a log', 'It must exist.')
    """
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    first = plain_text(first)
    sentences = (found for found in _SENTENCE.finditer(first) if not _ABBREVIATION.search(found.group()))
    end = next((found.end() for found in sentences), len(first))
    body = f"{first[end:]} {plain_text(_SECTION.split(rest, maxsplit=1)[0])}"
    return first[:end].strip(), body.strip()


def plain_text(markup: str) -> str:
    """Prose of a reStructuredText docstring on one line: no doctests, rulers or roles.

    >>> plain_text("Use :class:`~io.StringIO` and ``x``.\\n-----\\n\\n>>> 1\\n1\\n\\nDone.")
    'Use io.StringIO and x. Done.'
    """
    paragraphs = [p for p in re.split(r"\n\s*\n", markup) if not p.lstrip().startswith(">>>")]
    lines = [line for p in paragraphs for line in p.splitlines() if any(c.isalnum() for c in line)]
    text = _ROLE.sub(r"\1", " ".join(lines)).replace("`", "")
    return " ".join(re.sub(r"\.\. ([\w-]+)::", r"\1:", text).split())


def is_prose(text: str) -> bool:
    """Mostly ASCII letters and blanks: neither a table of symbols nor another language.

    >>> is_prose("Return the sum."), is_prose("a[i] = {1: 2} | (3 << 4)")
    (True, False)
    """
    return len(_NOT_LETTER.sub("", text)) >= 0.85 * len(text)


def words_of(text: str) -> list[str]:
    """Its words in lower case, without punctuation: what two texts are compared by.

    >>> words_of("Don't PANIC, 42.")
    ['don', 't', 'panic', '42']
    """
    return _WORD.findall(text.lower())
