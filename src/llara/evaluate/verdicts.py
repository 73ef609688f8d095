"""What improved from the first model to the others, over tasks made of a corpus: do all of them say so?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llara import report
from llara.evaluate.comparison import Difference, differences_of
from llara.evaluate.results import Evaluation
from llara.evaluate.tables import LEVEL, table_of_differences
from llara.evaluate.unlabelled import CAUTION
from llara.evaluate.words import BM25
from llara.report import Section, Table, Text

__all__ = ["Verdict", "as_data", "finding", "markdown", "sections", "verdicts"]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Verdict:
    """How a model differs from the first one, task by task."""

    run: str
    against: str
    by_task: dict[str, Difference]

    @property
    def sign(self) -> int:
        """1 if it is better in all tasks, -1 if worse in all, 0 if they do not agree."""
        found = {_sign(each.difference) for each in self.by_task.values()}
        return found.pop() if len(found) == 1 else 0

    @property
    def sentence(self) -> str:
        """The verdict and what it rests on; p-values are corrected for all verdicts."""
        number = len(self.by_task)
        where = {1: "in the one task", 2: "in both tasks"}.get(number, f"in all {number} tasks")
        said = {
            1: f"{self.run} is better than {self.against} {where}",
            -1: f"{self.run} is worse than {self.against} {where}",
            0: f"The tasks do not agree on {self.run} against {self.against}",
        }[self.sign]
        surely = sum(each.p_holm < LEVEL for each in self.by_task.values())
        measure = next(iter(self.by_task.values())).measure
        parts = [f"{task} {one.difference:+.3f}, p {one.p_holm:.4f}" for task, one in self.by_task.items()]
        return f"{said}, significantly in {surely} of {number} ({measure}, p corrected: {'; '.join(parts)})."


def verdicts(evaluations: Sequence[Evaluation]) -> list[Verdict]:
    """Of each model against the first by the first measure; BM25, which the tasks favour, is left out."""
    models = [each for each in evaluations if each.name != BM25 and "hybrid" not in each.settings]
    first, *others = dict.fromkeys(each.name for each in models) or [""]
    values = {(each.name, each.dataset): each.per_query for each in models}
    tasks = list(dict.fromkeys(each.dataset for each in models))
    measure = next(iter(models[0].metrics)) if models else ""
    found = differences_of(
        measure,
        {
            (name, task): (name, first, values[name, task][measure], values[first, task][measure])
            for name in others
            for task in tasks
        },
        alpha=LEVEL,
    )
    return [Verdict(name, first, {task: found[name, task] for task in tasks}) for name in others]


def finding(found: Sequence[Verdict]) -> str:
    """All verdicts in a sentence each; empty if there are no two models."""
    return " ".join(each.sentence for each in found)


def sections(found: Sequence[Verdict]) -> list[Section]:
    """What a page says of them before all else, with the caution."""
    compared = [Section("What improved", [_table(found)])] if found else []
    return [*compared, Section("What these tasks can tell", [Text([CAUTION])])]


def markdown(found: Sequence[Verdict]) -> str:
    """The same for a file."""
    table = [report.table_markdown(_table(found)), f"{finding(found)}\n"] if found else []
    return "\n".join([*table, f"{CAUTION}\n"])


def as_data(found: Sequence[Verdict]) -> dict[str, Any]:
    """The same as JSON has it."""
    return {"finding": finding(found), "notes": [CAUTION], "verdicts": list(map(_plain, found))}


def _table(found: Sequence[Verdict]) -> Table:
    rows = [(f"on {task}", one) for verdict in found for task, one in verdict.by_task.items()]
    measure, against = rows[0][1].measure, found[0].against
    table = table_of_differences(rows, corner=f"{measure}, against {against}")
    named = [replace(row, name=f"{row.name} {row.about}", about="") for row in table.rows]
    return replace(table, title="Task by task", rows=named)


def _plain(verdict: Verdict) -> dict[str, Any]:
    """As JSON has it; an infinite effect size is null."""
    tasks = {task: asdict(each) for task, each in verdict.by_task.items()}
    for each in tasks.values():
        if math.isinf(each["effect_size"]):
            each["effect_size"] = None
    return {"run": verdict.run, "against": verdict.against, "sign": verdict.sign, "tasks": tasks}


def _sign(difference: float) -> int:
    return 0 if abs(difference) < _ROUNDING else int(math.copysign(1, difference))
