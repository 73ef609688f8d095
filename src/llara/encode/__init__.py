"""Texts to vectors: in memory (``encode_texts``), and from files to a directory of shards (``encode_file``).

Reading order: ``texts`` (texts -> unit vectors by a loaded model), ``work`` (a run's directory), ``ids``
(repeated ids), ``reading`` (the input -> shards of texts), ``shards`` (a shard of texts -> a shard of
vectors), ``repair``, ``progress``, ``run`` (all of it, as an object), ``function`` (as a function),
``verify``.

A directory of vectors (``llara.vectors``) is complete or absent. While a run makes it, everything stands in
``OUT.partial``; a finished shard is never encoded again.
"""

from llara.encode.function import encode_file
from llara.encode.reading import Input
from llara.encode.run import EncodeRun
from llara.encode.texts import document_text, encode_texts, longest_input
from llara.encode.verify import verify
from llara.vectors import Role, Shard, VectorsManifest

__all__ = [
    "EncodeRun",
    "Input",
    "Role",
    "Shard",
    "VectorsManifest",
    "document_text",
    "encode_file",
    "encode_texts",
    "longest_input",
    "verify",
]
