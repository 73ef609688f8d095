"""What the faster kinds share: they find candidates, which are then scored one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from llara.indexes.base import Files, check_queries, rank
from llara.indexes.rows import RowDtype, map_rows, take, write_rows
from llara.indexes.settings import Rescore
from llara.indexes.source import VectorSource

__all__ = ["CandidateIndex", "map_finer", "write_finer"]

_SUFFIX: dict[RowDtype, str] = {"int8": "i8", "float32": "f32"}


def write_finer(directory: Path, source: VectorSource, rescore: Rescore, *, start: int) -> Files:
    """Write the rows that candidates are rescored with, if any, behind the first ``start``."""
    if rescore == "none":
        return {}
    name = f"finer.{_SUFFIX[rescore]}"
    write_rows(directory / name, source.blocks(), dtype=rescore, dimension=source.dimension, start=start)
    return {"finer": name}


def map_finer(
    directory: Path, files: Files, rescore: Rescore, *, rows: int, dimension: int
) -> np.ndarray | None:
    """Those rows, mapped from disk.

    Raises:
        InputError: the file is missing or damaged.
    """
    if rescore == "none":
        return None
    return map_rows(directory / files["finer"], dtype=rescore, dimension=dimension, rows=rows)


class CandidateIndex(ABC):
    """A kind of faiss that finds candidates by what it holds; they are ordered by their vectors.

    Those are the finer ones on disk, if there are any, and then ``k_factor`` candidates are found for each
    hit; else the vectors as the index itself holds them.
    """

    def __init__(self, index: Any, path: Path, *, settings: Any, finer: np.ndarray | None = None) -> None:
        self._index = index
        self._path = path
        self._settings = settings
        self._finer = finer

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """See ``VectorIndex.vectors``."""
        return self._held(positions) if self._finer is None else take(self._finer, positions)

    def search(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``VectorIndex.search``. A query with fewer than ``k`` candidates is searched in full."""
        assert k >= 1, k
        queries = check_queries(vectors, self.dimension)
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, num_allowed)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        positions = np.zeros((len(queries), k), dtype=np.int64)
        if len(queries) == 0 or k == 0:
            return scores, positions
        factor = 1 if self._finer is None else self._settings.k_factor
        found = self._find(queries, min(k * factor, num_allowed), allowed)  # [Q, C], -1 where there was none
        short = np.count_nonzero(found >= 0, axis=1) < k
        scores[~short], positions[~short] = rank(queries[~short], found[~short], k, self.vectors)
        if short.any():
            found = self._find_in_all(queries[short], min(k * factor, num_allowed), allowed)
            scores[short], positions[short] = rank(queries[short], found, k, self.vectors)
        return scores, positions

    @abstractmethod
    def _held(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at some positions as the index itself holds them: float32 [N, D]."""

    @abstractmethod
    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        """Positions of ``num`` candidates, int64 [Q, num]; -1 where the search came upon no more."""

    def _find_in_all(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        """The same among all vectors, with no position of -1."""
        return self._find(queries, num, allowed)
