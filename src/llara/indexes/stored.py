"""Index directories of faiss, opened: the vectors' files and the documents, as the last update left them.

manifest.json            kind and settings, and which model the vectors came from; it never changes
documents-BUILD.sqlite   the documents, and which vectors count (``llara.indexes.documents``)
...                      the files of the kind and of the words, named in that
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llara.corpus import Document
from llara.errors import InputError
from llara.indexes.base import (
    Found,
    IndexManifest,
    VectorIndex,
    by_score,
    check_queries,
    search_among,
)
from llara.indexes.documents import Documents, Facts
from llara.indexes.exact import ExactIndex
from llara.indexes.kinds import opened
from llara.indexes.manifests import documents_path, is_replaced
from llara.indexes.settings import IndexSettings
from llara.indexes.words import Words, best, open_words
from llara.lexical import WordIndex
from llara.unicode import check_texts

__all__ = ["StoredIndex"]

_FEW = 4096  # so many vectors that a filter lets pass are compared one by one, whatever the kind
_DOCUMENTS_AT_ONCE = 10_000


@dataclass(frozen=True)
class _State:
    """What an update left; a search reads one state from its beginning to its end.

    Attributes:
        live: bool [rows], which positions hold a document still; None if all do.
        version: of the documents, see ``Documents.version``.
    """

    documents: Documents
    facts: Facts
    index: VectorIndex
    live: np.ndarray | None
    words: Mapping[Words, WordIndex]
    version: int


class StoredIndex:
    """An opened index directory: an ``Index``, with positions, vectors and documents for who needs them.

    A search sees what updates of other processes have added and deleted before it. A directory that was built
    anew is another index: who has the old one open goes on with that. A copy of the same build that took its
    place is opened.
    """

    def __init__(self, path: Path, manifest: IndexManifest, settings: IndexSettings) -> None:
        self.path = path
        self.manifest = manifest
        self._settings = settings
        self._device: str | None = None
        self._updating = threading.Lock()
        self._last_filter: tuple[tuple[Documents, int], str, np.ndarray] | None = None
        self._last = self._opened()

    @classmethod
    def open(cls, path: Path, manifest: IndexManifest, settings: IndexSettings) -> StoredIndex:
        """Open a directory; vectors and texts are mapped from disk or read as they are asked for.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(path, manifest, settings)

    @property
    def index(self) -> VectorIndex:
        """The vectors, by position."""
        return self._state().index

    @property
    def num_deleted(self) -> int:
        """Positions that hold no document any more: deleted, or replaced."""
        live = self._state().live
        return 0 if live is None else int(np.count_nonzero(~live))

    def __len__(self) -> int:
        state = self._state()
        return len(state.index) if state.live is None else int(np.count_nonzero(state.live))

    def close(self) -> None:
        """Close the file of documents; vectors are unmapped when the last who uses them has ended."""
        self._last.documents.close()

    def use_device(self, device: str) -> None:
        """Search on a torch device, if this kind can: the exact index."""
        self._device = device
        index = self._state().index
        if isinstance(index, ExactIndex):
            index.use_device(device)

    def _state(self) -> _State:
        """What the last update left; read anew where there was one since."""
        if not self._is_current():
            with self._updating:
                if not self._is_current():
                    replaced = self._last.documents.is_replaced
                    self._last = self._opened() if replaced else self._read(self._last.documents, self._last)
        return self._last

    def _is_current(self) -> bool:
        documents = self._last.documents
        return not documents.is_replaced and documents.version() == self._last.version

    def _opened(self) -> _State:
        """The state of the documents that are at the path now, which may have been another copy's.

        Those opened before are closed when the last who reads them has ended.
        """
        documents = Documents(documents_path(self.path, self.manifest))
        if is_replaced(self.path, self.manifest):
            raise InputError(f"{self.path} was replaced by another index; open it again")
        return self._read(documents, None)

    def _read(self, documents: Documents, last: _State | None) -> _State:
        """The state on disk. An update may remove files between their names and their opening: once more."""
        while True:
            version = documents.version()
            facts, deleted = documents.snapshot()
            live = None
            if len(deleted):
                live = np.ones(facts.rows, dtype=bool)
                live[deleted] = False
            try:
                if last is None or last.facts != facts:
                    index = opened(self.path, self.manifest, self._settings, facts)
                    if self._device is not None and isinstance(index, ExactIndex):
                        index.use_device(self._device)
                else:
                    index = last.index
                words = open_words(self.path, facts.files, live)
                return _State(documents, facts, index, live, words, version)
            except InputError:
                if documents.version() == version:
                    raise

    def search(self, vectors: np.ndarray, k: int, *, where: str | None = None) -> list[list[Found]]:
        """See ``Index.search``."""
        state = self._state()
        scores, positions = self._nearest(state, vectors, k, where)
        return _found(state, list(zip(scores, positions, strict=True)))

    @property
    def words(self) -> tuple[Words, ...]:
        """By which words it can be searched."""
        return tuple(self._state().words)

    def search_words(
        self, words: Words, queries: Sequence[str], k: int, *, where: str | None = None
    ) -> list[list[Found]]:
        """The up to ``k`` best documents of each query by ``llara.lexical``; one that shares no word is none.

        Raises:
            ConfigError: the filter is not one.
            InputError: the index was built without such words, ``queries`` is no list, or a member is not a
                string of Unicode text.
        """
        check_texts(queries, "queries")
        state = self._state()
        if words not in state.words:
            raise InputError(
                f"the index {self.path} was built without {words}; build it again with llara index --{words}"
            )
        allowed = self._mask(where, state)
        return _found(state, [best(state.words[words].scores(query), k, allowed) for query in queries])

    def nearest(
        self, vectors: np.ndarray, k: int, *, where: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [Q, K] and positions int64 [Q, K] of the ``k`` best documents, see
        ``VectorIndex.search``.

        Where few documents pass the filter, all of them are compared, whatever the kind.
        """
        return self._nearest(self._state(), vectors, k, where)

    def _nearest(
        self, state: _State, vectors: np.ndarray, k: int, where: str | None
    ) -> tuple[np.ndarray, np.ndarray]:
        queries = check_queries(vectors, state.index.dimension)
        allowed = self._mask(where, state)
        if allowed is not None and np.count_nonzero(allowed) <= _FEW:
            return search_among(queries, np.flatnonzero(allowed), k, state.index.vectors)
        return state.index.search(queries, k, allowed=allowed)

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
            found = self._state().documents.get(part)
            for position in part:
                if position not in found:
                    raise InputError(
                        f"{self.path}: document {position} has been deleted; open the index again"
                    )
                yield found[position]

    def sample(self, count: int) -> list[Document]:
        """Up to ``count`` documents, spread over the index."""
        state = self._state()
        spread = np.unique(np.linspace(0, len(state.index) - 1, count).astype(np.int64))
        return list(state.documents.get(spread.tolist()).values())

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where the documents of these ids are; an id that is not there is left out."""
        return self._state().documents.positions(ids)

    def _mask(self, where: str | None, state: _State) -> np.ndarray | None:
        """Which positions may be found, bool [rows]; None if all may. The last filter's is kept."""
        if where is None:
            return state.live
        last = self._last_filter  # once: other threads may be searching with other filters
        left = (state.documents, state.version)
        if last is None or last[:2] != (left, where):
            mask = np.zeros(len(state.index), dtype=bool)
            matching = state.documents.matching(where)
            mask[matching[matching < len(mask)]] = True  # an update may have come between
            if state.live is not None:
                mask &= state.live
            self._last_filter = last = (left, where, mask)
        return last[2]


def _found(state: _State, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[list[Found]]:
    """The documents at each row's positions with its scores; those deleted since are left out."""
    wanted = np.unique(np.concatenate([positions for _, positions in rows])) if rows else ()
    texts = state.documents.get(list(wanted))
    return [
        by_score(
            Found(texts[position], score)
            for score, position in zip(scores.tolist(), positions.tolist(), strict=True)
            if position in texts
        )
        for scores, positions in rows
    ]
