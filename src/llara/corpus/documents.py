"""What a document is, which fields of a record it is made of, and what happens to a bad one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llara.errors import InputError

__all__ = ["BEIR_ID_FIELD", "Document", "Fields", "Skipped", "document_from_record", "place_id"]

DEFAULT_ID_FIELD = "id"
BEIR_ID_FIELD = "_id"


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus.

    ``continues`` says that the text goes on where the document before it in the stream ended (two
    passages of one article): the first segment of this one is then the successor of the last
    segment of that one, and each keeps its own id and its own boundary. ``metadata`` are the other fields of
    its record, if they were asked for (``Fields.metadata``) and there are any.
    """

    id: str
    text: str
    title: str = ""
    continues: bool = False
    metadata: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Fields:
    """Names of the fields (JSONL) or columns (TSV, Parquet, Hugging Face) that make a document.

    ``text`` must be there. A record without the default ``id`` may carry BEIR's ``_id``, and without
    either its place, ``<file>:<line>``, is its id. A record without ``title`` has an empty title.

    With ``metadata`` a record's other fields are kept, too. An object in a field ``metadata`` (as BEIR has
    it) stands for its own fields; columns of bytes or media in Parquet files and data sets are passed over.
    """

    id: str = DEFAULT_ID_FIELD
    title: str = "title"
    text: str = "text"
    metadata: bool = False


@dataclass
class Skipped:
    """Counts the bad lines that were left out and keeps the first few messages.

    >>> skipped = Skipped(keep=1)
    >>> skipped.add("a.jsonl:3: not JSON")
    >>> skipped.add("a.jsonl:9: not JSON")
    >>> print(skipped)
    2 bad lines were left out:
      a.jsonl:3: not JSON
      (1 more)
    """

    keep: int = 5
    count: int = 0
    messages: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        self.count += 1
        if len(self.messages) < self.keep:
            self.messages.append(message)

    def __str__(self) -> str:
        if self.count == 0:
            return "no bad lines"
        head = "1 bad line was left out:" if self.count == 1 else f"{self.count:,} bad lines were left out:"
        more = self.count - len(self.messages)
        tail = [f"  ({more:,} more)"] if more else []
        return "\n".join([head, *(f"  {message}" for message in self.messages), *tail])


def document_from_record(record: Mapping[str, object], *, where: str, fields: Fields) -> Document:
    """Make a document of a JSON object or a table row found at ``where`` (``<file>:<line>``).

    A number is accepted as an id and written as text; ``null`` is accepted as a title and means none.

    >>> document_from_record({"_id": 7, "text": "Hello."}, where="a.jsonl:1", fields=Fields())
    Document(id='7', text='Hello.', title='', continues=False, metadata=None)

    Raises:
        InputError: a field is missing, or holds what is not text.
    """
    if fields.text not in record:
        raise InputError(
            f"{where}: no field {fields.text!r}; the fields here are {_names(record)}: "
            "name the one that holds the text"
        )
    text = _string(record[fields.text], name=fields.text, where=where)
    title_value = record.get(fields.title)
    title = "" if title_value is None else _string(title_value, name=fields.title, where=where)
    metadata = _metadata(record, fields) if fields.metadata else None
    return Document(id=_id(record, where=where, fields=fields), text=text, title=title, metadata=metadata)


def _id(record: Mapping[str, object], *, where: str, fields: Fields) -> str:
    name = fields.id
    if name not in record:
        if name != DEFAULT_ID_FIELD:
            raise InputError(
                f"{where}: no field {name!r} for the id; the fields here are {_names(record)}: name another"
            )
        if BEIR_ID_FIELD not in record:
            return place_id(where)
        name = BEIR_ID_FIELD
    value = record[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    identifier = _string(value, name=name, where=where)
    if not identifier:
        raise InputError(f"{where}: the field {name!r} is empty; an id has at least one character")
    return identifier


def place_id(where: str) -> str:
    """The id of a record that has none of its own: its place.

    Raises:
        InputError: the file's name is not UTF-8, and so no text.
    """
    try:
        where.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(where).decode("utf-8", "backslashreplace")
        raise InputError(
            f"{shown}: the file's name is not UTF-8, and becomes the id of a record without one; "
            "rename the file"
        ) from error
    return where


def _metadata(record: Mapping[str, object], fields: Fields) -> dict[str, Any] | None:
    own = {fields.id, fields.title, fields.text, BEIR_ID_FIELD}
    others = {name: value for name, value in record.items() if name not in own}
    inner = others.get("metadata", ())
    if inner is None or isinstance(inner, dict):
        del others["metadata"]
        others = {**(inner or {}), **others}
    return others or None


def _string(value: object, *, name: str, where: str) -> str:
    if not isinstance(value, str):
        shown = repr(value)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        raise InputError(f"{where}: the field {name!r} holds {shown}; expected a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: the field {name!r} holds half a surrogate pair at character {error.start}, "
            "which is not text; expected Unicode characters"
        ) from error
    return value


def _names(record: Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in record) or "none"
