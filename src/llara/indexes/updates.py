"""How index directories of faiss change: vectors first, and then the documents that make them count.

See ``llara.indexes.documents`` for what makes an update one step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from llara.errors import InputError, OutputError
from llara.files import settle
from llara.indexes.base import Change, Files, IndexManifest
from llara.indexes.documents import Documents, Facts
from llara.indexes.kinds import KINDS, opened
from llara.indexes.manifests import documents_path, read_index_manifest
from llara.indexes.settings import IndexSettings
from llara.indexes.source import VectorSource
from llara.indexes.words import Words, extend_words, write_words

__all__ = ["add", "build", "delete", "unchanging"]


def build(
    source: VectorSource,
    directory: Path,
    manifest: IndexManifest,
    settings: IndexSettings,
    words: Sequence[Words] = (),
    model: str | None = None,
) -> None:
    """Write the vectors' files, the words and the documents of a new index into ``directory``.

    Args:
        model: where the model of lexical vectors is now.

    Raises:
        InputError: a shard is damaged, or an id occurs twice.
        ModelError: lexical vectors are to be made, and the model is not there or has changed.
        OutputError: the disk is full or read-only.
    """
    files = KINDS[manifest.kind][0].create(directory, source, settings, 1)
    files |= write_words(directory, source, words, 1, model)
    _settle(directory, files)
    Documents.create(documents_path(directory, manifest), source.texts(), Facts(source.count, 1, files))


def add(
    path: Path,
    manifest: IndexManifest,
    settings: IndexSettings,
    source: VectorSource,
    model: str | None = None,
) -> Change:
    """Add documents; one whose id is there takes the other's place.

    Raises:
        InputError: the index or a shard is damaged.
        ConfigError, ModelError: the index has lexical vectors, and these cannot be had.
        OutputError: another update is running, or the disk is full or read-only.
    """
    with Documents.updating(documents_path(path, manifest)) as documents:
        before = documents.facts
        index = opened(path, manifest, settings, before)
        number = before.number + 1
        with _cleaned(path, before.files, number):
            files = index.extend(path, source, number)
            files |= extend_words(path, before.files, source, number, model)
            _settle(path, files)
            facts = Facts(before.rows + source.count, number, files)
            replaced = documents.add(source.texts(), facts)
    _remove(path, _earlier(path, files))
    return Change(added=source.count - replaced, replaced=replaced)


def delete(path: Path, manifest: IndexManifest, ids: Sequence[str]) -> Change:
    """Remove documents by id. Their vectors stay in the files and are not found any more.

    Raises:
        InputError: the index is damaged.
        OutputError: another update is running, or the disk is full or read-only.
    """
    wanted = list(dict.fromkeys(ids))
    with Documents.updating(documents_path(path, manifest)) as documents:
        deleted = documents.delete(wanted)
    return Change(deleted=deleted, missing=len(wanted) - deleted)


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Refuse updates of an index directory while it is being replaced; they would be lost with it.

    Raises:
        OutputError: an update is running.
    """
    with ExitStack() as stack:
        with suppress(InputError):  # there is none, or it is damaged or Milvus's
            documents = documents_path(path, read_index_manifest(path))
            stack.enter_context(Documents.updating(documents))
        yield


def _earlier(path: Path, files: Files) -> set[str]:
    """What ``files`` were called in earlier updates, one that was killed before it removed them included."""
    numbered = [match for name in files.values() if (match := re.fullmatch(r"(.+)-\d+(\.\w+)", name))]
    names = {each.name for each in path.iterdir()} - set(files.values())
    return {
        name
        for name in names
        if any(re.fullmatch(rf"{re.escape(m[1])}-\d+{re.escape(m[2])}", name) for m in numbered)
    }


def _settle(path: Path, files: Files) -> None:
    try:
        for name in set(files.values()):
            settle(path / name)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _cleaned(path: Path, kept: Files, number: int) -> Iterator[None]:
    """Remove the files of update ``number`` if it fails."""
    try:
        yield
    except BaseException:
        _remove(path, {each.name for each in path.glob(f"*-{number}.*")} - set(kept.values()))
        raise


def _remove(path: Path, names: set[str]) -> None:
    for name in names:
        with suppress(OSError):
            (path / name).unlink()
