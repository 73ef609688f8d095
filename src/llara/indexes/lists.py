"""The inverted lists of an IVF index in a file that faiss maps, written in bounded memory.

A list is its vectors' codes and then their positions (int64), in the order they came; list follows list.
Where each list begins follows from the sizes of all, so sizes are counted before the first code is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from llara.errors import InputError, OutputError
from llara.indexes.faisslib import faiss_module, written

__all__ = ["ListsLayout", "ListsWriter", "read_array", "write_array"]

_POSITION_BYTES = 8
_AGAIN = "build the index again with llara index"


class ListsLayout:
    """Where what stands, for lists of ``sizes`` (int64 [nlist]) with codes of ``code_bytes``."""

    def __init__(self, sizes: np.ndarray, code_bytes: int) -> None:
        self.sizes = sizes
        self.code_bytes = code_bytes
        ends = np.cumsum(sizes * (code_bytes + _POSITION_BYTES))
        self.starts = ends - sizes * (code_bytes + _POSITION_BYTES)
        self.bytes = int(ends[-1])

    def code_places(self, lists: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The byte at which the code begins that is the ``offsets``-th of ``lists``: int64 [n]."""
        return self.starts[lists] + offsets * self.code_bytes

    def position_places(self, lists: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The same of its position."""
        return self.starts[lists] + self.sizes[lists] * self.code_bytes + offsets * _POSITION_BYTES

    def list_codes(self, file: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes uint8 [n, code_bytes] and positions int64 [n] of one list in a mapped file."""
        start, size = int(self.starts[number]), int(self.sizes[number])
        middle = start + size * self.code_bytes
        codes = file[start:middle].reshape(size, self.code_bytes)
        return codes, np.frombuffer(file[middle : middle + size * _POSITION_BYTES].tobytes(), np.int64)

    def map(self, path: Path) -> np.ndarray:
        """The file, uint8 [bytes], mapped from disk.

        Raises:
            InputError: it is missing or shorter than its lists.
        """
        try:
            found = path.stat().st_size
            if found != self.bytes:
                raise InputError(f"{path} is damaged: {found:,} bytes, expected {self.bytes:,}; {_AGAIN}")
            return np.memmap(path, dtype=np.uint8, mode="r")
        except OSError as error:
            raise InputError(
                f"{path} is missing or unreadable ({error.strerror or error}); {_AGAIN}"
            ) from error

    def for_faiss(self, path: Path) -> Any:
        """The lists as faiss reads them, mapped from disk."""
        lists = faiss_module().OnDiskInvertedLists()
        lists.nlist, lists.code_size = len(self.sizes), self.code_bytes
        lists.filename, lists.read_only = str(path), True
        lists.prefetch_nthread = 0  # a search would start threads to read what is most often in memory
        lists.lists.resize(lists.nlist)
        sizes = self.sizes.astype(np.uint64)  # named, since a pointer does not keep an array alive
        lists.set_all_lists_sizes(faiss_module().swig_ptr(sizes))
        lists.totsize = self.bytes
        lists.do_mmap()
        return lists


class ListsWriter:
    """Writes codes to their places, list by list, as they come.

    ``places`` (int64 [rows]) collects where each position went: list times 2^32, plus its offset in the list.

    Raises:
        OutputError: the disk is full or read-only.
    """

    def __init__(self, path: Path, layout: ListsLayout, rows: int) -> None:
        self._path = path
        self._layout = layout
        self._filled = np.zeros(len(layout.sizes), dtype=np.int64)
        self.places = np.full(rows, -1, dtype=np.int64)
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def put(self, lists: np.ndarray, codes: np.ndarray, positions: np.ndarray) -> None:
        """Append codes uint8 [n, code_bytes] and positions int64 [n] to ``lists`` (int64 [n])."""
        order = np.argsort(lists, kind="stable")
        lists, codes, positions = lists[order], codes[order], positions[order]
        firsts = np.flatnonzero(np.r_[True, lists[1:] != lists[:-1]])
        lasts = np.r_[firsts[1:], len(lists)]
        offsets = self._filled[lists] + np.arange(len(lists)) - np.repeat(firsts, lasts - firsts)
        self.places[positions] = (lists << 32) | offsets
        code_places = self._layout.code_places(lists[firsts], offsets[firsts]).tolist()
        position_places = self._layout.position_places(lists[firsts], offsets[firsts]).tolist()
        try:
            for first, last, code_place, position_place in zip(
                firsts.tolist(), lasts.tolist(), code_places, position_places, strict=True
            ):
                _write_all(self._file, codes[first:last].tobytes(), code_place)
                _write_all(self._file, positions[first:last].tobytes(), position_place)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._filled[lists[firsts]] += lasts - firsts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                assert np.array_equal(self._filled, self._layout.sizes)
                os.fsync(self._file)
        finally:
            os.close(self._file)


def _write_all(file: int, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], place + written)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write what ``np.save`` does, which takes a file for whole whose last bytes did not fit on the disk.

    Raises:
        OutputError: the disk is full or read-only.
    """
    with written(path) as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)


def read_array(path: Path, length: int) -> np.ndarray:
    """An int64 array of ``length`` that ``write_array`` wrote, mapped from disk.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); {_AGAIN}") from error
    if array.shape != (length,) or array.dtype != np.int64:
        raise InputError(
            f"{path} is damaged: {array.dtype} {list(array.shape)}, expected int64 [{length}]; {_AGAIN}"
        )
    return array
