"""Index directories: built from a vectors directory, opened, added to and deleted from, on either backend."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from llara.errors import ConfigError, InputError
from llara.files import atomic_directory, check_apart, check_output
from llara.indexes import updates
from llara.indexes.base import Backend, Change, Index, IndexManifest, Kind
from llara.indexes.kinds import KINDS, check_names, search_settings, settings_of
from llara.indexes.manifests import is_replaced, read_index_manifest, write_index_manifest
from llara.indexes.settings import IndexSettings
from llara.indexes.source import VectorSource
from llara.indexes.stored import StoredIndex
from llara.indexes.words import Words, check_words
from llara.settings import apply_overrides
from llara.unicode import check_texts

__all__ = ["add_to_index", "build_index", "delete_from_index", "open_index"]


def build_index(
    vectors: Path | str,
    out: Path | str,
    *,
    kind: Kind = "exact",
    settings: IndexSettings | Sequence[str] | None = None,
    backend: Backend = "faiss",
    uri: str | None = None,
    collection: str | None = None,
    words: Sequence[Words] = (),
    model: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Build an index directory from the vectors directory of ``llara encode``; returns ``out``.

    The vectors are read block by block; what each kind holds in memory meanwhile is said where it is defined.

    Args:
        settings: those of the kind, or changes of the defaults, ``name=value``.
        uri: where a Milvus server is; without, Milvus Lite keeps the collection in ``out``. A token for it is
            read from the environment variable MILVUS_TOKEN.
        collection: the collection's name in Milvus; by default made of the name of ``out``.
        words: what else to search by: ``bm25``, and ``lexical``, the words that the vectors hold; of faiss.
        model: where the model that made the vectors is now, whose output head ``lexical`` needs if the
            vectors were encoded without it; by default where it was.

    Raises:
        ConfigError: there is no such kind, or its settings do not fit.
        InputError: ``vectors`` is not a complete vectors directory of documents.
        ModelError: ``lexical`` is to be made, and the model is not there or has changed.
        OutputError: ``out`` or the collection exists (without ``overwrite``) or is being updated, or cannot
            be written.
    """
    for name, value, known in (("kind", kind, get_args(Kind)), ("backend", backend, get_args(Backend))):
        if value not in known:
            raise ConfigError(f"index {name} is {value!r}, expected one of {', '.join(known)}")
    if backend != "milvus" and (uri is not None or collection is not None):
        raise ConfigError("a uri and a collection are Milvus's; add --backend milvus")
    if backend == "milvus" and words:
        raise ConfigError(f"--{words[0]} is for --backend faiss; Milvus keeps no words here")
    vectors, out = Path(vectors), Path(out)
    check_output(out, overwrite=overwrite)
    source = VectorSource(vectors)
    check_apart(out, vectors, model or source.manifest.model)
    check_words(words, source, model)
    chosen = _chosen(kind, settings).resolved(source.count, source.dimension)
    made = source.manifest
    if backend == "milvus":
        from llara.indexes import milvus

        collection = collection or milvus.collection_name(out)
        milvus.check_kind(kind, chosen, uri)
    manifest = IndexManifest(
        backend=backend,
        kind=kind,
        dimension=source.dimension,
        model=made.model,
        fingerprint=made.fingerprint,
        role=made.role,
        title_separator=made.title_separator,
        max_tokens=made.max_tokens,
        settings=asdict(chosen),
        uri=uri,
        collection=collection,
        build=secrets.token_hex(8),
    )
    with updates.unchanging(out), atomic_directory(out, overwrite=overwrite) as directory:
        if backend == "milvus":
            milvus.build(source, directory, manifest, chosen, overwrite=overwrite)
            if uri is None:
                milvus.release(out)  # what is there and open in this process is replaced
        else:
            updates.build(source, directory, manifest, chosen, words, model)
        write_index_manifest(directory, manifest)
    return out


def open_index(directory: Path | str, *, settings: Sequence[str] = ()) -> Index:
    """Open an index directory: a ``StoredIndex``, or a ``MilvusIndex``.

    Args:
        settings: changes of those settings that may differ from search to search, ``name=value``.

    Raises:
        InputError: ``directory`` is not a complete index directory.
        ConfigError: a setting is none of this kind's, or belongs to building.
    """
    directory = Path(directory)
    while True:
        manifest = read_index_manifest(directory)
        found = search_settings(settings_of(manifest, directory), settings)
        try:
            if manifest.backend == "milvus":
                from llara.indexes.milvus import MilvusIndex

                return MilvusIndex.open(directory, manifest, found)
            return StoredIndex.open(directory, manifest, found)
        except InputError:
            if not is_replaced(directory, manifest):  # else it was built anew in between
                raise


def add_to_index(directory: Path | str, vectors: Path | str, *, model: str | None = None) -> Change:
    """Add the documents of a vectors directory; one whose id is there takes the other's place.

    Args:
        model: where the model that made the vectors is now, see ``build_index``.

    Raises:
        InputError: either is not a complete directory, or the vectors are another model's.
        OutputError: another update is running, or the disk is full or read-only.
    """
    directory, vectors = Path(directory), Path(vectors)
    manifest = read_index_manifest(directory)
    source = VectorSource(vectors)
    for name, here, there in (
        ("model (its fingerprint is {})", manifest.fingerprint[:12], source.manifest.fingerprint[:12]),
        ("dimension ({})", manifest.dimension, source.dimension),
        ("title separator ({!r})", manifest.title_separator, source.manifest.title_separator),
    ):
        if here != there:
            raise InputError(
                f"{vectors} was made with another {name.format(there)} than the index {directory} "
                f"({here!r}); encode the documents as those of the index were, or build a new index of both"
            )
    found = settings_of(manifest, directory)
    if manifest.backend == "milvus":
        from llara.indexes import milvus

        return milvus.add(directory, manifest, source)
    return updates.add(directory, manifest, found, source, model)


def delete_from_index(directory: Path | str, ids: Sequence[str]) -> Change:
    """Remove documents by their ids; one that is not there is counted as missing.

    Raises:
        InputError: ``directory`` is not a complete index directory, or ``ids`` is one string or holds what
            is no text.
        OutputError: another update is running, or the disk is full or read-only.
    """
    check_texts(ids, "ids")
    directory = Path(directory)
    manifest = read_index_manifest(directory)
    if manifest.backend == "milvus":
        from llara.indexes import milvus

        return milvus.delete(directory, manifest, ids)
    return updates.delete(directory, manifest, ids)


def _chosen(kind: Kind, settings: IndexSettings | Sequence[str] | None) -> IndexSettings:
    expected = KINDS[kind][1]
    if settings is None:
        return expected()
    if isinstance(settings, IndexSettings):
        if type(settings) is not expected:
            raise ConfigError(
                f"{settings!r} are no settings of the kind {kind}; expected {expected.__name__}"
            )
        return settings
    check_names(expected(), settings)
    return apply_overrides(expected(), settings)
