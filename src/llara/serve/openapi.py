"""The description of the service: what FastAPI finds, the bodies of requests, and every error.

Bodies are parsed by ``answers.read_body`` (in a thread if they are large), so FastAPI is told of them here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from llara.serve.schemas import ErrorAnswer

__all__ = ["describe", "responses", "takes"]

_REFERENCE = "#/components/schemas/{model}"
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
_MEANINGS = {
    400: "The request is not as described",
    401: "No key, or a wrong one",
    403: "Not a host name of this server",
    404: "There is no such thing",
    408: "The body came too slowly",
    413: "The body, or a text in it, is too large",
    415: "The body is not JSON",
    429: "This client has too many requests under way; see Retry-After",
    500: "Something went wrong in the server",
    501: "This model cannot be looked into",
    503: "The server is busy; see Retry-After",
    504: "There was no answer in time",
}
_OF_ALL = (401, 403, 500)
_WITH_BODY = (400, 408, 413, 415, 429, 503, 504)
_OPEN = ("/", "/health", "/info", "/page/{name}")


def responses(answer: type[BaseModel] | None, *more: int, body: bool = False) -> dict[int | str, Any]:
    """What an operation may answer: ``answer``, and the errors."""
    found: dict[int | str, Any] = {200: {"model": answer, "description": "Fine"}} if answer else {}
    for status in sorted({*_OF_ALL, *(_WITH_BODY if body else ()), *more}):
        found[status] = {"model": ErrorAnswer, "description": _MEANINGS[status]}
    return found


def takes(name: str) -> dict[str, Any]:
    """That an operation takes the body of that name (an attribute of ``bodies.Requests``)."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"x-body": name}}}}}


def describe(app: FastAPI, bodies: Mapping[str, TypeAdapter[Any]], *, needs_key: bool) -> Callable[[], Any]:
    """A function that gives the description, made once."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_describe(app, bodies, needs_key=needs_key))
        return made

    return openapi


def _describe(app: FastAPI, bodies: Mapping[str, TypeAdapter[Any]], *, needs_key: bool) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    if needs_key:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if needs_key and path not in _OPEN:
                operation["security"] = [{"key": []}]
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                adapter = bodies[content["schema"]["x-body"]]
                schema = adapter.json_schema(ref_template=_REFERENCE)
                schemas.update(schema.pop("$defs", {}))
                content["schema"] = schema
    return document
