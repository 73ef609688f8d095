"""Indexes over document vectors: one protocol (``Index``), two backends (faiss, Milvus), and the kinds of
index.

Read in this order: ``base`` (the protocols), ``settings`` and ``source`` (what an index is made of),
``exact`` (the oracle) with ``blocks`` (the same on a GPU), ``candidates`` (what the faster kinds share),
``hnsw``, ``lists`` and ``ivf``, ``flat`` (few bits), ``filters`` and ``documents`` (the texts, and what
counts), ``words`` (what to search by besides vectors), ``kinds`` and ``stored`` (a directory of faiss),
``milvus``, ``directory`` (what users call).
"""

from llara.indexes.base import Change, Found, Index, IndexManifest, Kind, by_score
from llara.indexes.directory import add_to_index, build_index, delete_from_index, open_index
from llara.indexes.exact import ExactIndex
from llara.indexes.settings import (
    BinarySettings,
    ExactSettings,
    HnswSettings,
    IndexSettings,
    IvfFlatSettings,
    IvfPqSettings,
    IvfSq8Settings,
    Sq8Settings,
)
from llara.indexes.stored import StoredIndex
from llara.indexes.words import Words, best

__all__ = [
    "BinarySettings",
    "Change",
    "ExactIndex",
    "ExactSettings",
    "Found",
    "HnswSettings",
    "Index",
    "IndexManifest",
    "IndexSettings",
    "IvfFlatSettings",
    "IvfPqSettings",
    "IvfSq8Settings",
    "Kind",
    "Sq8Settings",
    "StoredIndex",
    "Words",
    "add_to_index",
    "best",
    "build_index",
    "by_score",
    "delete_from_index",
    "open_index",
]
