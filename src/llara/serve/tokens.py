"""How many tokens a text has for the model, and which text token ids stand for.

Counting runs in several threads beside the model's. Tokenizers may be read by many threads, but not while
their truncation is being changed, so this one is a copy of which nothing is ever changed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llara.encoder import Encoder
from llara.prompts import Prompts, Task

if TYPE_CHECKING:
    from llara.vectors import Role

__all__ = ["Tokens"]

_TASKS: dict[Role, Task] = {"query": "next", "document": "self"}


class Tokens:
    """The tokenizer of a model.

    Attributes:
        vocabulary: number of token ids, or None if it has no tokenizer that can read ids.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._known = None if encoder.path is None else encoder.path.known
        tokenizer: Any = getattr(encoder.model, "tokenizer", None)
        self._tokenizer: Any = copy.deepcopy(tokenizer)
        if self._known is not None:
            self._prompts = Prompts(self._tokenizer, self._known.prompts.preset)
        self.vocabulary: int | None = None
        if callable(getattr(self._tokenizer, "decode", None)) and hasattr(self._tokenizer, "__len__"):
            self.vocabulary = len(self._tokenizer)

    def count(self, texts: Sequence[str], role: Role) -> list[int]:
        """Tokens of each text as the model sees it: prompt included, cut to what the model takes.

        For a model that llara did not write, the tokens of the text alone.
        """
        if self._known is None:
            return [self._plain_count(text) for text in texts]
        task = _TASKS[role]
        around = len(self._prompts.lead_ids) + len(self._prompts.branches[task].ids)
        return [around + len(ids) for ids in self._prompts.text_ids(texts, self._known.text_limit(task))]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text that ids below ``vocabulary`` stand for; special tokens stand for none."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _plain_count(self, text: str) -> int:
        encoded = self._tokenizer.encode(text) if self._tokenizer is not None else text.split()
        return len(getattr(encoded, "ids", encoded))
