"""Collections for retrieval: a corpus, queries, and which documents are relevant to which query.

On disk a collection is a directory in BEIR's layout: ``corpus.jsonl`` and ``queries.jsonl``
(``_id``, ``title``, ``text``; either may be compressed) and ``qrels/<split>.tsv`` (header
``query-id corpus-id score``, tab-separated).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from llara.corpus import Document, Fields, Skipped, read_documents
from llara.corpus.readers import COMPRESSED_SUFFIXES, TEXT_SUFFIXES, read_lines, suffix_of
from llara.errors import InputError
from llara.files import atomic_directory

__all__ = [
    "Collection",
    "Judgement",
    "Qrels",
    "StreamedCollection",
    "layout_file",
    "qrels_file",
    "read_beir",
    "read_judgements",
    "read_qrels",
    "read_queries",
    "write_beir",
]

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> relevance; what is not listed is not judged."""

QRELS_HEADER = ("query-id", "corpus-id", "score")
Item = TypeVar("Item")


@dataclass
class Collection:
    """One split of a retrieval data set: its whole corpus, and the queries that the split judges."""

    name: str
    corpus: dict[str, Document]
    queries: dict[str, str]
    qrels: Qrels

    def streamed(self, split: str | None = None) -> StreamedCollection:
        """The same, as an evaluation reads it."""
        return StreamedCollection(self.name, self.queries, self.qrels, self.corpus.values, split=split)


@dataclass(frozen=True)
class StreamedCollection:
    """One split of a retrieval data set whose corpus is read anew whenever it is asked for, and never kept.

    ``queries`` holds the judged queries only. ``benchmark`` is the name under which papers report it
    (``beir/scifact``), where it is known to be one. ``ignore_identical_ids`` is BEIR's rule for collections
    whose queries are documents too (ArguAna, Quora): a query does not find itself.
    """

    name: str
    queries: dict[str, str]
    qrels: Qrels
    documents: Callable[[], Iterable[Document]]
    split: str | None = None
    benchmark: str | None = None
    ignore_identical_ids: bool = False


def read_beir(path: Path, split: str = "test") -> Collection:
    """Read a directory in BEIR's layout. The corpus is kept in memory.

    Only queries that ``qrels/<split>.tsv`` judges are kept. Judged documents that the corpus lacks
    stay in the qrels, where they count as not found, as trec_eval has it; a warning says how many.

    Raises:
        InputError: a file or the split is missing, a line is malformed, an id comes twice, a judged
            query is not in ``queries.jsonl``, or no judged document is in the corpus.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(
            f"{path}: no such directory; expected one in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/)"
        )
    qrels = read_qrels(qrels_file(path, split))
    texts = read_queries(layout_file(path, "queries.jsonl"))
    unknown = [query for query in qrels if query not in texts]
    if unknown:
        raise InputError(
            f"{path}: {_num(unknown, 'query')} judged in qrels/{split}.tsv, such as {unknown[0]!r}, "
            "not in queries.jsonl; expected the ids of both files to agree"
        )
    documents = read_documents([layout_file(path, "corpus.jsonl")], link_titles=False)
    corpus = _by_id(documents, source=path / "corpus.jsonl")
    _check_judged(qrels, corpus, where=path)
    return Collection(path.resolve().name, corpus, {query: texts[query] for query in qrels}, qrels)


def read_qrels(path: Path) -> Qrels:
    """Read judgements: ``query-id``, ``corpus-id`` and ``score``, tab-separated, with a header or without.

    Raises:
        InputError: the file is missing or empty, a line is malformed, or a pair has two scores.
    """
    qrels: Qrels = {}
    for where, query, document, score in read_judgements(path):
        if qrels.setdefault(query, {}).setdefault(document, score) != score:
            raise InputError(
                f"{where}: query {query!r} and document {document!r} were judged otherwise above"
            )
    if not qrels:
        raise InputError(f"{path}: holds no judgement; expected lines of query id, document id, score")
    return qrels


class Judgement(NamedTuple):
    """One line of a qrels file; ``where`` is its place, ``<file>:<line>``."""

    where: str
    query_id: str
    document_id: str
    score: int


def read_judgements(path: Path) -> Iterator[Judgement]:
    """The lines of a qrels file as they stand, streamed; see ``read_qrels``.

    Raises:
        InputError: the file is missing, or a line is malformed.
    """
    for number, (where, line) in enumerate(read_lines(path)):
        cells = tuple(line.split("\t"))
        if not line.strip() or (number == 0 and cells == QRELS_HEADER):
            continue
        if len(cells) != 3 or not re.fullmatch(r"-?\d+", cells[2].strip()):
            raise InputError(
                f"{where}: {line[:80]!r} is no judgement; expected query id, document id and a whole number, "
                "tab-separated"
            )
        yield Judgement(where, cells[0], cells[1], int(cells[2]))


def read_queries(path: Path, *, fields: Fields = Fields(), skipped: Skipped | None = None) -> dict[str, str]:  # noqa: B008
    """Query id -> text, in the order of the file.

    JSON lines, TSV (with a header, or id and text) and Parquet are read as corpora are; a .txt file
    holds one query a line, whose number is its id.

    Raises:
        InputError: the file is missing, malformed or empty, a query is blank, or an id comes twice.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; expected a file of queries, such as queries.jsonl in it")
    if suffix_of(path) in TEXT_SUFFIXES:
        queries = {
            str(n): line.strip() for n, (_, line) in enumerate(read_lines(path), start=1) if line.strip()
        }
        if not queries:
            raise InputError(f"{path}: holds no query; expected one a line")
        return queries
    documents = read_documents([path], fields=fields, skipped=skipped, link_titles=False)
    queries = {document.id: document.text for document in _by_id(documents, source=path).values()}
    for query_id, text in queries.items():
        if not text.strip():
            raise InputError(f"{path}: the query {query_id!r} is blank; expected some words")
    return queries


def write_beir(path: Path, splits: Mapping[str, Collection], *, overwrite: bool = False) -> Path:
    """Write collections that share documents or queries as one directory in BEIR's layout.

    Raises:
        InputError: a judged query or document is not in its collection, the same id means two texts,
            or an id holds a tab or line end, or there is no collection.
        OutputError: ``path`` exists (without ``overwrite``) or cannot be written.
    """
    if not splits:
        raise InputError(f"{path}: no collection to write; expected one for each split, such as 'test'")
    corpus: dict[str, Document] = {}
    queries: dict[str, str] = {}
    for split, collection in splits.items():
        _check_writable(split, collection)
        _merge(corpus, collection.corpus, kind="document")
        _merge(queries, collection.queries, kind="query")
    with atomic_directory(path, overwrite=overwrite) as directory:
        _write_lines(
            directory / "corpus.jsonl",
            (_json(_id=d.id, title=d.title, text=d.text) for d in corpus.values()),
        )
        _write_lines(directory / "queries.jsonl", (_json(_id=q, text=text) for q, text in queries.items()))
        (directory / "qrels").mkdir()
        for split, collection in splits.items():
            rows = (
                (q, d, str(score)) for q, judged in collection.qrels.items() for d, score in judged.items()
            )
            _write_lines(
                directory / "qrels" / f"{split}.tsv", ("\t".join(row) for row in (QRELS_HEADER, *rows))
            )
    return path


# -- reading


def layout_file(folder: Path, name: str) -> Path:
    """The file of that name in a BEIR directory, compressed or not."""
    candidates = [folder / f"{name}{suffix}" for suffix in ("", *COMPRESSED_SUFFIXES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{folder}: no {name} there; expected BEIR's layout (corpus.jsonl, queries.jsonl, qrels/)"
    )


def qrels_file(folder: Path, split: str) -> Path:
    """The judgements of a split in a BEIR directory."""
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        splits = ", ".join(sorted(p.stem for p in path.parent.glob("*.tsv"))) or "none"
        raise InputError(f"{folder}: no split {split!r} (qrels/{split}.tsv); the splits there are: {splits}")
    return path


def _by_id(documents: Iterable[Document], *, source: Path) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for document in documents:
        if document.id in found:
            raise InputError(f"{source}: the id {document.id!r} comes twice; expected each once")
        found[document.id] = document
    return found


def _check_judged(qrels: Qrels, corpus: Mapping[str, Document], *, where: Path) -> None:
    judged = {document for documents in qrels.values() for document in documents}
    missing = judged - corpus.keys()
    if missing == judged:
        raise InputError(
            f"{where}: no judged document, such as {min(judged)!r}, is in corpus.jsonl, where ids are "
            f"such as {next(iter(corpus))!r}; expected the ids of both files to agree"
        )
    if missing:
        warnings.warn(
            f"{where}: {len(missing):,} of {len(judged):,} judged documents, such as {min(missing)!r}, "
            "are not in corpus.jsonl and count as not found",
            stacklevel=3,
        )


def _num(items: list[str], noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"1 {noun} is" if len(items) == 1 else f"{len(items):,} {plural} are"


# -- writing


def _check_writable(split: str, collection: Collection) -> None:
    if not re.fullmatch(r"[\w-]+", split):
        raise InputError(f"the split {split!r} cannot name a file; expected letters, digits, - and _")
    for query, judged in collection.qrels.items():
        if query not in collection.queries:
            raise InputError(f"split {split!r} judges the query {query!r}, which its collection lacks")
        for document in judged:
            if document not in collection.corpus:
                raise InputError(
                    f"split {split!r} judges the document {document!r}, which its collection lacks"
                )
    for identifier in (*collection.corpus, *collection.queries):
        if re.search(r"[\t\r\n]", identifier):
            raise InputError(
                f"the id {identifier!r} holds a tab or line end, which qrels files cannot; rename it"
            )


def _merge(all_items: dict[str, Item], more: Mapping[str, Item], *, kind: str) -> None:
    for identifier, item in more.items():
        if all_items.setdefault(identifier, item) != item:
            raise InputError(f"the {kind} {identifier!r} differs between splits; expected one text to an id")


def _json(**record: str) -> str:
    return json.dumps(record, ensure_ascii=False)


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
