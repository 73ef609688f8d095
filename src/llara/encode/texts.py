"""Texts to unit vectors, in memory, by a loaded model."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from llara.corpus import Document
from llara.errors import ConfigError, ModelError
from llara.vectors import Role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["check_settings", "document_text", "encode_texts", "longest_input"]

_BLOCK_BATCHES = 32  # texts are sorted by length, and progress is shown, in blocks of this many batches


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
    check_settings(role=role, batch_size=batch_size)
    blocks = list(_encode_blocks(model, texts, role, batch_size, progress=progress))
    if not blocks:
        return np.zeros((0, model.get_embedding_dimension() or 0), dtype=np.float32)
    return np.concatenate(blocks)


def check_settings(*, role: str, **sizes: int) -> None:
    """Refuse a role that there is not, or a size below 1.

    Raises:
        ConfigError: which it is.
    """
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
