"""Texts to unit vectors, in memory, by a loaded model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from llara.corpus import Document
from llara.errors import ConfigError
from llara.vectors import Role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llara.encoder import Encoder

__all__ = ["check_settings", "document_text", "encode_texts", "longest_input"]


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
    model: SentenceTransformer | Encoder,
    texts: Sequence[str],
    *,
    role: Role,
    batch_size: int | None = None,
    own_similarity: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """The unit vectors of ``texts`` in their order: float32 [N, D].

    They are ``model.encode_query``'s or ``model.encode_document``'s, as ``role`` says, scaled to length 1
    (cosine); a vector of zeros stays as it is. A model of ours is computed by the fast path of
    ``llara.encoder``, with its weights as they are now; to rounding, the vectors are the same.

    Args:
        batch_size: no batch holds more texts (None: as many as its tokens allow, 64 on the stock path).
        own_similarity: for inner products as the model compares; see ``Encoder.encode``.
        progress: show a bar on stderr if that is a terminal.

    Raises:
        ModelError: a vector is not finite, or the model compares by something else than cosine.
        ConfigError: the role or the batch size is not valid.
        InputError: ``texts`` is no list, or a member is not a string of Unicode text.
    """
    from llara.encoder import Encoder

    encoder = model if isinstance(model, Encoder) else Encoder(model)
    return encoder.encode(
        texts, role=role, batch_size=batch_size, own_similarity=own_similarity, progress=progress
    )


def check_settings(*, role: str, **sizes: int | None) -> None:
    """Refuse a role that there is not, or a size below 1; None is no limit.

    Raises:
        ConfigError: which it is.
    """
    if role not in get_args(Role):
        raise ConfigError(f"role is {role!r}, expected one of {', '.join(get_args(Role))}")
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ConfigError(f"{name} is {size}, expected at least 1")
