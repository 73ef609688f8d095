"""Search: by vectors (an index directory and its model), by words, or both, to hits; TREC run files.

Hits are ordered by score and, where scores are equal, as trec_eval orders them: the greater id first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from llara.corpus import Document
from llara.corpus.readers import read_lines
from llara.encode import Role, document_text, encode_texts
from llara.encoder.quantise import cut
from llara.errors import ConfigError, InputError
from llara.files import write_text_atomic
from llara.fusion import Run, reciprocal_rank_fusion
from llara.indexes import Found, Index, StoredIndex, Words, best, by_score, open_index
from llara.lexical import Bm25Index
from llara.made_by import same_model
from llara.unicode import check_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "Bm25",
    "Hit",
    "Mode",
    "Run",
    "Searcher",
    "check_run_ids",
    "read_run",
    "run_from_hits",
    "write_run",
]

Mode = Literal["dense", "bm25", "lexical", "hybrid"]
"""By vectors; by words, as BM25 counts them or as the documents' vectors hold them; by both."""

_FUSED = 100  # hits of each search that a hybrid fuses, at least


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found for a query; ``rank`` counts from 1; ``metadata`` are its record's other fields."""

    rank: int
    id: str
    score: float
    title: str
    text: str
    metadata: dict[str, Any] | None = field(default=None, hash=False)


class Searcher:
    """Search over an index directory; where the model is on a GPU, an exact index is searched there, too.

    >>> Searcher.open(Path("index")).search(["how do wings stall"], k=3)  # doctest: +SKIP
    """

    def __init__(
        self,
        stored: Index,
        model: SentenceTransformer,
        *,
        query_role: Role = "query",
        name: str | None = None,
    ) -> None:
        from llara.encoder import Encoder

        self.stored = stored
        self.model = model
        self.name = name or stored.manifest.model  # where the model is
        self.query_role: Role = query_role
        self.encoder = Encoder(model)  # one for all threads: choosing a way switches the model's attention
        if isinstance(stored, StoredIndex) and model.device.type == "cuda":
            stored.use_device(str(model.device))

    @classmethod
    def open(
        cls,
        index: Path | str,
        model: str | None = None,
        *,
        query_role: Role = "query",
        device: str | None = None,
        settings: Sequence[str] = (),
    ) -> Searcher:
        """Open an index directory and the model that made it.

        Args:
            model: where that model is now; by default where it was when the documents were encoded.
            settings: see ``llara.indexes.open_index``.

        Raises:
            ConfigError: a setting is not one of this index's.
            InputError: ``index`` is not an index directory.
            ModelError: the model is missing, or is not the one that encoded the documents.
        """
        from llara.model import load

        stored = open_index(index, settings=settings)
        made_by = stored.manifest
        name = same_model(f"the index {index}", made_by.model, made_by.fingerprint, model)
        return cls(stored, load(name, device=device), query_role=query_role, name=name)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How this index can be searched."""
        words = self.stored.words if isinstance(self.stored, StoredIndex) else ()
        return ("dense", *words, *(("hybrid",) if words else ()))

    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "dense",
        words: Words | None = None,
        where: str | None = None,
        batch_size: int = 64,
    ) -> list[list[Hit]]:
        """The ``k`` best documents for each query (all of them if there are fewer; by words, all that share
        one).

        A hybrid fuses the dense search with a search by words, by reciprocal ranks.

        Args:
            words: of a hybrid, which; by default BM25's where the index has them.
            where: a filter on metadata, ``year > 2000``, see ``llara.indexes.filters``.

        Raises:
            ConfigError: ``k`` is below 1, the mode is not one of this index's, or the filter is not one.
            InputError: ``queries`` is no list, or a member is not a string of Unicode text.
        """
        _check_k(k)
        self._check_mode(mode)
        if words is not None:
            if mode != "hybrid":
                raise ConfigError(f"words are {words}, and the mode is {mode}: only a hybrid has a choice")
            self._check_mode(words)
        check_texts(queries, "queries")
        if mode == "dense":
            found = self._nearest(queries, k, where, batch_size)
        elif mode == "hybrid":
            found = self._fused(words or self._usual_words, queries, k, where, batch_size)
        else:
            found = self._by_words(mode, queries, k, where)
        return [_ranked([hit.document for hit in hits], [hit.score for hit in hits]) for hits in found]

    def _nearest(
        self, queries: Sequence[str], k: int, where: str | None, batch_size: int
    ) -> list[list[Found]]:
        vectors = encode_texts(self.encoder, queries, role=self.query_role, batch_size=batch_size)
        if len(vectors) == 0:
            return []
        vectors = cut(vectors, self.stored.manifest.dimension)  # as the documents' were
        return self.stored.search(vectors, k, where=where)

    def _by_words(self, words: Words, queries: Sequence[str], k: int, where: str | None) -> list[list[Found]]:
        assert isinstance(self.stored, StoredIndex)
        return self.stored.search_words(words, queries, k, where=where)

    @property
    def _usual_words(self) -> Words:
        return "bm25" if "bm25" in self.modes else "lexical"

    def _fused(
        self, words: Words, queries: Sequence[str], k: int, where: str | None, batch_size: int
    ) -> list[list[Found]]:
        depth = max(k, _FUSED)
        both = (
            self._nearest(queries, depth, where, batch_size),
            self._by_words(words, queries, depth, where),
        )
        results = []
        for searches in zip(*both, strict=True):
            documents = {hit.document.id: hit.document for hits in searches for hit in hits}
            runs = [{"": {hit.document.id: hit.score for hit in hits}} for hits in searches]
            scores = reciprocal_rank_fusion(runs, depth=k)[""]
            results.append(by_score(Found(documents[id_], score) for id_, score in scores.items()))
        return results

    def _check_mode(self, mode: str) -> None:
        if mode in self.modes:
            return
        if mode not in get_args(Mode):
            raise ConfigError(f"the mode of search is {mode!r}, expected one of {', '.join(get_args(Mode))}")
        with_words = "--bm25 or --lexical" if mode == "hybrid" else f"--{mode}"
        way = f"build it again with llara index {with_words}"
        if not isinstance(self.stored, StoredIndex):
            way = f"one of Milvus knows no words, so build one of faiss: llara index {with_words}"
        raise ConfigError(f"this index can be searched as {', '.join(self.modes)}, not as {mode}: {way}")


class Bm25(Bm25Index):
    """BM25 over documents in memory; see ``Bm25Index``. One that shares no word with a query is no hit.

    Raises:
        InputError: there are no documents, or not one word in all of them.
        ConfigError: k1 or b is out of range.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        *,
        title_separator: str | None = " ",
        k1: float = 1.2,
        b: float = 0.75,
    ) -> None:
        self.documents = list(documents)
        super().__init__(
            (document_text(document, title_separator) for document in self.documents), k1=k1, b=b
        )

    def search(self, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """The up to ``k`` best documents for each query.

        Raises:
            ConfigError: ``k`` is below 1.
            InputError: ``queries`` is no list, or a member is not a string of Unicode text.
        """
        _check_k(k)
        check_texts(queries, "queries")
        results = []
        for query in queries:
            positions, scores = self.top(query, k)
            results.append(_ranked([self.documents[position] for position in positions], scores.tolist()))
        return results

    def top(self, query: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 [K] and scores float32 [K] of the best documents, K <= k, for one query."""
        scores, positions = best(self.scores(query), k, None)
        return positions, scores


def run_from_hits(query_ids: Sequence[str], results: Sequence[Sequence[Hit]]) -> Run:
    """The run that pairs each query id with its hits."""
    return {
        query_id: {hit.id: hit.score for hit in hits}
        for query_id, hits in zip(query_ids, results, strict=True)
    }


def check_run_ids(ids: Iterable[str]) -> None:
    """Refuse an id that a TREC run file cannot express.

    Raises:
        InputError: an id is empty or holds white space.
    """
    for id_ in ids:
        if not id_ or any(character.isspace() for character in id_):
            raise InputError(
                f"the id {id_!r} cannot stand in a TREC run file, whose columns are separated by white "
                "space; rename it, or do without the file"
            )


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], tag: str) -> None:
    """Write a run in TREC's format, ``query Q0 document rank score tag``; scores keep every digit.

    Raises:
        InputError: an id is empty or holds white space, which the format cannot express.
        OutputError: the disk is full or read-only.
    """
    check_run_ids((tag, *run, *{document for scores in run.values() for document in scores}))
    lines = []
    for query, scores in run.items():
        ranking = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
        lines += [
            f"{query} Q0 {document} {rank} {score!r} {tag}\n"
            for rank, (document, score) in enumerate(ranking, 1)
        ]
    write_text_atomic(path, "".join(lines))


def read_run(path: Path) -> Run:
    """Read a run in TREC's format, plain or compressed; the rank column is not used, as in trec_eval.

    Raises:
        InputError: the file is missing, or a line does not have six columns, a finite score, a new document.
    """
    run: Run = {}
    for where, line in read_lines(path):
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 6:
            raise InputError(f"{where}: {len(columns)} columns, expected: query Q0 document rank score tag")
        query, _, document, _, score, _ = columns
        scores = run.setdefault(query, {})
        if document in scores:
            raise InputError(f"{where}: document {document!r} occurs twice for query {query!r}")
        scores[document] = _number(score)
        if not math.isfinite(scores[document]):
            raise InputError(f"{where}: score {score!r}, expected a finite number")
    return run


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _ranked(documents: Sequence[Document], scores: Sequence[float]) -> list[Hit]:
    pairs = sorted(zip(scores, documents, strict=True), key=lambda pair: (pair[0], pair[1].id), reverse=True)
    return [
        Hit(rank, document.id, score, document.title, document.text, document.metadata)
        for rank, (score, document) in enumerate(pairs, 1)
    ]


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k is {k}, expected at least 1")
