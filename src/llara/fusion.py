"""Hybrids: several runs of the same queries become one, by ranks or by weighted scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from llara.errors import ConfigError, InputError

__all__ = ["AnyRun", "Run", "check_runs", "reciprocal_rank_fusion", "scaled", "summed", "weighted_fusion"]

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score."""

AnyRun = Mapping[str, Mapping[str, float]]


def reciprocal_rank_fusion(runs: Sequence[AnyRun], *, k: int = 60, depth: int | None = None) -> Run:
    """Fuse by ranks: a document scores the sum of 1 / (k + rank) over the runs that found it.

    Cormack, Clarke and Buettcher, SIGIR 2009; k = 60 is theirs. Ranks count from 1 in trec_eval's order.
    A query that only some of the runs answer is fused from those.

    Args:
        runs: query id -> document id -> score, any scales.
        depth: documents kept per query; by default all that any run found.

    Raises:
        ConfigError: there are no runs, or ``k`` or ``depth`` is out of range.
        InputError: a score is not finite.

    >>> reciprocal_rank_fusion([{"q": {"a": 9.0, "b": 8.0}}, {"q": {"b": 0.3}}], k=1)
    {'q': {'b': 0.8333333333333333, 'a': 0.5}}
    """
    check_runs(runs, depth)
    if k < 0:
        raise ConfigError(f"k of reciprocal rank fusion is {k}, expected 0 or more (60 is usual)")
    shares = [{query: _reciprocal_ranks(scores, k) for query, scores in run.items()} for run in runs]
    return summed(shares, [1.0] * len(runs), depth)


def weighted_fusion(runs: Sequence[AnyRun], weights: Sequence[float], *, depth: int | None = None) -> Run:
    """Fuse by scores: each run's are brought to 0..1 query by query, and their weighted sum is taken.

    The best document of a run and query gets 1, the worst that it kept 0, the others in proportion; where
    all scores are equal each gets 1. A document that a run did not find gets 0 there, the least that one
    which it found can get: nothing more is known of it. So the result depends on how deep the runs are.
    A run of weight 0 is left out: it adds no documents either.

    Args:
        runs: query id -> document id -> score, any scales.
        weights: one for each run, none negative, not all 0. Only their proportions matter to the ranking.
        depth: documents kept per query; by default all that any run found.

    Raises:
        ConfigError: the weights do not fit the runs, or ``depth`` is out of range.
        InputError: a score is not finite.

    >>> weighted_fusion([{"q": {"a": 9.0, "b": 8.0, "c": 7.0}}, {"q": {"c": 0.4, "b": 0.2}}], [0.5, 0.5])
    {'q': {'c': 0.5, 'a': 0.5, 'b': 0.25}}
    """
    check_runs(runs, depth)
    if len(weights) != len(runs):
        raise ConfigError(f"{len(weights)} weights for {len(runs)} runs; expected one for each")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ConfigError(f"weights {list(weights)}; expected numbers of 0 or more, one of them above 0")
    return summed([scaled(run) for run in runs], weights, depth)


def summed(shares: Sequence[AnyRun], weights: Sequence[float], depth: int | None) -> Run:
    """The weighted sum of ``shares``, best ``depth`` documents first, in trec_eval's order.

    Summed by ``fsum``: the same shares give the same score, whichever runs they came from.
    """
    queries = dict.fromkeys(itertools.chain.from_iterable(shares))  # each once, in order
    fused: Run = {}
    for query in queries:
        parts: dict[str, list[float]] = {}
        for share, weight in zip(shares, weights, strict=True):
            for document, value in share.get(query, {}).items() if weight else ():
                parts.setdefault(document, []).append(weight * value)
        ranking = sorted(((math.fsum(values), document) for document, values in parts.items()), reverse=True)
        fused[query] = {document: score for score, document in ranking[:depth]}
    return fused


def _reciprocal_ranks(scores: Mapping[str, float], k: int) -> dict[str, float]:
    ranking = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return {document: 1.0 / (k + rank) for rank, (document, _) in enumerate(ranking, 1)}


def scaled(run: AnyRun) -> Run:
    """A run with each query's scores brought to 0..1."""
    return {query: _min_max(scores) for query, scores in run.items()}


def _min_max(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores brought to 0..1.

    >>> _min_max({"a": 3.0, "b": 2.0, "c": 1.0}), _min_max({"a": 7.0})
    ({'a': 1.0, 'b': 0.5, 'c': 0.0}, {'a': 1.0})
    """
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if low == high:
        return dict.fromkeys(scores, 1.0)
    return {document: (score - low) / (high - low) for document, score in scores.items()}


def check_runs(runs: Sequence[AnyRun], depth: int | None) -> None:
    """Refuse runs that cannot be fused.

    Raises:
        ConfigError: there are none, or ``depth`` is out of range.
        InputError: a score is not finite.
    """
    if not runs:
        raise ConfigError("no runs to fuse, expected at least one")
    if depth is not None and depth < 1:
        raise ConfigError(f"depth is {depth}, expected at least 1")
    for number, run in enumerate(runs, 1):
        for query, scores in run.items():
            for document, score in scores.items():
                if not math.isfinite(score):
                    raise InputError(
                        f"run {number}: query {query!r} gives document {document!r} the score {score}, "
                        "expected a finite number; mend the run, or leave it out of the fusion"
                    )
