"""Evaluations to tables as papers print them, the paper's figures beside ours.

Data sets that were measured alike are shown together. Of one data set the rows are systems and the columns
measures, with intervals; of several there is a table a measure: its rows data sets, its columns systems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llara import report
from llara.errors import InputError
from llara.evaluate import paper
from llara.evaluate.comparison import Difference, differences_of
from llara.evaluate.results import Evaluation
from llara.evaluate.words import BM25
from llara.report import Cell, Column, Row, Table
from llara.report.tables import SIGNIFICANT
from llara.significance import holm, paired_randomization_test

__all__ = [
    "PUBLISHED",
    "Group",
    "average",
    "difference_table",
    "group_tables",
    "groups",
    "interval_of",
    "markdown",
    "table_of_differences",
    "tables",
    "tests_of",
]

PUBLISHED = ("LLaRA", "RepLLaMA", "BM25")
"""The paper's columns that tables show."""

LEVEL = 0.05  # of significance, after Holm's correction

By = dict[str, Evaluation]
"""System -> its evaluation on one data set."""


@dataclass(frozen=True)
class Group:
    """Data sets measured alike: label -> system -> evaluation."""

    measures: Sequence[str]
    datasets: Mapping[str, By]

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(name for systems in self.datasets.values() for name in systems))

    @property
    def compared(self) -> dict[str, list[str]]:
        """System -> those compared with it: with the first all others; where that is BM25, which nobody
        chooses between, with the first model each further one, too."""
        first, *others = self.systems
        hybrids = {
            name for by in self.datasets.values() for name, each in by.items() if "hybrid" in each.settings
        }
        model, *further = [name for name in self.systems if name != BM25 and name not in hybrids] or [first]
        return {first: others, **({model: further} if first == BM25 and further else {})}


def markdown(evaluations: Sequence[Evaluation], *, published: Sequence[str] = PUBLISHED) -> str:
    """The tables in Markdown.

    Raises:
        InputError: one system has two evaluations of one data set.
    """
    return "\n".join(map(report.table_markdown, tables(evaluations, published=published)))


def tables(evaluations: Sequence[Evaluation], *, published: Sequence[str] = PUBLISHED) -> list[Table]:
    """The tables, for either writer.

    Args:
        evaluations: each of one system on one data set. The first system is the one that others are tested
            against (if that is BM25, further models against the first, too): paired randomisation tests over
            queries, with Holm's correction over all the tests of a measure that stand together.
        published: the systems of the paper whose figures are shown, where it has any.

    Raises:
        InputError: one system has two evaluations of one data set.
    """
    return [table for group in groups(evaluations) for table in group_tables(group, published)]


def groups(evaluations: Iterable[Evaluation]) -> list[Group]:
    evaluations = list(evaluations)
    splits = {(each.dataset, each.split) for each in evaluations}
    names = [dataset for dataset, _ in splits]
    datasets: dict[str, By] = {}
    for each in evaluations:
        label = f"{each.dataset} ({each.split})" if names.count(each.dataset) > 1 else each.dataset
        systems = datasets.setdefault(label, {})
        if each.name in systems:
            raise InputError(
                f"there are two evaluations of {each.name} on {label or 'one data set'}; expected one of "
                "each system, and different names for different ones"
            )
        systems[each.name] = each
    groups: dict[tuple[str, ...], dict[str, By]] = {}
    for label, systems in datasets.items():
        measures = tuple(dict.fromkeys(measure for each in systems.values() for measure in each.metrics))
        groups.setdefault(measures, {})[label] = systems
    return [Group(measures, found) for measures, found in groups.items()]


def group_tables(group: Group, published: Sequence[str]) -> list[Table]:
    if len(group.datasets) == 1:
        return [_one_dataset(group, published)]
    return [_several_datasets(group, measure, published) for measure in group.measures]


def _one_dataset(group: Group, published: Sequence[str]) -> Table:
    (label, by), *_ = group.datasets.items()
    cells = {measure: _cells(group, measure, with_intervals=True) for measure in group.measures}
    figures = {measure: _published(by, measure) for measure in group.measures}
    theirs = [name for name in published if any(name in column for column in figures.values())]
    rows = [Row(name, [cells[measure][label, name] for measure in group.measures]) for name in by]
    rows += [
        Row(name, [_cell(figures[measure].get(name)) for measure in group.measures], is_published=True)
        for name in theirs
    ]
    queries = _queries(by)
    return Table(
        title=f"{label or 'Results'}{f', {queries}' if queries else ''}",
        corner="System",
        columns=[Column(measure) for measure in group.measures],
        rows=rows,
        notes=_notes(group, cells, has_published=bool(theirs)),
    )


def _several_datasets(group: Group, measure: str, published: Sequence[str]) -> Table:
    cells = _cells(group, measure, with_intervals=False)
    figures = {label: _published(by, measure) for label, by in group.datasets.items()}
    theirs = [name for name in published if any(name in found for found in figures.values())]
    rows = [
        Row(
            label,
            [
                *(cells[label, name] for name in group.systems),
                *(_cell(figures[label].get(name)) for name in theirs),
            ],
            about=_queries(by),
        )
        for label, by in group.datasets.items()
    ]
    averages = _marked(
        {
            name: average(
                [by[name].metrics.get(measure) if name in by else None for by in group.datasets.values()]
            )
            for name in group.systems
        }
    )
    printed = paper.AVERAGES if measure == "nDCG@10" and _benchmarks(group) == set(paper.BEIR) else {}
    theirs_averages = [
        printed.get(name, average([found.get(name) for found in figures.values()])) for name in theirs
    ]
    rows.append(Row("Average", [*averages.values(), *map(_cell, theirs_averages)], is_average=True))
    return Table(
        title=measure,
        corner="Data set",
        columns=[*map(Column, group.systems), *(Column(name, is_published=True) for name in theirs)],
        rows=rows,
        notes=_notes(group, {measure: cells}, has_published=bool(theirs)),
    )


def _cells(group: Group, measure: str, *, with_intervals: bool) -> dict[tuple[str, str], Cell]:
    """(data set, system) -> what is printed."""
    differing = _significant(group, measure)
    cells = {}
    for label, by in group.datasets.items():
        means = {name: by[name].metrics.get(measure) if name in by else None for name in group.systems}
        for name, cell in _marked(means).items():
            interval = interval_of(by[name], measure) if with_intervals and name in by else None
            cells[label, name] = replace(
                cell,
                about=f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "",
                is_significant=(label, name) in differing,
            )
    return cells


def _significant(group: Group, measure: str) -> set[tuple[str, str]]:
    """The (data set, system) that differ from the first system there."""
    p_values = holm(
        {
            (label, name, against): paired_randomization_test(
                by[name].per_query[measure], by[against].per_query[measure]
            )
            for against, label, name, by in tests_of(group, measure)
        }
    )
    first = group.systems[0]
    return {
        (label, name)
        for (label, name, against), p_value in p_values.items()
        if against == first and p_value < LEVEL
    }


def difference_table(group: Group, measure: str) -> Table:
    """How systems differ, data set by data set: the tests behind the daggers, and those of models."""
    pairs = {
        (label, name, against): (name, against, by[name].per_query[measure], by[against].per_query[measure])
        for against, label, name, by in tests_of(group, measure)
    }
    several_sets, several_compared = len(group.datasets) > 1, len(group.compared) > 1
    rows = []
    for (label, _, against), difference in differences_of(measure, pairs, alpha=LEVEL).items():
        about = [f"against {against}"] if several_compared else []
        rows.append((" ".join([*about, f"on {label}"] if several_sets else about), difference))
    corner = measure if several_compared else f"{measure}, against {group.systems[0]}"
    return table_of_differences(rows, corner=corner)


def table_of_differences(rows: Sequence[tuple[str, Difference]], *, corner: str) -> Table:
    """Differences that were tested together, each under the name of its run and with a remark."""
    return Table(
        title="",
        corner=corner,
        columns=[Column(name) for name in ("difference", "p", "p, Holm", "d", "better / same / worse")],
        rows=[
            Row(
                each.run,
                [
                    Cell(
                        f"{each.difference:+.3f}",
                        about=f"{each.interval[0]:+.3f} to {each.interval[1]:+.3f}",
                        is_significant=each.p_holm < LEVEL,
                    ),
                    Cell(_p(each.p_value)),
                    Cell(_p(each.p_holm)),
                    Cell(f"{each.effect_size:+.2f}"),
                    Cell(f"{each.wins:,}\u00a0/\u00a0{each.ties:,}\u00a0/\u00a0{each.losses:,}"),
                ],
                about=about,
            )
            for about, each in rows
        ],
        notes=[
            "Differences with 95% bootstrap intervals over queries; p: paired randomisation test, two-sided; "
            f"Holm: corrected for all {len(rows)} rows ({SIGNIFICANT}: below {LEVEL}); d: the mean "
            "difference by the standard deviation of the differences (Cohen's d_z)."
        ],
    )


def _p(value: float) -> str:
    """A p-value with the digits that ten thousand rounds can tell.

    >>> _p(0.00009999), _p(0.0312)
    ('0.0001', '0.0312')
    """
    return f"{max(value, 0.0001):.4f}"


def tests_of(group: Group, measure: str) -> Iterator[tuple[str, str, str, By]]:
    """(system, data set, one compared with it, evaluations there), where both have values query by query.

    They are one family: corrected together, wherever they are shown.
    """
    for label, by in group.datasets.items():
        valued = {name for name, each in by.items() if each.per_query.get(measure)}
        for against, others in group.compared.items():
            if against in valued:
                yield from ((against, label, name, by) for name in others if name in valued)


def _marked(means: Mapping[str, float | None]) -> dict[str, Cell]:
    """Cells by system, the best marked as far as it is printed, if there is more than one to choose from."""
    cells = {name: _cell(mean) for name, mean in means.items()}
    printed = [float(cells[name].text) for name, mean in means.items() if mean is not None]
    if len(printed) < 2:
        return cells
    best = f"{max(printed):.3f}"
    return {name: replace(cell, is_best=cell.text == best) for name, cell in cells.items()}


def _cell(mean: float | None) -> Cell:
    return Cell("-" if mean is None else f"{mean:.3f}")


def average(means: Sequence[float | None]) -> float | None:
    """The mean over data sets, if there is a figure for each."""
    known = [mean for mean in means if mean is not None]
    return sum(known) / len(known) if len(known) == len(means) else None


def _published(by: By, measure: str) -> dict[str, float]:
    return paper.published(next(iter(by.values())).benchmark, measure)


def _benchmarks(group: Group) -> set[str | None]:
    return {next(iter(by.values())).benchmark for by in group.datasets.values()}


def interval_of(evaluation: Evaluation, measure: str) -> tuple[float, float] | None:
    known = measure in evaluation.intervals or evaluation.per_query.get(measure)
    return evaluation.interval(measure) if known else None


def _queries(by: By) -> str:
    number = max((len(values) for each in by.values() for values in each.per_query.values()), default=0)
    return f"{number:,} queries" if number else ""


def _notes(
    group: Group, cells: Mapping[str, Mapping[tuple[str, str], Cell]], *, has_published: bool
) -> list[str]:
    """What the reader must know of the marks that are in the table."""
    printed = [cell for of_measure in cells.values() for cell in of_measure.values()]
    notes = []
    if any(cell.is_best for cell in printed):
        notes.append("Bold: the best that was measured.")
    if any(cell.about for cell in printed):
        notes.append("With 95% bootstrap intervals.")
    num_tests = max(len(list(tests_of(group, measure))) for measure in cells)
    if num_tests:
        models = ", those between models included" if len(group.compared) > 1 else ""
        how = (
            f"{group.systems[0]} (p < {LEVEL}, paired randomisation test, Holm's correction over {num_tests} "
            f"test{'s' if num_tests > 1 else ''}{' of each measure' if len(cells) > 1 else ''}{models})."
        )
        is_any = any(cell.is_significant for cell in printed)
        notes.append(f"{SIGNIFICANT}: differs from {how}" if is_any else f"None differs from {how}")
    if has_published:
        notes.append(f"Published: as printed in {paper.SOURCE}, not measured here.")
    return notes
