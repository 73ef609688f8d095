"""Text that UTF-8 cannot hold: half a surrogate pair, which JSON can say and a broken argument becomes."""

from __future__ import annotations

from llara.errors import InputError

__all__ = ["check_text", "sayable"]


def sayable(text: str) -> str:
    """``text`` with U+FFFD in place of each half of a surrogate pair.

    >>> sayable("a\\ud800b")
    'a\ufffdb'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def check_text(text: str, what: str) -> None:
    """Refuse what no tokenizer takes.

    Raises:
        InputError: it is not Unicode text.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{what} is not Unicode text ({error}); expected UTF-8") from error
