"""Collections for retrieval: a corpus, queries, and which documents are relevant to which query.

On disk a collection is a directory in BEIR's layout: ``corpus.jsonl`` and ``queries.jsonl``
(``_id``, ``title``, ``text``; either may be compressed) and ``qrels/<split>.tsv`` (header
``query-id corpus-id score``, tab-separated).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from llara.corpus import Document, Fields, Skipped, read_documents
from llara.corpus.readers import COMPRESSED_SUFFIXES, TEXT_SUFFIXES, read_lines, suffix_of
from llara.datasets.checks import blank_query, check_judged, corpus_digest, judged_queries, unique
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
        return StreamedCollection(
            self.name,
            self.queries,
            self.qrels,
            self.corpus.values,
            split=split,
            num_documents=len(self.corpus),
            digest=corpus_digest(self.corpus.values()),
        )


@dataclass(frozen=True)
class StreamedCollection:
    """One split of a retrieval data set whose corpus is read anew whenever it is asked for, and never kept.

    ``queries`` holds the judged queries only. ``benchmark`` is the name under which papers report it
    (``beir/scifact``), where it is known to be one. ``ignore_identical_ids`` is BEIR's rule, needed where
    queries are documents too (ArguAna, Quora): a query does not find itself. ``num_documents`` is None where
    nobody has counted; ``digest`` stands for their texts.
    """

    name: str
    queries: dict[str, str]
    qrels: Qrels
    documents: Callable[[], Iterable[Document]]
    split: str | None = None
    benchmark: str | None = None
    ignore_identical_ids: bool = False
    num_documents: int | None = None
    digest: str | None = None


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
    judgements = qrels_file(path, split)
    qrels = read_qrels(judgements)
    texts, source = layout_file(path, "queries.jsonl"), layout_file(path, "corpus.jsonl")
    queries = judged_queries(
        read_documents([texts], link_titles=False), qrels, source=texts, judgements=f"qrels/{split}.tsv"
    )
    corpus = unique(read_documents([source], link_titles=False), source=source)
    judged = {document for documents in qrels.values() for document in documents}
    check_judged(
        judged - corpus.keys(),
        len(judged),
        example=next(iter(corpus)),
        source=source,
        judgements=read_judgements(judgements),
        stacklevel=3,
    )
    return Collection(path.resolve().name, corpus, queries, qrels)


def read_qrels(path: Path) -> Qrels:
    """Read judgements: ``query-id``, ``corpus-id`` and ``score``, tab-separated, with a header or without.

    Or in TREC's format, where 0 stands after the query.

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
        if len(cells) != 3 and len(columns := line.split()) == 4:
            cells = (columns[0], *columns[2:])
        if len(cells) != 3 or not re.fullmatch(r"-?\d+", cells[2].strip()):
            raise InputError(
                f"{where}: {line[:80]!r} is no judgement; expected query id, document id and a whole number, "
                "tab-separated (or query, 0, document and number, as TREC has them)"
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
    by_id = unique(documents, source=path, fields=fields)
    queries = {document.id: document.text for document in by_id.values()}
    for query_id, text in queries.items():
        if not text.strip():
            raise blank_query(query_id, path, fields)
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
