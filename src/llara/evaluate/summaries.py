"""What an evaluation writes beside its rows and the page about it: the numbers as data and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llara.evaluate.results import FORMAT, Evaluation

__all__ = ["summaries"]


def summaries(evaluations: Sequence[Evaluation], settings: dict[str, Any]) -> dict[str, str]:
    """File name -> text."""
    from llara.evaluate import tables

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
    content = {"format": FORMAT, "settings": settings, "results": rows}
    return {
        "metrics.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "table.md": tables.markdown(evaluations),
    }
