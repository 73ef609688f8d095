"""Systems on collections with judgements: each asked, measured, kept as soon as it is done, and compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llara.datasets import (
    Collection,
    Qrels,
    StreamedCollection,
    is_suite,
    official_measures,
    open_collection,
    suite,
)
from llara.encode import Role
from llara.errors import ConfigError, InputError
from llara.evaluate.fusion import reciprocal_rank_fusion, tune_weights, weighted_fusion
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run
from llara.evaluate.reading import Reading
from llara.evaluate.results import Evaluation, Store
from llara.evaluate.similarity import SentencePair, evaluate_similarity, is_similarity_source, read_pairs
from llara.evaluate.summaries import summaries
from llara.evaluate.systems import BM25, DenseSystem, System, open_system
from llara.files import check_output
from llara.search import Run, check_run_ids

__all__ = ["SPEARMAN", "Asked", "Dataset", "evaluate", "measure"]

Dataset = str | Path | Collection | StreamedCollection
SPEARMAN = "Spearman"
_BM25_SPEC = "bm25"


@dataclass(frozen=True)
class Asked:
    """How systems are asked; see ``evaluate``."""

    query_role: Role | None = None  # the query's; the document's for a similarity task
    document_role: Role | None = None
    reading: Reading = Reading()  # noqa: RUF009 - frozen
    depth: int | None = None
    ignore_identical_ids: bool | None = None
    batch_size: int = 64
    device: str | None = None
    progress: bool = False


def evaluate(
    *,
    models: Sequence[str],
    datasets: Sequence[Dataset],
    split: str | None = None,
    out: Path | None = None,
    measures: Sequence[str] | None = None,
    hybrid: str | None = None,
    tune_split: str | None = None,
    asked: Asked = Asked(),
    overwrite: bool = False,
    resume: bool = False,
) -> list[Evaluation]:
    """Ask every system about every data set and measure what comes back.

    A corpus is streamed and searched exactly: memory holds a few thousand documents at a time, or BM25's
    index. A set of sentence pairs among ``datasets`` is a similarity task (the document's prompt on both
    sides) for models that embed; the others leave it out.

    Args:
        models: ``bm25``, directories and names of retrievers, and what else ``open_system`` knows.
        datasets: what ``open_collection`` opens, sets of sentence pairs, or collections in memory.
        split: the judgements of those that have several (default: test).
        out: write the runs, per-query values, ``metrics.json`` and tables here; what is finished stays in
            ``OUT.partial`` if the run is stopped.
        measures: names of ir_measures; by default nDCG@10, RR@10 and R@100, and of a benchmark its own.
        hybrid: "rrf" or "weighted": adds to each retriever a row in which it is fused with BM25.
        tune_split: the split, other than ``split``, on which the weights are chosen.
        asked: roles, titles and passages, depth, batches.
        resume: go on with what stands in ``OUT.partial``.

    Raises:
        ConfigError: a measure, a role or another setting is not valid (all bad measures are named at once).
        InputError: a data set is missing or malformed, or has no judged queries.
        ModelError: a model cannot be loaded.
        OutputError: ``out`` exists (without ``overwrite``) or cannot be written.
    """
    depth_of(measures or DEFAULT_MEASURES)  # all bad names at once, before any work
    if hybrid not in (None, "rrf", "weighted"):
        raise ConfigError(f"hybrid is {hybrid!r}, expected rrf or weighted")
    if hybrid == "weighted" and (tune_split is None or tune_split == (split or "test")):
        raise ConfigError(
            f"the weights of a hybrid are chosen on another split than the measured {split or 'test'!r}; "
            "name one with --tune-split"
        )
    if out is not None:
        check_output(out, overwrite=overwrite)
    models = [_BM25_SPEC if spec.lower() in (_BM25_SPEC, "none") else spec for spec in models]
    models = list(dict.fromkeys([_BM25_SPEC, *models] if hybrid else models))
    tasks = _open(datasets, split, tune_split if hybrid == "weighted" else None, asked)
    if out is not None:
        check_run_ids(query for task in tasks if isinstance(task, _Retrieval) for query in task.all_queries)
    settings = {
        "models": models,
        "datasets": [task.name for task in tasks],
        "splits": [task.split for task in tasks],
        "measures": list(measures or ()),
        "hybrid": hybrid,
        "tune_split": tune_split,
        "depth": asked.depth,
        "query_role": asked.query_role,
        "document_role": asked.document_role,
        **asked.reading.settings(),
        "ignore_identical_ids": asked.ignore_identical_ids,
    }
    store = Store(out, settings, overwrite=overwrite, resume=resume)
    for spec in models:
        system: System | None = None
        for task in tasks:
            if store.find(BM25 if spec == _BM25_SPEC else spec, task.name) is None:
                system = system or _open_system(spec, asked)
                if isinstance(task, _Pairs):
                    if isinstance(system, DenseSystem):
                        store.keep(_similarity(system, task, asked))
                    continue
                store.keep(_retrieval(system, task, measures, asked.depth))
            if hybrid and spec != _BM25_SPEC and isinstance(task, _Retrieval):
                name = f"{spec} + {BM25}"
                if store.find(name, task.name) is None:
                    parts = [store.find(each, task.name) for each in (spec, BM25)]
                    store.keep(_hybrid(name, hybrid, [p for p in parts if p], task, measures, asked.depth))
    store.finish(summaries(store.evaluations, settings))
    return store.evaluations


def measure(
    system: System,
    collection: StreamedCollection,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    depth: int | None = None,
) -> Evaluation:
    """Ask one system about one collection, and measure what comes back."""
    task = _Retrieval(collection, {}, {})
    return _retrieval(system, task, measures, depth)


@dataclass(frozen=True)
class _Retrieval:
    """A collection to measure on, and the judged queries of another split to choose weights by."""

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


@dataclass(frozen=True)
class _Pairs:
    """A set of sentence pairs."""

    name: str
    split: str | None
    pairs: Sequence[SentencePair]


def _open(
    datasets: Sequence[Dataset], split: str | None, tune_split: str | None, asked: Asked
) -> list[_Retrieval | _Pairs]:
    """Every data set, in the order given, each with a name of its own."""
    tasks: list[_Retrieval | _Pairs] = []
    for dataset in _members(datasets, split):
        if isinstance(dataset, str | Path) and is_similarity_source(dataset, split or "test"):
            name = Path(dataset).resolve().stem if Path(dataset).exists() else str(dataset)
            task: _Retrieval | _Pairs = _Pairs(name, split or "test", read_pairs(dataset, split or "test"))
        else:
            tuning = _collection(dataset, tune_split) if tune_split else None
            collection = _collection(dataset, split)
            if asked.ignore_identical_ids is not None:
                collection = replace(collection, ignore_identical_ids=asked.ignore_identical_ids)
            task = _Retrieval(collection, tuning.queries if tuning else {}, tuning.qrels if tuning else {})
        if any(task.name == other.name for other in tasks):
            raise ConfigError(f"two data sets are called {task.name!r}; evaluate them one after the other")
        tasks.append(task)
    return tasks


def _members(datasets: Sequence[Dataset], split: str | None) -> Iterator[Dataset]:
    """The data sets, and of a suite its members."""
    for dataset in datasets:
        if isinstance(dataset, str) and is_suite(dataset):
            yield from suite(dataset, split)
        else:
            yield dataset


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


def _open_system(spec: str, asked: Asked) -> System:
    return open_system(
        spec,
        query_role=asked.query_role or "query",
        document_role=asked.document_role or "document",
        reading=asked.reading,
        batch_size=asked.batch_size,
        device=asked.device,
        progress=asked.progress,
    )


def _plan(
    collection: StreamedCollection, measures: Sequence[str] | None, depth: int | None
) -> tuple[Sequence[str], int]:
    """The measures of a collection, and how many documents a query are kept for them."""
    if measures is None:
        measures = (
            DEFAULT_MEASURES if collection.benchmark is None else official_measures(collection.benchmark)
        )
    return measures, depth_of(measures) if depth is None else depth


def _retrieval(
    system: System, task: _Retrieval, measures: Sequence[str] | None, depth: int | None
) -> Evaluation:
    measures, depth = _plan(task.collection, measures, depth)
    run = system.run(replace(task.collection, queries=task.all_queries), depth=depth)
    tuning = {query: run.pop(query) for query in task.tuning_queries if query not in task.collection.queries}
    return _measured(system.name, run, system.settings, task.collection, measures, depth, tuning)


def _similarity(system: DenseSystem, task: _Pairs, asked: Asked) -> Evaluation:
    first, second = asked.query_role or "document", asked.document_role or "document"
    found = evaluate_similarity(
        system.model, task.pairs, role_first=first, role_second=second, batch_size=asked.batch_size
    )
    return Evaluation(
        name=system.name,
        metrics={SPEARMAN: found.spearman},
        per_query={},
        run={},
        settings={
            **system.settings,
            "query_role": first,
            "document_role": second,
            "pairs": found.num_pairs,
            "pearson": found.pearson,
        },
        dataset=task.name,
        split=task.split,
        intervals={SPEARMAN: found.interval},
    )


def _hybrid(
    name: str,
    kind: str,
    parts: Sequence[Evaluation],
    task: _Retrieval,
    measures: Sequence[str] | None,
    depth: int | None,
) -> Evaluation:
    """Two systems' runs as one, weighed as does best on the other split."""
    measures, depth = _plan(task.collection, measures, depth)
    settings: dict[str, Any] = {"hybrid": kind, "of": [part.name for part in parts]}
    runs = [part.run for part in parts]
    if kind == "rrf":
        run = reciprocal_rank_fusion(runs, depth=depth)
    else:
        weights = tune_weights([part.tuning for part in parts], task.tuning_qrels, measures[0])
        run = weighted_fusion(runs, weights, depth=depth)
        settings["weights"] = list(weights)
    return _measured(name, run, settings, task.collection, measures, depth, {})


def _measured(
    name: str,
    run: Run,
    settings: dict[str, Any],
    collection: StreamedCollection,
    measures: Sequence[str],
    depth: int,
    tuning: Run,
) -> Evaluation:
    metrics, per_query = evaluate_run(run, collection.qrels, measures)
    return Evaluation(
        name=name,
        metrics=metrics,
        per_query=per_query,
        run=run,
        settings={**settings, "depth": depth, "ignore_identical_ids": collection.ignore_identical_ids},
        dataset=collection.name,
        split=collection.split,
        benchmark=collection.benchmark,
        tuning=tuning,
    )
