"""The HNSW index: a graph of near neighbours, searched without looking at every vector (arXiv 1603.09320)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llara.indexes.base import Files
from llara.indexes.candidates import CandidateIndex
from llara.indexes.exact import ExactIndex
from llara.indexes.faisslib import check_size, faiss_module, read_faiss, selector, stored_rows, write_faiss
from llara.indexes.settings import HnswSettings
from llara.indexes.source import VectorSource

__all__ = ["HnswIndex"]


class HnswIndex(CandidateIndex):
    """Inner products over unit vectors by faiss ``IndexHNSWFlat``; it may miss a near vector.

    faiss builds the graph with all threads, whose timing may change a few links: with OMP_NUM_THREADS=1 the
    same vectors give the same graph. All vectors and links are in memory while it is built or added to,
    N (4 D + 8 M) bytes, and up to twice that while they grow.
    """

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: HnswSettings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        faiss = faiss_module()
        index = faiss.IndexHNSWFlat(source.dimension, settings.M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = settings.efConstruction
        return _grown(index, directory, source, number)

    @classmethod
    def open(
        cls, directory: Path, files: Files, rows: int, dimension: int, settings: HnswSettings
    ) -> HnswIndex:
        """See ``VectorIndex.open``."""
        path = directory / files["index"]
        index = read_faiss(path)
        check_size(index, path, rows, dimension)
        return cls(index, path, settings=settings)

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:
        """See ``VectorIndex.extend``; the whole index is read into memory and written anew."""
        index = read_faiss(self._path, mapped=False)
        index.hnsw.efConstruction = self._settings.efConstruction
        return _grown(index, directory, source, number)

    def _held(self, positions: np.ndarray) -> np.ndarray:
        return self._stored[positions]

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        chosen = faiss_module().SearchParametersHNSW(
            efSearch=max(self._settings.efSearch, num), sel=selector(allowed)
        )
        found: np.ndarray = self._index.search(queries, num, params=chosen)[1]
        return found

    def _find_in_all(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        return ExactIndex(self._stored).search(queries, num, allowed=allowed)[1]

    @property
    def _stored(self) -> np.ndarray:
        """The vectors below the graph: float32 [N, D], a view."""
        flat = faiss_module().downcast_index(self._index.storage)
        return stored_rows(flat.get_xb(), len(self), self.dimension)


def _grown(index: Any, directory: Path, source: VectorSource, number: int) -> Files:
    for block in source.blocks():
        index.add(block)
    write_faiss(index, directory / f"index-{number}.faiss")
    return {"index": f"index-{number}.faiss"}
