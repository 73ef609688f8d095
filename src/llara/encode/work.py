"""A run's directory, ``OUT.partial``: what stands in it, and whether a run may go on with it.

    settings.json             what decides the vectors: the model's fingerprint, the input's, settings
    texts.json                written when the whole input is read: its shards, counts, bad lines
    vectors/                  the shards; renamed to OUT when the last is done and manifest.json is written
    records/shard-00000.json  written when a shard of vectors is done, last: its checksum and shape

Every file is written under another name and renamed, so what has its name is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llara.errors import ConfigError, InputError
from llara.files import sha256_of, write_text_atomic
from llara.vectors import Shard, Source

__all__ = [
    "Record",
    "TextShard",
    "Texts",
    "Work",
    "changes",
    "describe_sources",
    "same_settings",
    "sources_of",
    "write_hashed",
]

_FACTS = {"path", "bytes", "sha256", "changed_ns"}  # of a source
_UNLESS_SAID = {"lexical": False}  # of settings that are kept only where they are something else


@dataclass(frozen=True)
class TextShard:
    """A shard's texts: documents ``first`` to ``first + count - 1`` of the input (bad ones not counted)."""

    first: int
    count: int
    sha256: str


@dataclass(frozen=True)
class Texts:
    """The input, read and cut. ``skipped`` bad lines, with the first few messages; ``empty`` documents."""

    shards: tuple[TextShard, ...]
    skipped: int
    messages: tuple[str, ...]
    empty: int


@dataclass(frozen=True)
class Record:
    """A shard of vectors that is done."""

    first: int
    count: int
    texts_sha256: str
    vectors_sha256: str
    dimension: int
    model_dimension: int
    max_tokens: int | None
    precision: str
    words_sha256: str | None = None


class Work:
    """The files of a run's directory by their names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.vectors = directory / "vectors"
        self._records = directory / "records"

    def make(self) -> None:
        """Make the directories.

        Raises:
            OSError: they cannot be made.
        """
        self.vectors.mkdir(parents=True, exist_ok=True)
        self._records.mkdir(exist_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def vectors_file(self, number: int) -> Path:
        return self.vectors / f"shard-{number:05d}.npy"

    def texts_file(self, number: int) -> Path:
        return self.vectors / f"shard-{number:05d}.parquet"

    def words_file(self, number: int) -> Path:
        return self.vectors / f"shard-{number:05d}.words.parquet"

    # -- what is known of the run

    def settings(self) -> dict[str, Any] | None:
        """The settings it was begun with, None before they are written.

        Raises:
            InputError: they are damaged, or missing beside shards that are done.
        """
        path = self.directory / "settings.json"
        settings = _read_json(path)
        if isinstance(settings, dict) and _are_sources(settings.get("sources")):
            return settings
        if path.exists() or any(self._records.glob("*.json")):
            raise InputError(
                f"{path} is {'damaged' if path.exists() else 'missing'}, so nothing says with which settings "
                "this run was begun; put the file back from a copy, or encode all anew with --overwrite "
                "instead of --resume"
            )
        return None

    def write_settings(self, settings: dict[str, Any]) -> None:
        write_text_atomic(self.directory / "settings.json", json.dumps(settings, indent=1) + "\n")

    def texts(self) -> Texts | None:
        """The input's shards, None before it is read."""
        content = _read_json(self.directory / "texts.json")
        try:
            shards = tuple(TextShard(*shard) for shard in content["shards"])
            return Texts(shards, content["skipped"], tuple(content["messages"]), content["empty"])
        except (TypeError, KeyError):  # there is none, or it is damaged: the input is read again
            return None

    def write_texts(self, texts: Texts) -> None:
        rows = [[shard.first, shard.count, shard.sha256] for shard in texts.shards]
        content = {**asdict(texts), "shards": rows}
        write_text_atomic(self.directory / "texts.json", json.dumps(content) + "\n")

    def record(self, number: int) -> Record | None:
        """What is known of a shard that is done, None if it is not."""
        return _record(_read_json(self._record_file(number)))

    def precision_so_far(self) -> str | None:
        """What a shard that is done was computed in; None if there is none."""
        with os.scandir(self._records) as entries:  # read as far as needed, of thousands
            for entry in entries:
                record = _record(_read_json(Path(entry.path))) if entry.name.endswith(".json") else None
                if record is not None:
                    return record.precision
        return None

    def check_precisions(self, *precisions: str) -> None:
        """Refuse shards of more than one precision, those that are done among them.

        Raises:
            ConfigError: there are several.
        """
        found = sorted({*precisions, self.precision_so_far() or precisions[0]}) if precisions else []
        if len(found) > 1:
            raise ConfigError(
                f"shards in {self.directory} are computed in {' and in '.join(found)}, on devices that load "
                "the model differently; start anew with --overwrite and one --precision for all"
            )

    def write_record(self, number: int, record: Record) -> None:
        content = asdict(record)
        if record.words_sha256 is None:
            del content["words_sha256"]
        write_text_atomic(self._record_file(number), json.dumps(content) + "\n")

    def forget(self, number: int) -> None:
        """Let a shard be done again."""
        self._record_file(number).unlink(missing_ok=True)

    def shard(self, number: int, record: Record) -> Shard:
        names = self.vectors_file(number).name, self.texts_file(number).name
        words = None if record.words_sha256 is None else self.words_file(number).name
        sums = record.vectors_sha256, record.texts_sha256
        return Shard(*names, record.count, *sums, words, record.words_sha256)

    def texts_are_whole(self, texts: Texts) -> bool:
        """Whether every shard's texts are as they were written. Reads them all."""
        return all(_is(self.texts_file(number), shard.sha256) for number, shard in enumerate(texts.shards))

    def is_done(self, number: int, texts: TextShard) -> bool:
        """Whether a shard's vectors (and words) are there, of these texts, and as written. Reads them."""
        record = self.record(number)
        return (
            record is not None
            and record.texts_sha256 == texts.sha256
            and _is(self.vectors_file(number), record.vectors_sha256)
            and (record.words_sha256 is None or _is(self.words_file(number), record.words_sha256))
        )

    def _record_file(self, number: int) -> Path:
        return self._records / f"shard-{number:05d}.json"


def _are_sources(content: Any) -> bool:
    are_dicts = isinstance(content, list) and all(isinstance(one, dict) for one in content)
    return are_dicts and all(one.keys() >= _FACTS for one in content)


def _record(content: Any) -> Record | None:
    """A record, None of one that is not there or damaged: its shard is done again."""
    try:
        return Record(**content)
    except TypeError:
        return None


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _read_json(path: Path) -> Any:
    """The content of a file; None if there is none, or it is cut short (a machine lost its power)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


# -- files with checksums


class _Hashed(io.RawIOBase):
    """A file to write to, in one direction, that hashes what it is given."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def write_hashed(path: Path, write: Callable[[Any], object], *, within: Path) -> str:
    """Write ``path`` by ``write(file)`` and a rename; gives its SHA-256. Until then it stands ``within``.

    Raises:
        OSError: the disk is full or read-only.
    """
    temporary = within / f".{path.name}.{platform.node()}.{os.getpid()}.partial"
    try:
        with temporary.open("wb") as file:
            hashed = _Hashed(file)
            write(hashed)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return hashed.digest.hexdigest()


# -- settings


def describe_sources(
    files: Sequence[Path | str], before: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Path, size, time of change and SHA-256 of each file; of a name that is no file only that.

    A file whose size and time are those of ``before`` is not read again.
    """
    known = {entry["path"]: entry for entry in before}
    described: list[dict[str, Any]] = []
    for file in files:
        entry: dict[str, Any] = {"path": str(file), "bytes": None, "sha256": None, "changed_ns": None}
        path = Path(file)
        if path.is_file():
            facts = path.stat()
            entry["bytes"], entry["changed_ns"] = facts.st_size, facts.st_mtime_ns
            last = known.get(str(file))
            same = last is not None and all(last[k] == entry[k] for k in ("bytes", "changed_ns"))
            entry["sha256"] = last["sha256"] if last is not None and same else sha256_of(path)
        described.append(entry)
    return described


def sources_of(settings: dict[str, Any]) -> tuple[Source, ...]:
    """The input as the manifest names it."""
    return tuple(Source(e["path"], e["bytes"], e["sha256"]) for e in settings["sources"])


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the settings of two runs, with both values."""
    before, now = ({**_UNLESS_SAID, **settings} for settings in (before, now))
    changed = [
        f"{name} {_shown(before.get(name))}, now {_shown(now.get(name))}"
        for name in now
        if name != "sources" and before.get(name) != now[name]
    ]
    return changed + _changed_sources(before["sources"], now["sources"])


def same_settings(before: dict[str, Any], now: dict[str, Any], *, work: Path) -> None:
    """Refuse to go on with a run that was begun with another model, input or setting.

    Raises:
        ConfigError: what differs, with both values.
    """
    changed = changes(before, now)
    if changed:
        raise ConfigError(
            f"the run in {work} was begun with other settings: {'; '.join(changed)}. Resume with the same "
            "ones, or start anew with --overwrite"
        )


def _changed_sources(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[str]:
    paths = [[entry["path"] for entry in entries] for entries in (before, now)]
    if paths[0] != paths[1]:
        only = [p for p in paths[0] if p not in paths[1]], [p for p in paths[1] if p not in paths[0]]
        return [f"input {_names(only[0] or paths[0])}, now {_names(only[1] or paths[1])}"]
    return [
        f"the input {old['path']} {_changed_content(old['bytes'], new['bytes'])}"
        for old, new in zip(before, now, strict=True)
        if old["sha256"] != new["sha256"]
    ]


def _changed_content(before: int | None, now: int | None) -> str:
    """How a file differs from what it was, by its sizes in bytes; None: there is no such file."""
    if now is None:
        return f"is not there any more (it had {before:,} bytes)"
    if before is None:
        return f"was no file, now it has {now:,} bytes"
    return f"had other content ({before:,} bytes, now {now:,})"


def _names(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _shown(value: object) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else json.dumps(value)
