"""Which queries a step trains on, and with which of their passages: fixed by the seed and the position alone.

The whole order is made before training, as long as the run. So a resumed run goes on with the same batches,
several processes share out the batches of one, and none runs out of data before the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from llara.config import FinetuneConfig
from llara.errors import ConfigError
from llara.finetune.pairs import Example

__all__ = ["draw_passages", "hold_out", "num_steps", "training_order"]


def num_steps(config: FinetuneConfig, *, num_queries: int, step_size: int) -> int:
    """Optimiser steps of a run: ``max_steps``, or as many as ``epochs`` needs, the last one filled up."""
    training = config.training
    return training.max_steps or max(1, math.ceil(training.epochs * num_queries / step_size))


def hold_out(num_queries: int, num_held: int, *, seed: int) -> np.ndarray:
    """Numbers of the queries that are not trained on, int64 [num_held], ascending.

    Raises:
        ConfigError: more than half of the queries would be held out.
    """
    if num_held > num_queries // 2:
        raise ConfigError(
            f"held_out.queries = {num_held} is more than half of the {num_queries} queries; hold out fewer,"
            " or set held_out.steps = 0"
        )
    return np.sort(np.random.default_rng([seed, 1]).permutation(num_queries)[:num_held])


def training_order(
    sources: np.ndarray,
    *,
    length: int,
    step_size: int,
    weights: Sequence[float] = (),
    one_source_batches: bool = False,
    excluded: np.ndarray | None = None,
    seed: int,
) -> np.ndarray:
    """Numbers of the queries in the order of the run, int64 [length].

    Every source is gone through in a fresh random order again and again. With weights it is drawn by them;
    without, each source has the share of the run that it has of the queries (with ``one_source_batches`` to
    a step), so that in an epoch every query comes once.

    Args:
        sources: the source of each query, [Q].
        length: a multiple of ``step_size``.
        excluded: queries never to draw.

    Raises:
        ConfigError: the number of weights is not the number of sources, or a source has no query left.
    """
    rng = np.random.default_rng([seed, 2])
    kept = np.setdiff1d(np.arange(len(sources)), np.zeros(0) if excluded is None else excluded)
    num_sources = int(sources.max()) + 1 if len(sources) else 0
    if length and not len(kept):
        raise ConfigError(
            "no query is left to train on: all have the text of one that is held out; set a lower"
            " held_out.queries"
        )
    if weights and len(weights) != num_sources:
        raise ConfigError(
            f"pairs.weights has {len(weights)} numbers for {num_sources} training files; give one for each"
        )
    if not weights and not (one_source_batches and num_sources > 1):
        return _shuffled_passes(kept, length, rng)
    members = [kept[sources[kept] == source] for source in range(num_sources)]
    if weights and not all(map(len, members)):
        raise ConfigError(
            "pairs.weights draws from a training file whose queries are all held out; set a lower"
            " held_out.queries"
        )
    shares = np.array(weights or [len(part) for part in members], dtype=np.float64)
    if one_source_batches and not weights:
        drawn = rng.permutation(_shared_out(length // step_size, shares)).repeat(step_size)
    elif one_source_batches:
        drawn = rng.choice(num_sources, size=length // step_size, p=shares / shares.sum()).repeat(step_size)
    else:
        drawn = rng.choice(num_sources, size=length, p=shares / shares.sum())
    order = np.empty(length, dtype=np.int64)
    for source, part in enumerate(members):
        places = np.flatnonzero(drawn == source)
        order[places] = _shuffled_passes(part, len(places), rng)
    return order


def _shared_out(steps: int, shares: np.ndarray) -> np.ndarray:
    """So many steps in proportion to the shares, by the largest remainders: the source of each.

    >>> _shared_out(5, np.array([3.0, 1.0])).tolist()
    [0, 0, 0, 0, 1]
    """
    exact = steps * shares / shares.sum()
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: steps - counts.sum()]] += 1
    return np.repeat(np.arange(len(shares)), counts)


def _shuffled_passes(members: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """``members`` in a fresh random order again and again, cut to ``length``."""
    passes = math.ceil(length / len(members)) if length else 0
    if not passes:
        return np.zeros(0, dtype=np.int64)
    return np.concatenate([rng.permutation(members) for _ in range(passes)])[:length]


def draw_passages(
    example: Example, num_negatives: int, *, seed: int, position: int
) -> tuple[int, np.ndarray]:
    """Which positive (its place in the example's list) and which negatives (places, at most so many) to use.

    The draw depends on ``seed`` and ``position`` only, and takes no passage twice.
    """
    rng = np.random.default_rng([seed, 3, position])
    positive = int(rng.integers(len(example.positives)))
    return positive, rng.permutation(len(example.negatives))[:num_negatives]
