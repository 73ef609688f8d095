"""The exact index: every query against every vector. It is the oracle that the others are measured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llara.indexes.base import faiss_module, read_faiss, score_and_rank, stored_vectors, write_faiss

__all__ = ["ExactIndex"]

# faiss adds up in float32, in an order that depends on the number of queries. For unit vectors of up to 8,192
# numbers its scores were within 6e-7 of float64's; beyond 1e-5 an order is taken as settled.
_TOLERANCE = 1e-5


class ExactIndex:
    """Inner products over unit vectors by faiss ``IndexFlatIP``, with the same answer in any batch.

    faiss finds the candidates; those are scored again in float64, ordered by score and, when scores are
    equal in float32, by position (the earlier first). So hits do not depend on how many queries are asked at
    once, on the number of threads, or on where copies of a vector lie.
    """

    def __init__(self, dimension: int) -> None:
        self._index: Any = faiss_module().IndexFlatIP(dimension)

    @classmethod
    def from_vectors(cls, vectors: np.ndarray) -> ExactIndex:
        """Index float32 [N, D] unit vectors held in memory (faiss keeps a copy)."""
        index = cls(vectors.shape[1])
        index.add(vectors)
        return index

    @classmethod
    def from_faiss(cls, flat: Any) -> ExactIndex:
        """Search a flat faiss index of inner products that another object holds."""
        index = cls.__new__(cls)
        index._index = flat
        return index

    @classmethod
    def load(cls, path: Path) -> ExactIndex:
        """Open what ``save`` wrote; the vectors are mapped from disk where the faiss version can.

        Raises:
            InputError: the file is missing or damaged.
        """
        return cls.from_faiss(read_faiss(path))

    def save(self, path: Path) -> None:
        """See ``Index.save``; the file is about 4 N D bytes."""
        write_faiss(self._index, path)

    def add(self, vectors: np.ndarray) -> None:
        """Append float32 [N, D]."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """See ``Index.vectors``."""
        return stored_vectors(self._index)[positions]

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``."""
        assert vectors.ndim == 2, vectors.shape
        assert vectors.shape[1] == self.dimension, vectors.shape
        assert k >= 1, k
        k = min(k, len(self))
        queries = np.ascontiguousarray(vectors, dtype=np.float32)  # [Q, D]
        scores = np.zeros((len(queries), k), dtype=np.float32)
        positions = np.zeros((len(queries), k), dtype=np.int64)
        if len(queries) == 0 or k == 0:
            return scores, positions
        stored = stored_vectors(self._index)
        open_queries = np.arange(len(queries))
        num_candidates = k + 16
        while len(open_queries):
            num_candidates = min(num_candidates, len(self))
            found_scores, found = self._index.search(queries[open_queries], num_candidates)  # [q, candidates]
            unsettled = []
            for row, query in enumerate(open_queries):
                scores[query], positions[query] = score_and_rank(queries[query], stored, found[row], k)
                # A vector that faiss left out could still belong here if the last one found is this close.
                if num_candidates < len(self) and found_scores[row, -1] > scores[query, -1] - _TOLERANCE:
                    unsettled.append(query)
            open_queries = np.array(unsettled, dtype=np.int64)
            num_candidates *= 2
        return scores, positions
