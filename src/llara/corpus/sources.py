"""What a user may name as a corpus - files, folders, Hugging Face datasets - as one stream of documents."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from llara.corpus.documents import BEIR_ID_FIELD, Document, Fields, Skipped, document_from_record
from llara.corpus.readers import (
    DATA_SUFFIXES,
    SETTINGS_SUFFIX,
    TEXT_SUFFIXES,
    Rows,
    open_rows,
    suffix_of,
    wanted_columns,
)
from llara.errors import BadLineError, InputError

__all__ = ["files_of", "read_documents"]

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
ABOUT_FILE = re.compile(r"(readme|licen[cs]e|changelog|citation|notice)\b", re.IGNORECASE)
HUB_NAME = re.compile(r"(?P<name>[\w][\w.-]*/[\w][\w.-]*)(:(?P<config>[\w.-]+))?")


def read_documents(
    sources: Sequence[str | Path],
    *,
    fields: Fields = Fields(),  # noqa: B008 (frozen)
    skipped: Skipped | None = None,
    split: str = "train",
    link_titles: bool | None = None,
) -> Iterator[Document]:
    """Stream the documents of ``sources``, in the order given; nothing is kept in memory.

    A source is a file (JSON lines, TSV, Parquet, .txt, .md; .gz .xz .zst alike), a folder, or a
    Hugging Face dataset ``owner/name`` or ``owner/name:config``. Of a folder in BEIR's layout
    ``corpus.jsonl`` is read; of one with data files (the layout of the Hub) those of ``split``; of
    any other all .txt and .md files, sub-folders included, in the order of their paths.

    Args:
        skipped: bad lines are counted there and left out. None: the first one raises.
        link_titles: whether a row with the title of the row before continues that document (see
            ``Document.continues``). None: in TSV files, which are how DPR distributes Wikipedia.

    Raises:
        InputError: a source is missing or cannot be read, a line is bad and ``skipped`` is None, or
            there is no document at all. Sources are all looked up before the first is read.
    """
    parts = [part for source in sources for part in _parts(source, fields=fields, split=split)]
    return _documents(sources, parts, skipped=skipped, link_titles=link_titles)


def files_of(source: str | Path, *, split: str = "train") -> list[Path]:
    """The files that :func:`read_documents` reads of a source, in their order; none of a data set of the Hub.

    Raises:
        InputError: the source is missing or cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        return _files_of_folder(path, split)
    return [path] if path.exists() else []


class _Part(NamedTuple):
    """The rows of one file or one dataset; ``is_tsv`` where equal titles link by default."""

    rows: Rows
    is_tsv: bool


def _documents(
    sources: Sequence[str | Path],
    parts: Sequence[_Part],
    *,
    skipped: Skipped | None,
    link_titles: bool | None,
) -> Iterator[Document]:
    num_documents = 0
    for (rows, parse), is_tsv in parts:
        links = is_tsv if link_titles is None else link_titles
        title_before = ""
        for where, row in rows:
            try:
                document = parse(where, row)
            except InputError as error:
                if skipped is None:
                    raise BadLineError(str(error)) from error
                skipped.add(str(error))
                title_before = ""  # what the bad line held is missing between its neighbours
                continue
            if links and document.title and document.title == title_before:
                document = replace(document, continues=True)
            title_before = document.title
            num_documents += 1
            yield document
    if num_documents == 0:
        names = ", ".join(map(str, sources)) or "no source was given"
        bad = f"; {skipped}" if skipped is not None and skipped.count else ""
        raise InputError(f"the corpus is empty ({names}): no document was found{bad}")


def _parts(source: str | Path, *, fields: Fields, split: str) -> list[_Part]:
    """The files of a source that exists here, or else the dataset of that name on the Hub."""
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); check the path") from error
    if is_there:
        paths = _files_of_folder(path, split) if is_folder else [path]
        return [_Part(open_rows(file, fields), suffix_of(file) == ".tsv") for file in paths]
    match = HUB_NAME.fullmatch(str(source))
    if match is None or suffix_of(path) in (*DATA_SUFFIXES, *TEXT_SUFFIXES):
        raise InputError(
            f"{source}: no such file or folder; expected a file, a folder, or a Hugging Face dataset "
            "named owner/name or owner/name:config"
        )
    return [_Part(_hub_rows(match["name"], match["config"], split, fields), is_tsv=False)]


# -- folders


def _files_of_folder(folder: Path, split: str) -> list[Path]:
    """The files to read of a folder, in the order of their paths; see ``read_documents``.

    Hidden files and folders, and files of settings (.json), are passed over.
    """
    data: list[Path] = []
    texts: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            suffix = suffix_of(path)
            if suffix in TEXT_SUFFIXES:
                texts.append(path)
            elif suffix in DATA_SUFFIXES and suffix != SETTINGS_SUFFIX:
                data.append(path)
    beir = sorted(path for path in data if path.parent == folder and path.name.startswith("corpus.jsonl"))
    if beir:
        return beir[:1]
    if data:
        text = next((path for path in texts if not ABOUT_FILE.match(path.name)), None)
        if text is not None:
            raise InputError(
                f"{folder}: holds both data files and texts, such as {data[0].name} and {text.name}; "
                "name the files or sub-folders that are the corpus"
            )
        return sorted(_of_split(folder, data, split))
    if not texts:
        raise InputError(
            f"{folder}: no file to read in this folder; expected {' '.join(TEXT_SUFFIXES)} files, "
            "or data files .jsonl .tsv .parquet"
        )
    return sorted(texts)


def _raise_unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check the permissions") from error


def _of_split(folder: Path, paths: Iterable[Path], split: str) -> list[Path]:
    """The data files whose names speak of ``split``; all of them where no name speaks of any split.

    The others are said, and refused where they speak of no split: they are part of the corpus, it seems.
    """
    by_split: dict[str, list[Path]] = {}
    for path in paths:
        by_split.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    if set(by_split) == {""}:
        return by_split[""]
    if "" in by_split:
        unnamed, named = by_split[""][0], next(found[0] for name, found in by_split.items() if name)
        raise InputError(
            f"{folder}: the name of {named.name} speaks of a split, that of {unnamed.name} of none; name the "
            "files that are the corpus"
        )
    wanted = _split_of(Path(split)) or split
    if wanted not in by_split:
        found = ", ".join(sorted(name for name in by_split if name))
        raise InputError(f"{folder}: no data file of the split {split!r}, only of {found}: name the files")
    others = [path for name, found in by_split.items() if name != wanted for path in found]
    if others:
        warnings.warn(
            f"{folder}: the files of the split {wanted!r} are read ({len(by_split[wanted]):,}), and those of "
            f"others are not ({len(others):,}, such as {others[0].name}): name the files to read them, too",
            stacklevel=2,
        )
    return by_split[wanted]


def _split_of(path: Path) -> str:
    """The split that a path speaks of, the file's own name first; "" for none.

    >>> _split_of(Path("data/train-00000-of-00002.parquet")), _split_of(Path("dev/a.jsonl"))
    ('train', 'validation')
    >>> _split_of(Path("trains/contest.jsonl"))
    ''
    """
    for part in reversed(path.parts):
        words = set(re.split(r"[^a-z0-9]+", part.lower()))
        for split, names in SPLIT_NAMES.items():
            if words.intersection(names):
                return split
    return ""


# -- the Hugging Face Hub


def _hub_rows(name: str, config: str | None, split: str, fields: Fields) -> Rows:
    """Rows of a dataset on the Hub, streamed over the network as they are asked for."""

    def rows() -> Iterator[tuple[str, object]]:
        import datasets
        from huggingface_hub.errors import HfHubHTTPError

        # huggingface_hub speaks HTTP through requests, httpx or httpx2, by its version.
        http_error: type[Exception] = HfHubHTTPError.__bases__[0]
        try:
            datasets.disable_progress_bars()
            dataset = datasets.load_dataset(name, config, split=split, streaming=True)
            columns = dataset.column_names or []
            if fields.text in columns:  # others, pictures among them, are not even decoded
                own = {fields.id, BEIR_ID_FIELD, fields.title, fields.text}
                wanted = own.intersection(columns)
                if fields.metadata and dataset.features is not None:
                    wanted.update(wanted_columns(dataset.features.arrow_schema, fields))
                dataset = dataset.select_columns([column for column in columns if column in wanted])
            for number, record in enumerate(dataset, start=1):
                yield f"{name}:{number}", record
        except datasets.exceptions.DatasetNotFoundError as error:
            raise InputError(
                f"{name}: no such file or folder here, and no such dataset on the Hugging Face Hub "
                f"({_reason(error)})"
            ) from error
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            raise InputError(
                f"{name}: the dataset cannot be read ({_reason(error)}); "
                "a configuration is named as owner/name:config"
            ) from error
        except (OSError, http_error) as error:
            raise InputError(
                f"{name}: no such file or folder here, and the Hugging Face Hub cannot be reached "
                f"({_reason(error)}); check the path or the connection, or give a local copy"
            ) from error

    def parse(where: str, row: object) -> Document:
        assert isinstance(row, dict)
        return document_from_record(row, where=where, fields=fields)

    return Rows(rows(), parse)


def _reason(error: Exception) -> str:
    """The message in one line of at most 300 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
