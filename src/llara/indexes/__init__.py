"""Indexes over document vectors: one protocol (``Index``), one directory layout, and the kinds of index.

Read in this order: ``base`` (the protocol), ``exact`` (the oracle), ``directory`` (what lies on disk).
"""

from llara.indexes.base import Index
from llara.indexes.directory import IndexManifest, StoredIndex, build_index, open_index
from llara.indexes.exact import ExactIndex

__all__ = ["ExactIndex", "Index", "IndexManifest", "StoredIndex", "build_index", "open_index"]
