"""Measures: from a run and judgements to means and per-query values, by ir_measures (trec_eval underneath).

Measures are named as ir_measures names them: ``nDCG@10``, ``R@100``, ``RR@10`` (also ``MRR@10``), ``AP``,
``nDCG(judged_only=True)@10``. Every judged query counts, with 0 if nothing was found for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llara.errors import ConfigError, InputError

__all__ = ["DEFAULT_MEASURES", "depth_of", "evaluate_run"]

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100")

_LEAST_DEPTH = 100
_UNBOUNDED_DEPTH = 1000  # for measures without a cutoff: what TREC and BEIR submit


def evaluate_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Measure a run: (measure -> mean, measure -> query id -> value) over the queries of ``qrels``.

    A judged query that the run lacks counts with 0; a query without judgements is left out.

    Raises:
        ConfigError: measures that ir_measures does not know, all of them named.
        InputError: there are no judgements.

    >>> evaluate_run({"q": {"d1": 2.0, "d2": 1.0}}, {"q": {"d2": 1}}, ["RR@10", "R@1"])
    ({'RR@10': 0.5, 'R@1': 0.0}, {'RR@10': {'q': 0.5}, 'R@1': {'q': 0.0}})
    """
    import ir_measures

    if not qrels:
        raise InputError("there are no judgements to measure a run by; expected at least one query in qrels")
    parsed = _parse_measures(measures)
    ranked = {query: _rank_scores(run.get(query, {})) for query in qrels}
    judged = {query: dict(relevances) for query, relevances in qrels.items()}
    means, by_query = ir_measures.calc(list(set(parsed.values())), judged, ranked)
    values: dict[Any, dict[str, float]] = {measure: {} for measure in parsed.values()}
    for query_id, measure, value in by_query:
        values[measure][query_id] = float(value)
    assert isinstance(means, dict)
    metrics = {name: float(means[measure]) for name, measure in parsed.items()}
    per_query = {name: {query: values[measure][query] for query in qrels} for name, measure in parsed.items()}
    return metrics, per_query


def depth_of(measures: Sequence[str]) -> int:
    """How many documents per query the measures look at: the largest cutoff, at least 100.

    >>> depth_of(["nDCG@10", "R@200"]), depth_of(["nDCG@10"]), depth_of(["AP"])
    (200, 100, 1000)

    Raises:
        ConfigError: measures that ir_measures does not know, all of them named.
    """
    parsed = _parse_measures(measures)
    cutoffs: list[int] = [measure.params.get("cutoff", _UNBOUNDED_DEPTH) for measure in parsed.values()]
    return max(_LEAST_DEPTH, *cutoffs)


def _parse_measures(measures: Sequence[str]) -> dict[str, Any]:
    """Name -> ir_measures measure; every name that is not one is reported in one ConfigError."""
    import ir_measures

    parsed, problems = {}, []
    for name in measures:
        try:
            measure = ir_measures.parse_measure(name)
            is_supported = ir_measures.DefaultPipeline.supports(measure)
        except (ValueError, NameError, AssertionError, KeyError) as error:
            problems.append(f"{name!r} ({error})")
            continue
        if is_supported:
            parsed[name] = measure
        else:
            problems.append(f"{name!r} (no installed program computes it)")
    if problems or not parsed:
        raise ConfigError(
            f"not measures: {'; '.join(problems) or 'an empty list'}. "
            "Expected names of ir_measures, such as nDCG@10, R@100, RR@10, AP, P@5"
        )
    return parsed


def _rank_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores without ties in trec_eval's order: where they are equal the greater id comes first.

    The programs behind ir_measures disagree there (RR@10 is not computed by trec_eval, nDCG@10 is).

    >>> _rank_scores({"a": 0.5, "b": 0.5, "c": 0.9})
    {'a': 1.0, 'b': 2.0, 'c': 3.0}
    """
    ascending = sorted(scores.items(), key=lambda item: (item[1], item[0]))
    return {document: float(place) for place, (document, _) in enumerate(ascending, 1)}
