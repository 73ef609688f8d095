"""Vectors as bare rows in a file, mapped from disk: what the exact index is, and what others rescore with.

Rows are appended in place. What stands behind the rows that an index counts is not there yet: an update that
was killed leaves such rows, and the next one writes over them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from llara.encoder.quantise import from_int8, to_int8
from llara.errors import InputError, OutputError

__all__ = ["RowDtype", "map_rows", "row_bytes", "take", "write_rows"]

RowDtype = Literal["float32", "int8"]
_DAMAGED = "build the index again with llara index"


def row_bytes(dtype: RowDtype, dimension: int) -> int:
    """Bytes of a row."""
    return np.dtype(dtype).itemsize * dimension


def write_rows(
    path: Path, blocks: Iterable[np.ndarray], *, dtype: RowDtype, dimension: int, start: int
) -> None:
    """Write float32 blocks [n, D] to ``path`` behind its first ``start`` rows.

    int8 rows keep a vector's direction: each is scaled by 127/max|x|.

    Raises:
        OutputError: the disk is full or read-only.
    """
    try:
        with path.open("r+b" if start else "wb") as file:
            file.truncate(start * row_bytes(dtype, dimension))
            file.seek(0, os.SEEK_END)
            for block in blocks:
                file.write((to_int8(block) if dtype == "int8" else np.ascontiguousarray(block)).data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def map_rows(path: Path, *, dtype: RowDtype, dimension: int, rows: int) -> np.ndarray:
    """The first ``rows`` rows of ``path``, [rows, D] in their dtype, mapped from disk.

    Raises:
        InputError: the file is missing or shorter than that.
    """
    expected = rows * row_bytes(dtype, dimension)
    try:
        found = path.stat().st_size
        if found < expected:
            raise InputError(f"{path} is damaged: {found:,} bytes, expected {expected:,}; {_DAMAGED}")
        return np.memmap(path, dtype=dtype, mode="r", shape=(rows, dimension))
    except OSError as error:
        raise InputError(
            f"{path} is missing or unreadable ({error.strerror or error}); {_DAMAGED}"
        ) from error


def take(stored: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows by position as float32 [n, D]; of int8 rows the unit vectors.

    >>> take(np.array([[95, -127, 0]], dtype=np.int8), np.array([0])).round(3)
    array([[ 0.599, -0.801,  0.   ]], dtype=float32)
    """
    rows: np.ndarray = np.asarray(stored[positions])
    return from_int8(rows) if rows.dtype == np.int8 else rows
