"""What an evaluation writes beside its rows and the page about it: the numbers as data and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llara.evaluate.results import FORMAT, Evaluation

if TYPE_CHECKING:
    from llara.evaluate.verdicts import Verdict

__all__ = ["summaries"]


def summaries(
    evaluations: Sequence[Evaluation],
    settings: dict[str, Any],
    verdicts: Sequence[Verdict] | None = None,
) -> dict[str, str]:
    """File name -> text; ``verdicts`` are those over tasks made of a corpus."""
    from llara.evaluate import tables
    from llara.evaluate.verdicts import as_data, markdown

    rows = [
        {
            "system": evaluation.name,
            "dataset": evaluation.dataset,
            "split": evaluation.split,
            "benchmark": evaluation.benchmark,
            "queries": len(next(iter(evaluation.per_query.values()), {})),
            "metrics": evaluation.metrics,
            "intervals": {measure: evaluation.interval(measure) for measure in evaluation.metrics},
            "settings": evaluation.settings,
        }
        for evaluation in evaluations
    ]
    said = {} if verdicts is None else as_data(verdicts)
    content = {"format": FORMAT, **said, "settings": settings, "results": rows}
    lead = [] if verdicts is None else [markdown(verdicts)]
    return {
        "metrics.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "table.md": "\n".join([*lead, tables.markdown(evaluations)]),
    }
