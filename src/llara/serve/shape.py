"""How many values a body holds, counted before anything parses it.

Parsing holds the interpreter's lock, so all other requests wait for it, and its time goes with the number of
values: a body of 8 MB is read in a hundredth of a second if it is text, and in seconds if it is a million
names or empty lists. Whatever is counted here is counted as bytes.
"""

from __future__ import annotations

import re
from itertools import pairwise

from llara.serve.errors import ApiError

__all__ = ["check_shape"]

_FIELDS = 32  # of a request, and more than any has
_NUMBERS = 1_048_576  # token ids of a request
_STRING = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?', re.DOTALL)


def check_shape(body: bytes, most_items: int) -> None:
    """Refuse a body with more values than any request has.

    Args:
        most_items: texts, or lists of token ids, that it may list; 0: it has nothing but its fields.

    Raises:
        ApiError: it has more names, texts, lists or numbers (400, 413).
    """
    outside = _outside_strings(body, most_items + 2 * _FIELDS)
    if max(outside.count(b":"), outside.count(b"{")) > _FIELDS:
        raise ApiError(
            400, f"the body has over {_FIELDS} names, more than any request has fields", "unknown_field"
        )
    _refuse_over(most_items + _FIELDS, "lists", outside.count(b"["))
    _refuse_over((_NUMBERS if most_items else 0) + _FIELDS, "values", outside.count(b","))


def _outside_strings(body: bytes, most_strings: int) -> bytes:
    """The body without its strings, of which there may be so many."""
    spans = [(0, 0)]
    for found in _STRING.finditer(body):
        _refuse_over(most_strings, "texts and names", len(spans))
        spans.append(found.span())
    gaps = pairwise([*spans, (len(body), len(body))])
    return b"".join(body[before[1] : after[0]] for before, after in gaps)


def _refuse_over(most: int, what: str, count: int) -> None:
    if count > most:
        raise ApiError(
            413, f"the body has over {most} {what}, more than a request of this kind may have", "too_large"
        )
