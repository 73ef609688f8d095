"""Indexes that compare every vector in few bits: a byte a dimension (sq8), or one bit (binary)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from llara.encoder.quantise import from_binary, to_binary
from llara.indexes.base import Files
from llara.indexes.candidates import CandidateIndex, map_finer, write_finer
from llara.indexes.faisslib import check_size, faiss_module, read_faiss, selector, stored_rows, write_codes
from llara.indexes.settings import BinarySettings, Sq8Settings
from llara.indexes.source import VectorSource

__all__ = ["BinaryIndex", "Sq8Index"]


class Sq8Index(CandidateIndex):
    """faiss ``IndexScalarQuantizer``: each dimension in 256 steps between its least and greatest value.

    In memory while it is built: 4 D bytes for each vector of the sample; codes are written block by block.
    """

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: Sq8Settings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        empty = _empty_sq8(source.dimension)
        assert settings.sample is not None
        empty.train(source.sample(settings.sample))
        files = _index_file(number)
        codes = map(empty.sa_encode, source.blocks())
        write_codes(empty, directory / files["index"], codes, rows=source.count)
        return files | write_finer(directory, source, settings.rescore, start=0)

    @classmethod
    def open(
        cls, directory: Path, files: Files, rows: int, dimension: int, settings: Sq8Settings
    ) -> Sq8Index:
        """See ``VectorIndex.open``."""
        path = directory / files["index"]
        index = read_faiss(path)
        check_size(index, path, rows, dimension)
        finer = map_finer(directory, files, settings.rescore, rows=rows, dimension=dimension)
        return cls(index, path, settings=settings, finer=finer)

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:
        """See ``VectorIndex.extend``; the codes are written anew, block by block, their ranges stay."""
        empty = _empty_sq8(self.dimension)
        empty.sq = self._index.sq
        empty.is_trained = True
        files = _index_file(number)
        codes = chain(_in_blocks(self._codes), map(empty.sa_encode, source.blocks()))
        write_codes(empty, directory / files["index"], codes, rows=len(self) + source.count)
        return files | write_finer(directory, source, self._settings.rescore, start=len(self))

    def _held(self, positions: np.ndarray) -> np.ndarray:
        decoded: np.ndarray = self._index.sa_decode(np.ascontiguousarray(self._codes[positions]))
        return decoded

    @property
    def _codes(self) -> np.ndarray:
        """uint8 [N, D], a view."""
        return stored_rows(self._index.codes.data(), len(self), self._index.code_size)

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        chosen = faiss_module().SearchParameters(sel=selector(allowed))
        found: np.ndarray = self._index.search(queries, num, params=chosen)[1]
        return found


class BinaryIndex(CandidateIndex):
    """faiss ``IndexBinaryFlat``: candidates by the number of signs in which they differ from the query.

    They are scored by finer vectors on disk, or, without, as vectors whose numbers are all +-1/sqrt(D). Bits
    are written block by block.
    """

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: BinarySettings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        files = _index_file(number)
        empty = faiss_module().IndexBinaryFlat(source.dimension)
        bits = map(to_binary, source.blocks())
        write_codes(empty, directory / files["index"], bits, rows=source.count, binary=True)
        return files | write_finer(directory, source, settings.rescore, start=0)

    @classmethod
    def open(
        cls, directory: Path, files: Files, rows: int, dimension: int, settings: BinarySettings
    ) -> BinaryIndex:
        """See ``VectorIndex.open``."""
        path = directory / files["index"]
        index = read_faiss(path, binary=True)
        check_size(index, path, rows, dimension)
        finer = map_finer(directory, files, settings.rescore, rows=rows, dimension=dimension)
        return cls(index, path, settings=settings, finer=finer)

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:
        """See ``VectorIndex.extend``; the bits are written anew, block by block."""
        files = _index_file(number)
        empty = faiss_module().IndexBinaryFlat(self.dimension)
        bits = chain(_in_blocks(self._bits), map(to_binary, source.blocks()))
        rows = len(self) + source.count
        write_codes(empty, directory / files["index"], bits, rows=rows, binary=True)
        return files | write_finer(directory, source, self._settings.rescore, start=len(self))

    def _held(self, positions: np.ndarray) -> np.ndarray:
        return from_binary(self._bits[positions])

    @property
    def _bits(self) -> np.ndarray:
        """uint8 [N, D/8], a view."""
        return stored_rows(self._index.xb.data(), len(self), self.dimension // 8)

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        chosen = faiss_module().SearchParameters(sel=selector(allowed))
        found: np.ndarray = self._index.search(to_binary(queries), num, params=chosen)[1]
        return found


def _empty_sq8(dimension: int) -> Any:
    faiss = faiss_module()
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)


def _index_file(number: int) -> Files:
    return {"index": f"index-{number}.faiss"}


def _in_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Mapped rows, 16 MiB at a time."""
    at_once = max(1, 16 * 2**20 // rows.shape[1])
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once]
