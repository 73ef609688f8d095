"""BM25: texts to scores by the words they share with a query, by bm25s."""

from __future__ import annotations

import logging
import math
import re
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from llara.errors import ConfigError, InputError

__all__ = ["Bm25Index"]

_TEXTS_AT_ONCE = 50_000  # counted at once; takes some 100 MB for passages


class Bm25Index:
    """BM25 over texts, scored by bm25s (Lucene's variant); the texts themselves are not kept.

    k1 = 1.2 and b = 0.75 are Lucene's own defaults. Anserini's, 0.9 and 0.4, made BEIR's and the paper's BM25
    columns, and were weaker on six of seven collections at hand (Cranfield .358 against .375 nDCG@10): a
    baseline should not be. Words are lower-cased runs of two or more letters and digits less Lucene's 33
    English stop words, stemmed by Snowball; a run of Chinese, Japanese or Korean characters becomes its
    overlapping pairs, as in Lucene's CJKAnalyzer. A text that shares no word with the query scores 0.

    Memory: 8 bytes for each different word of each text, 20 while it is built, and the vocabulary.

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
        counts = _Counts()
        for text in texts:
            counts.add([vocabulary.setdefault(token, len(vocabulary)) for token in self._analyzer(text)])
        if not vocabulary:
            raise InputError(f"BM25 found no word in {counts.num_texts} documents; expected at least one")
        self._vocabulary = vocabulary
        self._scorer: Any = _bm25s().BM25(method="lucene", k1=k1, b=b)
        self._scorer.scores = counts.scores(len(vocabulary), k1=k1, b=b)
        self._scorer.nonoccurrence_array = None  # of other variants than Lucene's

    def scores(self, query: str) -> np.ndarray:
        """The score of every text for one query: float32 [N], 0 for one that shares no word with it."""
        tokens = [self._vocabulary[token] for token in self._analyzer(query) if token in self._vocabulary]
        scores: np.ndarray = self._scorer.get_scores_from_ids(tokens)
        return scores


class _Counts:
    """How often each text holds each term; what bm25s keeps in lists of Python's, in flat arrays."""

    def __init__(self) -> None:
        self.num_texts = 0
        self._num_counted = 0
        self._lengths = array("i")
        self._terms = array("i")  # of the texts that are not yet counted, one after the other
        self._counted: list[
            tuple[np.ndarray, np.ndarray, np.ndarray]
        ] = []  # term, text, count: int32 [P] each

    def add(self, terms: Sequence[int]) -> None:
        """The terms of the next text."""
        self._terms.extend(terms)
        self._lengths.append(len(terms))
        self.num_texts += 1
        if self.num_texts % _TEXTS_AT_ONCE == 0:
            self._count()

    def scores(self, num_terms: int, *, k1: float, b: float) -> dict[str, Any]:
        """The index of bm25s, a sparse matrix of scores with a column to a term; gives up the counts.

        Equal to what ``BM25.index`` gives, bit for bit: Lucene's idf, rounded to float32, times the share of
        the term's count, in float64.
        """
        self._count()
        num_texts = self.num_texts
        found = np.zeros(num_terms, dtype=np.int64)  # texts with the term
        for terms, _, _ in self._counted:
            found += np.bincount(terms, minlength=num_terms)
        idf = np.array(
            [math.log(1 + (num_texts - n + 0.5) / (n + 0.5)) for n in found.tolist()], dtype=np.float32
        )
        lengths = np.frombuffer(self._lengths, dtype=np.int32)
        norms = k1 * ((1 - b) + b * lengths / lengths.mean())
        starts = np.concatenate([[0], np.cumsum(found)])
        data, indices = np.empty(starts[-1], dtype=np.float32), np.empty(starts[-1], dtype=np.int32)
        free = starts[:-1].copy()  # the first empty place of each column
        self._counted.reverse()
        while self._counted:
            terms, texts, counts = self._counted.pop()
            _, first, repeats = np.unique(terms, return_index=True, return_counts=True)
            places = free[terms] + np.arange(len(terms)) - np.repeat(first, repeats)
            frequencies = counts.astype(np.float32)
            data[places] = idf[terms] * (frequencies / (norms[texts] + frequencies))
            indices[places] = texts
            free[terms[first]] += repeats
        return {"data": data, "indices": indices, "indptr": starts, "num_docs": num_texts}

    def _count(self) -> None:
        """Count the terms of the texts since the last time; ordered by term, then by text."""
        first = self._num_counted
        lengths = np.array(self._lengths[first:], dtype=np.int64)
        texts = np.repeat(np.arange(first, self.num_texts), lengths)
        terms = np.array(self._terms, dtype=np.int64)
        pairs, counts = np.unique(terms << 32 | texts, return_counts=True)
        self._counted.append(
            ((pairs >> 32).astype(np.int32), pairs.astype(np.int32), counts.astype(np.int32))
        )
        self._terms = array("i")
        self._num_counted = self.num_texts


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
