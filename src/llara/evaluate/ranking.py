"""The best documents per query of a corpus that streams past, in trec_eval's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llara.datasets import StreamedCollection
from llara.errors import ConfigError
from llara.search import Run

__all__ = ["TopDocuments", "exact_scores"]

_SCORES_AT_ONCE = 1 << 24  # float64 numbers: 128 MB


class TopDocuments:
    """Keeps each query's ``depth`` best documents; of equal scores the greater id is first, as in trec_eval.

    Memory: ``depth`` scores and ids per query, however many documents are added.
    """

    def __init__(self, query_ids: Sequence[str], depth: int, *, ignore_identical_ids: bool = False) -> None:
        assert depth >= 1, depth
        self.query_ids = query_ids
        self.depth = depth
        self.ignore_identical_ids = ignore_identical_ids
        self._best: list[list[tuple[float, str]]] = [[] for _ in query_ids]

    @classmethod
    def of(cls, collection: StreamedCollection, depth: int) -> TopDocuments:
        """For the queries of a collection.

        Raises:
            ConfigError: the depth is below 1.
        """
        if depth < 1:
            raise ConfigError(f"depth is {depth}, expected at least 1")
        return cls(list(collection.queries), depth, ignore_identical_ids=collection.ignore_identical_ids)

    def add(self, query: int, scores_N: np.ndarray, ids: Sequence[str]) -> None:
        """Consider N documents for the query at that place; a score of -inf is no hit."""
        best = self._best[query]
        least = best[-1][0] if len(best) == self.depth else -np.inf
        places = np.flatnonzero((scores_N >= least) & (scores_N > -np.inf))
        if len(places) > self.depth + 1:  # one may be the query itself
            worst_kept = np.partition(scores_N[places], -self.depth - 1)[-self.depth - 1]
            places = places[scores_N[places] >= worst_kept]
        own = self.query_ids[query] if self.ignore_identical_ids else None
        best += [(float(scores_N[place]), ids[place]) for place in places.tolist() if ids[place] != own]
        best.sort(reverse=True)
        del best[self.depth :]

    def run(self) -> Run:
        """What is best of all that was added."""
        return {
            query: {document: score for score, document in best}
            for query, best in zip(self.query_ids, self._best, strict=True)
        }


def exact_scores(queries_QD: np.ndarray, vectors_ND: np.ndarray) -> np.ndarray:
    """Inner products, float32 [Q, N], added up in float64: equal vectors get equal scores."""
    scores_QN = np.empty((len(queries_QD), len(vectors_ND)), dtype=np.float32)
    vectors_DN = vectors_ND.astype(np.float64).T
    step = max(1, _SCORES_AT_ONCE // max(1, len(vectors_ND)))
    for start in range(0, len(queries_QD), step):
        block = slice(start, start + step)
        scores_QN[block] = queries_QD[block].astype(np.float64) @ vectors_DN
    return scores_QN
