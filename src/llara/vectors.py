"""Vectors directories: what ``llara encode`` writes and every index is built from.

    manifest.json         the model and its fingerprint, the input's, how it was encoded, counts, shards
    shard-00000.npy       [count, ...] the vectors, in the manifest's dtype (see ``llara.encoder.quantise``)
    shard-00000.parquet   id, title, text, metadata of the same rows
    shard-00000.words.parquet   with --lexical: terms, weights of the same rows

The formats are others' on purpose: numpy, faiss and torch map a ``.npy`` file from disk as it is, and a
``.parquet`` file is read by every data tool. Metadata is the JSON text of a record's other fields, or null:
records need not have the same fields. A row's terms and weights are its lexical vector (see ``llara.words``),
the heaviest first. A directory is complete or absent (see ``llara.encode``).

Shape legend: N rows of a shard, D dimensions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llara.corpus import Document
from llara.encoder.quantise import VectorDtype, check_dtype, restore
from llara.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MANIFEST",
    "Role",
    "Shard",
    "Source",
    "VectorsManifest",
    "metadata_text",
    "read_manifest",
    "read_stored",
    "read_texts",
    "read_vectors",
    "read_words",
    "texts_table",
    "words_table",
]

Role = Literal["query", "document"]

MANIFEST = "manifest.json"
_FORMAT = "llara-vectors/2"
_TEXT_COLUMNS = ("id", "title", "text", "metadata")
_WORD_COLUMNS = ("terms", "weights")


@dataclass(frozen=True)
class Shard:
    """One piece of a vectors directory: its file names, its number of rows, and the files' checksums.

    ``words`` is None where no lexical vectors were made.
    """

    vectors: str
    texts: str
    count: int
    vectors_sha256: str
    texts_sha256: str
    words: str | None = None
    words_sha256: str | None = None

    @property
    def checksums(self) -> dict[str, str | None]:
        """The SHA-256 of each of its files, by name."""
        found: dict[str, str | None] = {self.vectors: self.vectors_sha256, self.texts: self.texts_sha256}
        return found if self.words is None else {**found, self.words: self.words_sha256}


@dataclass(frozen=True)
class Source:
    """A file that was read; of a data set of the Hub neither size (bytes) nor checksum is known."""

    path: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class VectorsManifest:
    """What a vectors directory holds and how it was made.

    ``dimension`` counts what is stored; ``model_dimension`` what the model gives, which is more if the
    vectors were cut. ``skipped`` bad lines were left out (the messages are those of the first few); ``empty``
    rows have neither title nor text, but a vector like all others. ``settings`` decide the bytes of the
    shards, besides the fields above; ``precision`` is what the model computed in.
    """

    model: str
    fingerprint: str
    role: Role
    title_separator: str | None
    max_tokens: int | None
    count: int
    dimension: int
    dtype: VectorDtype
    shards: tuple[Shard, ...]
    model_dimension: int
    sources: tuple[Source, ...] = ()
    skipped: int = 0
    skipped_messages: tuple[str, ...] = ()
    empty: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"

    def write(self, directory: Path) -> None:
        """Write ``manifest.json`` into ``directory``."""
        made = asdict(self)
        made["shards"] = [
            {name: value for name, value in shard.items() if value is not None} for shard in made["shards"]
        ]
        content = json.dumps({"format": _FORMAT, **made}, indent=2, ensure_ascii=False)
        # What JSON text cannot hold, half a surrogate pair of a path that is not UTF-8, JSON can escape.
        (directory / MANIFEST).write_text(content + "\n", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, directory: Path) -> VectorsManifest:
        """Read ``directory/manifest.json``.

        Raises:
            InputError: the directory is not one that ``llara encode`` wrote.
        """
        content = read_manifest(directory, expected=_FORMAT, made_by="llara encode")
        try:
            check_dtype(content["dtype"])
            shards = tuple(Shard(**shard) for shard in content.pop("shards"))
            sources = tuple(Source(**source) for source in content.pop("sources", ()))
            messages = tuple(content.pop("skipped_messages", ()))
            return cls(**content, shards=shards, sources=sources, skipped_messages=messages)
        except (KeyError, TypeError, ConfigError) as error:
            raise InputError(f"{directory / MANIFEST} is damaged: {error}; run llara encode again") from error


def read_manifest(directory: Path, *, expected: str, made_by: str) -> dict[str, Any]:
    """The content of ``directory/manifest.json`` less its ``format``, which must be ``expected``.

    Raises:
        InputError: there is none, it is not JSON, or it has another format.
    """
    path = directory / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{directory} has no readable {MANIFEST}; expected a directory made by {made_by}"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}; run {made_by} again") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != expected:
        raise InputError(f"{path} has format {found!r}, expected {expected!r}: a directory made by {made_by}")
    return dict(content)


def read_stored(directory: Path, manifest: VectorsManifest, shard: Shard) -> np.ndarray:
    """A shard's vectors as they are on disk, mapped: [N, D] in their dtype, uint8 [N, D / 8] of binary ones.

    Raises:
        InputError: the file is missing or damaged, or does not hold what the manifest says.
    """
    path = directory / shard.vectors
    binary = manifest.dtype == "binary"
    shape = (shard.count, manifest.dimension // 8 if binary else manifest.dimension)
    dtype = np.dtype("uint8" if binary else manifest.dtype)
    try:
        stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # numpy's, of a damaged header
        raise InputError(f"{path} is missing or damaged ({error}); {_AGAIN}") from error
    if stored.shape != shape or stored.dtype != dtype:
        raise InputError(
            f"{path} holds {stored.dtype} {list(stored.shape)}, the manifest says {dtype} {list(shape)}; "
            f"{_AGAIN}"
        )
    return stored


def read_vectors(directory: Path, manifest: VectorsManifest, shard: Shard) -> np.ndarray:
    """A shard's vectors, float32 [N, D], every row of unit length whatever is stored.

    Of float32 vectors a memory map; of others a new array, 4 N D bytes.

    Raises:
        InputError: as :func:`read_stored`.
    """
    return restore(read_stored(directory, manifest, shard), manifest.dtype)


def read_texts(directory: Path, shard: Shard, columns: Sequence[str] = _TEXT_COLUMNS) -> pa.Table:
    """A shard's texts: string columns id, title, text, metadata (JSON or null), or some of them.

    Raises:
        InputError: the file is missing or damaged, or has another number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / shard.texts
    try:
        table = pq.read_table(path, schema=_schema()).select(list(columns))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {_AGAIN}") from error
    if table.num_rows != shard.count:
        raise InputError(f"{path} holds {table.num_rows} rows, the manifest says {shard.count}; {_AGAIN}")
    return table


def read_words(directory: Path, shard: Shard) -> pa.Table:
    """A shard's lexical vectors: terms, lists of strings, and weights, lists of float32, the heaviest first.

    Raises:
        InputError: there are none, or the file is missing or damaged, or has another number of rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if shard.words is None:
        raise InputError(
            f"{directory} holds no lexical vectors of {shard.vectors}; llara encode --lexical makes them"
        )
    path = directory / shard.words
    try:
        table = pq.read_table(path).cast(_words_schema())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {_AGAIN}") from error
    if table.num_rows != shard.count:
        raise InputError(f"{path} holds {table.num_rows} rows, the manifest says {shard.count}; {_AGAIN}")
    terms, weights = (pc.list_value_length(table.column(name)) for name in _WORD_COLUMNS)
    if terms.null_count or not terms.equals(weights):
        raise InputError(f"{path} is damaged: it has rows without a weight for every term; {_AGAIN}")
    return table


def words_table(documents: Iterable[Mapping[str, float]]) -> pa.Table:
    """Lexical vectors as the table that :func:`read_words` reads back."""
    import pyarrow as pa

    rows = list(documents)
    columns = [list(row) for row in rows], [list(row.values()) for row in rows]
    schema = _words_schema()
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def texts_table(documents: Sequence[Document]) -> pa.Table:
    """Documents as the table that :func:`read_texts` reads back."""
    import pyarrow as pa

    columns: list[Sequence[str | None]] = [
        [document.id for document in documents],
        [document.title for document in documents],
        [document.text for document in documents],
        [metadata_text(document.metadata) for document in documents],
    ]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=_schema())


def metadata_text(metadata: Mapping[str, Any] | None) -> str | None:
    """A record's other fields as JSON text; None if there are none.

    What JSON does not have is written as text (dates in ISO format), a number that is not finite as null.

    >>> metadata_text({"year": 1958, "tags": ["wing"], "score": float("nan")})
    '{"year": 1958, "tags": ["wing"], "score": null}'
    >>> metadata_text({}) is None
    True
    """
    if not metadata:
        return None
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError):  # of the last kind is half a surrogate pair, which JSON can only escape
        text = json.dumps(_plain(metadata), ensure_ascii=False)
        text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in _TEXT_COLUMNS])


def _words_schema() -> pa.Schema:
    import pyarrow as pa

    lists = pa.list_(pa.string()), pa.list_(pa.float32())
    return pa.schema(list(zip(_WORD_COLUMNS, lists, strict=True)))


_AGAIN = "llara encode --verify says more, and the same llara encode with --resume makes it anew"
