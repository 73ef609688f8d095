"""``manifest.json`` of an index directory: what it holds, and by which build.

Each build of faiss has a name of its own, and its documents are in a file of that name. SQLite looks for an
interrupted update by the path of the file: who still reads the documents of a build that was replaced must
not find the update of another build there.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from llara.errors import InputError
from llara.indexes.base import Backend, IndexManifest, Kind
from llara.vectors import MANIFEST, read_manifest

__all__ = ["documents_path", "is_replaced", "read_index_manifest", "write_index_manifest"]

_FORMAT = "llara-index/2"


def read_index_manifest(directory: Path) -> IndexManifest:
    """What an index directory says it holds.

    Raises:
        InputError: it is no complete index directory, or its manifest is damaged.
    """
    content = read_manifest(directory, expected=_FORMAT, made_by="llara index")
    try:
        manifest = IndexManifest(**content)
    except TypeError as error:
        raise InputError(f"{directory} is damaged: {error}; build it again with llara index") from error
    for name, value, known in (
        ("kind", manifest.kind, get_args(Kind)),
        ("backend", manifest.backend, get_args(Backend)),
    ):
        if value not in known:
            raise InputError(
                f"{directory} is an index of the {name} {value!r}, expected one of {', '.join(known)}; "
                "build it again with llara index"
            )
    return manifest


def write_index_manifest(directory: Path, manifest: IndexManifest) -> None:
    """Write ``manifest.json``.

    Raises:
        OSError: the disk is full or read-only.
    """
    text = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")


def documents_path(directory: Path, manifest: IndexManifest) -> Path:
    """Where the documents are; builds of before had no name."""
    return directory / (f"documents-{manifest.build}.sqlite" if manifest.build else "documents.sqlite")


def is_replaced(directory: Path, opened: IndexManifest) -> bool:
    """Whether another index than the one that was opened, or none, stands in ``directory`` now."""
    try:
        return read_index_manifest(directory) != opened
    except InputError:
        return True
