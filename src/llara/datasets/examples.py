"""What a training example is, and what is left out before one is used."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple, TypeVar

from llara.corpus import Document
from llara.errors import InputError

__all__ = ["DataReport", "QueryById", "TrainingExample", "checked", "looked_up", "text_id", "wanted_passages"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A query, the passages that answer it, and some that do not.

    Titles stay apart from texts. Scores are those of a teacher, one to a passage and any finite
    numbers; None where they are not known, or where there is no passage. ``where`` is the place the
    example was read from, for messages, and no part of its identity.

    Raises:
        InputError: scores are not one to a passage, or not finite.
    """

    query_id: str
    query: str
    positives: tuple[Document, ...]
    negatives: tuple[Document, ...] = ()
    positive_scores: tuple[float, ...] | None = None
    negative_scores: tuple[float, ...] | None = None
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for side in ("positive", "negative"):
            passages, scores = getattr(self, f"{side}s"), getattr(self, f"{side}_scores")
            place = self.where or f"query {self.query_id!r}"
            if scores is None:
                continue
            if len(scores) != len(passages):
                raise InputError(
                    f"{place}: {len(scores)} scores for {len(passages)} {side} passages; expected one to each"
                )
            for score in scores:
                if not math.isfinite(score):
                    raise InputError(
                        f"{place}: the score {score} of a {side} passage; expected a finite number"
                    )
            if not scores:
                object.__setattr__(self, f"{side}_scores", None)


@dataclass
class DataReport:
    """Counts what was read and what was left out, and keeps the first place of each kind.

    >>> report = DataReport(queries=2, positives=3, negatives=1)
    >>> report.count("blank_passages", "a.jsonl:7")
    >>> print(report)
    2 queries with 3 positives and 1 negative
      blank passages, left out: 1, the first at a.jsonl:7
    """

    queries: int = 0
    positives: int = 0
    negatives: int = 0
    without_negative: int = field(default=0, metadata={"says": "queries without a negative, kept"})
    without_positive: int = field(default=0, metadata={"says": "queries without a positive, left out"})
    blank_queries: int = field(default=0, metadata={"says": "blank queries, left out"})
    repeated_queries: int = field(
        default=0, metadata={"says": "queries whose id and text came before, left out"}
    )
    unknown_queries: int = field(default=0, metadata={"says": "query ids without a text, left out"})
    blank_passages: int = field(default=0, metadata={"says": "blank passages, left out"})
    repeated_passages: int = field(default=0, metadata={"says": "passages that came before, left out"})
    unknown_passages: int = field(default=0, metadata={"says": "passage ids not in the corpus, left out"})
    positive_negatives: int = field(
        default=0, metadata={"says": "negatives that are positives of their query too, left out"}
    )
    first: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, where: str) -> None:
        """One more of the field ``kind``, met at ``where``."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.first.setdefault(kind, where)

    def __str__(self) -> str:
        lines = [
            f"{_number(self.queries, 'query', 'queries')} with "
            f"{_number(self.positives, 'positive', 'positives')} and "
            f"{_number(self.negatives, 'negative', 'negatives')}"
        ]
        for kind in fields(self):
            number = getattr(self, kind.name)
            if "says" in kind.metadata and number:
                lines.append(f"  {kind.metadata['says']}: {number:,}, the first at {self.first[kind.name]}")
        return "\n".join(lines)


class QueryById(NamedTuple):
    """A query whose passages are still ids."""

    query_id: str
    query: str
    positives: list[str]
    negatives: list[str]
    where: str


class JudgedIds:
    """Gathers judgements line by line: for each query the ids of its positives and its negatives.

    In memory: each judgement's pair of ids, a passage id once and eight bytes wherever else it comes.

    >>> judged = JudgedIds()
    >>> judged.add("qrels.tsv:1", "q1", "d1", positive=True)
    >>> judged.add("qrels.tsv:2", "q1", "d2", positive=False)
    >>> judged.with_texts([Document("q1", "Who purrs?")], DataReport(), source="queries.tsv")
    [QueryById(query_id='q1', query='Who purrs?', positives=['d1'], negatives=['d2'], where='qrels.tsv:1')]
    """

    def __init__(self) -> None:
        self.queries: dict[str, QueryById] = {}
        self._ids: dict[str, str] = {}

    def add(self, where: str, query_id: str, passage_id: str, *, positive: bool) -> None:
        if query_id not in self.queries:
            self.queries[query_id] = QueryById(query_id, "", [], [], where)
        query = self.queries[query_id]
        passages = query.positives if positive else query.negatives
        passages.append(self._ids.setdefault(passage_id, passage_id))

    def with_texts(self, texts: Iterable[Document], report: DataReport, *, source: str) -> list[QueryById]:
        """The queries in the order they came in, with their texts out of ``texts``, which is read once.

        Raises:
            InputError: a query id has two texts.
        """
        found: dict[str, str] = {}
        for text in texts:
            if text.id not in self.queries:
                continue
            if text.id in found:
                if found[text.id] != text.text:
                    raise InputError(
                        f"{source}: the query id {text.id!r} has two texts; expected one to an id"
                    )
                report.count("repeated_queries", f"{source} ({text.id!r})")
            found.setdefault(text.id, text.text)
        for query_id, query in self.queries.items():
            if query_id not in found:
                report.count("unknown_queries", f"{query.where} ({query_id!r})")
        return [query._replace(query=found[i]) for i, query in self.queries.items() if i in found]


def text_id(text: str) -> str:
    """An id for a passage that has none: the same for the same text, 16 hexadecimal digits.

    >>> text_id("Cats purr."), text_id("Cats purr.") == text_id("Dogs bark.")
    ('cef49cb3462727e2', False)
    """
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


def wanted_passages(
    documents: Iterable[Document], wanted: set[str], report: DataReport
) -> dict[str, Document]:
    """Passages by id: those of ``documents``, read once, whose ids are wanted. Only they are kept.

    Raises:
        InputError: a wanted id has two texts.
    """
    passages: dict[str, Document] = {}
    for document in documents:
        if document.id not in wanted:
            continue
        if document.id in passages:
            if passages[document.id] != document:
                raise InputError(
                    f"the passage {document.id!r} has two texts in the corpus; expected one to an id"
                )
            report.count("repeated_passages", f"the corpus, {document.id!r}")
            continue
        passages[document.id] = document
    return passages


def looked_up(
    queries: Callable[[], Iterable[QueryById]],
    documents: Callable[[set[str]], Iterable[Document]],
    report: DataReport,
) -> Iterator[TrainingExample]:
    """Examples of queries whose passages are ids.

    In memory: the ids that any query names, and their passages. For the 502,939 queries and 532,761
    judgements of MS MARCO's training set 0.6 GB, queries included, whatever the size of the corpus.

    Args:
        queries: gives the queries anew at each call; called twice.
        documents: gives the corpus, or at least its passages with these ids.
    """
    wanted = {i for query in queries() for i in (*query.positives, *query.negatives)}
    passages = wanted_passages(documents(wanted), wanted, report)
    for query in queries():
        found: list[tuple[Document, ...]] = []
        for ids in (query.positives, query.negatives):
            for i in ids:
                if i not in passages:
                    report.count("unknown_passages", f"{query.where} ({i!r})")
            found.append(tuple(passages[i] for i in ids if i in passages))
        yield TrainingExample(query.query_id, query.query, found[0], found[1], where=query.where)


def checked(
    examples: Iterable[TrainingExample], report: DataReport, *, source: str
) -> Iterator[TrainingExample]:
    """The examples that can be used, each less what cannot; all that is left out is counted.

    In memory: an id and a number for each query.

    Raises:
        InputError: one query id has two texts, or nothing can be used.
    """
    text_of: dict[str, int] = {}
    num_kept = 0
    for example in examples:
        if not example.query.strip():
            report.count("blank_queries", example.where)
            continue
        text = hash(example.query)
        if example.query_id in text_of:
            if text_of[example.query_id] != text:
                raise InputError(
                    f"{example.where}: the query id {example.query_id!r} has another text above; "
                    "expected one text to an id"
                )
            report.count("repeated_queries", example.where)
            continue
        text_of[example.query_id] = text
        example = _less_unusable(example, report)
        if not example.positives:
            report.count("without_positive", example.where)
            continue
        if not example.negatives:
            report.count("without_negative", example.where)
        num_kept += 1
        report.queries += 1
        report.positives += len(example.positives)
        report.negatives += len(example.negatives)
        yield example
    if num_kept == 0:
        raise InputError(f"{source}: no query there can be trained on; {report}")


def _less_unusable(example: TrainingExample, report: DataReport) -> TrainingExample:
    """The example without blank and repeated passages, nor negatives that are positives too."""
    kept: list[list[int]] = []
    taken: set[str | tuple[str, str]] = set()  # ids, and titles with texts, of the passages kept so far
    for side in (example.positives, example.negatives):
        positives = frozenset(taken)
        kept.append([])
        for n, passage in enumerate(side):
            keys = (passage.id, (passage.title, passage.text))
            if not (passage.title.strip() or passage.text.strip()):
                report.count("blank_passages", f"{example.where} ({passage.id!r})")
            elif not positives.isdisjoint(keys):
                report.count("positive_negatives", f"{example.where} ({passage.id!r})")
            elif not taken.isdisjoint(keys):
                report.count("repeated_passages", f"{example.where} ({passage.id!r})")
            else:
                taken.update(keys)
                kept[-1].append(n)
    if [len(numbers) for numbers in kept] == [len(example.positives), len(example.negatives)]:
        return example
    return replace(
        example,
        positives=_chosen(example.positives, kept[0]),
        negatives=_chosen(example.negatives, kept[1]),
        positive_scores=example.positive_scores and _chosen(example.positive_scores, kept[0]),
        negative_scores=example.negative_scores and _chosen(example.negative_scores, kept[1]),
    )


def _chosen(items: tuple[Item, ...], numbers: list[int]) -> tuple[Item, ...]:
    return tuple(items[n] for n in numbers)


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
