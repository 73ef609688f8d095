"""MS MARCO's files, for passages and for documents, as they are distributed.

    collection.tsv             pid, passage               msmarco-docs.tsv            docid, url, title, body
    queries.<split>.tsv        qid, query                 msmarco-doc<split>-queries.tsv
    qrels.<split>.tsv          qid, 0, pid, relevance     msmarco-doc<split>-qrels.tsv
    qidpidtriples.<split>*.tsv qid, pid of a positive, pid of a negative
    triples.<split>*.tsv       query, positive, negative: the texts themselves

All may be compressed (.gz .xz .zst). Cells are what stands between tabs; no quotes are taken off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from llara.corpus import Document
from llara.corpus.readers import COMPRESSED_SUFFIXES, read_lines, suffix_of
from llara.datasets.examples import DataReport, JudgedIds, TrainingExample, looked_up, text_id
from llara.datasets.jsonl_layouts import passages_of
from llara.errors import InputError

__all__ = ["is_msmarco_folder", "msmarco_examples", "triples_examples"]

COLLECTION_NAMES = ("collection.tsv", "msmarco-docs.tsv")
QUERIES_NAMES = ("queries.{split}.tsv", "msmarco-doc{split}-queries.tsv")
QRELS_NAMES = ("qrels.{split}.tsv", "msmarco-doc{split}-qrels.tsv")
ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
FOLDER_FILE = re.compile(
    r"(collection|msmarco-docs|queries\..*|qrels\..*|msmarco-doc\w+-(queries|qrels)|(qidpid)?triples.*)\.tsv(\.\w+)?"
)


def is_msmarco_folder(folder: Path) -> bool:
    """Whether a file there is named as MS MARCO names one."""
    return any(FOLDER_FILE.fullmatch(path.name) for path in folder.iterdir())


def msmarco_examples(
    folder: Path, *, split: str, corpus: str | Path | None, report: DataReport
) -> Iterator[TrainingExample]:
    """Examples of a directory of MS MARCO's files, as they stand.

    Positives are those of the triples of ids and what the qrels judge above 0, negatives those of the
    triples and what the qrels judge 0 or less; either file may be missing. A file of triples of texts
    is read only if both are; otherwise name that file itself. Kept in memory: the ids, and the passages
    they name. Beware of triples: 40 million of them name most of the collection, several GB.

    Raises:
        InputError: a file is missing or malformed, or several files of triples could be meant.
    """
    qrels = _find(folder, QRELS_NAMES, split)
    triples = _triples_files(folder, split)
    of_ids = [path for path in triples if _holds_ids(path)]
    chosen = of_ids if qrels or of_ids else triples
    if len(chosen) > 1:
        names = ", ".join(path.name for path in chosen)
        raise InputError(
            f"{folder}: several files of triples ({names}); name the one to read, not the directory"
        )
    if not qrels and not chosen:
        raise InputError(
            f"{folder}: no judgements of the split {split!r} (qrels.{split}.tsv, "
            f"qidpidtriples.{split}.tsv or triples.{split}.tsv); name another split or add the file"
        )
    if not qrels and not of_ids:
        return _text_triples(chosen[0])
    return _by_id(folder, qrels, chosen, split=split, corpus=corpus, report=report)


def triples_examples(
    path: Path, *, split: str, corpus: str | Path | None, report: DataReport
) -> Iterator[TrainingExample]:
    """Examples of one file of triples, as they stand.

    Of texts: streamed; lines that follow each other and have the same query make one example, whose
    id is the place of the first. Of ids: gathered by query in memory, with the queries and passages
    out of the files beside it.

    Raises:
        InputError: a line has not three cells, or a file beside it is missing or malformed.
    """
    if _holds_ids(path):
        return _by_id(path.parent, None, [path], split=split, corpus=corpus, report=report)
    return _text_triples(path)


# -- triples of texts


def _text_triples(path: Path) -> Iterator[TrainingExample]:
    for query, lines in groupby(_triples(path), key=lambda triple: triple[1]):
        positives: dict[str, Document] = {}
        negatives: dict[str, Document] = {}
        place = ""
        for where, _, positive, negative in lines:
            place = place or where
            positives.setdefault(positive, Document(text_id(positive), positive))
            negatives.setdefault(negative, Document(text_id(negative), negative))
        yield TrainingExample(place, query, tuple(positives.values()), tuple(negatives.values()), where=place)


def _triples(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """The place and the three cells of each line."""
    for where, cells in _rows(path):
        if len(cells) != 3:
            raise InputError(
                f"{where}: {len(cells)} tab-separated cells; expected three: query, positive and negative, "
                "all of them ids or all of them texts"
            )
        yield where, cells[0], cells[1], cells[2]


def _holds_ids(path: Path) -> bool:
    """Whether a file holds triples of ids, by its first line: what looks like three ids is three ids."""
    first = next(_triples(path), None)
    if first is None:
        raise InputError(f"{path}: is empty; expected triples of query, positive and negative, tab-separated")
    return all(ID.fullmatch(cell) for cell in first[1:])


# -- ids


def _by_id(
    folder: Path,
    qrels: Path | None,
    triples: list[Path],
    *,
    split: str,
    corpus: str | Path | None,
    report: DataReport,
) -> Iterator[TrainingExample]:
    texts = _find(folder, QUERIES_NAMES, split)
    if texts is None:
        raise InputError(f"{folder}: no queries.{split}.tsv there, which holds the texts of the queries")
    documents = _passages(folder, corpus)
    judged = JudgedIds()
    if qrels is not None:
        for where, query_id, passage_id, relevance in _qrels(qrels):
            judged.add(where, query_id, passage_id, positive=relevance > 0)
    for path in triples:
        for where, query_id, positive, negative in _triples(path):
            known = judged.queries.get(query_id)
            if known is None or positive not in known.positives:
                judged.add(where, query_id, positive, positive=True)
            judged.add(where, query_id, negative, positive=False)
    for query in judged.queries.values():  # that triples repeat a passage is no fault of theirs
        query.negatives[:] = dict.fromkeys(query.negatives)
    queries = judged.with_texts(_queries(texts), report, source=str(texts))
    return looked_up(lambda: queries, documents, report)


def _qrels(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """Place, query id, passage id and relevance of each line; cells stand between tabs or blanks."""
    for where, line in read_lines(path):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 4 or not re.fullmatch(r"-?\d+", cells[3]):
            raise InputError(
                f"{where}: {line[:80]!r} is no judgement; expected query id, 0, passage id, whole number"
            )
        yield where, cells[0], cells[2], int(cells[3])


def _queries(path: Path) -> Iterator[Document]:
    for where, cells in _rows(path):
        if len(cells) != 2:
            raise InputError(f"{where}: {len(cells)} tab-separated cells; expected two: id and query")
        yield Document(cells[0], cells[1])


def _passages(folder: Path, corpus: str | Path | None) -> Callable[[set[str]], Iterator[Document]]:
    own = _find(folder, COLLECTION_NAMES)
    if own is not None:
        return lambda wanted: _collection(own, wanted)
    if corpus is not None:
        return lambda _: passages_of(corpus)
    raise InputError(f"{folder}: no collection.tsv there; add it, or name the corpus that holds the passages")


def _collection(path: Path, wanted: set[str]) -> Iterator[Document]:
    """Passages of ``pid text``, ``pid title text`` or ``docid url title body``; only those wanted."""
    for where, line in read_lines(path):
        if line.partition("\t")[0] not in wanted:
            continue
        cells = line.split("\t")
        if not 2 <= len(cells) <= 4:
            raise InputError(
                f"{where}: {len(cells)} tab-separated cells; expected id and text, and title, or url "
                "and title, between them"
            )
        yield Document(cells[0], cells[-1], title=cells[-2] if len(cells) > 2 else "")


# -- files


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    return ((where, line.split("\t")) for where, line in read_lines(path) if line.strip())


def _find(folder: Path, names: tuple[str, ...], split: str = "") -> Path | None:
    for name in names:
        for suffix in ("", *COMPRESSED_SUFFIXES):
            path = folder / (name.format(split=split) + suffix)
            if path.is_file():
                return path
    return None


def _triples_files(folder: Path, split: str) -> list[Path]:
    """Files of triples that are named after ``split``, or after no split at all, in the order of names."""
    return sorted(
        path
        for path in folder.iterdir()
        if re.match(rf"(qidpid)?triples\.({re.escape(split)}\.|tsv)", path.name) and suffix_of(path) == ".tsv"
    )
