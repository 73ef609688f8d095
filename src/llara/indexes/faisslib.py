"""What the kinds share of faiss: its import, its files, and which vectors a search may find."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from llara.errors import InputError, OutputError

__all__ = [
    "check_size",
    "faiss_module",
    "read_faiss",
    "selector",
    "stored_rows",
    "write_codes",
    "write_faiss",
    "written",
]


def faiss_module() -> ModuleType:
    """Import faiss without its notes about which instruction set it loads."""
    logging.getLogger("faiss").setLevel(logging.WARNING)
    import faiss

    return faiss


def read_faiss(path: Path, *, binary: bool = False, mapped: bool = True) -> Any:
    """Open a faiss index; its vectors are mapped from disk where the faiss version can.

    A mapped index cannot grow: faiss ends the process if it is added to.

    Raises:
        InputError: the file is missing or damaged.
    """
    faiss = faiss_module()
    # The flag is missing before faiss 1.11; without it the vectors are read into memory.
    flags = getattr(faiss, "IO_FLAG_MMAP_IFC", 0) if mapped else 0
    try:
        return (faiss.read_index_binary if binary else faiss.read_index)(str(path), flags)
    except (RuntimeError, MemoryError) as error:  # a damaged header may ask for any amount of memory
        raise InputError(f"{path} is missing or damaged; build the index again with llara index") from error


def write_faiss(index: Any, path: Path, *, binary: bool = False) -> None:
    """Write a faiss index to ``path``, 1 MiB at a time.

    Python writes it: faiss's own writer takes a file for whole whose last bytes did not fit on the disk.

    Raises:
        OutputError: the disk is full or read-only.
    """
    faiss = faiss_module()
    with written(path) as file:
        writer = faiss.PyCallbackIOWriter(file.write)
        (faiss.write_index_binary if binary else faiss.write_index)(index, writer)


def write_codes(
    empty: Any, path: Path, blocks: Iterable[np.ndarray], *, rows: int, binary: bool = False
) -> None:
    """Write a flat faiss index of ``rows`` codes without holding them: the same bytes as ``write_faiss``.

    faiss writes the number of rows behind the first numbers of 4 bytes (three in a binary index, else two),
    and at the end how many bytes all codes have, and those.

    Args:
        empty: a trained index with no rows.
        blocks: uint8 [n, code_bytes] each, ``rows`` in all.

    Raises:
        OutputError: the disk is full or read-only.
    """
    faiss = faiss_module()
    head = bytearray((faiss.serialize_index_binary if binary else faiss.serialize_index)(empty))
    num_rows_at = 12 if binary else 8
    assert head[num_rows_at : num_rows_at + 8] == head[-8:] == bytes(8), "faiss writes another format"
    struct.pack_into("=q", head, num_rows_at, rows)
    struct.pack_into("=q", head, len(head) - 8, rows * empty.code_size)
    with written(path) as file:
        file.write(head)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A new file, which is on the disk when the block ends.

    Raises:
        OutputError: it cannot be.
    """
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def selector(allowed: np.ndarray | None) -> Any:
    """What faiss asks whether it may return a position; None if it may return any.

    Args:
        allowed: bool [N].
    """
    if allowed is None:
        return None
    return faiss_module().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def stored_rows(data: Any, rows: int, width: int) -> np.ndarray:
    """A view of rows that faiss holds, [rows, width]; ``data`` points to the first number."""
    flat: np.ndarray = faiss_module().rev_swig_ptr(data, rows * width)
    return flat.reshape(rows, width)


def check_size(index: Any, path: Path, rows: int, dimension: int) -> None:
    """Refuse an index file that holds other than ``rows`` vectors of ``dimension`` numbers.

    Raises:
        InputError: it does.
    """
    if (index.ntotal, index.d) != (rows, dimension):
        raise InputError(
            f"{path} is damaged: {index.ntotal} vectors of {index.d} numbers, expected {rows} of "
            f"{dimension}; "
            "build the index again with llara index"
        )
