"""Text that UTF-8 cannot hold: half a surrogate pair, which JSON can say and a broken argument becomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llara.errors import InputError

__all__ = ["check_list", "check_text", "check_texts", "sayable"]

_SHOWN_CHARACTERS = 40


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


def check_list(texts: Iterable[str], name: str) -> None:
    """Refuse one string, which Python takes for a list of its letters.

    Raises:
        InputError: it is one.
    """
    if isinstance(texts, str | bytes):
        raise InputError(f"{name} is the string {_shown(texts)}, expected a list; write [{_shown(texts)}]")


def check_texts(texts: Sequence[str], name: str = "texts") -> None:
    """Refuse what is no list of texts that a tokenizer takes.

    Args:
        name: what the caller names them.

    Raises:
        InputError: it is one string or no list, or a member is not a string or not Unicode text.
    """
    check_list(texts, name)
    if not hasattr(texts, "__getitem__") or isinstance(texts, dict):
        raise InputError(f'{name} is a {type(texts).__name__}, expected a list, as in ["wing lift"]')
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{name}[{number}] is {_shown(text)}, expected a string")
        if not text.isascii():  # which costs nothing to ask
            check_text(text, f"{name}[{number}]")


def _shown(value: object) -> str:
    shown = repr(value[:_SHOWN_CHARACTERS] if isinstance(value, str | bytes) else value)
    return shown if len(shown) <= 2 * _SHOWN_CHARACTERS else f"{shown[: 2 * _SHOWN_CHARACTERS]} ..."
