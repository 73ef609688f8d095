"""A vectors directory as an index reads it: in blocks, or a sample of it, never all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llara.errors import InputError
from llara.vectors import Shard, VectorsManifest, read_texts, read_vectors, read_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["VectorSource"]

_BLOCK_BYTES = 16 * 2**20


class VectorSource:
    """Documents' vectors and texts, shard by shard.

    Memory holds a block of 16 MiB, and one shard if its vectors are not stored as float32.

    Raises:
        InputError: not a complete vectors directory of documents, or an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = VectorsManifest.read(directory)
        if self.manifest.role != "document":
            raise InputError(
                f"{directory} holds {self.manifest.role} vectors, and an index is made of documents; "
                "encode the corpus with --role document"
            )
        if self.count == 0 or self.dimension == 0:
            raise InputError(f"{directory} holds no vectors; expected at least one")

    @property
    def count(self) -> int:
        """Vectors, and texts."""
        return self.manifest.count

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return self.manifest.dimension

    def blocks(self) -> Iterator[np.ndarray]:
        """All vectors in order: float32 [n, D] a block, in memory, contiguous.

        Raises:
            InputError: a shard is missing or damaged, or holds a number that is not finite.
        """
        block_rows = max(1, _BLOCK_BYTES // (4 * self.dimension))
        for shard in self.manifest.shards:
            rows = self._shard(shard)
            for start in range(0, len(rows), block_rows):
                block = np.array(rows[start : start + block_rows], dtype=np.float32, order="C")
                self._check(block, shard)
                yield block

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """``count`` vectors drawn without repetition, in their order: float32 [count, D].

        Raises:
            InputError: as in ``blocks``.
        """
        chosen = np.random.default_rng(seed).choice(self.count, size=min(count, self.count), replace=False)
        chosen.sort()
        drawn = np.empty((len(chosen), self.dimension), dtype=np.float32)
        start = 0
        for shard in self.manifest.shards:
            first, last = np.searchsorted(chosen, [start, start + shard.count])
            if first < last:
                drawn[first:last] = self._shard(shard)[chosen[first:last] - start]
                self._check(drawn[first:last], shard)
            start += shard.count
        return drawn

    def texts(self) -> Iterator[pa.Table]:
        """Columns id, title, text, metadata, a table a shard.

        Raises:
            InputError: a shard is missing or damaged.
        """
        for shard in self.manifest.shards:
            yield read_texts(self.directory, shard)

    @property
    def has_words(self) -> bool:
        """Whether every document has its lexical vector beside its vector."""
        return all(shard.words is not None for shard in self.manifest.shards)

    def words(self, most: int) -> Iterator[dict[str, float]]:
        """The lexical vectors of all documents in order; Python's objects are made for ``most`` at a time.

        Raises:
            InputError: a shard is missing or damaged, or has none.
        """
        for shard in self.manifest.shards:
            table = read_words(self.directory, shard)
            for start in range(0, len(table), most):
                part = table.slice(start, most)
                rows = (part.column(name).to_pylist() for name in ("terms", "weights"))
                for terms, weights in zip(*rows, strict=True):
                    yield dict(zip(terms, weights, strict=True))

    def batches(self, most: int) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Vectors float32 [n, D] with their texts, at most ``most`` at a time.

        Raises:
            InputError: as in ``blocks`` and ``texts``.
        """
        for shard, table in zip(self.manifest.shards, self.texts(), strict=True):
            rows = self._shard(shard)
            for start in range(0, len(rows), most):
                block = np.array(rows[start : start + most], dtype=np.float32, order="C")
                self._check(block, shard)
                yield block, table.slice(start, most)

    def _shard(self, shard: Shard) -> np.ndarray:
        return read_vectors(self.directory, self.manifest, shard)

    def _check(self, rows: np.ndarray, shard: Shard) -> None:
        if not np.isfinite(rows).all():
            raise InputError(
                f"{self.directory / shard.vectors} holds a number that is not finite (NaN or infinity); "
                "encode again, in float32 or bfloat16"
            )
