"""Texts to vectors: in memory (``encode_texts``) and from a file to a directory of shards (``encode_file``).

A vectors directory holds

    manifest.json         the model and its fingerprint, role, title setting, counts, dimension, dtype, shards
    shard-00000.npy       float32 [count, dimension], every row of unit length
    shard-00000.parquet   id, title, text of the same rows

and is complete or absent: it is written beside its final place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from llara.corpus import Document, Fields, Skipped, read_documents
from llara.datasets import read_queries
from llara.errors import ConfigError, InputError, ModelError
from llara.files import atomic_directory, check_output

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "Role",
    "Shard",
    "VectorsManifest",
    "document_text",
    "encode_file",
    "encode_texts",
    "longest_input",
]

Role = Literal["query", "document"]

MANIFEST = "manifest.json"
_FORMAT = "llara-vectors/1"
_BLOCK_BATCHES = 32  # texts are sorted by length, and progress is shown, in blocks of this many batches


@dataclass(frozen=True)
class Shard:
    """One piece of a vectors directory: its two file names and its number of rows."""

    vectors: str
    texts: str
    count: int


@dataclass(frozen=True)
class VectorsManifest:
    """What a vectors directory holds and how it was made."""

    model: str
    fingerprint: str
    role: Role
    title_separator: str | None
    max_tokens: int | None
    count: int
    dimension: int
    dtype: str
    shards: tuple[Shard, ...]

    def write(self, directory: Path) -> None:
        """Write ``manifest.json`` into ``directory``."""
        content = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)
        (directory / MANIFEST).write_text(content + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> VectorsManifest:
        """Read ``directory/manifest.json``.

        Raises:
            InputError: the directory is not one that ``llara encode`` wrote.
        """
        content = read_manifest(directory, expected=_FORMAT, made_by="llara encode")
        try:
            shards = tuple(Shard(**shard) for shard in content.pop("shards"))
            return cls(**content, shards=shards)
        except (KeyError, TypeError) as error:
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


def document_text(document: Document, title_separator: str | None = " ") -> str:
    """The text of a document as a retriever sees it: title, separator, text; ``None`` leaves the title out.

    >>> document_text(Document(id="1", text="It flies.", title="Wing"))
    'Wing It flies.'
    >>> document_text(Document(id="1", text="It flies.", title="Wing"), None)
    'It flies.'
    >>> document_text(Document(id="1", text="", title="Wing"))
    'Wing'
    """
    if title_separator is None or not document.title:
        return document.text
    return f"{document.title}{title_separator}{document.text}" if document.text else document.title


def longest_input(model: SentenceTransformer) -> int | None:
    """The number of tokens after which the model cuts a text off; None if it never does."""
    length = model.max_seq_length
    return None if length is None or not math.isfinite(length) else int(length)


def encode_texts(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    role: Role,
    batch_size: int = 64,
    progress: bool = False,
) -> np.ndarray:
    """The unit vectors of ``texts`` in their order: float32 [N, D].

    ``role`` chooses ``model.encode_query`` or ``model.encode_document``. Vectors are scaled to length 1
    (cosine); a vector of zeros stays as it is. Besides the result, memory holds one block of texts.

    Args:
        progress: show a bar on stderr if that is a terminal.

    Raises:
        ModelError: a vector is not finite, or the model compares by something else than cosine.
        ConfigError: the role or the batch size is not valid.
    """
    _check_settings(role=role, batch_size=batch_size)
    blocks = list(_encode_blocks(model, texts, role, batch_size, progress=progress))
    if not blocks:
        return np.zeros((0, model.get_embedding_dimension() or 0), dtype=np.float32)
    return np.concatenate(blocks)


def encode_file(
    model: str,
    source: str | Path | Sequence[str | Path],
    out: Path,
    *,
    role: Role,
    fields: Fields = Fields(),  # noqa: B008 - frozen
    skipped: Skipped | None = None,
    title_separator: str | None = " ",
    batch_size: int = 64,
    shard_size: int = 50_000,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> VectorsManifest:
    """Encode documents (or queries) from files into a vectors directory; returns its manifest.

    The input is streamed: memory holds the texts and vectors of one shard (50,000 rows of 4,096 numbers are
    0.8 GB) and eight bytes per id. Queries are read by ``llara.datasets.read_queries``, documents by
    ``llara.corpus.read_documents``.

    Args:
        model: a model directory, or a name that ``llara.model.load`` knows.
        skipped: count malformed lines here and go on; ``None`` makes the first one an error.
        title_separator: what stands between title and text; ``None`` leaves titles out of the vectors.

    Raises:
        InputError: the input is missing, empty or malformed, or holds an id twice.
        ModelError: the model cannot be loaded, or gives vectors that are not finite.
        OutputError: ``out`` exists (without ``overwrite``) or cannot be written.
    """
    from llara.model import fingerprint, load, resolve

    _check_settings(role=role, batch_size=batch_size, shard_size=shard_size)
    check_output(out, overwrite=overwrite)
    sources = [source] if isinstance(source, str | Path) else list(source)
    records = _read_records(sources, role, fields, skipped)
    first = next(records, None)
    if first is None:
        raise InputError(f"{', '.join(map(str, sources))}: no {role} found; expected at least one")
    encoder = load(model, device=device)
    shards: list[Shard] = []
    dimension = 0
    seen = _SeenIds()
    with atomic_directory(out, overwrite=overwrite) as directory:
        for rows in _chunks(_chain(first, records), shard_size):
            seen.add([row.id for row in rows])
            texts = [document_text(row, title_separator) for row in rows]
            vectors = np.concatenate(
                list(_encode_blocks(encoder, texts, role, batch_size, progress=progress))
            )
            shards.append(_write_shard(directory, len(shards), rows, vectors))
            dimension = vectors.shape[1]
        manifest = VectorsManifest(
            model=_portable_name(model),
            fingerprint=fingerprint(resolve(model)),
            role=role,
            title_separator=title_separator if role == "document" else None,
            max_tokens=longest_input(encoder),
            count=sum(shard.count for shard in shards),
            dimension=dimension,
            dtype="float32",
            shards=tuple(shards),
        )
        manifest.write(directory)
    return manifest


def _check_settings(*, role: str, **sizes: int) -> None:
    if role not in get_args(Role):
        raise ConfigError(f"role is {role!r}, expected one of {', '.join(get_args(Role))}")
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} is {size}, expected at least 1")


def _encode_blocks(
    model: SentenceTransformer, texts: Sequence[str], role: Role, batch_size: int, *, progress: bool
) -> Iterator[np.ndarray]:
    """Yield unit vectors, float32 [n, D], for consecutive blocks of ``texts``."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    if model.similarity_fn_name not in ("cosine", "dot"):
        raise ModelError(f"the model compares by {model.similarity_fn_name}; llara searches by cosine only")
    encode = model.encode_query if role == "query" else model.encode_document
    block_size = batch_size * _BLOCK_BATCHES
    hide = not (progress and sys.stderr.isatty())
    with tqdm(total=len(texts), desc=f"encode {role}", unit="text", leave=False, disable=hide) as bar:
        for start in range(0, len(texts), block_size):
            block = list(texts[start : start + block_size])
            vectors = np.asarray(
                encode(block, batch_size=batch_size, show_progress_bar=False), dtype=np.float32
            )
            yield _unit_vectors(vectors, block, is_dot=model.similarity_fn_name == "dot")
            bar.update(len(block))


def _unit_vectors(vectors: np.ndarray, texts: Sequence[str], *, is_dot: bool) -> np.ndarray:
    """Scale the rows of float32 [n, D] to length 1; refuse what cosine cannot compare."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise ModelError(
            f"the model gave a vector that is not finite (NaN or infinity) for the text {text[:80]!r}; "
            "load it in float32 or bfloat16 instead of float16, or look at its weights"
        )
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if is_dot and np.any(np.abs(lengths - 1) > 1e-2):
        raise ModelError(
            f"the model compares by dot product and its vectors are not of length 1 (one has "
            f"{float(lengths.max()):.3g}); llara searches by cosine only, so add a Normalize module to it"
        )
    scaled: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return scaled


def _read_records(
    sources: Sequence[str | Path], role: Role, fields: Fields, skipped: Skipped | None
) -> Iterator[Document]:
    if role == "document":
        yield from read_documents(sources, fields=fields, skipped=skipped)
        return
    for source in sources:
        for query_id, text in read_queries(Path(source), fields=fields, skipped=skipped).items():
            yield Document(id=query_id, text=text)


def _chain(first: Document, rest: Iterator[Document]) -> Iterator[Document]:
    yield first
    yield from rest


def _chunks(records: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Lists of up to ``size`` consecutive records."""
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _SeenIds:
    """Refuses an id that came before; eight bytes an id (10 million ids collide in 1 of 400,000 runs)."""

    def __init__(self) -> None:
        self._hashes = np.zeros(0, dtype=np.uint64)

    def add(self, ids: Sequence[str]) -> None:
        digests = b"".join(hashlib.blake2b(id_.encode(), digest_size=8).digest() for id_ in ids)
        hashes = np.frombuffer(digests, dtype=np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        repeated = np.ones(len(hashes), dtype=bool)
        repeated[first] = False
        repeated |= np.isin(hashes, self._hashes)
        if repeated.any():
            id_ = ids[int(np.argmax(repeated))]
            raise InputError(
                f"the id {id_!r} occurs twice; ids must be unique, or a hit could not be told apart"
            )
        self._hashes = np.concatenate([self._hashes, unique])


def _write_shard(directory: Path, number: int, rows: Sequence[Document], vectors: np.ndarray) -> Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert len(rows) == len(vectors)
    shard = Shard(vectors=f"shard-{number:05d}.npy", texts=f"shard-{number:05d}.parquet", count=len(rows))
    np.save(directory / shard.vectors, vectors)
    columns = {
        name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in ("id", "title", "text")
    }
    pq.write_table(pa.table(columns), directory / shard.texts)
    return shard


def _portable_name(model: str) -> str:
    """A path made absolute, so that the index finds its model from any working directory; a name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
