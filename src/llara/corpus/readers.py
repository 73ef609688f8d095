"""One file of each format, read row by row: a reader gives the rows, and how to make a document of one.

Reading a row never fails; making a document of it may, with ``InputError`` naming file and line.
So a bad row can be left out and the next one read. What spoils the whole file (missing, damaged,
without the right columns) is raised by the reader itself.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from llara.corpus.documents import BEIR_ID_FIELD, Document, Fields, document_from_record, place_id
from llara.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DATA_SUFFIXES",
    "SETTINGS_SUFFIX",
    "TEXT_SUFFIXES",
    "Rows",
    "json_of",
    "open_rows",
    "read_lines",
    "suffix_of",
    "wanted_columns",
]

COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
DATA_SUFFIXES = (*JSON_SUFFIXES, ".tsv", ".parquet")
SETTINGS_SUFFIX = (
    ".json"  # JSON lines when a user names the file; beside other files it is most often settings
)
TEXT_SUFFIXES = (".txt", ".md")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PARQUET_BATCH_ROWS = 1000


class Rows(NamedTuple):
    """The rows of one file in order, each with its place, and what turns a row into a document."""

    rows: Iterator[tuple[str, object]]
    parse: Callable[[str, object], Document]


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, in lower case and without that of the compression.

    >>> suffix_of(Path("wiki/articles-00.JSONL.xz"))
    '.jsonl'
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_rows(path: Path, fields: Fields) -> Rows:
    """The reader for the format that the suffix of ``path`` names.

    Raises:
        InputError: the suffix is none that can be read. The file itself is opened at the first row.
    """
    suffix = suffix_of(path)
    if suffix in JSON_SUFFIXES:
        return _json_rows(path, fields)
    if suffix == ".tsv":
        return _tsv_rows(path, fields)
    if suffix == ".parquet" and path.suffix.lower() == ".parquet":
        return _parquet_rows(path, fields)
    if suffix in TEXT_SUFFIXES:
        return Rows(iter([(str(path), path)]), _document_from_text_file)
    raise InputError(
        f"{path}: the suffix {path.suffix!r} is not known; expected one of "
        f"{' '.join((*DATA_SUFFIXES, *TEXT_SUFFIXES))}, as it is or compressed "
        f"({' '.join(COMPRESSED_SUFFIXES)}; Parquet compresses inside)"
    )


# -- JSON lines


def _json_rows(path: Path, fields: Fields) -> Rows:
    def parse(where: str, row: object) -> Document:
        assert isinstance(row, bytes)
        record = json_of(_decode(row, where), where)
        if not isinstance(record, dict):
            raise InputError(
                f"{where}: holds a JSON {type(record).__name__}; expected one JSON object a line, "
                f'such as {{"id": "1", "text": "..."}}'
            )
        return document_from_record(record, where=where, fields=fields)

    return Rows(_filled_lines(path), parse)


def json_of(line: str, where: str) -> object:
    """What a line of JSON holds.

    Raises:
        InputError: it is not JSON, nested too deeply, or has a number that Python does not read.
    """
    try:
        record: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: not JSON ({error.msg} at column {error.colno}); expected one JSON object a line"
        ) from error
    except RecursionError as error:
        raise InputError(f"{where}: the JSON is nested too deeply; expected a flat object") from error
    except ValueError as error:
        raise InputError(
            f"{where}: holds a whole number of more than {sys.get_int_max_str_digits():,} digits; "
            "expected a smaller one, or write it as a string"
        ) from error
    return record


# -- tab-separated values


def _tsv_rows(path: Path, fields: Fields) -> Rows:
    """Columns as the header names them (DPR: id, text, title); without a header, id and text."""
    columns: list[str] = []

    def rows() -> Iterator[tuple[str, object]]:
        lines = _filled_lines(path)
        first = next(lines, None)
        if first is None:
            return
        where, line = first
        cells = _cells(_decode(line, where))
        if fields.text in cells:
            columns[:] = cells
        elif len(cells) == 2:
            columns[:] = [fields.id, fields.text]
            lines = chain([first], lines)
        else:
            raise InputError(
                f"{where}: the header names no column {fields.text!r}; it has {', '.join(map(repr, cells))}: "
                "name the column that holds the text, or give two columns, id and text, without a header"
            )
        yield from lines

    def parse(where: str, row: object) -> Document:
        assert isinstance(row, bytes)
        cells = _cells(_decode(row, where))
        if len(cells) != len(columns):
            raise InputError(
                f"{where}: {len(cells)} tab-separated columns; expected {len(columns)} "
                f"({', '.join(columns)}), one row a line"
            )
        return document_from_record(dict(zip(columns, cells, strict=True)), where=where, fields=fields)

    return Rows(rows(), parse)


_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"(?=\t|$)|([^\t]*))(\t|$)')


def _cells(line: str) -> list[str]:
    r"""Cells of a line. One quoted from end to end is unquoted as in CSV; any other is taken as it is.

    >>> _cells('1\t"Aaron ( or ""Ahärôn"") is"\t"Hi," he said')
    ['1', 'Aaron ( or "Ahärôn") is', '"Hi," he said']
    """
    if '"' not in line:
        return line.split("\t")
    cells: list[str] = []
    for match in _CELL.finditer(line):
        quoted, plain, end = match.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        if not end:
            break
    return cells


# -- Parquet


def _parquet_rows(path: Path, fields: Fields) -> Rows:
    def rows() -> Iterator[tuple[str, object]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                names = file.schema_arrow.names
                wanted = wanted_columns(file.schema_arrow, fields)
                if fields.text not in names:
                    document_from_record(dict.fromkeys(names), where=str(path), fields=fields)
                number = 0
                for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                    for record in batch.to_pylist():
                        number += 1
                        yield f"{path}:{number}", record
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error

    def parse(where: str, row: object) -> Document:
        assert isinstance(row, dict)
        return document_from_record(row, where=where, fields=fields)

    return Rows(rows(), parse)


def wanted_columns(schema: pa.Schema, fields: Fields) -> list[str]:
    """The columns to read: those of ``fields``, and with ``fields.metadata`` others but bytes and media."""
    own = {fields.id, BEIR_ID_FIELD, fields.title, fields.text}
    return [f.name for f in schema if f.name in own or (fields.metadata and not _holds_bytes(f.type))]


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if isinstance(kind, pa.DictionaryType):
        return _holds_bytes(kind.value_type)
    if any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields)):
        return True
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(check(kind) for check in binary)


# -- plain text


def _document_from_text_file(where: str, row: object) -> Document:
    assert isinstance(row, Path)
    return Document(id=place_id(where), text="\n".join(line for _, line in read_lines(row)))


# -- lines


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place (``<file>:<line>``, from 1) and text of each line of a UTF-8 file, decompressed.

    Raises:
        InputError: the file is missing, damaged or not UTF-8.
    """
    return ((where, _decode(line, where)) for where, line in _lines(path))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                yield f"{path}:{number}", line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _unreadable(path, error) from error


def _filled_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    return (line for line in _lines(path) if line[1].strip())


def _open(path: Path) -> BinaryIO | gzip.GzipFile | lzma.LZMAFile | io.BufferedReader:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".xz":
        return lzma.open(path, "rb")
    if suffix == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"), buffer_size=1 << 16)
    return path.open("rb")


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 (byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line); "
            "save the file as UTF-8"
        ) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; check the path")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{path}: cannot be read ({reason}); the file may be damaged or cut short")
