"""Text to its words, and to the terms that word counting knows it by: stemmed words, and pairs of ideographs.

Chinese, Japanese and Korean are written without blanks, or with few: there two neighbouring characters stand
for a word, as in Lucene's CJKAnalyzer, and where words must not overlap, one.
"""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from itertools import groupby

__all__ = ["Analyzer", "unspaced", "word_spans", "words_of"]


def _marks() -> str:
    """The combining marks of Unicode, as ranges for a character class; Python's ``\\w`` leaves them out."""
    found = [
        code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Mn", "Mc")
    ]
    runs = [list(run) for _, run in groupby(enumerate(found), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)


_MARKS = _marks()
# Kana, ideographs (with extension A, compatibility forms and the supplementary planes), Hangul syllables.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = rf"(?:(?![{_CJK}])[^\W_][{_MARKS}]*)+"  # of letters and digits, with the marks on them
_WORD_OR_RUN_OF_CJK = re.compile(rf"{_RUN}|[{_CJK}]+")
_WORD_OR_CJK = re.compile(rf"{_RUN}|[{_CJK}]")
_ALL_CJK = re.compile(rf"[{_CJK}]+")


def words_of(text: str) -> list[str]:
    """The words of a text, in their order: runs of letters and digits, and overlapping pairs of ideographs.

    >>> words_of("Wings: 机翼产生 lift_2")
    ['Wings', '机翼', '翼产', '产生', 'lift', '2']
    """
    words: list[str] = []
    for run in _WORD_OR_RUN_OF_CJK.findall(text):
        words += _pairs(run) if unspaced(run) else [run]
    return words


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text stand, none over another: an ideograph is a word.

    >>> word_spans("lift 机翼")
    [(0, 4), (5, 6), (6, 7)]
    """
    return [match.span() for match in _WORD_OR_CJK.finditer(text)]


def unspaced(word: str) -> bool:
    """Whether a word is all Chinese, Japanese or Korean."""
    return _ALL_CJK.fullmatch(word) is not None


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(max(1, len(run) - 1))]


class Analyzer:
    """Text to terms, in their order and as often as they occur.

    Words are lower-cased runs of two or more letters, digits and marks less Lucene's 33 English stop words,
    stemmed by Snowball; a run of Chinese, Japanese or Korean characters becomes its overlapping pairs, as in
    Lucene's CJKAnalyzer. Characters that are the same in Unicode's NFKC are the same.

    >>> Analyzer()("The wings of a flying machine")
    ['wing', 'fli', 'machin']
    """

    def __init__(self) -> None:
        import Stemmer

        self._pieces = re.compile(rf"([{_CJK}]+)|((?:(?![{_CJK}])[\w{_MARKS}]){{2,}})")
        self._stem = Stemmer.Stemmer("english").stemWord
        _quiet_bm25s()
        from bm25s.stopwords import STOPWORDS_EN

        self._stop_words = frozenset(STOPWORDS_EN)

    def __call__(self, text: str) -> list[str]:
        terms = []
        for ideographs, word in self._pieces.findall(unicodedata.normalize("NFKC", text.lower())):
            if ideographs:
                terms += _pairs(ideographs)
            elif word not in self._stop_words:
                terms.append(self._stem(word))
        return terms


def _quiet_bm25s() -> None:
    """Import bm25s without its debug log, which it turns on for every program that configures logging."""
    import bm25s  # noqa: F401

    logging.getLogger("bm25s").setLevel(logging.WARNING)
