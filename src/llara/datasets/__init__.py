"""Data sets: collections that are searched and judged, and examples that are trained on.

Reading order: ``collections`` (a corpus, queries and judgements, in BEIR's layout), ``examples`` (what a
training example is, and what is left out), ``jsonl_layouts``, ``msmarco`` and ``hub`` (the layouts that
examples come in), ``training`` (any source -> a stream of examples, and back to a file).
"""

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
    "TrainingExample",
    "check_training_file",
    "read_beir",
    "read_qrels",
    "read_queries",
    "read_training",
    "write_beir",
    "write_training",
]
