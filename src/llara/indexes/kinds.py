"""The kinds of an index of faiss, by name: what each is, and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from llara.errors import ConfigError, InputError
from llara.indexes.base import IndexManifest, Kind, VectorIndex
from llara.indexes.documents import Facts
from llara.indexes.exact import ExactIndex
from llara.indexes.flat import BinaryIndex, Sq8Index
from llara.indexes.hnsw import HnswIndex
from llara.indexes.ivf import IvfIndex
from llara.indexes.settings import (
    BinarySettings,
    ExactSettings,
    HnswSettings,
    IndexSettings,
    IvfFlatSettings,
    IvfPqSettings,
    IvfSq8Settings,
    Sq8Settings,
)

__all__ = ["KINDS", "check_names", "opened", "search_settings", "settings_of"]

KINDS: dict[Kind, tuple[type[VectorIndex], type[IndexSettings]]] = {
    "exact": (ExactIndex, ExactSettings),
    "hnsw": (HnswIndex, HnswSettings),
    "ivf-flat": (IvfIndex, IvfFlatSettings),
    "ivf-sq8": (IvfIndex, IvfSq8Settings),
    "ivf-pq": (IvfIndex, IvfPqSettings),
    "sq8": (Sq8Index, Sq8Settings),
    "binary": (BinaryIndex, BinarySettings),
}


def search_settings(settings: IndexSettings, overrides: Sequence[str]) -> IndexSettings:
    """``settings`` with some that hold for a search changed, each ``name=value``.

    Raises:
        ConfigError: there is no such setting, it is decided when the index is built, or its value is wrong.
    """
    from llara.settings import apply_overrides

    known = check_names(settings, overrides, of_search=True)
    for override in overrides:
        name = override.partition("=")[0].strip()
        if name in known and name not in settings.SEARCH:
            raise ConfigError(
                f"--set {name} is decided when an index is built; a search of this one can set "
                f"{', '.join(settings.SEARCH) or 'nothing'}"
            )
    changed = apply_overrides(settings, overrides)
    for name in settings.SEARCH:
        if getattr(changed, name) is None and getattr(settings, name) is not None:
            raise ConfigError(f"--set {name}=none leaves open how to search; give a number")
    return changed


def check_names(
    settings: IndexSettings, overrides: Sequence[str], *, of_search: bool = False
) -> Sequence[str]:
    """The names of this kind's settings.

    Raises:
        ConfigError: one of ``overrides`` names another, with those that there are.
    """
    from llara.settings import listed, nearest

    (kind,) = (kind for kind, (_, its) in KINDS.items() if its is type(settings))
    known = [item.name for item in fields(settings)]
    for override in overrides:
        name, equals, _ = override.partition("=")
        if equals and name.strip() not in known:
            has = f"it has {listed(known)}" if known else "it has none"
            if known and of_search:
                has += f", of which a search can set {listed(settings.SEARCH)}"
            raise ConfigError(
                f"--set {name.strip()}: an index of the kind {kind} has no such setting; "
                f"{has}{nearest(name.strip(), known)}"
            )
    return known


def settings_of(manifest: IndexManifest, path: Path) -> IndexSettings:
    """The settings that a manifest holds.

    Raises:
        InputError: they are not those of its kind.
    """
    try:
        return KINDS[manifest.kind][1](**manifest.settings)
    except (TypeError, ConfigError) as error:
        raise InputError(f"{path} is damaged: {error}; build it again with llara index") from error


def opened(path: Path, manifest: IndexManifest, settings: IndexSettings, facts: Facts) -> VectorIndex:
    """The vectors that count.

    Raises:
        InputError: a file is missing or damaged.
    """
    try:
        kind = KINDS[manifest.kind][0]
        return kind.open(path, facts.files, facts.rows, manifest.dimension, settings)
    except KeyError as error:
        raise InputError(f"{path} is damaged: no file of {error}; build it again with llara index") from error
