"""Data sets: collections that are searched and judged, and examples that are trained on.

Reading order: ``checks`` (what must hold between a corpus, queries and judgements), ``collections`` (the
three together, in BEIR's layout), ``examples`` (what a training example is, and what is left out),
``jsonl_layouts``, ``msmarco`` and ``hub`` (the layouts that examples come in), ``named`` (collections of
ir_datasets and of the Hub), ``training`` (any source -> a stream of examples, and back to a file),
``benchmarks`` (any collection by name, streamed for evaluation; suites of them).
"""

from llara.datasets.benchmarks import is_suite, official_measures, open_collection, suite
from llara.datasets.collections import (
    Collection,
    Qrels,
    StreamedCollection,
    read_beir,
    read_qrels,
    read_queries,
    write_beir,
)
from llara.datasets.examples import DataReport, TrainingExample
from llara.datasets.training import check_training_file, read_training, write_training

__all__ = [
    "Collection",
    "DataReport",
    "Qrels",
    "StreamedCollection",
    "TrainingExample",
    "check_training_file",
    "is_suite",
    "official_measures",
    "open_collection",
    "read_beir",
    "read_qrels",
    "read_queries",
    "read_training",
    "suite",
    "write_beir",
    "write_training",
]
