"""Runs from anywhere, compared on the same judged queries: differences, intervals, tests, effect sizes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from llara.datasets.collections import qrels_file, read_qrels
from llara.errors import ConfigError, InputError, OutputError
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run, interval_of_value, num_added
from llara.files import write_text_atomic
from llara.search import read_run
from llara.significance import (
    bootstrap_interval,
    effect_size,
    holm,
    paired_bootstrap_interval,
    paired_bootstrap_test,
    paired_randomization_test,
    wins_ties_losses,
)

__all__ = [
    "Difference",
    "RunComparison",
    "RunSummary",
    "compare_files",
    "compare_runs",
    "differences_of",
    "run_names",
]

FORMAT = "llara-comparison/1"
Test = Literal["randomization", "bootstrap"]
_TESTS = {"randomization": paired_randomization_test, "bootstrap": paired_bootstrap_test}

Key = TypeVar("Key", bound=Hashable)
AnyRun = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunSummary:
    """One run: its means (of counts the sums) and their intervals, by measure.

    ``num_without_hits`` judged queries are not in the run and count 0; ``num_unjudged`` queries of the run
    are not judged and left out.
    """

    name: str
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    num_without_hits: int
    num_unjudged: int


@dataclass(frozen=True)
class Difference:
    """``run`` less ``against`` by one measure, over the same queries.

    ``p_holm`` is ``p_value`` corrected for all comparisons by the measure. ``effect_size`` is Cohen's d_z.
    ``wins`` are the queries on which ``run`` is better.
    """

    measure: str
    run: str
    against: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_holm: float
    effect_size: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class RunComparison:
    """What ``compare_runs`` found; intervals are bootstrap intervals of level 1 - ``alpha``."""

    num_queries: int
    test: str
    alpha: float
    runs: list[RunSummary]
    differences: list[Difference]

    def to_json(self) -> str:
        """All of it as one JSON object, with a line end; an infinite effect size is null."""
        content: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        for difference in content["differences"]:
            if math.isinf(difference["effect_size"]):
                difference["effect_size"] = None
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def markdown(self) -> str:
        """Two tables in Markdown, also for a terminal: the runs, and their differences."""
        measures = list(self.runs[0].means)
        runs = [["run", *measures, "queries without hits", "not judged"]]
        for run in self.runs:
            means = [f"{run.means[name]:.4f} {_brackets(run.intervals[name])}" for name in measures]
            runs.append([run.name, *means, str(run.num_without_hits), str(run.num_unjudged)])
        head = ["measure", "run", "against", "difference", "p", "p (Holm)", "d", "wins / ties / losses"]
        differences = [head]
        for one in self.differences:
            mark = " *" if one.p_holm < self.alpha else ""
            differences.append(
                [
                    one.measure,
                    one.run,
                    one.against,
                    f"{one.difference:+.4f} {_brackets(one.interval, sign='+')}",
                    f"{one.p_value:.4f}",
                    f"{one.p_holm:.4f}{mark}",
                    f"{one.effect_size:+.2f}",
                    f"{one.wins} / {one.ties} / {one.losses}",
                ]
            )
        notes = (
            f"{self.num_queries:,} judged queries; a query without hits counts 0. Brackets: "
            f"{100 * (1 - self.alpha):g}% bootstrap intervals. p: two-sided, paired {self.test}; p (Holm): "
            f"corrected for all rows of the measure, * where below {self.alpha:g}. d: mean difference by the "
            "standard deviation of the differences (Cohen's d_z)."
        )
        return "\n".join([*_table(runs, left=1), "", *_table(differences, left=3), "", notes]) + "\n"


def compare_runs(
    runs: Mapping[str, AnyRun],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    test: Test = "randomization",
    baseline: str | None = None,
    all_pairs: bool = False,
    alpha: float = 0.05,
) -> RunComparison:
    """Compare runs over all judged queries: each with the baseline, or each with each.

    Args:
        runs: name -> run, two or more.
        test: the paired randomisation test, or the paired bootstrap (``llara.significance``).
        baseline: the name of the run that the others are compared with; by default the first.
        all_pairs: compare every two runs, the later with the earlier, instead.
        alpha: differences are marked whose corrected p is below it; intervals are of level 1 - ``alpha``.

    Raises:
        ConfigError: fewer than two runs, an unknown baseline, test or measure, ``alpha`` out of range.
        InputError: there are no judgements, a run answers no judged query, or a score is not finite.
    """
    _check(list(runs), measures, test=test, baseline=baseline, all_pairs=all_pairs, alpha=alpha)
    values: dict[str, dict[str, dict[str, float]]] = {}  # run -> measure -> query -> value
    summaries = []
    for name, run in runs.items():
        means, values[name] = evaluate_run(run, qrels, measures)
        summaries.append(_summary(name, run, qrels, means, values[name], level=1 - alpha))
    reference = next(iter(runs)) if baseline is None else baseline
    pairs = (
        [(later, earlier) for earlier, later in itertools.combinations(runs, 2)]
        if all_pairs
        else [(name, reference) for name in runs if name != reference]
    )
    differences = [
        difference
        for measure in dict.fromkeys(measures)
        for difference in differences_of(
            measure,
            {(a, b): (a, b, values[a][measure], values[b][measure]) for a, b in pairs},
            test=test,
            alpha=alpha,
        ).values()
    ]
    return RunComparison(len(qrels), test, alpha, summaries, differences)


def compare_files(
    runs: Sequence[Path],
    qrels: Path,
    *,
    split: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    test: Test = "randomization",
    baseline: Path | None = None,
    all_pairs: bool = False,
    alpha: float = 0.05,
    out: Path | None = None,
    overwrite: bool = False,
) -> RunComparison:
    """``compare_runs`` of TREC run files, named by as much of their paths as tells them apart.

    Args:
        qrels: judgements in BEIR's format (query, document, relevance, tab-separated) or TREC's (query, 0,
            document, relevance), or a directory in BEIR's layout, whose ``split`` is taken (default: test).
        baseline: one of ``runs``, or one more.
        out: write the comparison here, as JSON.

    Raises:
        ConfigError: as ``compare_runs``, or a run is given twice.
        InputError: as ``compare_runs``, or a file is missing or malformed (with its line).
        OutputError: ``out`` exists (without ``overwrite``) or cannot be written.
    """
    if out is not None and out.exists() and not overwrite:
        raise OutputError(f"the output {out} exists; choose another or pass --overwrite")
    paths = list(runs)
    if baseline is not None and baseline.resolve() not in {path.resolve() for path in paths}:
        paths.insert(0, baseline)
    names = dict(zip([path.resolve() for path in paths], run_names(paths), strict=True))
    reference = None if baseline is None else names[baseline.resolve()]
    _check(list(names.values()), measures, test=test, baseline=reference, all_pairs=all_pairs, alpha=alpha)
    if split is not None and qrels.is_file():
        raise ConfigError(
            f"the judgements {qrels} are a file, which has no split {split!r}; drop one of them"
        )
    judgements = read_qrels(qrels_file(qrels, split or "test") if qrels.is_dir() else qrels)
    loaded = {name: read_run(path) for path, name in names.items()}
    found = compare_runs(
        loaded, judgements, measures, test=test, baseline=reference, all_pairs=all_pairs, alpha=alpha
    )
    if out is not None:
        write_text_atomic(out, found.to_json())
    return found


def run_names(paths: Sequence[Path]) -> list[str]:
    """Each path's shortest end, in whole parts, that no other path has.

    Raises:
        ConfigError: a file is given twice.

    >>> run_names([Path("a/x/run.trec"), Path("b/x/run.trec"), Path("b/bm25.trec")])
    ['a/x/run.trec', 'b/x/run.trec', 'bm25.trec']
    """
    parts = [path.resolve().parts for path in paths]
    names = []
    for place, own in enumerate(parts):
        others = parts[:place] + parts[place + 1 :]
        if own in others:
            raise ConfigError(f"the run {paths[place]} is given twice; expected each run once")
        length = next(n for n in range(1, len(own) + 1) if all(own[-n:] != each[-n:] for each in others))
        names.append(str(Path(*own[-length:])))
    return names


def _check(
    runs: Sequence[str],
    measures: Sequence[str],
    *,
    test: str,
    baseline: str | None,
    all_pairs: bool,
    alpha: float,
) -> None:
    depth_of(measures)  # raises for what is no measure
    if len(runs) < 2:
        raise ConfigError(f"a comparison needs two runs or more, got {len(runs)}")
    if test not in _TESTS:
        raise ConfigError(f"test is {test!r}, expected one of {', '.join(_TESTS)}")
    if baseline is not None and baseline not in runs:
        raise ConfigError(f"the baseline {baseline!r} is none of the runs: {', '.join(runs)}")
    if baseline is not None and all_pairs:
        raise ConfigError("a baseline and all pairs exclude each other; choose one")
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is {alpha}, expected a number between 0 and 1, such as 0.05")


def _summary(
    name: str,
    run: AnyRun,
    qrels: Mapping[str, Mapping[str, int]],
    means: dict[str, float],
    values: Mapping[str, Mapping[str, float]],
    *,
    level: float,
) -> RunSummary:
    answered = {query for query, scores in run.items() if scores}
    if not answered & qrels.keys():
        queries = f"its queries are such as {next(iter(run))!r}" if run else "it has none"
        raise InputError(
            f"the run {name} answers none of the {len(qrels):,} judged queries: {queries}, those judged such "
            f"as {next(iter(qrels))!r}; expected the ids of both to agree"
        )
    intervals = {
        measure: interval_of_value(measure, len(qrels), bootstrap_interval(values[measure], level=level))
        for measure in means
    }
    return RunSummary(name, means, intervals, len(qrels.keys() - answered), len(answered - qrels.keys()))


def differences_of(
    measure: str,
    pairs: Mapping[Key, tuple[str, str, Mapping[str, float], Mapping[str, float]]],
    *,
    test: Test = "randomization",
    alpha: float = 0.05,
) -> dict[Key, Difference]:
    """Pairs of runs by one measure, their p-values corrected together.

    Args:
        pairs: of each the names of a run and of the one it is compared with, and the values of both by query.

    Raises:
        InputError: the two of a pair do not hold the same queries, or hold none.
    """
    p_values = {key: _TESTS[test](a, b) for key, (_, _, a, b) in pairs.items()}
    corrected = holm(p_values)
    found = {}
    for key, (run, against, a, b) in pairs.items():
        found[key] = Difference(
            measure,
            run,
            against,
            difference=(math.fsum(a.values()) - math.fsum(b.values())) / len(a) * num_added(measure, len(a)),
            interval=interval_of_value(measure, len(a), paired_bootstrap_interval(a, b, level=1 - alpha)),
            p_value=p_values[key],
            p_holm=corrected[key],
            effect_size=effect_size(a, b),
            **wins_ties_losses(a, b)._asdict(),
        )
    return found


# -- tables


def _brackets(interval: tuple[float, float], sign: str = "") -> str:
    low, high = interval
    return f"[{low:{sign}.4f}, {high:{sign}.4f}]"


def _table(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Lines of a Markdown table with its columns aligned, the first ``left`` of them to the left."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = ["<"] * left + [">"] * (len(widths) - left)

    def line(cells: Sequence[str]) -> str:
        columns = zip(cells, signs, widths, strict=True)
        return f"| {' | '.join(f'{cell:{sign}{width}}' for cell, sign, width in columns)} |"

    rules = ["-" * (width + 1) for width in widths]
    rule = [f":{dashes}" if sign == "<" else f"{dashes}:" for dashes, sign in zip(rules, signs, strict=True)]
    return [line(rows[0]), f"|{'|'.join(rule)}|", *map(line, rows[1:])]
