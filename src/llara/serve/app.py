"""The application: routes, the shape of their errors, and the gate around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

import llara
from llara.errors import ConfigError, LlaraError
from llara.serve import embeddings, facts, inspecting, pages, searching
from llara.serve.bodies import request_bodies
from llara.serve.engine import Engine
from llara.serve.errors import ApiError, from_llara, unexpected
from llara.serve.gate import Gate
from llara.serve.listening import LOGGER
from llara.serve.openapi import describe

__all__ = ["create_app"]


def create_app(engine: Engine) -> Gate:
    """The whole service as an ASGI application. Its lifespan starts and ends the model's thread."""
    settings = engine.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.close)  # meanwhile requests that were given up leave the queue

    app = FastAPI(
        title="llara",
        summary="Dense retrieval: embeddings, search, and what vectors hold",
        version=llara.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # names that clients are generated with
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.state.requests = request_bodies(
        settings.limits,
        model=engine.name,
        dimension=engine.encoder.dimension,
        vocabulary=engine.tokens.vocabulary,
        modes=engine.modes,
    )
    app.include_router(facts.router)
    app.include_router(embeddings.router)
    if engine.searcher is not None:
        app.include_router(searching.router)
    app.include_router(inspecting.router, include_in_schema=engine.can_inspect)
    app.include_router(pages.router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(LlaraError, _llara_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    app.openapi = describe(app, vars(app.state.requests), needs_key=bool(settings.keys))  # type: ignore[method-assign]
    return Gate(app, settings, engine.metrics, engine.admission)


def _respond(error: ApiError) -> Response:
    return Response(error.body, error.status, headers=error.headers, media_type="application/json")


async def _api_error(_: Request, error: Any) -> Response:
    return _respond(error)


async def _llara_error(_: Request, error: Any) -> Response:
    if not isinstance(error, ConfigError):
        LOGGER.error("%s: %s", type(error).__name__, error)
    return _respond(from_llara(error))


async def _unexpected(_: Request, __: Any) -> Response:
    """A mistake of ours; it is raised again behind this, and the gate logs where it came from."""
    return _respond(unexpected())


async def _http_error(request: Request, error: Any) -> Response:
    """What the routes themselves refuse: paths and methods that there are not."""
    if error.status_code == 404:
        without = "" if request.app.state.engine.searcher else ". This server has no index"
        return _respond(ApiError(404, f"there is nothing at this path{without}", "not_found"))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        if "GET" in allowed and "HEAD" not in allowed:
            allowed += ", HEAD"  # which the gate answers
        message = f"this path does not take {request.method if request.method.isalpha() else 'this method'}"
        return _respond(ApiError(405, message, "method_not_allowed", headers={"Allow": allowed}))
    return _respond(ApiError(error.status_code, str(error.detail), None, headers=error.headers))
