"""IVF indexes: vectors in lists around centroids, of which a search reads the nearest few.

trained.faiss    centroids and codebooks, trained on a sample; it never changes
lists-N.bin      codes and positions, see ``llara.indexes.lists``
sizes-N.npy      int64 [nlist], vectors of each list
places-N.npy     int64 [rows], in which list and where a position is
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llara.errors import InputError
from llara.indexes.base import Files
from llara.indexes.candidates import CandidateIndex, map_finer, write_finer
from llara.indexes.faisslib import faiss_module, read_faiss, selector, write_faiss
from llara.indexes.lists import ListsLayout, ListsWriter, read_array, write_array
from llara.indexes.settings import IvfFlatSettings, IvfPqSettings, IvfSettings, IvfSq8Settings, Rescore
from llara.indexes.source import VectorSource

__all__ = ["IvfIndex"]

_TRAINED = "trained.faiss"


class IvfIndex(CandidateIndex):
    """faiss ``IndexIVFFlat``, ``IndexIVFScalarQuantizer`` or ``IndexIVFPQ``, by its settings; lists are on
    disk.

    In memory while it is built or added to: the sample (4 D bytes a vector), a block of the source, and 12
    bytes for each vector.
    """

    def __init__(
        self,
        index: Any,
        path: Path,
        *,
        settings: IvfSettings,
        finer: np.ndarray | None,
        layout: ListsLayout,
        codes: np.ndarray,
        places: np.ndarray,
    ) -> None:
        super().__init__(index, path, settings=settings, finer=finer)
        self._layout = layout
        self._codes = codes
        self._places = places

    @classmethod
    def create(cls, directory: Path, source: VectorSource, settings: IvfSettings, number: int) -> Files:
        """See ``VectorIndex.create``."""
        index = _untrained(source.dimension, settings)
        assert settings.sample is not None
        index.train(source.sample(settings.sample))
        write_faiss(index, directory / _TRAINED)
        files = _write_lists(index, directory, source, number, old=None)
        return files | write_finer(directory, source, _rescore(settings), start=0)

    @classmethod
    def open(
        cls, directory: Path, files: Files, rows: int, dimension: int, settings: IvfSettings
    ) -> IvfIndex:
        """See ``VectorIndex.open``."""
        path = directory / files["trained"]
        index = read_faiss(path, mapped=False)
        if index.d != dimension or index.nlist != settings.nlist:
            raise InputError(
                f"{path} is damaged: {index.nlist} lists of {index.d} numbers, expected {settings.nlist} of "
                f"{dimension}; build the index again with llara index"
            )
        sizes = np.array(read_array(directory / files["sizes"], index.nlist))
        if (sizes < 0).any() or sizes.sum() != rows:
            raise InputError(
                f"{directory / files['sizes']} is damaged: lists of {sizes.sum()} vectors, expected {rows}; "
                "build the index again with llara index"
            )
        layout = ListsLayout(sizes, index.code_size)
        codes = layout.map(directory / files["lists"])
        lists = layout.for_faiss(directory / files["lists"])
        lists.this.disown()  # the index frees it from now on
        index.replace_invlists(lists, True)
        index.ntotal = rows
        return cls(
            index,
            directory / files["lists"],
            settings=settings,
            finer=map_finer(directory, files, _rescore(settings), rows=rows, dimension=dimension),
            layout=layout,
            codes=codes,
            places=read_array(directory / files["places"], rows),
        )

    def extend(self, directory: Path, source: VectorSource, number: int) -> Files:
        """See ``VectorIndex.extend``; lists are written anew, centroids and codebooks stay."""
        files = _write_lists(self._index, directory, source, number, old=self)
        return files | write_finer(directory, source, _rescore(self._settings), start=len(self))

    def all_codes(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Each list's number, its codes uint8 [n, code_bytes] and its positions int64 [n]."""
        for number in np.flatnonzero(self._layout.sizes).tolist():
            yield number, *self._layout.list_codes(self._codes, number)

    @property
    def sizes(self) -> np.ndarray:
        """Vectors of each list, int64 [nlist]."""
        return self._layout.sizes

    def _held(self, positions: np.ndarray) -> np.ndarray:
        places = self._places[positions]
        lists, offsets = places >> 32, places & 0xFFFFFFFF
        starts = self._layout.code_places(lists, offsets)
        width = self._layout.code_bytes
        codes = np.empty((len(positions), width), dtype=np.uint8)
        for row, start in enumerate(starts.tolist()):
            codes[row] = self._codes[start : start + width]
        if isinstance(self._settings, IvfFlatSettings):
            return codes.view(np.float32)
        # faiss decodes a code behind the number of its list.
        wide = np.ascontiguousarray(lists.astype("<i8")).view(np.uint8).reshape(-1, 8)
        coarse = wide[:, : self._index.coarse_code_size()]
        decoded: np.ndarray = self._index.sa_decode(np.ascontiguousarray(np.hstack([coarse, codes])))
        return decoded

    def _find(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        return self._probed(queries, num, allowed, self._settings.nprobe)

    def _find_in_all(self, queries: np.ndarray, num: int, allowed: np.ndarray | None) -> np.ndarray:
        return self._probed(queries, num, allowed, self._settings.nlist)

    def _probed(self, queries: np.ndarray, num: int, allowed: np.ndarray | None, nprobe: int) -> np.ndarray:
        chosen = faiss_module().SearchParametersIVF(nprobe=nprobe, sel=selector(allowed))
        found: np.ndarray = self._index.search(queries, num, params=chosen)[1]
        return found


def _untrained(dimension: int, settings: IvfSettings) -> Any:
    faiss = faiss_module()
    metric, nlist = faiss.METRIC_INNER_PRODUCT, settings.nlist
    centroids = faiss.IndexFlatIP(dimension)
    if isinstance(settings, IvfPqSettings):
        return faiss.IndexIVFPQ(centroids, dimension, nlist, settings.M, settings.nbits, metric)
    if isinstance(settings, IvfSq8Settings):
        kind = faiss.ScalarQuantizer.QT_8bit
        return faiss.IndexIVFScalarQuantizer(centroids, dimension, nlist, kind, metric)
    return faiss.IndexIVFFlat(centroids, dimension, nlist, metric)


def _rescore(settings: IvfSettings) -> Rescore:
    return settings.rescore if isinstance(settings, IvfSq8Settings | IvfPqSettings) else "none"


def _write_lists(
    index: Any, directory: Path, source: VectorSource, number: int, *, old: IvfIndex | None
) -> Files:
    """Write the lists of ``old``'s vectors, if any, and of the source's behind them."""
    num_old = 0 if old is None else len(old)
    nearest = np.empty(source.count, dtype=np.int32)  # the list of each new vector
    done = 0
    for block in source.blocks():
        nearest[done : done + len(block)] = index.quantizer.search(block, 1)[1][:, 0]
        done += len(block)
    sizes = np.bincount(nearest, minlength=index.nlist).astype(np.int64)
    if old is not None:
        sizes += old.sizes
    layout = ListsLayout(sizes, index.code_size)
    files = {
        "trained": _TRAINED,
        "lists": f"lists-{number}.bin",
        "sizes": f"sizes-{number}.npy",
        "places": f"places-{number}.npy",
    }
    with ListsWriter(directory / files["lists"], layout, num_old + source.count) as writer:
        if old is not None:
            for which, codes, positions in old.all_codes():
                writer.put(np.full(len(positions), which), codes, positions)
        done = 0
        for block in source.blocks():
            lists = nearest[done : done + len(block)].astype(np.int64)
            positions = np.arange(num_old + done, num_old + done + len(block))
            writer.put(lists, _encoded(index, block, lists), positions)
            done += len(block)
    write_array(directory / files["sizes"], sizes)
    write_array(directory / files["places"], writer.places)
    return files


def _encoded(index: Any, block: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """The codes of float32 [n, D] that are in ``lists``: uint8 [n, code_bytes]."""
    faiss = faiss_module()
    codes = np.empty((len(block), index.code_size), dtype=np.uint8)
    index.encode_vectors(len(block), *map(faiss.swig_ptr, (block, lists, codes)))
    return codes
