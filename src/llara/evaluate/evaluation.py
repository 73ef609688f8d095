"""A model, and BM25 beside it, on a collection with judgements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.corpus import Document
from llara.datasets import Collection, read_beir
from llara.encode import Role, document_text, encode_texts, longest_input
from llara.errors import ConfigError, InputError
from llara.evaluate.measures import DEFAULT_MEASURES, depth_of, evaluate_run
from llara.files import atomic_directory, check_output
from llara.indexes import ExactIndex
from llara.search import Bm25, Run, check_run_ids, write_run
from llara.significance import bootstrap_interval, paired_randomization_test

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Comparison", "Evaluation", "bm25_run", "compare", "dense_run", "evaluate"]

_BM25 = "BM25"


@dataclass(frozen=True)
class Evaluation:
    """How one system did: means, per-query values, and the run they were computed from.

    ``metrics`` is measure -> mean and ``per_query`` measure -> query id -> value, the measures spelled as
    they were asked for. ``settings`` is what the numbers depend on. ``baseline`` is BM25 on the same queries.
    """

    name: str
    metrics: dict[str, float]
    per_query: dict[str, dict[str, float]]
    run: Run
    settings: dict[str, Any]
    baseline: Evaluation | None = None

    def interval(self, measure: str) -> tuple[float, float]:
        """The 95% bootstrap interval of the mean over queries."""
        return bootstrap_interval(self.per_query[measure])


@dataclass(frozen=True)
class Comparison:
    """``difference`` of two means (first less second) and its two-sided p-value over paired queries."""

    measure: str
    difference: float
    p_value: float


def compare(first: Evaluation, second: Evaluation, measure: str) -> Comparison:
    """Compare two systems on the same queries by a paired randomisation test."""
    return Comparison(
        measure=measure,
        difference=first.metrics[measure] - second.metrics[measure],
        p_value=paired_randomization_test(first.per_query[measure], second.per_query[measure]),
    )


def evaluate(
    *,
    model: str | None,
    dataset: str | Path | Collection,
    split: str = "test",
    out: Path | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    query_role: Role = "query",
    document_role: Role = "document",
    title_separator: str | None = " ",
    depth: int | None = None,
    baseline: bool = True,
    ignore_identical_ids: bool = False,
    batch_size: int = 64,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Search a collection with a model, and with BM25 beside it, and measure both.

    The whole corpus is encoded and searched exactly, in memory.

    Args:
        model: a model directory or name; ``None`` or ``"none"`` evaluates BM25 alone.
        dataset: a BEIR directory (then ``split`` names the judgements), or a collection in memory.
        out: write ``metrics.json``, ``per_query.jsonl``, ``run.trec`` and ``bm25.trec`` here.
        query_role: the prompt for queries; ``document_role`` for documents. Similarity wants one for both.
        title_separator: what stands between title and text; ``None`` leaves titles out.
        depth: documents kept per query; by default as many as the measures look at (``depth_of``).
        baseline: also run BM25.
        ignore_identical_ids: never return a document whose id is the query's: BEIR's rule, needed for ArguAna
            and Quora, wrong where queries and documents are numbered independently.

    Raises:
        ConfigError: a measure, a role or another setting is not valid (all bad measures are named at once).
        InputError: the dataset is missing or malformed, or has no judged queries.
        ModelError: the model cannot be loaded.
        OutputError: ``out`` exists (without ``overwrite``) or cannot be written.
    """
    settings: dict[str, Any] = {
        "depth": depth_of(measures) if depth is None else depth,
        "title_separator": title_separator,
        "ignore_identical_ids": ignore_identical_ids,
    }
    if out is not None:
        check_output(out, overwrite=overwrite)
    collection = dataset if isinstance(dataset, Collection) else read_beir(Path(dataset), split)
    documents = list(collection.corpus.values())
    queries = _judged_queries(collection)
    if out is not None:
        check_run_ids([*queries, *collection.corpus])
    encoder, identity = (None, {}) if model in (None, "none") else _load(model, device)

    result: Evaluation | None = None
    if baseline or encoder is None:
        bm25 = Bm25(documents, title_separator=title_separator)
        run = bm25_run(bm25, queries, depth=settings["depth"], ignore_identical_ids=ignore_identical_ids)
        metrics, per_query = evaluate_run(run, collection.qrels, measures)
        result = Evaluation(_BM25, metrics, per_query, run, {"k1": bm25.k1, "b": bm25.b, **settings})
    if encoder is not None:
        roles: dict[str, Any] = {"query_role": query_role, "document_role": document_role}
        run = dense_run(
            encoder, documents, queries, batch_size=batch_size, progress=progress, **roles, **settings
        )
        metrics, per_query = evaluate_run(run, collection.qrels, measures)
        result = Evaluation(str(model), metrics, per_query, run, {**identity, **roles, **settings}, result)
    assert result is not None
    if out is not None:
        _write(out, result, collection, None if collection is dataset else split, overwrite=overwrite)
    return result


def dense_run(
    model: SentenceTransformer,
    documents: Sequence[Document],
    queries: Mapping[str, str],
    *,
    depth: int = 100,
    query_role: Role = "query",
    document_role: Role = "document",
    title_separator: str | None = " ",
    ignore_identical_ids: bool = False,
    batch_size: int = 64,
    progress: bool = False,
) -> Run:
    """Encode everything and search exactly: for each query its ``depth`` nearest documents."""
    _check_depth(depth)
    texts = [document_text(document, title_separator) for document in documents]
    index = ExactIndex.from_vectors(
        encode_texts(model, texts, role=document_role, batch_size=batch_size, progress=progress)
    )
    questions = list(queries.values())
    vectors = encode_texts(model, questions, role=query_role, batch_size=batch_size, progress=progress)
    scores, positions = index.search(vectors, depth + ignore_identical_ids)  # [Q, depth] each
    run: Run = {}
    for query_id, row, row_scores in zip(queries, positions.tolist(), scores.tolist(), strict=True):
        found = {documents[position].id: score for position, score in zip(row, row_scores, strict=True)}
        run[query_id] = _top(found, depth, drop=query_id if ignore_identical_ids else None)
    return run


def bm25_run(
    bm25: Bm25, queries: Mapping[str, str], *, depth: int = 100, ignore_identical_ids: bool = False
) -> Run:
    """For each query up to ``depth`` documents that share a word with it."""
    _check_depth(depth)
    run: Run = {}
    for query_id, text in queries.items():
        positions, scores = bm25.top(text, depth + ignore_identical_ids)
        ids = [bm25.documents[position].id for position in positions]
        found = dict(zip(ids, scores.tolist(), strict=True))
        run[query_id] = _top(found, depth, drop=query_id if ignore_identical_ids else None)
    return run


def _load(model: str | None, device: str | None) -> tuple[SentenceTransformer, dict[str, Any]]:
    """The model, and what identifies it in the settings."""
    from llara.model import fingerprint, load, resolve

    assert model is not None
    encoder = load(model, device=device)
    identity = {
        "model": model,
        "fingerprint": fingerprint(resolve(model)),
        "max_tokens": longest_input(encoder),
    }
    return encoder, identity


def _judged_queries(collection: Collection) -> dict[str, str]:
    if not collection.qrels:
        raise InputError(f"{collection.name}: no judged queries; expected at least one")
    missing = [query for query in collection.qrels if query not in collection.queries]
    if missing:
        raise InputError(
            f"{collection.name}: {len(missing)} judged queries have no text, such as {missing[0]!r}; "
            "expected every query of the judgements among the queries"
        )
    return {query: collection.queries[query] for query in collection.qrels}


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ConfigError(f"depth is {depth}, expected at least 1")


def _top(scores: Mapping[str, float], depth: int, *, drop: str | None) -> dict[str, float]:
    """The best ``depth`` of ``scores`` less the document ``drop``, in trec_eval's order."""
    ranking = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return dict([item for item in ranking if item[0] != drop][:depth])


def _write(
    out: Path, result: Evaluation, collection: Collection, split: str | None, *, overwrite: bool
) -> None:
    systems = {"run.trec": result}
    content: dict[str, Any] = {
        "format": "llara-metrics/1",
        "collection": {
            "name": collection.name,
            "split": split,
            "num_documents": len(collection.corpus),
            "num_queries": len(collection.qrels),
            "num_judgements": sum(len(judged) for judged in collection.qrels.values()),
        },
        **_summary(result),
    }
    if result.baseline is not None:
        systems["bm25.trec"] = result.baseline
        content["baseline"] = _summary(result.baseline)
        content["against_baseline"] = [
            asdict(compare(result, result.baseline, measure)) for measure in result.metrics
        ]
    with atomic_directory(out, overwrite=overwrite) as directory:
        (directory / "metrics.json").write_text(_json(content, indent=2), encoding="utf-8")
        with (directory / "per_query.jsonl").open("w", encoding="utf-8") as file:
            for query in collection.qrels:
                values = {
                    system.name: {
                        measure: per_query[query] for measure, per_query in system.per_query.items()
                    }
                    for system in systems.values()
                }
                file.write(_json({"query_id": query, "values": values}))
        for name, system in systems.items():
            write_run(directory / name, system.run, tag="bm25" if system.name == _BM25 else "llara")


def _summary(system: Evaluation) -> dict[str, Any]:
    return {
        "name": system.name,
        "metrics": system.metrics,
        "intervals": {measure: system.interval(measure) for measure in system.metrics},
        "settings": system.settings,
    }


def _json(content: object, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
