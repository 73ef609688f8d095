"""The two searches that propose candidates, asked for a block of queries at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from llara.corpus import Document
from llara.datasets import TrainingExample
from llara.encode import document_text, encode_texts
from llara.encoder.quantise import cut
from llara.errors import InputError
from llara.indexes import StoredIndex
from llara.search import Bm25, Searcher

__all__ = ["Found", "Passages", "search_bm25", "search_dense"]


class Passages(Protocol):
    """Documents by position; a ``StoredIndex`` is one."""

    def documents(self, positions: Sequence[int]) -> list[Document]:
        """The documents at ``positions``."""
        ...

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where the documents of these ids are; those that are not there are left out."""
        ...


class Found(Protocol):
    """What a search found for each query of a block."""

    def ranking(self, row: int, depth: int) -> np.ndarray:
        """The positions of the best documents for query ``row``, in order: int64 [at most depth]."""
        ...

    def scores(self, row: int, positions: np.ndarray) -> np.ndarray:
        """The scores of the documents at ``positions``, found or not: float32 [C]."""
        ...

    def positive_scores(self, row: int) -> np.ndarray:
        """The scores of the query's positives, found or not, in the corpus or not: float32 [P]."""
        ...


def search_dense(
    searcher: Searcher, examples: Sequence[TrainingExample], depth: int, *, batch_size: int
) -> Found:
    """Search an index; scores are cosines. Positives that it lacks are encoded."""
    return _DenseFound(searcher, examples, depth, batch_size)


def search_bm25(
    bm25: Bm25, passages: Passages, examples: Sequence[TrainingExample], title_separator: str | None
) -> Found:
    """Search by BM25; a document that shares no word with the query is not found and scores 0."""
    return _Bm25Found(bm25, passages, examples, title_separator)


class _DenseFound:
    def __init__(
        self, searcher: Searcher, examples: Sequence[TrainingExample], depth: int, batch_size: int
    ) -> None:
        stored = searcher.stored
        assert isinstance(stored, StoredIndex)  # PoolMaker sees to it
        self._stored = stored
        queries = [example.query for example in examples]
        dimension = stored.manifest.dimension
        full_QD = encode_texts(searcher.model, queries, role="query", batch_size=batch_size)
        self._queries = cut(full_QD, dimension)  # [Q, D], as the documents' were
        self._depth = depth
        _, self._rankings = stored.nearest(self._queries, depth)  # [Q, depth]
        separator = stored.manifest.title_separator
        keys_of = [_keys(example, separator) for example in examples]
        keys = list(dict.fromkeys(key for own in keys_of for key in own))
        positions = _standing(keys, stored, separator)
        missing = [key for key in keys if key not in positions]
        texts = [text for _, text in missing]
        encoded = cut(encode_texts(searcher.model, texts, role="document", batch_size=batch_size), dimension)
        vectors = dict(zip(missing, encoded, strict=True))
        held = stored.index.vectors(np.array(list(positions.values()), dtype=np.int64))
        vectors.update(zip(positions, held, strict=True))
        self._positives = [np.stack([vectors[key] for key in own]) for own in keys_of]

    def ranking(self, row: int, depth: int) -> np.ndarray:
        if depth <= self._depth:
            return self._rankings[row][:depth]
        return self._stored.nearest(self._queries[row : row + 1], depth)[1][0]

    def scores(self, row: int, positions: np.ndarray) -> np.ndarray:
        return _inner_products(self._queries[row], self._stored.index.vectors(positions))

    def positive_scores(self, row: int) -> np.ndarray:
        return _inner_products(self._queries[row], self._positives[row])


def _keys(example: TrainingExample, title_separator: str | None) -> list[tuple[str, str]]:
    """Id and text of each positive: an id alone may stand for another text in another example or corpus."""
    return [(document.id, document_text(document, title_separator)) for document in example.positives]


def _standing(
    keys: Sequence[tuple[str, str]], passages: Passages, title_separator: str | None
) -> dict[tuple[str, str], int]:
    """Where those of the (id, text) pairs are that stand there with the same text."""
    positions = passages.positions(dict.fromkeys(id_ for id_, _ in keys))
    there = passages.documents(list(positions.values()))
    standing = {(found.id, document_text(found, title_separator)): positions[found.id] for found in there}
    return {key: standing[key] for key in keys if key in standing}


def _inner_products(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """float32 [N], added up in float64 as an index does: equal vectors have equal scores."""
    return (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)


class _Bm25Found:
    def __init__(
        self,
        bm25: Bm25,
        passages: Passages,
        examples: Sequence[TrainingExample],
        title_separator: str | None,
    ) -> None:
        self._bm25 = bm25
        self._examples = examples
        self._keys = [_keys(example, title_separator) for example in examples]
        keys = dict.fromkeys(key for own in self._keys for key in own)
        self._positions = _standing(list(keys), passages, title_separator)

    def ranking(self, row: int, depth: int) -> np.ndarray:
        return self._bm25.top(self._examples[row].query, depth)[0]

    def scores(self, row: int, positions: np.ndarray) -> np.ndarray:
        return self._bm25.scores(self._examples[row].query)[positions].astype(np.float32)

    def positive_scores(self, row: int) -> np.ndarray:
        for id_, text in self._keys[row]:
            if (id_, text) not in self._positions:
                raise InputError(
                    f"{self._examples[row].where}: the positive {id_!r} is not in the corpus under this id "
                    "with this text, and BM25 scores nothing else; name a model or a rescorer to score with"
                )
        positions = [self._positions[key] for key in self._keys[row]]
        return self.scores(row, np.array(positions, dtype=np.int64))
