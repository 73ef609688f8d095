"""A vectors directory that is complete: found so, or taken apart again because some of it is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llara.encode.work import Record, Texts, TextShard, Work, changes, same_settings
from llara.errors import InputError
from llara.files import place_of, sha256_of
from llara.vectors import MANIFEST, Shard, VectorsManifest

__all__ = ["reopen"]


def reopen(
    out: Path, work: Work, settings: dict[str, Any], *, tell: Callable[[str], object]
) -> VectorsManifest | None:
    """What resuming finds in ``out``: the manifest if all is as it was written, else None.

    If shards of a complete directory are missing or altered, it becomes an unfinished run again, which lacks
    these. Beside an unfinished run, ``out`` is what the run was to make (it was killed before it could remove
    the directory that this one replaced), or what the run is still to replace. Reads the whole directory.

    Raises:
        InputError: the manifest is damaged.
        ConfigError: the directory was made with another model, input or setting.
        OSError: it cannot be read.
    """
    if not (out / MANIFEST).is_file():
        return None
    if not work.vectors.exists():  # killed when all was done, or here
        work.remove()
    if work.directory.exists():
        manifest = _made_already(out, settings)
        if manifest is not None:
            work.remove()
            tell(f"{out} is complete and as it was written")
        return manifest
    manifest = VectorsManifest.read(out)
    same_settings(_settings_of(manifest), settings, work=out)
    damaged = _damaged(out, manifest)
    if not damaged:
        tell(f"{out} is complete and as it was written")
        return manifest
    tell(f"{out} is damaged ({', '.join(sorted(damaged))}); making that anew")
    _take_apart(out, work, manifest, settings, damaged)
    return None


def _made_already(out: Path, settings: dict[str, Any]) -> VectorsManifest | None:
    """The manifest of ``out`` if that is whole and made by these settings."""
    try:
        manifest = VectorsManifest.read(out)
    except InputError:  # something else, which is to be overwritten
        return None
    if changes(_settings_of(manifest), settings) or _damaged(out, manifest):
        return None
    return manifest


def _damaged(out: Path, manifest: VectorsManifest) -> set[str]:
    """The names of the files that are missing or altered."""
    return {
        file
        for shard in manifest.shards
        for file, sha256 in shard.checksums.items()
        if not (out / file).is_file() or sha256_of(out / file) != sha256
    }


def _take_apart(
    out: Path, work: Work, manifest: VectorsManifest, settings: dict[str, Any], damaged: set[str]
) -> None:
    """Make ``out`` an unfinished run, by one rename at the end."""
    work.make()
    work.vectors.rmdir()
    first = 0
    text_shards: list[TextShard] = []
    for number, shard in enumerate(manifest.shards):
        text_shards.append(TextShard(first, shard.count, shard.texts_sha256))
        if not damaged & {shard.vectors, shard.words}:
            work.write_record(number, _record(manifest, shard, first))
        first += shard.count
    work.write_texts(Texts(tuple(text_shards), manifest.skipped, manifest.skipped_messages, manifest.empty))
    work.write_settings(settings)
    os.replace(place_of(out), work.vectors)


def _record(manifest: VectorsManifest, shard: Shard, first: int) -> Record:
    return Record(
        first=first,
        count=shard.count,
        texts_sha256=shard.texts_sha256,
        vectors_sha256=shard.vectors_sha256,
        dimension=manifest.dimension,
        model_dimension=manifest.model_dimension,
        max_tokens=manifest.max_tokens,
        precision=manifest.precision,
        words_sha256=shard.words_sha256,
    )


def _settings_of(manifest: VectorsManifest) -> dict[str, Any]:
    """The settings of the run that wrote a manifest."""
    return {
        "model": manifest.fingerprint,
        "role": manifest.role,
        "title_separator": manifest.title_separator,
        "dtype": manifest.dtype,
        **manifest.settings,
        "sources": [asdict(source) for source in manifest.sources],
    }
