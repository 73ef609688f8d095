"""``/v1``: what OpenAI's clients ask for."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from fastapi import APIRouter, Request, Response

from llara.encoder.quantise import cut
from llara.serve.answers import engine_of, json_response, number_lists, read_body
from llara.serve.engine import Engine
from llara.serve.errors import ApiError
from llara.serve.openapi import responses, takes
from llara.serve.paths import WHOLE
from llara.serve.schemas import EmbeddingsAnswer, Model, ModelList
from llara.serve.tokens import Tokens

if TYPE_CHECKING:
    from llara.vectors import Role

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["OpenAI's"])


@router.get("/models", summary="The model, and its roles", responses=responses(ModelList))
async def list_models(request: Request) -> Response:
    engine = engine_of(request)
    return json_response({"object": "list", "data": [_model(engine, name) for name in _names(engine)]})


@router.get(f"/models/{{model:{WHOLE}}}", summary="One of them", responses=responses(Model, 404))
async def get_model(request: Request, model: str) -> Response:
    engine = engine_of(request)
    if model not in _names(engine):
        raise _no_such_model(engine)
    return json_response(_model(engine, model))


@router.post(
    "/embeddings",
    summary="Texts to unit vectors",
    responses=responses(EmbeddingsAnswer, 404, body=True),
    openapi_extra=takes("embeddings"),
)
async def create_embeddings(request: Request) -> Response:
    engine = engine_of(request)
    most = engine.settings.limits.inputs
    body = await read_body(request, request.app.state.requests.embeddings, most_items=most)
    name = body.model or engine.name
    texts = await _texts(engine, body.input)
    vectors_ND, num_tokens = await engine.embed(texts, _role(body, name))
    vectors_ND = cut(vectors_ND, body.dimensions)
    answer = await engine.with_size(
        vectors_ND.size, _answer, vectors_ND, name, num_tokens, body.encoding_format
    )
    return json_response(answer)


async def _texts(engine: Engine, given: Any) -> list[str]:
    """What is to be embedded, as texts; token ids are read by the model's own tokenizer."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return cast("list[str]", given)
    lists = [given] if isinstance(given[0], int) else given
    most = engine.settings.limits.text_characters
    return await engine.in_thread(lambda: [_text_of(engine.tokens, ids, most) for ids in lists])


def _text_of(tokens: Tokens, ids: Sequence[int], most_characters: int) -> str:
    """The text of token ids, each of which may be a long word."""
    text = tokens.text_of(ids)
    if len(text) > most_characters:
        raise ApiError(
            413, f"input: token ids stand for a text of over {most_characters} characters", "too_large"
        )
    return text


def _role(body: Any, name: str) -> Role:
    """The role that is asked for: by its own field, else by the model's name."""
    by_name = next((role for role in ("query", "document") if name.endswith(f":{role}")), "document")
    return cast("Role", body.input_type or by_name)


def _answer(vectors_ND: np.ndarray, name: str, num_tokens: int, encoding: str) -> bytes:
    """The answer as JSON."""
    if encoding == "base64":
        rows = vectors_ND.astype("<f4", copy=False)
        vectors = [f'"{base64.b64encode(row.tobytes()).decode("ascii")}"' for row in rows]
    else:
        vectors = list(number_lists(vectors_ND))
    items = ",".join(
        f'{{"object":"embedding","index":{i},"embedding":{vector}}}' for i, vector in enumerate(vectors)
    )
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    head = f'{{"object":"list","data":[{items}],"model":{json.dumps(name)},"usage":{json.dumps(usage)}}}'
    return head.encode("utf-8")


def _names(engine: Engine) -> list[str]:
    return [engine.name, f"{engine.name}:query", f"{engine.name}:document"]


def _model(engine: Engine, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": engine.created, "owned_by": "llara"}


def _no_such_model(engine: Engine) -> ApiError:
    return ApiError(
        404, f"there is no such model here; expected one of {', '.join(_names(engine))}", "model_not_found"
    )
