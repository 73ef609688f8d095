"""Documents and their vectors as rows of a Milvus collection, and back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

from llara.corpus import Document
from llara.errors import InputError
from llara.indexes.base import Found
from llara.indexes.source import VectorSource

__all__ = ["MOST_BYTES", "found_of", "rows_of"]

MOST_BYTES = 65_535  # of a text in Milvus
_BATCH_BYTES = 8 * 2**20  # of vectors in one request; a server takes 64 MiB in all


def rows_of(source: VectorSource) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows as the client takes them."""
    num_cut = 0
    for vectors, table in source.batches(max(1, _BATCH_BYTES // (4 * source.dimension))):
        batch = []
        for vector, record in zip(vectors, table.to_pylist(), strict=True):
            texts = {name: _shortened(record[name] or "") for name in ("id", "title", "text")}
            num_cut += sum(cut != (record[name] or "") for name, cut in texts.items())
            if texts["id"] != record["id"]:
                raise InputError(
                    f"the id {record['id'][:40]}... has over {MOST_BYTES:,} bytes, more than Milvus takes"
                )
            metadata = record["metadata"]
            batch.append({**texts, "metadata": json.loads(metadata) if metadata else None, "vector": vector})
        yield batch
    if num_cut:
        warnings.warn(
            f"{num_cut} texts have over {MOST_BYTES:,} bytes, which is all that Milvus keeps, and were "
            "cut there; "
            "their vectors are those of the whole texts",
            stacklevel=2,
        )


def _shortened(text: str) -> str:
    data = text.encode("utf-8")
    return text if len(data) <= MOST_BYTES else data[:MOST_BYTES].decode("utf-8", errors="ignore")


def found_of(hit: Any) -> Found:
    """A hit of a search as a document with its score."""
    entity = hit["entity"]
    metadata = entity.get("metadata")
    metadata = json.loads(metadata) if isinstance(metadata, str | bytes) else metadata
    document = Document(id=hit["id"], title=entity["title"], text=entity["text"], metadata=metadata)
    return Found(document, float(hit["distance"]))
