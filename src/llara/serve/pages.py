"""``/`` and ``/page/NAME``: the page and its parts, files of this package and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response

from llara.serve.errors import ApiError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
_FOLDER = Path(__file__).parent / "page"
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
    return {path.name: path.read_bytes() for path in _FOLDER.iterdir()} if _FOLDER.is_dir() else {}
