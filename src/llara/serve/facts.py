"""``/health``, ``/info``, ``/metrics``."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

import llara
from llara.indexes.manifests import is_replaced
from llara.serve.answers import engine_of, json_response
from llara.serve.engine import Engine
from llara.serve.metrics import CONTENT_TYPE
from llara.serve.openapi import responses
from llara.serve.schemas import Health, Info

__all__ = ["router"]

router = APIRouter(tags=["the service"])
_METRICS = responses(None)
_METRICS[200] = {"description": "Fine", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/health", summary="Does it answer?", responses=responses(Health))
async def health() -> Response:
    return json_response({"status": "ok"})


@router.get("/info", summary="What is served, and within which limits", responses=responses(Info))
async def info(request: Request) -> Response:
    engine = engine_of(request)
    about = {
        "name": "llara",
        "version": llara.__version__,
        **await engine.in_thread(engine.facts),
        "modes": list(engine.modes),
        "needs_key": bool(engine.settings.keys),
        "limits": asdict(engine.settings.limits),
    }
    return json_response(about)


@router.get("/metrics", summary="Numbers for Prometheus", responses=_METRICS, response_class=Response)
async def metrics(request: Request) -> Response:
    engine = engine_of(request)
    return Response(await engine.in_thread(_numbers, engine), headers={"Content-Type": CONTENT_TYPE})


def _numbers(engine: Engine) -> bytes:
    if engine.searcher is not None and engine.settings.index is not None:
        replaced = is_replaced(engine.settings.index, engine.searcher.stored.manifest)
        engine.metrics.index_replaced.set(replaced)
    return engine.metrics.exposition()
