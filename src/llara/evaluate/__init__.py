"""Evaluation: a run and judgements to measures (``measures``), a model to its run (``evaluation``)."""

from llara.evaluate.evaluation import Comparison, Evaluation, bm25_run, compare, dense_run, evaluate
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run

__all__ = [
    "DEFAULT_MEASURES",
    "Comparison",
    "Evaluation",
    "bm25_run",
    "compare",
    "dense_run",
    "depth_of",
    "evaluate",
    "evaluate_run",
]
