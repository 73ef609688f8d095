"""The documents of an index and what the index counts, in one SQLite file: its transaction is an update's.

    documents   position, id, title, text: of every document that can be found
    metadata    position and the JSON text of a record's other fields, where there are any
    deleted     positions whose vectors must not be found any more; a position is never given twice
    facts       rows (vectors that count), number (of the last update), files (of the vectors)

An update writes vectors first, to new files or behind the rows that count, and then, in one transaction, the
documents and the facts that make those vectors count. Killed before that, it has changed nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from llara.corpus import Document
from llara.errors import ConfigError, InputError, OutputError
from llara.indexes.base import Files
from llara.indexes.filters import parse_filter, sql_condition

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Documents", "Facts"]

_SCHEMA = """
CREATE TABLE documents (position INTEGER PRIMARY KEY, id TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT
NULL); CREATE TABLE metadata (position INTEGER PRIMARY KEY, metadata TEXT NOT NULL); CREATE TABLE deleted
(position INTEGER PRIMARY KEY); CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_SECONDS_TO_WAIT = 30
_IDS_AT_ONCE = 10_000  # parameters of a statement; not JSON, which SQLite cuts at U+0000
_MOST_PARAMETERS = 30_000  # of a statement; SQLite's own limit is 32,766


@dataclass(frozen=True)
class Facts:
    """What counts: the first ``rows`` vectors of ``files``, as update ``number`` left them."""

    rows: int
    number: int
    files: Files


class Documents:
    """The opened file. Documents are read as they are asked for; memory holds the positions deleted.

    Raises:
        InputError: the file is missing or damaged.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._path = path
        self._one_at_a_time = threading.RLock()
        with self._reading():
            self._connection, self._inode = _connect(path)
            self._connection.execute(f"PRAGMA query_only = {'OFF' if writable else 'ON'}")
            (page,), (pages,) = (self._rows(f"PRAGMA {name}")[0] for name in ("page_size", "page_count"))
            if path.stat().st_size < page * pages:
                raise sqlite3.DatabaseError(f"{path.stat().st_size} bytes, expected {page * pages}")
            self.facts = self._read_facts()

    @property
    def is_replaced(self) -> bool:
        """Whether another file stands at the path by now; if none does, this one is read on."""
        return _inode(self._path) not in (None, self._inode)

    def version(self) -> int:
        """A number that another process's update changes."""
        (version,) = self._rows("PRAGMA data_version")[0]
        return int(version)

    def snapshot(self) -> tuple[Facts, np.ndarray]:
        """The facts, and the positions that are gone (int64, in order), of one moment."""
        with self._reading(), self._one_at_a_time:
            self._connection.execute("BEGIN")
            try:
                facts = self._read_facts()
                gone = self._rows("SELECT position FROM deleted ORDER BY position")
            finally:
                self._connection.execute("COMMIT")
        return facts, np.array(gone, np.int64).reshape(-1)

    @classmethod
    def create(cls, path: Path, tables: Iterable[pa.Table], facts: Facts) -> None:
        """Write the file.

        Raises:
            InputError: an id occurs twice.
            OutputError: the disk is full or read-only.
        """
        with _writing(path):
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
                connection.execute("BEGIN")
                _insert(connection, tables, 0)
                _write_facts(connection, facts)
                connection.execute("CREATE UNIQUE INDEX ids ON documents (id)")
                connection.execute("COMMIT")
            finally:
                connection.close()

    @classmethod
    @contextmanager
    def updating(cls, path: Path) -> Iterator[Self]:
        """The file, open for one update, which is kept if the block succeeds; others can read meanwhile.

        Raises:
            OutputError: another update is running, or the file cannot be written.
        """
        documents = cls(path, writable=True)
        connection = documents._connection
        try:
            with _writing(path):
                connection.execute("PRAGMA cache_spill = OFF")  # readers are kept out only while it commits
                connection.execute("PRAGMA busy_timeout = 0")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA busy_timeout = {1000 * _SECONDS_TO_WAIT}")
                if _inode(path) != documents._inode:
                    raise OutputError(f"{path.parent} was built anew just now; run the update again")
                documents.facts = documents._read_facts()
                yield documents
                connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            documents.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, positions: Sequence[int]) -> dict[int, Document]:
        """The documents at some positions, by position; those deleted since are left out."""
        found = self._rows(
            "SELECT position, id, title, text, metadata FROM documents LEFT JOIN metadata USING (position)"
            " WHERE position IN (SELECT value FROM json_each(?))",
            json.dumps(list(map(int, positions))),
        )
        return {
            position: Document(id_, text, title, metadata=json.loads(metadata) if metadata else None)
            for position, id_, title, text, metadata in found
        }

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where the documents of these ids are; an id that is not there is left out."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            some = wanted[start : start + _IDS_AT_ONCE]
            places = ",".join("?" * len(some))
            found.update(self._rows(f"SELECT id, position FROM documents WHERE id IN ({places})", *some))
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def matching(self, where: str) -> np.ndarray:
        """Positions whose documents match a filter, int64, in order. Reads the metadata of all documents.

        Raises:
            ConfigError: it is not a filter.
        """
        condition, parameters = sql_condition(parse_filter(where))
        found = self._rows(
            "SELECT position FROM documents LEFT JOIN metadata USING (position)"
            f" WHERE {condition} ORDER BY position",  # made of comparisons; values are parameters
            *parameters,
        )
        return np.array(found, np.int64).reshape(-1)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove the documents of these ids, within an update; returns how many there were."""
        positions = [(position,) for position in self.positions(ids).values()]
        self._connection.executemany("INSERT INTO deleted VALUES (?)", positions)
        for table in ("documents", "metadata"):
            self._connection.executemany(f"DELETE FROM {table} WHERE position = ?", positions)
        return len(positions)

    def add(self, tables: Iterable[pa.Table], facts: Facts) -> int:
        """Add documents behind the rows that count, within an update; returns how many replaced another."""
        replaced = 0
        start = self.facts.rows
        for table in tables:
            replaced += self.delete(table.column("id").to_pylist())
            _insert(self._connection, [table], start)
            start += table.num_rows
        _write_facts(self._connection, facts)
        return replaced

    def _read_facts(self) -> Facts:
        values = {name: json.loads(value) for name, value in self._rows("SELECT name, value FROM facts")}
        try:
            return Facts(**values)
        except TypeError as error:
            raise sqlite3.DatabaseError(f"{error}") from error

    def _rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._reading():
            if len(parameters) > _MOST_PARAMETERS:
                raise ConfigError(
                    f"the filter compares with {len(parameters):,} values and names; SQLite takes"
                    f" {_MOST_PARAMETERS:,}, so ask in parts"
                )
            if self.is_replaced:  # SQLite would take an update of the file that is there for one of this
                raise InputError(f"{self._path.parent} was replaced just now; try again")
            return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            if _is_busy(error):
                raise InputError(
                    f"{self._path.parent} is being updated by another process; try again"
                ) from error
            raise InputError(
                f"{self._path} is missing or damaged ({error}); build the index again with llara index"
            ) from error


def _connect(path: Path) -> tuple[sqlite3.Connection, int | None]:
    """Open a file; with it what tells it from others that will be at this path."""
    while True:
        inode = _inode(path)
        # Writable if the disk is: who opens a file that a killed update left must be able to roll it back.
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=_SECONDS_TO_WAIT,
            check_same_thread=False,
        )
        if _inode(path) == inode:
            return connection, inode
        connection.close()


def _inode(path: Path) -> int | None:
    """The number of the file at a path; None if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _insert(connection: sqlite3.Connection, tables: Iterable[pa.Table], start: int) -> None:
    for table in tables:
        ids, titles, texts, metadata = (
            table.column(name).to_pylist() for name in ("id", "title", "text", "metadata")
        )
        positions = range(start, start + len(ids))
        connection.executemany(
            "INSERT INTO documents VALUES (?, ?, ?, ?)",
            zip(positions, ids, (title or "" for title in titles), texts, strict=True),
        )
        connection.executemany(
            "INSERT INTO metadata VALUES (?, ?)",
            [pair for pair in zip(positions, metadata, strict=True) if pair[1] is not None],
        )
        start += len(ids)


def _write_facts(connection: sqlite3.Connection, facts: Facts) -> None:
    rows = [(name, json.dumps(value)) for name, value in vars(facts).items()]
    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise InputError(
            f"an id occurs twice among the documents ({error}); ids must be unique, or a hit could not be "
            "told apart"
        ) from error
    except sqlite3.Error as error:
        if _is_busy(error):
            raise OutputError(
                f"{path.parent} is being updated or searched by another process; try again later"
            ) from error
        raise OutputError(f"cannot write {path}: {error}") from error


def _is_busy(error: Exception) -> bool:
    """Whether another process holds the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
