"""``/`` and ``/page/NAME``: the page and its parts, files of this package and nothing else."""

from __future__ import annotations

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
    found = {path.name: path for path in _FOLDER.iterdir()} if _FOLDER.is_dir() else {}
    kind = _KINDS.get(Path(name).suffix)
    if name not in found or kind is None:
        raise ApiError(404, "there is no such page", "not_found")
    return Response(found[name].read_bytes(), headers={"Content-Type": kind, "Cache-Control": "no-cache"})
