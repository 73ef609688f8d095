"""Lexical vectors of a shard: made of its texts and whole vectors, while both are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from llara.errors import ConfigError, ModelError
from llara.vectors import Role, words_table

if TYPE_CHECKING:
    import pyarrow as pa

    from llara.words import WordHead

__all__ = ["check_lexical", "lexical_table"]

_TEXTS_AT_ONCE = 1_000


def check_lexical(role: Role, model: str) -> None:
    """Refuse lexical vectors of queries, and of a model that has no words for a vector.

    Args:
        model: a model directory.

    Raises:
        ConfigError: the role is not ``document``.
        ModelError: the model is not one of llara's, or its output head cannot be found.
    """
    from llara.model import read_facts
    from llara.words import output_head

    if role != "document":
        raise ConfigError(
            f"lexical vectors are made of documents, and the role is {role!r}: in lexical search a query is "
            "its own words. Leave out --lexical, or encode with --role document"
        )
    if not read_facts(model):
        raise ModelError(
            f"{model} is not a model that llara made (it has no llara.json), so its vectors cannot be read "
            "as words; leave out --lexical, or make it one with llara convert or llara adapt"
        )
    output_head(model)


def lexical_table(head: WordHead, texts: Sequence[str], vectors_ND: np.ndarray) -> pa.Table:
    """The lexical vectors of ``texts``, whose unit vectors are whole; see ``llara.vectors.read_words``."""
    import pyarrow as pa

    return pa.concat_tables(  # Python's objects of all of them would take several times as much
        words_table(head.lexical(texts[start:end], vectors_ND[start:end]))
        for start in range(0, len(texts), _TEXTS_AT_ONCE)
        for end in [start + _TEXTS_AT_ONCE]
    )
