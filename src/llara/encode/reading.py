"""The input, read from end to end before anything is encoded: checked, cut, written as shards of texts.

So a bad line or a repeated id is found before the first vector, and what follows is a list of shards that any
worker can do in any order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from llara.corpus import Document, Fields, Skipped, files_of, read_documents
from llara.datasets import read_queries
from llara.encode.ids import SeenIds, hash_ids
from llara.encode.work import Texts, TextShard, Work, write_hashed
from llara.errors import BadLineError, InputError
from llara.vectors import Role, texts_table

__all__ = ["Input", "RepeatedId", "read_input", "repeated_ids"]

SHARD_CHARACTERS = 1 << 28  # a shard ends with the document that fills these, however few rows it has
_MOST_REPEATED = 1_000_000  # different ids that come twice, each remembered once


@dataclass(frozen=True)
class Input:
    """What is to be read, and how."""

    sources: tuple[str | Path, ...]
    role: Role
    fields: Fields
    skip_bad: bool

    def files(self) -> list[str | Path]:
        """The files of the sources, in their order; a data set of the Hub by its name."""
        if self.role == "query":
            return list(self.sources)
        found: list[str | Path] = []
        for source in self.sources:
            found.extend(files_of(source) or [source])
        return found

    def documents(self, skipped: Skipped | None) -> Iterator[Document]:
        """Stream the documents, or the queries as documents (all of a file's are in memory at a time)."""
        if self.role == "document":
            yield from read_documents(self.sources, fields=self.fields, skipped=skipped)
            return
        for source in self.sources:
            for query_id, text in read_queries(Path(source), fields=self.fields, skipped=skipped).items():
                yield Document(id=query_id, text=text)


@dataclass(frozen=True)
class RepeatedId:
    """A row whose id an earlier row has; rows count from 0 over all files of texts."""

    id: str
    first: int
    row: int

    def __str__(self) -> str:
        return f"the id {self.id!r} occurs twice: documents {self.first + 1:,} and {self.row + 1:,}"


def read_input(given: Input, work: Work, *, shard_rows: int) -> Texts:
    """Read the whole input and write its shards of texts, ``shard_rows`` rows each, into ``work.vectors``.

    An id that comes again is a bad line, found when all is read: to leave such lines out, it is read twice.

    Raises:
        InputError: the input is missing, empty or malformed, or an id comes twice (and bad lines count).
        OSError: the disk is full.
    """
    first_rows: dict[str, int] = {}
    while True:
        skipped = Skipped() if given.skip_bad else None
        documents = _without_repeated(given.documents(skipped), first_rows, skipped)
        shards, empty = _write_shards(documents, work, shard_rows)
        if not shards:
            names = ", ".join(map(str, given.sources))
            raise InputError(f"{names}: no {given.role} found; expected at least one")
        texts = [work.texts_file(number) for number in range(len(shards))]
        repeated = repeated_ids(texts, within=work.directory)
        first = next(repeated, None)
        if first is None:
            count, messages = (skipped.count, tuple(skipped.messages)) if skipped else (0, ())
            return Texts(tuple(shards), count, messages, empty)
        if skipped is None:
            others = sum(1 for _ in repeated)
            more = f" (and {others:,} more such documents)" if others else ""
            raise BadLineError(f"{first}{more}; ids must be unique, or a hit could not be told apart")
        assert not first_rows, "an id comes twice among those that were left"
        first_rows = {again.id: again.first for again in chain([first], repeated)}


def _without_repeated(
    documents: Iterator[Document], first_rows: Mapping[str, int], skipped: Skipped | None
) -> Iterator[Document]:
    """The documents but for those with an id of ``first_rows`` in another row; these count as skipped."""
    for row, document in enumerate(documents):
        first = first_rows.get(document.id, row)
        if first == row:
            yield document
        else:
            assert skipped is not None
            skipped.add(str(RepeatedId(document.id, first, row)))


def _write_shards(documents: Iterable[Document], work: Work, shard_rows: int) -> tuple[list[TextShard], int]:
    """Write shards of texts; how they were cut, and how many documents have neither title nor text."""
    import pyarrow.parquet as pq

    shards: list[TextShard] = []
    first = empty = 0
    for rows in _chunks(documents, shard_rows):
        table = texts_table(rows)

        def write(file: Any, table: Any = table) -> None:
            pq.write_table(table, file, compression="zstd", use_dictionary=False)

        sha256 = write_hashed(work.texts_file(len(shards)), write, within=work.directory)
        shards.append(TextShard(first, len(rows), sha256))
        first += len(rows)
        empty += sum(not (row.text.strip() or row.title.strip()) for row in rows)
    for number in count(len(shards)):  # of a reading that was stopped, when the input was longer
        if not work.texts_file(number).exists():
            return shards, empty
        work.texts_file(number).unlink()
    raise AssertionError


def _chunks(documents: Iterable[Document], shard_rows: int) -> Iterator[list[Document]]:
    """Lists of consecutive documents, of ``shard_rows``, or as many as fill ``SHARD_CHARACTERS``."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text) + len(document.title)
        size += len(repr(document.metadata)) if document.metadata else 0
        if len(chunk) == shard_rows or size >= SHARD_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def repeated_ids(texts: Sequence[Path], *, within: Path) -> Iterator[RepeatedId]:
    """Yield the rows whose id an earlier row has, in their order.

    Memory holds 40 MiB, the ids of one file and each repeated id once. Temporary files, eight bytes an id,
    stand ``within``.

    Raises:
        InputError: more than a million ids are repeated.
        OSError: the disk is full, or a file cannot be read.
    """
    with tempfile.TemporaryDirectory(dir=within, prefix=".ids.") as place:
        seen = SeenIds(Path(place))
        for ids in _ids(texts):
            seen.add(ids)
        suspects = seen.repeated(most=_MOST_REPEATED)
    if not len(suspects):
        return
    if len(suspects) > _MOST_REPEATED:
        raise InputError(f"more than {_MOST_REPEATED:,} ids occur twice; is a file given twice?")
    first_rows: dict[str, int] = {}
    start = 0
    for ids in _ids(texts):
        for offset in np.flatnonzero(np.isin(hash_ids(ids), suspects)):
            id_, row = ids[offset], start + int(offset)
            first = first_rows.setdefault(id_, row)
            if first != row:
                yield RepeatedId(id_, first, row)
        start += len(ids)


def _ids(texts: Sequence[Path]) -> Iterator[list[str]]:
    """The ids of each file of texts."""
    import pyarrow.parquet as pq

    for path in texts:
        yield pq.read_table(path, columns=["id"]).column("id").to_pylist()
