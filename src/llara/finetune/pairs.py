"""Training examples on disk: every distinct passage once, and each query's positives and negatives by number.

    passages.arrow   text of each passage, its title joined
    queries.arrow    id and text of each query
    lists.npz        each query's source, question, positives, negatives and their scores, end to end, and
                     each question's positives; queries with one text are one question

Texts are memory-mapped, so a run holds only numbers in memory; building holds 16 bytes and an entry of a
dictionary (about 120 bytes) for each distinct passage and question, and 20 to 40 bytes for each passage of a
query.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from llara.corpus import Document
from llara.datasets import TrainingExample
from llara.encode import document_text
from llara.errors import InputError
from llara.files import atomic_directory
from llara.training import say

__all__ = ["Example", "PairStore", "build_pairs"]

_BLOCK_ROWS = 1000
_BLOCK_QUERIES = 65_536
_SHIFT = 32  # question and passage in one number: fewer than 2**31 and 2**32 of them
_LOW = (1 << _SHIFT) - 1


@dataclass(frozen=True)
class Example:
    """One query: its text, and the numbers of its passages in the store, with the teacher's scores."""

    query_id: str
    query: str
    positives: np.ndarray  # int64 [P]
    negatives: np.ndarray  # int64 [N]
    known: np.ndarray  # int64 [K], the positives of all queries with this text
    positive_scores: np.ndarray | None  # float32 [P]
    negative_scores: np.ndarray | None  # float32 [N]


class PairStore:
    """Random access to what :func:`build_pairs` wrote."""

    def __init__(self, directory: Path) -> None:
        self.queries = _open(directory / "queries.arrow")
        self.passages = _open(directory / "passages.arrow")
        lists = np.load(directory / "lists.npz")
        self.sources: np.ndarray = lists["sources"]  # [Q]
        self._ends = {
            side: np.concatenate([[0], lists[f"{side}_ends"]]) for side in ("positives", "negatives")
        }
        self._questions: np.ndarray = lists["questions"]  # [Q]
        self._known, self._known_ends = lists["known"], np.concatenate([[0], lists["known_ends"]])
        self._numbers = {side: lists[side] for side in self._ends}
        self._scores = {side: lists[f"{side}_scores"] for side in self._ends}

    def __len__(self) -> int:
        return int(self.queries.num_rows)

    def __getitem__(self, index: int) -> Example:
        question = self._questions[index]
        numbers, scores = {}, {}
        for side, ends in self._ends.items():
            part = slice(ends[index], ends[index + 1])
            numbers[side] = self._numbers[side][part]
            found = self._scores[side][part]
            scores[side] = None if np.isnan(found).any() else found
        return Example(
            query_id=self.queries["id"][index].as_py(),
            query=self.queries["text"][index].as_py(),
            positives=numbers["positives"],
            negatives=numbers["negatives"],
            known=self._known[self._known_ends[question] : self._known_ends[question + 1]],
            positive_scores=scores["positives"],
            negative_scores=scores["negatives"],
        )

    def passage(self, number: int) -> str:
        """The text of a passage."""
        text: str = self.passages["text"][number].as_py()
        return text

    def same_text(self, held: np.ndarray) -> np.ndarray:
        """Numbers of the queries whose text is that of one of ``held``, them included: int64, ascending."""
        return np.flatnonzero(np.isin(self._questions, self._questions[held]))

    def num_negatives(self) -> np.ndarray:
        """How many negatives each query has, int64 [Q]."""
        return np.diff(self._ends["negatives"])

    def without_scores(self) -> np.ndarray:
        """Whether a query lacks a teacher's score for any of its passages, bool [Q]."""
        lacking = np.zeros(len(self), dtype=bool)
        for side, ends in self._ends.items():
            missing = np.concatenate([[0], np.cumsum(np.isnan(self._scores[side]))])
            lacking |= missing[ends[1:]] > missing[ends[:-1]]
        return lacking


def build_pairs(
    sources: Sequence[Iterable[TrainingExample]], directory: Path, *, title_separator: str | None
) -> PairStore:
    """Write the examples of all sources, one source after another, and open them.

    The same question in several examples is one question: what answers it in one is no negative in another.

    Args:
        title_separator: what stands between a passage's title and its text; None leaves titles out.

    Raises:
        InputError: what the sources raise, or no query has a positive with a text.
        OutputError: the disk is full or read-only.
    """
    numbers: dict[bytes, int] = {}  # digest of a passage's text -> its number
    source_of: list[int] = []
    questions: dict[bytes, int] = {}  # digest of a query's text -> its number
    question_of = array("q")
    sides = {"positives": _Side(), "negatives": _Side()}
    num_left_out = num_without = 0
    with atomic_directory(directory, overwrite=True) as target:
        with (
            _Table(target / "passages.arrow", ["text"]) as passages,
            _Table(target / "queries.arrow", ["id", "text"]) as queries,
        ):

            def number_of(text: str) -> int:
                digest = _digest(text)
                if digest not in numbers:
                    numbers[digest] = len(numbers)
                    passages.add(text)
                return numbers[digest]

            for source, examples in enumerate(sources):
                for example in examples:
                    seen: set[str] = set()
                    kept = [
                        _distinct(example.positives, example.positive_scores, title_separator, seen),
                        _distinct(example.negatives, example.negative_scores, title_separator, seen),
                    ]
                    num_left_out += len(example.positives) + len(example.negatives) - len(seen)
                    if not kept[0]:
                        num_without += 1
                        continue
                    queries.add(example.query_id, example.query)
                    source_of.append(source)
                    question_of.append(questions.setdefault(_digest(example.query), len(questions)))
                    for side, found in zip(sides.values(), kept, strict=True):
                        side.add([number_of(text) for text, _ in found], [score for _, score in found])
        if not source_of:
            raise InputError("no query has a positive with a text; set pairs.title_separator to use titles")
        positives, negatives = (side.lists() for side in sides.values())
        asked = np.frombuffer(question_of, dtype=np.int64)
        answers = _answers(asked, positives)
        negatives, num_removed = _without(negatives, asked, answers)
        num_left_out += num_removed
        np.savez(
            target / "lists.npz",
            sources=np.array(source_of, dtype=np.int16),
            questions=asked,
            **positives.arrays("positives"),  # type: ignore[arg-type]
            **negatives.arrays("negatives"),  # type: ignore[arg-type]
            known=answers & _LOW,
            known_ends=np.cumsum(np.bincount(answers >> _SHIFT)),
        )
    if num_left_out:
        say(f"passages left out, blank or the same text as another of their question: {num_left_out:,}")
    if num_without:
        say(f"queries left out, as no positive has a text: {num_without:,}")
    return PairStore(directory)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _answers(question_of: np.ndarray, positives: _Lists) -> np.ndarray:
    """The distinct (question, positive) pairs of all queries, as one number each, ascending: int64 [K].

    The question stands in the upper 32 bits.
    """
    questions = np.repeat(question_of, np.diff(positives.ends, prepend=0))
    return np.unique(questions << _SHIFT | positives.numbers)


def _without(negatives: _Lists, question_of: np.ndarray, answers: np.ndarray) -> tuple[_Lists, int]:
    """The negatives that are no answer of their question, see ``_answers``, and how many were."""
    kept = np.empty(len(negatives.numbers), dtype=bool)
    counts = np.empty(len(question_of), dtype=np.int64)
    starts = np.concatenate([[0], negatives.ends])
    for first in range(0, len(question_of), _BLOCK_QUERIES):
        last = min(first + _BLOCK_QUERIES, len(question_of))
        part = slice(starts[first], starts[last])
        bounds = starts[first : last + 1] - starts[first]
        questions = np.repeat(question_of[first:last], np.diff(bounds))
        pairs = questions << _SHIFT | negatives.numbers[part]
        place = np.searchsorted(answers, pairs)
        kept[part] = answers[np.minimum(place, len(answers) - 1)] != pairs
        counts[first:last] = np.diff(np.concatenate([[0], np.cumsum(kept[part])])[bounds])
    left = _Lists(negatives.numbers[kept], negatives.scores[kept], np.cumsum(counts))
    return left, len(kept) - len(left.numbers)


def _distinct(
    documents: Sequence[Document],
    scores: Sequence[float] | None,
    title_separator: str | None,
    seen: set[str],
) -> list[tuple[str, float]]:
    """Texts with scores (NaN: unknown), less blank ones and those in ``seen``, to which they are added.

    What differs by its title alone is one text where titles are left out.
    """
    kept = []
    for document, score in zip(documents, scores or [math.nan] * len(documents), strict=True):
        text = document_text(document, title_separator)
        if text.strip() and text not in seen:
            seen.add(text)
            kept.append((text, score))
    return kept


@dataclass(frozen=True)
class _Lists:
    """The positives, or the negatives, of all queries, end to end."""

    numbers: np.ndarray  # int64 [R]
    scores: np.ndarray  # float32 [R]
    ends: np.ndarray  # int64 [Q], where each query's part ends

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return {name: self.numbers, f"{name}_scores": self.scores, f"{name}_ends": self.ends}


class _Side:
    """Lists that grow by a query at a time."""

    def __init__(self) -> None:
        self._numbers, self._scores, self._ends = array("q"), array("f"), array("q")

    def add(self, numbers: Sequence[int], scores: Sequence[float]) -> None:
        self._numbers.extend(numbers)
        self._scores.extend(scores)
        self._ends.append(len(self._numbers))

    def lists(self) -> _Lists:
        """What was added, not copied."""
        return _Lists(
            np.frombuffer(self._numbers, dtype=np.int64),
            np.frombuffer(self._scores, dtype=np.float32),
            np.frombuffer(self._ends, dtype=np.int64),
        )


class _Table:
    """An Arrow file of strings, written a block at a time."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.schema = pa.schema([(name, pa.string()) for name in columns])
        self._writer = pa.ipc.new_file(path, self.schema)
        self._rows: list[tuple[str, ...]] = []

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, *row: str) -> None:
        self._rows.append(row)
        if len(self._rows) == _BLOCK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
            self._writer.write_batch(pa.record_batch(columns, schema=self.schema))
            self._rows = []


def _open(path: Path) -> pa.Table:
    """A memory-mapped table."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
