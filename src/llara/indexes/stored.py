"""Index directories of faiss: the vectors' files, the documents, and how both change together.

manifest.json      kind and settings, and which model the vectors came from; it never changes
documents.sqlite   the documents, and which vectors count (``llara.indexes.documents``)
...                the files of the kind and of the words, named in documents.sqlite
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from llara.corpus import Document
from llara.errors import ConfigError, InputError
from llara.indexes.base import (
    Change,
    Files,
    Found,
    IndexManifest,
    Kind,
    VectorIndex,
    by_score,
    check_queries,
    search_among,
)
from llara.indexes.documents import Documents, Facts
from llara.indexes.exact import ExactIndex
from llara.indexes.flat import BinaryIndex, Sq8Index
from llara.indexes.hnsw import HnswIndex
from llara.indexes.ivf import IvfIndex
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
from llara.indexes.source import VectorSource
from llara.indexes.words import Words, best, extend_words, open_words, write_words

__all__ = ["KINDS", "StoredIndex", "add", "build", "delete"]

KINDS: dict[Kind, tuple[type[VectorIndex], type[IndexSettings]]] = {
    "exact": (ExactIndex, ExactSettings),
    "hnsw": (HnswIndex, HnswSettings),
    "ivf-flat": (IvfIndex, IvfFlatSettings),
    "ivf-sq8": (IvfIndex, IvfSq8Settings),
    "ivf-pq": (IvfIndex, IvfPqSettings),
    "sq8": (Sq8Index, Sq8Settings),
    "binary": (BinaryIndex, BinarySettings),
}

_DOCUMENTS = "documents.sqlite"
_FEW = 4096  # so many vectors that a filter lets pass are compared one by one, whatever the kind
_DOCUMENTS_AT_ONCE = 10_000


class StoredIndex:
    """An opened index directory: an ``Index``, with positions, vectors and documents for who needs them."""

    def __init__(self, path: Path, manifest: IndexManifest, index: VectorIndex, documents: Documents) -> None:
        self.path = path
        self.manifest = manifest
        self.index = index
        self._documents = documents
        deleted = documents.deleted()
        deleted = deleted[deleted < len(index)]
        self.num_deleted = len(deleted)  # positions that hold no document any more: deleted, or replaced
        self._live: np.ndarray | None = None
        if self.num_deleted:
            self._live = np.ones(len(index), dtype=bool)
            self._live[deleted] = False
        self._last_filter: tuple[str, np.ndarray] | None = None
        self._words = open_words(path, documents.facts.files)

    @classmethod
    def open(cls, path: Path, manifest: IndexManifest, settings: IndexSettings) -> StoredIndex:
        """Open a directory; vectors and texts are mapped from disk or read as they are asked for.

        Raises:
            InputError: a file is missing or damaged.
        """
        documents = Documents(path / _DOCUMENTS)
        return cls(path, manifest, _opened(path, manifest, settings, documents.facts), documents)

    def __len__(self) -> int:
        return len(self.index) - self.num_deleted

    def close(self) -> None:
        """Close the file of documents; vectors are unmapped when the last who uses them has ended."""
        self._documents.close()

    def use_device(self, device: str) -> None:
        """Search on a torch device, if this kind can: the exact index."""
        if isinstance(self.index, ExactIndex):
            self.index.use_device(device)

    def search(self, vectors: np.ndarray, k: int, *, where: str | None = None) -> list[list[Found]]:
        """See ``Index.search``."""
        scores, positions = self.nearest(vectors, k, where=where)
        return self._found(list(zip(scores, positions, strict=True)))

    @property
    def words(self) -> tuple[Words, ...]:
        """By which words it can be searched."""
        return tuple(self._words)

    def search_words(
        self, words: Words, queries: Sequence[str], k: int, *, where: str | None = None
    ) -> list[list[Found]]:
        """The up to ``k`` best documents of each query by ``llara.lexical``; one that shares no word is none.

        Raises:
            ConfigError: the filter is not one.
            InputError: the index was built without such words.
        """
        if words not in self._words:
            raise InputError(
                f"the index {self.path} was built without {words}; build it again with llara index --{words}"
            )
        allowed = self._mask(where)
        return self._found([best(self._words[words].scores(query), k, allowed) for query in queries])

    def _found(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[list[Found]]:
        """The documents at each row's positions with its scores; those deleted since are left out."""
        wanted = np.unique(np.concatenate([positions for _, positions in rows])) if rows else ()
        texts = self._documents.get(list(wanted))
        return [
            by_score(
                Found(texts[position], score)
                for score, position in zip(scores.tolist(), positions.tolist(), strict=True)
                if position in texts
            )
            for scores, positions in rows
        ]

    def nearest(
        self, vectors: np.ndarray, k: int, *, where: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [Q, K] and positions int64 [Q, K] of the ``k`` best documents, see
        ``VectorIndex.search``.

        Where few documents pass the filter, all of them are compared, whatever the kind.
        """
        queries = check_queries(vectors, self.index.dimension)
        allowed = self._mask(where)
        if allowed is not None and np.count_nonzero(allowed) <= _FEW:
            return search_among(queries, np.flatnonzero(allowed), k, self.index.vectors)
        return self.index.search(queries, k, allowed=allowed)

    def documents(self, positions: Iterable[int]) -> list[Document]:
        """The documents at ``positions``, in that order.

        Raises:
            InputError: one has been deleted.
        """
        return list(self.iter_documents(positions))

    def iter_documents(self, positions: Iterable[int]) -> Iterator[Document]:
        """See ``documents``; memory holds 10,000 of them."""
        wanted = list(map(int, positions))
        for start in range(0, len(wanted), _DOCUMENTS_AT_ONCE):
            part = wanted[start : start + _DOCUMENTS_AT_ONCE]
            found = self._documents.get(part)
            for position in part:
                if position not in found:
                    raise InputError(
                        f"{self.path}: document {position} has been deleted; open the index again"
                    )
                yield found[position]

    def sample(self, count: int) -> list[Document]:
        """Up to ``count`` documents, spread over the index."""
        spread = np.unique(np.linspace(0, len(self.index) - 1, count).astype(np.int64))
        return list(self._documents.get(spread.tolist()).values())

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where the documents of these ids are; an id that is not there is left out."""
        return self._documents.positions(ids)

    def _mask(self, where: str | None) -> np.ndarray | None:
        """Which positions may be found, bool [rows]; None if all may. The last filter's is kept."""
        if where is None:
            return self._live
        last = self._last_filter  # once: other threads may be searching with other filters
        if last is None or last[0] != where:
            mask = np.zeros(len(self.index), dtype=bool)
            matching = self._documents.matching(where)
            mask[matching[matching < len(mask)]] = (
                True  # what was added since this was opened is not known here
            )
            if self._live is not None:
                mask &= self._live
            self._last_filter = last = (where, mask)
        return last[1]


def build(
    source: VectorSource,
    directory: Path,
    manifest: IndexManifest,
    settings: IndexSettings,
    words: Sequence[Words] = (),
) -> None:
    """Write the vectors' files, the words and the documents of a new index into ``directory``.

    Raises:
        InputError: a shard is damaged, or an id occurs twice.
        OutputError: the disk is full or read-only.
    """
    files = KINDS[manifest.kind][0].create(directory, source, settings, 1)
    files |= write_words(directory, source, words, 1)
    Documents.create(directory / _DOCUMENTS, source.texts(), Facts(source.count, 1, files))


def add(path: Path, manifest: IndexManifest, settings: IndexSettings, source: VectorSource) -> Change:
    """Add documents; one whose id is there takes the other's place.

    Raises:
        InputError: the index or a shard is damaged.
        OutputError: another update is running, or the disk is full or read-only.
    """
    with Documents.updating(path / _DOCUMENTS) as documents:
        before = documents.facts
        index = _opened(path, manifest, settings, before)
        number = before.number + 1
        with _cleaned(path, before.files, number):
            files = index.extend(path, source, number)
            files |= extend_words(path, before.files, source, number)
            facts = Facts(before.rows + source.count, number, files)
            replaced = documents.add(source.texts(), facts)
    _remove(path, set(before.files.values()) - set(files.values()))
    return Change(added=source.count - replaced, replaced=replaced)


def delete(path: Path, ids: Sequence[str]) -> Change:
    """Remove documents by id. Their vectors stay in the files and are not found any more.

    Raises:
        InputError: the index is damaged.
        OutputError: another update is running, or the disk is full or read-only.
    """
    wanted = list(dict.fromkeys(ids))
    with Documents.updating(path / _DOCUMENTS) as documents:
        deleted = documents.delete(wanted)
    return Change(deleted=deleted, missing=len(wanted) - deleted)


def search_settings(settings: IndexSettings, overrides: Sequence[str]) -> IndexSettings:
    """``settings`` with some that hold for a search changed, each ``name=value``.

    Raises:
        ConfigError: there is no such setting, it is decided when the index is built, or its value is wrong.
    """
    from llara.settings import apply_overrides

    known = {item.name for item in fields(settings)}
    for override in overrides:
        name = override.partition("=")[0].strip()
        if name in known and name not in settings.SEARCH:
            raise ConfigError(
                f"--set {name} is decided when an index is built; a search of this one can set "
                f"{', '.join(settings.SEARCH) or 'nothing'}"
            )
    changed = apply_overrides(settings, overrides)
    for name in settings.SEARCH:
        if getattr(changed, name) is None and getattr(settings, name) is not None:
            raise ConfigError(f"--set {name}=none leaves open how to search; give a number")
    return changed


def settings_of(manifest: IndexManifest, path: Path) -> IndexSettings:
    """The settings that a manifest holds.

    Raises:
        InputError: they are not those of its kind.
    """
    try:
        return KINDS[manifest.kind][1](**manifest.settings)
    except (TypeError, ConfigError) as error:
        raise InputError(f"{path} is damaged: {error}; build it again with llara index") from error


def _opened(path: Path, manifest: IndexManifest, settings: IndexSettings, facts: Facts) -> VectorIndex:
    try:
        kind = KINDS[manifest.kind][0]
        return kind.open(path, facts.files, facts.rows, manifest.dimension, settings)
    except KeyError as error:
        raise InputError(f"{path} is damaged: no file of {error}; build it again with llara index") from error


@contextmanager
def _cleaned(path: Path, kept: Files, number: int) -> Iterator[None]:
    """Remove the files of update ``number`` if it fails."""
    try:
        yield
    except BaseException:
        _remove(path, {each.name for each in path.glob(f"*-{number}.*")} - set(kept.values()))
        raise


def _remove(path: Path, names: set[str]) -> None:
    for name in names:
        with suppress(OSError):
            (path / name).unlink()


def as_json(manifest: IndexManifest, format_: str) -> str:
    """The content of manifest.json."""
    return json.dumps({"format": format_, **asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"
