"""What a model of the adaptation study reaches on one data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from sentence_transformers import SentenceTransformer

from llara.datasets import open_collection
from llara.encode import Role, encode_texts
from llara.evaluate import DenseSystem, measure
from llara.evaluate.similarity import correlate, read_pairs

__all__ = ["ROLES", "Measured", "retrieval", "similarity"]

ROLES: dict[str, Role] = {"": "query", ", SELF/SELF": "document"}  # of queries; documents have SELF


class Measured(TypedDict):
    """One model on one data set: by query; or by pair of sentences, whose scores by people are ``gold``."""

    measure: str
    mean: float
    per_query: dict[str, float]
    gold: NotRequired[dict[str, float]]


def similarity(model: SentenceTransformer, data: Path, split: str) -> Measured:
    """Spearman of the cosines of SELF embeddings, with the cosines."""
    pairs = read_pairs(data, split)
    sides = [encode_texts(model, [pair[side] for pair in pairs], role="document") for side in (0, 1)]
    cosines = np.einsum("nd,nd->n", *(side.astype(np.float64) for side in sides))
    return {
        "measure": "Spearman",
        "mean": correlate(cosines, pairs).spearman,
        "per_query": {str(number): cosine for number, cosine in enumerate(cosines.tolist())},
        "gold": {str(number): pair.score for number, pair in enumerate(pairs)},
    }


def retrieval(
    model: SentenceTransformer, data: Path, split: str, queries_in: Sequence[str]
) -> dict[str, Measured]:
    """nDCG@10 with queries in each of the roles; the documents are encoded once for all."""
    collection = open_collection(data, split)
    known: dict[tuple[str, ...], np.ndarray] = {}

    class Remembering(DenseSystem):
        def _encode(self, texts: list[str], role: Role) -> np.ndarray:
            key = (role, *texts)
            if key not in known:
                known[key] = super()._encode(texts, role)
            return known[key]

    found: dict[str, Measured] = {}
    for roles in queries_in:
        system = Remembering(data.name, model, query_role=ROLES[roles])
        evaluation = measure(system, collection, ["nDCG@10"])
        mean, values = evaluation.metrics["nDCG@10"], evaluation.per_query["nDCG@10"]
        found[roles] = {"measure": "nDCG@10", "mean": mean, "per_query": values}
    return found
