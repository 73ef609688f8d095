"""What an inspection finds, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from llara.prompts import Task

__all__ = ["Inspection", "Mask", "Pair", "PairWord", "RoleView", "Span", "TokenView", "Word"]

Part = Literal["lead", "text", "prompt", "slot"]


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token of a prompt as it reads; ``part`` is where it stands: before the text, in it, in the prompt
    after it, or a slot, whose state is the embedding."""

    text: str
    id: int
    part: Part


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its score, e . W (mean over its tokens); whether the text itself holds it."""

    word: str
    weight: float
    in_text: bool


@dataclass(frozen=True, slots=True)
class RoleView:
    """A text in one role: the prompt as the model reads it, and the words of its vector, strongest first."""

    prompt: str
    tokens: Sequence[TokenView]
    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class Mask:
    """The joint mask: ``rows[i][j]`` is "1" where token i sees token j. ``groups`` name each token's part:
    trunk, self or next. Of a long text the trunk's end is left out."""

    tokens: Sequence[str]
    groups: Sequence[str]
    rows: Sequence[str]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A text as the model sees it. ``num_tokens`` counts its tokens, of which ``read`` are read. ``expects``
    is false of a model that was adapted without EBAR: NEXT is not trained to predict what follows."""

    text: str
    roles: dict[Task, RoleView]
    mask: Mask
    num_tokens: int
    read: int
    expects: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PairWord:
    """A word of one of two texts, where it stands (code points), and how much the cosine falls without it
    (all its occurrences in that text); None if that was not tried."""

    word: str
    start: int
    end: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a document: their cosine, what each word carries of it, and the words of both vectors. Of a
    text that is cut, since it is longer than the model reads, only the words that are read."""

    query: str
    document: str
    similarity: float
    query_words: Sequence[PairWord]
    document_words: Sequence[PairWord]
    shared: Sequence[Word]
    query_cut: bool
    document_cut: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text (code points) and its weight, above 0 and at most 1."""

    start: int
    end: int
    weight: float
