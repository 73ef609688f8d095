"""``/search`` and ``/documents``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from llara.search import Hit
from llara.serve.answers import as_json, engine_of, json_response, read_body
from llara.serve.engine import Engine
from llara.serve.errors import ApiError
from llara.serve.openapi import responses, takes
from llara.serve.paths import WHOLE
from llara.serve.schemas import HIGHLIGHTED_CHARACTERS, DocumentBody, SearchAnswer

__all__ = ["document_of", "router"]

router = APIRouter(tags=["the index"])


@router.post(
    "/search",
    summary="The best documents for a query",
    responses=responses(SearchAnswer, body=True),
    openapi_extra=takes("search"),
)
async def search(request: Request) -> Response:
    engine = engine_of(request)
    body = await read_body(request, request.app.state.requests.search)
    started = time.perf_counter()
    hits, vector_1D = await engine.search(body.query, body.k, body.mode, body.where)
    highlights: Sequence[dict[str, Any] | None] = [None] * len(hits)
    if body.highlight and engine.can_inspect:
        highlights = await _highlights(engine, body.query, vector_1D, hits)
    answer = {
        "query": body.query,
        "mode": body.mode,
        "took_ms": round(1000 * (time.perf_counter() - started), 3),
        "hits": [asdict(hit) | {"highlights": each} for hit, each in zip(hits, highlights, strict=True)],
    }
    return json_response(await engine.in_thread(as_json, answer))


@router.get(
    "/documents",
    summary="A document by its id, whatever that is",
    responses=responses(DocumentBody, 400, 404, 429, 503),
    openapi_extra={
        "parameters": [{"name": "id", "in": "query", "required": True, "schema": {"type": "string"}}]
    },
)
async def get_document_of_any_id(request: Request) -> Response:
    id_ = request.query_params.get("id")
    if id_ is None:
        raise ApiError(400, "say which document: /documents?id=ID, percent-encoded", "invalid_value")
    return await _document(request, id_)


@router.get(
    f"/documents/{{id:{WHOLE}}}",
    summary="A document by its id",
    responses=responses(DocumentBody, 404, 429, 503),
)
async def get_document(request: Request, id: str) -> Response:  # noqa: A002 - its name in the description
    return await _document(request, id)


async def _document(request: Request, id_: str) -> Response:
    document = await document_of(engine_of(request), id_)
    return json_response(
        {"id": document.id, "title": document.title, "text": document.text, "metadata": document.metadata}
    )


async def document_of(engine: Engine, id_: str) -> Any:
    """The document of that id.

    Raises:
        ApiError: there is none.
    """
    document = await engine.document(id_)
    if document is None:
        raise ApiError(404, "the index has no document of this id", "no_document")
    return document


async def _highlights(
    engine: Engine, query: str, vector_1D: np.ndarray | None, hits: Sequence[Hit]
) -> list[dict[str, Any]]:
    """For each hit, the spans at the beginning of title and text that the query's vector expects."""
    assert engine.searcher is not None
    if vector_1D is None:
        vector_1D, _ = await engine.embed([query], engine.searcher.query_role)
    texts = [text[:HIGHLIGHTED_CHARACTERS] for hit in hits for text in (hit.title, hit.text)]
    spans = await engine.highlights(vector_1D[0], texts)
    rows = [[[span.start, span.end, span.weight] for span in each] for each in spans]
    return [{"title": rows[2 * i], "text": rows[2 * i + 1]} for i in range(len(hits))]
