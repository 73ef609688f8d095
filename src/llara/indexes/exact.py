"""The exact index: every query against every vector. It is the oracle that the others are measured by."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from llara.errors import InputError, OutputError

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
        self._index: Any = _faiss().IndexFlatIP(dimension)

    @classmethod
    def from_vectors(cls, vectors: np.ndarray) -> ExactIndex:
        """Index float32 [N, D] unit vectors held in memory (faiss keeps a copy)."""
        index = cls(vectors.shape[1])
        index.add(vectors)
        return index

    @classmethod
    def load(cls, path: Path) -> ExactIndex:
        """Open what ``save`` wrote; the vectors are mapped from disk where the faiss version can.

        Raises:
            InputError: the file is missing or damaged.
        """
        faiss = _faiss()
        index = cls.__new__(cls)
        try:
            # The flag is missing before faiss 1.11; without it the vectors are read into memory.
            index._index = faiss.read_index(str(path), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
        except RuntimeError as error:
            raise InputError(
                f"{path} is missing or damaged; build the index again with llara index"
            ) from error
        return index

    def save(self, path: Path) -> None:
        """Write the index to ``path``; the file is about 4 N D bytes.

        Raises:
            OutputError: the disk is full or read-only.
        """
        try:
            _faiss().write_index(self._index, str(path))
        except RuntimeError as error:
            raise OutputError(f"cannot write {path}: the disk is full or read-only") from error

    def add(self, vectors: np.ndarray) -> None:
        """Append float32 [N, D]."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``; each score is the float64 inner product rounded to float32."""
        assert vectors.ndim == 2, vectors.shape
        assert vectors.shape[1] == self.dimension, vectors.shape
        assert k >= 1, k
        k = min(k, len(self))
        queries = np.ascontiguousarray(vectors, dtype=np.float32)  # [Q, D]
        scores = np.zeros((len(queries), k), dtype=np.float32)
        positions = np.zeros((len(queries), k), dtype=np.int64)
        if len(queries) == 0 or k == 0:
            return scores, positions
        stored = self._vectors()
        open_queries = np.arange(len(queries))
        num_candidates = k + 16
        while len(open_queries):
            num_candidates = min(num_candidates, len(self))
            found_scores, found = self._index.search(queries[open_queries], num_candidates)  # [q, candidates]
            unsettled = []
            for row, query in enumerate(open_queries):
                exact = stored[found[row]].astype(np.float64) @ queries[query].astype(np.float64)
                rounded = exact.astype(np.float32)
                order = np.lexsort((found[row], -rounded))[:k]
                scores[query], positions[query] = rounded[order], found[row][order]
                # A vector that faiss left out could still belong here if the last one found is this close.
                if num_candidates < len(self) and found_scores[row, -1] > scores[query, -1] - _TOLERANCE:
                    unsettled.append(query)
            open_queries = np.array(unsettled, dtype=np.int64)
            num_candidates *= 2
        return scores, positions

    def _vectors(self) -> np.ndarray:
        """A view, not a copy, of the stored vectors: float32 [N, D]."""
        flat: np.ndarray = _faiss().rev_swig_ptr(self._index.get_xb(), len(self) * self.dimension)
        return flat.reshape(len(self), self.dimension)


def _faiss() -> ModuleType:
    """Import faiss without its notes about which instruction set it loads."""
    logging.getLogger("faiss").setLevel(logging.WARNING)
    import faiss

    return faiss
