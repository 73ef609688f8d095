"""Words that say little about a text, left out of its targets."""

from __future__ import annotations

import re
from pathlib import Path

from llara.errors import ConfigError

__all__ = ["StopWords", "load_stop_words"]

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHE = re.compile("['\u2019]")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


class StopWords:
    """Removes stop words and punctuation from a text.

    Words in scripts with spaces are dropped whole, whatever their case; an apostrophe parts two words, as
    in the released code. Chinese has no spaces, so there the listed words are taken out of the running text,
    longest first.

    >>> StopWords({"the", "of", "isn't"})("The end of Eq. 6 isn't near!")
    'end Eq 6 near'
    """

    def __init__(self, words: set[str]) -> None:
        self.words = {part.lower() for word in words for part in _APOSTROPHE.split(word)}
        han = sorted((word for word in words if _HAN.search(word)), key=lambda word: (-len(word), word))
        self._han = re.compile("|".join(map(re.escape, han))) if han else None

    def __call__(self, text: str) -> str:
        if self._han:
            text = self._han.sub(" ", text)
        return " ".join(word for word in _WORD.findall(text) if word.lower() not in self.words)


def load_stop_words(name: str) -> StopWords | None:
    """The stop words of a setting: ``none``, ``english``, ``chinese``, both joined by ``+``, or a file.

    A file holds one word a line. The lists are bm25s's.

    Raises:
        ConfigError: neither a known name nor a readable file.
    """
    if name == "none":
        return None
    from bm25s.stopwords import STOPWORDS_CHINESE, STOPWORDS_EN_PLUS

    known = {"english": STOPWORDS_EN_PLUS, "chinese": STOPWORDS_CHINESE}
    if all(part in known for part in name.split("+")):
        return StopWords({word for part in name.split("+") for word in known[part]})
    try:
        words = {line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"objective.stop_words = {name!r} is neither none, english, chinese, english+chinese nor a "
            f"readable UTF-8 file with one word a line ({error})"
        ) from error
    return StopWords(words - {""})
