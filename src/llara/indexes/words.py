"""The words of an index's documents, beside their vectors: what BM25 and lexical search read.

Lexical vectors are those that ``llara encode --lexical`` wrote, or are made of what is there: the documents'
texts and vectors, and the model's output head. No text is encoded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from llara.corpus import Document
from llara.encode import document_text
from llara.errors import ConfigError, InputError, OutputError
from llara.indexes.source import VectorSource
from llara.lexical import Bm25Index, LexicalIndex, WordIndex, count_words
from llara.made_by import same_model
from llara.postings import Postings

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Words", "best", "check_words", "extend_words", "open_words", "write_words"]

Words = Literal["bm25", "lexical"]

_TEXTS_AT_ONCE = 1_000


def check_words(words: Sequence[Words], source: VectorSource, model: str | None = None) -> None:
    """Whether such words can be had of these vectors.

    Args:
        model: where the model that made the vectors is now; by default where it was.

    Raises:
        ConfigError: there is no such kind, or the vectors are cut or binary, and none were stored with them.
        ModelError: lexical vectors are to be made, and the model is not there or has changed.
    """
    for name in words:
        if name not in get_args(Words):
            raise ConfigError(f"words are {name!r}, expected {' or '.join(get_args(Words))}")
    if "lexical" in words and not source.has_words:
        _check_makeable(source, model)


def _check_makeable(source: VectorSource, model: str | None) -> None:
    """Whether lexical vectors can be made of the vectors themselves."""
    made = source.manifest
    if made.dimension != made.model_dimension or made.dtype == "binary":
        raise ConfigError(
            f"{source.directory} holds {made.dtype} vectors of {made.dimension} of the model's "
            f"{made.model_dimension} numbers, and words are read from whole ones; encode the documents with "
            "llara encode --lexical, which reads them before it cuts, or build the index without --lexical"
        )
    same_model(str(source.directory), made.model, made.fingerprint, model)


def write_words(
    directory: Path, source: VectorSource, words: Sequence[Words], number: int, model: str | None = None
) -> dict[str, str]:
    """Write the words of a new index; returns the names of the files.

    Raises:
        InputError: a shard is damaged, or the documents hold not one word.
        ModelError: lexical vectors are to be made, and the model is not where it was.
        OutputError: the disk is full or read-only.
    """
    files: dict[str, str] = {}
    for name in words:
        found = _postings(name, source, model)
        if not found.lengths.any():
            raise InputError(
                f"{source.directory}: not one word in {len(found):,} documents; nothing to search by"
            )
        files[name] = _write(found, directory, name, number)
    return files


def extend_words(
    directory: Path, files: Mapping[str, str], source: VectorSource, number: int, model: str | None = None
) -> dict[str, str]:
    """Write the words of an index with ``source`` behind its documents; the files it has stay good.

    Memory: the postings of both.

    Raises: as ``check_words``.
    """
    held: list[Words] = [name for name in get_args(Words) if name in files]
    check_words(held, source, model)
    extended: dict[str, str] = {}
    for name in held:
        both = Postings.open(directory / files[name]).followed_by(_postings(name, source, model))
        extended[name] = _write(both, directory, name, number)
    return extended


def open_words(directory: Path, files: Mapping[str, str], live: np.ndarray | None) -> dict[Words, WordIndex]:
    """What of it an index has, opened.

    Args:
        live: bool [N], which documents count; None if all do.

    Raises:
        InputError: a file is missing or damaged.
    """
    kinds: dict[Words, Any] = {"bm25": Bm25Index, "lexical": LexicalIndex}
    return {
        name: kind(Postings.open(directory / files[name]), live=live)
        for name, kind in kinds.items()
        if name in files
    }


def best(scores: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 [K] and positions int64 [K] of the up to ``k`` best documents that share a word.

    Args:
        scores: float32 [N].
        allowed: bool [N], the positions that may be found; None allows all.

    >>> best(np.float32([0, 2, 1, 2]), 2, None)[1].tolist()
    [1, 3]
    """
    found = scores > 0 if allowed is None else (scores > 0) & allowed
    positions = np.flatnonzero(found)
    if len(positions) > k:
        kth_score = np.partition(scores[positions], -k)[-k]
        positions = positions[scores[positions] >= kth_score]
    order = positions[np.lexsort((positions, -scores[positions]))[:k]]
    return scores[order], order


def _postings(name: Words, source: VectorSource, model: str | None) -> Postings:
    separator = source.manifest.title_separator
    if name == "bm25":
        return count_words(text for table in source.texts() for text in _texts(table, separator))
    if source.has_words:
        return Postings.build(source.words(_TEXTS_AT_ONCE))
    return Postings.build(_lexical(source, separator, model or source.manifest.model))


def _lexical(source: VectorSource, separator: str | None, model: str) -> Iterator[dict[str, float]]:
    from llara.words import WordHead

    head = WordHead.of(model, max_tokens=source.manifest.max_tokens)
    for vectors_ND, table in source.batches(_TEXTS_AT_ONCE):
        yield from head.lexical(_texts(table, separator), vectors_ND)


def _texts(table: pa.Table, separator: str | None) -> list[str]:
    columns = (table.column(name).to_pylist() for name in ("title", "text"))
    return [
        document_text(Document("", text, title or ""), separator)
        for title, text in zip(*columns, strict=True)
    ]


def _write(postings: Postings, directory: Path, name: str, number: int) -> str:
    path = directory / f"{name}-{number}.safetensors"
    try:
        postings.write(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; free the disk") from error
    return path.name
