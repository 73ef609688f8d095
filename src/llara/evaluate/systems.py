"""What can be asked: a retriever, words, a run from elsewhere; each turns a collection into a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llara.datasets import StreamedCollection
from llara.encode import Role, encode_texts, longest_input
from llara.encode.lexical import check_lexical
from llara.errors import ConfigError, InputError
from llara.evaluate.ranking import TopDocuments, exact_scores
from llara.evaluate.reading import Block, Reading
from llara.evaluate.words import Bm25System, LexicalSystem
from llara.files import sha256_of
from llara.indexes import Words
from llara.search import Run, read_run

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "DenseSystem",
    "RunSystem",
    "System",
    "check_system",
    "fingerprint_of",
    "open_system",
    "place_of",
    "searches_words",
    "words_of",
]

_POOLINGS = ("cls", "mean", "last")


class System(Protocol):
    """One row of a table."""

    @property
    def name(self) -> str:
        """What the row is called."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its numbers depend on."""

    def run(self, collection: StreamedCollection, *, depth: int) -> Run:
        """For each query of the collection its ``depth`` best documents; the corpus is read once."""


class DenseSystem:
    """A retriever: every document against every query, exactly. Memory holds 4,096 texts at a time.

    A model that compares by dot product is asked so, whatever the lengths of its vectors; others by cosine.
    """

    def __init__(
        self,
        name: str,
        model: SentenceTransformer,
        *,
        identity: dict[str, Any] | None = None,
        query_role: Role = "query",
        document_role: Role = "document",
        reading: Reading = Reading(),  # noqa: B008 - frozen
        batch_size: int = 64,
        progress: bool = False,
    ) -> None:
        self.name = name
        self.model = model
        self.query_role, self.document_role = query_role, document_role
        self.reading = reading
        self.batch_size = batch_size
        self.progress = progress
        self.settings = {
            **(identity or {}),
            "max_tokens": longest_input(model),
            "query_role": query_role,
            "document_role": document_role,
            **reading.settings(),
        }
        if model.similarity_fn_name == "dot":
            self.settings["similarity"] = "dot"

    def run(self, collection: StreamedCollection, *, depth: int) -> Run:
        """See ``System.run``."""
        queries_QD = self._encode(list(collection.queries.values()), self.query_role)
        top = TopDocuments.of(collection, depth)
        blocks = self.reading.blocks(collection.documents())
        for block in _shown(blocks, self.progress, f"{self.name}: {collection.name}"):
            scores_QP = exact_scores(queries_QD, self._encode(block.texts, self.document_role))
            _add_best_passages(top, scores_QP, block)
        return top.run()

    def _encode(self, texts: list[str], role: Role) -> np.ndarray:
        return encode_texts(self.model, texts, role=role, batch_size=self.batch_size, own_similarity=True)


@dataclass
class RunSystem:
    """A TREC run file made elsewhere; ``{dataset}`` in its path stands for the collection's name.

    Raises:
        InputError: the file is missing or malformed, or has no judged query of the collection.
    """

    name: str
    path: str

    @property
    def settings(self) -> dict[str, Any]:
        """The file."""
        return {"run": self.path}

    def file(self, dataset: str) -> Path:
        """Where the run on a data set is."""
        return Path(self.path.replace("{dataset}", dataset))

    def run(self, collection: StreamedCollection, *, depth: int) -> Run:
        """See ``System.run``; the run as it is, however deep."""
        path = self.file(collection.name)
        found = read_run(path)
        if not found.keys() & collection.qrels.keys():  # the queries may be others', to choose weights by
            raise InputError(
                f"{path}: of its {len(found):,} queries, such as {next(iter(found), '')!r}, none is judged "
                f"in {collection.name}, whose queries are such as {next(iter(collection.qrels))!r}"
            )
        top = TopDocuments.of(collection, max(depth, *map(len, found.values())))
        for query, query_id in enumerate(collection.queries):
            scores = found.get(query_id, {})
            top.add(query, np.array(list(scores.values()), dtype=np.float64), list(scores))
        return top.run()


def open_system(
    spec: str,
    *,
    query_role: Role = "query",
    document_role: Role = "document",
    reading: Reading = Reading(),  # noqa: B008 - frozen
    batch_size: int = 64,
    device: str | None = None,
    progress: bool = False,
) -> System:
    """The system that a word names.

    ``bm25`` (or ``none``); ``run:FILE``; ``lexical:NAME``: the words that a retriever's vectors hold;
    ``cls:NAME``, ``mean:NAME``, ``last:NAME``: a plain Hugging Face model with that pooling (the paper's
    Eq. 1, 2 and 3); anything else is a retriever's directory or name.

    Args:
        reading: with titles, a model of ours sees them as it was trained to; without, it sees none.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: nothing stands after ``run:`` or a pooling.
    """
    kind, rest = _kind(spec)
    if kind == "bm25":
        return Bm25System(reading=reading)
    if kind == "run":
        return RunSystem(name=spec, path=rest)
    if kind in _POOLINGS:
        from llara.evaluate.plain import load_plain

        model, identity = load_plain(rest, kind, device=device), {"model": rest, "pooling": kind}
    else:
        from llara.model import load

        model, identity = load(rest, device=device), {"model": rest}
    place = place_of(spec)
    if place is not None:
        from llara.model import title_separator_of

        identity["fingerprint"] = fingerprint_of(place)
        if kind not in _POOLINGS and reading.title_separator is not None:
            reading = replace(reading, title_separator=title_separator_of(rest))
    if kind == "lexical":
        from llara.hub import local_directory
        from llara.words import WordHead

        directory = local_directory(rest)
        check_lexical("document", directory)
        return LexicalSystem(
            spec,
            model,
            WordHead.of(directory, max_tokens=longest_input(model)),
            identity=identity,
            reading=reading,
            batch_size=batch_size,
            shown=lambda blocks, about: _shown(blocks, progress, about),
        )
    return DenseSystem(
        spec,
        model,
        identity=identity,
        query_role=query_role,
        document_role=document_role,
        reading=reading,
        batch_size=batch_size,
        progress=progress,
    )


def searches_words(spec: str) -> bool:
    """Whether what a word names searches by words alone."""
    return _kind(spec)[0] in ("bm25", "lexical")


def words_of(spec: str, words: Words) -> str:
    """The search by words that a system is fused with.

    >>> words_of("llara-mini", "bm25"), words_of("llara-mini", "lexical")
    ('bm25', 'lexical:llara-mini')

    Raises:
        ConfigError: its own words are asked for, and it is no retriever.
    """
    if words == "bm25":
        return "bm25"
    if _kind(spec)[0]:
        raise ConfigError(
            f"{spec} holds no words of its own to be fused with; expected a retriever, or --words bm25"
        )
    return f"lexical:{spec}"


def place_of(spec: str, dataset: str = "") -> Path | None:
    """Where what a system is made of stands: a model's directory, or its run on that data set.

    None of BM25, and of a model of the Hub, which its name stands for.
    """
    kind, name = _kind(spec)
    if kind == "bm25":
        return None
    if kind == "run":
        return RunSystem(spec, name).file(dataset)
    from llara.model import resolve

    place = Path(resolve(name))
    return place if place.is_dir() else None


def fingerprint_of(place: Path) -> str:
    """What is found at ``place_of`` a system, as a digest that changes with it."""
    from llara.model import fingerprint

    return fingerprint(place) if place.is_dir() else sha256_of(place)


def check_system(spec: str, datasets: Iterable[str]) -> None:
    """Say of a system that is not here that it is not, as far as can be known before it is opened.

    Args:
        datasets: the names of those that it will be asked about.

    Raises:
        ModelError, ConfigError: as ``open_system``.
        InputError: there is no such run.
    """
    kind, name = _kind(spec)
    if kind == "run":
        for path in map(RunSystem(spec, name).file, datasets):
            if not path.is_file():
                raise InputError(
                    f"{path}: no such run; expected a file in TREC's format ({{dataset}} in its path becomes "
                    "the data set's name)"
                )
    elif kind != "bm25":
        from llara.model import resolve

        place = resolve(name)
        if kind == "lexical" and Path(place).is_dir():
            check_lexical("document", place)


def _kind(spec: str) -> tuple[str, str]:
    """What a word names and by what name; a retriever is of no kind."""
    kind, colon, name = spec.partition(":")
    if spec.lower() in ("bm25", "none"):
        return "bm25", ""
    if not colon or kind not in ("run", "lexical", *_POOLINGS):
        return "", spec
    if not name:
        raise ConfigError(f"{spec!r} names nothing after the colon; expected such as {kind}:NAME")
    return kind, name


def _add_best_passages(top: TopDocuments, scores_QP: np.ndarray, block: Block) -> None:
    """Score each document by its best passage."""
    if len(block.starts) < scores_QP.shape[1]:
        scores_QP = np.maximum.reduceat(scores_QP, block.starts, axis=1)
    for query, scores_N in enumerate(scores_QP):
        top.add(query, scores_N, block.ids)


def _shown(blocks: Iterable[Block], progress: bool, about: str) -> Iterator[Block]:
    """The same, with a bar that counts documents."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(desc=about, unit=" documents", leave=False, disable=None if progress else True) as bar:
        for block in blocks:
            yield block
            bar.update(len(block.ids))
