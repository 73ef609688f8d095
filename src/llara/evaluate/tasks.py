"""What systems are asked about: collections and sets of sentence pairs, opened, named and checked."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llara.corpus import Document
from llara.datasets import Collection, Qrels, StreamedCollection, is_suite, open_collection, suite
from llara.datasets.benchmarks import catalogued, with_split
from llara.errors import ConfigError, InputError
from llara.evaluate.similarity import SentencePair, is_similarity_source, read_pairs
from llara.search import check_run_ids

__all__ = ["Dataset", "PairsTask", "RetrievalTask", "Task", "open_tasks"]

Dataset = str | Path | Collection | StreamedCollection


@dataclass(frozen=True)
class RetrievalTask:
    """A collection to measure on, and the judged queries of another split to choose weights by, if any."""

    collection: StreamedCollection
    tuning_queries: dict[str, str]
    tuning_qrels: Qrels

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def split(self) -> str | None:
        return self.collection.split

    @property
    def all_queries(self) -> dict[str, str]:
        return {**self.tuning_queries, **self.collection.queries}

    @property
    def digest(self) -> str:
        qrels = [self.tuning_qrels, self.collection.qrels]
        return _digest([self.all_queries, *qrels, self.collection.digest])


@dataclass(frozen=True)
class PairsTask:
    """A set of sentence pairs."""

    name: str
    split: str | None
    pairs: Sequence[SentencePair]

    @property
    def digest(self) -> str:
        return _digest(self.pairs)


Task = RetrievalTask | PairsTask


def _digest(content: object) -> str:
    """By which a data set is known again, so that its name alone does not make two into one."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def open_tasks(
    datasets: Sequence[Dataset],
    split: str | None,
    *,
    tune_split: str | None = None,
    ignore_identical_ids: bool | None = None,
    are_runs_written: bool = False,
) -> list[Task]:
    """Every data set, in the order given, each with a name of its own.

    Args:
        tune_split: the split whose queries are asked as well, to choose weights by.
        ignore_identical_ids: what the collections' own rule is replaced by.
        are_runs_written: refuse ids that a run file cannot hold: of queries now, of documents as they pass.

    Raises:
        ConfigError: two have one name, or the tuning split has no query of its own.
        InputError: one is missing or malformed, has no judged query, or an id cannot be written; one that was
            named, not a member of a suite, or all lack the tuning split.
    """
    members = [_member(*each, split or "test", tune_split) for each in _members(datasets, split)]
    if tune_split:
        _check_tuning(members, tune_split)
    tasks: list[Task] = []
    for member in members:
        if member.is_pairs:
            task: Task = _pairs_task(member.dataset, split or "test")
        else:
            task = _retrieval_task(member, split, tune_split, ignore_identical_ids, are_runs_written)
        if any(task.name == other.name for other in tasks):
            raise ConfigError(f"two data sets are called {task.name!r}; evaluate them one after the other")
        tasks.append(task)
    return tasks


@dataclass(frozen=True)
class _Member:
    """One of the data sets; ``tuning`` is what has the queries to choose weights by, None if nothing has."""

    dataset: Dataset
    is_of_suite: bool
    is_pairs: bool
    tuning: Dataset | None


def _members(datasets: Sequence[Dataset], split: str | None) -> Iterator[tuple[Dataset, bool]]:
    """The data sets, and of a suite its members; whether they are of one."""
    for dataset in datasets:
        if isinstance(dataset, str) and is_suite(dataset):
            yield from ((name, True) for name in suite(dataset, split))
        else:
            yield dataset, False


def _member(dataset: Dataset, is_of_suite: bool, split: str, tune_split: str | None) -> _Member:
    if not isinstance(dataset, str | Path):
        return _Member(dataset, is_of_suite, False, dataset if tune_split else None)
    is_pairs = _holds_pairs(dataset, split)
    tuning = with_split(dataset, tune_split) if tune_split and not is_pairs else None
    return _Member(dataset, is_of_suite, is_pairs, tuning)


def _check_tuning(members: Sequence[_Member], tune_split: str) -> None:
    """Members of a suite may lack the split, if others have it; those that were named may not."""
    collections = [member for member in members if not member.is_pairs]
    without = [member for member in collections if member.tuning is None]
    if not without:
        return
    names = ", ".join(str(member.dataset) for member in without)
    if len(without) == len(collections) or not all(member.is_of_suite for member in without):
        raise InputError(
            f"no split {tune_split!r} to choose weights by in {names}; name one that they have with "
            "--tune-split, evaluate them apart from the others, or fuse by --hybrid rrf, which has no weights"
        )
    warnings.warn(f"no hybrid on {names}: no split {tune_split!r} there to choose weights by", stacklevel=4)


def _pairs_task(dataset: Dataset, split: str) -> PairsTask:
    assert isinstance(dataset, str | Path)
    name = Path(dataset).resolve().stem if Path(dataset).exists() else str(dataset)
    return PairsTask(name, split, read_pairs(dataset, split))


def _retrieval_task(
    member: _Member,
    split: str | None,
    tune_split: str | None,
    ignore_identical_ids: bool | None,
    are_runs_written: bool,
) -> RetrievalTask:
    tuning = None if member.tuning is None else _collection(member.tuning, tune_split)
    collection = _collection(member.dataset, split)
    if tuning and tuning.queries.keys() <= collection.queries.keys():
        raise ConfigError(
            f"{collection.name}: all queries judged in {tune_split!r} are measured as well; weights "
            "are chosen on others. Name another split with --tune-split"
        )
    if ignore_identical_ids is not None:
        collection = replace(collection, ignore_identical_ids=ignore_identical_ids)
    if are_runs_written:
        check_run_ids([*(tuning.queries if tuning else ()), *collection.queries])
        collection = replace(collection, documents=_with_run_ids(collection.documents))
    return RetrievalTask(collection, tuning.queries if tuning else {}, tuning.qrels if tuning else {})


def _holds_pairs(dataset: str | Path, split: str) -> bool:
    """Whether it is read as sentence pairs; the Hub is asked of no id of the catalogue."""
    if Path(dataset).is_file():
        return True
    return catalogued(dataset) is None and is_similarity_source(dataset, split)


def _collection(dataset: Dataset, split: str | None) -> StreamedCollection:
    """The collection, checked to be one that can be measured on."""
    if isinstance(dataset, Collection):
        dataset = dataset.streamed(split)
    collection = dataset if isinstance(dataset, StreamedCollection) else open_collection(dataset, split)
    if not collection.qrels:
        raise InputError(f"{collection.name}: no judged queries; expected at least one")
    missing = [query for query in collection.qrels if query not in collection.queries]
    if missing:
        raise InputError(
            f"{collection.name}: {len(missing)} judged queries have no text, such as {missing[0]!r}; "
            "expected every query of the judgements among the queries"
        )
    return replace(collection, queries={query: collection.queries[query] for query in collection.qrels})


def _with_run_ids(documents: Callable[[], Iterable[Document]]) -> Callable[[], Iterator[Document]]:
    """The same documents, each with an id that a run can hold: not found out when all has been searched."""

    def checked() -> Iterator[Document]:
        for document in documents():
            check_run_ids([document.id])
            yield document

    return checked
