"""Scores of (query, passage) pairs from a cross-encoder or any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llara.errors import ModelError

__all__ = ["Rescorer", "load_rescorer", "rescored"]

Rescorer = Callable[[list[tuple[str, str]]], Sequence[float]]
"""(query, passage) pairs to scores, the higher the better."""


def load_rescorer(name: str, *, batch_size: int = 64) -> Rescorer:
    """A cross-encoder from a directory or the hub; scores as its own activation function gives them.

    Raises:
        ModelError: there is no such cross-encoder, or it gives more than one number a pair.
    """
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder

    try:
        encoder = CrossEncoder(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"cannot load the cross-encoder {name!r}: {error}; expected a directory or "
            "a hub name (owner/name)"
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
