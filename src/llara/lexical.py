"""Search by words: BM25, and the words that a document's own vector holds; texts to scores.

Both read ``Postings``; they differ in the value of a word in a document (how often it occurs there, or how
strongly the vector holds it) and in how it counts. A text that shares no word with the query scores 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from llara.errors import ConfigError, InputError
from llara.postings import Postings
from llara.terms import Analyzer, words_of
from llara.unicode import check_list

__all__ = ["Bm25Index", "LexicalIndex", "WordIndex", "count_words"]


class WordIndex(Protocol):
    """Texts that can be scored by the words they share with a query."""

    @property
    def postings(self) -> Postings:
        """Its terms and documents."""
        ...

    def scores(self, query: str) -> np.ndarray:
        """The score of every text for one query: float32 [N], 0 for one that shares no word with it."""
        ...


class Bm25Index:
    """BM25 in Lucene's variant; the texts themselves are not kept.

    k1 = 1.2 and b = 0.75 are Lucene's own defaults. Anserini's, 0.9 and 0.4, made BEIR's and the paper's BM25
    columns, and were weaker on six of seven collections at hand (Cranfield .358 against .375 nDCG@10): a
    baseline should not be.

    Memory: see ``Postings.build``.

    Args:
        texts: what is searched, as texts or already counted.
        live: bool [N], which texts count towards how rare a word is and how long a text; None if all do.

    Raises:
        InputError: there are no texts, not one word in all of them, or one string for them all.
        ConfigError: k1 or b is out of range.
    """

    def __init__(
        self,
        texts: Iterable[str] | Postings,
        *,
        k1: float = 1.2,
        b: float = 0.75,
        live: np.ndarray | None = None,
    ) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise ConfigError(f"BM25 with k1 = {k1}, b = {b}; expected k1 >= 0 and 0 <= b <= 1")
        self.k1, self.b = k1, b
        self._analyzer = Analyzer()
        self.postings = texts if isinstance(texts, Postings) else count_words(texts, self._analyzer)
        lengths = self.postings.lengths.astype(np.float64)
        if not lengths.any():
            raise InputError(f"BM25 found no word in {len(lengths)} documents; expected at least one")
        counted = lengths if live is None else lengths[live]
        mean = counted.mean() if counted.any() else 1.0  # nothing can be found then
        self._norms = k1 * ((1 - b) + b * lengths / mean)
        self._idf = _Idf(len(lengths), live)

    def scores(self, query: str) -> np.ndarray:
        """See ``WordIndex.scores``; a word that the query repeats counts as often."""
        scores = np.zeros(len(self.postings), dtype=np.float32)
        for term in self._analyzer(query):
            documents, counts = self.postings[term]
            share = counts / (self._norms[documents] + counts)
            scores[documents] += (self._idf(documents) * share).astype(np.float32)
        return scores


class LexicalIndex:
    """Documents by their lexical vectors (``llara.words``); a query is its own words, the rare ones first.

    The score is the sum over the query's different words of Lucene's idf times the document's weight.
    """

    def __init__(self, postings: Postings, *, live: np.ndarray | None = None) -> None:
        self.postings = postings
        self._analyzer = Analyzer()
        self._idf = _Idf(len(postings), live)

    def scores(self, query: str) -> np.ndarray:
        """See ``WordIndex.scores``."""
        scores = np.zeros(len(self.postings), dtype=np.float32)
        words = words_of(query)  # as a document's were told apart
        for term in dict.fromkeys(term for word in words for term in self._analyzer(word)):
            documents, weights = self.postings[term]
            scores[documents] += self._idf(documents) * weights
        return scores


def count_words(texts: Iterable[str], analyzer: Analyzer | None = None) -> Postings:
    """How often each text holds each term.

    Raises:
        InputError: ``texts`` is one string.
    """
    check_list(texts, "texts")
    analyze = analyzer or Analyzer()
    return Postings.build(Counter(analyze(text)) for text in texts)


class _Idf:
    """How rare a term is among the documents that count."""

    def __init__(self, documents: int, live: np.ndarray | None) -> None:
        self._live = live
        self._count = documents if live is None else int(np.count_nonzero(live))

    def __call__(self, documents: np.ndarray) -> np.float32:
        holding = len(documents) if self._live is None else int(np.count_nonzero(self._live[documents]))
        return idf(holding, self._count)


def idf(holding: int, documents: int) -> np.float32:
    """Lucene's inverse document frequency of a term, which is never below 0.

    >>> round(float(idf(1, 3)), 4)
    0.9808
    """
    return np.float32(np.log(1 + (documents - holding + 0.5) / (holding + 0.5)))
