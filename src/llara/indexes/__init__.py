"""Indexes over document vectors: one protocol (``Index``), one directory layout, and the kinds of index.

Read in this order: ``base`` (the protocol), ``exact`` (the oracle), ``hnsw`` (faster, and may miss),
``directory`` (what lies on disk).
"""

from llara.indexes.base import Index
from llara.indexes.directory import IndexManifest, StoredIndex, build_index, open_index
from llara.indexes.exact import ExactIndex
from llara.indexes.hnsw import HnswIndex, HnswSettings

__all__ = [
    "ExactIndex",
    "HnswIndex",
    "HnswSettings",
    "Index",
    "IndexManifest",
    "StoredIndex",
    "build_index",
    "open_index",
]
