"""Hybrids: several runs of the same queries become one, by ranks or by weighted scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from llara.errors import ConfigError, InputError
from llara.evaluate.measures import depth_of, evaluate_run
from llara.search import Run

__all__ = ["reciprocal_rank_fusion", "tune_weights", "weighted_fusion"]

_SAME = 1e-9  # two means closer than this are a tie: the last bits are those of the order of summation

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
    _check(runs, depth)
    if k < 0:
        raise ConfigError(f"k of reciprocal rank fusion is {k}, expected 0 or more (60 is usual)")
    shares = [{query: _reciprocal_ranks(scores, k) for query, scores in run.items()} for run in runs]
    return _summed(shares, [1.0] * len(runs), depth)


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
    _check(runs, depth)
    if len(weights) != len(runs):
        raise ConfigError(f"{len(weights)} weights for {len(runs)} runs; expected one for each")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ConfigError(f"weights {list(weights)}; expected numbers of 0 or more, one of them above 0")
    return _summed([_scaled(run) for run in runs], weights, depth)


def tune_weights(
    runs: Sequence[AnyRun],
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    *,
    step: float = 0.1,
) -> tuple[float, ...]:
    """The weights for ``weighted_fusion`` that reach the best mean of ``measure``, by trying a grid.

    Give it another split than the one the weights will be judged on. The grid is all weights that are
    multiples of ``step`` and sum to 1: 11 of them for two runs at 0.1, 66 for three. Of several that are
    best the most even are taken (least sum of squares), then those that weigh the earlier runs more.

    Raises:
        ConfigError: ``step`` does not divide 1, the measure is unknown, or there are no runs.
        InputError: there are no judgements, or a score is not finite.
    """
    _check(runs, None)
    num_steps = round(1 / step) if 0 < step <= 1 else 0
    if not math.isclose(num_steps * step, 1.0):
        raise ConfigError(f"the step of the weights is {step}, expected a number that divides 1, such as 0.1")
    depth = depth_of([measure])
    shares = [_scaled({query: run[query] for query in qrels if query in run}) for run in runs]
    reached = {}
    for units in _compositions(num_steps, len(runs)):
        fused = _summed(shares, [unit / num_steps for unit in units], depth)
        reached[units] = evaluate_run(fused, qrels, [measure])[0][measure]
    best = max(reached.values())
    tied = [units for units, mean in reached.items() if mean >= best - _SAME]
    chosen = min(tied, key=lambda units: (sum(unit**2 for unit in units), [-unit for unit in units]))
    return tuple(unit / num_steps for unit in chosen)


def _summed(shares: Sequence[AnyRun], weights: Sequence[float], depth: int | None) -> Run:
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


def _scaled(run: AnyRun) -> Run:
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


def _compositions(total: int, num_parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``total`` as an ordered sum of ``num_parts`` numbers of 0 or more.

    >>> list(_compositions(2, 2))
    [(0, 2), (1, 1), (2, 0)]
    """
    if num_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, num_parts - 1):
            yield (first, *rest)


def _check(runs: Sequence[AnyRun], depth: int | None) -> None:
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
