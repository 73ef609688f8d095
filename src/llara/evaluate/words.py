"""Systems that search by words: BM25, and the words that a model's vectors hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llara.datasets import StreamedCollection
from llara.encode import encode_texts, longest_input
from llara.evaluate.ranking import TopDocuments
from llara.evaluate.reading import Block, Reading
from llara.lexical import Bm25Index, LexicalIndex, WordIndex
from llara.postings import Postings
from llara.search import Run

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llara.words import WordHead

__all__ = ["BM25", "Bm25System", "LexicalSystem"]

BM25 = "BM25"


class Bm25System:
    """BM25 with Lucene's parameters; see ``llara.lexical``. Memory holds its index, not the texts."""

    def __init__(self, *, reading: Reading = Reading(), k1: float = 1.2, b: float = 0.75) -> None:  # noqa: B008
        self.name = BM25
        self.reading = reading
        self.settings = {"k1": k1, "b": b, **reading.settings()}

    def run(self, collection: StreamedCollection, *, depth: int) -> Run:
        """See ``System.run``. A document that shares no word with a query is no hit."""
        k1, b = self.settings["k1"], self.settings["b"]
        seen = _Seen()
        texts = (text for block in seen(self.reading.blocks(collection.documents())) for text in block.texts)
        return seen.run(Bm25Index(texts, k1=k1, b=b), collection, depth)


class LexicalSystem:
    """The lexical vectors of documents (``llara.words``), searched by a query's own words.

    They are made as ``llara index --lexical`` makes them. Memory holds their index and 4,096 texts.

    Args:
        head: of the model's directory; it knows how much of a text the model reads.
    """

    def __init__(
        self,
        name: str,
        model: SentenceTransformer,
        head: WordHead,
        *,
        identity: dict[str, Any] | None = None,
        reading: Reading = Reading(),  # noqa: B008 - frozen
        batch_size: int = 64,
        shown: Callable[[Iterator[Block], str], Iterator[Block]] = lambda blocks, _: blocks,
    ) -> None:
        self.name = name
        self.model, self.head = model, head
        self.reading = reading
        self.batch_size = batch_size
        self._shown = shown
        self.settings = {**(identity or {}), "max_tokens": longest_input(model), **reading.settings()}

    def run(self, collection: StreamedCollection, *, depth: int) -> Run:
        """See ``System.run``. A document that shares no word with a query is no hit."""
        seen = _Seen()
        blocks = self._shown(self.reading.blocks(collection.documents()), f"{self.name}: {collection.name}")
        postings = Postings.build(terms for block in seen(blocks) for terms in self._terms(block.texts))
        return seen.run(LexicalIndex(postings), collection, depth)

    def _terms(self, texts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        vectors_ND = encode_texts(self.model, list(texts), role="document", batch_size=self.batch_size)
        return self.head.lexical(texts, vectors_ND)


class _Seen:
    """The documents that have streamed past, and where the texts of each begin."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._starts: list[int] = []
        self._texts = 0

    def __call__(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The same blocks."""
        for block in blocks:
            self._ids += block.ids
            self._starts += [self._texts + start for start in block.starts]
            self._texts += len(block.texts)
            yield block

    def run(self, index: WordIndex, collection: StreamedCollection, depth: int) -> Run:
        """Each query's best documents; a document's score is that of its best text, and 0 is no hit."""
        top = TopDocuments.of(collection, depth)
        starts_N = np.array(self._starts)
        for query, text in enumerate(collection.queries.values()):
            scores_N = np.maximum.reduceat(index.scores(text), starts_N)
            top.add(query, np.where(scores_N > 0, scores_N, -np.inf), self._ids)
        return top.run()
