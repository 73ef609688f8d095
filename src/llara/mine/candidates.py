"""What is searched, and the candidates that the searches find for a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from llara.corpus import Document
from llara.datasets import TrainingExample
from llara.encode import document_text
from llara.errors import InputError
from llara.mine.filters import known_positives, normalised, words_of
from llara.mine.searches import Found, Passages, search_bm25, search_dense
from llara.search import Bm25, Searcher

__all__ = ["Candidates", "Memory", "Passage", "Pool"]

_SLACK = 16  # hits beyond those asked for, in case some have the text of a positive
_PASSAGES_CACHED = 20_000


class Memory:
    """Documents held in memory.

    Raises:
        InputError: two have one id.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._positions: dict[str, int] = {}
        for position, document in enumerate(documents):
            first = self._positions.setdefault(document.id, position)
            if first != position:
                raise InputError(
                    f"the passages {first + 1:,} and {position + 1:,} of the corpus have one id, "
                    f"{document.id!r}; ids must be unique, or a passage could not be told from another"
                )

    def documents(self, positions: Sequence[int]) -> list[Document]:
        """See ``Passages``."""
        return [self._documents[position] for position in positions]

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """See ``Passages``."""
        return {id_: self._positions[id_] for id_ in ids if id_ in self._positions}


class Passage:
    """A document, its text as the model sees it, and what the filters compare."""

    def __init__(self, document: Document, title_separator: str | None) -> None:
        self.document = document
        self.text = document_text(document, title_separator)

    @cached_property
    def key(self) -> str:
        """The normalised text."""
        return normalised(self.text)

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of the text."""
        return words_of(self.text)


@dataclass(frozen=True)
class Candidates:
    """What S searches found for one query, known positives left out: C passages.

    Attributes:
        known: the positives of every example with the query's text.
        ranks: int64 [S, C], each search's rank from 1 to last_rank without known positives; 0: not found.
        scores: float32 [C].
        positive_scores: float32 [P], one to each of ``positives``; zeros if nobody asked for them.
        num_known: known positives that were found and left out.
    """

    positives: list[Passage]
    known: list[Passage]
    passages: list[Passage]
    ranks: np.ndarray
    scores: np.ndarray
    positive_scores: np.ndarray
    num_known: int


class Pool:
    """The passages that are searched, and by what: an index and its model, BM25, or both.

    Args:
        passages: in the order of the index and of BM25.
        searcher: scores the candidates, if there is one; else BM25 does.
        dense: whether the searcher proposes candidates, too.
    """

    def __init__(
        self,
        passages: Passages,
        *,
        size: int,
        title_separator: str | None,
        searcher: Searcher | None,
        dense: bool,
        bm25: Bm25 | None,
        batch_size: int,
    ) -> None:
        self.size = size
        self._passages = passages
        self._title_separator = title_separator
        self._searcher = searcher
        self._dense = dense
        self._bm25 = bm25
        self._batch_size = batch_size
        self._passage = lru_cache(_PASSAGES_CACHED)(self._read)

    def _read(self, position: int) -> Passage:
        return Passage(self._passages.documents([position])[0], self._title_separator)

    def candidates(
        self,
        examples: Sequence[TrainingExample],
        last_rank: int,
        answers: Mapping[str, Sequence[Document]],
        *,
        score_positives: bool,
    ) -> Iterator[Candidates]:
        """The candidates of each example; all of ``examples`` are searched for at once.

        Args:
            answers: of questions that stand in several examples, the positives of all.
        """
        depth = last_rank + _SLACK + max(len(example.positives) for example in examples)
        searches: list[Found] = []
        if self._searcher is not None:
            searches.append(search_dense(self._searcher, examples, depth, batch_size=self._batch_size))
        if self._bm25 is not None:
            searches.append(search_bm25(self._bm25, self._passages, examples, self._title_separator))
        scorer, proposing = searches[0], searches if self._dense else searches[-1:]
        for row, example in enumerate(examples):
            positives = [Passage(document, self._title_separator) for document in example.positives]
            also = [Passage(document, self._title_separator) for document in answers.get(example.query, ())]
            known: set[int] = set()
            rankings = [self._ranking(found, row, also or positives, last_rank, known) for found in proposing]
            positions = list(dict.fromkeys(position for ranking in rankings for position in ranking))
            yield Candidates(
                positives=positives,
                known=also or positives,
                passages=[self._passage(position) for position in positions],
                ranks=_ranks(rankings, positions),
                scores=scorer.scores(row, np.array(positions, dtype=np.int64)),
                positive_scores=scorer.positive_scores(row)
                if score_positives
                else np.zeros(len(positives), dtype=np.float32),
                num_known=len(known),
            )

    def _ranking(
        self, found: Found, row: int, positives: Sequence[Passage], last_rank: int, known: set[int]
    ) -> list[int]:
        """The best ``last_rank`` positions that are no known positive; those that are go to ``known``."""
        ids = {passage.document.id for passage in positives}
        texts = {passage.key for passage in positives}
        depth = last_rank + len(positives) + _SLACK
        while True:
            hits = found.ranking(row, depth).tolist()
            passages = [self._passage(position) for position in hits]
            is_known = known_positives(
                [passage.document.id for passage in passages],
                [passage.key for passage in passages],
                positive_ids=ids,
                positive_texts=texts,
            )
            others = np.flatnonzero(~is_known)[:last_rank]
            if len(others) == last_rank or len(hits) < depth:
                break
            depth *= 2
        end = others[-1] if len(others) == last_rank else len(hits)
        known.update(hits[n] for n in np.flatnonzero(is_known[:end]))
        return [hits[n] for n in others]


def _ranks(rankings: Sequence[Sequence[int]], positions: Sequence[int]) -> np.ndarray:
    """Each ranking's rank of each position, 0 where it is not in it: int64 [S, C].

    >>> _ranks([[7, 5], [5, 9]], [7, 5, 9])
    array([[1, 2, 0],
           [0, 1, 2]])
    """
    column = {position: n for n, position in enumerate(positions)}
    ranks = np.zeros((len(rankings), len(positions)), dtype=np.int64)
    for row, ranking in zip(ranks, rankings, strict=True):
        row[[column[position] for position in ranking]] = np.arange(1, len(ranking) + 1)
    return ranks
