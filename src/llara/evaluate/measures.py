"""Measures: from a run and judgements to means and per-query values, by ir_measures (trec_eval underneath).

Measures are named as ir_measures names them: ``nDCG@10``, ``R@100``, ``RR@10`` (also ``MRR@10``), ``AP``,
``nDCG(judged_only=True)@10``. Every judged query counts, with 0 if nothing was found for it; counts, such as
``NumRelRet``, are added up over queries, all others averaged. Each value is
trec_eval's own for the same run, ties included; a relevance below 0 means not judged, as it does there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llara.errors import ConfigError, InputError

__all__ = ["DEFAULT_MEASURES", "depth_of", "evaluate_run", "interval_of_value", "num_added"]

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "R@100")

_LEAST_DEPTH = 100
_LARGEST = 2**31 - 1
_UNBOUNDED_DEPTH = 1000  # for measures without a cutoff: what TREC and BEIR submit
_FORM = "not of the form Name, Name@cutoff or Name(setting=value)@cutoff"


def evaluate_run(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Measure a run: (measure -> mean, measure -> query id -> value) over the queries of ``qrels``.

    A judged query that the run lacks counts with 0; a query without judgements is left out.

    Raises:
        ConfigError: measures that cannot be computed, all of them named.
        InputError: there are no judgements, or a score is not finite.

    >>> evaluate_run({"q": {"d1": 2.0, "d2": 1.0}}, {"q": {"d2": 1}}, ["RR@10", "R@1"])
    ({'RR@10': 0.5, 'R@1': 0.0}, {'RR@10': {'q': 0.5}, 'R@1': {'q': 0.0}})
    """
    if not qrels:
        raise InputError("there are no judgements to measure a run by; expected at least one query in qrels")
    parsed = _parse_measures(measures)
    # Queries go by number: one of the programs behind ir_measures (gdeval) knows no other ids.
    numbers = {query: str(number) for number, query in enumerate(qrels, 1)}
    # A query without hits stays out, as it does of a run file: trec_eval's IPrec would be nan for it.
    ranked = {number: _rank_scores(run[query], query) for query, number in numbers.items() if run.get(query)}
    judged = {number: _known_judgements(qrels[query]) for query, number in numbers.items()}
    metrics: dict[str, float] = {}
    per_query: dict[str, dict[str, float]] = {}
    for name, measure in parsed.items():
        # One by one: asked together, nDCG with gains and without share whichever gains come first.
        values = {each.query_id: float(each.value) for each in measure.iter_calc(judged, ranked)}
        per_query[name] = {query: values.get(number, 0.0) for query, number in numbers.items()}
        aggregator = measure.aggregator()
        for value in per_query[name].values():
            aggregator.add(value)
        metrics[name] = float(aggregator.result())
    return metrics, per_query


def depth_of(measures: Sequence[str]) -> int:
    """How many documents per query the measures look at: the largest cutoff, at least 100.

    >>> depth_of(["nDCG@10", "R@200"]), depth_of(["nDCG@10"]), depth_of(["AP"])
    (200, 100, 1000)

    Raises:
        ConfigError: measures that cannot be computed, all of them named.
    """
    parsed = _parse_measures(measures)
    cutoffs: list[int] = [measure.params.get("cutoff", _UNBOUNDED_DEPTH) for measure in parsed.values()]
    return max(_LEAST_DEPTH, *cutoffs)


def num_added(measure: str, num_queries: int) -> int:
    """What a mean over queries is multiplied by to give the measure's value: of counts all are added up.

    >>> num_added("NumRet(rel=1)", 50), num_added("nDCG@10", 50), num_added("Spearman", 50)
    (50, 1, 1)
    """
    import ir_measures

    found = ir_measures.measures.registry.get(re.split(r"[(@]", measure)[0].strip())
    is_sum = found is not None and isinstance(found.aggregator(), ir_measures.measures.base.SumAgg)
    return num_queries if is_sum else 1


def interval_of_value(
    measure: str, num_queries: int, interval_of_mean: tuple[float, float]
) -> tuple[float, float]:
    """The interval of the measure's value, a mean or a sum."""
    number, (low, high) = num_added(measure, num_queries), interval_of_mean
    return number * low, number * high


def _parse_measures(measures: Sequence[str]) -> dict[str, Any]:
    """Name -> ir_measures measure; every name that is not one is reported in one ConfigError."""
    parsed, problems = {}, []
    for name in measures:
        try:
            parsed[name] = _parse_measure(name)
        except (ValueError, TypeError, AssertionError) as error:
            problems.append(f"{name!r} ({error})")
    if problems or not parsed:
        raise ConfigError(
            f"not measures: {'; '.join(problems) or 'an empty list'}. "
            "Expected names of ir_measures, such as nDCG@10, R@100, RR@10, AP, P@5"
        )
    return parsed


def _parse_measure(name: str) -> Any:
    """The ir_measures measure of that name; ValueError or AssertionError say what is wrong with it.

    ``ir_measures.parse_measure`` needs parts of ``ast`` that Python 3.14 removed; it can take over once a
    release has done without them (its pull request 81, not in 0.4.3).
    """
    import ir_measures

    try:
        node = ast.parse(name, mode="eval").body
    except SyntaxError as error:
        raise ValueError(_FORM) from error
    at: ast.expr | None = None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        at = node.right
        node = node.left
    settings: list[ast.keyword] = []
    if isinstance(node, ast.Call) and not node.args:
        settings = node.keywords
        node = node.func
    if not isinstance(node, ast.Name):
        raise ValueError(_FORM)
    measure = ir_measures.measures.registry.get(node.id)
    if measure is None:
        raise ValueError("no such measure")
    measure = measure(**{str(each.arg): _literal(each.value) for each in settings})
    if at is not None:
        measure = measure @ _literal(at)
    for setting, needed in measure.SUPPORTED_PARAMS.items():
        if needed.required and setting not in measure.params:
            raise ValueError(f"needs a {setting} after an @")
    if not ir_measures.DefaultPipeline.supports(measure):
        raise ValueError("no installed program computes it")
    _check_settings(measure.params)
    return measure


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"{ast.unparse(node)!r} is no number, text or list") from error


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse numbers over which trec_eval ends the whole process."""
    for setting in ("cutoff", "rel"):
        value = settings.get(setting, 1)
        if isinstance(value, bool) or not 1 <= value <= _LARGEST:
            raise ValueError(f"{setting} is {value}, expected a whole number from 1 to {_LARGEST:,}")
    for grade, value in settings.get("gains", {}).items():
        if type(grade) is not int:
            raise ValueError(f"a grade is {grade!r}, expected a whole number")
        if type(value) is not int or value < 0:
            raise ValueError(f"a gain is {value!r}, expected a whole number of at least 0")


def _rank_scores(scores: Mapping[str, float], query: str) -> dict[str, float]:
    """Scores without ties in trec_eval's order: where they are equal the greater id comes first.

    The programs behind ir_measures disagree there (RR@10 is not computed by trec_eval, nDCG@10 is). Scores
    are equal that agree in single precision, in which pytrec_eval and trec_eval before 9.0.8 keep them.

    >>> _rank_scores({"a": 0.5, "b": 0.5 - 1e-12, "c": 0.9}, "q")
    {'a': 1.0, 'b': 2.0, 'c': 3.0}
    """
    values = np.array(list(scores.values()), dtype=np.float64)  # [N]
    if not np.isfinite(values).all():
        document = list(scores)[int(np.argmin(np.isfinite(values)))]
        raise InputError(
            f"query {query!r}, document {document!r}: score {scores[document]}, expected a finite number"
        )
    with np.errstate(over="ignore"):
        singles = values.astype(np.float32).tolist()
    ascending = sorted(zip(singles, scores, strict=True))
    return {document: float(place) for place, (_, document) in enumerate(ascending, 1)}


def _known_judgements(relevances: Mapping[str, int]) -> dict[str, int]:
    """The judgements of a query, with one of 0 for no document where none would be left.

    trec_eval reads memory that is not its own when a query has no relevance of 0 or more.
    """
    judged = dict(relevances)
    if max(judged.values(), default=-1) < 0:
        judged[""] = 0
    return judged
