"""Plain text for adaptation and search: documents from files, and the segments they are cut into.

Reading order: ``documents`` (what a document is), ``readers`` (one file of each format), ``sources``
(files, folders and Hugging Face names -> one stream of documents), ``segments`` (documents ->
segments of bounded length, each with its successor). Everything is streamed.
"""

from llara.corpus.documents import Document, Fields, Skipped
from llara.corpus.segments import CountTokens, Segment, iter_segments, split_segments
from llara.corpus.sources import files_of, read_documents

__all__ = [
    "CountTokens",
    "Document",
    "Fields",
    "Segment",
    "Skipped",
    "files_of",
    "iter_segments",
    "read_documents",
    "split_segments",
]
