"""The questions of all sources, looked at before anything is searched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from llara.corpus import Document
from llara.datasets import read_training
from llara.errors import InputError

__all__ = ["repeated_questions"]


def repeated_questions(
    data: Sequence[str | Path], *, split: str, corpus: str | Path | None
) -> dict[str, list[Document]]:
    """The questions that stand in several examples, each with the positives of all of them.

    What answers a question in one example is no negative of it in another. Memory holds 100 bytes or so for
    each query, and the positives of those that are repeated; the data are read once, twice if some are.

    Raises:
        InputError: the data cannot be read, or a query id is in two sources.
    """
    source_of: dict[str, int] = {}
    seen: set[bytes] = set()
    repeated: set[bytes] = set()
    for number, source in enumerate(data):
        for example in read_training(source, split=split, corpus=corpus):
            if source_of.setdefault(example.query_id, number) != number:
                raise InputError(
                    f"{example.where}: the query id {example.query_id!r} is in another source, too; mine the "
                    "sources one by one, or give their queries other ids"
                )
            digest = _digest(example.query)
            (repeated if digest in seen else seen).add(digest)
    answers: dict[str, list[Document]] = {}
    for source in data if repeated else ():
        for example in read_training(source, split=split, corpus=corpus):
            if _digest(example.query) in repeated:
                answers.setdefault(example.query, []).extend(example.positives)
    return answers


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
