"""Queries whose answer is known, without anybody judging: known-item retrieval on docstrings.

A docstring begins with a summary sentence. It is cut off: what is left, the body, is the document, and the
summary is a query whose one relevant document is that body. What makes the task honest:

* the body is all that a retriever sees. Neither summary nor qualified name is part of its text (the name is
  the document's id, to be shown to a reader), so no query is searched for in itself;
* every docstring is cut the same way, whether or not it serves as a query, so that relevant documents
  cannot be told from the others by their form;
* no query: a summary that several docstrings share, of fewer than four words, of mostly code, or that its
  own body repeats word for word;
* train and test queries come from different packages (for the standard library, different modules).

One judgement a query is a lower bound: another passage may answer it as well. Every system pays this alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from llara.corpus import Document
from llara.datasets import Collection
from llara.quickstart.prose import words_of
from llara.quickstart.pydocs import Passage, stable_hash

__all__ = ["adaptation_texts", "is_test_package", "known_items"]

QUERY_WORDS = range(4, 31)
TEST_SHARE = 0.3  # of the packages


def known_items(
    passages: Sequence[Passage], *, num_test_queries: int, num_train_queries: int | None = None
) -> dict[str, Collection]:
    """Collections by split, all passages in both: the queries of test packages in ``test``, of the others in
    ``train``, at most so many of each (None: all)."""
    corpus = {passage.id: Document(id=passage.id, text=passage.body) for passage in passages}
    splits: dict[str, Collection] = {
        split: Collection("pydocs", corpus, queries={}, qrels={}) for split in ("test", "train")
    }
    limits = {"test": num_test_queries, "train": num_train_queries}
    for passage in _query_passages(passages):
        name = "test" if is_test_package(passage.package) else "train"
        split, limit = splits[name], limits[name]
        if limit is not None and len(split.queries) >= limit:
            continue
        query_id = f"q.{passage.id}"
        split.queries[query_id] = passage.summary
        split.qrels[query_id] = {passage.id: 1}
    return splits


def adaptation_texts(passages: Sequence[Passage]) -> Iterator[Document]:
    """Plain text to adapt to: the documentation at full length, less every summary of a test package."""
    for passage in passages:
        text = passage.prose
        if passage.summary and not is_test_package(passage.package):
            text = f"{passage.summary} {text}"
        yield Document(id=passage.id, text=text)


def is_test_package(package: str) -> bool:
    """Whether queries of this package are for testing: three packages in ten, by a hash of the name."""
    # The other end of the hash that orders the packages: the first ones shall not all be of one kind.
    return int(stable_hash(package)[-8:], 16) < TEST_SHARE * 16**8


def _query_passages(passages: Sequence[Passage]) -> list[Passage]:
    """The passages that a query can be made of, in a random but fixed order."""
    shared = Counter(" ".join(words_of(passage.summary)) for passage in passages)
    chosen = [
        passage
        for passage in passages
        if shared[" ".join(words_of(passage.summary))] == 1 and _is_query(passage)
    ]
    return sorted(chosen, key=lambda passage: stable_hash(passage.id))


def _is_query(passage: Passage) -> bool:
    words = passage.summary.split()
    plain = [word for word in words if word.strip("'\"(),.:;!?*").replace("-", "").isalpha()]
    repeated = f" {' '.join(words_of(passage.summary))} " in f" {' '.join(words_of(passage.body))} "
    return (
        len(words) in QUERY_WORDS
        and len(plain) >= 0.7 * len(words)
        and "->" not in passage.summary
        and not repeated
    )
