"""One shard: its texts read, encoded and written. The one function that every engine's workers call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llara.corpus import Document
from llara.encode.lexical import lexical_table
from llara.encode.texts import document_text, encode_texts, longest_input
from llara.encode.work import Record, TextShard, Work, write_hashed
from llara.encoder.quantise import VectorDtype, cut, quantise
from llara.engines import Place
from llara.errors import ModelError, OutputError
from llara.vectors import Role

if TYPE_CHECKING:
    from llara.encoder import Encoder
    from llara.words import WordHead

__all__ = ["EncodeJob", "Precision"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EncodeJob:
    """What a worker must know; called with its place it loads the model and gives the worker.

    What a shard's vectors are depends on the shard alone: batches are made within it.
    """

    work: Path
    model: str
    fingerprint: str
    role: Role
    title_separator: str | None
    dtype: VectorDtype
    dimensions: int | None
    lexical: bool
    batch_size: int | None
    device: str | None
    precision: Precision | None
    compile_layers: bool
    progress: bool

    def __call__(self, place: Place) -> Callable[[int], None]:
        """Load the model on ``place``.

        Raises:
            ModelError: it cannot be loaded, or a worker on another machine finds another one there.
            ConfigError: it computes in another precision than shards that are done.
        """
        from llara.encoder import Encoder
        from llara.hub import local_directory
        from llara.model import fingerprint

        model = local_directory(self.model)
        if place.apart and fingerprint(model) != self.fingerprint:
            raise ModelError(
                f"the model {self.model} is another one on this machine than where the run was started; "
                "expected the same files on all machines"
            )
        work = Work(self.work)
        precision: Any = self.precision or "stored"
        if precision in ("auto", "stored"):  # a run that goes on computes as it began, on whatever device
            precision = work.precision_so_far() or precision
        device = self.device or place.device
        encoder = Encoder(model, device=device, dtype=precision, compile_layers=self.compile_layers)
        work.check_precisions(encoder.dtype)
        texts = work.texts()
        assert texts is not None
        job = replace(self, progress=self.progress and not place.apart)
        head = _word_head(model, longest_input(encoder.model)) if self.lexical else None
        return lambda number: job._encode_shard(encoder, head, work, number, texts.shards[number])

    def _encode_shard(
        self, encoder: Encoder, head: WordHead | None, work: Work, number: int, shard: TextShard
    ) -> None:
        """Do a shard: the vectors first, and words, then the record that vouches for them."""
        texts = self._texts(work.texts_file(number))
        full_ND = encode_texts(
            encoder,
            texts,
            role=self.role,
            batch_size=self.batch_size,
            progress=self.progress,
        )
        vectors_ND = cut(full_ND, self.dimensions)
        stored = np.ascontiguousarray(quantise(vectors_ND, self.dtype))

        def write(file: Any) -> None:
            np.lib.format.write_array(file, stored, allow_pickle=False)

        sha256 = _write(work.vectors_file(number), write, work)
        words_sha256 = None if head is None else self._write_words(head, texts, full_ND, work, number)
        record = Record(
            first=shard.first,
            count=shard.count,
            texts_sha256=shard.sha256,
            vectors_sha256=sha256,
            dimension=vectors_ND.shape[1],
            model_dimension=full_ND.shape[1],
            max_tokens=longest_input(encoder.model),
            precision=encoder.dtype,
            words_sha256=words_sha256,
        )
        work.check_precisions(record.precision)  # of workers that began together, another may be done
        work.write_record(number, record)

    def _write_words(
        self, head: WordHead, texts: Sequence[str], full_ND: np.ndarray, work: Work, number: int
    ) -> str:
        """Write the lexical vectors of a shard; gives the file's SHA-256."""
        import pyarrow.parquet as pq

        table = lexical_table(head, texts, full_ND)
        repeated: Any = ["terms.list.element"]  # of weights a dictionary makes the file larger

        def write(file: Any) -> None:
            pq.write_table(table, file, compression="zstd", use_dictionary=repeated)

        return _write(work.words_file(number), write, work)

    def _texts(self, path: Path) -> list[str]:
        import pyarrow.parquet as pq

        table = pq.read_table(path, columns=["title", "text"])
        titles, texts = table.column("title").to_pylist(), table.column("text").to_pylist()
        return [
            document_text(Document("", text, title), self.title_separator)
            for title, text in zip(titles, texts, strict=True)
        ]


def _word_head(model: str, max_tokens: int | None) -> WordHead:
    from llara.words import WordHead

    return WordHead.of(model, max_tokens=max_tokens)


def _write(path: Path, write: Callable[[Any], object], work: Work) -> str:
    """Write one of a shard's files; gives its SHA-256."""
    try:
        return write_hashed(path, write, within=work.directory)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; free the disk") from error
