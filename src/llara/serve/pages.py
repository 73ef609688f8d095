"""``/`` and ``/page/NAME``: the page and its parts; ``/docs``: Swagger UI over this server's own description.

All of it is files of packages, read once: nothing is fetched from elsewhere, no request names a path.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response

from llara.serve.errors import ApiError
from llara.serve.security import POLICY

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_SWAGGER_POLICY = f"{POLICY}; img-src 'self' data:"  # its style sheet holds pictures
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@router.get("/")
async def page() -> Response:
    return _file("index.html")


@router.get("/docs")
async def docs() -> Response:
    answer = _file("docs.html")
    answer.headers["Content-Security-Policy"] = _SWAGGER_POLICY
    return answer


@router.get("/page/{name}")
async def part(name: str) -> Response:
    return _file(name)


def _file(name: str) -> Response:
    """A file of the page; ``name`` is compared with what is there, never made into a path."""
    kind = _KINDS.get(Path(name).suffix)
    content = _files().get(name)
    if content is None or kind is None:
        raise ApiError(404, "there is no such page", "not_found")
    return Response(content, headers={"Content-Type": kind, "Cache-Control": "no-cache"})


@cache
def _files() -> dict[str, bytes]:
    own = Path(__file__).parent / "page"
    swagger = importlib.resources.files("fastapi_offline") / "static"
    ours = {path.name: path.read_bytes() for path in own.iterdir()} if own.is_dir() else {}
    return ours | {name: (swagger / name).read_bytes() for name in _SWAGGER}
