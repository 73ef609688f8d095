"""Which words are looked for in a vector: those that are common where the model learned, or in an index.

A tokenizer's vocabulary holds pieces of words, too, and nothing tells a piece from a word. So adaptation
keeps the common words of its corpus in the model directory, a word a line, the most common first.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llara.model import LEXICON, load_tokenizer, resolve

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["common_words", "copy_lexicon", "read_lexicon", "vocabulary_words", "write_lexicon"]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[^\W\d_{_HAN}]{{2,}}")
_IDEOGRAPHS = re.compile(rf"[{_HAN}]+")
_WORD_START = ("\u0120", "\u2581")  # how vocabularies write the blank before a word
_MOST_WORDS = 20_000


def common_words(
    texts: Iterable[str], *, most: int = _MOST_WORDS, tokenizer_words: Iterable[str] = ()
) -> list[str]:
    """The words of letters that stand in two texts or more, each in its most common form; the most common
    first.

    Chinese has no spaces: there, those of ``tokenizer_words`` that the texts hold are words.

    >>> common_words(["Wings lift.", "wings", "The wings"])
    ['wings']
    """
    forms: Counter[str] = Counter()
    ideographs = {word for word in tokenizer_words if _IDEOGRAPHS.fullmatch(word)}
    longest = max(map(len, ideographs), default=0)
    for text in texts:
        found = set(_WORD.findall(text))
        for run in _IDEOGRAPHS.findall(text) if ideographs else ():
            pieces = (run[i : i + n] for i in range(len(run)) for n in range(1, longest + 1))
            found.update(piece for piece in pieces if piece in ideographs)
        forms.update(found)
    by_word: dict[str, Counter[str]] = {}
    for form, count in forms.items():
        by_word.setdefault(form.casefold(), Counter())[form] = count
    totals = {word: sum(found.values()) for word, found in by_word.items()}
    ranked = sorted((word for word in totals if totals[word] >= 2), key=lambda word: (-totals[word], word))
    return [min(by_word[word].items(), key=lambda item: (-item[1], item[0]))[0] for word in ranked[:most]]


def write_lexicon(directory: Path, words: Sequence[str]) -> None:
    """Write a model directory's words.

    Raises:
        OSError: the disk is full or read-only.
    """
    (directory / LEXICON).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")


def copy_lexicon(model: str | Path, directory: Path) -> None:
    """Give a model that was made from another one its words, if that one has any."""
    path = Path(resolve(model)) / LEXICON
    if path.is_file():
        shutil.copyfile(path, directory / LEXICON)


def read_lexicon(model: str | Path) -> list[str]:
    """A model directory's words, or where it has none those tokens of its vocabulary that begin one."""
    path = Path(resolve(model)) / LEXICON
    if path.is_file():
        return path.read_text(encoding="utf-8").split()
    return _beginnings(load_tokenizer(model))


def vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The vocabulary's tokens as they read, less the blank before them."""
    return [str(tokenizer.decode([number])).strip() for number in range(len(tokenizer))]


def _beginnings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    starts = (token[1:] for token, _ in tokens if token.startswith(_WORD_START))
    return [word for word in starts if _WORD.fullmatch(word)]
