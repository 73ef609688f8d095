"""BM25: texts to scores by the words they share with a query, by bm25s."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from llara.errors import ConfigError, InputError

__all__ = ["Bm25Index"]


class Bm25Index:
    """BM25 over texts, scored by bm25s (Lucene's variant); the texts themselves are not kept.

    k1 = 1.2 and b = 0.75 are Lucene's own defaults. Anserini's, 0.9 and 0.4, made BEIR's and the paper's BM25
    columns, and were weaker on six of seven collections at hand (Cranfield .358 against .375 nDCG@10): a
    baseline should not be. Words are lower-cased runs of two or more letters and digits less Lucene's 33
    English stop words, stemmed by Snowball; a run of Chinese, Japanese or Korean characters becomes its
    overlapping pairs, as in Lucene's CJKAnalyzer. A text that shares no word with the query scores 0.

    Raises:
        InputError: there are no texts, or not one word in all of them.
        ConfigError: k1 or b is out of range.
    """

    def __init__(self, texts: Iterable[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise ConfigError(f"BM25 with k1 = {k1}, b = {b}; expected k1 >= 0 and 0 <= b <= 1")
        self.k1, self.b = k1, b
        self._analyzer = _Analyzer()
        vocabulary: dict[str, int] = {}
        token_ids = [
            [vocabulary.setdefault(token, len(vocabulary)) for token in self._analyzer(text)]
            for text in texts
        ]
        if not vocabulary:
            raise InputError(f"BM25 found no word in {len(token_ids)} documents; expected at least one")
        self._vocabulary = vocabulary
        self._scorer: Any = _bm25s().BM25(method="lucene", k1=k1, b=b)
        self._scorer.index((token_ids, vocabulary), create_empty_token=False, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """The score of every text for one query: float32 [N], 0 for one that shares no word with it."""
        tokens = [self._vocabulary[token] for token in self._analyzer(query) if token in self._vocabulary]
        scores: np.ndarray = self._scorer.get_scores_from_ids(tokens)
        return scores


class _Analyzer:
    """Text to index terms: stemmed words and pairs of ideographs."""

    # Kana, ideographs (with extension A, compatibility forms and the supplementary planes), Hangul syllables.
    _CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"

    def __init__(self) -> None:
        import Stemmer

        self._pieces = re.compile(rf"([{self._CJK}]+)|((?:(?![{self._CJK}])\w){{2,}})")
        self._stem = Stemmer.Stemmer("english").stemWord
        _bm25s()
        from bm25s.stopwords import STOPWORDS_EN

        self._stop_words = frozenset(STOPWORDS_EN)

    def __call__(self, text: str) -> list[str]:
        terms = []
        for ideographs, word in self._pieces.findall(text.lower()):
            if ideographs:
                terms += [ideographs[i : i + 2] for i in range(max(1, len(ideographs) - 1))]
            elif word not in self._stop_words:
                terms.append(self._stem(word))
        return terms


def _bm25s() -> Any:
    """Import bm25s without its debug log, which it turns on for every program that configures logging."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return bm25s
