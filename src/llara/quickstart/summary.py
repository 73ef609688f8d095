"""What a quickstart found, told three ways: JSON for programs, a table for a terminal, a page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara import report
from llara.report.runs import loss_charts

if TYPE_CHECKING:
    from llara.datasets import Collection
    from llara.evaluate import Comparison, Evaluation
    from llara.search import Hit

__all__ = [
    "ADAPTED",
    "BASE",
    "BM25",
    "FINETUNED",
    "MEASURES",
    "MINI",
    "Results",
    "page",
    "readable",
    "to_json",
]

MEASURES = ("nDCG@10", "RR@10", "R@100")
BASE, BM25, MINI = "base, un-adapted", "BM25", "llara-mini"
ADAPTED, FINETUNED = "llara-mini, adapted here", "llara-mini, fine-tuned here"
ROWS = {  # in the order of the table: what it is, and its model directory
    BASE: ("a small language model as it is", "base"),
    BM25: ("words in common, weighed by rarity", None),
    MINI: ("the same model, adapted on Wikipedia", "mini"),
    ADAPTED: ("further adapted on these passages", "adapted"),
    FINETUNED: ("and that one fine-tuned, with labels", "finetuned"),
}
PAIRS = ((ADAPTED, BASE), (FINETUNED, ADAPTED), (FINETUNED, BM25), (MINI, BASE), (ADAPTED, MINI))
CHANGES = ((ADAPTED, BASE), (FINETUNED, ADAPTED))  # of which the page shows queries
SNIPPET_CHARACTERS = 220
SIGNIFICANT = 0.01


@dataclass
class Results:
    """The outcome so far: evaluations by row, training logs, answers by row, seconds by step.

    ``recipes`` are all settings by what was done with them, as TOML.
    """

    facts: dict[str, str]
    test: Collection
    recipes: dict[str, str] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    losses: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    questions: Sequence[str] = ()
    answers: dict[str, list[list[Hit]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def comparisons(self) -> Iterator[tuple[str, str, Comparison]]:
        """Each pair of rows worth comparing, by the first measure."""
        for first, second in PAIRS:
            yield first, second, self.compare(first, second)

    def compare(self, first: str, second: str) -> Comparison:
        """Two rows by the first measure."""
        from llara.evaluate import compare

        return compare(self.evaluations[first], self.evaluations[second], MEASURES[0])

    def commands(self, out: Path) -> list[str]:
        """What to type next."""
        where = shlex.quote(str(out))
        return [
            f"llara serve --index {where}/index/finetuned",
            f'llara search --index {where}/index/finetuned "read a file line by line"',
            f"llara evaluate --model {where}/finetuned --dataset {where}/collection --out runs/finetuned",
            f"open {where}/report.html in a browser",
        ]


def to_json(results: Results) -> dict[str, Any]:
    """Everything as plain data."""
    systems = [
        {
            "name": name,
            "model": ROWS[name][1],
            "metrics": results.evaluations[name].metrics,
            "intervals": {m: list(results.evaluations[name].interval(m)) for m in MEASURES},
            "settings": results.evaluations[name].settings,
        }
        for name in ROWS
    ]
    comparisons = [
        {
            "first": first,
            "second": second,
            "measure": c.measure,
            "difference": c.difference,
            "p_value": c.p_value,
        }
        for first, second, c in results.comparisons()
    ]
    answers = [
        {
            "question": question,
            "answers": {
                name: [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits[number]]
                for name, hits in results.answers.items()
            },
        }
        for number, question in enumerate(results.questions)
    ]
    return {
        "facts": results.facts,
        "num_test_queries": len(results.test.queries),
        "systems": systems,
        "comparisons": comparisons,
        "losses": results.losses,
        "questions": answers,
        "seconds": results.seconds,
    }


def readable(results: Results) -> str:
    """The table, the comparisons and the answers of the last model, for a terminal."""
    width = max(map(len, ROWS))
    lines = ["", f"{'':{width}}" + "".join(f"  {measure:>8}" for measure in MEASURES) + "   95% interval"]
    for name in ROWS:
        evaluation = results.evaluations[name]
        low, high = evaluation.interval(MEASURES[0])
        values = "".join(f"  {evaluation.metrics[measure]:8.3f}" for measure in MEASURES)
        lines.append(f"{name:{width}}{values}   {low:.3f} to {high:.3f}")
    lines += ["", *_sentences(results), ""]
    for question, hits in zip(results.questions, results.answers[FINETUNED], strict=True):
        lines.append(f"? {question}")
        for hit in hits:
            lines += [f"  {hit.rank}. {hit.id}  ({hit.score:.2f})", f"     {_snippet(hit.text, 100)}"]
        lines.append("")
    return "\n".join(lines)


def page(results: Results, out: Path) -> report.Report:
    """The page of the report."""
    from llara.evaluate.changes import Pair, change_blocks, change_histogram
    from llara.evaluate.comparison import differences_of
    from llara.evaluate.page import intervals
    from llara.evaluate.tables import group_tables, groups, table_of_differences

    first, collection = MEASURES[0], results.test.streamed("test")
    rows = {name: replace(results.evaluations[name], name=name, dataset="", split=None) for name in ROWS}
    (group,) = groups(list(rows.values()))
    (table,) = group_tables(group, ())
    ours = (ADAPTED, FINETUNED)
    marked = [replace(row, about=ROWS[row.name][0], is_ours=row.name in ours) for row in table.rows]
    differences = differences_of(
        first,
        {
            (after, before): (after, before, rows[after].per_query[first], rows[before].per_query[first])
            for after, before in PAIRS
        },
    )  # fmt: skip
    changed = [Pair(rows[before], rows[after], collection) for after, before in CHANGES]
    histograms = [change_histogram(pair, first, pair.after.name) for pair in changed]
    return report.Report(
        title="A language model learns to search",
        finding=_finding(results),
        sections=[
            report.Section("How well each finds", [replace(table, rows=marked)]),
            report.Section("The same as a picture", [report.Charts([intervals(group, ours=ours)])]),
            report.Section(
                "What differs, and how surely",
                [
                    table_of_differences(
                        [(f"against {each.against}", each) for each in differences.values()], corner=first
                    ),
                    report.Charts([chart for chart in histograms if chart]),
                ],
            ),
            report.Section("What training learned", loss_charts(results.losses)),
            report.Section("Test queries that got better and worse", change_blocks(changed, first)),
            report.Section("Asked and answered", _examples(results)),
            report.Section(
                "Where the numbers come from",
                [report.Text(NOTES), report.Facts(results.facts), *_recipes(results)],
            ),
            report.Section("What to type next", [report.Commands(results.commands(out)[:3])]),
        ],
    )


def _recipes(results: Results) -> list[report.Block]:
    return [
        report.Details(f"All settings of {what}, as a recipe", [report.Commands([recipe])])
        for what, recipe in results.recipes.items()
    ]


def _examples(results: Results) -> list[report.Example]:
    return [
        report.Example(
            question,
            {
                name: [report.Answer(hit.id, _snippet(hit.text), f"{hit.score:.2f}") for hit in hits[number]]
                for name, hits in results.answers.items()
            },
        )
        for number, question in enumerate(results.questions)
    ]


NOTES = (
    "The corpus is the documentation on this machine: Python's language reference, and the docstrings of the "
    "standard library and of the installed packages.",
    "Nobody judged anything. A docstring begins with a summary sentence; the summary is cut off and becomes "
    "a query, and what is left of that docstring is its one relevant passage. Names and summaries are not "
    "part of the searched text. Another passage may answer a query too and counts as wrong, for every "
    "system alike.",
    "No system saw a test query before it was asked: adaptation reads the passages, and summaries only of "
    "packages that have no test query. Fine-tuning reads those same summaries as queries, each with the "
    "passage it was cut from: that pair is a label, and only the last row has seen any.",
    "Intervals are 95% bootstrap intervals over queries; p-values are of a paired two-sided randomisation "
    "test.",
)


def _finding(results: Results) -> str:
    """What adaptation did, what fine-tuning did, and where word counting stands: as strong as tests allow."""
    reached = {name: evaluation.metrics[MEASURES[0]] for name, evaluation in results.evaluations.items()}
    adapted, tuned = results.compare(ADAPTED, BASE), results.compare(FINETUNED, ADAPTED)
    return (
        f"Without a single label, {MEASURES[0]} {_verb(adapted)} from {reached[BASE]:.3f} to "
        f"{reached[ADAPTED]:.3f} ({_p(adapted.p_value)}). Fine-tuned with labels, it {_verb(tuned)} "
        f"{'at' if not _is_significant(tuned) else 'to'} {reached[FINETUNED]:.3f} ({_p(tuned.p_value)}). "
        f"BM25, which counts words in common, reaches {reached[BM25]:.3f}."
    )


def _verb(found: Comparison) -> str:
    if not _is_significant(found):
        return "did not change measurably"
    return "rose" if found.difference > 0 else "fell"


def _is_significant(found: Comparison) -> bool:
    return found.p_value < SIGNIFICANT


def _sentences(results: Results) -> list[str]:
    return [
        f"{first} against {second}: {found.measure} {found.difference:+.3f}, {_p(found.p_value)}"
        for first, second, found in results.comparisons()
    ]


def _p(value: float) -> str:
    """A p-value with the digits that the test can tell.

    >>> _p(0.00009999), _p(0.0312)
    ('p = 0.0001', 'p = 0.0312')
    """
    return f"p = {max(value, 0.0001):.4f}"


def _snippet(text: str, characters: int = SNIPPET_CHARACTERS) -> str:
    return report.shortened(text, characters)
