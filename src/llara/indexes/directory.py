"""Index directories: an index, the documents' texts in the same order, and where the vectors came from.

manifest.json     kind and its settings, counts, and the manifest of the vectors (model, fingerprint, titles)
index.faiss       the vectors, and the graph if the kind is hnsw
documents.arrow   id, title, text by position; uncompressed, so that it is mapped from disk, not read
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from llara.corpus import Document
from llara.errors import ConfigError, InputError
from llara.files import atomic_directory, check_output
from llara.indexes.base import Index
from llara.indexes.exact import ExactIndex
from llara.indexes.hnsw import HnswIndex, HnswSettings
from llara.vectors import MANIFEST, Role, VectorsManifest, read_manifest

__all__ = ["IndexManifest", "Kind", "StoredIndex", "build_index", "open_index"]

Kind = Literal["exact", "hnsw"]

_FORMAT = "llara-index/1"
_INDEX_FILE = "index.faiss"
_DOCUMENTS_FILE = "documents.arrow"


@dataclass(frozen=True)
class IndexManifest:
    """What an index directory holds and which model its vectors came from."""

    kind: Kind
    count: int
    dimension: int
    model: str
    fingerprint: str
    role: Role
    title_separator: str | None
    max_tokens: int | None
    hnsw: dict[str, int] | None = None


@dataclass(frozen=True)
class StoredIndex:
    """An opened index directory. ``documents(positions)`` gives the texts that were indexed."""

    path: Path
    manifest: IndexManifest
    index: Index
    _table: Any

    def documents(self, positions: Sequence[int]) -> list[Document]:
        """The documents at ``positions``, read from disk as they are asked for."""
        ids, titles, texts = (self._table.column(name) for name in ("id", "title", "text"))
        return [
            Document(id=ids[row].as_py(), title=titles[row].as_py(), text=texts[row].as_py())
            for row in map(int, positions)
        ]

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where the documents of these ids are; an id that was not indexed is left out. Reads all ids."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = pc.is_in(self._table.column("id"), value_set=pa.array(list(set(ids)), pa.string()))
        found = np.flatnonzero(rows.to_numpy()).tolist()
        return {document.id: row for row, document in zip(found, self.documents(found), strict=True)}


def build_index(
    vectors: Path,
    out: Path,
    *,
    kind: Kind = "exact",
    hnsw: HnswSettings = HnswSettings(),  # noqa: B008 - frozen
    overwrite: bool = False,
) -> Path:
    """Build an index directory from the vectors directory of ``encode_file``; returns ``out``.

    All vectors are in memory while it is built: 4 N D bytes, and with hnsw 8 N M more for the links.

    Raises:
        ConfigError: there is no such kind.
        InputError: ``vectors`` is not a complete vectors directory of documents.
        OutputError: ``out`` exists (without ``overwrite``) or cannot be written.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"index kind is {kind!r}, expected one of {', '.join(get_args(Kind))}")
    check_output(out, overwrite=overwrite)
    source = VectorsManifest.read(vectors)
    if source.role != "document":
        raise InputError(
            f"{vectors} holds {source.role} vectors, and an index is made of documents; "
            "encode the corpus with --role document"
        )
    manifest = IndexManifest(
        kind=kind,
        count=source.count,
        dimension=source.dimension,
        model=source.model,
        fingerprint=source.fingerprint,
        role=source.role,
        title_separator=source.title_separator,
        max_tokens=source.max_tokens,
        hnsw=asdict(hnsw) if kind == "hnsw" else None,
    )
    dimension = source.dimension
    index: Index = HnswIndex(dimension, hnsw) if kind == "hnsw" else ExactIndex(dimension)
    with atomic_directory(out, overwrite=overwrite) as directory:
        _copy_shards(vectors, source, index, directory / _DOCUMENTS_FILE)
        index.save(directory / _INDEX_FILE)
        content = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False)
        (directory / MANIFEST).write_text(content + "\n", encoding="utf-8")
    return out


def open_index(directory: Path) -> StoredIndex:
    """Open an index directory; vectors and texts are mapped from disk, not read at once.

    Raises:
        InputError: ``directory`` is not a complete index directory.
    """
    import pyarrow as pa

    content = read_manifest(directory, expected=_FORMAT, made_by="llara index")
    try:
        manifest = IndexManifest(**content)
        table = pa.ipc.open_file(pa.memory_map(str(directory / _DOCUMENTS_FILE))).read_all()
    except (TypeError, OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{directory} is damaged: {error}; build it again with llara index") from error
    if manifest.kind not in get_args(Kind):
        raise InputError(
            f"{directory} is an index of the kind {manifest.kind!r}, expected one of "
            f"{', '.join(get_args(Kind))}; build it again with llara index"
        )
    load = HnswIndex.load if manifest.kind == "hnsw" else ExactIndex.load
    index: Index = load(directory / _INDEX_FILE)
    if not len(index) == table.num_rows == manifest.count or index.dimension != manifest.dimension:
        raise InputError(
            f"{directory} is damaged: {manifest.count} documents of dimension {manifest.dimension} expected, "
            f"found {len(index)} vectors of {index.dimension} and {table.num_rows} texts; "
            "build it again with llara index"
        )
    return StoredIndex(path=directory, manifest=manifest, index=index, _table=table)


def _copy_shards(vectors: Path, source: VectorsManifest, index: Index, documents: Path) -> None:
    """Add the vectors of every shard to ``index`` and its texts to the file ``documents``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "text")])
    with pa.OSFile(str(documents), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for shard in source.shards:
            try:
                rows = np.load(vectors / shard.vectors, mmap_mode="r")
                table = pq.read_table(vectors / shard.texts, columns=schema.names)
            except (OSError, ValueError, pa.ArrowInvalid) as error:
                raise InputError(f"{vectors} is damaged ({error}); encode again") from error
            if rows.shape != (shard.count, source.dimension) or table.num_rows != shard.count:
                raise InputError(
                    f"{vectors / shard.vectors} holds {rows.shape} numbers beside {table.num_rows} texts, "
                    f"expected {(shard.count, source.dimension)}; encode again"
                )
            index.add(rows)
            writer.write_table(table)
