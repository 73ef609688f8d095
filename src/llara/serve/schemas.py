"""The bodies of responses, for the description of the service."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "HIGHLIGHTED_CHARACTERS",
    "DocumentBody",
    "EmbeddingsAnswer",
    "ErrorAnswer",
    "Health",
    "Info",
    "Inspection",
    "Model",
    "ModelList",
    "PairAnswer",
    "SearchAnswer",
]


HIGHLIGHTED_CHARACTERS = 10_000  # of a title, and of a text


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorFacts(_Answer):
    message: str
    type: str
    code: str | None


class ErrorAnswer(_Answer):
    """What was wrong, in the shape of OpenAI's errors."""

    error: ErrorFacts


class Health(_Answer):
    """The service answers."""

    status: Literal["ok"]


class ModelFacts(_Answer):
    name: str
    fingerprint: str | None
    dimension: int
    max_tokens: int | None
    preset: str | None
    parameters: int


class IndexFacts(_Answer):
    documents: int
    kind: str
    backend: str
    bytes: int
    settings: dict[str, Any]
    role: str


class Info(_Answer):
    """What is served, and within which limits."""

    name: Literal["llara"]
    version: str
    model: ModelFacts
    index: IndexFacts | None
    modes: list[str]
    needs_key: bool
    limits: dict[str, float | None]


class Model(_Answer):
    """A model, or a role of it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Answer):
    """OpenAI's list of models."""

    object: Literal["list"]
    data: list[Model]


class Embedding(_Answer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(_Answer):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(_Answer):
    """OpenAI's answer: unit vectors in the order of the input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class DocumentBody(_Answer):
    """A document of the index."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any] | None


_Span = tuple[int, int, float]


class Highlights(_Answer):
    title: list[_Span]
    text: list[_Span]


class Hit(DocumentBody):
    rank: int
    score: float
    highlights: Highlights | None


class SearchAnswer(_Answer):
    """The best documents. Highlights are start, end (characters) and weight (0 to 1), in the first 10,000
    characters of a title or text."""

    query: str
    mode: str
    took_ms: float
    hits: list[Hit]


class Token(_Answer):
    text: str
    id: int
    part: Literal["lead", "text", "prompt", "slot"]


class Word(_Answer):
    word: str
    weight: float
    in_text: bool


class RoleFacts(_Answer):
    prompt: str
    tokens: list[Token]
    words: list[Word]


class Roles(_Answer):
    self: RoleFacts
    next: RoleFacts


class Mask(_Answer):
    tokens: list[str]
    groups: list[str]
    rows: list[str]


class Inspection(_Answer):
    """The prompts as the model sees them, and the words that each vector holds or expects. Of the text's
    ``num_tokens`` tokens the model reads the first ``read``. ``expects`` is false of a model that was not
    trained to predict what follows a text."""

    text: str
    roles: Roles
    mask: Mask
    num_tokens: int
    read: int
    expects: bool


class Share(_Answer):
    word: str
    start: int
    end: int
    share: float | None


class PairAnswer(_Answer):
    """Which words carry the similarity of two texts: ``share`` is what the cosine loses without a word, null
    where that was not tried. ``shared`` are words that one vector expects and the other holds. A text is
    ``cut`` if it is longer than the model reads; words behind are not listed."""

    query: str
    document: str
    similarity: float
    query_words: list[Share]
    document_words: list[Share]
    shared: list[Word]
    query_cut: bool
    document_cut: bool
