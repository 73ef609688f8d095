"""The results of the adaptation study: means over seeds, intervals, paired tests."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from measure import report
from scipy.stats import rankdata
from study_measures import Measured
from study_runs import TARGETS

from llara.model import MINI
from llara.significance import (
    bootstrap_interval,
    holm,
    paired_bootstrap_interval,
    paired_randomization_test,
)

__all__ = ["Run", "write_results"]

AVERAGE = "average"  # of the collections that are searched, each counting alike
CLAIMS = (  # first less second
    ("both", "un-adapted"),
    ("both", "centred"),
    ("both", "ebae"),
    ("both", "ebar"),
    ("both", "next-token"),
    ("ebae", "un-adapted"),
    ("ebar", "un-adapted"),
    ("ebae", "ebar"),
    ("next-token", "un-adapted"),
)
_SEEDED = re.compile(r"^(?P<variant>.+?)-(?P<seed>\d+)(?P<finetuned>-finetuned)?(?P<roles>, SELF/SELF)?$")
_ROUNDS = 2000


Run = Mapping[str, Measured]
"""Data set -> what one model reached."""


def write_results(args: argparse.Namespace, found: Mapping[str, Run], facts: Mapping[str, Any]) -> None:
    """Gather the seeds of each way to adapt, compare the ways, print the table, and write all of it."""
    groups = _groups(found)
    results: dict[str, Any] = {
        "benchmark": "adaptation_study",
        **facts,
        "runs": {
            name: {data: round(one["mean"], 5) for data, one in run.items()} for name, run in found.items()
        },
        "systems": {name: _summary(runs) for name, runs in groups.items()},
        "comparisons": _comparisons(groups),
    }
    names = list(dict.fromkeys(data for means in results["systems"].values() for data in means))
    rows = [["", "seeds", *names]]
    for name, runs in groups.items():
        means = results["systems"][name]
        shown = [f"{means[data]['mean']:.3f}" if data in means else "" for data in names]
        rows.append([name, str(len(runs)), *shown])
    report(results, rows, args.out)


def _groups(found: Mapping[str, Run]) -> dict[str, list[Run]]:
    """Way to adapt -> its models, one a seed; a model that belongs to none stands alone."""
    groups: dict[str, list[Run]] = {}
    for name, run in found.items():
        match = _SEEDED.match(name)
        group = (
            f"{match['variant']}{', fine-tuned' if match['finetuned'] else ''}{match['roles'] or ''}"
            if match
            else name
        )
        groups.setdefault(group, []).append(run)
    return groups


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Data set -> the mean over seeds, each seed's, and the 95% interval over queries of the seeds' mean."""
    summary = {}
    for data, one in runs[0].items():
        means = [run[data]["mean"] for run in runs]
        interval = (
            np.quantile(_resampled(runs, data), [0.025, 0.975]).tolist()
            if "gold" in one
            else bootstrap_interval(_values(runs, data))
        )
        summary[data] = _rounded(one["measure"], means, interval)
    if len(_searched(runs)) > 1:
        means = [float(np.mean([run[data]["mean"] for data in _searched(runs)])) for run in runs]
        parts = [_values(runs, data) for data in _searched(runs)]
        summary[AVERAGE] = _rounded("nDCG@10", means, _interval_of_average(parts))
    return summary


def _rounded(measure: str, means: Sequence[float], interval: Sequence[float]) -> dict[str, Any]:
    return {
        "measure": measure,
        "mean": round(float(np.mean(means)), 5),
        "interval": [round(end, 5) for end in interval],
        "seeds": [round(mean, 5) for mean in means],
        "spread": round(float(np.std(means, ddof=1)), 5) if len(means) > 1 else None,
    }


def _comparisons(groups: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """Each claim on each data set, in each of the ways to use a model.

    p by Holm over a claim's data sets; those of the averages over all the claims that have one.
    """
    pairs = [(a + after, b + after) for after in ("", ", fine-tuned", ", SELF/SELF") for a, b in CLAIMS]
    pairs += [("both", "both, SELF/SELF"), ("ebae", "ebae, SELF/SELF")]
    pairs += [("both-300-steps", "two-passes-300-steps")]
    pairs += [(f"{way}-zh", "un-adapted-zh") for way in ("both", "ebae", "ebar")]
    pairs += [(f"{MINI}-then-on-{corpus}", MINI) for corpus in TARGETS]
    found = [
        one
        for first, second in pairs
        if first in groups and second in groups
        for one in _compared(first, second, groups[first], groups[second])
    ]
    averages = {number: one["p"] for number, one in enumerate(found) if one["data"] == AVERAGE}
    for number, p in holm(averages).items():
        found[number]["p_holm"] = round(p, 5)
    return found


def _compared(first: str, second: str, ours: Sequence[Run], theirs: Sequence[Run]) -> list[dict[str, Any]]:
    found: dict[str, tuple[float, Sequence[float], float]] = {}  # data set -> difference, interval, p
    for data, one in ours[0].items():
        if data not in theirs[0]:
            continue
        if "gold" in one:
            differences = _resampled(ours, data) - _resampled(theirs, data)
            below = float((differences <= 0).mean())
            mean = float(
                np.mean([r[data]["mean"] for r in ours]) - np.mean([r[data]["mean"] for r in theirs])
            )
            p = min(1.0, (2 * min(below, 1 - below) * _ROUNDS + 1) / (_ROUNDS + 1))
            found[data] = (mean, np.quantile(differences, [0.025, 0.975]).tolist(), p)
        else:
            found[data] = _tested(_values(ours, data), _values(theirs, data))
    adjusted = holm({data: p for data, (_, _, p) in found.items()})
    if len(_searched(ours)) > 1 and set(_searched(ours)) <= set(_searched(theirs)):
        difference, _, p = _tested(_values(ours, AVERAGE), _values(theirs, AVERAGE))
        parts = [_less(_values(ours, data), _values(theirs, data)) for data in _searched(ours)]
        found[AVERAGE] = difference, _interval_of_average(parts), p
    return [
        {
            "first": first,
            "second": second,
            "data": data,
            "difference": round(difference, 5),
            "interval": [round(end, 5) for end in interval],
            "p": round(p, 5),
            "p_holm": round(adjusted.get(data, p), 5),
        }
        for data, (difference, interval, p) in found.items()
    ]


def _tested(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, Sequence[float], float]:
    difference = float(np.mean(list(a.values())) - np.mean(list(b.values())))
    return difference, paired_bootstrap_interval(a, b), paired_randomization_test(a, b)


def _less(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {query: value - b[query] for query, value in a.items()}


def _interval_of_average(parts: Sequence[Mapping[str, float]]) -> Sequence[float]:
    """The 95% bootstrap interval of the mean of the parts' means; queries are drawn within each part."""
    generator = np.random.default_rng(0)
    means = np.zeros(_ROUNDS)
    for part in parts:
        values = np.array(list(part.values()))
        means += values[generator.integers(len(values), size=(_ROUNDS, len(values)))].mean(axis=1) / len(
            parts
        )
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def _searched(runs: Sequence[Run]) -> list[str]:
    return [data for data, one in runs[0].items() if "gold" not in one]


def _values(runs: Sequence[Run], data: str) -> dict[str, float]:
    """Each query's value, averaged over the seeds; of all collections, weighed to count alike."""
    if data != AVERAGE:
        per_query = [run[data]["per_query"] for run in runs]
        return {query: float(np.mean([one[query] for one in per_query])) for query in per_query[0]}
    parts = {name: _values(runs, name) for name in _searched(runs)}
    share = sum(map(len, parts.values())) / len(parts)
    return {
        f"{name} {query}": value * share / len(values)
        for name, values in parts.items()
        for query, value in values.items()
    }


def _resampled(runs: Sequence[Run], data: str) -> np.ndarray:
    """Spearman averaged over the seeds, of random samples of the pairs, always the same [rounds]."""
    generator = np.random.default_rng(0)
    pairs = list(runs[0][data]["per_query"])
    gold = np.array([runs[0][data]["gold"][pair] for pair in pairs])
    cosines = np.array([[run[data]["per_query"][pair] for pair in pairs] for run in runs])  # [seeds, pairs]
    found = []
    for _ in range(_ROUNDS):
        sample = generator.integers(len(pairs), size=len(pairs))
        ranks = rankdata(np.vstack([gold[sample], cosines[:, sample]]), axis=1)
        found.append(np.corrcoef(ranks)[0, 1:].mean())
    return np.array(found)
