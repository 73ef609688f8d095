"""The passages of a source, indexed for the searches that the settings ask for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llara.corpus import Document, read_documents
from llara.corpus.readers import COMPRESSED_SUFFIXES, read_lines
from llara.datasets import read_training
from llara.datasets.hub import ir_datasets_documents
from llara.datasets.jsonl_layouts import passages_of
from llara.datasets.named import hub_collection, hub_documents
from llara.encode import encode_file
from llara.errors import InputError
from llara.indexes import StoredIndex, build_index, open_index
from llara.mine.candidates import Memory, Pool
from llara.search import Bm25, Searcher

__all__ = ["PoolMaker", "passages_to_search"]


def passages_to_search(
    source: str | Path, *, split: str = "train", corpus: str | Path | None = None
) -> Iterator[Document]:
    """The passages among which a source's negatives are looked for.

    Those of ``corpus`` if given; else the whole corpus, of a directory in BEIR's layout or with MS MARCO's
    collection.tsv, of ir_datasets and of a collection of the Hugging Face Hub; else all passages that the
    source's examples name, positives and negatives.

    Raises:
        InputError: they cannot be read, or an id stands for two texts.
    """
    if corpus is not None:
        return passages_of(corpus)
    kind, _, identifier = str(source).partition(":")
    if kind == "ir_datasets":
        return ir_datasets_documents(identifier)
    if (collection := hub_collection(source)) is not None:
        return iter(hub_documents(*collection, split))
    folder = Path(source)
    for suffix in ("", *COMPRESSED_SUFFIXES):
        if (folder / f"corpus.jsonl{suffix}").is_file():
            return read_documents([folder / f"corpus.jsonl{suffix}"], link_titles=False)
        for name in ("collection.tsv", "msmarco-docs.tsv"):
            if (folder / f"{name}{suffix}").is_file():
                return _collection(folder / f"{name}{suffix}")
    return _named_passages(source, split)


def _collection(path: Path) -> Iterator[Document]:
    """Passages of MS MARCO: id and text, perhaps a title or url and title between them; no quotes."""
    for where, line in read_lines(path):
        cells = line.split("\t")
        if not 2 <= len(cells) <= 4:
            raise InputError(
                f"{where}: {len(cells)} tab-separated cells; expected id and text, with a title, or url and "
                "title, between them"
            )
        yield Document(cells[0], cells[-1], title=cells[-2] if len(cells) > 2 else "")


def _named_passages(source: str | Path, split: str) -> Iterator[Document]:
    """The different passages of the examples; in memory are their ids and a number each."""
    seen: dict[str, int] = {}
    for example in read_training(source, split=split):
        for document in (*example.positives, *example.negatives):
            content = hash((document.title, document.text))
            if document.id not in seen:
                yield document
            if seen.setdefault(document.id, content) != content:
                raise InputError(
                    f"{example.where}: the passage {document.id!r} has another text above; "
                    "expected one text to an id"
                )


@dataclass(frozen=True)
class PoolMaker:
    """Makes pools of passages for one run's model and searches."""

    model: str | None
    source: Literal["dense", "bm25", "mixed"]
    title_separator: str | None
    batch_size: int
    progress: bool

    def of_index(self, index: Path) -> Pool:
        """The documents of an index directory, with the index's own setting of titles.

        Raises:
            InputError: it is not an index directory of faiss, or BM25 is to search one with deleted
            documents. ModelError: it was made by another model.
        """
        searcher = None if self.model is None else Searcher.open(index, self.model)
        stored = open_index(index) if searcher is None else searcher.stored
        if not isinstance(stored, StoredIndex):
            raise InputError(
                f"{index} is an index of Milvus, and mining needs one of faiss; build it with llara index"
            )
        return self._pool(stored, searcher)

    def of_passages(self, passages: Iterator[Document], scratch: Path) -> Pool:
        """``passages``, encoded and indexed in the directory ``scratch`` if there is a model.

        Raises:
            InputError: there are none, or an id comes twice.
            ModelError: the model cannot be loaded.
        """
        if self.model is None:
            documents = list(passages)
            return Pool(
                Memory(documents),
                size=len(documents),
                title_separator=self.title_separator,
                searcher=None,
                dense=False,
                bm25=Bm25(documents, title_separator=self.title_separator),
                batch_size=self.batch_size,
            )
        return self.of_index(self.indexed(self.model, passages, scratch))

    def indexed(self, model: str, passages: Iterator[Document], scratch: Path) -> Path:
        """The index of ``passages`` encoded by ``model``, in the directory ``scratch``.

        Raises:
            InputError: there are none, or an id comes twice.
            ModelError: the model cannot be loaded.
        """
        corpus = scratch / "corpus.jsonl"
        with corpus.open("w", encoding="utf-8", newline="\n") as file:
            for passage in passages:
                record = {"id": passage.id, "title": passage.title, "text": passage.text}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        encode_file(
            model,
            corpus,
            scratch / "vectors",
            role="document",
            title_separator=self.title_separator,
            batch_size=self.batch_size,
            progress=self.progress,
        )
        corpus.unlink()
        index = build_index(scratch / "vectors", scratch / "index")
        shutil.rmtree(scratch / "vectors")
        return index

    def _pool(self, stored: StoredIndex, searcher: Searcher | None) -> Pool:
        separator = stored.manifest.title_separator
        size = len(stored)
        lexical = self.source in ("bm25", "mixed")
        if lexical and stored.num_deleted:
            raise InputError(
                f"{stored.path} has {stored.num_deleted} documents that were deleted or replaced, and "
                "BM25 numbers "
                "documents without gaps; build the index again from vectors without them, or mine with "
                "source=dense"
            )
        return Pool(
            stored,
            size=size,
            title_separator=separator,
            searcher=searcher,
            dense=self.source in ("dense", "mixed"),
            bm25=Bm25(stored.iter_documents(range(size)), title_separator=separator) if lexical else None,
            batch_size=self.batch_size,
        )
