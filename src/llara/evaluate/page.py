"""The page about an evaluation: ``report.html`` beside its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llara.datasets import StreamedCollection
from llara.evaluate.changes import Pair, change_blocks, change_histogram
from llara.evaluate.results import Evaluation
from llara.evaluate.tables import (
    PUBLISHED,
    Group,
    average,
    difference_table,
    group_tables,
    groups,
    interval_of,
    tests_of,
)
from llara.report import Block, Charts, Commands, Details, Facts, Interval, Intervals, Report, Section, Text
from llara.report.machine import machine, now, versions
from llara.report.runs import made_with

__all__ = ["intervals", "page"]

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "bm25s", "ir-measures", "numpy")
_MOST_HISTOGRAMS = 24


def page(
    evaluations: Sequence[Evaluation],
    *,
    collections: Mapping[str, StreamedCollection] | None = None,
    settings: Mapping[str, Any] | None = None,
    title: str = "Evaluation",
    finding: str = "",
    lead: Sequence[Section] = (),
    notes: Sequence[str] = (),
    published: Sequence[str] = PUBLISHED,
) -> Report:
    """The tables, every first measure as a chart, how systems differ, and examples.

    Args:
        evaluations: each of one system on one data set.
        collections: data set -> its texts, of which examples are shown.
        settings: what was asked of the evaluation as a whole.
        lead: sections that stand before all others.

    Raises:
        InputError: one system has two evaluations of one data set.
    """
    found = groups(evaluations)
    compared = [group for group in found if next(tests_of(group, group.measures[0]), None)]
    texts = collections or {}
    return Report(
        title=title,
        finding=finding or _finding(found),
        sections=[
            *lead,
            Section(
                "How well each finds", [table for group in found for table in group_tables(group, published)]
            ),
            Section("The same as a picture", [Charts([intervals(group)]) for group in found]),
            Section(
                "What differs, and how surely", [block for group in compared for block in _differences(group)]
            ),
            Section(
                "Queries that got better and worse",
                [
                    block
                    for group in compared
                    for block in change_blocks(_pairs(group, texts), group.measures[0])
                ],
            ),
            Section("Where the numbers come from", [Text(notes), *_settings(evaluations, texts, settings)]),
            *made_with({"Written": now(), "Machine": machine()}, versions(*_LIBRARIES)),
        ],
    )


def intervals(group: Group, *, ours: Sequence[str] = ()) -> Intervals:
    """Means and intervals of the first measure, for a chart."""
    measure = group.measures[0]
    values = {
        label: {
            name: Interval(
                each.metrics[measure], *(interval_of(each, measure) or (each.metrics[measure],) * 2)
            )
            for name, each in by.items()
            if measure in each.metrics
        }
        for label, by in group.datasets.items()
    }
    return Intervals(measure, values, ours=ours)


def _pairs(group: Group, collections: Mapping[str, StreamedCollection]) -> list[Pair]:
    """The systems that are compared, data set by data set."""
    return [
        Pair(by[against], by[name], collections.get(by[name].dataset))
        for against, _, name, by in tests_of(group, group.measures[0])
    ]


def _differences(group: Group) -> list[Block]:
    """By the first measure: a table, and histograms of what lies behind its means."""
    measure = group.measures[0]
    charts = []
    for against, label, name, by in tests_of(group, measure):
        title = f"{name}{f' on {label}' if len(group.datasets) > 1 else ''}"
        charts.append(change_histogram(Pair(by[against], by[name]), measure, title))
    drawn = [chart for chart in charts if chart is not None]
    said = "How many queries moved, and how far; those that stayed are left out."
    histograms: list[Block] = [Charts(drawn[:_MOST_HISTOGRAMS]), Text([said], is_faint=True)] if drawn else []
    return [difference_table(group, measure), *histograms]


def _settings(
    evaluations: Sequence[Evaluation],
    collections: Mapping[str, StreamedCollection],
    settings: Mapping[str, Any] | None,
) -> list[Block]:
    """What was asked about, what the numbers of each system depend on, and all that was asked for."""
    data = {
        f"Data set {each.name}": ", ".join(
            filter(
                None,
                [
                    f"split {each.split}" if each.split else "",
                    f"{len(each.queries):,} queries",
                    f"{each.num_documents:,} documents" if each.num_documents else "",
                    f"{sum(grade > 0 for of in each.qrels.values() for grade in of.values()):,} relevant",
                ],
            )
        )
        for each in collections.values()
    }
    blocks: list[Block] = [Facts({**data, **_facts(evaluations)})]
    if settings:
        text = json.dumps(settings, indent=1, ensure_ascii=False)
        blocks.append(Details("All settings", [Commands([text])]))
    return blocks


def _facts(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """System -> what its numbers depend on."""
    settings: dict[str, dict[str, list[Any]]] = {}
    for each in evaluations:
        of_system = settings.setdefault(each.name, {})
        for key, value in each.settings.items():
            if value is not None and value not in of_system.setdefault(key, []):
                of_system[key].append(value)
    return {
        name: "; ".join(f"{key} {' or '.join(map(json.dumps, values))}" for key, values in of_system.items())
        for name, of_system in settings.items()
    }


def _finding(groups: Sequence[Group]) -> str:
    """The best system by the first measure, in a sentence."""
    if not groups:
        return "Nothing was evaluated."
    group = groups[0]
    measure = group.measures[0]
    means = {
        name: average(
            [by[name].metrics.get(measure) if name in by else None for by in group.datasets.values()]
        )
        for name in group.systems
    }
    known = {name: mean for name, mean in means.items() if mean is not None}
    if not known:
        return f"No system was evaluated on all of {len(group.datasets)} data sets."
    printed = f"{max(known.values()):.3f}"
    best = [name for name, mean in known.items() if f"{mean:.3f}" == printed]
    labels = list(group.datasets)
    where = f"on {labels[0]}" if len(labels) == 1 else f"on average over {len(labels)} data sets"
    among = f", the best of {len(known)} systems" if len(known) > len(best) else ""
    reach = "reaches" if len(best) == 1 else "reach"
    return f"{' and '.join(best)} {reach} {measure} {printed} {where}{among}."
