"""What every index can do, and how what it found is scored and ordered.

``Index`` is what a search needs: vectors in, documents out, whichever backend holds them. ``VectorIndex``
is what the kinds of faiss have in common below it: vectors known by their position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np

from llara.corpus import Document
from llara.errors import InputError
from llara.indexes.source import VectorSource
from llara.vectors import Role

__all__ = [
    "Backend",
    "Change",
    "Files",
    "Found",
    "Index",
    "IndexManifest",
    "Kind",
    "VectorIndex",
    "by_score",
    "check_queries",
    "rank",
    "score_and_rank",
    "search_among",
]

Backend = Literal["faiss", "milvus"]
Kind = Literal["exact", "hnsw", "ivf-flat", "ivf-sq8", "ivf-pq", "sq8", "binary"]
Files = dict[str, str]
"""The files of an index: what each is for, and its name in the index directory."""


@dataclass(frozen=True)
class IndexManifest:
    """What an index directory holds and which model its vectors came from; it never changes.

    ``uri`` and ``collection`` say where Milvus has it; a ``uri`` of None is Milvus Lite, in the directory.
    ``build`` is the build's own name, see ``llara.indexes.manifests``.
    """

    backend: Backend
    kind: Kind
    dimension: int
    model: str
    fingerprint: str
    role: Role
    title_separator: str | None
    max_tokens: int | None
    settings: dict[str, Any]
    uri: str | None = None
    collection: str | None = None
    build: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A document and its score: the cosine of its vector, as the index holds it, with the query's."""

    document: Document
    score: float


@dataclass(frozen=True)
class Change:
    """What an update did: documents that are new, that took the place of others, that are gone."""

    added: int = 0
    replaced: int = 0
    deleted: int = 0
    missing: int = 0


class Index(Protocol):
    """Documents that can be searched by their vectors; both backends are one."""

    @property
    def manifest(self) -> IndexManifest:
        """What it is, and which model it came from."""
        ...

    def __len__(self) -> int:
        """Documents held."""
        ...

    def close(self) -> None:
        """End it; Milvus Lite lets other processes in again."""
        ...

    def search(self, vectors: np.ndarray, k: int, *, where: str | None = None) -> list[list[Found]]:
        """The ``k`` nearest documents of each query, best first (all of them if there are fewer).

        An approximate index may miss documents, but gives as many. Where scores are equal, the greater id
        comes first, as trec_eval has it; which of equals are left out at the end is the backend's choice.

        Args:
            vectors: float32 [Q, D], of unit length.
            where: a filter on metadata, see ``llara.indexes.filters``.

        Raises:
            InputError: the queries have another dimension, or a number that is not finite.
            ConfigError: the filter is not one.
        """
        ...


class VectorIndex(Protocol):
    """Vectors that can be searched by inner product; a vector is known by its position (0, 1, ...)."""

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: Any, number: int) -> Files:
        """Write the files of an index of ``source``; ``number`` goes into the names of those that updates
        replace.

        Raises:
            OutputError: the disk is full or read-only.
        """
        ...

    @classmethod
    def open(cls, directory: Path, files: Files, rows: int, dimension: int, settings: Any) -> Self:
        """Open the first ``rows`` vectors of what ``create`` or ``extend`` wrote; mapped from disk.

        Raises:
            InputError: a file is missing or damaged.
        """
        ...

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:
        """Write the files of this index with ``source`` behind its rows; the files it has now stay good."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        ...

    def __len__(self) -> int:
        """Vectors held."""
        ...

    def search(
        self, vectors: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest vectors of each query, best first (all of them if there are fewer).

        Scores are the inner products in float64, rounded to float32, of the query and ``vectors(position)``;
        equal ones are ordered by position. An approximate index may miss vectors, but gives as many.

        Args:
            vectors: float32 [Q, D].
            allowed: bool [len(self)], the positions that may be found; None allows all.

        Returns:
            scores float32 [Q, K] and positions int64 [Q, K], K = min(k, positions allowed).
        """
        ...

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at ``positions`` (int64 [N]) as the index holds them: float32 [N, D].

        Those of exact, hnsw and ivf-flat are what was added; others are what is left of it.
        """
        ...


Vectors = Callable[[np.ndarray], np.ndarray]


def score_and_rank(
    query: np.ndarray, stored: np.ndarray, positions: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best ``k`` of some positions: scores float32 [k] and positions int64 [k].

    Args:
        query: float32 [D].
        stored: float32 [C, D], the vectors at ``positions`` (int64 [C]).

    >>> score_and_rank(np.float32([0.6, 0.8]), np.float32([[1, 0], [0, 1]]), np.array([7, 3]), 2)[1]
    array([3, 7])
    """
    rounded = (stored.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = np.lexsort((positions, -rounded))[:k]
    return rounded[order], positions[order]


def rank(queries: np.ndarray, found: np.ndarray, k: int, vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """The best ``k`` of what was found for each query, see ``score_and_rank``.

    Args:
        queries: float32 [Q, D].
        found: int64 [Q, C], at least ``k`` in each row that are not -1.
        vectors: gives the vectors at some positions.
    """
    scores = np.zeros((len(queries), k), dtype=np.float32)
    positions = np.zeros((len(queries), k), dtype=np.int64)
    for row, query in enumerate(queries):
        candidates = found[row][found[row] >= 0]
        scores[row], positions[row] = score_and_rank(query, vectors(candidates), candidates, k)
    return scores, positions


def search_among(
    queries: np.ndarray, positions: np.ndarray, k: int, vectors: Vectors
) -> tuple[np.ndarray, np.ndarray]:
    """Every query against every vector at ``positions`` (int64 [C]): few enough to be held in memory."""
    k = min(k, len(positions))
    stored = vectors(positions)
    ranked = [score_and_rank(query, stored, positions, k) for query in queries]
    shape = (len(queries), k)
    scores = np.array([scores for scores, _ in ranked], dtype=np.float32).reshape(shape)
    return scores, np.array([found for _, found in ranked], dtype=np.int64).reshape(shape)


def by_score(hits: Iterable[Found]) -> list[Found]:
    """The best first; of equals the greater id, as trec_eval orders them."""
    return sorted(hits, key=lambda hit: (hit.score, hit.document.id), reverse=True)


def check_queries(vectors: np.ndarray, dimension: int) -> np.ndarray:
    """The queries as contiguous float32 [Q, D].

    Raises:
        InputError: they have another dimension, or a number that is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InputError(
            f"the query vectors have the shape {list(vectors.shape)}, and the index holds vectors of "
            f"{dimension} "
            "numbers; encode the queries with the model that made the index"
        )
    queries = np.ascontiguousarray(vectors, dtype=np.float32)
    if not np.isfinite(queries).all():
        raise InputError("a query vector holds a number that is not finite (NaN or infinity)")
    return queries
