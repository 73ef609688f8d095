"""Scores of (query, passage) pairs from a cross-encoder, another retriever or any callable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from llara.encode import encode_texts
from llara.encoder import Encoder
from llara.errors import ModelError
from llara.model import MINI, MINI_BASE, resolve

__all__ = ["Rescorer", "load_rescorer", "rescored"]

Rescorer = Callable[[list[tuple[str, str]]], Sequence[float]]
"""(query, passage) pairs to scores, the higher the better."""


def load_rescorer(name: str, *, batch_size: int = 64) -> Rescorer:
    """A model that scores pairs: a retriever's cosines, or what a cross-encoder's activation function gives.

    A retriever is a directory of sentence-transformers or of ours, or the name of a model that is shipped;
    any other name is a cross-encoder's, in a directory or on the hub.

    Raises:
        ModelError: there is no such model, or a cross-encoder gives more than one number a pair.
    """
    place = Path(resolve(name) if name in (MINI, MINI_BASE) else name)
    return _retriever(place, batch_size) if _is_retriever(place) else _cross_encoder(name, batch_size)


def _is_retriever(directory: Path) -> bool:
    """Whether sentence-transformers would encode texts with it, one by one; files of old say no type."""
    if not (directory / "modules.json").is_file():
        return False
    config = directory / "config_sentence_transformers.json"
    facts = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return bool(facts.get("model_type", "SentenceTransformer") == "SentenceTransformer")


def _retriever(directory: Path, batch_size: int) -> Rescorer:
    encoder = Encoder(directory)

    def score(pairs: list[tuple[str, str]]) -> Sequence[float]:
        row = {query: n for n, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
        queries = encode_texts(encoder, list(row), role="query", batch_size=batch_size)
        passages = [passage for _, passage in pairs]
        documents_ND = encode_texts(encoder, passages, role="document", batch_size=batch_size)
        queries_ND = queries[[row[query] for query, _ in pairs]]
        cosines: list[float] = np.einsum("nd,nd->n", queries_ND, documents_ND).tolist()
        return cosines

    return score


def _cross_encoder(name: str, batch_size: int) -> Rescorer:
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder

    try:
        encoder = CrossEncoder(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"cannot load the cross-encoder {name!r}: {error}; expected a directory or "
            "a hub name (owner/name), or a retriever's directory"
        ) from error
    if encoder.num_labels != 1:
        raise ModelError(
            f"the cross-encoder {name!r} gives {encoder.num_labels} numbers a pair, expected one: a relevance"
        )

    def score(pairs: list[tuple[str, str]]) -> Sequence[float]:
        scores: list[float] = encoder.predict(pairs, batch_size=batch_size, show_progress_bar=False).tolist()
        return scores

    return score


def rescored(rescorer: Rescorer, query: str, passages: Sequence[str]) -> np.ndarray:
    """The rescorer's scores of the passages: float64 [N].

    Raises:
        ModelError: it did not give one finite number a pair.
    """
    if not passages:
        return np.zeros(0)
    scores = np.asarray(rescorer([(query, passage) for passage in passages]), dtype=np.float64)
    if scores.shape != (len(passages),):
        raise ModelError(
            f"the rescorer gave scores of shape {scores.shape} for {len(passages)} pairs; expected one each"
        )
    if not np.isfinite(scores).all():
        passage = passages[int(np.argmin(np.isfinite(scores)))]
        raise ModelError(
            f"the rescorer gave a score that is not finite for {query[:80]!r} and {passage[:80]!r}; "
            "expected finite numbers"
        )
    return scores
