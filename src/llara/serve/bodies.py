"""The bodies of requests, made for one server: its limits and its model's sizes stand in its description, so
that a client can know beforehand what will be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from llara.serve.settings import Limits

__all__ = ["Requests", "request_bodies"]

_STRICT = ConfigDict(extra="forbid", strict=True)
_MOST_NAME_CHARACTERS = 1_000
_MOST_FILTER_CHARACTERS = 10_000


@dataclass(frozen=True)
class Requests:
    """The bodies that this server takes, a type each."""

    embeddings: TypeAdapter[Any]
    search: TypeAdapter[Any]
    inspect: TypeAdapter[Any]
    pair: TypeAdapter[Any]


def request_bodies(
    limits: Limits, *, model: str, dimension: int, vocabulary: int | None, modes: tuple[str, ...]
) -> Requests:
    """The bodies of requests for one model, one index (``modes`` are empty without) and these limits."""
    top: Any = _whole_number(1, 100)
    words: Any = Annotated[StrictStr, Field(min_length=1, max_length=limits.text_characters)]
    inspect = _body(
        "InspectRequest",
        "A text to look into.",
        text=(words, Field(description="the text")),
        top=(top, Field(20, description="so many words")),
    )
    return Requests(
        TypeAdapter(_embeddings(limits, model, dimension, vocabulary)),
        TypeAdapter(_search(words, top, modes or ("dense",))),
        TypeAdapter(inspect),
        TypeAdapter(_pair(words, top, with_documents=bool(modes))),
    )


def _embeddings(limits: Limits, model: str, dimension: int, vocabulary: int | None) -> Any:
    text: Any = Annotated[StrictStr, Field(max_length=limits.text_characters)]
    inputs: Any = text | _list_of(text, limits.inputs)
    if vocabulary is not None:
        id_: Any = _whole_number(0, vocabulary - 1)
        ids: Any = _list_of(id_, limits.text_characters)
        inputs = inputs | ids | _list_of(ids, limits.inputs)
    names: Any = Literal[(model, f"{model}:query", f"{model}:document")]  # type: ignore[misc]
    first: Any = _whole_number(1, dimension)
    user: Any = Annotated[StrictStr, Field(max_length=_MOST_NAME_CHARACTERS)]
    role: Any = Literal["query", "document"]
    return _body(
        "EmbeddingsRequest",
        "OpenAI's request for embeddings. The role of the texts, which decides their prompt, is said by "
        "`input_type` or by the end of the model's name; without either they are documents.",
        input=(inputs, Field(description="a text, texts, a text's token ids, or those of several texts")),
        model=(names | None, Field(None, description="this server's model; :query or :document is a role")),
        encoding_format=(
            Literal["float", "base64"],
            Field("float", description="base64: of little-endian float32"),
        ),
        dimensions=(first | None, Field(None, description="only the first numbers, at length 1 again")),
        user=(user | None, Field(None, description="not used")),
        input_type=(role | None, Field(None, description="the role of the texts")),
    )


def _search(words: Any, top: Any, modes: tuple[str, ...]) -> Any:
    mode: Any = Literal[modes]  # type: ignore[valid-type]
    where: Any = Annotated[
        StrictStr, Field(max_length=_MOST_FILTER_CHARACTERS, json_schema_extra={"format": "llara-filter"})
    ]
    return _body(
        "SearchRequest",
        "A query.",
        query=(words, Field(description="what to look for")),
        k=(top, Field(10, description="so many documents")),
        mode=(mode, Field("dense", description="how to search; /info lists what this index can do")),
        where=(where | None, Field(None, description='a filter on metadata: year > 2000 and lang == "en"')),
        highlight=(
            bool,
            Field(
                False, description="say which words of its first 10,000 characters carry a hit's similarity"
            ),
        ),
    )


def _pair(words: Any, top: Any, *, with_documents: bool) -> Any:
    shared: dict[str, Any] = {
        "query": (words, Field(description="the text on the query's side")),
        "top": (top, Field(20, description="so many words")),
    }
    of_texts = _body(
        "PairOfTexts",
        "Two texts.",
        document=(words, Field(description="the text on the document's side")),
        **shared,
    )
    if not with_documents:
        return of_texts
    id_: Any = Annotated[StrictStr, Field(max_length=_MOST_FILTER_CHARACTERS)]
    return of_texts | _body(
        "PairWithDocument",
        "A text and a document of the index.",
        document_id=(id_, Field(description="the document's id")),
        **shared,
    )


def _whole_number(least: int, most: int) -> Any:
    """A whole number, which JSON may also write as 7.0."""
    integer: Any = Annotated[StrictInt, Field(ge=least, le=most)]
    number: Any = Annotated[StrictFloat, AfterValidator(_without_fraction), Field(ge=least, le=most)]
    return Annotated[integer | number, WithJsonSchema({"type": "integer", "minimum": least, "maximum": most})]


def _without_fraction(number: float) -> int:
    if not number.is_integer():
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return int(number)


def _list_of(kind: Any, most: int) -> Any:
    """A list that is not empty; of what is wrong in it the first is told."""
    return Annotated[list[kind], Field(min_length=1, max_length=most, fail_fast=True)]


def _body(name: str, about: str, **fields: Any) -> Any:
    return create_model(name, __config__=_STRICT, __doc__=about, **fields)
