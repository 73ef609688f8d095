"""Training data as records of one of three layouts: lines of a JSON lines file, rows of a data set.

The keys of the first record tell the layout:

    FlagEmbedding     query, pos and neg (lists of texts); pos_scores and neg_scores; query_id or id
    Tevatron          query, positive_passages and negative_passages (objects of docid, title, text;
                      a teacher's score); query_id
    Tevatron, by id   query_id, query_text or query, positive_document_ids and negative_document_ids

What stands after a semicolon may be missing, and so may titles and negatives. A query without an id has
its place for one, a passage without an id a digest of its text. A title "-" is Tevatron's word for none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from llara.corpus import Document, Fields, read_documents
from llara.corpus.documents import document_from_record
from llara.corpus.readers import json_of, read_lines
from llara.datasets.examples import DataReport, QueryById, TrainingExample, looked_up, text_id
from llara.errors import InputError

__all__ = ["Record", "examples_of_records", "json_records", "passages_of"]

Record = tuple[str, Mapping[str, object]]
"""The place of a record, ``<file>:<line>``, and the record."""

KNOWN_LAYOUTS = (
    "query, pos, neg (FlagEmbedding); query_id, query, positive_passages, negative_passages (Tevatron); "
    "query_id, query_text, positive_document_ids, negative_document_ids (Tevatron, passages by id)"
)
NO_TITLE = "-"


def json_records(path: Path) -> Iterator[Record]:
    """The JSON objects of a file of one a line, compressed or not, streamed.

    Raises:
        InputError: the file is missing, or a line holds no JSON object.
    """
    for where, line in read_lines(path):
        if not line.strip():
            continue
        record = json_of(line, where)
        if not isinstance(record, dict):
            raise InputError(
                f"{where}: holds a JSON {type(record).__name__}; expected one JSON object a line"
            )
        yield where, record


def examples_of_records(
    records: Callable[[], Iterable[Record]],
    *,
    source: str,
    corpus: str | Path | None,
    report: DataReport,
) -> Iterator[TrainingExample]:
    """The examples as they stand, streamed; see ``looked_up`` for what is kept where passages are ids.

    Args:
        records: gives the records anew at each call.
        source: its name, for messages.
        corpus: where passages are looked up, if they are ids.

    Raises:
        InputError: there is no record, its layout is unknown, it is malformed, or passages are ids and
            ``corpus`` is None.
    """
    where, record = next(iter(records()), ("", None))
    if record is None:
        raise InputError(f"{source}: is empty; expected records of queries with their passages")
    if "pos" in record and "query" in record:
        return (_flag_embedding(where, record) for where, record in records())
    if "positive_passages" in record:
        return (_tevatron(where, record) for where, record in records())
    if "positive_document_ids" in record:
        if corpus is None:
            raise InputError(f"{where}: the passages are ids; name the corpus that holds them: --corpus")
        return looked_up(
            lambda: (_tevatron_by_id(where, record) for where, record in records()),
            lambda _: passages_of(corpus),
            report,
        )
    raise InputError(
        f"{where}: the keys {', '.join(map(repr, record)) or '(none)'} are of no known layout; "
        f"expected {KNOWN_LAYOUTS}"
    )


def passages_of(corpus: str | Path) -> Iterator[Document]:
    """The passages of a corpus, streamed: whatever ``read_documents`` reads, with ``docid`` an id too."""
    fields = Fields(id="docid")
    try:
        next(read_documents([corpus], fields=fields))
    except InputError:
        fields = Fields()
    return read_documents([corpus], fields=fields, link_titles=False)


# -- one record of each layout


def _flag_embedding(where: str, record: Mapping[str, object]) -> TrainingExample:
    query = _query(where, record, text="query")
    sides: list[tuple[Document, ...]] = []
    for name in ("pos", "neg"):
        passages = [
            document_from_record({"text": text}, where=f"{where}: {name}[{n}]", fields=Fields())
            for n, text in enumerate(_list(where, record, name))
        ]
        sides.append(tuple(replace(passage, id=text_id(passage.text)) for passage in passages))
    scores = [
        None if record.get(name) is None else _scores(where, name, _list(where, record, name))
        for name in ("pos_scores", "neg_scores")
    ]
    return TrainingExample(query.id, query.text, sides[0], sides[1], scores[0], scores[1], where)


def _tevatron(where: str, record: Mapping[str, object]) -> TrainingExample:
    query = _query(where, record, text="query")
    sides: list[tuple[Document, ...]] = []
    scores: list[tuple[float, ...] | None] = []
    for name in ("positive_passages", "negative_passages"):
        passages: list[Document] = []
        side_scores: list[object] = []
        for n, passage in enumerate(_objects(where, record, name)):
            place = f"{where}: {name}[{n}]"
            if not isinstance(passage, dict):
                _unexpected(place, passage, "an object with docid and text")
            if "docid" not in passage or "text" not in passage:
                raise InputError(
                    f"{place}: the keys are {', '.join(map(repr, passage)) or '(none)'}; "
                    "expected docid and text, perhaps title and score"
                )
            document = document_from_record(passage, where=place, fields=Fields(id="docid"))
            passages.append(replace(document, title="") if document.title == NO_TITLE else document)
            side_scores.append(passage.get("score"))
        sides.append(tuple(passages))
        known = any(score is not None for score in side_scores)
        scores.append(_scores(where, f"the scores of {name}", side_scores) if known else None)
    return TrainingExample(query.id, query.text, sides[0], sides[1], scores[0], scores[1], where)


def _tevatron_by_id(where: str, record: Mapping[str, object]) -> QueryById:
    query = _query(where, record, text="query_text" if "query_text" in record else "query")
    sides = [
        [_passage_id(f"{where}: {name}[{n}]", value) for n, value in enumerate(_list(where, record, name))]
        for name in ("positive_document_ids", "negative_document_ids")
    ]
    return QueryById(query.id, query.text, sides[0], sides[1], where)


# -- one value of a record


def _query(where: str, record: Mapping[str, object], *, text: str) -> Document:
    """The query's id, or its place, and text; a null in place of the text is blank."""
    if text not in record:
        raise InputError(
            f"{where}: no key {text!r}, which the first record has; "
            f"the keys here are {', '.join(map(repr, record)) or '(none)'}"
        )
    identifier = "query_id" if record.get("query_id") is not None else "id"
    only = {name: record[name] for name in (identifier, text) if record.get(name) is not None}
    return document_from_record({text: "", **only}, where=where, fields=Fields(id=identifier, text=text))


def _list(where: str, record: Mapping[str, object], name: str) -> list[object]:
    """The list of that name; a missing one is empty, except for positives."""
    value = record.get(name)
    if name not in record and name.startswith("pos") and not name.endswith("scores"):
        raise InputError(
            f"{where}: no key {name!r}, which the first record has; "
            f"the keys here are {', '.join(map(repr, record)) or '(none)'}"
        )
    if value is None:
        return []
    if not isinstance(value, list):
        _unexpected(f"{where}: {name}", value, "a list")
    return value


def _objects(where: str, record: Mapping[str, object], name: str) -> list[object]:
    """The list of that name; of the columns that some Hugging Face datasets give in its place, the rows."""
    columns = record.get(name)
    if isinstance(columns, dict) and columns and all(isinstance(cells, list) for cells in columns.values()):
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _list(where, record, name)


def _scores(where: str, name: str, values: list[object]) -> tuple[float, ...]:
    scores: list[float] = []
    for n, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            _unexpected(f"{where}: {name}[{n}]", value, "a number for each passage or for none")
        scores.append(float(value))
    return tuple(scores)


def _passage_id(place: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        _unexpected(place, value, "the id of a passage")
    return str(value)


def _unexpected(place: str, value: object, expected: str) -> NoReturn:
    shown = repr(value)
    raise InputError(
        f"{place} holds {shown if len(shown) <= 40 else shown[:37] + '...'}; expected {expected}"
    )
