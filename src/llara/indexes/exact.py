"""The exact index: every query against every vector. It is the oracle that the others are measured by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llara.indexes.base import Files, check_queries, rank
from llara.indexes.faisslib import faiss_module, selector
from llara.indexes.rows import map_rows, write_rows
from llara.indexes.settings import ExactSettings
from llara.indexes.source import VectorSource

if TYPE_CHECKING:
    from llara.indexes.blocks import TorchVectors

__all__ = ["ExactIndex"]

# Added up in float32, in an order that depends on the number of queries, scores of unit vectors of up to
# 8,192 numbers were within 6e-7 of float64's; beyond 1e-5 an order is taken as settled.
_TOLERANCE = 1e-5
# From so many queries on, matrix products are quicker than one query after the other: 4 times with 50.
# faiss 1.15 begins with them only at hundreds.
_BLAS_QUERIES = 8


class ExactIndex:
    """Inner products over unit vectors, with the same answer in any batch.

    faiss on the CPU, or torch on a ``device``, finds the candidates; those are scored again in float64,
    ordered by score and, when scores are equal in float32, by position (the earlier first). So hits do not
    depend on how many queries are asked at once, on the number of threads, on the device, or on where copies
    of a vector lie. Its file holds the rows and nothing else, 4 N D bytes, and grows in place.
    """

    def __init__(self, vectors: np.ndarray, *, device: str | None = None) -> None:
        """Search float32 [N, D], contiguous; the array is not copied."""
        self._stored = vectors
        self._torch: TorchVectors | None = None
        if device is not None:
            self.use_device(device)

    @classmethod
    def create(
        cls,
        directory: Path,
        source: VectorSource,
        settings: ExactSettings,  # noqa: ARG003
        number: int,  # noqa: ARG003
    ) -> Files:
        """See ``VectorIndex.create``; memory holds a block of the source."""
        cls._write(directory, source, start=0)
        return {"vectors": "vectors.f32"}

    @classmethod
    def open(
        cls,
        directory: Path,
        files: Files,
        rows: int,
        dimension: int,
        settings: ExactSettings,  # noqa: ARG003
    ) -> ExactIndex:
        """See ``VectorIndex.open``."""
        return cls(map_rows(directory / files["vectors"], dtype="float32", dimension=dimension, rows=rows))

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:  # noqa: ARG002
        """See ``VectorIndex.extend``; only what is new is written."""
        self._write(directory, source, start=len(self))
        return {"vectors": "vectors.f32"}

    @staticmethod
    def _write(directory: Path, source: VectorSource, start: int) -> None:
        path = directory / "vectors.f32"
        write_rows(path, source.blocks(), dtype="float32", dimension=source.dimension, start=start)

    def use_device(self, device: str) -> None:
        """Search with torch on this device from now on."""
        from llara.indexes.blocks import TorchVectors

        self._torch = TorchVectors(self._stored, device)

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._stored.shape[1])

    def __len__(self) -> int:
        return len(self._stored)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """See ``VectorIndex.vectors``."""
        return np.asarray(self._stored[positions])

    def search(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``VectorIndex.search``."""
        assert k >= 1, k
        queries = check_queries(vectors, self.dimension)
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, num_allowed)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        positions = np.zeros((len(queries), k), dtype=np.int64)
        if len(queries) == 0 or k == 0:
            return scores, positions
        open_queries = np.arange(len(queries))
        num_candidates = k + 16
        while len(open_queries):
            num_candidates = min(num_candidates, num_allowed)
            asked = queries[open_queries]
            found_scores, found = self._candidates(asked, num_candidates, allowed)  # [q, candidates]
            scores[open_queries], positions[open_queries] = rank(asked, found, k, self.vectors)
            # A vector that was left out could still belong here if the last one found is this close.
            unsettled = found_scores[:, -1] > scores[open_queries, -1] - _TOLERANCE
            open_queries = open_queries[unsettled & (num_candidates < num_allowed)]
            num_candidates *= 2
        return scores, positions

    def _candidates(
        self, queries: np.ndarray, num: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``num`` best by scores added up in float32: those scores and positions, [Q, num]."""
        if self._torch is not None:
            return self._torch.search(queries, num, allowed)
        faiss: Any = faiss_module()
        stored = np.asarray(self._stored)
        scores = np.empty((len(queries), num), dtype=np.float32)
        found = np.empty((len(queries), num), dtype=np.int64)
        inputs = [faiss.swig_ptr(each) for each in (queries, stored)]
        outputs = [faiss.swig_ptr(each) for each in (scores, found)]
        sizes = (self.dimension, len(queries), len(stored), num)
        before = faiss.cvar.distance_compute_blas_threshold
        try:
            faiss.cvar.distance_compute_blas_threshold = 1 if len(queries) >= _BLAS_QUERIES else 2**31 - 1
            faiss.knn_inner_product(*inputs, *sizes, *outputs, selector(allowed))
        finally:
            faiss.cvar.distance_compute_blas_threshold = before
        return scores, found
