"""``/inspect``: what a text's vectors hold, and what two texts have in common."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from llara.encode import document_text
from llara.serve.answers import as_json, engine_of, json_response, read_body
from llara.serve.engine import Engine
from llara.serve.errors import ApiError
from llara.serve.openapi import responses, takes
from llara.serve.schemas import Inspection, PairAnswer
from llara.serve.searching import document_of

__all__ = ["router"]

router = APIRouter(prefix="/inspect", tags=["what vectors hold"])


@router.post(
    "",
    summary="The words that a text's vectors hold and expect",
    responses=responses(Inspection, 501, body=True),
    openapi_extra=takes("inspect"),
)
async def inspect(request: Request) -> Response:
    engine = _able(engine_of(request))
    body = await read_body(request, request.app.state.requests.inspect)
    _check_words(text=body.text)
    found = await engine.inspect(lambda inspector: inspector.inspect(body.text, top=body.top).to_dict())
    return json_response(await engine.in_thread(as_json, found))


@router.post(
    "/pair",
    summary="The words that carry the similarity of two texts",
    responses=responses(PairAnswer, 404, 501, body=True),
    openapi_extra=takes("pair"),
)
async def pair(request: Request) -> Response:
    engine = _able(engine_of(request))
    body = await read_body(request, request.app.state.requests.pair)
    if hasattr(body, "document_id"):
        assert engine.searcher is not None
        separator = engine.searcher.stored.manifest.title_separator
        text = document_text(await document_of(engine, body.document_id), separator)
        text = text[: engine.settings.limits.text_characters]
    else:
        text = body.document
    _check_words(query=body.query, document=text)
    found = await engine.inspect(lambda inspector: inspector.pair(body.query, text, top=body.top).to_dict())
    return json_response(await engine.in_thread(as_json, found))


def _check_words(**texts: str) -> None:
    for name, text in texts.items():
        if not text.strip():
            raise ApiError(400, f"{name}: it is blank, and so holds no words; expected some", "invalid_value")


def _able(engine: Engine) -> Engine:
    if not engine.can_inspect:
        raise ApiError(501, "this model was not written by llara and cannot be looked into", "not_possible")
    return engine
