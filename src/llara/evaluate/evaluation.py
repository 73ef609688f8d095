"""Systems on collections with judgements: each asked, measured, kept as soon as it is done, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llara.datasets import StreamedCollection, official_measures
from llara.encode import Role
from llara.errors import ConfigError, InputError
from llara.evaluate.fusion import tune_weights
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run
from llara.evaluate.page import page
from llara.evaluate.reading import Reading
from llara.evaluate.results import Evaluation, Store
from llara.evaluate.similarity import evaluate_similarity
from llara.evaluate.summaries import summaries
from llara.evaluate.systems import (
    DenseSystem,
    RunSystem,
    System,
    check_system,
    fingerprint_of,
    open_system,
    place_of,
    searches_words,
    words_of,
)
from llara.evaluate.tasks import Dataset, PairsTask, RetrievalTask, open_tasks
from llara.evaluate.verdicts import finding, sections, verdicts
from llara.evaluate.words import BM25
from llara.files import check_apart, check_output
from llara.fusion import reciprocal_rank_fusion, weighted_fusion
from llara.indexes import Words
from llara.search import Run

__all__ = ["SPEARMAN", "Asked", "Dataset", "evaluate", "measure"]

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
    words: Words = "bm25",
    tune_split: str | None = None,
    asked: Asked = Asked(),
    unlabelled: bool = False,
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
        out: write the runs, per-query values, ``metrics.json``, tables and ``report.html`` here; what is
            finished stays in ``OUT.partial`` if the run is stopped.
        measures: names of ir_measures; by default nDCG@10, RR@10 and R@100, and of a benchmark its own.
        hybrid: "rrf" or "weighted": adds to each retriever a row in which it is fused with a search by words.
        words: of a hybrid, which: BM25, or the words that the retriever's own vectors hold.
        tune_split: the split, other than ``split``, on which the weights are chosen; members of a suite that
            lack it get no hybrid.
        asked: roles, titles and passages, depth, batches.
        unlabelled: the data sets are tasks made of a corpus: what is written says what improved in all of
            them, and what they cannot tell.
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
    if tune_split is not None and hybrid != "weighted":
        raise ConfigError("--tune-split is for the weights of --hybrid weighted, which was not asked for")
    if out is not None:
        check_output(out, overwrite=overwrite)
        check_apart(out, *models, *(name for name in datasets if isinstance(name, (str, Path))))
    models = [_BM25_SPEC if spec.lower() in (_BM25_SPEC, "none") else spec for spec in models]
    by_words = {spec: words_of(spec, words) for spec in models if hybrid and not searches_words(spec)}
    if hybrid and not by_words:
        raise ConfigError("a hybrid fuses a model with a search by words; name a model with --model")
    before = [_BM25_SPEC] if _BM25_SPEC in by_words.values() else []
    models = list(dict.fromkeys([*before, *(one for m in models for one in (m, by_words.get(m, m)))]))
    tasks = open_tasks(
        datasets,
        split,
        tune_split=tune_split,
        ignore_identical_ids=asked.ignore_identical_ids,
        are_runs_written=out is not None,
    )
    for spec in models:
        check_system(spec, [task.name for task in tasks if isinstance(task, RetrievalTask)])
    settings = {
        "models": models,
        "datasets": [task.name for task in tasks],
        "splits": [task.split for task in tasks],
        "contents": [task.digest for task in tasks],
        "measures": list(measures or ()),
        "hybrid": hybrid,
        "words": words if hybrid else None,
        "tune_split": tune_split,
        "depth": asked.depth,
        "query_role": asked.query_role,
        "document_role": asked.document_role,
        **asked.reading.settings(),
        "ignore_identical_ids": asked.ignore_identical_ids,
    }
    store = Store(out, settings, overwrite=overwrite, resume=resume)
    _check_same_files(store.evaluations)
    for spec in models:
        system: System | None = None
        for task in tasks:
            if store.find(_row(spec), task.name) is None:
                system = system or _open_system(spec, asked)
                if isinstance(task, PairsTask):
                    if isinstance(system, DenseSystem):
                        store.keep(_similarity(system, task, asked))
                    continue
                store.keep(_retrieval(system, task, measures, asked.depth))
            if isinstance(task, RetrievalTask) and hybrid and (hybrid == "rrf" or task.tuning_qrels):
                for both in (pair for pair in by_words.items() if spec in pair):
                    _keep_hybrid(store, hybrid, both, task, measures, asked.depth)
    if not store.evaluations:
        raise ConfigError("sentence pairs are for models that embed; name one with --model")
    if out is not None:
        collections = {task.name: task.collection for task in tasks if isinstance(task, RetrievalTask)}
        found = verdicts(store.evaluations) if unlabelled else None
        store.finish(
            summaries(store.evaluations, settings, found),
            lambda: page(
                store.evaluations,
                collections=collections,
                settings=settings,
                finding=finding(found or ()),
                lead=[] if found is None else sections(found),
            ),
        )
    return store.evaluations


def measure(
    system: System,
    collection: StreamedCollection,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    depth: int | None = None,
) -> Evaluation:
    """Ask one system about one collection, and measure what comes back."""
    task = RetrievalTask(collection, {}, {})
    return _retrieval(system, task, measures, depth)


def _check_same_files(evaluations: Sequence[Evaluation]) -> None:
    """Refuse to go on with the rows of a model, or a run, that is another one now."""
    own = [each for each in evaluations if "hybrid" not in each.settings]
    for (name, place), kept in {(each.name, place_of(each.name, each.dataset)): each for each in own}.items():
        now = None if place is None else fingerprint_of(place)  # once a model: all of its files are read
        if kept.settings.get("fingerprint") != now:
            raise ConfigError(
                f"the files of {name} have changed since {kept.dataset} was evaluated; start anew with "
                "--overwrite"
            )


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
    system: System, task: RetrievalTask, measures: Sequence[str] | None, depth: int | None
) -> Evaluation:
    measures, depth = _plan(task.collection, measures, depth)
    run = system.run(replace(task.collection, queries=task.all_queries), depth=depth)
    tuning = {query: run.pop(query) for query in task.tuning_queries if query not in task.collection.queries}
    settings = system.settings
    if isinstance(system, RunSystem):
        settings = {**settings, "fingerprint": fingerprint_of(system.file(task.name))}
    return _measured(system.name, run, settings, task.collection, measures, depth, tuning)


def _similarity(system: DenseSystem, task: PairsTask, asked: Asked) -> Evaluation:
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


def _row(spec: str) -> str:
    """What the row of a system is called."""
    return BM25 if spec == _BM25_SPEC else spec


def _keep_hybrid(
    store: Store,
    kind: str,
    both: Sequence[str],
    task: RetrievalTask,
    measures: Sequence[str] | None,
    depth: int | None,
) -> None:
    """Fuse two systems once both are there, if that was not done."""
    name = " + ".join(map(_row, both))
    parts = [part for spec in both if (part := store.find(_row(spec), task.name))]
    if len(parts) == len(both) and store.find(name, task.name) is None:
        store.keep(_hybrid(name, kind, parts, task, measures, depth))


def _hybrid(
    name: str,
    kind: str,
    parts: Sequence[Evaluation],
    task: RetrievalTask,
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
        for part in parts:
            if not any(part.tuning.values()):
                raise InputError(
                    f"{part.name} found nothing for the {len(task.tuning_qrels):,} queries by which weights "
                    f"are chosen, such as {next(iter(task.tuning_qrels))!r}; expected a run that has them"
                )
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
