"""The results of the adaptation study: means over seeds, intervals, paired tests."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from measure import machine, report

from llara.significance import bootstrap_interval, paired_randomization_test

__all__ = ["Measured", "write_results"]

_SEEDED = re.compile(r"^(?P<variant>.+?)-(?P<seed>\d+)(?P<finetuned>-finetuned)?$")
CLAIMS = (  # first less second
    ("both", "un-adapted"),
    ("both", "ebae"),
    ("both", "ebar"),
    ("both", "two-passes"),
    ("both", "next-token"),
    ("ebae", "ebar"),
    ("next-token", "un-adapted"),
)


class Measured(TypedDict):
    """One model on one data set."""

    measure: str
    mean: float
    per_query: dict[str, float]


def write_results(args: argparse.Namespace, found: Mapping[str, Mapping[str, Measured]]) -> None:
    """Gather the seeds of each way to adapt, compare the ways, print the table, and write all of it."""
    groups = _groups(found)
    results: dict[str, Any] = {
        "machine": machine(),
        "runs": {name: {data: one["mean"] for data, one in each.items()} for name, each in found.items()},
        "systems": {name: _summary(runs) for name, runs in groups.items()},
        "comparisons": list(_comparisons(groups)),
    }
    names = list(dict.fromkeys(data for runs in groups.values() for run in runs for data in run))
    rows = [["", "seeds", *names]]
    for name, runs in groups.items():
        means = results["systems"][name]
        shown = [f"{means[data]['mean']:.3f}" if data in means else "" for data in names]
        rows.append([name, str(len(runs)), *shown])
    report(results, rows, args.out)


def _groups(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, list[Mapping[str, Measured]]]:
    """Way to adapt -> its models, one a seed; a model that belongs to none stands alone."""
    groups: dict[str, list[Mapping[str, Measured]]] = {}
    for name, each in found.items():
        match = _SEEDED.match(name)
        group = f"{match['variant']}{', fine-tuned' if match['finetuned'] else ''}" if match else name
        groups.setdefault(group, []).append(each)
    return groups


def _summary(runs: Sequence[Mapping[str, Measured]]) -> dict[str, Any]:
    """Data set -> the mean over seeds, each seed's, and the interval over queries of the seeds' mean."""
    summary: dict[str, Any] = {}
    for data in runs[0]:
        means = [run[data]["mean"] for run in runs if data in run]
        values = _mean_values(runs, data)
        summary[data] = {
            "measure": runs[0][data]["measure"],
            "mean": float(np.mean(means)),
            "seeds": means,
            "spread": float(np.std(means, ddof=1)) if len(means) > 1 else None,
            "interval": bootstrap_interval(values) if values else None,
        }
    return summary


def _mean_values(runs: Sequence[Mapping[str, Measured]], data: str) -> dict[str, float]:
    """Each query's value, averaged over the seeds."""
    per_query = [run[data]["per_query"] for run in runs if data in run]
    return {query: float(np.mean([one[query] for one in per_query])) for query in per_query[0]}


def _comparisons(groups: Mapping[str, Sequence[Mapping[str, Measured]]]) -> list[dict[str, Any]]:
    """Each claim on each data set, before and after fine-tuning; p by Holm over a claim's data sets."""
    from llara.significance import holm

    rows = []
    for after in ("", ", fine-tuned"):
        for first, second in ((a + after, b + after) for a, b in CLAIMS):
            if first not in groups or second not in groups:
                continue
            shared = [
                d for d in groups[first][0] if d in groups[second][0] and groups[first][0][d]["per_query"]
            ]
            values = {d: (_mean_values(groups[first], d), _mean_values(groups[second], d)) for d in shared}
            raw = {d: paired_randomization_test(a, b) for d, (a, b) in values.items()}
            adjusted = holm(raw)
            for data, (a, b) in values.items():
                difference = float(np.mean(list(a.values())) - np.mean(list(b.values())))
                rows.append(
                    {
                        "first": first,
                        "second": second,
                        "data": data,
                        "difference": difference,
                        "p": raw[data],
                        "p_holm": adjusted[data],
                    }
                )
    return rows
