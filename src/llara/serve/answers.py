"""JSON out, and a request's body in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError

from llara.serve.errors import ApiError, from_validation
from llara.serve.shape import check_shape
from llara.unicode import sayable

if TYPE_CHECKING:
    from llara.serve.engine import Engine

__all__ = ["as_json", "engine_of", "json_response", "number_lists", "read_body"]

_SMALL_BYTES = 16_384  # are parsed where they are; more would hold up other requests


def engine_of(request: Request) -> Engine:
    """The engine behind a request."""
    engine: Engine = request.app.state.engine
    return engine


async def read_body(request: Request, adapter: TypeAdapter[Any], *, most_items: int = 0) -> Any:
    """The body as the type says.

    Args:
        most_items: texts, or lists of token ids, that it may list.

    Raises:
        ApiError: it is no JSON (400, 415), or not as described (400, 413).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415, "the body must be JSON, with the header Content-Type: application/json", "not_json"
        )
    body = await request.body()
    if len(body) <= _SMALL_BYTES:
        return _parse(adapter, body)
    return await engine_of(request).in_thread(_parse_large, adapter, body, most_items)


def _parse_large(adapter: TypeAdapter[Any], body: bytes, most_items: int) -> Any:
    check_shape(body, most_items)
    return _parse(adapter, body)


def _parse(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_validation(found) from None  # its values are the client's


def as_json(content: Any) -> bytes:
    """UTF-8. Half a surrogate pair, which JSON can say in metadata and UTF-8 cannot, becomes U+FFFD."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return sayable(text).encode("utf-8")


def json_response(content: Any | bytes) -> Response:
    """A response of JSON, or of bytes that are JSON already."""
    body = content if isinstance(content, bytes) else as_json(content)
    return Response(body, media_type="application/json")


def number_lists(vectors_ND: np.ndarray) -> Sequence[str]:
    """Each row of float32 ``[N, D]`` as a JSON list, in the fewest digits that give the same float32.

    >>> number_lists(np.array([[0.1, -2e-7, 1.0]], dtype=np.float32))
    ['[0.1,-2e-7,1]']
    """
    import pyarrow as pa

    width = vectors_ND.shape[1]
    numbers = pa.array(vectors_ND.reshape(-1)).cast(pa.string()).to_pylist()
    return [f"[{','.join(numbers[at : at + width])}]" for at in range(0, len(numbers), width)]
