"""Text to the terms that word counting knows it by: stemmed words, and pairs of ideographs."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from itertools import groupby

__all__ = ["WORD", "Analyzer"]


def _marks() -> str:
    """The combining marks of Unicode, as ranges for a character class; Python's ``\\w`` leaves them out."""
    found = [
        code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Mn", "Mc")
    ]
    runs = [list(run) for _, run in groupby(enumerate(found), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)


_MARKS = _marks()

WORD = re.compile(rf"(?:[^\W_][{_MARKS}]*)+")
"""What is a word: a run of letters and digits, with the marks on them."""


class Analyzer:
    """Text to terms, in their order and as often as they occur.

    Words are lower-cased runs of two or more letters, digits and marks less Lucene's 33 English stop words,
    stemmed by Snowball; a run of Chinese, Japanese or Korean characters becomes its overlapping pairs, as in
    Lucene's CJKAnalyzer. Characters that are the same in Unicode's NFKC are the same.

    >>> Analyzer()("The wings of a flying machine")
    ['wing', 'fli', 'machin']
    """

    # Kana, ideographs (with extension A, compatibility forms and the supplementary planes), Hangul syllables.
    _CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"

    def __init__(self) -> None:
        import Stemmer

        self._pieces = re.compile(rf"([{self._CJK}]+)|((?:(?![{self._CJK}])[\w{_MARKS}]){{2,}})")
        self._stem = Stemmer.Stemmer("english").stemWord
        _quiet_bm25s()
        from bm25s.stopwords import STOPWORDS_EN

        self._stop_words = frozenset(STOPWORDS_EN)

    def __call__(self, text: str) -> list[str]:
        terms = []
        for ideographs, word in self._pieces.findall(unicodedata.normalize("NFKC", text.lower())):
            if ideographs:
                terms += [ideographs[i : i + 2] for i in range(max(1, len(ideographs) - 1))]
            elif word not in self._stop_words:
                terms.append(self._stem(word))
        return terms


def _quiet_bm25s() -> None:
    """Import bm25s without its debug log, which it turns on for every program that configures logging."""
    import bm25s  # noqa: F401

    logging.getLogger("bm25s").setLevel(logging.WARNING)
