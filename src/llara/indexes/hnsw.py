"""The HNSW index: a graph of near neighbours, searched without looking at every vector (arXiv 1603.09320)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llara.errors import ConfigError
from llara.indexes.base import faiss_module, read_faiss, score_and_rank, stored_vectors, write_faiss
from llara.indexes.exact import ExactIndex

__all__ = ["HnswIndex", "HnswSettings"]


@dataclass(frozen=True)
class HnswSettings:
    """The graph's settings, named as in the paper and in faiss.

    ``M`` links a vector (twice as many at the lowest level) and ``efConstruction`` candidates for them
    decide the graph; ``efSearch`` candidates are held while searching, or ``k`` if that is more. Higher:
    fewer misses, more time; ``M`` also costs 8 M bytes a vector.

    Raises:
        ConfigError: a setting is too small.
    """

    M: int = 32
    efConstruction: int = 200
    efSearch: int = 128

    def __post_init__(self) -> None:
        for name, least in (("M", 2), ("efConstruction", 1), ("efSearch", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"HNSW's {name} is {getattr(self, name)}, expected at least {least}")


class HnswIndex:
    """Inner products over unit vectors by faiss ``IndexHNSWFlat``; it may miss a near vector.

    What it finds is scored and ordered as the exact index does. faiss builds the graph with all threads,
    whose timing may change a few links: with OMP_NUM_THREADS=1 the same vectors give the same graph.
    """

    def __init__(self, dimension: int, settings: HnswSettings = HnswSettings()) -> None:
        faiss = faiss_module()
        self._index: Any = faiss.IndexHNSWFlat(dimension, settings.M, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = settings.efConstruction
        self._index.hnsw.efSearch = settings.efSearch

    @classmethod
    def load(cls, path: Path) -> HnswIndex:
        """Open what ``save`` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        index = cls.__new__(cls)
        index._index = read_faiss(path)
        return index

    def save(self, path: Path) -> None:
        """See ``Index.save``; the file is about N (4 D + 8 M) bytes."""
        write_faiss(self._index, path)

    def add(self, vectors: np.ndarray) -> None:
        """Append float32 [N, D] and link them."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """See ``Index.vectors``."""
        return stored_vectors(self._flat)[positions]

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``. A query for which the graph reaches fewer than ``k`` is searched exactly."""
        assert vectors.ndim == 2, vectors.shape
        assert vectors.shape[1] == self.dimension, vectors.shape
        assert k >= 1, k
        k = min(k, len(self))
        queries = np.ascontiguousarray(vectors, dtype=np.float32)  # [Q, D]
        scores = np.zeros((len(queries), k), dtype=np.float32)
        positions = np.zeros((len(queries), k), dtype=np.int64)
        if len(queries) == 0 or k == 0:
            return scores, positions
        stored = stored_vectors(self._flat)
        _, found = self._index.search(queries, k)  # [Q, k], -1 where there was no further one
        short = (found < 0).any(axis=1)
        for query in np.flatnonzero(~short):
            scores[query], positions[query] = score_and_rank(queries[query], stored, found[query], k)
        if short.any():
            scores[short], positions[short] = ExactIndex.from_faiss(self._flat).search(queries[short], k)
        return scores, positions

    @property
    def _flat(self) -> Any:
        """The flat faiss index of the vectors below the graph."""
        return faiss_module().downcast_index(self._index.storage)
