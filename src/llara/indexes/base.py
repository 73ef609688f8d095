"""What every index can do, and what their kinds have in common."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from llara.errors import InputError, OutputError

__all__ = ["Index", "faiss_module", "read_faiss", "score_and_rank", "stored_vectors", "write_faiss"]


class Index(Protocol):
    """Vectors that can be searched by inner product; a vector is known by its position (0, 1, ...)."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        ...

    def __len__(self) -> int:
        """Vectors held."""
        ...

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest vectors of each query, best first (all of them if there are fewer).

        Scores are the inner products in float64, rounded to float32; equal ones are ordered by position. An
        approximate index may miss vectors, but gives as many.

        Args:
            vectors: float32 [Q, D].

        Returns:
            scores float32 [Q, K] and positions int64 [Q, K], K = min(k, len(self)).
        """
        ...

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at ``positions`` (int64 [N]), as they were added: float32 [N, D]."""
        ...

    def add(self, vectors: np.ndarray) -> None:
        """Append float32 [N, D]."""
        ...

    def save(self, path: Path) -> None:
        """Write the index to ``path``.

        Raises:
            OutputError: the disk is full or read-only.
        """
        ...


def score_and_rank(
    query: np.ndarray, stored: np.ndarray, found: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best ``k`` of the ``found`` positions: scores float32 [k] and positions int64 [k].

    Args:
        query: float32 [D].
        stored: float32 [N, D], of which only the rows ``found`` (int64 [C]) are read.

    >>> stored = np.eye(3, dtype=np.float32)
    >>> score_and_rank(np.float32([0.6, 0.8, 0.0]), stored, np.array([2, 0, 1]), 2)[1]
    array([1, 0])
    """
    exact = stored[found].astype(np.float64) @ query.astype(np.float64)
    rounded = exact.astype(np.float32)
    order = np.lexsort((found, -rounded))[:k]
    return rounded[order], found[order]


def stored_vectors(flat: Any) -> np.ndarray:
    """A view, not a copy, of the vectors in a flat faiss index: float32 [N, D]."""
    rows: np.ndarray = faiss_module().rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return rows.reshape(flat.ntotal, flat.d)


def read_faiss(path: Path) -> Any:
    """Open a faiss index; its vectors are mapped from disk where the faiss version can.

    Raises:
        InputError: the file is missing or damaged.
    """
    faiss = faiss_module()
    try:
        # The flag is missing before faiss 1.11; without it the vectors are read into memory.
        return faiss.read_index(str(path), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
    except RuntimeError as error:
        raise InputError(f"{path} is missing or damaged; build the index again with llara index") from error


def write_faiss(index: Any, path: Path) -> None:
    """Write a faiss index to ``path``.

    Raises:
        OutputError: the disk is full or read-only.
    """
    try:
        faiss_module().write_index(index, str(path))
    except RuntimeError as error:
        raise OutputError(f"cannot write {path}: the disk is full or read-only") from error


def faiss_module() -> ModuleType:
    """Import faiss without its notes about which instruction set it loads."""
    logging.getLogger("faiss").setLevel(logging.WARNING)
    import faiss

    return faiss
