"""Evaluation: what is asked (``systems``), what came back (``results``), how good it is (``measures``).

Reading order: ``measures``, ``reading`` and ``ranking`` (what a system reads, and its best documents),
``words`` and ``systems``, ``fusion``, ``similarity``, ``unlabelled``, ``tasks`` (what they are asked about),
``results``, ``comparison`` (runs from anywhere, tested), ``tables``, ``verdicts``, ``summaries``, ``changes``
and ``page`` (what is written about it), ``evaluation`` (all systems on all data sets).
"""

from llara.evaluate.evaluation import Asked, evaluate, measure
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run
from llara.evaluate.reading import Reading
from llara.evaluate.results import Comparison, Evaluation, compare
from llara.evaluate.systems import DenseSystem, RunSystem, System, open_system
from llara.evaluate.words import Bm25System, LexicalSystem

__all__ = [
    "DEFAULT_MEASURES",
    "Asked",
    "Bm25System",
    "Comparison",
    "DenseSystem",
    "Evaluation",
    "LexicalSystem",
    "Reading",
    "RunSystem",
    "System",
    "compare",
    "depth_of",
    "evaluate",
    "evaluate_run",
    "measure",
    "open_system",
]
