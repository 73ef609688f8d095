"""Indexes that compare every vector in few bits: a byte a dimension (sq8), or one bit (binary)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llara.encoder.quantise import from_binary, to_binary
from llara.indexes.base import Files
from llara.indexes.candidates import CandidateIndex, map_finer, write_finer
from llara.indexes.faisslib import check_size, faiss_module, read_faiss, selector, stored_rows, write_faiss
from llara.indexes.settings import BinarySettings, Sq8Settings
from llara.indexes.source import VectorSource

__all__ = ["BinaryIndex", "Sq8Index"]


class Sq8Index(CandidateIndex):
    """faiss ``IndexScalarQuantizer``: each dimension in 256 steps between its least and greatest value.

    In memory while it is built or added to: N D bytes, and 4 D bytes for each vector of the sample.
    """

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: Sq8Settings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        faiss = faiss_module()
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexScalarQuantizer(source.dimension, kind, faiss.METRIC_INNER_PRODUCT)
        assert settings.sample is not None
        index.train(source.sample(settings.sample))
        files = _grown(index, directory, source, number, binary=False)
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
        """See ``VectorIndex.extend``; the codes are read into memory and written anew."""
        index = read_faiss(self._path, mapped=False)
        files = _grown(index, directory, source, number, binary=False)
        return files | write_finer(directory, source, self._settings.rescore, start=len(self))

    def _held(self, positions: np.ndarray) -> np.ndarray:
        codes = stored_rows(self._index.codes.data(), len(self), self._index.code_size)
        decoded: np.ndarray = self._index.sa_decode(np.ascontiguousarray(codes[positions]))
        return decoded

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        chosen = faiss_module().SearchParameters(sel=selector(allowed))
        found: np.ndarray = self._index.search(queries, num, params=chosen)[1]
        return found


class BinaryIndex(CandidateIndex):
    """faiss ``IndexBinaryFlat``: candidates by the number of signs in which they differ from the query.

    They are scored by finer vectors on disk, or, without, as vectors whose numbers are all +-1/sqrt(D). In
    memory while it is built or added to: N D/8 bytes.
    """

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: BinarySettings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        index = faiss_module().IndexBinaryFlat(source.dimension)
        files = _grown(index, directory, source, number, binary=True)
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
        """See ``VectorIndex.extend``; the bits are read into memory and written anew."""
        index = read_faiss(self._path, binary=True, mapped=False)
        files = _grown(index, directory, source, number, binary=True)
        return files | write_finer(directory, source, self._settings.rescore, start=len(self))

    def _held(self, positions: np.ndarray) -> np.ndarray:
        bits = stored_rows(self._index.xb.data(), len(self), self.dimension // 8)
        return from_binary(bits[positions])

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        chosen = faiss_module().SearchParameters(sel=selector(allowed))
        found: np.ndarray = self._index.search(to_binary(queries), num, params=chosen)[1]
        return found


def _grown(index: Any, directory: Path, source: VectorSource, number: int, *, binary: bool) -> Files:
    for block in source.blocks():
        index.add(to_binary(block) if binary else block)
    write_faiss(index, directory / f"index-{number}.faiss", binary=binary)
    return {"index": f"index-{number}.faiss"}
