"""The Milvus backend: a collection of documents with their vectors, on a server or in Milvus Lite.

The same client and the same calls reach Milvus Lite (a directory ``milvus.db`` in the index directory, one
process at a time) and a server or cluster (``--uri``; a token is read from the environment variable
MILVUS_TOKEN and written nowhere). The primary key is the document's id, so that other clients of the
collection can upsert, too.

Differences from faiss: scores are Milvus's own (float32); texts of more than 65,535 bytes are cut, which is
all that Milvus keeps, and metadata of more than 65,536 are refused; an update is not one transaction, and one
that was killed is mended by running it again; filters of Milvus Lite take true for 1 and false for 0.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llara.errors import ConfigError, InputError, LlaraError, MissingExtraError, OutputError
from llara.indexes.base import Change, Found, IndexManifest, Kind, by_score, check_queries
from llara.indexes.filters import milvus_expression, parse_filter
from llara.indexes.milvus_rows import (
    MOST_BYTES,
    MOST_ROWS,
    check_rows,
    found_of,
    id_batches,
    ids_expression,
    row_batches,
)
from llara.indexes.settings import IndexSettings
from llara.indexes.source import VectorSource

__all__ = ["MilvusIndex", "add", "build", "check_kind", "collection_name", "delete", "release"]

TOKEN = "MILVUS_TOKEN"  # the name of the environment variable
_LITE = "milvus.db"
_MADE_BY = "llara, model "  # and its fingerprint: a collection's description, which Milvus Lite forgets
_TYPES: dict[str, str] = {
    "exact": "FLAT",
    "hnsw": "HNSW",
    "ivf-flat": "IVF_FLAT",
    "ivf-sq8": "IVF_SQ8",
    "ivf-pq": "IVF_PQ",
}


class MilvusIndex:
    """A collection: an ``Index``. With hnsw fewer than ``k`` documents may come back where the graph ends."""

    def __init__(self, manifest: IndexManifest, settings: IndexSettings, client: Any, path: Path) -> None:
        self.manifest = manifest
        self._settings = settings
        self._client = client
        self._path = path

    @classmethod
    def open(cls, path: Path, manifest: IndexManifest, settings: IndexSettings) -> MilvusIndex:
        """Connect to the collection and load it.

        Raises:
            InputError: the collection is not there, or no server answers.
            MissingExtraError: pymilvus or milvus-lite is not installed.
        """
        client = _existing(path, manifest)
        with _talking(manifest, InputError):
            client.load_collection(manifest.collection)
        return cls(manifest, settings, client, path)

    def close(self) -> None:
        """See ``Index.close``."""
        self._client.close()
        if self.manifest.uri is None:
            release(self._path)

    def __len__(self) -> int:
        with _talking(self.manifest, InputError):
            rows = self._client.query(self.manifest.collection, filter="", output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def search(self, vectors: np.ndarray, k: int, *, where: str | None = None) -> list[list[Found]]:
        """See ``Index.search``; ``k`` is at most 16,384."""
        assert k >= 1, k
        if k > MOST_ROWS:
            raise ConfigError(f"k is {k}, and Milvus gives at most {MOST_ROWS:,} hits")
        queries = check_queries(vectors, self.manifest.dimension)
        if len(queries) == 0:
            return []
        expression = "" if where is None else milvus_expression(parse_filter(where))
        results = self._searched(queries, k, expression, _search_params(self._settings, k))
        short = [row for row, hits in enumerate(results) if len(hits) < k]
        if short and hasattr(self._settings, "nlist"):  # the lists that were read held no more: read all
            full = self._searched(queries[short], k, expression, {"nprobe": self._settings.nlist})
            for row, hits in zip(short, full, strict=True):
                results[row] = hits
        return results

    def _searched(
        self, queries: np.ndarray, k: int, expression: str, params: dict[str, int]
    ) -> list[list[Found]]:
        results = []
        at_once = max(1, MOST_ROWS // k)  # what comes back holds the texts, and has its limit, too
        for start in range(0, len(queries), at_once):
            with _talking(self.manifest, InputError):
                answers = self._client.search(
                    self.manifest.collection,
                    data=list(queries[start : start + at_once]),
                    anns_field="vector",
                    filter=expression,
                    limit=k,
                    output_fields=["title", "text", "metadata"],
                    search_params={"metric_type": "IP", "params": params},
                )
            results += [by_score(found_of(hit) for hit in hits) for hits in answers]
        return results


def build(
    source: VectorSource,
    directory: Path,
    manifest: IndexManifest,
    settings: IndexSettings,
    *,
    overwrite: bool,
) -> None:
    """Make the collection, index it and insert all documents; memory holds a request of 16 MiB, and a shard's
    texts.

    Raises:
        InputError: an id or a document's metadata is longer than Milvus takes; nothing is written then.
        OutputError: the collection exists (without ``overwrite``), or Milvus refuses what is written.
    """
    check_rows(source)
    client = _client(directory, manifest)
    name = manifest.collection
    # What is there is searched until this one is whole; nobody else has such a name.
    new = replace(manifest, collection=f"{name}_building_{_digest(f'{directory.parent.resolve()}/{name}')}")
    try:
        with _talking(manifest, OutputError):
            if client.has_collection(name) and not overwrite:
                raise OutputError(
                    f"the collection {name} exists at {manifest.uri}; choose another with --collection or "
                    "pass --overwrite"
                )
            client.drop_collection(new.collection)  # of a build that was killed
            try:
                _create(client, new, settings)
                for rows in row_batches(source):
                    client.insert(new.collection, rows)
                client.flush(new.collection)
            except BaseException:
                client.drop_collection(new.collection)
                raise
            client.drop_collection(name)
            client.rename_collection(new.collection, name)
    finally:
        client.close()
        if manifest.uri is None:
            release(directory)


def add(path: Path, manifest: IndexManifest, source: VectorSource) -> Change:
    """Upsert the documents of ``source``.

    Raises:
        InputError: an id or a document's metadata is longer than Milvus takes; nothing is written then.
        OutputError: Milvus refuses what is written.
    """
    check_rows(source)
    client = _existing(path, manifest)
    replaced = 0
    with _talking(manifest, OutputError):
        client.load_collection(manifest.collection)
        for rows in row_batches(source):
            replaced += len(_known(client, manifest, [row["id"] for row in rows]))
            client.upsert(manifest.collection, rows)
        client.flush(manifest.collection)
    return Change(added=source.count - replaced, replaced=replaced)


def delete(path: Path, manifest: IndexManifest, ids: Sequence[str]) -> Change:
    """Delete documents by id.

    Raises:
        OutputError: Milvus refuses.
    """
    client = _existing(path, manifest)
    wanted = list(dict.fromkeys(ids))
    deleted = 0
    with _talking(manifest, OutputError):
        client.load_collection(manifest.collection)
        for part in id_batches(wanted):
            known = _known(client, manifest, part)
            if known:
                client.delete(manifest.collection, filter=ids_expression(known))
            deleted += len(known)
        client.flush(manifest.collection)
    return Change(deleted=deleted, missing=len(wanted) - deleted)


def check_kind(kind: Kind, settings: IndexSettings, uri: str | None) -> None:
    """Refuse what Milvus cannot do.

    Raises:
        ConfigError: Milvus, or Milvus Lite, has no such index; or the uri holds a password.
    """
    known = [name for name in _TYPES if uri is not None or name != "ivf-pq"]
    if kind not in known:
        raise ConfigError(
            f"{'Milvus' if uri else 'Milvus Lite'} has no index of the kind {kind}; expected one of "
            f"{', '.join(known)}, or leave out --backend milvus"
        )
    if getattr(settings, "rescore", "none") != "none":
        raise ConfigError("Milvus keeps no finer vectors to rescore with; leave out --set rescore")
    if uri is not None and re.search(r"//[^/@]*@", uri):
        raise ConfigError(
            f"the uri holds a user or password, which would be kept; put them in {TOKEN} as user:password"
        )


def collection_name(out: Path) -> str:
    """A name that Milvus accepts: made of a directory's, and of where it stands, since a server has many.

    >>> collection_name(Path("/data/my-index.2"))
    'llara_my_index_2_28989227'
    """
    place = out.resolve()
    return "llara_" + re.sub(r"\W", "_", place.name, flags=re.ASCII) + f"_{_digest(str(place))}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _create(client: Any, manifest: IndexManifest, settings: IndexSettings) -> None:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=f"{_MADE_BY}{manifest.fingerprint}"
    )
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MOST_BYTES)
    schema.add_field("title", DataType.VARCHAR, max_length=MOST_BYTES)
    schema.add_field("text", DataType.VARCHAR, max_length=MOST_BYTES)
    schema.add_field("metadata", DataType.JSON, nullable=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=manifest.dimension)
    chosen = _build_params(manifest.kind, settings)
    if manifest.uri is None:  # Milvus Lite 3.2 takes them from "params"; pymilvus sends each by its own name
        chosen = {"params": chosen}
    params = client.prepare_index_params()
    params.add_index("vector", index_type=_TYPES[manifest.kind], metric_type="IP", params=chosen)
    client.create_collection(
        manifest.collection, schema=schema, index_params=params, consistency_level="Strong"
    )


def _build_params(kind: Kind, settings: Any) -> dict[str, Any]:
    if kind == "hnsw":
        return {"M": settings.M, "efConstruction": settings.efConstruction}
    if kind == "ivf-pq":
        return {"nlist": settings.nlist, "m": settings.M, "nbits": settings.nbits}
    return {} if kind == "exact" else {"nlist": settings.nlist}


def _search_params(settings: Any, k: int) -> dict[str, int]:
    if hasattr(settings, "efSearch"):
        return {"ef": max(settings.efSearch, k)}
    return {"nprobe": settings.nprobe} if hasattr(settings, "nprobe") else {}


def _known(client: Any, manifest: IndexManifest, ids: Sequence[str]) -> list[str]:
    """Those of some ids that are there; at most 16,384 are asked for."""
    rows = client.query(
        manifest.collection, filter=ids_expression(ids), output_fields=["id"], limit=max(1, len(ids))
    )
    asked = set(ids)  # of an ideograph beyond U+FFFF a server may read 16 bits, another id
    return [row["id"] for row in rows if row["id"] in asked]


def _existing(path: Path, manifest: IndexManifest) -> Any:
    """A client of a collection that is there."""
    if manifest.uri is None and not (path / _LITE).exists():
        raise InputError(f"{path} is damaged: it has no {_LITE}; build it again with llara index")
    client = _client(path, manifest)
    with _talking(manifest, InputError):
        if not client.has_collection(manifest.collection):
            raise InputError(
                f"there is no collection {manifest.collection} at {manifest.uri or path / _LITE}; "
                "build it again with llara index"
            )
        made_by = client.describe_collection(manifest.collection).get("description", "")
    if made_by.startswith(_MADE_BY) and made_by != f"{_MADE_BY}{manifest.fingerprint}":
        raise InputError(
            f"the collection {manifest.collection} holds vectors of another model than {path} says: a build "
            "was stopped, or another index has its name; build it again with llara index"
        )
    return client


def _client(path: Path, manifest: IndexManifest) -> Any:
    if importlib.util.find_spec("pymilvus") is None:
        raise MissingExtraError("pymilvus", "milvus")
    if manifest.uri is None and importlib.util.find_spec("milvus_lite") is None:
        raise MissingExtraError("milvus-lite", "milvus")
    from pymilvus import MilvusClient

    for name in ("pymilvus", "milvus_lite", "grpc._server"):  # their errors reach the user as ours
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with _talking(manifest, InputError):
        return MilvusClient(uri=manifest.uri or str(path / _LITE), token=os.environ.get(TOKEN, ""))


def release(path: Path) -> None:
    """Stop Milvus Lite for an index directory, which it holds locked until this process ends."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(path / _LITE))


@contextmanager
def _talking(manifest: IndexManifest, error_type: type[LlaraError]) -> Iterator[None]:
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        where = manifest.uri or "Milvus Lite, which one process can open at a time"
        raise error_type(f"{where}: {error.message or 'refused without a reason'}") from error
