"""Queries with passages that answer them and passages that do not: what retrievers are trained on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llara.corpus import Document, read_documents
from llara.corpus.readers import JSON_SUFFIXES, suffix_of
from llara.corpus.sources import HUB_NAME
from llara.datasets.collections import layout_file, qrels_file, read_judgements
from llara.datasets.examples import DataReport, JudgedIds, TrainingExample, checked, looked_up
from llara.datasets.hub import hub_records, ir_datasets_examples
from llara.datasets.jsonl_layouts import Record, examples_of_records, json_records, passages_of
from llara.datasets.msmarco import is_msmarco_folder, msmarco_examples, triples_examples
from llara.datasets.named import hub_collection, hub_examples
from llara.errors import InputError, OutputError

__all__ = ["DataReport", "TrainingExample", "check_training_file", "read_training", "write_training"]

IR_DATASETS_PREFIX = "ir_datasets:"
HUB_SUFFIXES = (".jsonl", ".parquet")
KNOWN_SOURCES = (
    "a directory in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/), a directory of MS MARCO's files "
    "(collection.tsv, queries.train.tsv, qrels.train.tsv), a file of triples (.tsv), a JSON lines file "
    "(.jsonl), a Hugging Face dataset (owner/name or owner/name:config) or ir_datasets:<id>"
)


def read_training(
    source: str | Path,
    *,
    split: str = "train",
    corpus: str | Path | None = None,
    report: DataReport | None = None,
) -> Iterator[TrainingExample]:
    """Stream the training examples of one source; each has a query and at least one positive.

    A source is one of

    - a directory in BEIR's layout. Passages judged above 0 are positives, those judged 0 or less
      negatives.
    - a directory of MS MARCO's files, or one file of triples, see ``llara.datasets.msmarco``.
    - a JSON lines file (.jsonl, .ndjson, .json; .gz .xz .zst alike) in FlagEmbedding's or one of
      Tevatron's layouts, see ``llara.datasets.jsonl_layouts``.
    - a Hugging Face dataset, ``owner/name`` or ``owner/name:config``, or a folder laid out as one, whose
      rows are in one of those layouts, or which is a collection as BEIR and MTEB lay them out.
    - ``ir_datasets:`` and an id of its catalogue, such as ``ir_datasets:msmarco-passage/train``.

    What cannot be used is left out and counted: blank texts, queries without a positive, ids that come
    twice or that the corpus lacks, negatives that are positives too.

    Files of whole texts are streamed. Where passages are named by id, the ids are read first and the
    corpus then once; only the passages that are named stay in memory. Besides, each query costs an id
    and a number.

    Args:
        split: of the sources that have splits.
        corpus: where passages named by id are looked up, if the source has no corpus of its own;
            whatever ``llara.corpus.read_documents`` reads.
        report: counts are added there.

    Raises:
        InputError: the source is missing or in no known layout, a line is malformed, an id has two
            texts, or nothing there can be used. The layout is told, and judgements
            are read, at the call; all else as examples are asked for.
    """
    report = DataReport() if report is None else report
    examples = _examples(source, split=split, corpus=corpus, report=report)
    return checked(examples, report, source=str(source))


def _examples(
    source: str | Path, *, split: str, corpus: str | Path | None, report: DataReport
) -> Iterator[TrainingExample]:
    """The examples as they stand, of whatever layout the source has."""
    if str(source).startswith(IR_DATASETS_PREFIX):
        return ir_datasets_examples(str(source).removeprefix(IR_DATASETS_PREFIX), report)
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); check the path") from error
    if (collection := hub_collection(source)) is not None:
        return hub_examples(*collection, split, report)
    if is_folder and ((path / "qrels").is_dir() or any(path.glob("queries.jsonl*"))):
        return _beir_examples(path, split=split, corpus=corpus, report=report)
    if is_folder and is_msmarco_folder(path):
        return msmarco_examples(path, split=split, corpus=corpus, report=report)
    if is_there and suffix_of(path) == ".tsv" and not is_folder:
        return triples_examples(path, split=split, corpus=corpus, report=report)
    if is_there and suffix_of(path) in JSON_SUFFIXES and not is_folder:
        return _records_examples(lambda: json_records(path), source, corpus, report)
    if is_folder and any(suffix_of(file) in HUB_SUFFIXES for file in path.rglob("*")):
        return _records_examples(lambda: hub_records(str(path), None, split), source, corpus, report)
    name = HUB_NAME.fullmatch(str(source))
    if is_there or name is None or suffix_of(path) in (*JSON_SUFFIXES, ".parquet", ".tsv"):
        is_what = "in no known layout" if is_there else "no such file or folder"
        raise InputError(f"{source}: {is_what}; expected {KNOWN_SOURCES}")
    return _records_examples(lambda: hub_records(name["name"], name["config"], split), source, corpus, report)


def _records_examples(
    records: Callable[[], Iterable[Record]],
    source: str | Path,
    corpus: str | Path | None,
    report: DataReport,
) -> Iterator[TrainingExample]:
    return examples_of_records(records, source=str(source), corpus=corpus, report=report)


def _beir_examples(
    folder: Path, *, split: str, corpus: str | Path | None, report: DataReport
) -> Iterator[TrainingExample]:
    qrels, texts = qrels_file(folder, split), layout_file(folder, "queries.jsonl")
    documents = _beir_corpus(folder, corpus)
    judged = JudgedIds()
    for where, query_id, document_id, score in read_judgements(qrels):
        judged.add(where, query_id, document_id, positive=score > 0)
    queries = judged.with_texts(read_documents([texts], link_titles=False), report, source=str(texts))
    return looked_up(lambda: queries, lambda _: documents, report)


def _beir_corpus(folder: Path, corpus: str | Path | None) -> Iterator[Document]:
    try:
        return read_documents([layout_file(folder, "corpus.jsonl")], link_titles=False)
    except InputError:
        if corpus is None:
            raise
        return passages_of(corpus)


# -- writing


def check_training_file(path: Path, *, overwrite: bool = False) -> None:
    """What ``write_training`` would refuse, found before there is anything to write.

    Raises:
        OutputError: ``path`` exists, is a directory, or is not named as an uncompressed JSON lines file.
    """
    if path.suffix.lower() not in JSON_SUFFIXES:
        raise OutputError(
            f"the output {path} is written as JSON lines; name it so, such as {path.stem}.jsonl"
        )
    if path.is_dir():
        raise OutputError(f"the output {path} is a directory, expected a file; choose another path")
    if path.exists() and not overwrite:
        raise OutputError(f"the output {path} exists; choose another path or pass --overwrite")


def write_training(path: Path, examples: Iterable[TrainingExample], *, overwrite: bool = False) -> int:
    """Write examples as JSON lines in Tevatron's layout, and say how many there were.

    ``read_training`` gives equal ones back. A passage has a "score" where scores are known. The file
    appears when it is whole; examples are taken one at a time.

    Raises:
        InputError: there is no example.
        OutputError: see ``check_training_file``, or the file cannot be written.
    """
    path = Path(path)
    check_training_file(path, overwrite=overwrite)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    num_written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for example in examples:
                file.write(json.dumps(_record(example), ensure_ascii=False) + "\n")
                num_written += 1
        if num_written == 0:
            raise InputError(f"{path}: no example to write; expected at least one")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose another path"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return num_written


def _record(example: TrainingExample) -> dict[str, object]:
    return {
        "query_id": example.query_id,
        "query": example.query,
        "positive_passages": _passages(example.positives, example.positive_scores),
        "negative_passages": _passages(example.negatives, example.negative_scores),
    }


def _passages(passages: tuple[Document, ...], scores: tuple[float, ...] | None) -> list[dict[str, object]]:
    records: list[dict[str, object]] = [
        {"docid": passage.id, "title": passage.title, "text": passage.text} for passage in passages
    ]
    for record, score in zip(records, scores or (), strict=False):
        record["score"] = score
    return records
