"""Documents and their vectors as rows of a Milvus collection, and back, in requests that a server takes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from llara.corpus import Document
from llara.errors import InputError
from llara.indexes.base import Found
from llara.indexes.filters import milvus_text
from llara.indexes.source import VectorSource

__all__ = ["MOST_BYTES", "MOST_ROWS", "check_rows", "found_of", "id_batches", "ids_expression", "row_batches"]

MOST_BYTES = 65_535  # of a text in Milvus
MOST_ROWS = 16_384  # that a server looks up, or finds, for one request
_METADATA_BYTES = 65_536  # of a document's metadata, as compact JSON
_BATCH_BYTES = 16 * 2**20  # of one request, all told; a server refuses one of more than 64 MiB
T = TypeVar("T")


def check_rows(source: VectorSource) -> None:
    """Read all ids and metadata, to refuse what Milvus would before anything is written.

    Raises:
        InputError: an id or a document's metadata is too long.
    """
    import pyarrow.compute as pc

    for table in source.texts():
        lengths = [pc.fill_null(pc.binary_length(table[name]), 0) for name in ("id", "metadata")]
        long_id, long_metadata = (pc.greater(length, MOST_BYTES) for length in lengths)
        for record in table.filter(pc.or_(long_id, long_metadata)).to_pylist():
            id_, metadata = record["id"], record["metadata"]
            if len(id_.encode()) > MOST_BYTES:
                raise InputError(
                    f"the id {id_[:40]}... has over {MOST_BYTES:,} bytes, more than Milvus takes; shorten it"
                )
            num_bytes = _compact_bytes(metadata)
            if num_bytes > _METADATA_BYTES:
                raise InputError(
                    f"the metadata of the document {id_!r} have {num_bytes:,} bytes, and Milvus takes "
                    f"{_METADATA_BYTES:,}; encode again without its longest fields, or with --no-metadata"
                )


def _compact_bytes(metadata: str) -> int:
    """How long JSON is as the client sends it, without spaces between its parts."""
    text = json.dumps(json.loads(metadata), ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="surrogatepass"))


def row_batches(source: VectorSource) -> Iterator[list[dict[str, Any]]]:
    """All documents as the client takes them, up to 16 MiB and 16,384 rows at a time.

    A text of more than 65,535 bytes is cut, between two characters; one warning counts them.
    """
    num_cut = 0

    def rows() -> Iterator[tuple[dict[str, Any], int]]:
        nonlocal num_cut
        most = max(1, _BATCH_BYTES // (4 * source.dimension))
        for vectors, table in source.batches(min(most, MOST_ROWS)):
            for vector, record in zip(vectors, table.to_pylist(), strict=True):
                metadata = record["metadata"]
                row: dict[str, Any] = {"metadata": json.loads(metadata) if metadata else None}
                row["vector"], num_bytes = vector, vector.nbytes + len((metadata or "").encode())
                for name in ("id", "title", "text"):
                    row[name], length, cut = _fitted(record[name] or "")
                    num_bytes += length
                    num_cut += cut
                yield row, num_bytes

    yield from _batches(rows())
    if num_cut:
        warnings.warn(
            f"{num_cut} texts have over {MOST_BYTES:,} bytes, which is all that Milvus keeps, and were "
            "cut there; "
            "their vectors are those of the whole texts",
            stacklevel=2,
        )


def id_batches(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, as many at a time as a server looks up."""
    return _batches((id_, len(milvus_text(id_).encode())) for id_ in ids)


def ids_expression(ids: Iterable[str]) -> str:
    """What is true of the documents with these ids.

    >>> ids_expression(["a", "b"])
    'id in ["a","b"]'
    """
    return f"id in [{','.join(map(milvus_text, ids))}]"


def _batches(sized: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Items in order, each given with its bytes, in batches that a server takes."""
    batch: list[T] = []
    batch_bytes = 0
    for item, num_bytes in sized:
        if batch and (len(batch) == MOST_ROWS or batch_bytes + num_bytes > _BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += num_bytes
    if batch:
        yield batch


def _fitted(text: str) -> tuple[str, int, bool]:
    """As much of a text as Milvus keeps, its bytes, and whether that is less than all.

    >>> [part if isinstance(part, int) else len(part) for part in _fitted("x" + "ö" * 40_000)]
    [32768, 65535, True]
    """
    data = text.encode("utf-8")
    if len(data) <= MOST_BYTES:
        return text, len(data), False
    return data[:MOST_BYTES].decode("utf-8", errors="ignore"), MOST_BYTES, True


def found_of(hit: Any) -> Found:
    """A hit of a search as a document with its score."""
    entity = hit["entity"]
    metadata = entity.get("metadata")
    metadata = json.loads(metadata) if isinstance(metadata, str | bytes) else metadata
    document = Document(id=hit["id"], title=entity["title"], text=entity["text"], metadata=metadata)
    return Found(document, float(hit["distance"]))
